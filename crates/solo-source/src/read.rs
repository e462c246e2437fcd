//! One module: read for its errors and its functions, and rid of types.

use std::path::Path;

use oxc_allocator::Allocator;
use oxc_ast::ast::{Program, Statement};
use oxc_codegen::{Codegen, CodegenOptions, CodegenReturn};
use oxc_diagnostics::OxcDiagnostic;
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_sourcemap::SourceMap;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};

use crate::exports::{Found, find};
use crate::resolve::{resolve, why_missing};
use crate::{Export, Module, SourceError};

/// The module that is there by itself.
const SOLO: &str = "solo";

/// Longest line of an excerpt.
const LINE_BYTES_MAX: usize = 200;

/// Reads a module. Of the entry its functions too.
pub(crate) fn module(
    path: String,
    text: String,
    is_typescript: bool,
    is_entry: bool,
    is_there: impl Fn(&str) -> bool,
) -> Result<(Module, Option<Vec<Export>>), SourceError> {
    let allocator = Allocator::default();
    let source_type = SourceType::mjs().with_typescript(is_typescript);
    let parsed = Parser::new(&allocator, &text, source_type).parse();
    if let Some(error) = syntax_error(&path, &text, parsed.diagnostics.iter()) {
        return Err(error);
    }
    let mut program = parsed.program;
    let checked = SemanticBuilder::new()
        .with_check_syntax_error(true)
        .with_enum_eval(is_typescript)
        .build(&program);
    if let Some(error) = syntax_error(&path, &text, checked.diagnostics.iter()) {
        return Err(error);
    }
    let scoping = checked.semantic.into_scoping();
    let exports = if is_entry { Some(functions(&path, find(&program, &text))?) } else { None };
    if !is_typescript {
        check_imports(&path, &text, &program, is_there)?;
        return Ok((Module { path, text, map: None }, exports));
    }
    let options = TransformOptions::default();
    let transformed = Transformer::new(&allocator, Path::new(&path), &options)
        .build_with_scoping(scoping, &mut program);
    if let Some(error) = syntax_error(&path, &text, transformed.diagnostics.iter()) {
        return Err(SourceError { reason: "UNSUPPORTED", ..error });
    }
    // Only now: what was imported for its types is gone.
    check_imports(&path, &text, &program, is_there)?;
    let options =
        CodegenOptions { source_map_path: Some(path.clone().into()), ..CodegenOptions::default() };
    let CodegenReturn { code, map, .. } = Codegen::new().with_options(options).build(&program);
    let map = map.map(|map| map.to_json_string());
    Ok((Module { path, text: code, map }, exports))
}

/// What is imported by name in the text is there. What is imported while it runs is looked for then.
fn check_imports(
    path: &str,
    text: &str,
    program: &Program<'_>,
    is_there: impl Fn(&str) -> bool,
) -> Result<(), SourceError> {
    for statement in &program.body {
        let source = match statement {
            Statement::ImportDeclaration(import) => &import.source,
            Statement::ExportFromDeclaration(export) => &export.source,
            Statement::ExportAllDeclaration(export) => &export.source,
            _ => continue,
        };
        let name = source.value.as_str();
        if name == SOLO || resolve(&is_there, path, name).is_some() {
            continue;
        }
        let mut error = SourceError::new(
            "IMPORT_NOT_FOUND",
            path,
            format!("cannot import {name:?}: {}", why_missing(name)),
        );
        (error.line, error.column) = place(text, source.span.start as usize);
        error.excerpt = excerpt(text, error.line, error.column);
        "send each file that is imported, with its path as it is imported"
            .clone_into(&mut error.hint);
        return Err(error);
    }
    Ok(())
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

fn functions(path: &str, found: Found) -> Result<Vec<Export>, SourceError> {
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
fn excerpt(text: &str, line: u32, column: u32) -> String {
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
