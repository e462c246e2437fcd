//! The compiler cells: code in, compiled artifact out.
//!
//! A job has a cell to itself. When it takes too long, or takes the cell down, only that cell ends;
//! jobs in other cells and all services go on. The kernel sees paths, never code.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use solo_api::cell::v1 as wire;
use solo_api::cell::v1::compiler_service_client::CompilerServiceClient;
use solo_heart::protocol::CellKind;
use solo_types::{Digest, Problem, ProblemKind, TenantName};
use tokio::sync::{AcquireError, Semaphore};

use super::connection::open_channel;
use super::work::Work;
use crate::heart::Heart;
use crate::home::Home;
use crate::store::{self, CompiledArtifact, Store};
use crate::tenants::Tenant;

/// Compiler cells: one per core of the smallest machine; each uses all cores when it is alone.
const CELLS: usize = 2;

/// Jobs of one tenant that may wait for a cell; one more is refused.
const WAITING_MAX: usize = 64;

/// The largest component that is known (40 MiB of JavaScript engine and program) takes half of it.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(100);

/// A process that was sent SIGKILL ends within this time, or the machine is stuck.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Artifacts that are known without asking the store: more than a node runs, at some hundred bytes
/// each and their exports.
const KNOWN_MAX: usize = 20_000;

/// The pool of compiler cells.
#[derive(Debug)]
pub(crate) struct Compilers {
    home: Home,
    heart: Heart,
    store: Store,
    free: Mutex<Vec<Free>>,
    cells: Semaphore,
    /// One compilation per artifact at a time: the second one finds the result of the first.
    under_way: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    /// What was found out, for the engine that it was found out for.
    known: Mutex<HashMap<Key, (String, CompiledArtifact)>>,
}

/// Tenants share no results: how long a deployment takes would tell one what others have.
type Key = (TenantName, Digest);

/// A cell without a job.
#[derive(Debug)]
struct Free {
    cell: String,
    /// Whose code it compiled.
    tenant: Option<TenantName>,
}

/// A tenant's place among those that compile. As cells are given in turn, and each tenant but the owner's
/// has one job at a time, nobody waits for more than one job of each other.
#[derive(Debug)]
pub(crate) struct Turns {
    running: Semaphore,
    waiting: Semaphore,
}

impl Free {
    fn new(number: usize) -> Self {
        Self { cell: format!("compiler-{number}"), tenant: None }
    }
}

impl Turns {
    /// `all`: may use all cells at a time.
    pub(crate) fn new(all: bool) -> Self {
        let running = Semaphore::new(if all { CELLS } else { 1 });
        Self { running, waiting: Semaphore::new(WAITING_MAX) }
    }
}

/// A compiled artifact, and how long it took.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) artifact: CompiledArtifact,
    /// Where the compiled code is.
    pub(crate) path: String,
    /// Zero when it was there already.
    pub(crate) took: Duration,
}

impl Compilers {
    pub(crate) fn new(home: Home, heart: Heart, store: Store) -> Self {
        Self {
            home,
            heart,
            store,
            free: Mutex::new((0..CELLS).rev().map(Free::new).collect()),
            cells: Semaphore::new(CELLS),
            under_way: Mutex::new(HashMap::new()),
            known: Mutex::new(HashMap::new()),
        }
    }

    /// Starts the first compiler cell ahead of need. Cells that live already may be at work for a
    /// kernel that is gone: they are ended first.
    pub(crate) async fn warm(&self) {
        for (cell, _) in self.heart.living() {
            if cell.starts_with("compiler-") {
                self.end(&cell).await;
            }
        }
        if let Err(error) = self.heart.spawn("compiler-0", CellKind::Compiler, None).await {
            tracing::warn!(%error, "Failed to start a compiler cell ahead of need");
        }
    }

    /// Makes sure that an artifact is compiled for `engine`.
    pub(crate) async fn compile(
        &self,
        tenant: &Tenant,
        digest: Digest,
        format: &str,
        engine: &str,
    ) -> Result<Compiled, Problem> {
        // What is known needs no compiler: also when thousands of services start at the same time.
        if let Some(compiled) = self.look_up(tenant, digest, engine).await? {
            return Ok(compiled);
        }
        let _waiting = tenant.turns.waiting.try_acquire().map_err(|_| {
            Problem::new(
                ProblemKind::ResourceExhausted,
                "COMPILERS_BUSY",
                format!("{WAITING_MAX} compilations wait already"),
            )
            .remedy("try again later")
        })?;
        let lock =
            Arc::clone(self.under_way.lock().entry((tenant.name.clone(), digest)).or_default());
        let outcome = {
            let _alone = lock.lock().await;
            self.compile_alone(tenant, digest, format, engine).await
        };
        drop(lock);
        self.under_way.lock().retain(|_, lock| Arc::strong_count(lock) > 1);
        outcome
    }

