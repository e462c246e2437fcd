//! What the engine throws, as the cell is told: with the place in the source that the sender wrote.

use rquickjs::{CaughtError, Ctx, Error, Object, Value};

use crate::exports::solo::runtime::source::{Failure, Stage};

/// Lines of a stack that are told.
const STACK_LINES_MAX: usize = 32;

/// Bytes of a message that are told.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// Adds what a failure does not know of its place.
pub(crate) trait Place {
    fn at_file(self, file: &str) -> Self;
}

impl Place for Failure {
    fn at_file(mut self, file: &str) -> Self {
        if self.file.is_empty() {
            file.clone_into(&mut self.file);
        }
        self
    }
}

fn failure(stage: Stage, name: &str, message: &str) -> Failure {
    Failure {
        stage,
        name: name.to_owned(),
        message: cut(message),
        file: String::new(),
        line: 0,
        column: 0,
        stack: String::new(),
    }
}

pub(crate) fn missing(entry: &str) -> Failure {
    failure(Stage::Import, "Error", &format!("there is no file {entry} to begin with"))
}

pub(crate) fn not_loaded() -> Failure {
    failure(Stage::Load, "Error", "no source was loaded")
}

/// What was promised does not come.
pub(crate) fn never(stage: Stage) -> Failure {
    let message = "it waits for something that nobody is doing: a promise that nothing settles";
    failure(stage, "Error", message)
}

/// Takes what was thrown. An error that was thrown while a module was read is one of its syntax or of its
/// imports, whichever stage it is.
pub(crate) fn of(ctx: &Ctx<'_>, error: Error, stage: Stage) -> Failure {
    match CaughtError::from_error(ctx, error) {
        CaughtError::Exception(exception) => of_object(exception.into_object(), stage),
        CaughtError::Value(value) => of_value(&value, stage),
        CaughtError::Error(error) => failure(stage, "InternalError", &error.to_string()),
    }
}

/// Takes why a promise was rejected.
pub(crate) fn of_value(value: &Value<'_>, stage: Stage) -> Failure {
    match value.as_object() {
        Some(object) if object.is_error() => of_object(object.clone(), stage),
        _ => {
            let text = || -> rquickjs::Result<String> {
                let show: rquickjs::Function = value.ctx().globals().get("String")?;
                show.call((value.clone(),))
            };
            let text = text().unwrap_or_else(|_| "something that cannot be shown".to_owned());
            failure(stage, "thrown", &text)
        }
    }
}

fn of_object(error: Object<'_>, stage: Stage) -> Failure {
    // Guests throw what they like: none of these need be what it should.
    let text = |key: &str| error.get::<_, rquickjs::Coerced<String>>(key).map(|text| text.0).ok();
    let name = text("name").unwrap_or_else(|| "Error".to_owned());
    let message = text("message").unwrap_or_default();
    let stack = error.get::<_, String>("stack").unwrap_or_default();
    let stage = match text("soloStage").as_deref() {
        Some("import") => Stage::Import,
        Some("no-such-function") => Stage::NoSuchFunction,
        Some("bad-arguments") => Stage::BadArguments,
        _ if name == "SyntaxError" && matches!(stage, Stage::Load) => Stage::Syntax,
        _ => stage,
    };
    let lines: Vec<&str> = stack.lines().map(str::trim).filter(|line| is_theirs(line)).collect();
    let place = lines.iter().find_map(|line| place(line));
    let mut failure = failure(stage, &name, &message);
    if let Some((file, line, column)) = place {
        file.clone_into(&mut failure.file);
        (failure.line, failure.column) = (line, column);
    }
    failure.stack = lines.into_iter().take(STACK_LINES_MAX).collect::<Vec<_>>().join("\n");
    failure
}

/// Whether a line of a stack is of the service and not of the engine.
fn is_theirs(line: &str) -> bool {
    let own = ["(eval_script", "eval_script:", "(native)", "(solo:", "at solo:"];
    !line.is_empty() && !own.iter().any(|own| line.contains(own))
}

/// `at name (file:line:column)` or `at file:line:column`.
fn place(line: &str) -> Option<(&str, u32, u32)> {
    let inner = match line.rfind('(') {
        Some(open) => line[open + 1..].trim_end_matches(')'),
        None => line.strip_prefix("at ")?,
    };
    let (rest, column) = inner.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some((file, line.parse().ok()?, column.parse().ok()?))
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
