//! Source text of a service, as an agent sends it, to what a runtime loads: JavaScript and TypeScript.
//!
//! Reads hostile text, within bounds, and runs none of it. Types are taken out, not checked. Says where an error
//! is in the sender's own lines.

mod exports;
mod read;
pub mod resolve;

use std::collections::HashSet;

pub use read::original;

/// One text.
pub const TEXT_BYTES_MAX: usize = 8 << 20;

/// For reading: some hundred bytes to two kilobytes for each level of nesting. Takes memory as it is used.
const STACK_BYTES: usize = 256 << 20;

/// Length of a path.
pub const PATH_BYTES_MAX: usize = 512;

/// One file as it was sent.
#[derive(Debug, Clone)]
pub struct File {
    /// Relative, with `/` between its parts.
    pub path: String,
    /// UTF-8, or it is refused.
    pub content: Vec<u8>,
}

/// What a runtime loads.
#[derive(Debug)]
pub struct Program {
    /// Path of the module that the service begins with.
    pub entry: String,
    /// In the order in which they were sent.
    pub modules: Vec<Module>,
    /// Functions of the entry, in the order of the text.
    pub exports: Vec<Export>,
}

/// One module.
#[derive(Debug)]
pub struct Module {
    /// As it was sent: `lib.ts` too, whose text is JavaScript.
    pub path: String,
    /// JavaScript or JSON.
    pub text: String,
    /// Source map (JSON) to what was sent, if the text is not that.
    pub map: Option<String>,
}

/// A function that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Name and type of each; `any` without a type.
    pub parameters: Vec<(String, String)>,
    /// What it returns; of an async one, what is promised.
    pub result: String,
    /// `add: func(a: number, b?: number) -> number`.
    pub signature: String,
}

/// Why source text can be no service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceError {
    /// `SYNTAX_ERROR`, `NO_EXPORTS`, `IMPORT_NOT_FOUND`, `NOT_UTF8`, `TOO_LARGE`, `BAD_PATH`, `UNSUPPORTED`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// Path of the file; empty: none.
    pub file: String,
    /// From 1; 0: of no place.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The lines around it.
    pub excerpt: String,
    /// What would help; may be empty.
    pub hint: String,
}

impl SourceError {
    fn new(reason: &'static str, file: &str, message: impl Into<String>) -> Self {
        Self { reason, file: file.to_owned(), message: message.into(), ..Self::default() }
    }
}

/// What the ending of a path says that a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    JavaScript,
    TypeScript,
    Json,
    /// Kept as it is, if it is text.
    Other,
}

fn kind_of(path: &str) -> Kind {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js" | "mjs") => Kind::JavaScript,
        Some("ts" | "mts") => Kind::TypeScript,
        Some("json") => Kind::Json,
        _ => Kind::Other,
    }
}

/// Compiles a service, on a thread with a stack of its own: reading goes as deep as the text. Text that is deeper
/// than that stack ends the process.
///
/// # Errors
/// [`SourceError`]: the first thing that is wrong.
pub fn compile(entry: &str, files: Vec<File>) -> Result<Program, SourceError> {
    let failed = |why: &str| Err(SourceError::new("TOO_LARGE", entry, why));
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("source".to_owned()).stack_size(STACK_BYTES);
        match reader.spawn_scoped(scope, || read_all(entry, files)) {
            Ok(reader) => reader.join().unwrap_or_else(|_| failed("its reader has a defect")),
            Err(_) => failed("there is no memory to read it"),
        }
    })
}

fn read_all(entry: &str, files: Vec<File>) -> Result<Program, SourceError> {
    let mut seen = HashSet::new();
    let mut modules = Vec::with_capacity(files.len());
    let mut exports = None;
    for File { path, .. } in &files {
        check_path(path)?;
        if !seen.insert(path.clone()) {
            return Err(SourceError::new("BAD_PATH", path, "two files have this path"));
        }
    }
    let is_there = |path: &str| seen.contains(path);
    for File { path, content } in files {
        if content.len() > TEXT_BYTES_MAX {
            let message = format!("it has {} bytes, at most {TEXT_BYTES_MAX}", content.len());
            return Err(SourceError::new("TOO_LARGE", &path, message));
        }
        let text = String::from_utf8(content).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            SourceError::new("NOT_UTF8", &path, format!("it is not UTF-8 at offset {offset}"))
        })?;
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let is_entry = path == entry;
        let module = match kind_of(&path) {
            kind @ (Kind::JavaScript | Kind::TypeScript) => {
                let (module, found) =
                    read::module(path, text, kind == Kind::TypeScript, is_entry, is_there)?;
                exports = exports.or(found);
                module
            }
            Kind::Json => {
                read::json(&path, &text)?;
                Module { path, text, map: None }
            }
            Kind::Other => {
                let message = "its ending says no language";
                let error = SourceError::new("UNSUPPORTED", &path, message);
                let hint = "send .js, .mjs, .ts, .mts and .json files".to_owned();
                return Err(SourceError { hint, ..error });
            }
        };
        modules.push(module);
    }
    match exports {
        Some(exports) => Ok(Program { entry: entry.to_owned(), modules, exports }),
        None => {
            let message = "it is not among the files, or no JavaScript or TypeScript";
            Err(SourceError::new("BAD_PATH", entry, message))
        }
    }
}

fn check_path(path: &str) -> Result<(), SourceError> {
    let bad = path.is_empty()
        || path.len() > PATH_BYTES_MAX
        || path.chars().any(|c| c.is_control() || c == '\\')
        || path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if !bad {
        return Ok(());
    }
    let shown: String = path.chars().take(80).flat_map(char::escape_default).collect();
    let message = format!("{shown:?} is no relative path with / between its parts");
    Err(SourceError::new("BAD_PATH", "", message))
}

#[cfg(test)]
mod tests;
