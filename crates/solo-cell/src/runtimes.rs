//! Runtimes of languages: one component each, compiled when Solo was built, `LANGUAGE-ENGINE.cwasm`.

use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::engine_digest;

/// Languages that a runtime may be there for.
const LANGUAGES: [&str; 2] = ["javascript", "python"];

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeError {
    /// It was not built; why.
    #[error("nothing here runs {language}: {why}")]
    Missing { language: String, why: String },
    /// It is of no use.
    #[error("the runtime of {language} cannot be loaded: {error}")]
    Unusable { language: String, error: String },
}

/// Finds the runtime of a language.
///
/// # Errors
/// [`RuntimeError::Missing`].
pub(crate) fn find(
    engine: &Engine,
    directory: Option<&Path>,
    language: &str,
) -> Result<PathBuf, RuntimeError> {
    let missing = |why: String| RuntimeError::Missing { language: language.to_owned(), why };
    // The name may come out of a file that was written over hostile text.
    let Some(known) = LANGUAGES.into_iter().find(|known| *known == language) else {
        return Err(missing("it is no language that Solo knows".to_owned()));
    };
    let directory = directory.ok_or_else(|| missing("its runtime was not built".to_owned()))?;
    let name = format!("{known}-{}.cwasm", engine_digest(engine));
    let path = directory.join(&name);
    if !path.exists() {
        return Err(missing(format!("there is no {name} among the runtimes of this machine")));
    }
    Ok(path)
}

/// Maps the runtime of a language.
///
/// # Errors
/// [`RuntimeError`].
#[expect(unsafe_code, reason = "compiled code can only be mapped on trust")]
pub(crate) fn map(
    engine: &Engine,
    directory: Option<&Path>,
    language: &str,
) -> Result<Component, RuntimeError> {
    let path = find(engine, directory, language)?;
    // SAFETY: the operator's own file, beside the program and made by its build with the same engine: no
    // guest and no compiler cell can write there.
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.map_err(|error| RuntimeError::Unusable {
        language: language.to_owned(),
        error: format!("{error:#}"),
    })
}
