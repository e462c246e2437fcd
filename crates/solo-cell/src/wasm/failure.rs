//! Why something was not done, and how an instance ended, in the cell's own words.
//!
//! Turns errors of wasmtime into reasons that the protocol names. Formats, decides nothing.

use solo_types::bounds::MESSAGE_BYTES_MAX;
use solo_types::{Exit, ExitReason};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::clock;
use super::limits::LimitExceeded;
use crate::clean::clean;

/// Frames of a backtrace that are kept: the ends of a deep recursion say nothing more.
const FRAMES_MAX: usize = 64;

/// Longest frame; more of a name says nothing more.
const FRAME_BYTES_MAX: usize = 256;

/// Longest text that a guest or an error contributes to an exit or a failure.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// The reasons of `solo.cell.v1.Failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No route of that name.
    NoSuchService,
    /// No such export; the failure says which ones there are.
    NoSuchFunction,
    /// The arguments do not fit; the failure says what would.
    BadArguments,
    /// The mailbox is full.
    Overloaded,
    /// No answer in time.
    Timeout,
    /// The instance ended while it handled the message.
    Crashed,
    /// Nobody there who will answer.
    Unavailable,
    /// The instances are being replaced by an update, and no other was there yet: nothing was done, and
    /// a moment later it can be.
    Replaced,
    /// The service answered with an error.
    Refused,
    /// `init` answered with an error.
    InitFailed,
    /// `init` did not end in time.
    StartupTimeout,
    /// A limit of the service.
    LimitExceeded,
    /// It imports what is not there.
    UnknownImport,
    /// The artifact is not for this engine, or not what the service said.
    ArtifactUnusable,
    /// The machine cannot execute the program.
    NotExecutable,
    /// No room for one more instance.
    CellFull,
    /// The call would wait for itself.
    Deadlock,
    /// Not granted.
    Denied,
    /// A program: it takes no messages.
    NotCallable,
    /// It ended normally, for good.
    Completed,
    /// A function of source text threw; the instance goes on.
    Exception,
    /// Source text went wrong while it was loaded.
    LoadFailed,
    /// Nothing here runs the language.
    LanguageMissing,
}

impl Reason {
    /// The stable name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchService => "NO_SUCH_SERVICE",
            Self::NoSuchFunction => "NO_SUCH_FUNCTION",
            Self::BadArguments => "BAD_ARGUMENTS",
            Self::Overloaded => "OVERLOADED",
            Self::Timeout => "TIMEOUT",
            Self::Crashed => "CRASHED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Replaced => "REPLACED",
            Self::Refused => "REFUSED",
            Self::InitFailed => "INIT_FAILED",
            Self::StartupTimeout => "STARTUP_TIMEOUT",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::UnknownImport => "UNKNOWN_IMPORT",
            Self::ArtifactUnusable => "ARTIFACT_UNUSABLE",
            Self::NotExecutable => "NOT_EXECUTABLE",
            Self::CellFull => "CELL_FULL",
            Self::Deadlock => "DEADLOCK",
            Self::Denied => "DENIED",
            Self::NotCallable => "NOT_CALLABLE",
            Self::Completed => "COMPLETED",
            Self::Exception => "EXCEPTION",
            Self::LoadFailed => "LOAD_FAILED",
            Self::LanguageMissing => "LANGUAGE_MISSING",
        }
    }
}

/// Why something was not done.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Which kind.
    pub(crate) reason: Reason,
    /// One sentence.
    pub(crate) message: String,
    /// What was expected; empty where that does not apply.
    pub(crate) expected: String,
    /// Innermost frame first.
    pub(crate) backtrace: Vec<String>,
    /// Of source text: where.
    pub(crate) place: Option<Box<Place>>,
}

/// A place in source text, as its sender has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Path of the file.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: u32,
    /// From 1.
    pub(crate) column: u32,
    /// The lines around it.
    pub(crate) excerpt: String,
}

impl Failure {
    /// A failure without expectation and backtrace.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = text(message.into());
        Self { reason, message, expected: String::new(), backtrace: Vec::new(), place: None }
    }

    /// Adds what was expected.
    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = clean(&expected.into()).into_owned();
        self
    }

    /// What a caller is told whose message was being handled when the instance ended.
    pub(crate) fn crashed(exit: &Exit) -> Self {
        Self {
            reason: Reason::Crashed,
            message: format!("the instance ended while it handled the message: {}", exit.message),
            expected: String::new(),
            backtrace: exit.backtrace.clone(),
            place: None,
        }
    }
}

