//! Component values to JSON.

use solo_types::bounds::MESSAGE_BYTES_MAX;
use wasmtime::component::Val;

use super::BadResult;

/// Converts the results of a component function, none or one, to JSON text. None is `null`.
///
/// # Errors
/// [`BadResult`] if the text is longer than a message may be, or a value has no JSON form.
pub fn results_to_json(results: &[Val]) -> Result<String, BadResult> {
    let mut writer = Writer::default();
    match results {
        [] => writer.push("null")?,
        [one] => writer.value(one)?,
        // No component of today's model has several; a list is what their JSON would be.
        several => writer.list(several)?,
    }
    Ok(writer.text)
}

/// JSON text under construction: in the order of declaration, never longer than a message.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) text: String,
}

impl Writer {
    pub(super) fn push(&mut self, text: &str) -> Result<(), BadResult> {
        if self.text.len() + text.len() > MESSAGE_BYTES_MAX {
            return Err(BadResult::TooLarge { limit: MESSAGE_BYTES_MAX });
        }
        self.text.push_str(text);
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), BadResult> {
        if self.text.len() + text.len() > MESSAGE_BYTES_MAX {
            return Err(BadResult::TooLarge { limit: MESSAGE_BYTES_MAX });
        }
        self.push(&serde_json::Value::from(text).to_string())
    }

    pub(super) fn float64(&mut self, value: f64) -> Result<(), BadResult> {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.push(&number.to_string()),
            None if value.is_nan() => self.push("\"NaN\""),
            None if value > 0.0 => self.push("\"Infinity\""),
            None => self.push("\"-Infinity\""),
        }
    }

    /// Writes the fewest digits that read back as the same `f32`: 0.1, not 0.10000000149011612.
    pub(super) fn float32(&mut self, value: f32) -> Result<(), BadResult> {
        let short = value.to_string().parse().unwrap_or(f64::from(value));
        #[expect(clippy::cast_possible_truncation, reason = "this is the check that it fits")]
        let same = (short as f32).to_bits() == value.to_bits();
        self.float64(if same { short } else { f64::from(value) })
    }

    fn list(&mut self, values: &[Val]) -> Result<(), BadResult> {
        self.push("[")?;
        for (index, value) in values.iter().enumerate() {
            self.comma(index)?;
            self.value(value)?;
        }
        self.push("]")
    }

    pub(super) fn comma(&mut self, index: usize) -> Result<(), BadResult> {
        if index == 0 { Ok(()) } else { self.push(",") }
    }

    /// `{"key": value}`, `null` for no value.
    fn tagged(&mut self, key: &str, value: Option<&Val>) -> Result<(), BadResult> {
        self.push("{")?;
        self.string(key)?;
        self.push(":")?;
        match value {
            Some(value) => self.value(value)?,
            None => self.push("null")?,
        }
        self.push("}")
    }

    fn value(&mut self, value: &Val) -> Result<(), BadResult> {
        let no_form = |kind| Err(BadResult::NoJsonForm { kind });
        match value {
            Val::Bool(value) => self.push(if *value { "true" } else { "false" }),
            Val::S8(value) => self.push(&value.to_string()),
            Val::U8(value) => self.push(&value.to_string()),
            Val::S16(value) => self.push(&value.to_string()),
            Val::U16(value) => self.push(&value.to_string()),
            Val::S32(value) => self.push(&value.to_string()),
            Val::U32(value) => self.push(&value.to_string()),
            Val::S64(value) => self.push(&value.to_string()),
            Val::U64(value) => self.push(&value.to_string()),
            Val::Float32(value) => self.float32(*value),
            Val::Float64(value) => self.float64(*value),
            Val::Char(value) => self.string(value.encode_utf8(&mut [0; 4])),
            Val::String(value) | Val::Enum(value) => self.string(value),
            Val::List(values) | Val::Tuple(values) | Val::FixedLengthList(values) => {
                self.list(values)
            }
            Val::Map(entries) => self.map(entries),
            Val::Record(fields) => {
                self.push("{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    self.comma(index)?;
                    self.string(name)?;
                    self.push(":")?;
                    self.value(value)?;
                }
                self.push("}")
            }
            Val::Variant(name, None) => self.string(name),
            Val::Variant(name, Some(payload)) => self.tagged(name, Some(payload)),
            Val::Option(None) => self.push("null"),
            // Only an option within an option needs to say that it is there.
            Val::Option(Some(inner)) if matches!(**inner, Val::Option(_)) => {
                self.tagged("some", Some(inner))
            }
            Val::Option(Some(inner)) => self.value(inner),
            Val::Result(Ok(payload)) => self.tagged("ok", payload.as_deref()),
            Val::Result(Err(payload)) => self.tagged("err", payload.as_deref()),
            Val::Flags(names) => {
                self.push("[")?;
                for (index, name) in names.iter().enumerate() {
                    self.comma(index)?;
                    self.string(name)?;
                }
                self.push("]")
            }
            Val::Resource(_) => no_form("resource"),
            Val::Future(_) => no_form("future"),
            Val::Stream(_) => no_form("stream"),
            Val::ErrorContext(_) => no_form("error-context"),
        }
    }

    /// An object if the keys are strings, else an array of pairs. An empty map is an empty object
    /// whatever its keys: the value does not say of which type they would be.
    fn map(&mut self, entries: &[(Val, Val)]) -> Result<(), BadResult> {
        let object = entries.iter().all(|(key, _)| matches!(key, Val::String(_)));
        self.push(if object { "{" } else { "[" })?;
        for (index, (key, value)) in entries.iter().enumerate() {
            self.comma(index)?;
            if object {
                self.value(key)?;
                self.push(":")?;
                self.value(value)?;
            } else {
                self.push("[")?;
                self.value(key)?;
                self.push(",")?;
                self.value(value)?;
                self.push("]")?;
            }
        }
        self.push(if object { "}" } else { "]" })
    }
}
