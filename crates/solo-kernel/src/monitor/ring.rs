//! Records in memory: one ring per service and kind, so that a service that floods its log throws
//! away its own lines only.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::{Filter, Page, Position, Record};

/// Lines that a ring keeps: what a person scrolls back through.
const RING_RECORDS_MAX: usize = 1_000;

/// All rings together. Beyond it every ring gets an equal share.
const TOTAL_BYTES_MAX: usize = 64 << 20;

/// What a record costs beside its texts: numbers, pointers, and what the allocator adds to each text.
const RECORD_OVERHEAD_BYTES: usize = 420;

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

    /// Records up to `cursor`, those that were thrown away included.
    fn up_to(&self, cursor: u64) -> u64 {
        let kept = self.records.partition_point(|record| record.cursor <= cursor);
        self.evicted() + kept as u64
    }
}

/// All rings, and the order over all of them.
#[derive(Debug, Default)]
pub(super) struct Rings {
    rings: HashMap<Key, Ring>,
    order: BTreeMap<u64, Arc<Record>>,
    bytes: usize,
    /// Records that were thrown away to make room in their own ring, ever.
    evicted: u64,
}

fn size(record: &Record) -> usize {
    let position = record.position.as_ref().map_or(0, |(incarnation, _)| incarnation.len());
    let names = record.service.len() + record.instance.len() + position;
    record.body.bytes() + names + RECORD_OVERHEAD_BYTES
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
            self.evicted += 1;
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

    /// Memory that all records take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything that is kept, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Record>> {
        self.order.values().cloned().collect()
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

    pub(super) fn read(&self, filter: &Filter, position: &mut Position, max: usize) -> Page {
        let first = position.evicted.is_none();
        let mut page = Page { missed: self.missed(filter, position), ..Page::default() };
        match filter.exact() {
            Some(_) => self.read_chosen(filter, position, max, &mut page),
            None => self.read_through(filter, position, max, &mut page),
        }
        // What these rings had up to here has been read or passed over. The other ones stand as they
        // stood, so that a page costs what it holds, however many rings there are.
        if first || filter.exact().is_some() {
            for (key, ring) in self.chosen(filter) {
                position.passed.insert(key.clone(), ring.up_to(position.cursor));
            }
            return page;
        }
        let touched: BTreeSet<_> = page
            .records
            .iter()
            .map(|record| (record.service.as_str(), record.body.is_log()))
            .collect();
        for (service, is_log) in touched {
            let key = (service.to_owned(), is_log);
            if let Some(ring) = self.rings.get(&key) {
                position.passed.insert(key, ring.up_to(position.cursor));
            }
        }
        page
    }

    /// Reads the rings of one service, and passes over everything else at once.
    fn read_chosen(&self, filter: &Filter, position: &mut Position, max: usize, page: &mut Page) {
        let mut behind: Vec<_> = Vec::new();
        for (_, ring) in self.chosen(filter) {
            let begin = ring.records.partition_point(|record| record.cursor <= position.cursor);
            behind.extend(ring.records.range(begin..).take(max).cloned());
        }
        behind.sort_unstable_by_key(|record| record.cursor);
        behind.truncate(max);
        let end = if behind.len() == max { behind.last().map(|r| r.cursor) } else { self.newest() };
        position.cursor = end.unwrap_or(0).max(position.cursor);
        page.records = behind;
    }

    /// Reads all rings in the order of their records.
    fn read_through(&self, filter: &Filter, position: &mut Position, max: usize, page: &mut Page) {
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
        let newest_of = |records: &mut dyn Iterator<Item = &Arc<Record>>| {
            records.take(count).map(|record| record.cursor).collect::<Vec<_>>()
        };
        let mut found = match filter.exact() {
            Some(_) => self
                .chosen(filter)
                .iter()
                .flat_map(|(_, ring)| newest_of(&mut ring.records.iter().rev()))
                .collect(),
            None => newest_of(
                &mut self
                    .order
                    .values()
                    .rev()
                    .filter(|record| filter.matches(&record.service, record.body.is_log())),
            ),
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
