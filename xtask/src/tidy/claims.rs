//! Checks that the claims of `docs/security.md` have their tests: each row of a table with a column
//! `test` names at least one, each name is a test of the file that is linked before it, each link leads
//! to a file, and each file of the attack suite has a row.
//!
//! Does not run the tests, and cannot tell whether they attack what the row claims.

use super::strip::strip;
use super::{Findings, SourceFile};

/// Where the claims are.
const PAGE: &str = "docs/security.md";

/// The attack suite: one file per attack.
const ATTACKS: &str = "crates/solo/tests/attacks/";

/// Fuzz targets have no tests but functions that are fed.
const FUZZ: &str = "fuzz/";

/// Tests with a harness of their own are functions in a table.
const OWN_HARNESS: &str = "crates/solo-sandbox/tests/sandbox/";

/// Checks the page.
pub(super) fn check(files: &[SourceFile], findings: &mut Findings) {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        findings.error(format!("{PAGE} is missing"));
        return;
    };
    let file = |path: &str| files.iter().find(|file| file.path == path);
    let mut linked: Vec<String> = Vec::new();
    let mut in_claims = false;
    for (index, line) in page.text.lines().enumerate() {
        let place = format!("{PAGE}:{}", index + 1);
        in_claims = line.starts_with('|') && (in_claims || line.ends_with("| test |"));
        let is_row = in_claims && !line.ends_with("| test |") && !line.starts_with("|---");
        let mut tests = 0;
        for link in links(line) {
            let Some(path) = repository_path(link.target) else { continue };
            let Some(found) = file(&path) else {
                findings.error(format!("{place}: there is no {path}"));
                continue;
            };
            if !path.ends_with(".rs") {
                continue;
            }
            let code = strip(&found.text);
            for name in &link.names {
                tests += 1;
                let plain = path.starts_with(FUZZ) || path.starts_with(OWN_HARNESS);
                if !has_test(&code, name, plain) {
                    findings.error(format!("{place}: {path} has no test {name}"));
                }
            }
            linked.push(path);
        }
        if is_row && tests == 0 {
            findings.error(format!("{place}: a claim without a test"));
        }
    }
    let attacks = files.iter().map(|file| &file.path).filter(|path| path.starts_with(ATTACKS));
    for path in attacks.filter(|path| !path.ends_with("/mod.rs") && !linked.contains(path)) {
        findings.error(format!("{PAGE}: says nothing about {path}"));
    }
}

/// A link and the names in backticks between it and the next one.
struct Link<'a> {
    target: &'a str,
    names: Vec<&'a str>,
}

fn links(line: &str) -> Vec<Link<'_>> {
    let mut found = Vec::new();
    // What stands before the first one belongs to none.
    for rest in line.split("](").skip(1) {
        let Some((target, rest)) = rest.split_once(')') else { continue };
        let is_name = |name: &&str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let names = rest.split('`').skip(1).step_by(2).filter(is_name).collect();
        found.push(Link { target, names });
    }
    found
}

/// The path in the repository that a link of the page leads to; none for what is elsewhere.
fn repository_path(target: &str) -> Option<String> {
    let path = target.split('#').next().filter(|path| !path.is_empty() && !path.contains(':'))?;
    match path.strip_prefix("../") {
        Some(path) => Some(path.to_owned()),
        None => Some(format!("docs/{path}")),
    }
}

/// Whether `code`, which is stripped, has a test of this name, or where that is enough a function.
fn has_test(code: &str, name: &str, any_function: bool) -> bool {
    code.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let before = &code[..at];
        // Its attributes: back to the end of the item before.
        let item = before.rfind(['}', ';']).map_or(before, |end| &before[end..]);
        any_function || item.contains("test]") || item.contains("test(")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(page: &str) -> Vec<String> {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let test = "fn helper() {}\n/// Text.\n#[tokio::test]\nasync fn holds() {}\n";
        let files = [
            file(PAGE, page),
            file("crates/a.rs", test),
            file("fuzz/a.rs", "pub fn check() {}\n"),
            file(&format!("{ATTACKS}one.rs"), test),
            file(&format!("{ATTACKS}mod.rs"), ""),
        ];
        let mut findings = Findings::default();
        check(&files, &mut findings);
        findings.errors
    }

    #[test]
    fn claims_have_tests_that_are_there() {
        let suite = "| attack | test |\n|---|---|\n\
             | x | [one](../crates/solo/tests/attacks/one.rs) `holds` |\n";
        assert_eq!(errors(suite), Vec::<String>::new());
        let row = |row: &str| errors(&format!("{suite}| y | {row} |\n"));
        assert!(row("[a](../crates/a.rs) `holds`, [f](../fuzz/a.rs) `check`").is_empty());
        for wrong in [
            "[a](../crates/a.rs) `helper`",
            "[a](../crates/a.rs) `gone`",
            "[a](../crates/a.rs)",
            "[a](../crates/b.rs) `holds`, [a](../crates/a.rs) `holds`",
            "`holds`",
            "`cargo deny`",
        ] {
            assert_eq!(row(wrong).len(), 1, "{wrong}");
        }
        assert_eq!(errors("| attack | test |\n").len(), 1, "an attack that is not told");
        // Other tables make no claims; what they link to is there all the same.
        let other = format!("{suite}\n| layer | stops |\n|---|---|\n| a | b |\n");
        assert!(errors(&other).is_empty());
        assert_eq!(errors(&format!("{other}see [c](../crates/c.rs)\n")).len(), 1);
        assert!(errors(&format!("{other}[d](#there) [e](https://x.example/y.md)\n")).is_empty());
    }
}
