//! A wasm cell inside of another process: for benchmarks and tests, where the socket would be what is
//! measured. Everything but the protocol's transport is the same.

use std::sync::Arc;

use solo_actor::Executor;
use solo_api::cell::v1 as wire;
use tokio::runtime::{Builder, Runtime};

use super::artifact::Artifacts;
use super::cell::{Cell, StartError};
use super::message::{Answer, Input, Trace};
use super::server::{failure_message, instance_message};
use super::service::Service;
use super::storage::Storage;
use super::{CellError, new_cell, start_actors};
use crate::engine::{RunLimits, run_engine};

/// How to run.
#[derive(Debug, Clone, Copy)]
pub struct LocalOptions {
    /// Threads that run guests.
    pub workers: usize,
    /// Room for instances.
    pub instances: u32,
}

/// The cell. Dropping it ends its threads when the guests that run give way.
#[derive(Debug)]
pub struct LocalCell {
    cell: Arc<Cell>,
    actors: Executor,
    /// `None` once it is being dropped.
    io: Option<Runtime>,
}

impl LocalCell {
    /// Starts the cell's threads.
    ///
    /// # Errors
    /// [`CellError`].
    pub fn start(options: LocalOptions) -> Result<Self, CellError> {
        let io = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let io = io.map_err(CellError::Threads)?;
        let engine = run_engine(RunLimits { instances: options.instances });
        let engine = engine.map_err(CellError::Engine)?;
        let actors =
            start_actors(&engine, io.handle(), options.workers).map_err(CellError::Threads)?;
        // Nothing is kept here.
        let storage = Storage::start(None).map_err(CellError::Threads)?;
        let (actors_handle, io_handle) = (actors.handle().clone(), io.handle().clone());
        let artifacts = Artifacts::new(&engine, None).map_err(CellError::Engine)?;
        let handles = (actors_handle, io_handle);
        let cell = new_cell(engine, artifacts, handles, "/nowhere".into(), storage);
        Ok(Self { cell, actors, io: Some(io) })
    }

    /// Starts instances; answers when all are ready.
    ///
    /// # Errors
    /// As the protocol's Start; nothing is left.
    pub async fn start_instances(
        &self,
        spec: wire::ServiceSpec,
        ids: Vec<String>,
    ) -> Result<(), wire::Failure> {
        let service = Service::from_wire(spec).map_err(|error| unusable(&error))?;
        self.cell.start(service, ids).await.map_err(|error| match error {
            StartError::Failed(failure) => failure_message(failure),
            other => unusable(&other),
        })
    }

    /// Ends instances at once.
    pub async fn kill(&self, ids: &[String]) {
        self.cell.stop(ids, true, None, super::slot::StopReason::Killed).await;
    }

    /// Replaces the route of a service.
    pub fn route(&self, service: &str, name: &str, ids: &[String]) {
        self.cell.route(service, name, ids, &[]);
    }

    /// Calls the handler of a service.
    ///
    /// # Errors
    /// As the protocol's Call.
    pub async fn call(
        &self,
        service: &str,
        payload: Vec<u8>,
        timeout_ms: u64,
    ) -> Result<Vec<u8>, wire::Failure> {
        let (input, trace) = (Input::Payload(payload), Trace::draw());
        let answer = self.cell.call(service, String::new(), input, timeout_ms, trace).await;
        match answer.map_err(failure_message)? {
            Answer::Payload(bytes) => Ok(bytes),
            Answer::Json(json) => Ok(json.into_bytes()),
        }
    }

    /// Calls a typed function of a service with a JSON array; answers JSON.
    ///
    /// # Errors
    /// As the protocol's Call.
    pub async fn call_json(
        &self,
        service: &str,
        function: &str,
        arguments: &str,
        timeout_ms: u64,
    ) -> Result<String, wire::Failure> {
        let (input, trace) = (Input::Json(arguments.to_owned()), Trace::draw());
        let answer = self.cell.call(service, function.to_owned(), input, timeout_ms, trace).await;
        match answer.map_err(failure_message)? {
            Answer::Json(json) => Ok(json),
            Answer::Payload(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Sends to the handler of a service.
    ///
    /// # Errors
    /// As the protocol's Send.
    pub fn send(&self, service: &str, payload: Vec<u8>) -> Result<(), wire::Failure> {
        let input = Input::Payload(payload);
        let sent = self.cell.send(service, String::new(), input, Trace::draw());
        sent.map_err(failure_message)
    }

    /// All instances with their figures.
    #[must_use]
    pub fn snapshot(&self) -> Vec<wire::Instance> {
        self.cell.slots("", "", usize::MAX).iter().map(|slot| instance_message(slot)).collect()
    }

    /// Threads that run guests.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.actors.handle().threads()
    }
}

impl Drop for LocalCell {
    fn drop(&mut self) {
        // It may be dropped where waiting is not allowed.
        if let Some(io) = self.io.take() {
            io.shutdown_background();
        }
    }
}

fn unusable(error: &dyn std::fmt::Display) -> wire::Failure {
    wire::Failure {
        reason: "INVALID_ARGUMENT".to_owned(),
        message: error.to_string(),
        ..wire::Failure::default()
    }
}
