//! Flags that say how an external program is spoken to, and when it is ready.

use clap::{Args, ValueEnum};
use solo_api::v1;
use solo_api::v1::program_readiness::When;

use super::values::{milliseconds, number};

/// Of an external program.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProgramFlags {
    /// How messages reach a program [default: none]
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<InterfaceName>,
    /// Port that a program listens on, in its own network; told to it as $PORT [default: 8080]
    #[arg(long, value_name = "PORT", value_parser = number::<u16>("port"))]
    port: Option<u16>,
    /// A program is ready when it says so to $NOTIFY_SOCKET [default with --interface socket]
    #[arg(long, group = "ready")]
    ready_notify: bool,
    /// A program is ready when it accepts connections on its port [default with --interface http]
    #[arg(long, group = "ready")]
    ready_listening: bool,
    /// A program is ready when it answers a GET of PATH on its port
    #[arg(long, value_name = "PATH", group = "ready")]
    ready_http: Option<String>,
    /// A program is ready when it has lived for TIME [default: at once]
    #[arg(long, value_name = "TIME", group = "ready", value_parser = milliseconds("ready-after"))]
    ready_after: Option<u64>,
}

/// How messages reach a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InterfaceName {
    /// They do not
    None,
    /// A message is a POST to its port
    Http,
    /// A message is a line of JSON on its standard input
    Stdio,
    /// It asks for messages, and sends its own, over the Unix socket in $SOLO_SOCKET
    Socket,
}

impl ProgramFlags {
    /// The message; none if nothing was said.
    pub(crate) fn message(&self) -> Option<v1::Program> {
        let interface = self.interface.map(|interface| match interface {
            InterfaceName::None => v1::ProgramInterface::None,
            InterfaceName::Http => v1::ProgramInterface::Http,
            InterfaceName::Stdio => v1::ProgramInterface::Stdio,
            InterfaceName::Socket => v1::ProgramInterface::Socket,
        });
        let when = match (&self.ready_http, self.ready_after) {
            (Some(path), _) => Some(When::HttpPath(path.clone())),
            (None, Some(ms)) => Some(When::AfterMs(ms)),
            (None, None) if self.ready_notify => Some(When::Notify(true)),
            (None, None) => self.ready_listening.then_some(When::Listening(true)),
        };
        if interface.is_none() && self.port.is_none() && when.is_none() {
            return None;
        }
        Some(v1::Program {
            interface: interface.unwrap_or_default().into(),
            port: self.port.map(u32::from),
            ready: when.map(|when| v1::ProgramReadiness { when: Some(when) }),
        })
    }
}
