//! Records as messages of syslog (RFC 5424). Sends nothing.
//!
//! A message is one line of printable ASCII and UTF-8 without control characters, whatever is in
//! the record: nothing in a name or a detail can end it, begin another, or reach a terminal.

use std::fmt::Write as _;

use super::time::rfc3339;
use crate::chain::Record;

/// Facility "log audit".
const FACILITY_DEFAULT: u8 = 13;

/// Number under which names of structured data are ours: reserved for examples (RFC 5612).
const ENTERPRISE_DEFAULT: u32 = 32_473;

/// Bytes of one value of structured data, escapes included. Five of them and all the rest fit into
/// [`MESSAGE_BYTES_MIN`].
const VALUE_BYTES_MAX: usize = 240;

/// What every receiver should take (RFC 5424, section 6.1).
const MESSAGE_BYTES_MIN: usize = 2_048;

/// How messages of a node begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogOptions {
    /// 0 to 23; anything beyond counts as 13, "log audit".
    pub facility: u8,
    /// Name of the machine; empty if it is not known.
    pub hostname: String,
    /// Name of the program.
    pub app_name: String,
    /// Process or incarnation; empty if it does not matter.
    pub process_id: String,
    /// Private enterprise number of the operator, for the name of the structured data.
    pub enterprise: u32,
    /// Longest message; 2,048 at least. A record that does not fit loses its details.
    pub message_bytes_max: usize,
}

impl Default for SyslogOptions {
    fn default() -> Self {
        Self {
            facility: FACILITY_DEFAULT,
            hostname: String::new(),
            app_name: "solo".to_owned(),
            process_id: String::new(),
            enterprise: ENTERPRISE_DEFAULT,
            message_bytes_max: 8_192,
        }
    }
}

/// Writes records as messages.
#[derive(Debug, Clone)]
pub struct Syslog {
    facility: u8,
    hostname: String,
    app_name: String,
    process_id: String,
    enterprise: u32,
    message_bytes_max: usize,
}

impl Syslog {
    /// Makes the parts of the header legal: what is not printable ASCII becomes `_`, what is too long
    /// is cut, what is empty becomes `-`.
    #[must_use]
    pub fn new(options: &SyslogOptions) -> Self {
        let facility = if options.facility < 24 { options.facility } else { FACILITY_DEFAULT };
        Self {
            facility,
            hostname: header(&options.hostname, 255),
            app_name: header(&options.app_name, 48),
            process_id: header(&options.process_id, 128),
            enterprise: options.enterprise,
            message_bytes_max: options.message_bytes_max.max(MESSAGE_BYTES_MIN),
        }
    }

    /// One message, without framing: what a datagram holds.
    ///
    /// Structured data holds the fields by which messages are selected, cut where they are long; the
    /// text is the whole record as JSON in ASCII, or, if that does not fit, where to find it.
    #[must_use]
    pub fn message(&self, record: &Record) -> String {
        // Refused: warning; done: notice.
        let severity = if record.outcome.starts_with("refused") { 4 } else { 5 };
        let priority = u16::from(self.facility) * 8 + severity;
        let time = rfc3339(record.at_unix_ms).unwrap_or_else(|| "-".to_owned());
        let Self { hostname, app_name, process_id, enterprise, .. } = self;
        let kind = header(&record.operation, 32);
        let mut message = format!(
            "<{priority}>1 {time} {hostname} {app_name} {process_id} {kind} [solo@{enterprise}"
        );
        let mut whole = true;
        for (name, text) in [
            ("principal", &record.principal),
            ("operation", &record.operation),
            ("object", &record.object),
            ("outcome", &record.outcome),
            ("request", &record.request_id),
        ] {
            let (value, is_whole) = value(text);
            whole &= is_whole;
            // Writing into a string cannot fail.
            let _written = write!(message, " {name}=\"{value}\"");
        }
        let _written = write!(message, " seq=\"{}\" hash=\"{}\"", record.seq, record.hash);
        message.push_str(if whole { "] " } else { " cut=\"1\"] " });
        match ascii_json(record) {
            Some(text) if message.len() + text.len() <= self.message_bytes_max => {
                message.push_str(&text);
            }
            _ => message.push_str("too long for a message: see the audit log"),
        }
        message
    }
}

/// Frames a message for a stream (RFC 6587, octet counting): the receiver knows where it ends without
/// looking into it.
#[must_use]
pub fn octet_counted(message: &str) -> Vec<u8> {
    format!("{} {message}", message.len()).into_bytes()
}

/// A part of the header: printable ASCII without spaces, not empty.
fn header(text: &str, characters_max: usize) -> String {
    let legal = |character: char| if character.is_ascii_graphic() { character } else { '_' };
    let part: String = text.chars().take(characters_max).map(legal).collect();
    if part.is_empty() { "-".to_owned() } else { part }
}

/// A value of structured data, escaped, and whether it is all of `text`.
fn value(text: &str) -> (String, bool) {
    let mut value = String::new();
    for character in text.chars() {
        let before = value.len();
        match character {
            '"' | '\\' | ']' => value.extend(['\\', character]),
            _ if is_unsafe(character) => {
                // As in JSON; its backslash is escaped like any other.
                let _written = write!(value, "\\\\u{:04x}", u32::from(character));
            }
            _ => value.push(character),
        }
        if value.len() > VALUE_BYTES_MAX {
            value.truncate(before);
            return (value, false);
        }
    }
    (value, true)
}

/// What ends lines, steers terminals or turns text around.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        )
}

/// The record as JSON in printable ASCII: reads as the same record, needs no byte order mark.
fn ascii_json(record: &Record) -> Option<String> {
    let json = serde_json::to_string(record).ok()?;
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
            continue;
        }
        // Outside of strings JSON is ASCII, and inside of them serde has escaped line ends.
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _written = write!(text, "\\u{unit:04x}");
        }
    }
    Some(text)
}
