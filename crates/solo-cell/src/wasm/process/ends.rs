//! What the end of a program, or of its sandbox, means for its instance. Pure, but for the violation that it notes.

use nix::sys::signal::Signal;
use solo_process::wire::messages::{Exited, exited::How};
use solo_types::{ExitReason, LimitAction};

use super::super::failure::Fault;
use super::super::slot::Slot;
use super::super::violations::Limit;
use super::link::LinkError;

/// How a program ended that nobody ended.
pub(super) fn ended_by_itself(slot: &Slot, exited: &Exited) -> Fault {
    if exited.oom_kills > 0 {
        let max = slot.service.max_memory_bytes;
        let message = format!("max_memory_bytes = {max} exceeded: the system ended the program");
        slot.violated(Limit::Memory, LimitAction::Kill, || message.clone());
        return Fault::limit(message);
    }
    if exited.processes_refused > 0 {
        // It ended of that, before anybody looked.
        let (max, action) = (slot.service.max_processes, slot.service.limit_action);
        let message = format!("max_processes = {max} exceeded: another one was refused");
        slot.violated(Limit::Processes, action, || message.clone());
        if action == LimitAction::Kill {
            return Fault::limit(message);
        }
    }
    match exited.how {
        Some(How::Code(0)) => Fault::normal(),
        Some(How::Code(code)) => Fault::exit_code(i32::try_from(code).unwrap_or(i32::MAX)),
        Some(How::Signal(number)) => {
            let name = i32::try_from(number).ok().and_then(|n| Signal::try_from(n).ok());
            Fault::signal(number, name.map_or("", Signal::as_str))
        }
        None => Fault::broken_program("it ended in a way that this version does not know"),
    }
}

/// Why there is none.
pub(super) fn not_started(error: &LinkError) -> Fault {
    match error {
        LinkError::Failed { reason, detail } => {
            let message = format!("the program cannot be started: {detail}");
            match reason.as_str() {
                // These do not change by trying again.
                "not_found" | "not_executable" | "format" | "permission" | "invalid" => {
                    Fault { permanent: true, ..Fault::not_executable(message) }
                }
                _ => Fault::broken_program(message),
            }
        }
        other => broken(other),
    }
}

/// Its sandbox is not to be spoken with.
pub(super) fn broken(error: &LinkError) -> Fault {
    let mut fault = Fault::broken_program(error.to_string());
    fault.reason = ExitReason::CellLost;
    fault
}
