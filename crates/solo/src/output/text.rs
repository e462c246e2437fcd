//! Building blocks of text: emphasis, tables, sizes and durations.
//!
//! Whatever a guest or somebody else wrote goes through [`one_line`], or through [`lines`] where
//! several lines are meant: a terminal must not obey it, and it must not pass for Solo's own lines.

use comfy_table::{Cell, CellAlignment, Table, presets};

/// Whether text may carry colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// Colour on a terminal, unless `NO_COLOR` is set to anything.
    pub(crate) fn new(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: terminal && !refused }
    }

    /// No colour.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colour: false };

    /// Colour, whatever the terminal.
    #[cfg(test)]
    pub(crate) const COLOUR: Self = Self { colour: true };

    /// A state: green for well, red for failed, yellow for in between.
    pub(crate) fn state(self, state: &str) -> String {
        let code = match state {
            "running" | "completed" => "32",
            "failed" | "killed" => "31",
            _ => "33",
        };
        self.paint(code, &one_line(state))
    }

    /// The first word of an error.
    pub(crate) fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// The first word of a hint.
    pub(crate) fn hint(self, text: &str) -> String {
        self.paint("1;36", text)
    }

    /// What most readers pass over.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The text on one line: with all control characters but tabs written out, and all characters that
/// end a line or change the direction of text.
pub(crate) fn one_line(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) && c != '\t' {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Like [`one_line`], but line breaks stay. Whoever prints it indents each line, so that none
/// passes for one of Solo's own.
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

/// JSON text with the same characters written out as JSON does, so that it means the same.
pub(crate) fn json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Between values: spaces do. Inside of strings JSON has none of them.
            '\n' | '\r' | '\t' => plain.push(' '),
            c if is_obeyed(c) => plain.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => plain.push(c),
        }
    }
    plain
}

/// Whether a terminal does something for this character other than to show it.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Direction of text.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Separators of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
        )
}

/// A table without lines. The columns whose numbers are in `right` are aligned to the right.
pub(crate) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied().map(Cell::new));
    for row in rows {
        table.add_row(row.iter().map(|text| Cell::new(one_line(text))));
    }
    for index in 0..header.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// `512 B`, `64.0 KiB`, `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let unit = |shift: u32, name: &str| {
        let tenths = u128::from(bytes) * 10 / (1_u128 << shift);
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    };
    match bytes {
        0..=1_023 => format!("{bytes} B"),
        1_024..=1_048_575 => unit(10, "KiB"),
        1_048_576..=1_073_741_823 => unit(20, "MiB"),
        _ => unit(30, "GiB"),
    }
}

/// `250 us`, `1.5 ms`, `12.0 s`, `3m 5s`, `2h 0m`, `5d 1h`.
pub(crate) fn duration_us(us: u64) -> String {
    let seconds = us / 1_000_000;
    match us {
        0..=999 => format!("{us} us"),
        1_000..=999_999 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        1_000_000..=59_999_999 => format!("{seconds}.{} s", us % 1_000_000 / 100_000),
        _ if seconds < 3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_does_not_obey_guests() {
        let hostile = "a\x1b[31mb\tc\nd\r\u{9b}";
        assert_eq!(lines(hostile), "a\\u{1b}[31mb\tc\nd\\r\\u{9b}");
        assert_eq!(one_line(hostile), "a\\u{1b}[31mb\tc\\nd\\r\\u{9b}");
        assert_eq!(one_line("grüß 世界 👩\u{200d}🚀"), "grüß 世界 👩\u{200d}🚀");
        for c in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}".chars() {
            let text = String::from(c);
            assert_eq!(one_line(&text), c.escape_default().to_string());
            assert_eq!(lines(&text), c.escape_default().to_string());
        }
    }

    #[test]
    fn json_means_the_same() {
        let hostile = "[\"\u{9b}31m\u{202e}ü\"]";
        assert_eq!(json(hostile), "[\"\\u009b31m\\u202eü\"]");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&json(hostile)), read(hostile));
    }

    #[test]
    fn sizes_and_durations_are_short() {
        for (bytes, expected) in
            [(0, "0 B"), (1_023, "1023 B"), (65_536, "64.0 KiB"), (1_610_612_736, "1.5 GiB")]
        {
            assert_eq!(size(bytes), expected);
        }
        for (us, expected) in [
            (999, "999 us"),
            (1_500, "1.5 ms"),
            (12_000_000, "12.0 s"),
            (185_000_000, "3m 5s"),
            (7_200_000_000, "2h 0m"),
            (435_600_000_000, "5d 1h"),
        ] {
            assert_eq!(duration_us(us), expected);
        }
    }

    #[test]
    fn tables_have_no_lines() {
        let rows = vec![vec!["a".into(), "7".into()], vec!["long".into(), "12".into()]];
        assert_eq!(table(&["NAME", "N"], &[1], rows), "NAME   N\na      7\nlong  12\n");
    }

    #[test]
    fn colour_is_for_terminals() {
        assert_eq!(Style::PLAIN.state("running"), "running");
        assert_eq!(Style::COLOUR.state("failed"), "\x1b[31mfailed\x1b[0m");
        assert!(!Style::new(false).colour);
    }
}
