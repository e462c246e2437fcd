//! A cell of Solo's in this process, as the experiments need it. The only file of the experiments
//! that knows how a cell is reached; what is timed by the guests themselves does not depend on it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use solo_api::cell::v1 as wire;
use solo_cell::wasm::local::{LocalCell, LocalOptions};

use crate::stats::float;

/// The node of all ids.
const NODE: &str = "0000beef";

/// Deadline of every call: far above anything that is measured.
const DEADLINE_MS: u64 = 120_000;

/// A cell that ends with this process.
#[derive(Debug)]
pub(crate) struct Cell {
    local: LocalCell,
}

/// What an experiment says of a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'a> {
    /// Unique in the cell, from 1.
    pub(crate) number: usize,
    pub(crate) name: &'a str,
    /// Compiled code.
    pub(crate) artifact: &'a Path,
    pub(crate) cpu_shares: u64,
    /// Services that it may call and send to.
    pub(crate) reaches: &'a [&'a str],
}

impl<'a> Service<'a> {
    /// A service with the default weight that reaches nobody.
    pub(crate) fn new(number: usize, name: &'a str, artifact: &'a Path) -> Self {
        Self { number, name, artifact, cpu_shares: 1_024, reaches: &[] }
    }

    /// `NODE-SERVICE`.
    pub(crate) fn id(&self) -> String {
        format!("{NODE}-{}", self.number)
    }

    /// Ids of its instances, `from` and `to` being numbers of the first one and behind the last one.
    fn instances(&self, numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| format!("{NODE}-{}-{}", self.number, number + 1)).collect()
    }

    fn spec(&self) -> wire::ServiceSpec {
        let grant = |service: &&str| wire::Grant {
            service: (*service).to_owned(),
            call: true,
            send: true,
            ..Default::default()
        };
        wire::ServiceSpec {
            service: self.id(),
            name: self.name.to_owned(),
            revision: 1,
            kind: wire::ServiceKind::Handler.into(),
            artifact_path: self.artifact.to_string_lossy().into_owned(),
            max_processes: 100,
            max_memory_bytes: 64 << 20,
            cpu_shares: self.cpu_shares,
            message_queue_limit: 10_000,
            // A machine that is busy must not fail a start.
            startup_timeout_ms: 10_000,
            shutdown_timeout_ms: 10_000,
            restart_mode: "permanent".to_owned(),
            // With so short a window each crash is the first one in it: no backoff is measured.
            max_restarts: 1_000,
            window_ms: 1,
            backoff_initial_ms: 10,
            backoff_max_ms: 1_000,
            config: HashMap::new(),
            grants: self.reaches.iter().map(grant).collect(),
            ..Default::default()
        }
    }
}

impl Cell {
    /// Starts one with room for `instances` and so many threads for guests.
    ///
    /// # Errors
    /// The machine does not give what it needs.
    pub(crate) fn start(workers: usize, instances: usize) -> anyhow::Result<Self> {
        let instances = u32::try_from(instances).context("too many instances")?;
        Ok(Self { local: LocalCell::start(LocalOptions { workers, instances })? })
    }

    /// Starts `count` instances of a service and routes to them.
    ///
    /// # Errors
    /// One of them does not start.
    pub(crate) async fn deploy(&self, service: &Service<'_>, count: usize) -> anyhow::Result<()> {
        self.start_instances(service, 0..count).await?;
        self.route(service, count);
        Ok(())
    }

    /// Starts the instances with these numbers; answers when all are ready, with the time that it took.
    ///
    /// # Errors
    /// One of them does not start.
    pub(crate) async fn start_instances(
        &self,
        service: &Service<'_>,
        numbers: std::ops::Range<usize>,
    ) -> anyhow::Result<Duration> {
        let (spec, ids) = (service.spec(), service.instances(numbers));
        let began = Instant::now();
        let started = self.local.start_instances(spec, ids).await;
        let elapsed = began.elapsed();
        match started {
            Ok(()) => Ok(elapsed),
            Err(failure) => bail!("{} does not start: {}", service.name, text(&failure)),
        }
    }

