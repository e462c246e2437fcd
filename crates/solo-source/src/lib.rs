//! Source text of a service, as an agent sends it, to what a runtime loads: JavaScript and TypeScript are read
//! here, the files of Python collected.
//!
//! Reads hostile text, within bounds, and runs none of it. Types are taken out, not checked. Says where an error
//! is in the sender's own lines.

mod archive;
mod exports;
mod imports;
mod packages;
pub mod python;
mod read;
pub mod resolve;
mod unpack;

use std::collections::{HashMap, HashSet, VecDeque};

use packages::{Packages, is_in_package};
use read::{Read, Way};
pub use read::{excerpt, original};

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

/// What a service is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// And TypeScript: one runtime runs both.
    JavaScript,
    /// CPython.
    Python,
}

impl Language {
    /// What the ending of the entry says. JavaScript where it says nothing, which is refused when it is read.
    #[must_use]
    pub fn of(entry: &str) -> Self {
        if entry.ends_with(".py") { Self::Python } else { Self::JavaScript }
    }

    /// Its name, also that of its runtime.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JavaScript => "javascript",
            Self::Python => "python",
        }
    }
}

/// What a runtime loads.
#[derive(Debug)]
pub struct Program {
    /// Path of the module that the service begins with.
    pub entry: String,
    /// What was sent, in its order, then what of packages is imported.
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
    /// It is run as CommonJS.
    pub is_commonjs: bool,
    /// Names that it imports, and the paths that they mean, where the rules for files alone would not tell.
    pub imports: Vec<(String, String)>,
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
    /// `SYNTAX_ERROR`, `NO_EXPORTS`, `IMPORT_NOT_FOUND`, `NOT_UTF8`, `TOO_LARGE`, `BAD_PATH`, `BAD_PACKAGE`, `UNSUPPORTED`,
    /// `LANGUAGE_MISSING`.
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
    /// Of a file, or of none if that is empty.
    #[must_use]
    pub fn new(reason: &'static str, file: &str, message: impl Into<String>) -> Self {
        Self { reason, file: file.to_owned(), message: message.into(), ..Self::default() }
    }
}

/// The module that is there by itself.
const SOLO: &str = "solo";

/// What the ending of a path says that a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// And whether it is CommonJS, if the ending says that.
    JavaScript(Option<bool>),
    TypeScript,
    Json,
    Other,
}

fn kind_of(path: &str) -> Kind {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => Kind::JavaScript(None),
        Some("mjs") => Kind::JavaScript(Some(false)),
        Some("cjs") => Kind::JavaScript(Some(true)),
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
    let mut sources = Sources::new(unpack::all(files)?)?;
    let mut program = Program { entry: entry.to_owned(), modules: Vec::new(), exports: Vec::new() };
    let mut is_entry_read = false;
    while let Some((path, content)) = sources.next() {
        let text = text_of(&path, content)?;
        let is_entry = path == entry;
        let way = |is_typescript, is_commonjs| Way {
            is_typescript,
            is_commonjs,
            is_entry,
            is_package: is_in_package(&path),
        };
        let read = match kind_of(&path) {
            Kind::JavaScript(is_commonjs) => read::module(&path, &text, way(false, is_commonjs))?,
            Kind::TypeScript => read::module(&path, &text, way(true, None))?,
            Kind::Json => {
                read::json(&path, &text)?;
                let imports = Vec::new();
                Read { transformed: None, is_commonjs: false, imports, exports: None }
            }
            Kind::Other => {
                let error = SourceError::new("UNSUPPORTED", &path, "its ending says no language");
                let hint = "send .js, .mjs, .cjs, .ts, .mts and .json files, and packages as .tgz; a service in \
                     Python begins with a .py file";
                return Err(SourceError { hint: hint.to_owned(), ..error });
            }
        };
        let imports = sources.follow(&path, &text, &read)?;
        if let Some(exports) = read.exports {
            program.exports = exports;
            is_entry_read = true;
        }
        let (text, map) = match read.transformed {
            Some((code, map)) => (code, Some(map)),
            None => (text, None),
        };
        program.modules.push(Module { path, text, map, is_commonjs: read.is_commonjs, imports });
    }
    if is_entry_read {
        return Ok(program);
    }
    let message = "it is not among the files, or no JavaScript or TypeScript";
    Err(SourceError::new("BAD_PATH", entry, message))
}

/// What was sent, and what of it is still to be read: all that is the sender's own, and of packages what is imported.
struct Sources {
    /// Paths of all.
    known: HashSet<String>,
    /// What is not read yet.
    left: HashMap<String, Vec<u8>>,
    next: VecDeque<String>,
    packages: Packages,
}

impl Sources {
    fn new(files: Vec<File>) -> Result<Self, SourceError> {
        let mut sources = Self {
            known: HashSet::with_capacity(files.len()),
            left: HashMap::with_capacity(files.len()),
            next: VecDeque::new(),
            packages: Packages::default(),
        };
        for File { path, content } in files {
            check_path(&path)?;
            if !sources.known.insert(path.clone()) {
                return Err(SourceError::new("BAD_PATH", &path, "two files have this path"));
            }
            if path.rsplit('/').next() == Some(packages::MANIFEST) {
                sources.packages.add(&path, &content);
            }
            if !is_in_package(&path) {
                sources.next.push_back(path.clone());
            }
            sources.left.insert(path, content);
        }
        Ok(sources)
    }

    fn next(&mut self) -> Option<(String, Vec<u8>)> {
        loop {
            let path = self.next.pop_front()?;
            // Once, however many import it.
            if let Some(content) = self.left.remove(&path) {
                return Some((path, content));
            }
        }
    }

    /// Finds what a module imports, and has it read.
    fn follow(
        &mut self,
        path: &str,
        text: &str,
        read: &Read,
    ) -> Result<Vec<(String, String)>, SourceError> {
        let mut beyond = Vec::new();
        for import in &read.imports {
            if import.name == SOLO {
                continue;
            }
            let is_there = |path: &str| self.known.contains(path);
            let found = self.packages.resolve(&is_there, path, &import.name, import.is_required);
            let Some(found) = found else {
                if import.is_needed && !is_in_package(path) {
                    return Err(read::missing(path, text, import));
                }
                continue;
            };
            let plain = resolve::resolve(is_there, path, &import.name);
            if plain.as_ref() != Some(&found) {
                beyond.push((import.name.clone(), found.clone()));
            }
            self.next.push_back(found);
        }
        beyond.sort();
        beyond.dedup();
        Ok(beyond)
    }
}

fn text_of(path: &str, content: Vec<u8>) -> Result<String, SourceError> {
    if content.len() > TEXT_BYTES_MAX {
        let message = format!("it has {} bytes, at most {TEXT_BYTES_MAX}", content.len());
        return Err(SourceError::new("TOO_LARGE", path, message));
    }
    let text = String::from_utf8(content).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        SourceError::new("NOT_UTF8", path, format!("it is not UTF-8 at offset {offset}"))
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
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
