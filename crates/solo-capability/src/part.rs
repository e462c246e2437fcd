//! The parts of objects: what each may be, and which wildcards its pattern may have.
//!
//! Two names of one thing would let a request slip past a pattern, so everything that can be written
//! in two ways is refused here: upper-case hosts, leading zeros, `..`, percent-encoded slashes.

use solo_types::{Digest, ServiceId};

use crate::ModelError;

/// Characters of a tenant, service, volume, secret or operation: a DNS label, as names become hosts.
const NAME_CHARS_MAX: usize = 63;

/// Characters of a host: the longest DNS name.
const HOST_CHARS_MAX: usize = 253;

/// Characters of a path: beyond what people write by hand, far below what servers take.
const PATH_CHARS_MAX: usize = 1_024;

/// Characters of a method; the longest registered one has 17.
const METHOD_CHARS_MAX: usize = 20;

/// One part of a kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) syntax: Syntax,
}

/// What a part may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Name,
    ServiceId,
    Digest,
    Host,
    Port,
    Method,
    Path,
    Device,
}

/// Where a wildcard may stand beside a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wildcard {
    /// Only `*` alone.
    Alone,
    /// `x*` too.
    Behind,
    /// `*.x` too.
    Before,
}

impl Field {
    pub(crate) const fn required(name: &'static str, syntax: Syntax) -> Self {
        Self { name, required: true, syntax }
    }

    pub(crate) const fn optional(name: &'static str, syntax: Syntax) -> Self {
        Self { name, required: false, syntax }
    }

    pub(crate) fn wildcard(self) -> Wildcard {
        match self.syntax {
            Syntax::Name | Syntax::Path | Syntax::Device => Wildcard::Behind,
            Syntax::Host => Wildcard::Before,
            Syntax::ServiceId | Syntax::Digest | Syntax::Port | Syntax::Method => Wildcard::Alone,
        }
    }

    /// Checks a whole part of an object.
    pub(crate) fn check(self, text: &str) -> Result<(), ModelError> {
        self.check_piece(text)?;
        let rule = match self.syntax {
            Syntax::Name => match text.as_bytes() {
                [] => Some("it is empty"),
                [first, ..] if !first.is_ascii_lowercase() => {
                    Some("its first character is not a lower-case letter")
                }
                [.., b'-'] => Some("its last character is `-`"),
                _ => None,
            },
            Syntax::ServiceId => {
                let same = |id: ServiceId| id.to_string() == text;
                (!text.parse().is_ok_and(same)).then_some("it is no service id (NODE-NUMBER)")
            }
            Syntax::Digest => {
                text.parse::<Digest>().is_err().then_some("it is not 64 lower-case hex digits")
            }
            Syntax::Host => host_rule(text),
            Syntax::Port => {
                let same = |port: u16| port > 0 && port.to_string() == text;
                (!text.parse().is_ok_and(same)).then_some("it is not within 1 to 65535")
            }
            Syntax::Method => text.is_empty().then_some("it is empty"),
            Syntax::Path => path_rule(text),
            Syntax::Device => matches!(text, "" | "." | "..").then_some("it is no name"),
        };
        rule.map_or(Ok(()), |rule| self.refuse(rule))
    }

    /// Checks the beginning or the end of a part, as patterns have it: characters and length.
    pub(crate) fn check_piece(self, text: &str) -> Result<(), ModelError> {
        let (chars_max, legal): (usize, fn(u8) -> bool) = match self.syntax {
            Syntax::Name => {
                (NAME_CHARS_MAX, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            }
            Syntax::ServiceId | Syntax::Digest | Syntax::Port => {
                (64, |b| b.is_ascii_hexdigit() || b == b'-')
            }
            Syntax::Host => (HOST_CHARS_MAX, |b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]_".contains(&b)
            }),
            Syntax::Method => (METHOD_CHARS_MAX, |b| b.is_ascii_uppercase() || b == b'-'),
            // What RFC 3986 allows in a path, without `*`, which patterns need, and quotes.
            Syntax::Path => {
                (PATH_CHARS_MAX, |b| b.is_ascii_alphanumeric() || b"-._~!$&()+,;=:@%/".contains(&b))
            }
            Syntax::Device => {
                (NAME_CHARS_MAX, |b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        if text.len() > chars_max {
            return self.refuse("it is too long");
        }
        if !text.bytes().all(legal) {
            return self.refuse("it contains a character that is not allowed");
        }
        Ok(())
    }

    pub(crate) fn refuse<T>(self, rule: &'static str) -> Result<T, ModelError> {
        Err(ModelError::Part { field: self.name, rule })
    }
}

fn host_rule(text: &str) -> Option<&'static str> {
    if let Some(address) = text.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|a| a.parse::<std::net::Ipv6Addr>().ok());
        let same = address.is_some_and(|a| format!("[{a}]") == text);
        return (!same).then_some("it is no IPv6 address in its shortest form");
    }
    if text.contains([':', ']']) {
        return Some("an IPv6 address stands in brackets");
    }
    let label = |label: &str| !label.is_empty() && label.len() <= NAME_CHARS_MAX;
    (!text.split('.').all(label)).then_some("it is no host name without a dot at its end")
}

/// A server that decodes or resolves the path again must come to the same one.
fn path_rule(text: &str) -> Option<&'static str> {
    let mut segments = text.split('/').peekable();
    while let Some(segment) = segments.next() {
        // Some servers cut parameters off before they resolve dots: `..;x` leads up there.
        let name = segment.split(';').next().unwrap_or_default();
        // An empty last one is a path that ends in `/`, or `/` itself.
        if matches!(name, "." | "..") || (segment.is_empty() && segments.peek().is_some()) {
            return Some("it is not in normal form");
        }
    }
    for (at, _) in text.match_indices('%') {
        let digits = text.get(at + 1..at + 3).unwrap_or_default();
        let byte = digits.bytes().all(|b| b.is_ascii_hexdigit());
        match u8::from_str_radix(digits, 16) {
            Ok(b'.' | b'/' | b'\\' | b'%' | 0..0x20) => {
                return Some("it encodes a character that could change where it leads");
            }
            Ok(_) if byte => {}
            _ => return Some("a `%` is not followed by two hexadecimal digits"),
        }
    }
    None
}
