//! Where a sink sends records, as the operator writes it. Parses; opens nothing.
//!
//! Refuses what would leave the machine unencrypted unless that is asked for by name, and what would
//! write into the home.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::settings::SinkForm;

/// How messages of syslog are told from each other on a stream (RFC 6587).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Framing {
    /// Each with its length before it.
    #[default]
    OctetCounting,
    /// Each with a line end behind it; there is none inside.
    Newline,
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    File(PathBuf),
    /// A socket of a datagram or stream type.
    SyslogUnix(PathBuf, Framing),
    SyslogTcp(Peer, Framing),
    SyslogUdp(Peer),
    Webhook {
        uri: http::Uri,
        peer: Peer,
        /// Holds what is sent as `authorization: Bearer`.
        token_file: Option<PathBuf>,
    },
    Command {
        program: String,
        arguments: Vec<String>,
    },
}

impl Target {
    /// What a sink's table says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(form: &SinkForm, home: &Path) -> Result<Self, String> {
        let target = match (&form.to, &form.command) {
            (Some(to), None) => Self::parse(to, form, home)?,
            (None, Some(command)) => self::command(command)?,
            _ => return Err("it needs either `to` or `command`".to_owned()),
        };
        let is_stream = matches!(target, Self::SyslogUnix(..) | Self::SyslogTcp(..));
        if form.framing.is_some() && !is_stream {
            return Err("`framing` is for syslog:tcp and syslog:unix".to_owned());
        }
        if form.token_file.is_some() && !matches!(target, Self::Webhook { .. }) {
            return Err("`token_file` is for http".to_owned());
        }
        let peer = match &target {
            Self::SyslogTcp(peer, _) | Self::SyslogUdp(peer) | Self::Webhook { peer, .. } => peer,
            _ => return Ok(target),
        };
        if !form.plaintext && !peer.is_local() {
            return Err(format!(
                "{} is another machine, and what is sent there is not encrypted: send it through a \
                 relay on this machine, or set `plaintext = true`",
                peer.host
            ));
        }
        Ok(target)
    }

    fn parse(to: &str, form: &SinkForm, home: &Path) -> Result<Self, String> {
        let framing = form.framing.unwrap_or_default();
        if let Some(path) = to.strip_prefix("file:") {
            let path = absolute(path)?;
            if path.starts_with(home) {
                return Err(format!("{} is below the home, which it could damage", path.display()));
            }
            return Ok(Self::File(path));
        }
        if let Some(path) = to.strip_prefix("syslog:unix:") {
            return Ok(Self::SyslogUnix(absolute(path)?, framing));
        }
        if let Some(peer) = to.strip_prefix("syslog:tcp:") {
            return Ok(Self::SyslogTcp(Peer::parse(peer)?, framing));
        }
        if let Some(peer) = to.strip_prefix("syslog:udp:") {
            return Ok(Self::SyslogUdp(Peer::parse(peer)?));
        }
        if to.starts_with("http://") {
            return webhook(to, form);
        }
        if to.starts_with("https://") {
            return Err("https is not built yet: use http to a relay on this machine".to_owned());
        }
        Err(format!(
            "`{}` is none of file:PATH, syslog:unix:PATH, syslog:tcp:HOST:PORT, \
             syslog:udp:HOST:PORT, http://HOST:PORT/PATH",
            to.escape_debug()
        ))
    }

    /// For people. Shows no secret: there is none in it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("file:{}", path.display()),
            Self::SyslogUnix(path, _) => format!("syslog:unix:{}", path.display()),
            Self::SyslogTcp(peer, _) => format!("syslog:tcp:{}:{}", peer.host, peer.port),
            Self::SyslogUdp(peer) => format!("syslog:udp:{}:{}", peer.host, peer.port),
            // A query can hold a key.
            Self::Webhook { uri, peer, .. } => {
                format!("http://{}:{}{}", peer.host, peer.port, uri.path())
            }
            // Arguments can be secrets.
            Self::Command { program, .. } => format!("command:{program}"),
        }
    }
}

