//! Source text as a wasm cell has it: the modules of a service, and where in what their sender wrote an error
//! is.
//!
//! Comes out of a file that the compiler cell wrote over hostile text: bounded, and trusted in nothing.

use std::mem::take;

use prost::Message as _;
use solo_api::cell::v1 as wire;

use super::failure::{Failure, Place, Reason, cut};
use crate::clean::clean;
use crate::sent::Sent;

/// Lines before and after the one that an error is in.
const LINES_AROUND: usize = 1;

/// Longest line of an excerpt.
const LINE_BYTES_MAX: usize = 200;

/// Arrays and objects in each other, in JSON that a runtime is given. Python's own reader goes as deep as the text,
/// and ends the instance between 2,000 and 5,000.
const NESTING_MAX: usize = 1_000;

/// Lines of a stack.
const STACK_LINES_MAX: usize = 32;

/// The source of a service.
#[derive(Debug)]
pub(crate) struct Source {
    /// Language, entry, modules and exports.
    pub(crate) program: wire::SourceProgram,
    /// What its runtime takes as it comes to it.
    pub(crate) sent: Sent,
}

impl Source {
    /// Reads what the compiler cell wrote.
    ///
    /// # Errors
    /// `ARTIFACT_UNUSABLE`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let mut program = wire::SourceProgram::decode(bytes).map_err(|error| {
            let message = format!("failed to read compiled source text: {error}");
            Failure::new(Reason::ArtifactUnusable, message)
        })?;
        let (roots, files) = (take(&mut program.roots), take(&mut program.files));
        Ok(Self { program, sent: Sent::new(roots, files) })
    }

    /// The signature of a function, if it is known.
    pub(crate) fn signature(&self, function: &str) -> Option<&str> {
        let mut exports = self.program.exports.iter();
        exports.find(|export| export.name == function).map(|export| export.signature.as_str())
    }

    /// What can be called, for who called something else.
    pub(crate) fn expected(&self) -> String {
        let names: Vec<&str> =
            self.program.exports.iter().map(|export| export.name.as_str()).collect();
        match names.as_slice() {
            [] => "no function: the service exports none".to_owned(),
            names => format!("one of: {}", names.join(", ")),
        }
    }

    /// The place in what was sent, of one in what is run.
    pub(crate) fn place(&self, file: &str, line: u32, column: u32) -> Option<Place> {
        if let Some(content) = self.sent.read(file) {
            let excerpt = excerpt(&String::from_utf8_lossy(content), line, column);
            return Some(Place { file: clean(file).into_owned(), line, column, excerpt });
        }
        let module = self.program.modules.iter().find(|module| module.path == file)?;
        let (text, (line, column)) = if module.map.is_empty() {
            (&module.text, (line, column))
        } else {
            (&module.original, solo_source::original(&module.map, line, column)?)
        };
        let excerpt = excerpt(text, line, column);
        Some(Place { file: clean(file).into_owned(), line, column, excerpt })
    }

    /// The lines of a stack, in the sender's own numbers.
    pub(crate) fn stack(&self, stack: &str) -> Vec<String> {
        stack.lines().take(STACK_LINES_MAX).map(|line| self.frame(line)).collect()
    }

    /// `at name (file:line:column)`, or `at file:line:column`; others are as they are.
    fn frame(&self, line: &str) -> String {
        let own = || clean(line).into_owned();
        let (before, inner, after) = match (line.rfind('('), line.strip_prefix("at ")) {
            (Some(open), _) => match line[open + 1..].strip_suffix(')') {
                Some(inner) => (&line[..=open], inner, ")"),
                None => return own(),
            },
            (None, Some(inner)) => ("at ", inner, ""),
            (None, None) => return own(),
        };
        let parts = inner.rsplit_once(':').and_then(|(rest, column)| {
            let (file, line) = rest.rsplit_once(':')?;
            Some((file, line.parse().ok()?, column.parse().ok()?))
        });
        let place = parts.and_then(|(file, line, column)| self.place(file, line, column));
        place.map_or_else(own, |Place { file, line, column, .. }| {
            clean(&format!("{before}{file}:{line}:{column}{after}")).into_owned()
        })
    }
}

/// The line and those around it, with their numbers, and a mark below the place.
fn excerpt(text: &str, line: u32, column: u32) -> String {
    let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
    let first = index.saturating_sub(LINES_AROUND);
    let width = (index + LINES_AROUND + 1).to_string().len();
    let mut excerpt = String::new();
    for (number, text) in
        text.lines().enumerate().skip(first).take(index - first + 1 + LINES_AROUND)
    {
        let shown = cut(clean(text).into_owned(), LINE_BYTES_MAX);
        excerpt.push_str(&format!("{:>width$} | {shown}\n", number + 1));
        if number == index
            && column > 0
            && usize::try_from(column).is_ok_and(|c| c <= LINE_BYTES_MAX)
        {
            let before = text.chars().take(column as usize - 1);
            let space: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            excerpt.push_str(&format!("{:>width$} | {space}^\n", ""));
        }
    }
    excerpt.truncate(excerpt.trim_end().len());
    excerpt
}

/// Whether JSON is nested deeper than a runtime may be given it.
pub(crate) fn is_too_deep(json: &str) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(modules: &[(&str, &str)]) -> Source {
        let module = |(path, text): &(&str, &str)| wire::SourceModule {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
            ..wire::SourceModule::default()
        };
        let modules = modules.iter().map(module).collect();
        let program = wire::SourceProgram { modules, ..wire::SourceProgram::default() };
        Source { program, sent: Sent::default() }
    }

    #[test]
    fn a_place_has_its_lines() {
        let source = source(&[("main.js", "one\n\ttwo three\nfour\nfive")]);
        let place = source.place("main.js", 2, 6).expect("it is there");
        assert_eq!(place.excerpt, "1 | one\n2 | \ttwo three\n  | \t    ^\n3 | four");
        assert_eq!((place.line, place.column), (2, 6));
        assert!(source.place("other.js", 1, 1).is_none());
        // Numbers that are not of the text, as of a hostile error.
        for (line, column) in [(0, 0), (99, 99), (u32::MAX, u32::MAX)] {
            assert!(source.place("main.js", line, column).is_some());
        }
    }

    #[test]
    fn frames_stay_readable_whatever_they_are() {
        let source = source(&[("a/b.js", "x")]);
        let stack = "at f (a/b.js:1:1)\nat a/b.js:1:1\nat g (b:x:y)\nnonsense\nat (\u{1b}[2J";
        let lines = source.stack(stack);
        assert_eq!(lines[..4], ["at f (a/b.js:1:1)", "at a/b.js:1:1", "at g (b:x:y)", "nonsense"]);
        assert!(!lines[4].contains('\u{1b}'));
        assert_eq!(source.stack(&"at x\n".repeat(1_000)).len(), STACK_LINES_MAX);
    }

    #[test]
    fn deep_json_is_told_from_text() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!is_too_deep(&deep(NESTING_MAX)));
        assert!(is_too_deep(&deep(NESTING_MAX + 1)));
        assert!(is_too_deep(&"{\"a\":".repeat(NESTING_MAX + 1)));
        assert!(!is_too_deep(&format!("[\"\\\"{}\"]", "[".repeat(5_000))));
        assert!(!is_too_deep(&"[],".repeat(5_000)));
    }

    #[test]
    fn broken_files_are_refused() {
        assert!(Source::read(b"\xff\xff\xff").is_err());
        assert!(Source::read(b"").is_ok_and(|source| source.program.modules.is_empty()));
    }
}
