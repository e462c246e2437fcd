//! `interface: stdio`: a line of JSON in, a line of JSON out, one after the other.
//!
//! Standard output belongs to the answers; what a program wants to say beside them goes to standard error.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use solo_types::bounds::MESSAGE_BYTES_MAX;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;

use super::super::failure::{Failure, Reason};
use super::super::message::{Answer, Input};

/// A line: the largest answer and what is around it.
const LINE_BYTES_MAX: u64 = MESSAGE_BYTES_MAX as u64 + 64;

/// A message to the program.
#[derive(Serialize)]
struct Line<'a> {
    function: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
    /// Bytes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

/// Its answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply<'a> {
    #[serde(borrow, default, deserialize_with = "also_null")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    payload: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// `null` is a result like others.
fn also_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// The ends of the program's standard input and output.
#[derive(Debug)]
pub(super) struct Stdio {
    input: pipe::Sender,
    output: BufReader<pipe::Receiver>,
}

impl Stdio {
    pub(super) fn new(input: pipe::Sender, output: pipe::Receiver) -> Self {
        Self { input, output: BufReader::new(output) }
    }

    /// Writes a line and waits for one. Must not be given up half way: the next answer would be the last
    /// question's.
    ///
    /// # Errors
    /// What the program said; or it said something else than the protocol, after which the two are out of
    /// step and `Broken` says so.
    pub(super) async fn call(
        &mut self,
        function: &str,
        input: Input,
    ) -> Result<Result<Answer, Failure>, Broken> {
        let line = match line(function, input) {
            Ok(line) => line,
            Err(failure) => return Ok(Err(failure)),
        };
        self.input.write_all(&line).await.map_err(|error| Broken(error.to_string()))?;
        let mut answer = Vec::new();
        (&mut self.output)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut answer)
            .await
            .map_err(|error| Broken(error.to_string()))?;
        if answer.pop() != Some(b'\n') {
            let why = if answer.len() as u64 + 1 < LINE_BYTES_MAX {
                "its standard output ended"
            } else {
                "a line is longer than a message may be"
            };
            return Err(Broken(why.to_owned()));
        }
        read(&answer)
    }
}

/// The program does not keep to the protocol.
#[derive(Debug, thiserror::Error)]
#[error("the program does not speak lines of JSON: {0}")]
pub(super) struct Broken(pub(super) String);

fn line(function: &str, input: Input) -> Result<Vec<u8>, Failure> {
    let bad = |error: &dyn std::fmt::Display| {
        let message = format!("the arguments are no JSON array: {error}");
        Failure::new(Reason::BadArguments, message)
    };
    let (arguments, payload) = match input {
        Input::None => (Some(raw("[]".to_owned()).map_err(|e| bad(&e))?), None),
        // As it was written, but for the ends of lines, which JSON has between its parts only.
        Input::Json(text) => {
            let text = text.replace(['\n', '\r'], " ");
            (Some(raw(text).map_err(|e| bad(&e))?), None)
        }
        Input::Payload(bytes) => (None, Some(STANDARD.encode(bytes))),
        Input::Passing(_) => return Err(super::no_references()),
    };
    let line = Line { function, arguments: arguments.as_deref(), payload };
    let mut bytes = serde_json::to_vec(&line).map_err(|e| bad(&e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn raw(text: String) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(text)
}

fn read(line: &[u8]) -> Result<Result<Answer, Failure>, Broken> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        // An array would be taken for an object's values in their order.
        return Err(Broken(format!("no object in {:?}", beginning(line))));
    }
    let reply: Reply<'_> = serde_json::from_slice(line)
        .map_err(|error| Broken(format!("{error} in {:?}", beginning(line))))?;
    match reply {
        Reply { result: None, payload: None, error: Some(error) } => {
            Ok(Err(Failure::new(Reason::Refused, error)))
        }
        Reply { result: Some(result), payload: None, error: None } => {
            Ok(Ok(Answer::Json(result.get().to_owned())))
        }
        Reply { result: None, payload: Some(payload), error: None } => {
            let bytes = STANDARD.decode(payload);
            bytes.map(|bytes| Ok(Answer::Payload(bytes))).map_err(|e| Broken(e.to_string()))
        }
        _ => Err(Broken("an answer has one of `result`, `payload` and `error`".to_owned())),
    }
}

fn beginning(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&line[..line.len().min(200)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(function: &str, input: Input) -> String {
        String::from_utf8(line(function, input).expect("a line")).expect("text")
    }

    #[test]
    fn a_message_is_one_line() {
        let pretty = Input::Json("[\n 1,\r\n {\"a\": \"\\n\"}]".to_owned());
        let line = text("add", pretty);
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read, serde_json::json!({"function": "add", "arguments": [1, {"a": "\n"}]}));
        assert_eq!(text("f", Input::None), "{\"function\":\"f\",\"arguments\":[]}\n");
        assert_eq!(
            text("", Input::Payload(vec![0, 255])),
            "{\"function\":\"\",\"payload\":\"AP8=\"}\n"
        );
        assert!(line_is_refused("[1"));
    }

    fn line_is_refused(text: &str) -> bool {
        line("f", Input::Json(text.to_owned())).is_err()
    }

    #[test]
    fn an_answer_says_one_thing() {
        let json = |line: &str| match read(line.as_bytes()) {
            Ok(Ok(Answer::Json(json))) => Ok(json),
            Ok(Ok(Answer::Payload(bytes))) => Ok(format!("{bytes:?}")),
            Ok(Err(failure)) => Err(failure.message),
            Err(broken) => Err(broken.to_string()),
        };
        assert_eq!(json("{\"result\": [1, 2]}"), Ok("[1, 2]".to_owned()));
        assert_eq!(json("{\"payload\":\"AP8=\"}"), Ok("[0, 255]".to_owned()));
        assert_eq!(json("{\"error\":\"no\"}"), Err("no".to_owned()));
        assert_eq!(json("{\"result\":null}"), Ok("null".to_owned()));
        for wrong in ["", "hello", "{}", "{\"result\":1,\"error\":\"x\"}", "[1]", "{\"x\":1}"] {
            assert!(json(wrong).is_err_and(|why| why.contains("does not speak")), "{wrong}");
        }
    }
}
