//! Drives a compiler cell over its socket, the way the kernel does.

#![expect(clippy::unwrap_used, reason = "tests")]

mod bombs;
mod process;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use solo_api::cell::v1::compiler_service_client::CompilerServiceClient;
use solo_api::cell::v1::{
    CompileFailure, CompileRequest, CompileResponse, HelloRequest, ServiceKind,
};
use solo_api::{Endpoint, connect_channel};
use solo_cell::compiler::{CompilerOptions, serve};
use solo_cell::engine::{RunLimits, compile_engine, engine_digest, run_engine};
use tonic::transport::Channel;
use tonic::{Code, Status};
use wasmtime::Module;
use wasmtime::component::Component;

/// The longest that a cell may need to listen on a machine that builds at the same time.
const START_MAX: Duration = Duration::from_secs(20);

/// Connects to the cell at `socket` once it listens.
async fn connect(socket: &Path) -> CompilerServiceClient<Channel> {
    let deadline = Instant::now() + START_MAX;
    loop {
        match connect_channel(&Endpoint::Unix(socket.to_owned())).await {
            Ok(channel) => return CompilerServiceClient::new(channel),
            Err(error) => assert!(Instant::now() < deadline, "no cell: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A compiler cell on a thread, with a directory of its own.
struct Cell {
    directory: tempfile::TempDir,
    client: CompilerServiceClient<Channel>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Cell {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("c.sock");
        let options = CompilerOptions {
            cell: "compiler-0".to_owned(),
            socket: socket.clone(),
            runtimes: None,
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let stopped = async {
                let _ = stopped.await;
            };
            serve(&options, stopped).unwrap();
        });
        let client = connect(&socket).await;
        Self { directory, client, stop: Some(stop), thread: Some(thread) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Stores `code` as an artifact and compiles it.
    async fn compile_as(&self, code: &[u8], format: &str) -> Result<CompileResponse, Status> {
        std::fs::write(self.path("artifact"), code).unwrap();
        let request = CompileRequest {
            artifact_path: self.path("artifact").display().to_string(),
            output_path: self.path("artifact.cwasm").display().to_string(),
            format: format.to_owned(),
        };
        self.client.clone().compile(request).await.map(tonic::Response::into_inner)
    }

    async fn compile(&self, code: impl AsRef<[u8]>) -> CompileResponse {
        self.compile_as(code.as_ref(), "").await.unwrap()
    }

    /// Compiles code that must be refused; checks that nothing is left behind.
    async fn refused(&self, code: impl AsRef<[u8]>) -> CompileFailure {
        let failure = self.compile(code).await.failure.expect("must be refused");
        let left: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("cwasm"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        failure
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // Not joined: the server ends after the connection, which is dropped after this.
        self.thread.take();
    }
}

const CALCULATOR: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "area") (param f64 f64) (result f64) (f64.mul (local.get 0) (local.get 1))))
  (core instance $m (instantiate $m))
  (type $size' (record (field "width" f64) (field "height" f64)))
  (export $size "size" (type $size'))
  (func (export "add") (param "a" s32) (param "b" s32) (result s32)
    (canon lift (core func $m "add")))
  (func (export "area") (param "of" $size) (result f64) (canon lift (core func $m "area"))))"#;

#[tokio::test]
async fn says_who_it_is() {
    let cell = Cell::start().await;
    let hello = cell.client.clone().hello(HelloRequest { protocol: 1 }).await.unwrap().into_inner();
    assert_eq!(
        (hello.protocol, hello.cell.as_str(), hello.kind.as_str()),
        (1, "compiler-0", "compiler")
    );
    assert_eq!(hello.pid, std::process::id());
    assert_eq!(hello.engine, engine_digest(&compile_engine().unwrap()));
    assert_eq!(hello.incarnation.len(), 16);
    let other = Cell::start().await;
    let other =
        other.client.clone().hello(HelloRequest { protocol: 1 }).await.unwrap().into_inner();
    assert_ne!(hello.incarnation, other.incarnation);
}

#[tokio::test]
#[expect(unsafe_code, reason = "loads what the cell has just compiled")]
async fn compiles_what_an_engine_that_runs_can_load() {
    let cell = Cell::start().await;
    let run = run_engine(RunLimits { instances: 4 }).unwrap();
    let compiled = cell.compile(CALCULATOR).await;
    assert_eq!(compiled.failure, None);
    assert_eq!(compiled.kind(), ServiceKind::Typed);
    assert!(!compiled.core_module && compiled.imports.is_empty());
    let size = "record { width: f64, height: f64 }";
    let signatures: Vec<_> = compiled.exports.iter().map(|e| e.signature.as_str()).collect();
    assert_eq!(
        signatures,
        ["add: func(a: s32, b: s32) -> s32", &format!("area: func(of: {size}) -> f64")]
    );
    assert_eq!(
        (compiled.exports[1].parameters[0].r#type.as_str(), compiled.exports[1].result.as_str()),
        (size, "f64")
    );
    let output = cell.path("artifact.cwasm");
    // SAFETY: the file was written by the cell, with an engine of the same settings.
    unsafe { Component::deserialize_file(&run, &output) }.unwrap();

    // The same as bytes, and a core module.
    let bytes = wat::parse_str(CALCULATOR).unwrap();
    assert_eq!(cell.compile_as(&bytes, "wasm").await.unwrap().exports, compiled.exports);
    let module = cell.compile(r#"(module (func (export "f") (param i64)))"#).await;
    assert_eq!((module.kind(), module.core_module), (ServiceKind::Core, true));
    // SAFETY: as above.
    unsafe { Module::deserialize_file(&run, &output) }.unwrap();
}

#[tokio::test]
async fn refuses_what_is_no_service() {
    let cell = Cell::start().await;
    let bytes = wat::parse_str(CALCULATOR).unwrap();
    for (code, reason, part) in [
        (b"".to_vec(), "NOT_WASM", "empty"),
        (b"\x7fELF\x02\x01\x01".to_vec(), "NOT_WASM", "ELF"),
        (b"print('hello')".to_vec(), "NOT_WASM", "begins with"),
        (b"\0as".to_vec(), "INVALID_WASM", "ends after 3 bytes"),
        (bytes[..bytes.len() / 2].to_vec(), "INVALID_WASM", "incomplete: at offset"),
        (b"\0asm\x07\0\0\0".to_vec(), "INVALID_WASM", "offset 4"),
        (b"(component)".to_vec(), "NOT_A_SERVICE", "exports nothing"),
        (b"(module (memory 1))".to_vec(), "NOT_A_SERVICE", "exports nothing"),
        (
            br#"(component (import "acme:db/store" (instance (export "get" (func)))))"#.to_vec(),
            "UNKNOWN_IMPORT",
            "acme:db/store",
        ),
        (
            br#"(module (import "env" "abort" (func)) (func (export "f")))"#.to_vec(),
            "UNKNOWN_IMPORT",
            "env#abort",
        ),
        (br#"(module (memory i64 1) (func (export "f")))"#.to_vec(), "UNSUPPORTED", "memory64"),
        (
            br#"(module (table 100000 funcref) (func (export "f")))"#.to_vec(),
            "TOO_LARGE",
            "100000 elements",
        ),
        (br#"(module (func (export "f") (result i32)))"#.to_vec(), "INVALID_WASM", "offset"),
        (br#"(module (func (export "f") (param externref)))"#.to_vec(), "UNSUPPORTED", "gc types"),
    ] {
        let failure = cell.refused(&code).await;
        let shown = String::from_utf8_lossy(&code);
        assert_eq!(failure.reason, reason, "{shown}: {}", failure.message);
        assert!(failure.message.contains(part), "{shown}: {}", failure.message);
        assert_eq!((failure.line, failure.column), (0, 0));
    }
    let failure = cell.refused("(module\n  (func (export \"f\")\n    i32.cost 1))").await;
    assert_eq!((failure.reason.as_str(), failure.line, failure.column), ("INVALID_TEXT", 3, 5));
    assert_eq!(failure.excerpt, "    i32.cost 1))");
    assert!(failure.message.contains("unknown operator"), "{}", failure.message);
}

#[tokio::test]
async fn a_declared_format_must_be_the_one_that_it_is() {
    let cell = Cell::start().await;
    let bytes = wat::parse_str(CALCULATOR).unwrap();
    for (code, format, part) in [
        (CALCULATOR.as_bytes(), "wasm", "declared as wasm, but the bytes are text"),
        (&bytes, "wat", "declared as wat, but the bytes are binary"),
    ] {
        let failure = cell.compile_as(code, format).await.unwrap().failure.unwrap();
        assert_eq!(failure.reason, "NOT_WASM");
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    let marked = ["\u{feff}", CALCULATOR].concat();
    assert_eq!(cell.compile_as(marked.as_bytes(), "wat").await.unwrap().failure, None);
    assert_eq!(cell.compile(&marked).await.failure, None);
}

#[tokio::test]
async fn wrong_requests_are_errors_of_the_call() {
    let cell = Cell::start().await;
    let status = cell.compile_as(b"(module)", "python").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let request = |artifact: &str, output: &str| CompileRequest {
        artifact_path: artifact.to_owned(),
        output_path: output.to_owned(),
        format: String::new(),
    };
    let mut client = cell.client.clone();
    let status = client.compile(request("", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let missing = cell.path("missing").display().to_string();
    let status = client.compile(request(&missing, &missing)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let artifact = cell.path("a").display().to_string();
    std::fs::write(&artifact, r#"(module (func (export "f")))"#).unwrap();
    let nowhere = cell.path("no/where").display().to_string();
    let status = client.compile(request(&artifact, &nowhere)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
}

#[tokio::test]
async fn one_job_runs_one_waits_and_one_is_refused() {
    let cell = Cell::start().await;
    std::fs::write(cell.path("large"), bombs::many_functions(10_000)).unwrap();
    let compile = |n: u32| {
        let mut client = cell.client.clone();
        let request = CompileRequest {
            artifact_path: cell.path("large").display().to_string(),
            output_path: cell.path(&format!("{n}.cwasm")).display().to_string(),
            format: String::new(),
        };
        async move { client.compile(request).await }
    };
    let (first, second, third) = tokio::join!(compile(1), compile(2), compile(3));
    let outcomes = [first, second, third];
    let busy = outcomes.iter().filter(|o| matches!(o, Err(s) if s.code() == Code::Unavailable));
    assert_eq!(busy.count(), 1);
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 2);
}