/// How an incarnation ended by itself.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The class of the exit.
    pub(crate) reason: ExitReason,
    /// What a failed first start is answered with.
    pub(crate) start_reason: Reason,
    /// One sentence.
    pub(crate) message: String,
    /// Innermost frame first.
    pub(crate) backtrace: Vec<String>,
    /// By its own word a restart does not help.
    pub(crate) permanent: bool,
    /// Of source text: where.
    pub(crate) place: Option<Box<Place>>,
}

impl Fault {
    fn new(reason: ExitReason, start_reason: Reason, message: impl Into<String>) -> Self {
        let message = text(message.into());
        let backtrace = Vec::new();
        Self { reason, start_reason, message, backtrace, permanent: false, place: None }
    }

    /// It returned.
    pub(crate) fn normal() -> Self {
        Self::new(ExitReason::Normal, Reason::Completed, "the program ended with code 0")
    }

    /// A program that ended with a code other than 0.
    pub(crate) fn exit_code(code: i32) -> Self {
        let message = format!("the program ended with code {code}");
        Self::new(ExitReason::ExitCode, Reason::Crashed, message)
    }

    /// A program that was ended by a signal which nobody here sent.
    pub(crate) fn signal(number: u32, name: &str) -> Self {
        let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
        let message = format!("the program was ended by signal {number}{name}");
        Self::new(ExitReason::Trap, Reason::Crashed, message)
    }

    /// A program that cannot be talked to.
    pub(crate) fn broken_program(message: impl Into<String>) -> Self {
        Self::new(ExitReason::Trap, Reason::Crashed, message)
    }

    /// `init` answered with an error.
    pub(crate) fn init_failed(message: &str, permanent: bool) -> Self {
        let message = format!("init answered with an error: {message}");
        Self { permanent, ..Self::new(ExitReason::InitFailed, Reason::InitFailed, message) }
    }

    /// Source text went wrong while it was loaded.
    pub(crate) fn not_loaded(failure: Failure) -> Self {
        Self::of_source(failure, Reason::LoadFailed)
    }

    /// `init` of source text threw.
    pub(crate) fn init_threw(failure: Failure) -> Self {
        Self::of_source(failure, Reason::InitFailed)
    }

    fn of_source(failure: Failure, start_reason: Reason) -> Self {
        let Failure { message, backtrace, place, .. } = failure;
        // Restarts tell the exit only: it names the place too.
        let message = match &place {
            Some(place) => format!("{message} ({}:{}:{})", place.file, place.line, place.column),
            None => message,
        };
        Self { backtrace, place, ..Self::new(ExitReason::InitFailed, start_reason, message) }
    }

    /// Not ready in time.
    pub(crate) fn startup_timeout(timeout_ms: u64) -> Self {
        let message = format!("not ready within startup_timeout_ms = {timeout_ms}");
        Self::new(ExitReason::StartupTimeout, Reason::StartupTimeout, message)
    }

    /// A limit of SPEC section 5 was exceeded.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(ExitReason::Limit, Reason::LimitExceeded, message)
    }

    /// A group of its children ended because they failed too often.
    pub(crate) fn children_failed(message: impl Into<String>) -> Self {
        Self::new(ExitReason::ChildrenFailed, Reason::Crashed, message)
    }

    /// Too many health checks failed in a row.
    pub(crate) fn unhealthy(failures: u32, last: &str) -> Self {
        let message = format!("{failures} health checks failed in a row, the last one: {last}");
        Self::new(ExitReason::Unhealthy, Reason::Crashed, message)
    }

    /// A host function panicked: a bug of the cell, of which only this instance dies.
    pub(crate) fn host_panic() -> Self {
        Self::new(
            ExitReason::Trap,
            Reason::Crashed,
            "a function of the host failed (a bug of Solo)",
        )
    }

    /// The artifact has not what its service says.
    pub(crate) fn unusable(message: impl Into<String>) -> Self {
        Self::new(ExitReason::InitFailed, Reason::ArtifactUnusable, message)
    }

    /// A program that the machine cannot execute.
    pub(crate) fn not_executable(message: impl Into<String>) -> Self {
        Self::new(ExitReason::InitFailed, Reason::NotExecutable, message)
    }

    /// What an error of wasmtime means.
    pub(crate) fn from_error(error: &wasmtime::Error) -> Self {
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return if *code == 0 { Self::normal() } else { Self::exit_code(*code) };
        }
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
        let mut fault = if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
            Self::new(ExitReason::Limit, Reason::LimitExceeded, limit.to_string())
        } else if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
            let message = format!("the cell has no room for one more instance: {error}");
            Self::new(ExitReason::InitFailed, Reason::CellFull, message)
        } else if let Some(trap) = error.downcast_ref::<Trap>() {
            Self::new(ExitReason::Trap, Reason::Crashed, trap.to_string())
        } else if is_too_much_handed(error) {
            let what =
                if backtrace.is_empty() { "the result" } else { "what a host function was given" };
            let message = format!("{what} has more than {} MiB", MESSAGE_BYTES_MAX >> 20);
            Self::new(ExitReason::Limit, Reason::LimitExceeded, message)
        } else {
            Self::new(ExitReason::Trap, Reason::Crashed, error.root_cause().to_string())
        };
        fault.backtrace = backtrace;
        fault
    }

    /// The exit that it makes, now.
    pub(crate) fn exit(&self) -> Exit {
        Exit {
            reason: self.reason,
            message: self.message.clone(),
            backtrace: self.backtrace.clone(),
            at_unix_ms: clock::unix_ms(),
            permanent: self.permanent,
        }
    }

    /// What the first start is answered with.
    pub(crate) fn start_failure(&self) -> Failure {
        Failure {
            backtrace: self.backtrace.clone(),
            place: self.place.clone(),
            ..Failure::new(self.start_reason, self.message.clone())
        }
    }
}