    /// Ends the instance with this number.
    pub(crate) async fn kill(&self, service: &Service<'_>, number: usize) {
        self.local.kill(&service.instances(number..number + 1)).await;
    }

    /// Sends what comes for a service to its first `count` instances.
    pub(crate) fn route(&self, service: &Service<'_>, count: usize) {
        self.local.route(&service.id(), service.name, &service.instances(0..count));
    }

    /// Calls a handler.
    ///
    /// # Errors
    /// It does not answer with bytes.
    pub(crate) async fn call(&self, service: &str, payload: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let answer = self.local.call(service, payload, DEADLINE_MS).await;
        answer.map_err(|failure| anyhow!("{service} failed: {}", text(&failure)))
    }

    /// Sends to a handler.
    ///
    /// # Errors
    /// It does not take it.
    pub(crate) fn send(&self, service: &str, payload: Vec<u8>) -> anyhow::Result<()> {
        let sent = self.local.send(service, payload);
        sent.map_err(|failure| anyhow!("{service} took no message: {}", text(&failure)))
    }

    /// Processor time that each instance has had, in microseconds, by id of its service.
    ///
    /// # Errors
    /// The cell is gone.
    pub(crate) fn processor_time(&self) -> anyhow::Result<HashMap<String, f64>> {
        let instances = self.local.snapshot();
        ensure!(!instances.is_empty(), "the cell has no instances");
        let time = |instance: wire::Instance| {
            (instance.service, float(usize::try_from(instance.cpu_us).unwrap_or(usize::MAX)))
        };
        Ok(instances.into_iter().map(time).collect())
    }
}

fn text(failure: &wire::Failure) -> String {
    format!("{} ({})", failure.message, failure.reason)
}

/// The actor of the experiments, compiled into `directory`.
///
/// # Errors
/// The disk refuses.
pub(crate) fn actor(directory: &Path) -> anyhow::Result<PathBuf> {
    super::compiled(directory, "actor", crate::guests::ACTOR)
}

/// A payload for it: a letter and a count, filled up to 64 bytes.
pub(crate) fn order(letter: u8, count: u32) -> Vec<u8> {
    let mut payload = vec![b' '; 64];
    payload[0] = letter;
    payload[4..8].copy_from_slice(&count.to_le_bytes());
    payload
}

/// Number `index` of an answer of the actor that is made of u64 nanoseconds (or counts).
///
/// # Errors
/// The answer is too short.
pub(crate) fn word(answer: &[u8], index: usize) -> anyhow::Result<u64> {
    let bytes = answer.get(8 * index..8 * index + 8).context("the answer is too short")?;
    Ok(u64::from_le_bytes(bytes.try_into()?))
}

/// The times of an answer that is made of u32 nanoseconds, in seconds.
pub(crate) fn times(answer: &[u8]) -> impl Iterator<Item = f64> {
    answer
        .chunks_exact(4)
        .map(|bytes| f64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) / 1e9)
}

/// Seconds of `nanoseconds` by `count`.
pub(crate) fn one_of(nanoseconds: u64, count: u32) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actor_and_the_bench_speak_alike() {
        let order = order(b'c', 0x0102_0304);
        assert_eq!((order.len(), order[0], &order[4..8]), (64, b'c', [4, 3, 2, 1].as_slice()));
        let mut answer = 7_u64.to_le_bytes().to_vec();
        answer.extend(9_u64.to_le_bytes());
        assert_eq!(word(&answer, 1).expect("a word"), 9);
        assert!(word(&answer, 2).is_err());
        assert_eq!(times(&1_000_u32.to_le_bytes()).collect::<Vec<_>>(), [1e-6]);
    }

    #[test]
    fn ids_are_of_one_node() {
        let service = Service::new(3, "target", Path::new("x"));
        assert_eq!(service.instances(1..3), ["0000beef-3-2", "0000beef-3-3"]);
        assert_eq!(service.spec().service, "0000beef-3");
    }
}
