//! Source text to what a runtime loads: read and checked here, run by nobody here.

use std::collections::HashMap;

use prost::Message as _;
use solo_api::cell::v1 as wire;
use solo_api::v1::{SourceFile, SourceFiles};
use solo_source::python::Collected;
use solo_source::{File, Language, SourceError};

use super::python::Readers;
use super::rejection::{Position, Reason, Rejection};
use crate::describe::{DESCRIPTION_BYTES_MAX, Description, Export, Kind};
use crate::sent::Sent;

/// Compiles the files of a service.
///
/// # Errors
/// What is wrong with them, with its place; that the language is missing here.
pub(super) fn compile(
    readers: &Readers,
    files: SourceFiles,
) -> Result<(Description, Vec<u8>), Rejection> {
    let language = Language::of(&files.entry);
    let (exports, program) = match language {
        Language::JavaScript => javascript(readers, files)?,
        Language::Python => python(readers, files)?,
    };
    let bytes: usize = exports.iter().map(described_bytes).sum();
    if bytes > DESCRIPTION_BYTES_MAX {
        let message = format!(
            "its functions are described by {bytes} bytes, at most {DESCRIPTION_BYTES_MAX}"
        );
        return Err(Rejection::new(Reason::TooLarge, message));
    }
    let compiled = wire::SourceProgram {
        language: language.as_str().to_owned(),
        exports: exports.iter().cloned().map(super::server::export).collect(),
        ..program
    };
    let description =
        Description { kind: Kind::Source, core_module: false, exports, imports: Vec::new() };
    Ok((description, compiled.encode_to_vec()))
}

type Compiled = (Vec<Export>, wire::SourceProgram);

fn javascript(readers: &Readers, files: SourceFiles) -> Result<Compiled, Rejection> {
    let SourceFiles { entry, files } = files;
    // For errors at run time: what was sent is what its sender knows.
    let mut originals: HashMap<String, String> = files
        .iter()
        .filter(|file| is_transformed(&file.path))
        .map(|file| (file.path.clone(), String::from_utf8_lossy(&file.content).into_owned()))
        .collect();
    let program = solo_source::compile(&entry, files_of(files)).map_err(rejection)?;
    readers.check(Language::JavaScript.as_str()).map_err(rejection)?;
    let export = |export: solo_source::Export| Export {
        name: export.name,
        signature: export.signature,
        parameters: export.parameters,
        result: export.result,
    };
    let exports: Vec<Export> = program.exports.into_iter().map(export).collect();
    let module = |module: solo_source::Module| {
        let original = module.map.as_ref().and_then(|_| originals.remove(&module.path));
        wire::SourceModule {
            path: module.path,
            text: module.text,
            original: original.unwrap_or_default(),
            map: module.map.unwrap_or_default(),
            is_commonjs: module.is_commonjs,
            imports: module.imports.into_iter().map(import).collect(),
        }
    };
    let modules = program.modules.into_iter().map(module).collect();
    let program =
        wire::SourceProgram { entry: program.entry, modules, ..wire::SourceProgram::default() };
    Ok((exports, program))
}

fn python(readers: &Readers, files: SourceFiles) -> Result<Compiled, Rejection> {
    let SourceFiles { entry, files } = files;
    let Collected { roots, files } =
        solo_source::python::collect(&entry, files_of(files)).map_err(rejection)?;
    let sent = |file: File| wire::SentFile {
        path: file.path,
        content: file.content,
        ..wire::SentFile::default()
    };
    let sent = Sent::new(roots, files.into_iter().map(sent).collect());
    let (exports, sent) = readers.python(&entry, sent).map_err(rejection)?;
    let (roots, files) = sent.into_files();
    Ok((exports, wire::SourceProgram { entry, files, roots, ..wire::SourceProgram::default() }))
}

fn files_of(files: Vec<SourceFile>) -> Vec<File> {
    files.into_iter().map(|file| File { path: file.path, content: file.content }).collect()
}

fn import((name, path): (String, String)) -> wire::SourceImport {
    wire::SourceImport { name, path }
}

/// TypeScript, whose original is kept beside what is run.
fn is_transformed(path: &str) -> bool {
    [".ts", ".mts", ".cts"].iter().any(|ending| path.ends_with(ending))
}

fn described_bytes(export: &Export) -> usize {
    let parameters: usize = export.parameters.iter().map(|(name, ty)| name.len() + ty.len()).sum();
    export.name.len() + export.signature.len() + export.result.len() + parameters
}

fn rejection(error: SourceError) -> Rejection {
    let SourceError { reason, message, file, line, column, excerpt, hint } = error;
    let mut rejection = Rejection::new(Reason::Source(reason), message).hint(hint);
    rejection.position = Some(Position { file, line, column, excerpt });
    rejection
}