    /// Finds an artifact that was compiled before and is still there.
    async fn look_up(
        &self,
        tenant: &Tenant,
        digest: Digest,
        engine: &str,
    ) -> Result<Option<Compiled>, Problem> {
        let path = tenant.home.compiled_artifact(&digest, engine);
        let key = (tenant.name.clone(), digest);
        let remembered = {
            let known = self.known.lock();
            known.get(&key).filter(|(of, _)| of == engine).map(|(_, found)| found.clone())
        };
        let artifact = match remembered {
            Some(artifact) => artifact,
            None => {
                let (owner, wanted) = (tenant.name.clone(), engine.to_owned());
                let find = move |t: &_| store::find_compiled(t, owner.as_str(), &digest, &wanted);
                let Some(artifact) = self.store.run(move |t| find(t)).await? else {
                    return Ok(None);
                };
                self.remember(key, engine, &artifact);
                artifact
            }
        };
        let is_there = tokio::fs::try_exists(&path).await.unwrap_or(false);
        let path = path.display().to_string();
        Ok(is_there.then_some(Compiled { artifact, path, took: Duration::ZERO }))
    }

    fn remember(&self, key: Key, engine: &str, artifact: &CompiledArtifact) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            // Rare, and what is needed is soon known again.
            known.clear();
        }
        known.insert(key, (engine.to_owned(), artifact.clone()));
    }

    async fn compile_alone(
        &self,
        tenant: &Tenant,
        digest: Digest,
        format: &str,
        engine: &str,
    ) -> Result<Compiled, Problem> {
        if let Some(compiled) = self.look_up(tenant, digest, engine).await? {
            return Ok(compiled);
        }
        let text_path = tenant.home.compiled_artifact(&digest, engine).display().to_string();
        let artifact = tenant.home.artifact(&digest);
        if !tokio::fs::try_exists(&artifact).await.unwrap_or(false) {
            return Err(Problem::new(
                ProblemKind::FailedPrecondition,
                "ARTIFACT_MISSING",
                format!("the artifact {digest} is gone from the store"),
            )
            .remedy("somebody removed it from SOLO_HOME: update the service with its code"));
        }
        let began = std::time::Instant::now();
        let closed = |error: AcquireError| Problem::internal(error.to_string());
        let _turn = tenant.turns.running.acquire().await.map_err(closed)?;
        let _cell = self.cells.acquire().await.map_err(closed)?;
        let cell = self.cell_for(&tenant.name).await?;
        let job = Job { artifact, output: PathBuf::from(&text_path), format, engine };
        let mut outcome = self.compile_in(&cell, &job).await;
        if outcome.as_ref().is_err_and(|problem| problem.reason == "COMPILER_DIED") {
            // It may have been an accident: the second death is the code's.
            outcome = self.compile_in(&cell, &job).await;
        }
        self.free.lock().push(Free { cell, tenant: Some(tenant.name.clone()) });
        let artifact = outcome?;
        let (owner, wanted) = (tenant.name.clone(), engine.to_owned());
        let found = artifact.clone();
        let put = move |t: &_| store::put_compiled(t, owner.as_str(), &digest, &wanted, &found);
        self.store.run(move |t| put(t)).await?;
        Ok(Compiled { artifact, path: text_path, took: began.elapsed() })
    }

    /// A free cell that has seen no other tenant's code: what took a cell over must not get at what
    /// the next tenant has compiled.
    async fn cell_for(&self, tenant: &TenantName) -> Result<String, Problem> {
        let found = {
            let mut free = self.free.lock();
            let own = free.iter().rposition(|free| free.tenant.as_ref() == Some(tenant));
            let fresh = || free.iter().rposition(|free| free.tenant.is_none());
            let any = || free.len().checked_sub(1);
            own.or_else(fresh).or_else(any).map(|index| free.remove(index))
        };
        let Some(Free { cell, tenant: before }) = found else {
            return Err(Problem::internal("no compiler cell is free although one should be"));
        };
        if before.is_some_and(|before| before != *tenant) {
            self.end(&cell).await;
        }
        Ok(cell)
    }

    async fn compile_in(&self, cell: &str, job: &Job<'_>) -> Result<CompiledArtifact, Problem> {
        let start = |error: crate::heart::HeartError| {
            Problem::new(ProblemKind::Unavailable, "COMPILER_DOWN", error.to_string())
                .remedy("try again; `solo doctor` checks the machine")
        };
        self.heart.spawn(cell, CellKind::Compiler, None).await.map_err(start)?;
        let work = Work::new(self.home.cell_work(cell));
        let request = wire::CompileRequest {
            artifact_path: work.input().display().to_string(),
            output_path: work.output().display().to_string(),
            format: job.format.to_owned(),
        };
        let (bring, artifact) = (work.clone(), job.artifact.clone());
        on_disk("bring the code to the compiler", move || bring.bring(&artifact)).await?;
        let compiling = async {
            let channel = open_channel(&self.home.cell_socket(cell)).await?;
            let mut client = CompilerServiceClient::new(channel)
                .max_decoding_message_size(solo_api::WIRE_MESSAGE_BYTES_MAX);
            let hello = wire::HelloRequest { protocol: solo_api::CELL_PROTOCOL };
            let hello = client.hello(hello).await.map_err(|s| died(s.message()))?.into_inner();
            if hello.engine != job.engine {
                return Err(Problem::new(
                    ProblemKind::Unavailable,
                    "ENGINE_DIFFERS",
                    "the compiler and the cell that hosts the services are of different versions",
                )
                .remedy("end Solo and start it again, so that all cells are of one version"));
            }
            let response = client.compile(request).await.map_err(|s| died(s.message()))?;
            Ok(response.into_inner())
        };
        let response = tokio::select! {
            response = compiling => response,
            status = self.heart.ended(cell) => Err(died(&status)),
            () = tokio::time::sleep(COMPILE_TIMEOUT) => Err(Problem::new(
                ProblemKind::ResourceExhausted,
                "COMPILE_TIMEOUT",
                format!("compiling took more than {} s and was ended", COMPILE_TIMEOUT.as_secs()),
            )
            .remedy("make the code smaller; generated functions with huge bodies are the usual cause")),
        };
        if response.is_err() {
            // It died, hangs or is of another version: the next job gets a fresh one.
            self.end(cell).await;
        }
        let accepted = accept(response?)?;
        let output = job.output.clone();
        on_disk("take over what was compiled", move || {
            work.fetch(&output)?;
            work.clear()
        })
        .await?;
        Ok(accepted)
    }

    /// Forgets what is known of the artifacts of a tenant that is gone.
    pub(crate) fn forget(&self, tenant: &TenantName) {
        self.known.lock().retain(|(of, _), _| of != tenant);
    }

    async fn end(&self, cell: &str) {
        if let Err(error) = self.heart.kill(cell).await {
            tracing::error!(%error, cell, "Failed to have a compiler cell ended");
            return;
        }
        if tokio::time::timeout(END_TIMEOUT, self.heart.ended(cell)).await.is_err() {
            tracing::error!(cell, "A compiler cell did not end in time");
        }
    }
}

