//! One job: from an artifact to a compiled one and a description.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use wasmtime::component::Component;
use wasmtime::{Engine, Module, ResourcesRequired};

use super::check::{Form, form, whole};
use super::confine::FILE_BYTES;
use super::output;
use super::python::Readers;
use super::rejection::{JobError, Reason, Rejection};
use super::source;
use super::text::to_binary;
use crate::describe::{Description, describe_component, describe_module};
use crate::engine::{COMPONENT_MEMORIES_MAX, COMPONENT_TABLES_MAX, TABLE_ELEMENTS_MAX};

/// Largest artifact. The largest known component (a JavaScript engine) has 12 MB.
const ARTIFACT_BYTES_MAX: u64 = 128 << 20;

/// What to do.
#[derive(Debug)]
pub(super) struct Job {
    /// The artifact.
    pub(super) artifact: PathBuf,
    /// Where the compiled one goes.
    pub(super) output: PathBuf,
    /// What the sender says that it is.
    pub(super) form: Option<Form>,
}

/// Does `job`. Blocks for as long as that takes.
pub(super) fn run(engine: &Engine, readers: &Readers, job: &Job) -> Result<Description, JobError> {
    let code = read(&job.artifact)?;
    if let Some(files) = solo_api::unpack_source(&code) {
        drop(code);
        let (description, compiled) = source::compile(readers, files)?;
        return write(job, description, &compiled);
    }
    let code = match form(&code, job.form)? {
        Form::Binary => code,
        Form::Text => to_binary(&code)?,
    };
    let (description, compiled) = compile(engine, &code)?;
    write(job, description, &compiled)
}

fn write(job: &Job, description: Description, compiled: &[u8]) -> Result<Description, JobError> {
    if u64::try_from(compiled.len()).unwrap_or(u64::MAX) > FILE_BYTES {
        let message = format!("compiled it has more than {FILE_BYTES} bytes");
        return Err(Rejection::new(Reason::TooLarge, message).into());
    }
    output::write(&job.output, compiled)
        .map_err(|source| JobError::Write { path: job.output.clone(), source })?;
    Ok(description)
}

fn read(path: &Path) -> Result<Vec<u8>, JobError> {
    let failed = |source: io::Error| JobError::Read { path: path.to_owned(), source };
    let mut code = Vec::new();
    let file = File::open(path).map_err(failed)?;
    // One byte more, to tell a file that is too long from one that just fits.
    file.take(ARTIFACT_BYTES_MAX + 1).read_to_end(&mut code).map_err(failed)?;
    if u64::try_from(code.len()).unwrap_or(u64::MAX) > ARTIFACT_BYTES_MAX {
        let message = format!("it has more than {ARTIFACT_BYTES_MAX} bytes");
        return Err(Rejection::new(Reason::TooLarge, message).into());
    }
    Ok(code)
}

/// Compiles by way of a loaded `Component` or `Module` rather than `precompile_*`: describing needs
/// one, and loading compiled bytes again would be `unsafe`.
fn compile(engine: &Engine, code: &[u8]) -> Result<(Description, Vec<u8>), JobError> {
    let compiled = if whole(code)? {
        let component = Component::new(engine, code).map_err(|error| invalid(&error))?;
        let description = describe_component(engine, &component).map_err(Rejection::from)?;
        component.resources_required().as_ref().map_or(Ok(()), fits_the_pool)?;
        (description, component.serialize())
    } else {
        let module = Module::new(engine, code).map_err(|error| invalid(&error))?;
        let description = describe_module(&module).map_err(Rejection::from)?;
        fits_the_pool(&module.resources_required())?;
        (description, module.serialize())
    };
    let (description, bytes) = compiled;
    Ok((description, bytes.map_err(|error| JobError::Serialize(format!("{error:#}")))?))
}

/// Refuses what no wasm cell could ever start.
fn fits_the_pool(needs: &ResourcesRequired) -> Result<(), Rejection> {
    let too_large = |message| Err(Rejection::new(Reason::TooLarge, message));
    if needs.num_memories > COMPONENT_MEMORIES_MAX {
        let count = needs.num_memories;
        return too_large(format!("it has {count} memories, at most {COMPONENT_MEMORIES_MAX}"));
    }
    if needs.num_tables > COMPONENT_TABLES_MAX {
        let count = needs.num_tables;
        return too_large(format!("it has {count} tables, at most {COMPONENT_TABLES_MAX}"));
    }
    match needs.max_initial_table_size {
        Some(size) if usize::try_from(size).map_or(true, |size| size > TABLE_ELEMENTS_MAX) => {
            too_large(format!("a table has {size} elements, at most {TABLE_ELEMENTS_MAX}"))
        }
        _ => Ok(()),
    }
}

/// The compiler tells its kinds of error apart in text only.
fn invalid(error: &wasmtime::Error) -> Rejection {
    let message = format!("{error:#}");
    let has = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    let reason = if has(&["mplementation limit", "exceeds limit", "too large"]) {
        Reason::TooLarge
    } else if has(&[
        "not enabled",
        "must be enabled",
        "requires the component model",
        "support is disabled",
        "types are disallowed",
    ]) {
        Reason::Unsupported
    } else {
        Reason::InvalidWasm
    };
    Rejection::new(reason, message)
}
