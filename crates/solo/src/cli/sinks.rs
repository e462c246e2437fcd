//! `solo audit sinks`: how far the sinks of the audit log are, as the kernel of this home tells it.
//!
//! Reads the report in the home, like the other commands of `solo audit`; asks nobody.

use serde::Serialize;
use solo_kernel::{SinkReport, SinksReport};

use super::Failure;
use super::context::Context;
use super::node::{Addresses, Process};
use crate::output::{duration_us, table};

/// What is shown.
#[derive(Debug, Serialize)]
struct SinksJson {
    /// Whether a kernel feeds them now; else this is how it was when it last did.
    running: bool,
    /// Number of the last record of the log.
    log_seq: u64,
    sinks: Vec<SinkReport>,
}

/// Shows the report.
pub(super) fn show(context: &Context) -> Result<(), Failure> {
    let home = context.home()?;
    let report = SinksReport::read(home).map_err(|error| {
        let cause = format!("how the sinks are cannot be read: {error}");
        Failure::local("AUDIT_UNREADABLE", cause, "run it as the owner of the home")
    })?;
    let json = match report {
        None => SinksJson { running: false, log_seq: 0, sinks: Vec::new() },
        Some(SinksReport { kernel_pid, log_seq, mut sinks }) => {
            let is_up = |pid| Process::find(pid).is_some();
            let heart = Addresses::read(home).map(|node| node.heart_pid);
            let running = heart.is_some_and(is_up) && is_up(kernel_pid);
            if !running {
                sinks.iter_mut().for_each(|sink| "stopped".clone_into(&mut sink.state));
            }
            SinksJson { running, log_seq, sinks }
        }
    };
    context.output.show(&json, text)
}

fn text(json: &SinksJson) -> String {
    if json.sinks.is_empty() {
        return "no sinks: audit.toml in the home names them when Solo starts\n".to_owned();
    }
    let row = |sink: &SinkReport| {
        vec![
            sink.name.clone(),
            sink.state.clone(),
            sink.delivered_seq.to_string(),
            sink.lag_records.to_string(),
            duration_us(sink.lag_ms.saturating_mul(1_000)),
            sink.lost_records.to_string(),
            sink.to.clone(),
            sink.last_error.clone(),
        ]
    };
    let header = ["NAME", "STATE", "DELIVERED", "LAG", "AGE", "LOST", "TO", "LAST ERROR"];
    table(&header, &[2, 3, 4, 5], json.sinks.iter().map(row).collect())
}
