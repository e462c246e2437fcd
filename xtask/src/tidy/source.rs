//! Checks of one file: its opening words, its size, and what it must not contain.

use super::strip::strip;
use super::{Findings, SourceFile};

/// Lines before the tests from which on a file is listed.
const FILE_LINES_LISTED: usize = 400;

/// Lines before the tests from which on a file fails.
const FILE_LINES_MAX: usize = 600;

/// Lines from which on a function is listed.
const FUNCTION_LINES_LISTED: usize = 70;

/// Calls that must not stay in code, each with the reason.
const FORBIDDEN: [(&str, &str); 4] = [
    ("todo!", "nothing is left for later in code that counts as done"),
    ("unimplemented!", "what is not built answers with an error"),
    ("dbg!", "use tracing"),
    ("#[ignore", "assert today's behaviour with a FIXME instead"),
];

/// Directories whose code may start processes. Of Solo at work that is the heart, and in its sandbox
/// the init of a program; the report of the sandbox asks tools for their versions, the command line
/// starts the heart.
const SPAWNERS: [&str; 6] = [
    "crates/solo-heart/",
    "crates/solo-process/",
    "crates/solo-sandbox/",
    "crates/solo/",
    "xtask/",
    "benches/",
];

/// Endings of files that are read.
const CHECKED: [&str; 14] = [
    "rs", "toml", "md", "sh", "proto", "wit", "yml", "yaml", "js", "mjs", "ts", "py", "service",
    "conf",
];

/// Files without an ending that are read.
const CHECKED_NAMES: [&str; 2] = ["Makefile", ".ci/run"];

/// Tells whether a path (relative to the repository) is of interest.
pub(super) fn is_checked(path: &str) -> bool {
    CHECKED_NAMES.contains(&path)
        || path.rsplit_once('.').is_some_and(|(_, ending)| CHECKED.contains(&ending))
}

/// Checks a file by itself.
pub(super) fn check(file: &SourceFile, findings: &mut Findings) {
    let is_test = is_test_path(&file.path);
    if !is_test {
        check_paths(file, findings);
    }
    if !file.path.ends_with(".rs") {
        return;
    }
    if !file.text.starts_with("//!") {
        findings.error(format!("{}:1: does not begin with `//!`: say its duty", file.path));
    }
    let code = strip(&file.text);
    for (number, line) in numbered(&code) {
        for (word, reason) in FORBIDDEN {
            if has_word(line, word) {
                findings.error(format!("{}:{number}: `{word}`: {reason}", file.path));
            }
        }
    }
    if is_test {
        return;
    }
    check_sizes(file, &code, findings);
    if !SPAWNERS.iter().any(|spawner| file.path.starts_with(spawner)) {
        for (number, line) in numbered(before_tests(&code)) {
            if line.contains("Command::new(") {
                let text = "starts a process; only the heart does";
                findings.error(format!("{}:{number}: {text}", file.path));
            }
        }
    }
}

/// Homes of developers do not belong into files that others use.
fn check_paths(file: &SourceFile, findings: &mut Findings) {
    let text = if file.path.ends_with(".rs") { before_tests(&file.text) } else { &file.text };
    for (number, line) in numbered(text) {
        // Written in two parts, or this file would name them.
        for path in [concat!("/ro", "ot/"), concat!("/ho", "me/")] {
            let start = line.find(path);
            let inside = start.is_some_and(|at| {
                line[..at].ends_with(|c: char| c.is_alphanumeric() || "}_-.)".contains(c))
            });
            if start.is_some() && !inside {
                findings.error(format!("{}:{number}: a path of one machine: {path}", file.path));
            }
        }
    }
}

fn check_sizes(file: &SourceFile, code: &str, findings: &mut Findings) {
    let own = before_tests(code);
    let lines = own.lines().count();
    let path = &file.path;
    if lines > FILE_LINES_MAX {
        findings.error(format!("{path}: {lines} lines before its tests; {FILE_LINES_MAX} at most"));
    } else if lines > FILE_LINES_LISTED {
        findings.note(format!("{path}: {lines} lines before its tests"));
    }
    for (number, name, lines) in functions(own) {
        if lines > FUNCTION_LINES_LISTED {
            findings.note(format!("{path}:{number}: fn {name} has {lines} lines"));
        }
    }
}

/// Tells whether a file holds nothing but tests.
fn is_test_path(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.split('/').any(|part| part == "tests") || name == "tests.rs" || name.ends_with("_tests.rs")
}

