//! JSON to and from the values of core modules: numbers only.
//!
//! `i32` and `i64` are signed in both directions.

use solo_types::bounds::MESSAGE_BYTES_MAX;
use wasmtime::{FuncType, Val, ValType};

use super::mismatch::{Mismatch, place};
use super::number::{float32, float64, integer};
use super::read::parse_array;
use super::wit::{core_function_text, core_parameters};
use super::write::Writer;
use super::{BadArguments, BadResult, MESSAGE_TEXT_BYTES_MAX, shorten};

/// Converts `json`, an array with one number per parameter, to the arguments of `function`.
///
/// # Errors
/// [`BadArguments`] if `json` is no such array, or if the function takes or gives anything but
/// `i32`, `i64`, `f32` and `f64`.
pub fn core_arguments_from_json(function: &FuncType, json: &str) -> Result<Vec<Val>, BadArguments> {
    read_arguments(function, json).map_err(|message| BadArguments {
        message: shorten(message, MESSAGE_TEXT_BYTES_MAX),
        expected: core_function_text(function),
    })
}

fn read_arguments(function: &FuncType, json: &str) -> Result<Vec<Val>, String> {
    let is_number =
        |ty: &ValType| matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64);
    if let Some(other) = function.params().chain(function.results()).find(|ty| !is_number(ty)) {
        return Err(format!("the function has a {other} in it: it cannot be called with JSON"));
    }
    let values = parse_array(json, function.params().len())?;
    core_parameters(function)
        .zip(&values)
        .enumerate()
        .map(|(index, ((name, ty), value))| {
            let read = match ty {
                ValType::I32 => integer(value, "i32").map(Val::I32),
                ValType::I64 => integer(value, "i64").map(Val::I64),
                ValType::F32 => float32(value).map(Val::from),
                ValType::F64 => float64(value).map(Val::from),
                other => Err(Mismatch::new(format!("{other} has no JSON form"))),
            };
            read.map_err(|mismatch| place(index, &name, &mismatch))
        })
        .collect()
}

/// Converts the results of a core function: `null`, a number, or an array of several.
///
/// # Errors
/// [`BadResult`] if one is a vector or a reference.
pub fn core_results_to_json(results: &[Val]) -> Result<String, BadResult> {
    let mut writer = Writer::default();
    match results {
        [] => writer.push("null")?,
        [one] => write(&mut writer, one)?,
        several => {
            writer.push("[")?;
            for (index, value) in several.iter().enumerate() {
                writer.comma(index)?;
                write(&mut writer, value)?;
            }
            writer.push("]")?;
        }
    }
    debug_assert!(writer.text.len() <= MESSAGE_BYTES_MAX);
    Ok(writer.text)
}

fn write(writer: &mut Writer, value: &Val) -> Result<(), BadResult> {
    match value {
        Val::I32(value) => writer.push(&value.to_string()),
        Val::I64(value) => writer.push(&value.to_string()),
        Val::F32(bits) => writer.float32(f32::from_bits(*bits)),
        Val::F64(bits) => writer.float64(f64::from_bits(*bits)),
        Val::V128(_) => Err(BadResult::NoJsonForm { kind: "v128" }),
        _ => Err(BadResult::NoJsonForm { kind: "reference" }),
    }
}
