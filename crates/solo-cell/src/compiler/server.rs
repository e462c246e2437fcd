//! The compiler's side of `solo.cell.v1`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use solo_api::CELL_PROTOCOL;
use solo_api::cell::v1::compiler_service_server::CompilerService;
use solo_api::cell::v1::{
    self as wire, CompileFailure, CompileRequest, CompileResponse, HelloRequest, HelloResponse,
};
use tokio::sync::{Semaphore, oneshot};
use tonic::{Request, Response, Status};
use wasmtime::Engine;

use super::CompilerError;
use super::check::Form;
use super::job::{self, Job};
use super::python::Readers;
use super::rejection::{JobError, Position, Rejection};
use crate::describe::{Description, Export, Kind};
use crate::engine::{compile_engine, engine_digest};

/// Jobs that run or wait: one and one. The kernel has the queue; a second place keeps the
/// processors busy between two jobs.
const JOBS_MAX: usize = 2;

/// How long a job waits for the one before it. The kernel ends a cell whose job takes longer than
/// its limit, which is below this.
const TURN_WAIT: Duration = Duration::from_secs(300);

/// Stack of a compiling thread. The compiler recurses over what its input nests; it is address
/// space until touched.
const THREAD_STACK_BYTES: usize = 64 << 20;

/// Serves `CompilerService`.
#[derive(Debug)]
pub(super) struct Compiler {
    cell: String,
    incarnation: String,
    engine: Engine,
    readers: Arc<Readers>,
    digest: String,
    /// All processors, for the job and the functions that it compiles in parallel.
    threads: rayon::ThreadPool,
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Compiler {
    /// Makes the engine and the threads.
    pub(super) fn new(cell: String, runtimes: Option<PathBuf>) -> Result<Self, CompilerError> {
        let engine =
            compile_engine().map_err(|error| CompilerError::Engine(format!("{error:#}")))?;
        let threads = rayon::ThreadPoolBuilder::new()
            .thread_name(|index| format!("compile-{index}"))
            .stack_size(THREAD_STACK_BYTES)
            // The panic itself is reported by the hook; the job's answer channel closes by it.
            .panic_handler(|_| tracing::error!("the compiler panicked"))
            .build()?;
        Ok(Self {
            cell,
            incarnation: format!("{:016x}", getrandom::u64().map_err(CompilerError::Random)?),
            digest: engine_digest(&engine),
            readers: Arc::new(Readers::new(engine.clone(), runtimes)),
            engine,
            threads,
            places: Arc::new(Semaphore::new(JOBS_MAX)),
            turn: Arc::new(Semaphore::new(1)),
        })
    }
}

#[tonic::async_trait]
impl CompilerService for Compiler {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        Ok(Response::new(HelloResponse {
            protocol: CELL_PROTOCOL,
            cell: self.cell.clone(),
            kind: "compiler".to_owned(),
            incarnation: self.incarnation.clone(),
            engine: self.digest.clone(),
            pid: std::process::id(),
        }))
    }

    async fn compile(
        &self,
        request: Request<CompileRequest>,
    ) -> Result<Response<CompileResponse>, Status> {
        let job = job(request.into_inner())?;
        let busy = |_| Status::unavailable("the compiler has a job, and another one waits");
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(busy)?;
        let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(&self.turn).acquire_owned())
            .await
            .map_err(|_| Status::unavailable("the job before this one does not end"))?
            .map_err(|_| Status::unavailable("the compiler ends"))?;
        let (answer, answered) = oneshot::channel();
        let (engine, readers) = (self.engine.clone(), Arc::clone(&self.readers));
        // The job owns its place and its turn: it goes on when the caller has left, and until it
        // ends, in whatever way, no other begins.
        self.threads.spawn(move || {
            let _held = (place, turn);
            let started = Instant::now();
            let outcome = job::run(&engine, &readers, &job);
            tracing::info!(
                artifact = %job.artifact.display(),
                compiled = outcome.is_ok(),
                duration_ms = started.elapsed().as_millis(),
                "job ended"
            );
            // Nobody there any more: then nobody wants the answer.
            let _ = answer.send(outcome);
        });
        // No deadline here: the kernel has it, and a job cannot be ended but with the process.
        match answered.await {
            Ok(outcome) => response(outcome).map(Response::new),
            Err(_) => Err(Status::internal("the compiler panicked over this artifact")),
        }
    }
}

fn job(request: CompileRequest) -> Result<Job, Status> {
    let form = match request.format.as_str() {
        "" => None,
        "wasm" => Some(Form::Binary),
        "wat" => Some(Form::Text),
        other => return Err(Status::invalid_argument(format!("no such format: {other:?}"))),
    };
    if request.artifact_path.is_empty() || request.output_path.is_empty() {
        return Err(Status::invalid_argument("artifact_path and output_path are required"));
    }
    Ok(Job {
        artifact: PathBuf::from(request.artifact_path),
        output: PathBuf::from(request.output_path),
        form,
    })
}

fn response(outcome: Result<Description, JobError>) -> Result<CompileResponse, Status> {
    match outcome {
        Ok(description) => Ok(described(description)),
        Err(JobError::Rejected(rejection)) => {
            Ok(CompileResponse { failure: Some(failure(rejection)), ..CompileResponse::default() })
        }
        Err(error) => {
            tracing::warn!(%error, "job failed");
            let message = error.to_string();
            Err(match &error {
                JobError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                    Status::not_found(message)
                }
                JobError::Write { source, .. }
                    if source.kind() == std::io::ErrorKind::StorageFull =>
                {
                    Status::resource_exhausted(message)
                }
                _ => Status::internal(message),
            })
        }
    }
}

fn failure(rejection: Rejection) -> CompileFailure {
    let reason = rejection.reason.as_str().to_owned();
    let failure = CompileFailure {
        reason,
        message: rejection.message,
        hint: rejection.hint,
        ..CompileFailure::default()
    };
    let Some(Position { file, line, column, excerpt }) = rejection.position else {
        return failure;
    };
    CompileFailure { file, line, column, excerpt, ..failure }
}

fn described(description: Description) -> CompileResponse {
    let kind = match description.kind {
        Kind::Handler => wire::ServiceKind::Handler,
        Kind::Typed => wire::ServiceKind::Typed,
        Kind::Command => wire::ServiceKind::Command,
        Kind::Core => wire::ServiceKind::Core,
        Kind::Source => wire::ServiceKind::Source,
    };
    CompileResponse {
        failure: None,
        kind: kind.into(),
        core_module: description.core_module,
        exports: description.exports.into_iter().map(export).collect(),
        imports: description.imports,
    }
}

/// On the wire.
pub(super) fn export(export: Export) -> wire::Export {
    let parameter = |(name, r#type)| wire::Parameter { name, r#type };
    wire::Export {
        name: export.name,
        signature: export.signature,
        parameters: export.parameters.into_iter().map(parameter).collect(),
        result: export.result,
    }
}
