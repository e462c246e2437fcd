//! The lines of the table of actors: what each is, what it must be, whose figures stand beside it. Pure.

use serde::Serialize;

use super::Found;
use crate::figures::Quantity::{self, Bytes, Count, Ratio, Seconds, Share};
use crate::measure::{Experiment, System};
use crate::stats::Summary;
use crate::targets::{self, Judged, Target, Verdict};

/// A line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) quantity: Quantity,
    /// Of Solo; none: it does not work, see `note`.
    pub(crate) measured: Option<Summary>,
    pub(crate) target: Option<Target>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) note: Option<String>,
    pub(crate) peers: Vec<Peer>,
}

/// The same of another system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Peer {
    pub(crate) system: System,
    /// What was measured there; or why nothing was.
    pub(crate) what: String,
    pub(crate) measured: Option<Summary>,
    /// Solo by this, of the sample that is judged: below 1 Solo takes less.
    pub(crate) ratio: Option<f64>,
}

/// A line before there are figures.
struct Definition {
    name: &'static str,
    experiment: Experiment,
    /// Of the figure in Solo's sheet.
    key: &'static str,
    quantity: Quantity,
    target: Option<Target>,
    /// Missed also if not faster than this peer's figure.
    faster_than: Option<System>,
    peers: &'static [Beside],
}

