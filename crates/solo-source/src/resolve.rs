//! Where an import leads: the one set of rules for the check before a service starts and for the runtime, which
//! includes this file.
//!
//! Knows paths only, reads nothing, and leads nowhere but to files that were sent.

/// What an import may leave out.
const ENDINGS: [&str; 11] = [
    "",
    ".js",
    ".mjs",
    ".cjs",
    ".ts",
    ".mts",
    ".json",
    "/index.js",
    "/index.mjs",
    "/index.cjs",
    "/index.ts",
];

/// What TypeScript names by what it would be compiled to.
const COMPILED: [(&str, &str); 2] = [(".js", ".ts"), (".mjs", ".mts")];

/// The file that `name` means in the file `base`.
pub fn resolve(is_there: impl Fn(&str) -> bool, base: &str, name: &str) -> Option<String> {
    let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
    let path =
        if is_relative(name) { join(directory, name)? } else { join("", name.strip_prefix('/')?)? };
    let with_endings = ENDINGS.iter().map(|ending| format!("{path}{ending}"));
    let of_typescript = COMPILED.iter().filter_map(|(compiled, written)| {
        path.strip_suffix(compiled).map(|stem| format!("{stem}{written}"))
    });
    with_endings.chain(of_typescript).find(|path| is_there(path))
}

/// Why there is no such file.
pub fn why_missing(name: &str) -> &'static str {
    if is_relative(name) || name.starts_with('/') {
        "no such file was sent"
    } else if name.starts_with("node:") || NODE.contains(&name) {
        "modules of node are not there; a service has the web's globals and the module `solo`"
    } else {
        "no package of this name was sent; only the module `solo` is there by itself"
    }
}

/// Modules of node that code asks for most.
const NODE: [&str; 16] = [
    "assert",
    "buffer",
    "child_process",
    "crypto",
    "events",
    "fs",
    "http",
    "https",
    "net",
    "os",
    "path",
    "process",
    "stream",
    "url",
    "util",
    "worker_threads",
];

/// Whether an import names a file by where it lies.
pub fn is_relative(name: &str) -> bool {
    name.starts_with("./") || name.starts_with("../") || name == "." || name == ".."
}

/// A path from a directory. `None`: it leads out of what was sent.
pub fn join(directory: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
