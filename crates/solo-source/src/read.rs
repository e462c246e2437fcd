//! One module: read for its errors and its functions, and rid of types.

use std::path::Path;

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions, CodegenReturn};
use oxc_diagnostics::OxcDiagnostic;
use oxc_parser::{ParseOptions, Parser};
use oxc_semantic::SemanticBuilder;
use oxc_sourcemap::SourceMap;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};

use crate::exports::{self, find, find_assigned};
use crate::imports::{self, Found, Import};
use crate::resolve::why_missing;
use crate::{Export, SourceError};

/// Longest line of an excerpt.
const LINE_BYTES_MAX: usize = 200;

/// What a text turned out to be.
pub(crate) struct Read {
    /// What is run instead of the text, and the source map to it.
    pub(crate) transformed: Option<(String, String)>,
    pub(crate) is_commonjs: bool,
    pub(crate) imports: Vec<Import>,
    /// Of the entry only.
    pub(crate) exports: Option<Vec<Export>>,
}

/// How a text is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) is_typescript: bool,
    /// The ending says which it is; else the text does.
    pub(crate) is_commonjs: Option<bool>,
    pub(crate) is_entry: bool,
    /// Of a package: what nobody here can mend is found out when it runs.
    pub(crate) is_package: bool,
}

/// Reads a module. Of the entry its functions too.
pub(crate) fn module(path: &str, text: &str, way: Way) -> Result<Read, SourceError> {
    let allocator = Allocator::default();
    let is_module = way.is_typescript || way.is_commonjs == Some(false);
    if !is_module && let Some(read) = script(&allocator, path, text, way) {
        return read;
    }
    let source_type = SourceType::mjs().with_typescript(way.is_typescript);
    let parsed = Parser::new(&allocator, text, source_type).parse();
    if let Some(error) = syntax_error(path, text, parsed.diagnostics.iter()) {
        return Err(error);
    }
    let mut program = parsed.program;
    let found = imports::find(&program);
    let mut read =
        Read { transformed: None, is_commonjs: false, imports: found.imports, exports: None };
    if way.is_package {
        return Ok(read);
    }
    let exported = way.is_entry.then(|| find(&program, text));
    let checked = SemanticBuilder::new()
        .with_check_syntax_error(true)
        .with_enum_eval(way.is_typescript)
        .build(&program);
    if let Some(error) = syntax_error(path, text, checked.diagnostics.iter()) {
        return Err(error);
    }
    read.exports = exported.map(|exported| functions(path, exported)).transpose()?;
    if !way.is_typescript {
        return Ok(read);
    }
    let scoping = checked.semantic.into_scoping();
    let options = TransformOptions::default();
    let transformed = Transformer::new(&allocator, Path::new(path), &options)
        .build_with_scoping(scoping, &mut program);
    if let Some(error) = syntax_error(path, text, transformed.diagnostics.iter()) {
        return Err(SourceError { reason: "UNSUPPORTED", ..error });
    }
    // Only now: what was imported for its types is gone.
    let imports = imports::find(&program).imports;
    let options =
        CodegenOptions { source_map_path: Some(path.into()), ..CodegenOptions::default() };
    let CodegenReturn { code, map, .. } = Codegen::new().with_options(options).build(&program);
    let map = map.map(|map| map.to_json_string()).unwrap_or_default();
    Ok(Read { transformed: Some((code, map)), imports, ..read })
}

/// Reads a text as CommonJS. `None`: it is a module of the language.
fn script(
    allocator: &Allocator,
    path: &str,
    text: &str,
    way: Way,
) -> Option<Result<Read, SourceError>> {
    let options = ParseOptions { allow_return_outside_function: true, ..ParseOptions::default() };
    let is_said = way.is_commonjs == Some(true);
    let kind = if is_said { SourceType::cjs() } else { SourceType::unambiguous() };
    let parsed = Parser::new(allocator, text, kind).with_options(options).parse();
    if !is_said && (parsed.module_record.has_module_syntax || !parsed.diagnostics.is_empty()) {
        return None;
    }
    if let Some(error) = syntax_error(path, text, parsed.diagnostics.iter()) {
        return Some(Err(error));
    }
    let Found { imports, is_commonjs } = imports::find(&parsed.program);
    if !(is_commonjs || is_said || way.is_package) {
        return None;
    }
    let exports = way.is_entry.then(|| functions(path, find_assigned(&parsed.program)));
    let exports = match exports.transpose() {
        Ok(exports) => exports,
        Err(error) => return Some(Err(error)),
    };
    Some(Ok(Read { transformed: None, is_commonjs: true, imports, exports }))
}

