//! Checks of the crates: layers, who may use which big dependency, lints inherited.

use std::fs;

use cargo_metadata::{DependencyKind, Metadata};

use super::Findings;

/// All crates of the workspace. A crate may depend on those below it only (`ARCHITECTURE.md`).
const LAYERS: [&str; 21] = [
    "xtask",
    "solo-bench",
    "solo-runtimes",
    "solo",
    "solo-gateway",
    "solo-kernel",
    "solo-cell",
    "solo-heart",
    "solo-process",
    "solo-audit",
    "solo-sandbox",
    "solo-source",
    "solo-api",
    "solo-tls",
    "solo-actor",
    "solo-supervisor",
    "solo-rollout",
    "solo-capability",
    "solo-secrets",
    "solo-state",
    "solo-types",
];

/// Dependencies that only some crates may have outside of their tests: those whose name begins so.
/// The benches have them to measure the bare library next to Solo: nothing of Solo depends on them.
const RESERVED: [(&str, &[&str], &str); 3] = [
    (
        "wasmtime",
        &["solo-cell", "solo-runtimes", "solo-bench"],
        "guest code runs and is parsed in cells only",
    ),
    (
        "tonic",
        &["solo-api", "solo-cell", "solo-kernel", "solo-gateway", "solo", "solo-bench"],
        "protobuf stops at the edge",
    ),
    (
        "rusqlite",
        &["solo-kernel", "solo-state", "solo-bench"],
        "the kernel is the sole owner of the store, and never opens what services keep",
    ),
];

/// What the checks need to know of a crate.
#[derive(Debug)]
pub(super) struct Crate {
    name: String,
    /// Name, and whether only its tests use it.
    dependencies: Vec<(String, bool)>,
    manifest: String,
}

/// Takes the members of the workspace out of `metadata`.
pub(super) fn crates(metadata: &Metadata) -> Vec<Crate> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| Crate {
            name: package.name.to_string(),
            dependencies: package
                .dependencies
                .iter()
                .map(|found| (found.name.clone(), found.kind == DependencyKind::Development))
                .collect(),
            // An unreadable manifest fails the check for lints, which names the crate.
            manifest: fs::read_to_string(&package.manifest_path).unwrap_or_default(),
        })
        .collect()
}

/// Checks all crates against the layers.
pub(super) fn check(crates: &[Crate], findings: &mut Findings) {
    let layer = |name: &str| LAYERS.iter().position(|known| *known == name);
    for found in crates {
        let name = &found.name;
        let Some(own) = layer(name) else {
            findings.error(format!("{name}: has no place in LAYERS of xtask/src/tidy/layers.rs"));
            continue;
        };
        for (dependency, only_tests) in &found.dependencies {
            if layer(dependency).is_some_and(|other| other <= own) {
                findings.error(format!("{name}: depends on {dependency}, which is not below it"));
            }
            for (reserved, allowed, reason) in RESERVED {
                if dependency.starts_with(reserved)
                    && !only_tests
                    && !allowed.contains(&name.as_str())
                {
                    findings.error(format!("{name}: must not depend on {dependency}: {reason}"));
                }
            }
        }
        if !inherits_lints(&found.manifest) {
            findings.error(format!("{name}: does not inherit the lints of the workspace"));
        }
    }
}

fn inherits_lints(manifest: &str) -> bool {
    let mut section = "";
    manifest.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            section = line;
        }
        let line: String = line.split_whitespace().collect();
        line == "lints.workspace=true" || (section == "[lints]" && line == "workspace=true")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(name: &str, dependency: &str, only_tests: bool) -> Vec<String> {
        let found = Crate {
            name: name.to_owned(),
            dependencies: vec![(dependency.to_owned(), only_tests)],
            manifest: "[lints]\nworkspace = true\n".to_owned(),
        };
        let mut findings = Findings::default();
        check(&[found], &mut findings);
        findings.errors
    }

    #[test]
    fn arrows_point_down() {
        assert!(errors("solo-kernel", "solo-types", false).is_empty());
        assert_eq!(errors("solo-types", "solo-kernel", false).len(), 1);
        assert_eq!(errors("solo-types", "solo-types", true).len(), 1, "nor to itself");
        assert_eq!(errors("solo-new", "serde", false).len(), 1, "unknown crates have no place");
    }

    #[test]
    fn big_dependencies_are_for_the_few() {
        assert!(errors("solo-cell", "wasmtime-wasi", false).is_empty());
        assert_eq!(errors("solo-kernel", "wasmtime-wasi", false).len(), 1);
        assert!(errors("solo-kernel", "tonic-health", false).is_empty());
        assert_eq!(errors("solo-heart", "tonic", false).len(), 1);
        assert!(errors("solo-heart", "tonic", true).is_empty(), "tests may");
        assert_eq!(errors("solo-audit", "rusqlite", false).len(), 1);
    }

    #[test]
    fn lints_are_inherited() {
        assert!(inherits_lints("[lints]\nworkspace = true\n"));
        assert!(inherits_lints("lints.workspace = true\n[dependencies]\n"));
        assert!(!inherits_lints("[lints]\n[dependencies]\nworkspace = true\n"));
        assert!(!inherits_lints(""));
    }
}
