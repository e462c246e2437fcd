//! The table of actors as text: Solo's line, and below it one per peer. Pure.

use comfy_table::{CellAlignment, Table, presets};

use super::rows::{Peer, Row};
use super::{Actors, System};
use crate::figures::Quantity;
use crate::stats::Summary;
use crate::targets::Verdict;

/// Columns: the first is text, the rest numbers.
const HEADER: [&str; 9] = ["", "n", "p50", "p99", "max", "must", "aim", "holds", "Solo is"];

/// What the table needs said below it.
const LEGEND: &str =
    "`holds` judges the p50 of messages, the p99 of times that are a promise, the worst of errors.
`Solo is`: Solo's judged figure by the peer's, both of this run; below 1.0 x Solo takes less.";

impl System {
    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Solo => "Solo",
            Self::Erlang => "Erlang",
            Self::Rusm => "rusm-otp",
            Self::Bare => "wasmtime",
        }
    }
}

/// The table and what goes with it.
pub(crate) fn text(actors: &Actors) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(HEADER);
    for row in &actors.rows {
        table.add_row(cells(row));
        for peer in &row.peers {
            table.add_row(peer_cells(row.quantity, peer));
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    text.push('\n');
    text.push_str(LEGEND);
    text.push('\n');
    for row in &actors.rows {
        if let Some(note) = &row.note {
            text.push_str(&format!("  {}: {note}\n", row.name.trim()));
        }
    }
    for note in &actors.notes {
        text.push_str(&format!("  {note}\n"));
    }
    text
}

fn numbers(quantity: Quantity, summary: Option<&Summary>) -> [String; 4] {
    let Some(summary) = summary else { return Default::default() };
    let text = |value: f64| quantity.text(value);
    if summary.n == 1 {
        // One value has no percentiles.
        return ["1".to_owned(), text(summary.p50), String::new(), String::new()];
    }
    [summary.n.to_string(), text(summary.p50), text(summary.p99), text(summary.max)]
}

fn cells(row: &Row) -> [String; 9] {
    let [n, p50, p99, max] = numbers(row.quantity, row.measured.as_ref());
    let bound = |value: Option<f64>| value.map(|v| row.quantity.text(v)).unwrap_or_default();
    let holds = row.verdict.map_or("", |verdict| match verdict {
        Verdict::Goal => "aim",
        Verdict::Required => "must",
        Verdict::Missed => "MISSED",
    });
    [
        row.name.clone(),
        n,
        p50,
        p99,
        max,
        bound(row.target.map(|target| target.required)),
        bound(row.target.map(|target| target.goal)),
        holds.to_owned(),
        String::new(),
    ]
}

fn peer_cells(quantity: Quantity, peer: &Peer) -> [String; 9] {
    let [n, p50, p99, max] = numbers(quantity, peer.measured.as_ref());
    let name = format!("      {}: {}", peer.system.name(), peer.what);
    let ratio = peer.ratio.map(|ratio| Quantity::Ratio.text(ratio)).unwrap_or_default();
    [name, n, p50, p99, max, String::new(), String::new(), String::new(), ratio]
}

#[cfg(test)]
mod tests {
    use super::super::{Found, growth, rows};
    use super::*;
    use crate::sheet::Sheet;

    #[test]
    fn peers_stand_below_solo() {
        let mut found = Found::default();
        for (system, value) in [(System::Solo, 0.6e-6), (System::Erlang, 1.2e-6)] {
            let mut sheet = Sheet::default();
            sheet.push("call", value);
            sheet.push("call", value);
            found.sheets.insert(system, sheet);
        }
        let growth = growth::Growth::of(&mut found, &[10]);
        let actors = Actors {
            rows: rows::rows(&found),
            growth,
            notes: vec!["n".to_owned()],
            broken: Vec::new(),
        };
        let text = text(&actors);
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|line| line.starts_with(" call and")).expect("a line");
        assert!(lines[at].contains("600 ns") && lines[at].ends_with("aim"), "{text}");
        assert!(lines[at + 1].contains("Erlang: gen_server:call"), "{text}");
        assert!(lines[at + 1].ends_with("0.50 x"), "{text}");
    }
}
