//! Records in memory: one ring per service and kind, so that a service that floods its log throws
//! away its own lines only. A record is kept as the line that the file has: one allocation instead of
//! one for each of its texts, most of which are short. Reads no line.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::{Filter, Position};

/// Lines that a ring keeps: what a person scrolls back through.
const RING_RECORDS_MAX: usize = 1_000;

/// All rings together. Beyond it every ring gets an equal share.
const TOTAL_BYTES_MAX: usize = 64 << 20;

/// What a record costs beside its line: places in the ring and in the order, which have room to grow,
/// and what the allocator adds.
const RECORD_OVERHEAD_BYTES: usize = 112;

/// A ring without records is forgotten when there are more rings than this.
const RINGS_MAX: usize = 50_000;

type Key = (String, bool);

/// A record as the file has it, with its line's end.
pub(super) type Line = Arc<[u8]>;

#[derive(Debug, Default)]
struct Ring {
    /// Cursors, oldest first.
    records: VecDeque<u64>,
    bytes: usize,
    /// Records that were pushed, ever.
    pushed: u64,
    key: Arc<Key>,
}

impl Ring {
    fn evicted(&self) -> u64 {
        self.pushed - self.records.len() as u64
    }

    /// Records up to `cursor`, those that were thrown away included.
    fn up_to(&self, cursor: u64) -> u64 {
        let kept = self.records.partition_point(|record| *record <= cursor);
        self.evicted() + kept as u64
    }
}

#[derive(Debug)]
struct Kept {
    key: Arc<Key>,
    line: Line,
}

/// Lines for a watcher, and how many it will never see.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    pub(super) missed: u64,
}

/// All rings, and the order over all of them.
#[derive(Debug, Default)]
pub(super) struct Rings {
    rings: HashMap<Key, Ring>,
    order: BTreeMap<u64, Kept>,
    bytes: usize,
    /// Records that were thrown away to make room in their own ring, ever.
    evicted: u64,
}

fn size(line: &Line) -> usize {
    line.len() + RECORD_OVERHEAD_BYTES
}

impl Rings {
    pub(super) fn push(&mut self, service: &str, is_log: bool, cursor: u64, line: Line) {
        let key = (service.to_owned(), is_log);
        if self.rings.len() >= RINGS_MAX && !self.rings.contains_key(&key) {
            self.drop_oldest_ring();
        }
        let share = TOTAL_BYTES_MAX / (self.rings.len() + 1);
        let full = self.bytes > TOTAL_BYTES_MAX;
        let ring = self
            .rings
            .entry(key)
            .or_insert_with_key(|key| Ring { key: Arc::new(key.clone()), ..Ring::default() });
        let added = size(&line);
        ring.pushed += 1;
        ring.bytes += added;
        self.bytes += added;
        ring.records.push_back(cursor);
        self.order.insert(cursor, Kept { key: Arc::clone(&ring.key), line });
        while ring.records.len() > RING_RECORDS_MAX
            || (full && ring.bytes > share && ring.records.len() > 1)
        {
            let Some(oldest) = ring.records.pop_front() else { break };
            let freed = self.order.remove(&oldest).map_or(0, |kept| size(&kept.line));
            ring.bytes -= freed;
            self.bytes -= freed;
            self.evicted += 1;
        }
    }

    fn drop_oldest_ring(&mut self) {
        let oldest = self
            .rings
            .iter()
            .min_by_key(|(_, ring)| ring.records.back().copied().unwrap_or(0))
            .map(|(key, _)| key.clone());
        if let Some(ring) = oldest.and_then(|key| self.rings.remove(&key)) {
            self.bytes -= ring.bytes;
            for cursor in ring.records {
                self.order.remove(&cursor);
            }
        }
    }

