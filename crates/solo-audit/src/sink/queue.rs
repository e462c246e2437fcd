//! The queue of one sink: bounded, in order, at least once. Pure: time comes in.
//!
//! One batch is under way at a time. It is handed out again, the same, until it succeeds; there is
//! no number of failures after which records are given up.

use std::collections::VecDeque;
use std::sync::Arc;

use super::backoff::Backoff;
use super::cursor::Cursor;
use crate::chain::{RECORD_BYTES_MAX, Record};

/// Bounds of a queue. Values below what one record needs count as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    /// Records that wait, the batch under way included.
    pub records_max: usize,
    /// Bytes of their lines.
    pub bytes_max: usize,
    /// Records of one batch.
    pub batch_records_max: usize,
    /// Bytes of the lines of one batch; a single record may be more.
    pub batch_bytes_max: usize,
    /// Wait after the first failure.
    pub backoff_initial_ms: u64,
    /// Longest wait, also where the sink asks for a longer one.
    pub backoff_max_ms: u64,
}

impl Default for QueueOptions {
    /// Two seconds of a node that is as busy as it can be, in batches that any receiver takes;
    /// waits from half a second to a minute.
    fn default() -> Self {
        Self {
            records_max: 4_096,
            bytes_max: 4 << 20,
            batch_records_max: 256,
            batch_bytes_max: 256 << 10,
            backoff_initial_ms: 500,
            backoff_max_ms: 60_000,
        }
    }
}

/// What became of a record that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It waits.
    Taken,
    /// There is no room: offer it again after the next success.
    Full,
    /// It was delivered or waits already.
    Known,
    /// Another record must come first; nothing was taken.
    Gap {
        /// Which.
        expected_seq: u64,
    },
}

/// Records to be sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In order, at least one.
    pub records: Vec<Arc<Record>>,
    /// How often this batch was handed out, from 1.
    pub attempt: u32,
}

/// What a driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this, then tell [`DeliveryQueue::succeeded`] or [`DeliveryQueue::failed`].
    Send(Batch),
    /// A failed batch rests: ask again at this time.
    WaitUntil {
        /// By the clock that [`DeliveryQueue::next_step`] was asked with.
        at_ms: u64,
    },
    /// A batch is under way.
    Busy,
    /// Nothing waits.
    Idle,
}

/// How far a sink is behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Records in the log that were not delivered.
    pub records: u64,
    /// Age of the oldest of them.
    pub age_ms: u64,
    /// Failures since the last success.
    pub failures: u32,
}

/// What waits for one sink.
#[derive(Debug)]
pub struct DeliveryQueue {
    options: QueueOptions,
    backoff: Backoff,
    /// Each with the bytes of its line.
    waiting: VecDeque<(Arc<Record>, usize)>,
    bytes: usize,
    /// How many of `waiting` make up the batch that was handed out and has not succeeded yet.
    batch: usize,
    under_way: bool,
    failures: u32,
    not_before_ms: u64,
    cursor: Cursor,
    /// Newest record of the log, and since when there has been something that was not delivered.
    log_seq: u64,
    behind_since_unix_ms: Option<u64>,
}

impl DeliveryQueue {
    /// Begins behind what was delivered. `seed` decides the jitter.
    #[must_use]
    pub fn new(options: QueueOptions, delivered: Cursor, seed: u64) -> Self {
        Self {
            options: QueueOptions {
                records_max: options.records_max.max(1),
                bytes_max: options.bytes_max.max(RECORD_BYTES_MAX),
                batch_records_max: options.batch_records_max.max(1),
                ..options
            },
            backoff: Backoff::new(options.backoff_initial_ms, options.backoff_max_ms, seed),
            waiting: VecDeque::new(),
            bytes: 0,
            batch: 0,
            under_way: false,
            failures: 0,
            not_before_ms: 0,
            cursor: delivered,
            log_seq: delivered.seq,
            behind_since_unix_ms: None,
        }
    }