/// What is imported that is not there.
pub(crate) fn missing(path: &str, text: &str, import: &Import) -> SourceError {
    let Import { name, span, .. } = import;
    let message = format!("cannot import {name:?}: {}", why_missing(name));
    let mut error = SourceError::new("IMPORT_NOT_FOUND", path, message);
    (error.line, error.column) = place(text, span.start as usize);
    error.excerpt = excerpt(text, error.line, error.column);
    let hint = "send each file that is imported, with its path as it is imported, and packages as npm packs them";
    hint.clone_into(&mut error.hint);
    error
}

/// Checks JSON.
pub(crate) fn json(path: &str, text: &str) -> Result<(), SourceError> {
    let Err(wrong) = serde_json::from_str::<serde_json::Value>(text) else { return Ok(()) };
    let mut error = SourceError::new("SYNTAX_ERROR", path, format!("it is no JSON: {wrong}"));
    error.line = u32::try_from(wrong.line()).unwrap_or(u32::MAX);
    error.column = u32::try_from(wrong.column()).unwrap_or(u32::MAX);
    error.excerpt = excerpt(text, error.line, error.column);
    Err(error)
}

fn functions(path: &str, found: exports::Found) -> Result<Vec<Export>, SourceError> {
    if found.exports.is_empty() && !found.others {
        let error = SourceError::new("NO_EXPORTS", path, "it exports no function to be called");
        let hint =
            "export one: `export function hello(name) { return `Hello, ${name}`; }`".to_owned();
        return Err(SourceError { hint, ..error });
    }
    Ok(found.exports)
}

/// The first error, with its place.
fn syntax_error<'a>(
    path: &str,
    text: &str,
    mut diagnostics: impl Iterator<Item = &'a OxcDiagnostic>,
) -> Option<SourceError> {
    let first = diagnostics.next()?;
    let others = diagnostics.count();
    let mut message = first.message.to_string();
    if others > 0 {
        message.push_str(&format!(" (and {others} more)"));
    }
    let mut error = SourceError::new("SYNTAX_ERROR", path, message);
    error.hint = first.help.as_deref().unwrap_or_default().to_owned();
    if let Some(label) = first.labels.first() {
        (error.line, error.column) = place(text, label.offset() as usize);
        error.excerpt = excerpt(text, error.line, error.column);
    }
    Some(error)
}

/// Line and column of a byte, from 1.
fn place(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// The line and those around it, with their numbers, and a mark below the place.
#[must_use]
pub fn excerpt(text: &str, line: u32, column: u32) -> String {
    let index = (line as usize).saturating_sub(1);
    let width = (index + 2).to_string().len();
    let mut excerpt = String::new();
    let first = index.saturating_sub(1);
    for (number, line) in text.lines().enumerate().skip(first).take(index - first + 2) {
        let shown = &line[..line.floor_char_boundary(LINE_BYTES_MAX)];
        excerpt.push_str(&format!("{:>width$} | {shown}\n", number + 1));
        if number == index && (1..=LINE_BYTES_MAX).contains(&(column as usize)) {
            let before = line.chars().take(column as usize - 1);
            let space: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            excerpt.push_str(&format!("{:>width$} | {space}^\n", ""));
        }
    }
    excerpt.truncate(excerpt.trim_end().len());
    excerpt
}

/// From a place in [`Module::text`] to the one in what was sent; both from 1. `None`: the map knows none.
#[must_use]
pub fn original(map: &str, line: u32, column: u32) -> Option<(u32, u32)> {
    let map = SourceMap::from_json_string(map).ok()?;
    let table = map.generate_lookup_table();
    let line = line.checked_sub(1)?;
    // What is before the first token that the map knows of a line is of that token.
    let token = map
        .lookup_token(&table, line, column.saturating_sub(1))
        .or_else(|| map.get_tokens().find(|token| token.get_dst_line() == line))?;
    Some((token.get_src_line().checked_add(1)?, token.get_src_col().checked_add(1)?))
}
