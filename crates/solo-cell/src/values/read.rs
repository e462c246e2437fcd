//! JSON to component values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use solo_types::bounds::MESSAGE_BYTES_MAX;
use wasmtime::component::types::{self, ComponentFunc};
use wasmtime::component::{Type, Val};

use super::mismatch::{Mismatch, mismatch, place, shown, unknown};
use super::number::{float32, float64, integer};
use super::wit::{ResourceNames, function_text};
use super::{
    BadArguments, DEPTH_MAX, MESSAGE_TEXT_BYTES_MAX, TYPE_PARTS_MAX, VALUES_MAX, shorten, strict,
    type_text,
};

/// Converts `json`, an array with one value per parameter, to the arguments of `function`.
///
/// # Errors
/// [`BadArguments`] if `json` is no such array, if a value does not fit its type, or if the
/// function takes or gives handles.
pub fn arguments_from_json(function: &ComponentFunc, json: &str) -> Result<Vec<Val>, BadArguments> {
    read_arguments(function, json).map_err(|message| BadArguments {
        message: shorten(message, MESSAGE_TEXT_BYTES_MAX),
        expected: function_text(function, &ResourceNames::default()),
    })
}

fn read_arguments(function: &ComponentFunc, json: &str) -> Result<Vec<Val>, String> {
    let mut parts_left = TYPE_PARTS_MAX;
    for (name, ty) in function.params() {
        refuse_handles(&ty, &mut parts_left, 0)
            .map_err(|what| format!("parameter {name} {what}: it cannot be called with JSON"))?;
    }
    for ty in function.results() {
        refuse_handles(&ty, &mut parts_left, 0)
            .map_err(|what| format!("the result {what}: it cannot be called with JSON"))?;
    }
    let values = parse_array(json, function.params().len())?;
    let mut reader = Reader { values_left: VALUES_MAX };
    function
        .params()
        .zip(&values)
        .enumerate()
        .map(|(index, ((name, ty), value))| {
            reader.read(&ty, value, 0).map_err(|mismatch| place(index, name, &mismatch))
        })
        .collect()
}

/// Parses the array of arguments and checks their number.
pub(super) fn parse_array(json: &str, count: usize) -> Result<Vec<Value>, String> {
    if json.len() > MESSAGE_BYTES_MAX {
        return Err(format!(
            "the arguments have {} bytes, at most {MESSAGE_BYTES_MAX}",
            json.len()
        ));
    }
    let value =
        strict::parse(json).map_err(|error| format!("the arguments are not JSON: {error}"))?;
    let Value::Array(values) = value else {
        let got = shown(&value);
        return Err(format!("expected an array with one value per parameter, got {got}"));
    };
    if values.len() != count {
        let noun = if count == 1 { "argument" } else { "arguments" };
        return Err(format!("expected {count} {noun}, got {}", values.len()));
    }
    Ok(values)
}

/// Says what makes a type one without JSON form: `takes a resource` and the like.
fn refuse_handles(ty: &Type, parts_left: &mut usize, depth: usize) -> Result<(), String> {
    let Some(left) = parts_left.checked_sub(1) else {
        return Err(format!("has more than {TYPE_PARTS_MAX} parts"));
    };
    *parts_left = left;
    if depth > DEPTH_MAX {
        return Err(format!("is nested deeper than {DEPTH_MAX} levels"));
    }
    let mut each = |ty: &Type| refuse_handles(ty, parts_left, depth + 1);
    match ty {
        Type::Own(_) | Type::Borrow(_) => Err("has a resource in it".to_owned()),
        Type::Future(_) => Err("has a future in it".to_owned()),
        Type::Stream(_) => Err("has a stream in it".to_owned()),
        Type::ErrorContext => Err("has an error-context in it".to_owned()),
        Type::List(list) => each(&list.ty()),
        Type::FixedLengthList(list) => each(&list.ty()),
        Type::Option(option) => each(&option.ty()),
        Type::Map(map) => each(&map.key()).and_then(|()| each(&map.value())),
        Type::Record(record) => record.fields().try_for_each(|field| each(&field.ty)),
        Type::Tuple(tuple) => tuple.types().try_for_each(|ty| each(&ty)),
        Type::Variant(variant) => {
            variant.cases().filter_map(|case| case.ty).try_for_each(|ty| each(&ty))
        }
        Type::Result(result) => {
            result.ok().into_iter().chain(result.err()).try_for_each(|ty| each(&ty))
        }
        _ => Ok(()),
    }
}