/// What is to be compiled, and where to.
struct Job<'a> {
    artifact: PathBuf,
    output: PathBuf,
    format: &'a str,
    engine: &'a str,
}

/// Does something with files, on a thread that may wait for the disk.
async fn on_disk(
    step: &'static str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| {
        Problem::new(ProblemKind::Internal, "STORE_FAILED", format!("failed to {step}: {error}"))
            .remedy("check the disk under SOLO_HOME: space, permissions, health")
    })
}

fn died(how: &str) -> Problem {
    Problem::new(
        ProblemKind::ResourceExhausted,
        "COMPILER_DIED",
        format!("the compiler ended while it compiled this code ({how})"),
    )
    .remedy("the code needs more memory to compile than is allowed: make it smaller or less nested")
}

fn accept(response: wire::CompileResponse) -> Result<CompiledArtifact, Problem> {
    if let Some(failure) = response.failure {
        return Err(refused(failure));
    }
    Ok(CompiledArtifact {
        kind: solo_api::kind_from_cell(response.kind)
            .ok_or_else(|| Problem::internal("the compiler found a kind that is unknown"))?,
        core_module: response.core_module,
        exports: response.exports.into_iter().map(solo_api::export_from_cell).collect(),
    })
}

fn refused(failure: wire::CompileFailure) -> Problem {
    let kind = match failure.reason.as_str() {
        "UNSUPPORTED" => ProblemKind::Unimplemented,
        "TOO_LARGE" => ProblemKind::ResourceExhausted,
        _ => ProblemKind::InvalidArgument,
    };
    let remedy = match failure.reason.as_str() {
        "NOT_WASM" => "send a WebAssembly component or core module, binary or in text format",
        "INVALID_TEXT" => "correct the text at the line and column",
        _ if !failure.hint.is_empty() => failure.hint.as_str(),
        "SYNTAX_ERROR" | "IMPORT_NOT_FOUND" => "correct the text at the line and column",
        "NO_EXPORTS" => "export a function: `export function hello(name) { ... }`",
        "INVALID_WASM" => "the code is damaged or uses a proposal that is off: build it again",
        "UNKNOWN_IMPORT" => "build against the imports that Solo provides (docs/guests.md)",
        "NOT_A_SERVICE" => "export a function, `solo:service/handler`, or `wasi:cli/run`",
        "UNSUPPORTED" => "see the list of missing features in the README",
        _ => "make the code smaller",
    };
    let number = |n: u32| if n == 0 { String::new() } else { n.to_string() };
    Problem::new(kind, &failure.reason, failure.message)
        .field("code")
        .remedy(remedy)
        .detail("file", failure.file)
        .detail("line", number(failure.line))
        .detail("column", number(failure.column))
        .detail("excerpt", failure.excerpt)
}
