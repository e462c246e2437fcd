//! What a guest writes becomes reports: whole lines, cleaned, at a bounded rate.
//!
//! Bytes of standard output and error are gathered to lines. What exceeds the rate is counted and
//! told in a later line; the last words before an end or a silence are kept, as they say why. Nothing here
//! waits for a reader.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::clock;
use super::failure::cut;
use super::message::Trace;
use super::slot::Figures;
use crate::reports::{Report, Reports};

/// Longest line; more is cut, and a line of output that is longer is split.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;

/// Lines that an instance may write at once: a long backtrace or a start-up banner.
const LINES_BURST: f64 = 2_000.0;

/// Lines per second that an instance may write for long: a few such services fill the ring in
/// seconds, which a kernel that restarts should still find.
const LINES_PER_SECOND: f64 = 1_000.0;

/// Lines over the rate that are told at an end, or once a second: the last ones.
const LAST_LINES: usize = 16;

/// All of those together.
const LAST_BYTES: usize = 16 << 10;

/// How long lines that were dropped stay untold when nothing else is written.
const DROPPED_TOLD_AFTER: Duration = Duration::from_secs(1);

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes the lines of one instance.
#[derive(Debug)]
pub(crate) struct Logger {
    reports: Arc<Reports>,
    service: Arc<str>,
    instance: Arc<str>,
    figures: Arc<Figures>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stdout: Lines,
    stderr: Lines,
    bucket: Bucket,
    /// Lines over the rate that were not told yet.
    dropped: u64,
    /// The last of the lines over the rate, not among those.
    last: LastLines,
    telling: bool,
}

/// One line with its level and source.
#[derive(Debug)]
struct Line {
    level: &'static str,
    source: &'static str,
    message: String,
}

/// A bounded number of lines; the oldest go.
#[derive(Debug, Default)]
struct LastLines {
    lines: VecDeque<Line>,
    bytes: usize,
}

/// Gathers bytes to lines.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Logger {
    /// The logger of `instance`.
    pub(crate) fn new(
        reports: Arc<Reports>,
        service: Arc<str>,
        instance: Arc<str>,
        figures: Arc<Figures>,
    ) -> Self {
        let state = State {
            stdout: Lines::default(),
            stderr: Lines::default(),
            bucket: Bucket { tokens: LINES_BURST, at: Instant::now() },
            dropped: 0,
            last: LastLines::default(),
            telling: false,
        };
        Self { reports, service, instance, figures, state: Mutex::new(state) }
    }

    /// Takes one line of the `log` interface, or of the host about this instance.
    pub(crate) fn line(self: &Arc<Self>, level: &'static str, message: &str) {
        self.emit(&mut self.state.lock(), level, "log", message);
    }

    /// Takes bytes of an output stream.
    pub(crate) fn write(self: &Arc<Self>, stream: Stream, bytes: &[u8]) {
        let state = &mut *self.state.lock();
        let lines = match stream {
            Stream::Stdout => &mut state.stdout,
            Stream::Stderr => &mut state.stderr,
        };
        let mut whole = Vec::new();
        lines.feed(bytes, |line| whole.push(line));
        for line in whole {
            self.emit(state, stream.level(), stream.name(), &line);
        }
    }

    /// Ends lines that were not finished, and tells what was dropped: an incarnation ended.
    pub(crate) fn flush(self: &Arc<Self>) {
        let state = &mut *self.state.lock();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let lines = match stream {
                Stream::Stdout => &mut state.stdout,
                Stream::Stderr => &mut state.stderr,
            };
            if let Some(line) = lines.finish() {
                self.emit(state, stream.level(), stream.name(), &line);
            }
        }
        self.tell_last(state);
    }

    fn emit(
        self: &Arc<Self>,
        state: &mut State,
        level: &'static str,
        source: &'static str,
        message: &str,
    ) {
        if !state.bucket.take(Instant::now()) {
            state.dropped += state.last.push(level, source, message);
            if !state.telling {
                state.telling = true;
                self.tell_later();
            }
            return;
        }
        state.dropped += state.last.clear();
        self.tell_dropped(state);
        self.push(level, source, clean(message));
    }

    /// Tells the last lines over the rate, and how many there were before them.
    fn tell_last(&self, state: &mut State) {
        self.tell_dropped(state);
        for Line { level, source, message } in std::mem::take(&mut state.last).lines {
            self.push(level, source, clean(&message));
        }
    }

    fn tell_dropped(&self, state: &mut State) {
        let dropped = std::mem::take(&mut state.dropped);
        if dropped > 0 {
            let message = format!(
                "{dropped} lines were dropped: more than {LINES_BURST} at once or {LINES_PER_SECOND} per second"
            );
            self.push("warn", "log", message);
        }
    }

    /// Tells what was dropped also when the service falls silent.
    fn tell_later(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let logger = Arc::clone(self);
        // Ends by itself after one wait, and at most one runs per logger.
        runtime.spawn(async move {
            tokio::time::sleep(DROPPED_TOLD_AFTER).await;
            let state = &mut *logger.state.lock();
            state.telling = false;
            logger.tell_last(state);
        });
    }

    fn push(&self, level: &'static str, source: &'static str, message: String) {
        let half = |half: usize| self.figures.trace[half].load(Ordering::Relaxed);
        let trace = Trace([half(0), half(1)]);
        self.reports.push(
            clock::unix_ms(),
            Arc::clone(&self.service),
            Arc::clone(&self.instance),
            Report::Log { level, message, source, trace },
        );
    }
}

