//! Types and signatures as text, in WIT syntax with records and variants written out.
//!
//! The text has a bound: component types are graphs, and writing one out can take exponentially
//! more room than the component that declares it.

use std::fmt::{self, Write as _};

use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{ResourceType, Type};
use wasmtime::{FuncType, ValType};

/// Longest text of one type or signature; the rest becomes `...`.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// What the resources of a component are called, as far as it says so.
#[derive(Debug, Clone, Default)]
pub struct ResourceNames(Vec<(ResourceType, String)>);

impl ResourceNames {
    /// Adds one. The first name of a resource stays.
    pub fn insert(&mut self, resource: ResourceType, name: &str) {
        if self.get(resource).is_none() {
            self.0.push((resource, name.to_owned()));
        }
    }

    fn get(&self, resource: ResourceType) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == resource).map(|(_, name)| name.as_str())
    }
}

/// Writes `ty` as WIT.
#[must_use]
pub fn type_text(ty: &Type, resources: &ResourceNames) -> String {
    bounded(|out| write_type(out, ty, resources))
}

/// Writes the type of a function as WIT: `func(a: s32, b: s32) -> s32`.
#[must_use]
pub fn function_text(function: &ComponentFunc, resources: &ResourceNames) -> String {
    bounded(|out| {
        if function.async_() {
            out.write_str("async ")?;
        }
        out.write_str("func(")?;
        separated(out, function.params(), |out, (name, ty)| {
            write!(out, "{name}: ")?;
            write_type(out, &ty, resources)
        })?;
        out.write_str(")")?;
        for result in function.results() {
            out.write_str(" -> ")?;
            write_type(out, &result, resources)?;
        }
        Ok(())
    })
}

/// Writes the type of a core function like [`function_text`]; its parameters are `p1`, `p2`, ...
#[must_use]
pub fn core_function_text(function: &FuncType) -> String {
    bounded(|out| {
        out.write_str("func(")?;
        separated(out, core_parameters(function), |out, (name, ty)| write!(out, "{name}: {ty}"))?;
        out.write_str(")")?;
        let result = core_result_text(function);
        if result.is_empty() { Ok(()) } else { write!(out, " -> {result}") }
    })
}

/// Names and types of the parameters of a core function.
pub fn core_parameters(function: &FuncType) -> impl Iterator<Item = (String, ValType)> {
    function.params().enumerate().map(|(index, ty)| (format!("p{}", index + 1), ty))
}

/// The result of a core function: empty, `i32`, or `tuple<i32, i64>` for several.
#[must_use]
pub fn core_result_text(function: &FuncType) -> String {
    bounded(|out| match function.results().len() {
        0 => Ok(()),
        1 => separated(out, function.results(), |out, ty| write!(out, "{ty}")),
        _ => {
            out.write_str("tuple<")?;
            separated(out, function.results(), |out, ty| write!(out, "{ty}"))?;
            out.write_str(">")
        }
    })
}

fn write_type(out: &mut Bounded, ty: &Type, resources: &ResourceNames) -> fmt::Result {
    let one = |out: &mut Bounded, ty: &Type| write_type(out, ty, resources);
    let simple = match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
        Type::List(list) => return generic(out, "list", &[Some(list.ty())], one),
        Type::FixedLengthList(list) => {
            out.write_str("list<")?;
            one(out, &list.ty())?;
            return write!(out, ", {}>", list.len());
        }
        Type::Map(map) => return generic(out, "map", &[Some(map.key()), Some(map.value())], one),
        Type::Option(option) => return generic(out, "option", &[Some(option.ty())], one),
        Type::Future(future) => return generic(out, "future", &[future.ty()], one),
        Type::Stream(stream) => return generic(out, "stream", &[stream.ty()], one),
        Type::Result(result) => return generic(out, "result", &[result.ok(), result.err()], one),
        Type::Tuple(tuple) => {
            let types: Vec<_> = tuple.types().map(Some).collect();
            return generic(out, "tuple", &types, one);
        }
        Type::Record(record) => {
            return block(out, "record", record.fields(), |out, field| {
                write!(out, "{}: ", field.name)?;
                one(out, &field.ty)
            });
        }
        Type::Variant(variant) => {
            return block(out, "variant", variant.cases(), |out, case| {
                out.write_str(case.name)?;
                let Some(ty) = &case.ty else { return Ok(()) };
                out.write_str("(")?;
                one(out, ty)?;
                out.write_str(")")
            });
        }
        Type::Enum(names) => return block(out, "enum", names.names(), Bounded::write_str),
        Type::Flags(names) => return block(out, "flags", names.names(), Bounded::write_str),
        Type::Own(resource) => resources.get(*resource).unwrap_or("resource"),
        Type::Borrow(resource) => {
            return write!(out, "borrow<{}>", resources.get(*resource).unwrap_or("resource"));
        }
    };
    out.write_str(simple)
}

/// `name<a, b>`; absent types at the end are left out, others become `_`.
fn generic(
    out: &mut Bounded,
    name: &str,
    types: &[Option<Type>],
    one: impl Fn(&mut Bounded, &Type) -> fmt::Result,
) -> fmt::Result {
    out.write_str(name)?;
    let Some(last) = types.iter().rposition(Option::is_some) else { return Ok(()) };
    out.write_str("<")?;
    separated(out, types[..=last].iter(), |out, ty| match ty {
        Some(ty) => one(out, ty),
        None => out.write_str("_"),
    })?;
    out.write_str(">")
}

/// `name { a, b }`.
fn block<T>(
    out: &mut Bounded,
    name: &str,
    items: impl Iterator<Item = T>,
    one: impl Fn(&mut Bounded, T) -> fmt::Result,
) -> fmt::Result {
    write!(out, "{name} {{ ")?;
    separated(out, items, one)?;
    out.write_str(" }")
}

fn separated<T>(
    out: &mut Bounded,
    items: impl Iterator<Item = T>,
    one: impl Fn(&mut Bounded, T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.write_str(", ")?;
        }
        one(out, item)?;
    }
    Ok(())
}

/// Text that fails once it is too long, so that the writing ends there.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > TEXT_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn bounded(write: impl FnOnce(&mut Bounded) -> fmt::Result) -> String {
    let mut out = Bounded(String::new());
    if write(&mut out).is_err() {
        out.0.push_str("...");
    }
    out.0
}
