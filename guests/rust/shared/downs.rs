//! What a guest was told of the end of others: the latest downs, as JSON lines.
//!
//! Each guest that wants it includes this file (`#[path]`).

use crate::exports::solo::service::down_handler::Down;
use crate::text::quote;
use std::collections::VecDeque;

/// Downs that are kept. The oldest go first: a soak makes very many.
const DOWNS_MAX: usize = 1_000;

/// The latest downs.
#[derive(Default)]
pub struct Downs {
    kept: VecDeque<String>,
    /// Also those that are not kept any more.
    pub received: u64,
}

impl Downs {
    /// Keeps one more, and returns its line.
    pub fn add(&mut self, down: &Down) -> String {
        self.received += 1;
        if self.kept.len() == DOWNS_MAX {
            self.kept.pop_front();
        }
        let line = line(down);
        self.kept.push_back(line.clone());
        line
    }

    /// The kept ones, oldest first, one a line. None: empty.
    pub fn lines(&self) -> String {
        self.kept.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

fn line(down: &Down) -> String {
    let Down { monitor, restarts, .. } = down;
    let [service, instance, reason, message] =
        [&down.service, &down.instance, &down.reason, &down.message].map(|text| quote(text));
    format!(
        r#"{{"monitor":{monitor},"service":{service},"instance":{instance},"reason":{reason},"message":{message},"restarts":{restarts}}}"#
    )
}