impl Peer {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no HOST:PORT", text.escape_debug());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            None if !host.is_empty() && host.bytes().all(is_of_host) => host,
            _ => return Err(wrong()),
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// Whether it is this machine, whatever a name server says.
    fn is_local(&self) -> bool {
        let address: Option<IpAddr> = self.host.parse().ok();
        address.map_or(self.host == "localhost", |address| address.is_loopback())
    }
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    let is_plain = !path.components().any(|part| part == std::path::Component::ParentDir);
    if !path.is_absolute() || !is_plain || path.file_name().is_none() {
        return Err(format!("`{}` is no absolute path without `..`", path.display()));
    }
    Ok(path)
}

fn webhook(to: &str, form: &SinkForm) -> Result<Target, String> {
    let uri: http::Uri = to.parse().map_err(|error| format!("it is no address: {error}"))?;
    let authority = uri.authority().ok_or("it names no host")?;
    if authority.as_str().contains('@') {
        return Err("an address with a user or password: use `token_file`".to_owned());
    }
    let peer = Peer::parse(&format!("{}:{}", authority.host(), uri.port_u16().unwrap_or(80)))?;
    let token_file = form.token_file.clone();
    if token_file.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err("`token_file` is no absolute path".to_owned());
    }
    Ok(Target::Webhook { uri, peer, token_file })
}

fn command(command: &[String]) -> Result<Target, String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("`command` is empty".to_owned());
    };
    // The kernel runs in the home; what lies there is not meant.
    if !Path::new(program).is_absolute() {
        return Err(format!("`{}` is no absolute path of a program", program.escape_debug()));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err("`command` contains a zero byte".to_owned());
    }
    Ok(Target::Command { program: program.clone(), arguments: arguments.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(to: &str, plaintext: bool) -> Result<Target, String> {
        let form = SinkForm { to: Some(to.to_owned()), plaintext, ..SinkForm::default() };
        Target::of(&form, Path::new("/home/of/solo"))
    }

    #[test]
    fn what_leaves_the_machine_must_be_asked_for() {
        for far in [
            "syslog:tcp:logs.example:601",
            "syslog:udp:192.0.2.1:514",
            "syslog:tcp:[2001:db8::1]:601",
            "http://logs.example/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example:80/",
        ] {
            let refused = to(far, false).expect_err(far);
            assert!(refused.contains("plaintext = true"), "{refused}");
            assert!(to(far, true).is_ok(), "{far}");
        }
        for near in [
            "syslog:tcp:127.0.0.1:601",
            "syslog:tcp:[::1]:601",
            "syslog:udp:localhost:514",
            "http://127.8.8.8:9000/x",
            "http://[::1]:9000/",
        ] {
            assert!(to(near, false).is_ok(), "{near}: {:?}", to(near, false));
        }
    }

    #[test]
    fn what_is_no_target() {
        for (wrong, why) in [
            ("https://localhost/", "https is not built yet"),
            ("http://user:secret@localhost/", "token_file"),
            ("http:///x", "it is no address"),
            ("file:relative", "absolute"),
            ("file:/x/../home", "absolute"),
            ("file:/", "absolute"),
            ("syslog:tcp:localhost", "HOST:PORT"),
            ("syslog:tcp:localhost:0", "HOST:PORT"),
            ("syslog:tcp:local host:1", "HOST:PORT"),
            ("syslog:tcp:::1:1", "HOST:PORT"),
            ("/var/log/x", "none of"),
            ("", "none of"),
        ] {
            let refused = to(wrong, true).expect_err(wrong);
            assert!(refused.contains(why), "{wrong}: {refused}");
        }
        for wrong in [&[][..], &["sh"], &["./x"], &["/bin/cat", "a\0b"]] {
            let command = wrong.iter().map(|word| (*word).to_owned()).collect();
            let form = SinkForm { command: Some(command), ..SinkForm::default() };
            assert!(Target::of(&form, Path::new("/h")).is_err(), "{wrong:?}");
        }
        let framed = SinkForm {
            to: Some("file:/x".to_owned()),
            framing: Some(Framing::Newline),
            ..SinkForm::default()
        };
        assert!(Target::of(&framed, Path::new("/h")).is_err());
    }

    #[test]
    fn what_is_shown_holds_no_secrets() {
        let hook = to("http://localhost:9/a?key=SECRET", false).expect("a target");
        assert_eq!(hook.shown(), "http://localhost:9/a");
        let command = vec!["/bin/x".to_owned(), "SECRET".to_owned()];
        assert_eq!(self::command(&command).expect("a target").shown(), "command:/bin/x");
    }
}
