//! External programs: protobuf to domain types and back.

use solo_types::{Interface, PROGRAM_PORT_DEFAULT, Problem, Program, Readiness};

use crate::code::{CodeSource, PROGRAM_FORMAT};
use crate::{cell::v1 as cell, v1};

/// Checks what a request says of a program; `host_path` is where its code is said to be.
///
/// # Errors
/// Reason `INVALID_PROGRAM`.
pub fn program(message: v1::Program, host_path: Option<String>) -> Result<Program, Problem> {
    let invalid = |field: &str, rule: &str| {
        Problem::invalid("INVALID_PROGRAM", &format!("program.{field}"), rule)
    };
    let interface = match v1::ProgramInterface::try_from(message.interface) {
        Ok(v1::ProgramInterface::Unspecified | v1::ProgramInterface::None) => Interface::None,
        Ok(v1::ProgramInterface::Http) => Interface::Http,
        Ok(v1::ProgramInterface::Stdio) => Interface::Stdio,
        Ok(v1::ProgramInterface::Socket) => Interface::Socket,
        Err(_) => return Err(invalid("interface", "there is no such interface")),
    };
    let port = match message.port {
        None => PROGRAM_PORT_DEFAULT,
        Some(port) => u16::try_from(port).map_err(|_| invalid("port", "a port is 1 to 65,535"))?,
    };
    use v1::program_readiness::When;
    let ready = match message.ready.and_then(|ready| ready.when) {
        None => Readiness::of(interface),
        Some(When::Notify(true)) => Readiness::Notify,
        Some(When::Listening(true)) => Readiness::Listening,
        Some(When::HttpPath(path)) => Readiness::Http(path),
        Some(When::AfterMs(ms)) => Readiness::After(ms),
        Some(When::Notify(false) | When::Listening(false)) => {
            return Err(invalid("ready", "only true says something here: leave it out"));
        }
    };
    let program = Program { host_path, interface, port, ready };
    program.validate()?;
    Ok(program)
}

/// What is said of the program that `code` is; `None` if it is none, as far as can be told here.
pub(crate) fn program_of(
    code: &CodeSource,
    said: Option<v1::Program>,
) -> Result<Option<Program>, Problem> {
    let host_path = match code {
        CodeSource::Host { path } => Some(path.clone()),
        CodeSource::Inline { .. } | CodeSource::Stored { .. } => None,
    };
    let format = match code {
        CodeSource::Host { .. } => PROGRAM_FORMAT,
        CodeSource::Inline { format, .. } | CodeSource::Stored { format, .. } => format,
    };
    match (said, format, code) {
        (Some(said), PROGRAM_FORMAT, _) => program(said, host_path).map(Some),
        // Whether stored code is a program is seen when it is looked at.
        (Some(said), "", CodeSource::Stored { .. }) => program(said, None).map(Some),
        (Some(_), ..) => {
            let rule = "the code is no program, so that there is nothing to say of it";
            Err(Problem::invalid("NOT_A_PROGRAM", "program", rule)
                .remedy("leave `program` out, or send a binary or a script that begins with `#!`"))
        }
        (None, PROGRAM_FORMAT, _) => {
            let program = Program { host_path, ..Program::new(Interface::None) };
            program.validate()?;
            Ok(Some(program))
        }
        (None, ..) => Ok(None),
    }
}

/// What a cell must know of a program.
#[must_use]
pub fn cell_program(program: &Program) -> cell::Program {
    use cell::program::Ready;
    cell::Program {
        interface: program.interface.as_str().to_owned(),
        port: program.port.into(),
        ready: Some(match &program.ready {
            Readiness::Notify => Ready::Notify(true),
            Readiness::Listening => Ready::Listening(true),
            Readiness::Http(path) => Ready::HttpPath(path.clone()),
            Readiness::After(ms) => Ready::AfterMs(*ms),
        }),
    }
}

/// The same as a cell reads it; `None` for what this build does not know.
#[must_use]
pub fn program_from_cell(message: cell::Program) -> Option<Program> {
    use cell::program::Ready;
    Some(Program {
        host_path: None,
        interface: Interface::from_name(&message.interface)?,
        port: u16::try_from(message.port).ok()?,
        ready: match message.ready? {
            Ready::Notify(_) => Readiness::Notify,
            Ready::Listening(_) => Readiness::Listening,
            Ready::HttpPath(path) => Readiness::Http(path),
            Ready::AfterMs(ms) => Readiness::After(ms),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(when: v1::program_readiness::When) -> v1::Program {
        v1::Program {
            interface: v1::ProgramInterface::Http.into(),
            port: Some(80),
            ready: Some(v1::ProgramReadiness { when: Some(when) }),
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let read = program(v1::Program::default(), None).expect("legal");
        assert_eq!(read, Program::new(Interface::None));
        let http =
            v1::Program { interface: v1::ProgramInterface::Http.into(), ..v1::Program::default() };
        assert_eq!(program(http, None).expect("legal").ready, Readiness::Listening);
    }

    #[test]
    fn what_is_made_up_is_refused_and_the_rest_reaches_the_cell() {
        use v1::program_readiness::When;
        for when in [
            When::Notify(true),
            When::Listening(true),
            When::HttpPath("/up".into()),
            When::AfterMs(9),
        ] {
            let read = program(ready(when), None).expect("legal");
            assert_eq!(program_from_cell(cell_program(&read)), Some(read));
        }
        let socket = v1::Program {
            interface: v1::ProgramInterface::Socket.into(),
            ..v1::Program::default()
        };
        let read = program(socket, None).expect("legal");
        assert_eq!((read.interface, &read.ready), (Interface::Socket, &Readiness::Notify));
        assert_eq!(program_from_cell(cell_program(&read)), Some(read));
        for wrong in [
            ready(When::Notify(false)),
            ready(When::HttpPath("up".into())),
            v1::Program { port: Some(0), ..v1::Program::default() },
            v1::Program { port: Some(65_536), ..v1::Program::default() },
            v1::Program { interface: 99, ..v1::Program::default() },
        ] {
            let problem = program(wrong, None).expect_err("made up");
            assert_eq!(problem.reason, "INVALID_PROGRAM");
        }
    }
}