struct Reader {
    values_left: usize,
}

impl Reader {
    fn read(&mut self, ty: &Type, json: &Value, depth: usize) -> Result<Val, Mismatch> {
        self.count(1)?;
        if depth > DEPTH_MAX {
            return Err(Mismatch::new(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let wrong = || mismatch(&type_text(ty, &ResourceNames::default()), json);
        match ty {
            Type::Bool => json.as_bool().map(Val::Bool).ok_or_else(wrong),
            Type::S8 => integer(json, "s8").map(Val::S8),
            Type::U8 => integer(json, "u8").map(Val::U8),
            Type::S16 => integer(json, "s16").map(Val::S16),
            Type::U16 => integer(json, "u16").map(Val::U16),
            Type::S32 => integer(json, "s32").map(Val::S32),
            Type::U32 => integer(json, "u32").map(Val::U32),
            Type::S64 => integer(json, "s64").map(Val::S64),
            Type::U64 => integer(json, "u64").map(Val::U64),
            Type::Float32 => float32(json).map(Val::Float32),
            Type::Float64 => float64(json).map(Val::Float64),
            Type::Char => one_char(json).map(Val::Char).ok_or_else(wrong),
            Type::String => json.as_str().map(|s| Val::String(s.to_owned())).ok_or_else(wrong),
            Type::List(list) => self.list(&list.ty(), json, depth, wrong).map(Val::List),
            Type::FixedLengthList(list) => {
                let values = self.list(&list.ty(), json, depth, wrong)?;
                if values.len() == list.len() as usize {
                    Ok(Val::FixedLengthList(values))
                } else {
                    let (expected, got) = (list.len(), values.len());
                    Err(Mismatch::new(format!("expected {expected} elements, got {got}")))
                }
            }
            Type::Map(map) => self.map(map, json, depth, wrong),
            Type::Record(record) => self.record(record, json.as_object().ok_or_else(wrong)?, depth),
            Type::Tuple(tuple) => {
                let items = json.as_array().ok_or_else(wrong)?;
                if items.len() != tuple.types().len() {
                    let (expected, got) = (tuple.types().len(), items.len());
                    let noun = if expected == 1 { "element" } else { "elements" };
                    return Err(Mismatch::new(format!("expected {expected} {noun}, got {got}")));
                }
                let items = items.iter().enumerate();
                let read = |((index, item), ty): ((usize, &Value), Type)| {
                    self.read(&ty, item, depth + 1).map_err(|m| m.within(|| format!("[{index}]")))
                };
                items.zip(tuple.types()).map(read).collect::<Result<_, _>>().map(Val::Tuple)
            }
            Type::Variant(variant) => self.variant(variant, json, depth, wrong),
            Type::Enum(names) => {
                let name = json.as_str().ok_or_else(wrong)?;
                let known = names.names().any(|known| known == name);
                let unknown = || unknown("case", name, names.names());
                known.then(|| Val::Enum(name.to_owned())).ok_or_else(unknown)
            }
            Type::Option(option) => self.option(&option.ty(), json, depth),
            Type::Result(result) => self.result(result, json, depth, wrong),
            Type::Flags(flags) => read_flags(flags, json, wrong),
            Type::Own(_)
            | Type::Borrow(_)
            | Type::Future(_)
            | Type::Stream(_)
            | Type::ErrorContext => Err(wrong()),
        }
    }

    fn count(&mut self, values: usize) -> Result<(), Mismatch> {
        self.values_left = self.values_left.checked_sub(values).ok_or_else(|| {
            Mismatch::new(format!("more than {VALUES_MAX} values; send bytes as base64 text"))
        })?;
        Ok(())
    }

    fn list(
        &mut self,
        element: &Type,
        json: &Value,
        depth: usize,
        wrong: impl Fn() -> Mismatch,
    ) -> Result<Vec<Val>, Mismatch> {
        if let (Type::U8, Some(object)) = (element, json.as_object()) {
            let text = only_entry(object)
                .filter(|(key, _)| *key == "base64")
                .and_then(|(_, text)| text.as_str())
                .ok_or_else(wrong)?;
            let bytes = BASE64
                .decode(text)
                .map_err(|error| Mismatch::new(format!("the base64 text is wrong: {error}")))?;
            return Ok(bytes.into_iter().map(Val::U8).collect());
        }
        let items = json.as_array().ok_or_else(wrong)?.iter().enumerate();
        items
            .map(|(index, item)| {
                self.read(element, item, depth + 1).map_err(|m| m.within(|| format!("[{index}]")))
            })
            .collect()
    }

    fn map(
        &mut self,
        map: &types::Map,
        json: &Value,
        depth: usize,
        wrong: impl Fn() -> Mismatch,
    ) -> Result<Val, Mismatch> {
        // Values do not carry their types, so an empty map is written the same whatever its keys.
        if json.as_object().is_some_and(Map::is_empty) || json.as_array().is_some_and(Vec::is_empty)
        {
            return Ok(Val::Map(Vec::new()));
        }
        let (key, value) = (map.key(), map.value());
        if key == Type::String {
            let entries = json.as_object().ok_or_else(wrong)?;
            let read = |(name, item): (&String, &Value)| {
                let item = self
                    .read(&value, item, depth + 1)
                    .map_err(|m| m.within(|| format!("[{name:?}]")))?;
                Ok((Val::String(name.clone()), item))
            };
            return entries.iter().map(read).collect::<Result<_, _>>().map(Val::Map);
        }
        let pairs = json.as_array().ok_or_else(wrong)?.iter().enumerate();
        let read = |(index, pair): (usize, &Value)| {
            let within = |m: Mismatch| m.within(|| format!("[{index}]"));
            let Some([left, right]) = pair.as_array().map(Vec::as_slice) else {
                return Err(within(mismatch("[key, value]", pair)));
            };
            let left = self.read(&key, left, depth + 1).map_err(within)?;
            Ok((left, self.read(&value, right, depth + 1).map_err(within)?))
        };
        pairs.map(read).collect::<Result<_, _>>().map(Val::Map)
    }

    fn record(
        &mut self,
        record: &types::Record,
        object: &Map<String, Value>,
        depth: usize,
    ) -> Result<Val, Mismatch> {
        let mut used = 0;
        let mut fields = Vec::with_capacity(record.fields().len());
        for field in record.fields() {
            let value = match object.get(field.name) {
                Some(value) => {
                    used += 1;
                    self.read(&field.ty, value, depth + 1)
                        .map_err(|m| m.within(|| format!(".{}", field.name)))?
                }
                None if matches!(field.ty, Type::Option(_)) => Val::Option(None),
                None => return Err(Mismatch::new(format!("missing key {:?}", field.name))),
            };
            fields.push((field.name.to_owned(), value));
        }
        if used < object.len() {
            let missing =
                object.keys().find(|key| record.fields().all(|field| field.name != **key));
            let name = missing.map_or("", String::as_str);
            return Err(unknown("key", name, record.fields().map(|field| field.name)));
        }
        Ok(Val::Record(fields))
    }

    fn variant(
        &mut self,
        variant: &types::Variant,
        json: &Value,
        depth: usize,
        wrong: impl Fn() -> Mismatch,
    ) -> Result<Val, Mismatch> {
        let (name, payload) = match json {
            Value::String(name) => (name.as_str(), None),
            Value::Object(object) => {
                let (name, payload) = only_entry(object).ok_or_else(&wrong)?;
                (name, Some(payload))
            }
            _ => return Err(wrong()),
        };
        let unknown = || unknown("case", name, variant.cases().map(|case| case.name));
        let case = variant.cases().find(|case| case.name == name).ok_or_else(unknown)?;
        let payload = match (&case.ty, payload) {
            (None, None) => None,
            (Some(ty), Some(payload)) => {
                let read = self.read(ty, payload, depth + 1);
                Some(Box::new(read.map_err(|m| m.within(|| format!(".{name}")))?))
            }
            (Some(_), None) => {
                return Err(Mismatch::new(format!("case {name} has a payload: {{{name:?}: ...}}")));
            }
            (None, Some(_)) => {
                return Err(Mismatch::new(format!("case {name} has no payload: {name:?}")));
            }
        };
        Ok(Val::Variant(name.to_owned(), payload))
    }

    fn option(&mut self, inner: &Type, json: &Value, depth: usize) -> Result<Val, Mismatch> {
        if json.is_null() {
            return Ok(Val::Option(None));
        }
        let value = if matches!(inner, Type::Option(_)) {
            let entry = json.as_object().and_then(only_entry);
            let value = entry.filter(|(key, _)| *key == "some").map(|(_, value)| value);
            let value = value.ok_or_else(|| {
                let ty = type_text(inner, &ResourceNames::default());
                mismatch(&format!("null or {{\"some\": {ty}}}"), json)
            })?;
            self.read(inner, value, depth + 1).map_err(|m| m.within(|| ".some".to_owned()))?
        } else {
            self.read(inner, json, depth + 1)?
        };
        Ok(Val::Option(Some(Box::new(value))))
    }

    fn result(
        &mut self,
        result: &types::ResultType,
        json: &Value,
        depth: usize,
        wrong: impl Fn() -> Mismatch,
    ) -> Result<Val, Mismatch> {
        let (name, value) = json.as_object().and_then(only_entry).ok_or_else(&wrong)?;
        let ty = match name {
            "ok" => result.ok(),
            "err" => result.err(),
            _ => return Err(wrong()),
        };
        let payload = match ty {
            Some(ty) => self.read(&ty, value, depth + 1).map(|value| Some(Box::new(value))),
            None if value.is_null() => Ok(None),
            None => Err(mismatch("null (there is no payload)", value)),
        };
        let payload = payload.map_err(|m| m.within(|| format!(".{name}")))?;
        Ok(Val::Result(if name == "ok" { Ok(payload) } else { Err(payload) }))
    }
}

/// The flags that are named, in the order of their declaration.
fn read_flags(
    flags: &types::Flags,
    json: &Value,
    wrong: impl Fn() -> Mismatch,
) -> Result<Val, Mismatch> {
    let names = json.as_array().ok_or_else(&wrong)?;
    let mut set = vec![false; flags.names().len()];
    for name in names {
        let text = name.as_str().ok_or_else(&wrong)?;
        let index = flags.names().position(|known| known == text);
        let seen = index.and_then(|index| set.get_mut(index));
        if std::mem::replace(seen.ok_or_else(|| unknown("flag", text, flags.names()))?, true) {
            return Err(Mismatch::new(format!("flag {} is named twice", shown(name))));
        }
    }
    let set = flags.names().zip(set).filter(|(_, set)| *set).map(|(name, _)| name.to_owned());
    Ok(Val::Flags(set.collect()))
}

fn only_entry(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (Some((key, value)), None) => Some((key, value)),
        _ => None,
    }
}

fn one_char(json: &Value) -> Option<char> {
    let mut chars = json.as_str()?.chars();
    chars.next().filter(|_| chars.next().is_none())
}