    /// The record to offer next.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.waiting.back().map_or(self.cursor.seq, |(last, _)| last.seq).saturating_add(1)
    }

    /// Offers the next record of the log.
    pub fn offer(&mut self, record: &Arc<Record>) -> Offer {
        let expected_seq = self.next_seq();
        if record.seq < expected_seq {
            return Offer::Known;
        }
        if record.seq > expected_seq {
            return Offer::Gap { expected_seq };
        }
        let bytes = record.line_bytes();
        let fits = self.bytes.saturating_add(bytes) <= self.options.bytes_max;
        if self.waiting.len() >= self.options.records_max || !fits {
            return Offer::Full;
        }
        self.bytes += bytes;
        self.waiting.push_back((Arc::clone(record), bytes));
        self.log_moved(record.seq, record.at_unix_ms);
        Offer::Taken
    }

    /// Tells that the log has a record `seq`, written at `at_unix_ms`: for the lag, before the record
    /// was read for this sink.
    pub fn log_moved(&mut self, seq: u64, at_unix_ms: u64) {
        if self.log_seq <= self.cursor.seq && seq > self.cursor.seq {
            self.behind_since_unix_ms = Some(at_unix_ms);
        }
        self.log_seq = self.log_seq.max(seq);
    }

    /// Says what to do at `now_ms` (any clock that does not go back). A batch that failed is the
    /// same when it is handed out again.
    pub fn next_step(&mut self, now_ms: u64) -> Step {
        if self.under_way {
            return Step::Busy;
        }
        if self.waiting.is_empty() {
            return Step::Idle;
        }
        if now_ms < self.not_before_ms {
            return Step::WaitUntil { at_ms: self.not_before_ms };
        }
        if self.batch == 0 {
            self.batch = self.batch_of_front();
        }
        self.under_way = true;
        let records = self.waiting.iter().take(self.batch);
        let records = records.map(|(record, _)| Arc::clone(record)).collect();
        Step::Send(Batch { records, attempt: self.failures.saturating_add(1) })
    }

    fn batch_of_front(&self) -> usize {
        let mut bytes = 0_usize;
        let fits = |(_, more): &&(Arc<Record>, usize)| {
            bytes = bytes.saturating_add(*more);
            bytes <= self.options.batch_bytes_max
        };
        self.waiting.iter().take(self.options.batch_records_max).take_while(fits).count().max(1)
    }

    /// The batch under way was confirmed. Answers the cursor to keep before it counts as delivered:
    /// if the process dies earlier, the batch is sent again. None if no batch is under way.
    pub fn succeeded(&mut self) -> Option<Cursor> {
        if !self.under_way {
            return None;
        }
        for (record, bytes) in self.waiting.drain(..self.batch) {
            self.bytes -= bytes;
            self.cursor = Cursor::behind(&record);
        }
        self.batch = 0;
        self.under_way = false;
        self.failures = 0;
        self.not_before_ms = 0;
        // Of what was not read yet, all is younger than what was delivered last.
        let is_behind = self.log_seq > self.cursor.seq;
        let next = self.waiting.front().map_or(self.cursor.at_unix_ms, |(next, _)| next.at_unix_ms);
        self.behind_since_unix_ms = is_behind.then_some(next);
        Some(self.cursor)
    }

    /// The batch under way failed, or nobody knows what became of it: it rests, then goes out again.
    /// `retry_after_ms`: what the sink asked for, if it did. Does nothing if no batch is under way.
    pub fn failed(&mut self, now_ms: u64, retry_after_ms: Option<u64>) {
        if !self.under_way {
            return;
        }
        self.under_way = false;
        self.failures = self.failures.saturating_add(1);
        let wait_ms = self.backoff.wait_ms(self.failures);
        let asked_ms = retry_after_ms.unwrap_or(0).min(self.options.backoff_max_ms);
        self.not_before_ms = now_ms.saturating_add(wait_ms.max(asked_ms));
    }

    /// What was delivered.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How far the sink is behind what [`Self::log_moved`] and [`Self::offer`] told of the log.
    #[must_use]
    pub fn lag(&self, now_unix_ms: u64) -> Lag {
        let records = self.log_seq.saturating_sub(self.cursor.seq);
        let since = self.behind_since_unix_ms.filter(|_| records > 0);
        let age_ms = since.map_or(0, |since| now_unix_ms.saturating_sub(since));
        Lag { records, age_ms, failures: self.failures }
    }

    /// Records that wait, and the bytes of their lines.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.bytes)
    }
}
