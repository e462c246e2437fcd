//! Code on its way to Solo: from a file or standard input, inline or in chunks.
//!
//! Does not look into the code; reads no more of it than Solo takes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use solo_api::v1::upload_artifact_request::Part;
use solo_api::{Client, v1};
use solo_types::bounds;

use super::context::{Context, DEPLOY_DEADLINE, answer};
use super::{Failure, modules, package, values};
use crate::output::Spinner;

/// Code up to this size travels in the request; half of what the API takes, so that there is room
/// for the rest of the request and no single message is that large.
const INLINE_BYTES_MAX: usize = bounds::INLINE_CODE_BYTES_MAX / 2;

/// Size of a chunk; a quarter of what the API takes.
const CHUNK_BYTES: usize = bounds::CHUNK_BYTES_MAX / 4;

/// Endings of source text.
const SOURCE_ENDINGS: [&str; 7] = ["js", "mjs", "cjs", "ts", "mts", "cts", "py"];

/// Which code.
#[derive(Debug, Clone, Args)]
pub(crate) struct CodeFlags {
    /// File with WebAssembly (component or module), WAT, a program, or source text (.js, .ts, .py); `-` for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["digest", "host_path"])]
    file: Option<PathBuf>,
    /// Digest of code that was stored before, instead of FILE
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Program of the machine, by its absolute path, instead of FILE
    #[arg(long, value_name = "PATH", conflicts_with = "digest")]
    host_path: Option<String>,
    /// Form of the code [default: by the ending of FILE for source text, else by its first bytes]
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatName>,
    /// What source text imports: a file below the directory of FILE, a package as npm or PyPI has it (.tgz, .whl), the
    /// directory of a package, or of packages (node_modules, site-packages); can be repeated
    #[arg(long, value_name = "PATH", requires = "file")]
    include: Vec<PathBuf>,
}

/// Form of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Wasm,
    Wat,
    Program,
    Javascript,
    Typescript,
    Python,
}

impl CodeFlags {
    /// The message; uploads large code first. None if no code was named.
    ///
    /// `service`: the name that it is for, `NAME` or `TENANT/NAME`: tenants share no code.
    pub(crate) async fn message(
        &self,
        client: &Client,
        service: &str,
    ) -> Result<Option<v1::Code>, Failure> {
        if let Some(path) = &self.host_path {
            let source = Some(v1::code::Source::HostPath(path.clone()));
            return Ok(Some(v1::Code { source, format: v1::CodeFormat::Program as i32 }));
        }
        let file = self.file.as_ref().filter(|file| self.format.is_none() && is_source(file));
        if let Some(files) = file.map(|file| source_files(file, &self.include)).transpose()?
            && !is_program(&files)
        {
            let source = Some(v1::code::Source::Files(files));
            return Ok(Some(v1::Code { source, ..v1::Code::default() }));
        }
        let source = match (&self.file, &self.digest) {
            (None, None) => return Ok(None),
            (_, Some(digest)) => v1::code::Source::Digest(digest.clone()),
            (Some(file), None) => {
                let code = read(file, bounds::ARTIFACT_BYTES_MAX)?;
                if code.len() > INLINE_BYTES_MAX {
                    v1::code::Source::Digest(upload(client, code, service).await?.digest)
                } else {
                    v1::code::Source::Inline(code)
                }
            }
        };
        let format = match self.format {
            None => v1::CodeFormat::Unspecified,
            Some(FormatName::Wasm) => v1::CodeFormat::Wasm,
            Some(FormatName::Wat) => v1::CodeFormat::Wat,
            Some(FormatName::Program) => v1::CodeFormat::Program,
            Some(FormatName::Javascript) => v1::CodeFormat::Javascript,
            Some(FormatName::Typescript) => v1::CodeFormat::Typescript,
            Some(FormatName::Python) => v1::CodeFormat::Python,
        };
        Ok(Some(v1::Code { source: Some(source), format: format as i32 }))
    }
}

/// Whether the ending of a file says that it is source text.
fn is_source(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| SOURCE_ENDINGS.contains(&ending))
}

/// Whether it begins as a program does that names its interpreter.
fn is_program(files: &v1::SourceFiles) -> bool {
    files.files.first().is_some_and(|file| file.content.starts_with(b"#!"))
}

