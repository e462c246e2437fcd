//! Records in memory: one ring per service and kind, so that a service that floods its log throws
//! away its own lines only.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::{Filter, Page, Position, Record};

/// Lines that a ring keeps: what a person scrolls back through.
const RING_RECORDS_MAX: usize = 1_000;

/// All rings together. Beyond it every ring gets an equal share.
const TOTAL_BYTES_MAX: usize = 64 << 20;

/// What a record costs beside its texts: numbers, pointers, allocations.
const RECORD_OVERHEAD_BYTES: usize = 160;

/// A ring without records is forgotten when there are more rings than this.
const RINGS_MAX: usize = 50_000;

type Key = (String, bool);

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Records that were pushed, ever.
    pushed: u64,
}

impl Ring {
    fn evicted(&self) -> u64 {
        self.pushed - self.records.len() as u64
    }
}

/// All rings, and the order over all of them.
#[derive(Debug, Default)]
pub(super) struct Rings {
    rings: HashMap<Key, Ring>,
    order: BTreeMap<u64, Arc<Record>>,
    bytes: usize,
}

fn size(record: &Record) -> usize {
    record.body.bytes() + record.service.len() + record.instance.len() + RECORD_OVERHEAD_BYTES
}

impl Rings {
    pub(super) fn push(&mut self, record: Arc<Record>) {
        let key = (record.service.clone(), record.body.is_log());
        if self.rings.len() >= RINGS_MAX && !self.rings.contains_key(&key) {
            self.drop_oldest_ring();
        }
        let share = TOTAL_BYTES_MAX / (self.rings.len() + 1);
        let full = self.bytes > TOTAL_BYTES_MAX;
        let ring = self.rings.entry(key).or_default();
        let added = size(&record);
        ring.pushed += 1;
        ring.bytes += added;
        self.bytes += added;
        self.order.insert(record.cursor, Arc::clone(&record));
        ring.records.push_back(record);
        while ring.records.len() > RING_RECORDS_MAX
            || (full && ring.bytes > share && ring.records.len() > 1)
        {
            let Some(oldest) = ring.records.pop_front() else { break };
            let freed = size(&oldest);
            ring.bytes -= freed;
            self.bytes -= freed;
            self.order.remove(&oldest.cursor);
        }
    }

    fn drop_oldest_ring(&mut self) {
        let oldest = self
            .rings
            .iter()
            .min_by_key(|(_, ring)| ring.records.back().map_or(0, |record| record.cursor))
            .map(|(key, _)| key.clone());
        if let Some(ring) = oldest.and_then(|key| self.rings.remove(&key)) {
            self.bytes -= ring.bytes;
            for record in ring.records {
                self.order.remove(&record.cursor);
            }
        }
    }

    /// Everything that is kept, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Record>> {
        self.order.values().cloned().collect()
    }

    pub(super) fn read(&self, filter: &Filter, position: &mut Position, max: usize) -> Page {
        let mut page = Page { missed: self.missed(filter, position), ..Page::default() };
        let behind = (Bound::Excluded(position.cursor), Bound::Unbounded);
        for record in self.order.range(behind).map(|(_, record)| record) {
            if page.records.len() == max {
                break;
            }
            position.cursor = record.cursor;
            if filter.matches(&record.service, record.body.is_log()) {
                page.records.push(Arc::clone(record));
            }
        }
        // What this ring had up to here has been read or passed over.
        for (key, ring) in &self.rings {
            if filter.matches(&key.0, key.1) {
                let up_to = ring.records.partition_point(|r| r.cursor <= position.cursor);
                position.passed.insert(key.clone(), ring.evicted() + up_to as u64);
            }
        }
        page
    }

    /// Records that were thrown away since the last read, or, for a ring that is read for the first
    /// time with a cursor, at least the one between the cursor and the oldest that is kept.
    fn missed(&self, filter: &Filter, position: &Position) -> u64 {
        let mut missed = 0;
        for (key, ring) in &self.rings {
            if !filter.matches(&key.0, key.1) {
                continue;
            }
            match position.passed.get(key) {
                Some(passed) => missed += ring.evicted().saturating_sub(*passed),
                None => {
                    let oldest = ring.records.front().map_or(0, |record| record.cursor);
                    if ring.evicted() > 0
                        && oldest > position.cursor.saturating_add(1)
                        && position.resumed()
                    {
                        missed += 1;
                    }
                }
            }
        }
        missed
    }

    pub(super) fn tail(&self, filter: &Filter, count: usize) -> Position {
        let newest = self.order.last_key_value().map_or(0, |(cursor, _)| *cursor);
        let mut cursor = newest;
        let mut found = 0;
        for record in self.order.values().rev() {
            if found == count {
                break;
            }
            if filter.matches(&record.service, record.body.is_log()) {
                found += 1;
                cursor = record.cursor - 1;
            }
        }
        let mut position = Position { cursor, ..Position::default() };
        for (key, ring) in &self.rings {
            let up_to = ring.records.partition_point(|r| r.cursor <= cursor);
            position.passed.insert(key.clone(), ring.evicted() + up_to as u64);
        }
        position
    }
}

impl Position {
    /// Begins behind `cursor`, the last record that the watcher got earlier.
    pub(crate) fn after(cursor: u64) -> Self {
        Self { cursor, ..Self::default() }
    }

    fn resumed(&self) -> bool {
        self.cursor > 0
    }
}