/// A figure beside it.
enum Beside {
    /// Whose, its key, what it is.
    Figure(System, &'static str, &'static str),
    /// Whose is missing, and why.
    Nothing(System, &'static str),
}

use Beside::{Figure, Nothing};
use System::{Bare, Erlang, Rusm};

const fn row(
    name: &'static str,
    experiment: Experiment,
    key: &'static str,
    quantity: Quantity,
    target: Option<Target>,
    peers: &'static [Beside],
) -> Definition {
    Definition { name, experiment, key, quantity, target, faster_than: None, peers }
}

const DEFINITIONS: &[Definition] = &[
    row(
        "send until handled, one thread",
        Experiment::Talk,
        "send.handled",
        Seconds,
        Some(targets::ACTOR_SEND),
        &[
            Figure(Erlang, "send.handled", "`!` until received"),
            Figure(Rusm, "send.handled", "send until received"),
            Figure(Bare, "send.handled", "queue, then call of handle-cast"),
        ],
    ),
    row(
        "  the sender's part",
        Experiment::Talk,
        "send",
        Seconds,
        None,
        &[
            Figure(Erlang, "send", "`!`"),
            Figure(Rusm, "send", "send"),
            Figure(Bare, "send", "into a queue"),
        ],
    ),
    Definition {
        name: "call and answer, one thread, 64 B",
        experiment: Experiment::Talk,
        key: "call",
        quantity: Seconds,
        target: Some(targets::ACTOR_CALL),
        faster_than: Some(Erlang),
        peers: &[
            Figure(Erlang, "call", "gen_server:call"),
            Figure(Rusm, "call", "send, receive, send back, receive"),
            Figure(Bare, "call", "guest to guest in another store"),
            Figure(Bare, "call.fibers", "the same, a fiber each"),
            Figure(Bare, "call.from_host", "host to guest"),
        ],
    },
    row(
        "  timed one by one",
        Experiment::Talk,
        "call.each",
        Seconds,
        None,
        &[
            Figure(Erlang, "call.each", "gen_server:call"),
            Figure(Rusm, "call.each", "the same as above"),
            Figure(Bare, "call.each", "guest to guest, a fiber each"),
        ],
    ),
    row(
        "call beside 10 CPU hogs",
        Experiment::Hogs,
        "hogs.call",
        Seconds,
        Some(targets::ACTOR_BESIDE_HOGS),
        &[
            Figure(Erlang, "hogs.call", "gen_server:call"),
            Figure(Rusm, "hogs.call", "hogs that yield each ms by hand"),
            Nothing(Bare, "it has no scheduler"),
        ],
    ),
    row(
        "  without hogs",
        Experiment::Hogs,
        "quiet.call",
        Seconds,
        None,
        &[
            Figure(Erlang, "quiet.call", "gen_server:call"),
            Figure(Rusm, "quiet.call", "the same as above"),
        ],
    ),
    row(
        "  beside hogs, from another thread",
        Experiment::Hogs,
        "hogs.outside",
        Seconds,
        Some(targets::ACTOR_BESIDE_HOGS),
        &[],
    ),
    row(
        "  without hogs, from another thread",
        Experiment::Hogs,
        "quiet.outside",
        Seconds,
        None,
        &[],
    ),
    row(
        "crash to answering again",
        Experiment::Crash,
        "crash",
        Seconds,
        Some(targets::ACTOR_CRASH),
        &[
            Figure(Erlang, "crash", "supervisor, gen_server"),
            Figure(Rusm, "crash", "its supervisor"),
            Figure(Bare, "crash", "trap, drop, instantiate, call"),
        ],
    ),
    row(
        "CPU time by weight, 100 hogs, worst error",
        Experiment::Weights,
        "weights.error",
        Share,
        Some(targets::ACTOR_WEIGHTS),
        &[
            Nothing(Erlang, "processes have priorities, no weights"),
            Nothing(Rusm, "processes have no weights"),
            Nothing(Bare, "it has no scheduler"),
        ],
    ),
    row(
        "start of an instance of a loaded artifact",
        Experiment::Start,
        "start",
        Seconds,
        Some(targets::ACTOR_START),
        &[
            Figure(Erlang, "start", "gen_server:start"),
            Figure(Erlang, "spawn", "spawn until it runs"),
            Figure(Rusm, "start", "spawn until it runs"),
            Figure(Bare, "start", "instantiate, init"),
        ],
    ),
    row("  beside all that were started", Experiment::Start, "start.beside", Seconds, None, &[]),
    row(
        "idle services that answer",
        Experiment::Idle,
        "idle.count",
        Count,
        Some(targets::ACTOR_IDLE),
        &[],
    ),
    row(
        "  memory of one",
        Experiment::Idle,
        "idle.bytes",
        Bytes,
        Some(targets::ACTOR_IDLE_MEMORY),
        &[
            Figure(Erlang, "idle.bytes", "gen_server"),
            Figure(Rusm, "idle.bytes", "process"),
            Figure(Bare, "idle.bytes", "instance, no fiber, no mailbox"),
        ],
    ),
    row(
        "cost of a message, 10,000 actors : 10",
        Experiment::Growth,
        "message.ratio.10000",
        Ratio,
        Some(targets::ACTOR_GROWTH),
        &[
            Figure(Erlang, "message.ratio.10000", "gen_server, handle_info"),
            Figure(Rusm, "message.ratio.10000", "process"),
            Nothing(Bare, "it has no messages"),
        ],
    ),
    row(
        "  1,000 : 10",
        Experiment::Growth,
        "message.ratio.1000",
        Ratio,
        None,
        &[
            Figure(Erlang, "message.ratio.1000", "gen_server, handle_info"),
            Figure(Rusm, "message.ratio.1000", "process"),
        ],
    ),
    row(
        "  100 : 10",
        Experiment::Growth,
        "message.ratio.100",
        Ratio,
        None,
        &[
            Figure(Erlang, "message.ratio.100", "gen_server, handle_info"),
            Figure(Rusm, "message.ratio.100", "process"),
        ],
    ),
    row(
        "one message beside 10,000 actors",
        Experiment::Growth,
        "message.10000",
        Seconds,
        None,
        &[
            Figure(Erlang, "message.10000", "gen_server, handle_info"),
            Figure(Rusm, "message.10000", "process"),
        ],
    ),
    row(
        "  beside 10 actors",
        Experiment::Growth,
        "message.10",
        Seconds,
        None,
        &[
            Figure(Erlang, "message.10", "gen_server, handle_info"),
            Figure(Rusm, "message.10", "process"),
        ],
    ),
];

/// Whether a system has a figure in some experiment.
pub(super) fn is_measured(system: System, experiment: Experiment) -> bool {
    let of_peer = |beside: &Beside| matches!(beside, Figure(whose, ..) if *whose == system);
    let of = |row: &Definition| row.experiment == experiment && row.peers.iter().any(of_peer);
    system == System::Solo || DEFINITIONS.iter().any(of)
}

/// The lines, in order.
pub(super) fn rows(found: &Found) -> Vec<Row> {
    DEFINITIONS.iter().filter_map(|definition| definition.row(found)).collect()
}

impl Definition {
    /// Nothing if neither Solo nor anybody else has a figure and nobody failed: a quick run leaves
    /// some out.
    fn row(&self, found: &Found) -> Option<Row> {
        let measured = found.summary(System::Solo, self.key);
        let failure = found.failure(System::Solo, self.experiment);
        let peers: Vec<Peer> =
            self.peers.iter().map(|beside| self.peer(beside, measured.as_ref(), found)).collect();
        if measured.is_none() && failure.is_none() && peers.iter().all(|p| p.measured.is_none()) {
            return None;
        }
        let mut verdict = self.target.map(|target| match &measured {
            Some(summary) => target.judge(summary),
            None => Verdict::Missed,
        });
        let mut note = failure.map(|why| match measured {
            Some(_) => format!("failed once: {why}"),
            None => format!("does not work: {why}"),
        });
        let slower = |peer: &&Peer| {
            Some(peer.system) == self.faster_than && peer.ratio.is_some_and(|ratio| ratio >= 1.0)
        };
        if let Some(faster) = peers.iter().find(slower) {
            verdict = Some(Verdict::Missed);
            note = Some(format!("not faster than {}", faster.what));
        }
        if self.key == "idle.count" {
            let enough = measured.is_some_and(|count| count.p50 < targets::ACTOR_IDLE.required);
            // A quick run does not try what is required.
            verdict = verdict.filter(|_| !enough);
        }
        Some(Row {
            name: self.name.to_owned(),
            quantity: self.quantity,
            measured,
            target: self.target,
            verdict,
            note,
            peers,
        })
    }

