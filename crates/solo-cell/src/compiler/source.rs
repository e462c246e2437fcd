//! Source text to what a runtime loads: read and checked here, run by nobody here.

use std::collections::HashMap;

use prost::Message as _;
use solo_api::cell::v1 as wire;
use solo_api::v1::SourceFiles;
use solo_source::{File, SourceError};

use super::rejection::{Position, Reason, Rejection};
use crate::describe::{DESCRIPTION_BYTES_MAX, Description, Export, Kind};

/// Compiles the files of a service.
///
/// # Errors
/// What is wrong with them, with its place.
pub(super) fn compile(files: SourceFiles) -> Result<(Description, Vec<u8>), Rejection> {
    let SourceFiles { entry, files } = files;
    // For errors at run time: what was sent is what its sender knows.
    let mut originals: HashMap<String, String> = files
        .iter()
        .filter(|file| is_transformed(&file.path))
        .map(|file| (file.path.clone(), String::from_utf8_lossy(&file.content).into_owned()))
        .collect();
    let files = files.into_iter().map(|file| File { path: file.path, content: file.content });
    let program = solo_source::compile(&entry, files.collect()).map_err(rejection)?;
    let exports: Vec<Export> = program
        .exports
        .into_iter()
        .map(|export| Export {
            name: export.name,
            signature: export.signature,
            parameters: export.parameters,
            result: export.result,
        })
        .collect();
    let bytes: usize = exports.iter().map(described_bytes).sum();
    if bytes > DESCRIPTION_BYTES_MAX {
        let message = format!(
            "its functions are described by {bytes} bytes, at most {DESCRIPTION_BYTES_MAX}"
        );
        return Err(Rejection::new(Reason::TooLarge, message));
    }
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
    let compiled = wire::SourceProgram {
        language: "javascript".to_owned(),
        entry: program.entry,
        modules: program.modules.into_iter().map(module).collect(),
        exports: exports.iter().cloned().map(super::server::export).collect(),
    };
    let description =
        Description { kind: Kind::Source, core_module: false, exports, imports: Vec::new() };
    Ok((description, compiled.encode_to_vec()))
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