    /// Memory that all records take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything that is kept, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Line> {
        self.order.values().map(|kept| &kept.line)
    }

    /// The rings that a filter chooses: two at most for a name, which spares a look at all of them.
    fn chosen(&self, filter: &Filter) -> Vec<(&Key, &Ring)> {
        match filter.exact() {
            Some(service) => [false, true]
                .into_iter()
                .filter(|is_log| filter.wants(*is_log))
                .filter_map(|is_log| self.rings.get_key_value(&(service.to_owned(), is_log)))
                .collect(),
            None => self.rings.iter().filter(|(key, _)| filter.matches(&key.0, key.1)).collect(),
        }
    }

    pub(super) fn read(&self, filter: &Filter, position: &mut Position, max: usize) -> Lines {
        let first = position.evicted.is_none();
        let missed = self.missed(filter, position);
        let found = match filter.exact() {
            Some(_) => self.read_chosen(filter, position, max),
            None => self.read_through(filter, position, max),
        };
        let lines = found.iter().map(|kept| Arc::clone(&kept.line)).collect();
        // What these rings had up to here has been read or passed over. The other ones stand as they
        // stood, so that a page costs what it holds, however many rings there are.
        if first || filter.exact().is_some() {
            for (key, ring) in self.chosen(filter) {
                position.passed.insert(key.clone(), ring.up_to(position.cursor));
            }
            return Lines { lines, missed };
        }
        let touched: BTreeSet<&Key> = found.iter().map(|kept| &*kept.key).collect();
        for key in touched {
            if let Some(ring) = self.rings.get(key) {
                position.passed.insert(key.clone(), ring.up_to(position.cursor));
            }
        }
        Lines { lines, missed }
    }

    /// Reads the rings of one service, and passes over everything else at once.
    fn read_chosen(&self, filter: &Filter, position: &mut Position, max: usize) -> Vec<&Kept> {
        let mut behind: Vec<u64> = Vec::new();
        for (_, ring) in self.chosen(filter) {
            let begin = ring.records.partition_point(|record| *record <= position.cursor);
            behind.extend(ring.records.range(begin..).take(max));
        }
        behind.sort_unstable();
        behind.truncate(max);
        let end = if behind.len() == max { behind.last().copied() } else { self.newest() };
        position.cursor = end.unwrap_or(0).max(position.cursor);
        behind.iter().filter_map(|cursor| self.order.get(cursor)).collect()
    }

    /// Reads all rings in the order of their records.
    fn read_through(&self, filter: &Filter, position: &mut Position, max: usize) -> Vec<&Kept> {
        let behind = (Bound::Excluded(position.cursor), Bound::Unbounded);
        let mut found = Vec::new();
        for (cursor, kept) in self.order.range(behind) {
            if found.len() == max {
                break;
            }
            position.cursor = *cursor;
            if filter.matches(&kept.key.0, kept.key.1) {
                found.push(kept);
            }
        }
        found
    }

    fn newest(&self) -> Option<u64> {
        self.order.last_key_value().map(|(cursor, _)| *cursor)
    }

    /// Records that were thrown away since the last read, or, for a ring that is read for the first
    /// time with a cursor, at least the one between the cursor and the oldest that is kept.
    fn missed(&self, filter: &Filter, position: &mut Position) -> u64 {
        let looked = position.evicted.replace(self.evicted);
        if looked == Some(self.evicted) {
            return 0;
        }
        let mut missed = 0;
        for (key, ring) in self.chosen(filter) {
            match position.passed.get_mut(key) {
                Some(passed) => {
                    missed += ring.evicted().saturating_sub(*passed);
                    *passed = ring.evicted().max(*passed);
                }
                // It is younger than the last look: nothing of it was read yet.
                None if looked.is_some() => {
                    missed += ring.evicted();
                    position.passed.insert(key.clone(), ring.evicted());
                }
                None => {
                    let oldest = ring.records.front().copied().unwrap_or(0);
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
        let mut found: Vec<u64> = match filter.exact() {
            Some(_) => self
                .chosen(filter)
                .iter()
                .flat_map(|(_, ring)| ring.records.iter().rev().take(count).copied())
                .collect(),
            None => self
                .order
                .iter()
                .rev()
                .filter(|(_, kept)| filter.matches(&kept.key.0, kept.key.1))
                .map(|(cursor, _)| *cursor)
                .take(count)
                .collect(),
        };
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(count);
        let oldest = found.last().map(|cursor| cursor - 1);
        let cursor = oldest.or_else(|| self.newest()).unwrap_or(0);
        let passed = self
            .chosen(filter)
            .into_iter()
            .map(|(key, ring)| (key.clone(), ring.up_to(cursor)))
            .collect();
        Position { cursor, passed, evicted: Some(self.evicted) }
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