    fn peer(&self, beside: &Beside, solo: Option<&Summary>, found: &Found) -> Peer {
        let (system, key, what) = match beside {
            Figure(system, key, what) => (*system, *key, *what),
            Nothing(system, why) => {
                let what = format!("- ({why})");
                return Peer { system: *system, what, measured: None, ratio: None };
            }
        };
        let Some(measured) = found.summary(system, key) else {
            let why = found.failure(system, self.experiment).unwrap_or("not measured");
            return Peer { system, what: format!("- ({why})"), measured: None, ratio: None };
        };
        let judged = |summary: &Summary| match self.target {
            Some(target) => target.judged.of(summary),
            None => Judged::P50.of(summary),
        };
        let ratio = solo.map(|solo| judged(solo) / judged(&measured)).filter(|r| r.is_finite());
        Peer { system, what: what.to_owned(), measured: Some(measured), ratio }
    }
}

impl Found {
    fn summary(&self, system: System, key: &str) -> Option<Summary> {
        self.sheets.get(&system)?.summary(key)
    }

    fn failure(&self, system: System, experiment: Experiment) -> Option<&str> {
        self.missing.get(&(system, experiment)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sheet::Sheet;

    fn found(figures: &[(System, &str, f64)]) -> Found {
        let mut found = Found::default();
        for (system, key, value) in figures {
            found.sheets.entry(*system).or_insert_with(Sheet::default).push(key, *value);
        }
        found
    }

    fn call(figures: &[(System, &str, f64)]) -> Row {
        let found = found(figures);
        rows(&found).into_iter().find(|row| row.name.starts_with("call and answer")).expect("a row")
    }

    #[test]
    fn a_call_must_be_faster_than_erlang() {
        let verdict = |erlang: f64, solo: f64| {
            call(&[(System::Solo, "call", solo), (Erlang, "call", erlang)]).verdict
        };
        assert_eq!(verdict(1.3e-6, 0.7e-6), Some(Verdict::Goal));
        assert_eq!(verdict(1.3e-6, 1.2e-6), Some(Verdict::Required));
        assert_eq!(verdict(1.3e-6, 1.3e-6), Some(Verdict::Missed));
        assert_eq!(verdict(9.0e-6, 2.1e-6), Some(Verdict::Missed));
    }

    #[test]
    fn a_peer_that_is_not_here_says_so() {
        let mut found = found(&[(System::Solo, "call", 1e-6), (Rusm, "call", 0.5e-6)]);
        found.missing.insert((Erlang, Experiment::Talk), "erl is not here".to_owned());
        let rows = rows(&found);
        let row = rows.iter().find(|row| row.name.starts_with("call and answer")).expect("a row");
        assert_eq!(row.verdict, Some(Verdict::Required));
        assert_eq!(row.peers[0].what, "- (erl is not here)");
        assert_eq!(row.peers[1].ratio, Some(2.0));
    }

    #[test]
    fn what_does_not_work_is_missed() {
        let mut found = Found::default();
        found.missing.insert((System::Solo, Experiment::Idle), "CELL_FULL".to_owned());
        let rows = rows(&found);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert!(rows.iter().all(|row| row.verdict == Some(Verdict::Missed)));
        assert_eq!(rows[0].note.as_deref(), Some("does not work: CELL_FULL"));
    }

    #[test]
    fn every_experiment_has_figures_of_solo() {
        assert!(is_measured(System::Solo, Experiment::Weights));
        assert!(!is_measured(Erlang, Experiment::Weights));
        assert!(is_measured(Bare, Experiment::Talk) && !is_measured(Bare, Experiment::Hogs));
        assert!(rows(&Found::default()).is_empty());
    }
}
