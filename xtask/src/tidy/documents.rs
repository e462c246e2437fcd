//! Checks that documents keep up: every dependency is explained, every page can be found.

use super::{Findings, SourceFile};

/// Where dependencies are explained.
const DEPENDENCIES: &str = "docs/dependencies.md";

/// Pages from which readers start.
const ENTRIES: [&str; 2] = ["README.md", "ARCHITECTURE.md"];

/// Checks the documents of the tree.
pub(super) fn check(files: &[SourceFile], findings: &mut Findings) {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| &*file.text);
    match (text("Cargo.toml"), text(DEPENDENCIES)) {
        (Some(manifest), Some(page)) => check_dependencies(manifest, page, findings),
        _ => findings.error(format!("Cargo.toml or {DEPENDENCIES} is missing")),
    }
    let entries: String = ENTRIES.into_iter().filter_map(text).collect();
    let pages = files.iter().map(|file| &file.path).filter(|path| path.starts_with("docs/"));
    for page in pages.filter(|page| !entries.contains(page.as_str())) {
        findings.note(format!("{page}: no link from {}", ENTRIES.join(" or ")));
    }
}

fn check_dependencies(manifest: &str, page: &str, findings: &mut Findings) {
    let known = external_dependencies(manifest);
    let explained: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for name in &known {
        if !explained.contains(name) {
            findings.error(format!("{DEPENDENCIES}: says nothing about {name}"));
        }
    }
    for name in explained {
        if !known.contains(&name) {
            findings.error(format!("{DEPENDENCIES}: {name} is no dependency of the workspace"));
        }
    }
}

/// Names under `[workspace.dependencies]` that are not paths in the workspace.
fn external_dependencies(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.contains("path = "))
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .filter(|name| !name.starts_with('#'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[workspace.dependencies]\nown = { path = \"x\" }\n\n# why\n\
        anyhow = \"1\"\ntokio = { version = \"1\" }\n\n[workspace.lints.rust]\nunsafe_code = \"deny\"\n";

    #[test]
    fn external_dependencies_are_found() {
        assert_eq!(external_dependencies(MANIFEST), ["anyhow", "tokio"]);
    }

    #[test]
    fn pages_and_dependencies_match() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let mut findings = Findings::default();
        let files = [
            file("Cargo.toml", MANIFEST),
            file(DEPENDENCIES, "| `anyhow` | x |\n| `serde` | y |\nabout `tokio`\n"),
            file("README.md", "see docs/dependencies.md"),
            file("docs/lost.md", ""),
        ];
        check(&files, &mut findings);
        assert_eq!(findings.errors.len(), 2, "{findings:?}");
        assert!(findings.errors[0].contains("tokio") && findings.errors[1].contains("serde"));
        assert_eq!(findings.notes, ["docs/lost.md: no link from README.md or ARCHITECTURE.md"]);
    }
}
