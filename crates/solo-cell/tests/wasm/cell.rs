//! A wasm cell in a thread, and a client for it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use solo_api::cell::v1 as wire;
use solo_api::cell::v1::cell_service_client::CellServiceClient;
use solo_api::{Endpoint, connect_channel};
use solo_cell::engine::{RunLimits, compile_engine};
use solo_cell::wasm::{WasmCellOptions, run_with};
use tonic::transport::Channel;

use wire::call_request::Input;
use wire::call_response::Output;

/// The node of all ids in these tests.
const NODE: &str = "0000beef";

/// How long a state that must come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running cell. The thread ends with the test's process.
pub(crate) struct TestCell {
    dir: tempfile::TempDir,
    pub(crate) client: CellServiceClient<Channel>,
}

/// A specification to start from; fields are changed by the tests.
pub(crate) fn spec(
    number: u32,
    name: &str,
    kind: wire::ServiceKind,
    artifact: PathBuf,
) -> wire::ServiceSpec {
    wire::ServiceSpec {
        service: format!("{NODE}-{number}"),
        name: name.to_owned(),
        revision: 1,
        kind: kind.into(),
        artifact_path: artifact.to_string_lossy().into_owned(),
        max_processes: 100,
        max_memory_bytes: 64 << 20,
        cpu_shares: 1_024,
        message_queue_limit: 10_000,
        startup_timeout_ms: 5_000,
        shutdown_timeout_ms: 10_000,
        restart_mode: "permanent".to_owned(),
        max_restarts: 5,
        window_ms: 10_000,
        backoff_initial_ms: 10,
        backoff_max_ms: 1_000,
        config: HashMap::new(),
        arguments: Vec::new(),
        environment: HashMap::new(),
        grants: Vec::new(),
        health_check: None,
        core_module: kind == wire::ServiceKind::Core,
        ..Default::default()
    }
}

/// Ids of the first `count` instances of a service.
pub(crate) fn ids(spec: &wire::ServiceSpec, count: u32) -> Vec<String> {
    (1..=count).map(|number| format!("{}-{number}", spec.service)).collect()
}

impl TestCell {
    /// Starts a cell with room for `instances`.
    pub(crate) async fn start(instances: u32) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("cell.sock");
        let options = WasmCellOptions {
            cell: "wasm-test".to_owned(),
            socket: socket.clone(),
            programs: "/nowhere".into(),
            state: Some(dir.path().to_owned()),
            runtimes: None,
        };
        std::thread::spawn(move || {
            run_with(options, RunLimits { instances }).expect("the cell runs");
        });
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            assert!(Instant::now() < deadline, "the cell does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let client = Self::connect(&socket).await;
        Self { dir, client }
    }

    async fn connect(socket: &std::path::Path) -> CellServiceClient<Channel> {
        let channel =
            connect_channel(&Endpoint::Unix(socket.to_owned())).await.expect("a connection");
        CellServiceClient::new(channel).max_decoding_message_size(solo_api::WIRE_MESSAGE_BYTES_MAX)
    }

    /// A second connection.
    pub(crate) async fn reconnect(&self) -> CellServiceClient<Channel> {
        Self::connect(&self.socket()).await
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("cell.sock")
    }

    /// Compiles `text` into a file of this name.
    pub(crate) fn component(&self, name: &str, text: &str) -> PathBuf {
        let engine = compile_engine().expect("an engine");
        let binary = wat::parse_str(text).expect("text is right");
        let compiled = engine.precompile_component(&binary).expect("it compiles");
        self.write(name, &compiled)
    }

    /// The same for a core module.
    pub(crate) fn module(&self, name: &str, text: &str) -> PathBuf {
        let engine = compile_engine().expect("an engine");
        let binary = wat::parse_str(text).expect("text is right");
        let compiled = engine.precompile_module(&binary).expect("it compiles");
        self.write(name, &compiled)
    }

