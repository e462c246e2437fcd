//! Figures as lines of text: how a process that measures hands them to the one that reports. Pure.
//!
//! `value NAME NUMBER...` in base units (can be repeated: the numbers are added), `note TEXT`, and
//! `end` as the last line: what comes without it is not complete. Erlang writes the same lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::stats::{Samples, Summary};

/// Numbers per line, so that no line is endless.
const NUMBERS_PER_LINE: usize = 1_000;

/// Figures by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sheet {
    values: BTreeMap<String, Samples>,
    notes: Vec<String>,
}

impl Sheet {
    /// Adds one number to `name`.
    pub(crate) fn push(&mut self, name: &str, value: f64) {
        match self.values.get_mut(name) {
            Some(samples) => samples.push(value),
            None => {
                self.values.insert(name.to_owned(), [value].into_iter().collect());
            }
        }
    }

    /// Adds one time to `name`.
    pub(crate) fn push_time(&mut self, name: &str, time: Duration) {
        self.push(name, time.as_secs_f64());
    }

    /// Says something about how the figures came to be.
    pub(crate) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// What was said.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the numbers of `name` come to; nothing if there are none.
    pub(crate) fn summary(&self, name: &str) -> Option<Summary> {
        self.values.get(name)?.summary()
    }

    /// Adds everything of another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (name, samples) in &other.values {
            for value in samples.values() {
                self.push(name, *value);
            }
        }
        for note in &other.notes {
            self.note(note);
        }
    }

    /// The lines, `end` included.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, samples) in &self.values {
            for values in samples.values().chunks(NUMBERS_PER_LINE) {
                let _ = write!(text, "value {name}");
                for value in values {
                    let _ = write!(text, " {value:e}");
                }
                text.push('\n');
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "note {note}");
        }
        text.push_str("end\n");
        text
    }

    /// Takes one line. True: it was the last one.
    ///
    /// # Errors
    /// It is none of the lines above.
    pub(crate) fn read_line(&mut self, line: &str) -> anyhow::Result<bool> {
        let line = line.trim_end();
        if line == "end" {
            return Ok(true);
        }
        if let Some(note) = line.strip_prefix("note ") {
            self.note(note);
            return Ok(false);
        }
        let Some(rest) = line.strip_prefix("value ") else { bail!("not a figure: {line:?}") };
        let mut words = rest.split(' ');
        let name = words.next().context("a figure without a name")?;
        for word in words {
            let value = word.parse().with_context(|| format!("{word:?} of {name} is no number"))?;
            self.push(name, value);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut sheet = Sheet::default();
        for number in 0..2_500_u32 {
            sheet.push("call", f64::from(number) * 1e-9);
        }
        sheet.push_time("send", Duration::from_nanos(200));
        sheet.note("of one thread");
        let text = sheet.text();
        assert_eq!(text.lines().count(), 3 + 1 + 1 + 1);
        let mut read = Sheet::default();
        let ends: Vec<bool> =
            text.lines().map(|line| read.read_line(line).expect("a line")).collect();
        assert_eq!(ends.iter().position(|end| *end), Some(ends.len() - 1));
        assert_eq!(read.summary("call"), sheet.summary("call"));
        assert_eq!(read.summary("send").map(|summary| summary.p50), Some(200e-9));
        assert_eq!(read.notes(), ["of one thread"]);
        assert_eq!(read.summary("other"), None);
    }

    #[test]
    fn merging_adds() {
        let mut sheet = Sheet::default();
        sheet.push("call", 1.0);
        sheet.note("a");
        let other = sheet.clone();
        sheet.merge(&other);
        assert_eq!(sheet.summary("call").map(|summary| summary.n), Some(2));
        assert_eq!(sheet.notes().len(), 1);
    }

    #[test]
    fn other_lines_are_refused() {
        let mut sheet = Sheet::default();
        assert!(sheet.read_line("{\"call\": 1}").is_err());
        assert!(sheet.read_line("value call fast").is_err());
        assert!(sheet.read_line("").is_err());
    }
}
