//! What drivers and conductor share: the clock of the run, counts, the gate, outages, what went wrong.
//!
//! All of them run on one thread, so that cells do. Holds state and decides nothing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use solo_api::Client;
use tokio::sync::RwLock;

use super::model::Model;
use super::services::Codes;
use super::totals::Totals;

/// Lines of one service that are kept: the last plays, with what they did before it went wrong.
const LINES_MAX: usize = 40;

/// Bytes at the end of Solo's log that are looked at.
const LOG_BYTES: i64 = 128 << 10;

/// Longest text in a line.
const TEXT_MAX: usize = 160;

/// What must not happen.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) service: String,
    pub(crate) what: String,
}

/// Why a play did not come to its end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The kernel was killed meanwhile, on purpose: what became of the operation is open.
    Interrupted,
    /// Solo did what it must not.
    Broken(Broken),
}

/// What a play comes to.
pub(crate) type Outcome<T = ()> = Result<T, Trouble>;

/// Shared by all.
#[derive(Debug)]
pub(crate) struct Shared {
    began: Instant,
    pub(crate) totals: Totals,
    pub(crate) codes: Codes,
    /// Where the gateway listens.
    pub(crate) gateway: String,
    /// The owner's token.
    pub(crate) token: String,
    /// What Solo's processes log.
    log: PathBuf,
    /// A driver holds it shared while it plays; who holds it alone has a quiet Solo.
    pub(crate) gate: RwLock<()>,
    /// Drivers end at the next chance.
    pub(crate) stopping: Cell<bool>,
    /// How often the kernel was killed.
    pub(crate) outages: Cell<u64>,
    /// It is away right now.
    pub(crate) is_out: Cell<bool>,
    /// How often what was there differed from what should have been: then all is deployed anew.
    pub(crate) distrusted: Cell<u64>,
    /// What should be there, of each driver.
    pub(crate) models: RefCell<Vec<Rc<RefCell<Model>>>>,
    /// What went wrong, with everything that is known of it.
    pub(crate) failures: RefCell<Vec<String>>,
    /// With so many the run ends.
    faults_max: usize,
}

impl Shared {
    /// A run that begins now.
    pub(crate) fn new(
        codes: Codes,
        gateway: String,
        token: String,
        log: PathBuf,
        faults_max: usize,
    ) -> Self {
        Self {
            began: Instant::now(),
            totals: Totals::default(),
            codes,
            gateway,
            token,
            log,
            gate: RwLock::new(()),
            stopping: Cell::new(false),
            outages: Cell::new(0),
            is_out: Cell::new(false),
            distrusted: Cell::new(0),
            models: RefCell::default(),
            failures: RefCell::default(),
            faults_max,
        }
    }

    /// Since the beginning of the run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether there were so many faults that the run ends.
    pub(crate) fn has_failed(&self) -> bool {
        self.failures.borrow().len() >= self.faults_max
    }

    /// What should be there of all drivers.
    pub(crate) fn model(&self) -> Model {
        let models = self.models.borrow();
        models.iter().flat_map(|model| model.borrow().clone()).collect()
    }

    /// The last things that Solo's processes complained of.
    pub(crate) fn log_end(&self, lines: usize) -> String {
        let read = || {
            let mut file = File::open(&self.log)?;
            let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
            file.seek(SeekFrom::End(-length.min(LOG_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().filter(|line| !line.contains(" INFO ")).collect();
        let last = &all[all.len().saturating_sub(lines)..];
        last.iter().map(|line| format!("\n    {line}")).collect()
    }

    /// Notes what went wrong, and tells it at once.
    pub(crate) fn failed(&self, what: String) {
        crate::endings::say(&format!("\nsoak: {:.1} s: {what}\n", self.elapsed().as_secs_f64()));
        self.failures.borrow_mut().push(what);
    }
}

/// What was done to each service of a driver, latest last.
#[derive(Debug, Default)]
pub(crate) struct History(BTreeMap<String, VecDeque<String>>);

impl History {
    /// Notes one line.
    pub(crate) fn note(&mut self, service: &str, line: String) {
        let lines = self.0.entry(service.to_owned()).or_default();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines of one service.
    pub(crate) fn of(&self, service: &str) -> String {
        let lines = self.0.get(service).into_iter().flatten();
        lines.map(|line| format!("\n    {line}")).collect()
    }
}

/// A driver's way to Solo: a connection, and the history of what it did.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) shared: Rc<Shared>,
    pub(crate) history: Rc<RefCell<History>>,
    /// Outages before this play began: an error after a later one says nothing.
    outages_known: Rc<Cell<u64>>,
}

impl Link {
    /// Nothing was done with it so far.
    pub(crate) fn new(client: Client, shared: Rc<Shared>) -> Self {
        let outages_known = Rc::new(Cell::new(shared.outages.get()));
        Self { client, shared, history: Rc::default(), outages_known }
    }

    /// From here on only later outages explain an error.
    pub(crate) fn forget_outages(&self) {
        self.outages_known.set(self.shared.outages.get());
    }

    /// Whether the kernel was killed since this play began.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.shared.is_out.get() || self.outages_known.get() != self.shared.outages.get()
    }

    /// Counts.
    pub(crate) fn count(&self, name: &'static str, count: u64) {
        self.shared.totals.add(name, count);
    }

    /// Notes what was done to a service and what came of it.
    pub(crate) fn note(&self, service: &str, began: Instant, what: &str, outcome: &str) {
        let at = self.shared.elapsed().saturating_sub(began.elapsed()).as_secs_f64();
        let took = began.elapsed().as_secs_f64() * 1e3;
        let line = format!("{at:9.3} s +{took:.1} ms  {} -> {}", short(what), short(outcome));
        self.history.borrow_mut().note(service, line);
    }

    /// This must not happen.
    pub(crate) fn broken(&self, service: &str, what: impl Into<String>) -> Trouble {
        if self.is_interrupted() {
            return Trouble::Interrupted;
        }
        Trouble::Broken(Broken { service: service.to_owned(), what: what.into() })
    }
}

/// The beginning of a text, on one line.
pub(crate) fn short(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_MAX);
    let rest = text.len() - end;
    let text = text[..end].replace('\n', " | ");
    if rest == 0 { text } else { format!("{text}... and {rest} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lines_are_kept() {
        let mut history = History::default();
        for number in 0..LINES_MAX + 5 {
            history.note("a", format!("line {number}."));
        }
        let text = history.of("a");
        assert_eq!(text.lines().count(), 1 + LINES_MAX);
        assert!(!text.contains("line 4.") && text.contains("line 5."), "{text}");
        assert_eq!(history.of("b"), "");
    }

    #[test]
    fn texts_are_cut() {
        assert_eq!(short("a\nb"), "a | b");
        assert!(short(&"ä".repeat(1_000)).ends_with("... and 1840 bytes"));
    }
}