/// A file of source text and those that it imports, with their paths as it imports them.
fn source_files(entry: &Path, include: &[PathBuf]) -> Result<v1::SourceFiles, Failure> {
    let directory = entry.parent().unwrap_or(Path::new(""));
    let path_of = |file: &Path| {
        let inside = file.strip_prefix(directory).ok();
        let inside =
            inside.filter(|path| path.components().all(|p| matches!(p, Component::Normal(_))));
        let name = inside.or_else(|| file.file_name().map(Path::new));
        name.and_then(Path::to_str).map(str::to_owned).ok_or_else(|| {
            let cause = format!("{} is no path of a file in UTF-8", file.display());
            Failure::local("FILE_UNREADABLE", cause, "rename the file")
        })
    };
    let is_python = entry.extension().is_some_and(|ending| ending == "py");
    let mut files = Vec::new();
    for file in std::iter::once(entry).chain(include.iter().map(PathBuf::as_path)) {
        if file.is_dir() {
            files.extend(match is_python {
                true => vec![modules::package(file)?],
                false => package::packages(file)?,
            });
            continue;
        }
        let content = read(file, bounds::INLINE_CODE_BYTES_MAX as u64)?;
        files.push(v1::SourceFile { path: path_of(file)?, content });
    }
    Ok(v1::SourceFiles { entry: path_of(entry)?, files })
}

/// Arguments of `solo upload`.
#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// File to store; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Digest that the file must have
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Tenant whose it is to be [default: the one that the token is for]
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Time to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = values::milliseconds("timeout"))]
    timeout: u64,
}

#[derive(Debug, Serialize)]
struct UploadJson {
    digest: String,
    size_bytes: u64,
    existed: bool,
}

impl Upload {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let code = read(&self.file, bounds::ARTIFACT_BYTES_MAX)?;
        let client = context.client().await?;
        let spinner = Spinner::start(context.output, "uploading".to_owned());
        let limit = Duration::from_millis(self.timeout);
        let (digest, tenant) = (self.digest.unwrap_or_default(), self.tenant.unwrap_or_default());
        let header = v1::UploadHeader { digest, tenant, ..v1::UploadHeader::default() };
        let response = upload_within(&client, code, header, limit).await?;
        drop(spinner);
        let json = UploadJson {
            digest: response.digest,
            size_bytes: response.size_bytes,
            existed: response.existed,
        };
        context.output.show(&json, |json| format!("{}\n", json.digest))
    }
}

async fn upload(
    client: &Client,
    code: Vec<u8>,
    service: &str,
) -> Result<v1::UploadArtifactResponse, Failure> {
    let tenant = service.split_once('/').map_or("", |(tenant, _)| tenant).to_owned();
    let header = v1::UploadHeader { tenant, ..v1::UploadHeader::default() };
    upload_within(client, code, header, DEPLOY_DEADLINE).await
}

async fn upload_within(
    client: &Client,
    code: Vec<u8>,
    header: v1::UploadHeader,
    limit: Duration,
) -> Result<v1::UploadArtifactResponse, Failure> {
    let header = v1::UploadHeader { size_bytes: code.len() as u64, ..header };
    let chunks: Vec<Vec<u8>> = code.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
    let parts = std::iter::once(Part::Header(header))
        .chain(chunks.into_iter().map(Part::Chunk))
        .map(|part| v1::UploadArtifactRequest { part: Some(part) });
    let request = client.request(tokio_stream::iter(parts), limit);
    answer(limit, client.grpc().upload_artifact(request)).await
}

/// Reads a file, or standard input for `-`, up to `max` bytes.
pub(crate) fn read(file: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| {
        let cause = format!("failed to read {}: {error}", file.display());
        Failure::local("FILE_UNREADABLE", cause, "check the path and the rights of the file")
    };
    let too_large = || {
        let cause = format!("{} is larger than {max} bytes", file.display());
        Failure::local("TOO_LARGE", cause, "send less: this is the most that Solo takes")
    };
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        io::stdin().lock().take(max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let opened = File::open(file).map_err(unreadable)?;
        // What is known to be too large is not read at all.
        if opened.metadata().map_err(unreadable)?.len() > max {
            return Err(too_large());
        }
        opened.take(max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > max { Err(too_large()) } else { Ok(bytes) }
}
