//! What happened: log lines and events, kept within bounds and on disk, read by watchers.
//!
//! Records are numbered over the life of the installation; the number is the cursor of a watch. A
//! batch is written to the file before anyone sees it, so that a kernel that comes back continues
//! the numbering and the watchers their reading. The file is not synced: log lines are not
//! acknowledged to anyone. Watchers read at their own pace and slow nothing; what was thrown away
//! before they read it is counted and told.

pub(crate) mod metrics;
mod ring;
mod segment;
pub(crate) mod violations;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use solo_api::cell::v1 as wire;
use solo_types::{TraceId, glob_matches};
use tokio::sync::watch;

use crate::clock;
use ring::{Line, Rings};
use segment::Segment;

/// Services that are gone and still have a name here: more than can end within the second that a
/// report takes at most.
const LEAVING_MAX: usize = 1_000;

/// Cells whose position is remembered: the living ones and a few dead ones.
const POSITIONS_MAX: usize = 64;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its number; 1 is the first of the installation.
    #[serde(rename = "n")]
    pub(crate) cursor: u64,
    /// Unix milliseconds.
    #[serde(rename = "t")]
    pub(crate) at: u64,
    /// Name of the service; empty for Solo itself.
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    pub(crate) service: String,
    #[serde(rename = "i", default, skip_serializing_if = "String::is_empty")]
    pub(crate) instance: String,
    #[serde(rename = "b")]
    pub(crate) body: Body,
    /// Which report of which cell it was: incarnation and sequence.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<(String, u64)>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Body {
    #[serde(rename = "log")]
    Log {
        level: String,
        source: String,
        message: String,
        /// The chain of calls that it was written in; empty for none.
        #[serde(rename = "trace", default, skip_serializing_if = "String::is_empty")]
        trace_id: String,
    },
    #[serde(rename = "event")]
    Event {
        name: String,
        message: String,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        details: BTreeMap<String, String>,
    },
}

impl Body {
    fn event(name: &str, message: impl Into<String>) -> Self {
        Self::Event { name: name.to_owned(), message: message.into(), details: BTreeMap::new() }
    }

    pub(crate) fn is_log(&self) -> bool {
        matches!(self, Self::Log { .. })
    }
}

/// A record without its number. `service` is still an id when it came from a cell.
#[derive(Debug)]
pub(crate) struct NewRecord {
    at: u64,
    service: String,
    instance: String,
    body: Body,
    position: Option<(String, u64)>,
}

impl NewRecord {
    pub(crate) fn log(
        at: u64,
        service: String,
        instance: String,
        log: wire::Log,
        position: (String, u64),
    ) -> Self {
        // What is no trace id would only take room.
        let trace_id =
            log.trace_id.parse::<TraceId>().map_or_else(|_| String::new(), |_| log.trace_id);
        let body =
            Body::Log { level: log.level, source: log.source, message: log.message, trace_id };
        Self { at, service, instance, body, position: Some(position) }
    }

    /// The event of a state change; none for the steps that follow from others.
    pub(crate) fn change(
        at: u64,
        service: &str,
        instance: &str,
        change: &wire::StateChange,
        position: (String, u64),
    ) -> Option<Self> {
        let exit = change.exit.as_ref();
        let name = match change.state.as_str() {
            "running" if change.restarts > 0 => "restarted",
            "running" => "ready",
            "restarting" => "exited",
            // The next one is another child: whether there is one is up to its parent.
            "failed" if instance.contains('.') => "exited",
            "failed" => "failed",
            "completed" => "completed",
            _ => return None,
        };
        let message = match exit {
            Some(exit) => format!("{}: {}", exit.reason, exit.message),
            None if change.restarts > 0 => format!("restart {}", change.restarts),
            None => "the instance is ready".to_owned(),
        };
        let body = Body::event(name, message);
        let (service, instance) = (service.to_owned(), instance.to_owned());
        Some(Self { at, service, instance, body, position: Some(position) })
    }