/// The part of a file before its tests. Blank lines in the place of stripped attributes stay.
fn before_tests(text: &str) -> &str {
    let end = text.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|at| {
        // A single item for tests, such as a `use`, does not begin the tests.
        let rest = text[at + "#[cfg(test)]".len()..].trim_start();
        let rest = rest.lines().find(|line| !line.trim_start().starts_with("#[")).unwrap_or("");
        rest.trim_start().trim_start_matches("pub(crate) ").starts_with("mod ")
    });
    &text[..end.unwrap_or(text.len())]
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Finds a word that is not the end of a longer one: `dbg!` but not `my_dbg!`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Line, name and number of lines of each function with a body; `code` is stripped.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + 3..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            // A function pointer type: `fn (u32)`.
            continue;
        }
        if let Some(len) = body_end(rest) {
            let number = code[..at].matches('\n').count() + 1;
            found.push((number, name, rest[..len].lines().count()));
        }
    }
    found
}

/// Where the body ends that follows a signature. `None` if there is no body.
fn body_end(rest: &str) -> Option<usize> {
    let (mut parens, mut braces) = (0_usize, 0_usize);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' | b'[' => parens += 1,
            b')' | b']' => parens = parens.checked_sub(1)?,
            b';' if parens == 0 && braces == 0 => return None,
            // Braces inside of parentheses of a signature do not occur; inside a body they do.
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Findings {
        let mut findings = Findings::default();
        check(&SourceFile { path: path.to_owned(), text: text.to_owned() }, &mut findings);
        findings
    }

    fn errors(path: &str, text: &str) -> usize {
        findings(path, text).errors.len()
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(errors("crates/x/src/a.rs", "//! Duty.\nfn f() {}\n"), 0);
        assert_eq!(errors("crates/x/src/a.rs", "fn f() {}\n"), 1);
        assert_eq!(errors("crates/x/tests/integration/main.rs", "fn f() {}\n"), 1);
        assert_eq!(errors("build.sh", "exit\n"), 0);
    }

    #[test]
    fn leftovers_are_errors_in_code_only() {
        assert_eq!(errors("a.rs", "//! D\nfn f() { todo!() }\n#[ignore = \"x\"]\n"), 2);
        assert_eq!(errors("a.rs", "//! D\n// todo!()\nconst A: &str = \"dbg!\"; my_dbg!();\n"), 0);
    }

    #[test]
    fn long_files_and_functions_are_told() {
        let file =
            |lines: usize| format!("//! D\n{}#[cfg(test)]\nmod tests {{}}\n", "\n".repeat(lines));
        assert_eq!(findings("a.rs", &file(300)), Findings::default());
        assert_eq!(findings("a.rs", &file(500)).notes.len(), 1);
        assert_eq!(errors("a.rs", &file(700)), 1);
        let tests = format!("{}{}", file(9), "\n".repeat(900));
        assert_eq!(findings("a.rs", &tests), Findings::default());
        let long = format!("//! D\nfn f(\n) {{\n{}}}\n", "    if x { y(); }\n".repeat(80));
        assert_eq!(findings("a.rs", &long).notes, ["a.rs:2: fn f has 83 lines"]);
    }

    #[test]
    fn functions_are_measured_with_their_signature() {
        let code = "trait T { fn no(); }\nfn a() -> [u8; 3] {\n b(|| { 1 })\n}\ntype F = fn (u8);\nfn_like {}";
        assert_eq!(functions(code), [(2, "a".to_owned(), 3)]);
    }

    #[test]
    fn paths_of_machines_are_errors_outside_of_tests() {
        let path = concat!("/ho", "me/me/solo");
        assert_eq!(errors("README.md", &format!("run {path}\n")), 1);
        assert_eq!(errors("README.md", "under $X/home/y and crates/home/x\n"), 0);
        let test = format!("//! D\n#[cfg(test)]\nmod tests {{ const P: &str = \"{path}\"; }}\n");
        assert_eq!(errors("a.rs", &test), 0);
        assert_eq!(errors("crates/x/tests/a.rs", &format!("//! {path}\n")), 0);
    }

    #[test]
    fn only_the_heart_starts_processes() {
        let text = "//! D\nfn f() { Command::new(\"x\"); }\n";
        assert_eq!(errors("crates/solo-cell/src/a.rs", text), 1);
        assert_eq!(errors("crates/solo-heart/src/a.rs", text), 0);
        assert_eq!(errors("crates/solo-cell/tests/a.rs", text), 0);
    }

    #[test]
    fn a_helper_for_tests_does_not_begin_the_tests() {
        let text = "a\n#[cfg(test)]\nuse x;\nb\n#[cfg(test)]\n#[expect(y)]\nmod tests {}\n";
        assert_eq!(before_tests(text).lines().count(), 4);
    }
}
