//! The report as text and as JSON.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::actors::{self, Actors};
use crate::machine::Machine;
use crate::report::{Row, Section};

/// Columns of the table: the first and the last are text, the rest numbers.
const HEADER: [&str; 10] =
    ["", "n", "p50", "p99", "max", "required", "goal", "holds", "floor p50", "x floor"];

/// What goes into the file.
#[derive(Serialize)]
struct Json<'a> {
    quick: bool,
    machine: &'a Machine,
    /// Absent: not part of this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    actors: Option<&'a Actors>,
    sections: &'a [Section],
}

/// Prints everything on standard output.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn print(
    machine: &Machine,
    actors: Option<&Actors>,
    sections: &[Section],
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for picture in sections.iter().flat_map(|section| &section.pictures) {
        writeln!(out, "\n{}", picture.title)?;
        for line in &picture.lines {
            writeln!(out, "  {line}")?;
        }
    }
    let rows: Vec<&Row> = sections.iter().flat_map(|section| &section.rows).collect();
    writeln!(out, "\n{}", machine.text())?;
    if let Some(actors) = actors {
        writeln!(out, "\nActors, one cell: Solo, and its peers in the same run")?;
        writeln!(out, "{}", actors::text(actors))?;
    }
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "Solo as a whole, as its clients see it, and the floor of this machine")?;
    writeln!(out, "{}", table(&rows))?;
    writeln!(
        out,
        "`holds` judges the p99; of messages between services the p50.\nThe floor of each, measured in this run:"
    )?;
    for (what, names) in floors(&rows) {
        writeln!(out, "  {}\n      {what}", names.join("; "))?;
    }
    Ok(())
}

/// Writes everything to `path`.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_json(
    path: &Path,
    quick: bool,
    machine: &Machine,
    actors: Option<&Actors>,
    sections: &[Section],
) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(&Json { quick, machine, actors, sections })?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

/// What each floor is, with the rows that it belongs to, in the order of the table.
fn floors<'a>(rows: &[&'a Row]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        let Some(floor) = &row.floor else { continue };
        let name = row.name.trim();
        match found.iter_mut().find(|(what, _)| *what == floor.what) {
            Some((_, names)) => names.push(name),
            None => found.push((&floor.what, vec![name])),
        }
    }
    found
}

fn table(rows: &[&Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(HEADER);
    for row in rows {
        table.add_row(cells(row));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn cells(row: &Row) -> [String; 10] {
    let text = |value: f64| row.quantity.text(value);
    // One value has no percentiles.
    let several = |value: f64| if row.measured.n > 1 { text(value) } else { String::new() };
    let bound = |value: Option<f64>| value.map(text).unwrap_or_default();
    [
        row.name.clone(),
        row.measured.n.to_string(),
        text(row.measured.p50),
        several(row.measured.p99),
        several(row.measured.max),
        bound(row.target.map(|target| target.required)),
        bound(row.target.map(|target| target.goal)),
        row.verdict.map(|verdict| verdict.as_str().to_owned()).unwrap_or_default(),
        bound(row.floor.as_ref().map(|floor| floor.summary.p50)),
        row.distance.map(|distance| format!("{distance:.1}")).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Quantity;
    use crate::stats::Samples;
    use crate::targets;

    #[test]
    fn a_row_says_what_it_has() {
        let samples: Samples = [0.001, 0.002, 0.005].into_iter().collect();
        let row = Row::new("deploy", Quantity::Seconds, &samples).expect("samples");
        let bare = table(&[&row]);
        assert!(bare.contains("2.00 ms") && !bare.contains("required\n"), "{bare}");
        let row = row.target(targets::DEPLOY_KNOWN).floor("less", &[0.001].into_iter().collect());
        let full = table(&[&row]);
        assert!(full.lines().last().is_some_and(|line| line.ends_with("2.0")), "{full}");
        assert!(full.contains("100 ms") && full.contains(" required "), "{full}");
    }
}
