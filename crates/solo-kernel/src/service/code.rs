//! The code of a revision: where it is kept, and what it was compiled to.
//!
//! Of programs the kernel looks at the first four bytes, which tell them from WebAssembly.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use solo_api::{CodeSource, PROGRAM_FORMAT, is_program};
use solo_types::{
    Digest, HealthCheck, Mount, Problem, ProblemKind, Program, ServiceKind, ServiceSpec,
    is_url_path,
};

use crate::cells::Compiled;
use crate::kernel::Kernel;
use crate::programs::Code;
use crate::store::CompiledArtifact;
use crate::tenants::Tenant;

/// Stores code that is not stored yet, and compiles it if it never was. Returns the digest, what it
/// was compiled to, and how long storing took.
pub(super) async fn prepare(
    kernel: &Kernel,
    tenant: &Tenant,
    code: CodeSource,
    engine: &str,
) -> Result<(Digest, Compiled, Duration), Problem> {
    let began = Instant::now();
    let (digest, format) = match code {
        CodeSource::Inline { bytes, format } => {
            (tenant.artifacts.put(&bytes).await?.digest, format)
        }
        CodeSource::Stored { digest, format } => {
            if !tenant.artifacts.contains(&digest).await {
                return Err(Problem::new(
                    ProblemKind::NotFound,
                    "NO_SUCH_ARTIFACT",
                    format!("no artifact has the digest {digest}"),
                )
                .remedy("upload it first, or send the code inline")
                .field("code.digest"));
            }
            (digest, format)
        }
        CodeSource::Host { path } => {
            let host = PathBuf::from(&path);
            kernel.programs.check_host_path(&host)?;
            // The path is the code: so it has a digest, which changes with it.
            let digest = tenant.artifacts.put(path.as_bytes()).await?.digest;
            return Ok((digest, as_it_is(&Code::Host(host)), began.elapsed()));
        }
    };
    let stored = began.elapsed();
    if let Some(code) = program_at(&tenant.home.artifact(&digest), format).await? {
        return Ok((digest, as_it_is(&code), stored));
    }
    let compiled = kernel.compilers.compile(tenant, digest, format, engine).await?;
    Ok((digest, compiled, stored))
}

/// What a revision was compiled to; compiles it if that is gone.
pub(super) async fn compiled(
    kernel: &Kernel,
    tenant: &Tenant,
    spec: &ServiceSpec,
    engine: &str,
) -> Result<Compiled, Problem> {
    if spec.kind == ServiceKind::Process {
        return Ok(as_it_is(&program_code(kernel, tenant, spec)?));
    }
    kernel.compilers.compile(tenant, spec.digest, "", engine).await
}

/// Where the code of a program is.
///
/// # Errors
/// `ARTIFACT_MISSING`, `HOST_PATH_NOT_SHOWN`, `HOST_PATH_MISSING`.
pub(crate) fn program_code(
    kernel: &Kernel,
    tenant: &Tenant,
    spec: &ServiceSpec,
) -> Result<Code, Problem> {
    if let Some(path) = spec.program.as_ref().and_then(|program| program.host_path.as_ref()) {
        let path = PathBuf::from(path);
        kernel.programs.check_host_path(&path)?;
        return Ok(Code::Host(path));
    }
    let path = tenant.home.artifact(&spec.digest);
    if !path.exists() {
        return Err(Problem::new(
            ProblemKind::FailedPrecondition,
            "ARTIFACT_MISSING",
            format!("the artifact {} is gone from the store", spec.digest),
        )
        .remedy("somebody removed it from SOLO_HOME: update the service with its code"));
    }
    Ok(Code::Stored(path))
}

/// What holds for a program about which `said` was said.
///
/// # Errors
/// `NOT_A_PROGRAM`: it was said of something else. `INVALID_HEALTH_CHECK`: not for a program.
pub(super) fn said_of(
    kind: ServiceKind,
    said: Option<Program>,
    health_check: &Option<HealthCheck>,
) -> Result<Option<Program>, Problem> {
    if kind != ServiceKind::Process {
        let Some(_) = said else { return Ok(None) };
        let rule = "the code is no program, so that there is nothing to say of it";
        return Err(Problem::invalid("NOT_A_PROGRAM", "program", rule)
            .remedy("leave `program` out, or send a binary or a script that begins with `#!`"));
    }
    let path = health_check.as_ref().map_or("", |check| &check.function);
    if !path.is_empty() && !is_url_path(path) {
        let rule = "for a program it is the path of a GET, like /health";
        return Err(Problem::invalid("INVALID_HEALTH_CHECK", "health_check.function", rule));
    }
    Ok(Some(said.unwrap_or_else(|| Program::new(solo_types::Interface::None))))
}

/// Refuses what only a program can be given.
///
/// # Errors
/// `NOT_A_PROGRAM`.
pub(super) fn check_mounts(kind: ServiceKind, mounts: &[Mount]) -> Result<(), Problem> {
    if kind == ServiceKind::Process || mounts.is_empty() {
        return Ok(());
    }
    let rule = "the code is no program, and has no files that a volume or a device could be among";
    Err(Problem::invalid("NOT_A_PROGRAM", "mounts", rule)
        .remedy("leave `mounts` out, or send a binary or a script that begins with `#!`"))
}

/// A program needs no compiler.
fn as_it_is(code: &Code) -> Compiled {
    Compiled {
        artifact: CompiledArtifact {
            kind: ServiceKind::Process,
            core_module: false,
            exports: Vec::new(),
        },
        path: code.inside().display().to_string(),
        took: Duration::ZERO,
    }
}

/// Lets the program at `path` be executed by who is shown it: its directory shows it to nobody. `None`: it
/// is none.
async fn program_at(path: &Path, format: &str) -> Result<Option<Code>, Problem> {
    let (file, format) = (path.to_owned(), format.to_owned());
    let looking = move || -> std::io::Result<bool> {
        let mut first = [0; 4];
        let mut from = std::fs::File::open(&file)?;
        let count = from.read(&mut first)?;
        let found = match format.as_str() {
            PROGRAM_FORMAT => true,
            "" => is_program(&first[..count]),
            _ => false,
        };
        if found {
            from.set_permissions(std::fs::Permissions::from_mode(0o555))?;
        }
        Ok(found)
    };
    let looked = tokio::task::spawn_blocking(looking).await;
    match looked.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(found) => Ok(found.then(|| Code::Stored(path.to_owned()))),
        Err(error) => Err(Problem::new(
            ProblemKind::Internal,
            "STORE_FAILED",
            format!("failed to look at the code: {error}"),
        )
        .remedy("check the disk under SOLO_HOME: space, permissions, health")),
    }
}
