//! `solo call` and `solo send`: arguments of the command line become a payload or JSON arguments.
//!
//! What kind of service it is decides how the arguments are read, so it is asked for first. Whoever
//! may call a service but not read it is taken to mean a typed function, or a handler with `--data`.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::IgnoredAny;
use solo_api::v1::{call_request, call_response, send_request};
use solo_api::{Client, v1};
use solo_gateway::json;
use solo_types::{Problem, ProblemKind, bounds};

use super::context::{Context, DEADLINE, answer};
use super::values::milliseconds;
use super::{Failure, code};
use crate::output;

/// Beyond the timeout of the call: the kernel's answer that it has passed is better than ours.
const CALL_GRACE: Duration = Duration::from_secs(1);

/// Whom to address with what.
#[derive(Debug, Clone, Args)]
pub(crate) struct Message {
    /// Name of the service
    #[arg(value_name = "NAME")]
    name: String,
    /// Function and one JSON value per parameter; for a handler the payload, `-` for standard input
    #[arg(value_name = "FUNCTION|PAYLOAD", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Payload for a handler: text, @FILE, or `-` for standard input
    #[arg(long, value_name = "DATA", conflicts_with = "arguments", allow_hyphen_values = true)]
    data: Option<String>,
}

/// Arguments of `solo call`.
#[derive(Debug, Args)]
pub(crate) struct Call {
    #[command(flatten)]
    message: Message,
    /// Time to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "30s", allow_hyphen_values = true,
        value_parser = milliseconds("timeout_ms"))]
    timeout: u64,
    #[command(flatten)]
    chain: ChainFlags,
}

/// Which chain of calls a message belongs to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChainFlags {
    /// Chain of calls to go on with, 32 hexadecimal digits or a `traceparent`; logs and errors name
    /// it [default: a new one]
    #[arg(long, value_name = "TRACE")]
    trace: Option<String>,
}

/// Arguments of `solo send`.
#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    message: Message,
    #[command(flatten)]
    chain: ChainFlags,
}

#[derive(Debug, Serialize)]
struct SendJson {
    service: String,
    queued: bool,
    trace_id: String,
}

/// What goes to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Input {
    Payload(Vec<u8>),
    Json { function: String, arguments: String },
}

impl Call {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let (function, input) = match self.message.input(&client).await? {
            Input::Payload(payload) => (String::new(), call_request::Input::Payload(payload)),
            Input::Json { function, arguments } => {
                (function, call_request::Input::JsonArguments(arguments))
            }
        };
        let message = v1::CallRequest {
            service: self.message.name,
            function,
            input: Some(input),
            timeout_ms: Some(self.timeout),
            trace_id: self.chain.trace.unwrap_or_default(),
        };
        let deadline = Duration::from_millis(self.timeout).saturating_add(CALL_GRACE);
        let request = client.request(message, deadline);
        let response = answer(deadline, client.grpc().call(request)).await?;
        match response.output {
            Some(call_response::Output::Json(json)) => {
                // JSON is the answer in both formats; only a terminal must not obey it.
                let json = if context.output.is_json() { json } else { output::json(&json) };
                context.output.bytes(format!("{json}\n").as_bytes())
            }
            Some(call_response::Output::Payload(payload)) if context.output.is_json() => {
                context.output.show(&json::payload(&payload), |_| String::new())
            }
            Some(call_response::Output::Payload(payload)) => context.output.payload(&payload),
            None => Ok(()),
        }
    }
}

impl Send {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let (function, input) = match self.message.input(&client).await? {
            Input::Payload(payload) => (String::new(), send_request::Input::Payload(payload)),
            Input::Json { function, arguments } => {
                (function, send_request::Input::JsonArguments(arguments))
            }
        };
        let service = self.message.name;
        let message = v1::SendRequest {
            service: service.clone(),
            function,
            input: Some(input),
            trace_id: self.chain.trace.unwrap_or_default(),
        };
        let request = client.request(message, DEADLINE);
        let trace_id = answer(DEADLINE, client.grpc().send(request)).await?.trace_id;
        context.output.show(&SendJson { service, queued: true, trace_id }, |_| String::new())
    }
}

impl Message {
    async fn input(&self, client: &Client) -> Result<Input, Failure> {
        if let Some(data) = &self.data {
            return Ok(Input::Payload(data_bytes(data)?));
        }
        let request = client.request(v1::StatusRequest { name: self.name.clone() }, DEADLINE);
        let exports = match answer(DEADLINE, client.grpc().status(request)).await {
            Ok(status) if status.kind == v1::ServiceKind::Handler as i32 => {
                return self.payload();
            }
            Ok(status) => status.exports,
            Err(Failure::Refused(problem)) if problem.kind == ProblemKind::PermissionDenied => {
                Vec::new()
            }
            Err(failure) => return Err(failure),
        };
        typed(&self.name, &self.arguments, &exports)
    }

    /// The only argument of a handler.
    fn payload(&self) -> Result<Input, Failure> {
        match self.arguments.as_slice() {
            [] => Ok(Input::Payload(Vec::new())),
            [payload] if payload == "-" => Ok(Input::Payload(standard_input()?)),
            [payload] => Ok(Input::Payload(payload.clone().into_bytes())),
            _ => Err(Failure::usage(
                format!("{} is a handler: it takes one payload, no function", self.name),
                "put the payload in quotes, or use --data",
            )),
        }
    }
}