    /// Compiles the guest of this name that `cargo xtask guests` built.
    pub(crate) fn guest(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.cwasm"));
        if path.exists() {
            return path;
        }
        let test = std::env::current_exe().expect("a path");
        // TARGET/PROFILE/deps/TEST
        let target = test.ancestors().nth(3).expect("a target directory");
        let source = target.join("guests").join(format!("{name}.wasm"));
        let binary = std::fs::read(&source)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make guests`", source.display()));
        let engine = compile_engine().expect("an engine");
        self.write(name, &engine.precompile_component(&binary).expect("it compiles"))
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.cwasm"));
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// Starts and routes `count` instances.
    pub(crate) async fn deploy(
        &mut self,
        spec: &wire::ServiceSpec,
        count: u32,
    ) -> Option<wire::Failure> {
        let instances = ids(spec, count);
        let request = wire::StartRequest { spec: Some(spec.clone()), instances: instances.clone() };
        let failure = self.client.start(request).await.expect("start").into_inner().failure;
        if failure.is_none() {
            let service = spec.service.clone();
            let request = wire::RouteRequest {
                service,
                name: spec.name.clone(),
                instances,
                ..Default::default()
            };
            self.client.route(request).await.expect("route");
        }
        failure
    }

    /// Starts and expects this reason of a failure, with nothing left.
    pub(crate) async fn deploy_fails(
        &mut self,
        spec: &wire::ServiceSpec,
        reason: &str,
    ) -> wire::Failure {
        let failure = self.deploy(spec, 1).await.expect("the start must fail");
        assert_eq!(failure.reason, reason, "{failure:?}");
        assert!(self.instances(&spec.service).await.is_empty(), "something is left");
        failure
    }

    pub(crate) async fn call_with(
        &self,
        service: &str,
        function: &str,
        input: Option<Input>,
        timeout_ms: u64,
    ) -> Output {
        let (service, function) = (service.to_owned(), function.to_owned());
        let request =
            wire::CallRequest { service, function, input, timeout_ms, ..Default::default() };
        let response = self.client.clone().call(request).await.expect("call").into_inner();
        response.output.expect("an output")
    }

    /// Calls a typed function; a failure as `REASON: message`.
    pub(crate) async fn call(
        &self,
        service: &str,
        function: &str,
        json: &str,
    ) -> Result<String, wire::Failure> {
        let input = Some(Input::JsonArguments(json.to_owned()));
        match self.call_with(service, function, input, 20_000).await {
            Output::Json(json) => Ok(json),
            Output::Failure(failure) => Err(failure),
            Output::Payload(payload) => panic!("a payload: {payload:?}"),
        }
    }

    /// Calls a handler.
    pub(crate) async fn ask(&self, service: &str, payload: &[u8]) -> Result<String, wire::Failure> {
        match self.call_with(service, "", Some(Input::Payload(payload.to_vec())), 20_000).await {
            Output::Payload(payload) => Ok(String::from_utf8(payload).expect("text")),
            Output::Failure(failure) => Err(failure),
            Output::Json(json) => panic!("JSON: {json}"),
        }
    }

    pub(crate) async fn send(&self, service: &str, payload: &[u8]) -> Option<wire::Failure> {
        let request = wire::SendRequest {
            service: service.to_owned(),
            function: String::new(),
            input: Some(wire::send_request::Input::Payload(payload.to_vec())),
            ..Default::default()
        };
        self.client.clone().send(request).await.expect("send").into_inner().failure
    }

    pub(crate) async fn stop(
        &self,
        instances: Vec<String>,
        force: bool,
        timeout_ms: Option<u64>,
    ) -> Vec<String> {
        let reason = "killed".to_owned();
        let request = wire::StopRequest { instances, force, timeout_ms, reason };
        self.client.clone().stop(request).await.expect("stop").into_inner().forced
    }

    pub(crate) async fn instances(&self, service: &str) -> Vec<wire::Instance> {
        let request = wire::SnapshotRequest { service: service.to_owned(), ..Default::default() };
        self.client.clone().snapshot(request).await.expect("snapshot").into_inner().instances
    }

    /// Waits until the first instance of a service is like this.
    pub(crate) async fn wait_for(
        &self,
        service: &str,
        wanted: impl Fn(&wire::Instance) -> bool,
    ) -> wire::Instance {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let instances = self.instances(service).await;
            if let Some(instance) = instances.first().filter(|instance| wanted(instance)) {
                return instance.clone();
            }
            assert!(Instant::now() < deadline, "it does not come: {instances:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Reports behind `after` until one is like this, that one included.
    pub(crate) async fn reports_until(
        &self,
        after: u64,
        wanted: impl Fn(&wire::ReportsResponse) -> bool,
    ) -> Vec<wire::ReportsResponse> {
        let mut client = self.reconnect().await;
        let request = wire::ReportsRequest { after };
        let mut stream = client.reports(request).await.expect("reports").into_inner();
        let mut seen = Vec::new();
        let read = async {
            while let Some(report) = stream.message().await.expect("a report") {
                let found = wanted(&report);
                seen.push(report);
                if found {
                    return;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, read).await;
        assert!(found.is_ok(), "it does not come: {seen:?}");
        seen
    }
}

/// Text and source of a log report.
pub(crate) fn line(report: &wire::ReportsResponse) -> Option<(&str, &str)> {
    match report.report.as_ref()? {
        wire::reports_response::Report::Log(log) => Some((&log.message, &log.source)),
        _ => None,
    }
}

/// State and reason of the exit of a state report.
pub(crate) fn state(report: &wire::ReportsResponse) -> Option<(&str, &str)> {
    match report.report.as_ref()? {
        wire::reports_response::Report::State(change) => {
            Some((&change.state, change.exit.as_ref().map_or("", |exit| &exit.reason)))
        }
        _ => None,
    }
}