impl LastLines {
    /// Adds one, and tells how many had to go for it.
    fn push(&mut self, level: &'static str, source: &'static str, message: &str) -> u64 {
        let message = &message[..message.floor_char_boundary(LINE_BYTES_MAX + 1)];
        let mut gone = 0;
        // A flood reuses the room of the lines that go.
        let mut room = String::new();
        while self.lines.len() >= LAST_LINES || self.bytes + message.len() > LAST_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.message.len();
            room = oldest.message;
            gone += 1;
        }
        room.clear();
        room.push_str(message);
        self.bytes += room.len();
        self.lines.push_back(Line { level, source, message: room });
        gone
    }

    /// Forgets all, and tells how many there were.
    fn clear(&mut self) -> u64 {
        self.bytes = 0;
        self.lines.drain(..).count() as u64
    }
}

impl Stream {
    fn level(self) -> &'static str {
        match self {
            Self::Stdout => "info",
            Self::Stderr => "error",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let mut text = text;
            while self.partial.len() + text.len() > LINE_BYTES_MAX {
                let (head, rest) = text.split_at(LINE_BYTES_MAX - self.partial.len());
                self.partial.extend_from_slice(head);
                text = rest;
                emit(self.take());
            }
            self.partial.extend_from_slice(text);
            if ended {
                emit(self.take());
            }
        }
    }

    fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.partial);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        String::from_utf8_lossy(bytes).into_owned()
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * LINES_PER_SECOND).min(LINES_BURST);
        self.at = now;
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

/// Cuts to the longest line and cleans.
fn clean(message: &str) -> String {
    // Cut before as well: cleaning makes longer, and what is cut off need not be cleaned.
    let end = message.floor_char_boundary(LINE_BYTES_MAX + 1);
    cut(crate::clean::clean(&message[..end]).into_owned(), LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(writes: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for bytes in writes {
            lines.feed(bytes, |line| out.push(line));
        }
        out.extend(lines.finish());
        out
    }

    #[test]
    fn lines_are_gathered_over_writes() {
        assert_eq!(split(&[b"a", b"b\nc\r\n", b"\nd"]), ["ab", "c", "", "d"]);
        assert_eq!(split(&[]), Vec::<String>::new());
    }

    #[test]
    fn long_lines_are_split_and_bytes_replaced() {
        let long = vec![b'x'; 2 * LINE_BYTES_MAX + 1];
        let lens: Vec<usize> = split(&[&long]).iter().map(String::len).collect();
        assert_eq!(lens, [LINE_BYTES_MAX, LINE_BYTES_MAX, 1]);
        assert_eq!(split(&[b"a\xff\n"]), ["a\u{fffd}"]);
    }

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(clean("a\tb\x1b[31m\0"), "a\tb\\u{1b}[31m\\u{0}");
        assert_eq!(clean("a\u{202e}b"), "a\\u{202e}b");
        assert!(clean(&"\x1b".repeat(LINE_BYTES_MAX)).len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn what_exceeds_the_rate_is_told() {
        let reports = Arc::new(Reports::new());
        let logger =
            Arc::new(Logger::new(Arc::clone(&reports), "s".into(), "s-1".into(), Arc::default()));
        for _ in 0..5_000 {
            logger.line("info", "x");
        }
        logger.flush();
        let entries = reports.read(0, usize::MAX);
        let told: u64 = entries
            .iter()
            .filter_map(|entry| match &entry.report {
                Report::Log { message, .. } => message
                    .split_once(" lines were dropped")
                    .map(|(count, _)| count.parse().unwrap_or(0)),
                _ => None,
            })
            .sum();
        let lines = entries
            .iter()
            .filter(|e| matches!(&e.report, Report::Log { message, .. } if message == "x"));
        assert_eq!(lines.count() as u64 + told, 5_000);
        assert!(told > 1_000, "{told}");
    }

    #[test]
    fn the_last_words_of_a_flood_are_kept() {
        let reports = Arc::new(Reports::new());
        let logger =
            Arc::new(Logger::new(Arc::clone(&reports), "s".into(), "s-1".into(), Arc::default()));
        for _ in 0..100_000 {
            logger.write(Stream::Stdout, b"x\n");
        }
        logger.write(Stream::Stderr, b"out of luck\nunfinished");
        logger.flush();
        let entries = reports.read(0, usize::MAX);
        let last: Vec<_> = entries.iter().rev().take(3).map(|entry| &entry.report).collect();
        for (report, expected) in last.iter().zip([
            ("error", "unfinished", "stderr"),
            ("error", "out of luck", "stderr"),
            ("info", "x", "stdout"),
        ]) {
            let Report::Log { level, message, source, .. } = report else { panic!("{report:?}") };
            assert_eq!((*level, message.as_str(), *source), expected);
        }
    }

    #[test]
    fn the_last_words_are_bounded() {
        let mut last = LastLines::default();
        let mut gone = 0;
        for length in [1, LAST_BYTES, 10, LINE_BYTES_MAX, LINE_BYTES_MAX, 3] {
            gone += last.push("info", "log", &"é".repeat(length));
            assert!(last.bytes <= LAST_BYTES && last.lines.len() <= LAST_LINES);
            assert_eq!(last.bytes, last.lines.iter().map(|line| line.message.len()).sum::<usize>());
        }
        for _ in 0..100 {
            gone += last.push("info", "log", "");
        }
        assert_eq!((last.lines.len(), gone), (LAST_LINES, 106 - LAST_LINES as u64));
        assert_eq!(last.clear(), LAST_LINES as u64);
    }
}