/// Whether a guest handed more to the host than `set_hostcall_fuel` allows. The error has no public
/// type; a test of this cell keeps the words.
fn is_too_much_handed(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls")
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let frames = backtrace.frames();
    let mut lines: Vec<String> = frames
        .iter()
        .take(FRAMES_MAX)
        .map(|frame| {
            let module = frame.module().name().unwrap_or("module");
            let module = &module[..module.floor_char_boundary(FRAME_BYTES_MAX)];
            let symbol = frame.symbols().iter().find_map(|symbol| symbol.name());
            match symbol.or_else(|| frame.func_name()) {
                Some(function) => frame_text(&format!("{module}!{function}")),
                None => frame_text(&format!("{module}!func[{}]", frame.func_index())),
            }
        })
        .collect();
    if frames.len() > FRAMES_MAX {
        lines.push(format!("and {} more", frames.len() - FRAMES_MAX));
    }
    lines
}

fn frame_text(frame: &str) -> String {
    cut(clean(frame).into_owned(), FRAME_BYTES_MAX)
}

/// Text that a guest may have had a part in.
fn text(text: String) -> String {
    // Cleaning makes longer; what is far beyond the cut need not be cleaned.
    let text = cut(text, TEXT_BYTES_MAX);
    cut(clean(&text).into_owned(), TEXT_BYTES_MAX)
}

/// Cuts `text` to at most `bytes_max` bytes, at a character, and marks the cut.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    const MARK: &str = "…";
    if text.len() > bytes_max {
        let mut end = bytes_max - MARK.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_told_from_traps() {
        let fault = Fault::from_error(&wasmtime::Error::from(I32Exit(0)));
        assert_eq!(fault.reason, ExitReason::Normal);
        let fault = Fault::from_error(&wasmtime::Error::from(I32Exit(3)));
        assert_eq!(
            (fault.reason, fault.message.as_str()),
            (ExitReason::ExitCode, "the program ended with code 3")
        );
        let fault = Fault::from_error(&wasmtime::Error::from(Trap::UnreachableCodeReached));
        assert_eq!(fault.reason, ExitReason::Trap);
    }

    #[test]
    fn a_limit_keeps_its_reason_through_context() {
        let limit = LimitExceeded { resource: "memory", wanted_bytes: 2, limit_bytes: 1 };
        let error = wasmtime::Error::from(limit).context("while growing");
        assert_eq!(Fault::from_error(&error).reason, ExitReason::Limit);
    }

    #[test]
    fn text_of_guests_is_cleaned() {
        let failure = Failure::new(Reason::Refused, "a\u{202e}b\x1b").expected("\u{2066}f");
        assert_eq!(failure.message, "a\\u{202e}b\\u{1b}");
        assert_eq!(failure.expected, "\\u{2066}f");
        assert_eq!(frame_text("m!\u{200f}"), "m!\\u{200f}");
        assert!(
            Fault::init_failed(&"\x1b".repeat(TEXT_BYTES_MAX), true).message.len()
                <= TEXT_BYTES_MAX
        );
    }

    #[test]
    fn cuts_fall_on_characters() {
        assert_eq!(cut("abc".into(), 3), "abc");
        let text = cut("ä".repeat(10), 8);
        assert!(text.len() <= 8 && text.ends_with('…'), "{text}");
    }
}