    /// The event of a limit that was exceeded.
    pub(crate) fn violation(
        at: u64,
        service: String,
        instance: String,
        violation: &wire::Violation,
        position: (String, u64),
    ) -> Self {
        let wire::Violation { limit, action, count, message } = violation;
        let times = if *count > 1 { format!(" {count} times") } else { String::new() };
        let body = Body::Event {
            name: "limit_exceeded".to_owned(),
            message: format!("{limit} was exceeded{times}, action {action}: {message}"),
            details: [("limit", limit.clone()), ("action", action.clone())]
                .into_iter()
                .chain([("count", count.to_string())])
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        };
        Self { at, service, instance, body, position: Some(position) }
    }

    pub(crate) fn missed(at: u64, cell: &str, count: u64, position: (String, u64)) -> Self {
        let message = format!("cell {cell} threw {count} reports away while no kernel took them");
        let body = Body::event("reports_missed", message);
        let (service, instance) = (String::new(), String::new());
        Self { at, service, instance, body, position: Some(position) }
    }
}

/// What a watcher wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Glob; empty for all.
    pub(crate) service: String,
    pub(crate) logs: bool,
    pub(crate) events: bool,
}

impl Filter {
    fn wants(&self, is_log: bool) -> bool {
        if is_log { self.logs } else { self.events }
    }

    fn matches(&self, service: &str, is_log: bool) -> bool {
        self.wants(is_log) && glob_matches(&self.service, service)
    }

    /// The one service that it names, if it is no pattern.
    fn exact(&self) -> Option<&str> {
        let name = self.service.as_str();
        (!name.is_empty() && !name.contains(['*', '?'])).then_some(name)
    }
}

/// Where a watcher stands.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// The last record it got.
    pub(crate) cursor: u64,
    /// Records of each ring that it got or passed over; what the ring threw away beyond is missed.
    passed: HashMap<(String, bool), u64>,
    /// Records that all rings together had thrown away when it last looked; none: it never did.
    evicted: Option<u64>,
}

/// Records for a watcher, and how many it will never see.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    pub(crate) missed: u64,
}

struct Inner {
    rings: Rings,
    next: u64,
    segment: Segment,
    positions: Vec<(String, u64)>,
    /// Names of services by id, to name the records of cells.
    names: HashMap<String, String>,
    /// Ids of services that are gone, oldest first: their last lines may still be on their way.
    leaving: VecDeque<String>,
}

/// The keeper of records.
pub(crate) struct Monitor {
    inner: Mutex<Inner>,
    latest: watch::Sender<u64>,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("latest", &*self.latest.borrow()).finish_non_exhaustive()
    }
}

impl Monitor {
    /// Memory that the records take, about; bounded.
    pub(crate) fn record_bytes(&self) -> usize {
        self.inner.lock().rings.bytes()
    }

    /// Reads the records of earlier lives. A file that is damaged loses what cannot be read.
    pub(crate) fn open(path: PathBuf) -> std::io::Result<Arc<Self>> {
        let mut rings = Rings::default();
        let mut positions = Vec::new();
        let mut next = 1;
        let segment = Segment::open(path, |record, line| {
            next = next.max(record.cursor + 1);
            remember(&mut positions, record.position.as_ref());
            rings.push(&record.service, record.body.is_log(), record.cursor, line);
        })?;
        let inner = Inner {
            rings,
            next,
            segment,
            positions,
            names: HashMap::new(),
            leaving: VecDeque::new(),
        };
        Ok(Arc::new(Self { inner: Mutex::new(inner), latest: watch::Sender::new(next - 1) }))
    }

    /// Tells the name of a service, so that its records carry it.
    pub(crate) fn name_service(&self, id: &str, name: &str) {
        self.inner.lock().names.insert(id.to_owned(), name.to_owned());
    }

    /// Forgets a service that is gone for good, once its last lines must have come.
    pub(crate) fn forget_service(&self, id: &str) {
        let mut inner = self.inner.lock();
        inner.leaving.push_back(id.to_owned());
        while inner.leaving.len() > LEAVING_MAX {
            if let Some(oldest) = inner.leaving.pop_front() {
                inner.names.remove(&oldest);
            }
        }
    }