fn data_bytes(data: &str) -> Result<Vec<u8>, Failure> {
    match data.strip_prefix('@') {
        Some(file) => code::read(Path::new(file), bounds::MESSAGE_BYTES_MAX as u64),
        None if data == "-" => standard_input(),
        None => Ok(data.as_bytes().to_vec()),
    }
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let max = bounds::MESSAGE_BYTES_MAX as u64;
    code::read(Path::new("-"), max)
}

/// Reads FUNCTION and its arguments by the types of its parameters.
fn typed(name: &str, words: &[String], exports: &[v1::Export]) -> Result<Input, Failure> {
    let Some((function, words)) = words.split_first() else {
        let names: Vec<_> = exports.iter().map(|export| export.name.as_str()).collect();
        return Err(Failure::usage(
            format!("no function of {name} was named"),
            format!("name one of: {}", names.join(", ")),
        ));
    };
    let export = find(exports, function);
    let mut values = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        let parameter = export.and_then(|export| export.parameters.get(index));
        values.push(json_value(word, parameter, export)?);
    }
    Ok(Input::Json { function: function.clone(), arguments: format!("[{}]", values.join(",")) })
}

/// The export of this name, or the only one whose last part it is.
fn find<'a>(exports: &'a [v1::Export], function: &str) -> Option<&'a v1::Export> {
    if let Some(export) = exports.iter().find(|export| export.name == function) {
        return Some(export);
    }
    let mut short =
        exports.iter().filter(|export| export.name.rsplit('#').next() == Some(function));
    let export = short.next()?;
    short.next().is_none().then_some(export)
}

/// The word itself where it is JSON; a JSON string where the parameter takes one. What the kernel
/// has to refuse anyway (an unknown function, one argument too many) is passed on as a string.
fn json_value(
    word: &str,
    parameter: Option<&v1::Parameter>,
    export: Option<&v1::Export>,
) -> Result<String, Failure> {
    if serde_json::from_str::<IgnoredAny>(word).is_ok() {
        return Ok(word.to_owned());
    }
    match (parameter, export) {
        (Some(parameter), Some(export)) if !takes_word(&parameter.r#type) => {
            let (name, ty) = (&parameter.name, &parameter.r#type);
            let cause = format!("{word:?} is not JSON, and parameter {name} is {ty}");
            Err(Failure::Usage(
                Problem::invalid("BAD_ARGUMENTS", "json_arguments", &cause)
                    .remedy("give one JSON value per parameter; quote it for the shell")
                    .detail("expected", export.signature.clone()),
            ))
        }
        _ => Ok(serde_json::Value::from(word).to_string()),
    }
}

/// Whether values of this WIT type are written as JSON strings.
fn takes_word(ty: &str) -> bool {
    ty == "string"
        || ty == "char"
        || ty == "enum"
        || ty.starts_with("enum ")
        || ty.starts_with("enum{")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exports() -> Vec<v1::Export> {
        let export = |name: &str, types: &[&str]| v1::Export {
            name: name.into(),
            signature: format!("{name}: func({})", types.join(", ")),
            parameters: types
                .iter()
                .map(|ty| v1::Parameter { name: "p".into(), r#type: (*ty).into() })
                .collect(),
            result: String::new(),
        };
        vec![
            export("add", &["s32", "s32"]),
            export("demo:api/text@1.0.0#greet", &["string", "enum { loud, quiet }"]),
            export("demo:api/one@1.0.0#same", &[]),
            export("demo:api/two@1.0.0#same", &[]),
        ]
    }

    fn check(words: &[&str], expected: &str) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let text = match typed("x", &words, &exports()) {
            Ok(Input::Json { function, arguments }) => format!("{function} {arguments}"),
            Ok(Input::Payload(_)) => "payload".to_owned(),
            Err(failure) => format!(
                "{} {}",
                failure.exit_code(),
                failure.problem().map(|problem| problem.cause.clone()).unwrap_or_default()
            ),
        };
        assert_eq!(text, expected, "{words:?}");
    }

    #[test]
    fn words_become_json_where_the_type_is_text() {
        check(&["add", "2", "-3"], "add [2,-3]");
        check(&["add", "\"two\"", "3"], "add [\"two\",3]");
        check(&["add", "two", "3"], "2 \"two\" is not JSON, and parameter p is s32");
        check(&["greet", "ann", "loud"], "greet [\"ann\",\"loud\"]");
        check(&["greet", "a \"b\"", "\"loud\""], "greet [\"a \\\"b\\\"\",\"loud\"]");
        check(&["add", "18446744073709551615"], "add [18446744073709551615]");
        check(&["add", "[1,", "2"], "2 \"[1,\" is not JSON, and parameter p is s32");
    }

    #[test]
    fn what_the_kernel_refuses_is_passed_on() {
        check(&["missing", "word"], "missing [\"word\"]");
        check(&["same", "word"], "same [\"word\"]");
        check(&["add", "1", "2", "three"], "add [1,2,\"three\"]");
    }

    #[test]
    fn a_function_must_be_named() {
        check(&[], "2 no function of x was named");
    }
}
