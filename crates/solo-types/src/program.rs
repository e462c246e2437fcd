//! External programs (SPEC D4): how they are spoken to, and when they are ready.

use serde::{Deserialize, Serialize};

use crate::Problem;

/// Where a program listens that was told no other port.
pub const PROGRAM_PORT_DEFAULT: u16 = 8080;

/// How long a program may take to get ready unless said otherwise: interpreters load for a while.
pub const PROGRAM_STARTUP_TIMEOUT_MS: u64 = 10_000;

/// Longest path of a program, or of what it is asked for.
const PATH_BYTES_MAX: usize = 4_096;

/// Longest time that a program is given before it counts as ready.
const READY_AFTER_MS_MAX: u64 = 600_000;

/// How messages reach a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// They do not.
    #[default]
    None,
    /// It listens on `$PORT`; a message is a POST.
    Http,
    /// A line of JSON in, a line of JSON out.
    Stdio,
    /// It asks for messages, and sends its own, over `$SOLO_SOCKET` (`solo.program.v1`).
    Socket,
}

/// When a program is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// It says so: `READY=1` in a datagram to `$NOTIFY_SOCKET`, or `Ready` over `$SOLO_SOCKET`.
    Notify,
    /// It accepts connections on its port.
    Listening,
    /// It answers a GET of this path with a status below 400.
    Http(String),
    /// It has lived for so many milliseconds. 0: as soon as it was started.
    After(u64),
}

/// What there is to know of an external program beside its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// A program of the machine, by its absolute path. None: the code is in the store.
    pub host_path: Option<String>,
    /// How it is spoken to.
    pub interface: Interface,
    /// Where it listens, within its own network.
    pub port: u16,
    /// When it is ready.
    pub ready: Readiness,
}

impl Interface {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Http => "http",
            Self::Stdio => "stdio",
            Self::Socket => "socket",
        }
    }

    /// Reads the stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::None, Self::Http, Self::Stdio, Self::Socket];
        all.into_iter().find(|one| one.as_str() == name)
    }
}

impl Readiness {
    /// What holds for a program that says nothing of it.
    #[must_use]
    pub fn of(interface: Interface) -> Self {
        match interface {
            Interface::Http => Self::Listening,
            Interface::Socket => Self::Notify,
            Interface::None | Interface::Stdio => Self::After(0),
        }
    }
}

impl Program {
    /// Of stored code, with an interface and all else as it is by default.
    #[must_use]
    pub fn new(interface: Interface) -> Self {
        let ready = Readiness::of(interface);
        Self { host_path: None, interface, port: PROGRAM_PORT_DEFAULT, ready }
    }

    /// Checks what a client may have made up.
    ///
    /// # Errors
    /// Reason `INVALID_PROGRAM`, with the field.
    pub fn validate(&self) -> Result<(), Problem> {
        let refuse = |field: &str, rule: &str| {
            Err(Problem::invalid("INVALID_PROGRAM", &format!("program.{field}"), rule))
        };
        if self.port == 0 {
            return refuse("port", "a port is 1 to 65,535");
        }
        match &self.ready {
            Readiness::Http(path) if !is_url_path(path) => {
                return refuse(
                    "ready.http_path",
                    "a path begins with `/` and has at most 4,096 printable ASCII letters, no space and no `#`",
                );
            }
            Readiness::After(ms) if *ms > READY_AFTER_MS_MAX => {
                return refuse("ready.after_ms", "it is at most 600,000");
            }
            _ => {}
        }
        match &self.host_path {
            Some(path) if !is_host_path(path) => Err(Problem::invalid(
                "INVALID_PROGRAM",
                "code.host_path",
                "it is an absolute path without `.`, `..` or empty parts, of at most 4,096 bytes",
            )
            .remedy("name the program like /usr/bin/python3")),
            _ => Ok(()),
        }
    }
}

/// Whether `path` can stand in the first line of a request as it is.
#[must_use]
pub fn is_url_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= PATH_BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

fn is_host_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && !path.contains('\0')
        && path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        for interface in [Interface::None, Interface::Http, Interface::Stdio, Interface::Socket] {
            assert_eq!(Interface::from_name(interface.as_str()), Some(interface));
        }
        assert_eq!(Interface::from_name("telnet"), None);
    }

    #[test]
    fn what_is_made_up_is_refused() {
        let with = |change: fn(&mut Program)| {
            let mut program = Program::new(Interface::Http);
            change(&mut program);
            program.validate().map_err(|problem| problem.fields[0].field.clone())
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|p| p.host_path = Some("/usr/bin/env".into())), Ok(()));
        assert_eq!(with(|p| p.ready = Readiness::Http("/health?x=1".into())), Ok(()));
        let field = |field: &str| Err(field.to_owned());
        assert_eq!(with(|p| p.port = 0), field("program.port"));
        for path in ["health", "/a b", "/a\r\nHost: x", "/a#b", "/ä"] {
            let program =
                Program { ready: Readiness::Http(path.into()), ..Program::new(Interface::Http) };
            assert!(program.validate().is_err(), "{path:?}");
        }
        assert_eq!(with(|p| p.ready = Readiness::After(600_001)), field("program.ready.after_ms"));
        for path in ["usr/bin/env", "/", "", "/usr/../etc/x", "/usr//bin", "/a\0b", "/a/."] {
            let program = Program { host_path: Some(path.into()), ..Program::new(Interface::None) };
            assert!(program.validate().is_err(), "{path:?}");
        }
    }
}