    /// The name of a service, also of one that is being deployed or has just gone.
    pub(crate) fn name_of(&self, id: &str) -> Option<String> {
        self.inner.lock().names.get(id).cloned()
    }

    /// Adds an event of Solo's own or (`service` is a name) about a service.
    pub(crate) fn event(&self, service: &str, instance: &str, name: &str, message: &str) {
        let body = Body::event(name, message);
        let (service, instance) = (service.to_owned(), instance.to_owned());
        self.append(vec![NewRecord {
            at: clock::unix_ms(),
            service,
            instance,
            body,
            position: None,
        }]);
    }

    /// Adds records: to the file in one write, then for the watchers.
    pub(crate) fn append(&self, records: Vec<NewRecord>) {
        if records.is_empty() {
            return;
        }
        let latest = {
            // The write is to the page cache, some microseconds a batch. Holding the lock over it
            // keeps the order of file and rings the same.
            let mut inner = self.inner.lock();
            let mut batch = Vec::with_capacity(records.len());
            for new in records {
                let name = inner.names.get(&new.service).cloned();
                batch.push(Record {
                    cursor: inner.next,
                    at: new.at,
                    service: name.unwrap_or(new.service),
                    instance: new.instance,
                    body: new.body,
                    position: new.position,
                });
                inner.next += 1;
            }
            // Strings and numbers alone: nothing of it cannot be written.
            let batch: Vec<(Record, Line)> = batch
                .into_iter()
                .filter_map(|record| segment::line(&record).map(|line| (record, line)))
                .collect();
            let inner = &mut *inner;
            inner.segment.write(batch.iter().map(|(_, line)| line));
            for (record, line) in batch {
                remember(&mut inner.positions, record.position.as_ref());
                inner.rings.push(&record.service, record.body.is_log(), record.cursor, line);
            }
            if inner.segment.wants_compaction() {
                inner.segment.compact(inner.rings.all());
            }
            inner.next - 1
        };
        self.latest.send_replace(latest);
    }

    /// The last report of this incarnation of a cell that was taken; 0 for none.
    pub(crate) fn last_report(&self, incarnation: &str) -> u64 {
        let inner = self.inner.lock();
        inner.positions.iter().find(|(known, _)| known == incarnation).map_or(0, |(_, n)| *n)
    }

    /// The number of the newest record, as it grows.
    pub(crate) fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// At most `max` records behind `position`, oldest first.
    pub(crate) fn read(&self, filter: &Filter, position: &mut Position, max: usize) -> Page {
        let found = self.inner.lock().rings.read(filter, position, max);
        // What was written by this build, or read by it when it was opened.
        let records = found.lines.iter().filter_map(|line| serde_json::from_slice(line).ok());
        Page { records: records.collect(), missed: found.missed }
    }

    /// The position before the newest `count` records that match.
    pub(crate) fn tail(&self, filter: &Filter, count: usize) -> Position {
        self.inner.lock().rings.tail(filter, count)
    }

    /// The newest `count` log lines of a service, oldest first.
    pub(crate) fn log_tail(&self, service: &str, count: usize) -> Vec<String> {
        let filter = Filter { service: service.to_owned(), logs: true, events: false };
        let mut position = self.tail(&filter, count);
        let page = self.read(&filter, &mut position, count);
        page.records
            .iter()
            .filter_map(|record| match &record.body {
                Body::Log { level, message, .. } => Some(format!("{level}: {message}")),
                Body::Event { .. } => None,
            })
            .collect()
    }
}

fn remember(positions: &mut Vec<(String, u64)>, position: Option<&(String, u64)>) {
    let Some((incarnation, sequence)) = position else { return };
    if let Some(known) = positions.iter_mut().find(|(known, _)| known == incarnation) {
        known.1 = known.1.max(*sequence);
        return;
    }
    if positions.len() == POSITIONS_MAX {
        positions.remove(0);
    }
    positions.push((incarnation.clone(), *sequence));
}

#[cfg(test)]
mod tests;
