//! Whether what a Solo takes grew from after the warm-up to the end, and whether all of it came back.
//! Pure.
//!
//! Compared are plateaus: samples taken while nothing is under way and the same services are there.

use comfy_table::{CellAlignment, Table, presets};

use super::process::{Sample, Samples};
use crate::figures::Quantity;

/// Plateaus at either end whose median is compared: one alone may have been taken at a bad moment.
const PLATEAUS_COMPARED: usize = 3;

/// Memory that may be more in the end: what allocators keep of a burst that came late, and slots of instances
/// that were touched for the first time. In two minutes a cell comes from 28 MiB to 40; within an hour to 52,
/// where it stays.
const MEMORY_MORE_BYTES: u64 = 16 << 20;

/// The same as a part of what there was.
const MEMORY_MORE_PERCENT: u64 = 10;

/// Threads and files that may be more: a thread of a pool, a connection that is being made anew.
const HANDLES_MORE: u64 = 8;

/// Memory maps that may be more: each thread has two, the allocators some. One leaked instance has
/// six, and a minute has hundreds of instances.
const MAPS_MORE: u64 = 200;

/// Memory maps of what wasmtime keeps of instances that are gone: up to a hundred memories and
/// their images, and code of the artifacts that were used last.
const MAPS_KEPT: u64 = 700;

/// One of the numbers of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Pss,
    Rss,
    Data,
    Threads,
    Files,
    Maps,
}

impl Figure {
    const ALL: [Self; 6] =
        [Self::Pss, Self::Rss, Self::Data, Self::Threads, Self::Files, Self::Maps];

    fn name(self) -> &'static str {
        match self {
            Self::Pss => "PSS",
            Self::Rss => "RSS",
            Self::Data => "VmData",
            Self::Threads => "threads",
            Self::Files => "fds",
            Self::Maps => "maps",
        }
    }

    fn of(self, sample: &Sample) -> u64 {
        match self {
            Self::Pss => sample.pss_bytes,
            Self::Rss => sample.rss_bytes,
            Self::Data => sample.data_bytes,
            Self::Threads => sample.threads,
            Self::Files => sample.files,
            Self::Maps => sample.maps,
        }
    }

    /// How much more than `base` is still the same. Nothing: it is shown and not judged, as resident
    /// memory counts what is shared and address space costs nothing.
    fn slack(self, base: u64) -> Option<u64> {
        match self {
            Self::Pss => Some((base * MEMORY_MORE_PERCENT / 100).max(MEMORY_MORE_BYTES)),
            Self::Threads | Self::Files => Some(HANDLES_MORE),
            Self::Maps => Some(MAPS_MORE),
            Self::Rss | Self::Data => None,
        }
    }

    fn text(self, value: u64) -> String {
        match self {
            Self::Pss | Self::Rss | Self::Data => Quantity::Bytes.text(approximately(value)),
            Self::Threads | Self::Files | Self::Maps => value.to_string(),
        }
    }
}

/// One figure of one process at two times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) process: String,
    pub(crate) figure: Figure,
    pub(crate) before: u64,
    pub(crate) after: u64,
    /// More than is explained.
    pub(crate) grew: bool,
}

/// Compares the first plateaus after the warm-up with the last ones. Nothing where there are too few.
pub(crate) fn over_time(plateaus: &[Samples]) -> Option<Vec<Change>> {
    let compared = PLATEAUS_COMPARED.min(plateaus.len() / 2);
    if compared == 0 {
        return None;
    }
    let (first, last) = (&plateaus[..compared], &plateaus[plateaus.len() - compared..]);
    Some(compare(&medians(first), &medians(last), |figure, before| figure.slack(before)))
}

/// Compares what an empty Solo took before anything was deployed with after all was killed. Its
/// memory is that of the busy Solo, and not judged.
pub(crate) fn emptied(before: &Samples, after: &Samples) -> Vec<Change> {
    compare(before, after, |figure, _| match figure {
        Figure::Threads | Figure::Files => Some(HANDLES_MORE),
        Figure::Maps => Some(MAPS_KEPT),
        Figure::Pss | Figure::Rss | Figure::Data => None,
    })
}

fn compare(
    before: &Samples,
    after: &Samples,
    slack: impl Fn(Figure, u64) -> Option<u64>,
) -> Vec<Change> {
    let both = after.iter().filter_map(|(name, after)| Some((name, before.get(name)?, after)));
    let figures = both.flat_map(|(name, before, after)| {
        Figure::ALL.map(|figure| (name, figure, figure.of(before), figure.of(after)))
    });
    let change = |(name, figure, before, after): (&String, Figure, u64, u64)| Change {
        process: name.clone(),
        figure,
        before,
        after,
        grew: slack(figure, before).is_some_and(|slack| after > before + slack),
    };
    figures.map(change).collect()
}

/// Of each figure of each process the median.
fn medians(plateaus: &[Samples]) -> Samples {
    let mut medians = Samples::new();
    for name in plateaus.iter().flat_map(Samples::keys) {
        let of = |figure: Figure| {
            let values = plateaus.iter().filter_map(|samples| samples.get(name));
            let mut values: Vec<u64> = values.map(|sample| figure.of(sample)).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let sample = Sample {
            pss_bytes: of(Figure::Pss),
            rss_bytes: of(Figure::Rss),
            data_bytes: of(Figure::Data),
            threads: of(Figure::Threads),
            files: of(Figure::Files),
            maps: of(Figure::Maps),
        };
        medians.insert(name.clone(), sample);
    }
    medians
}

/// Of each figure of each process the larger one.
pub(crate) fn peaks(peaks: &mut Samples, samples: &Samples) {
    for (name, sample) in samples {
        let peak = peaks.entry(name.clone()).or_default();
        *peak = Sample {
            pss_bytes: peak.pss_bytes.max(sample.pss_bytes),
            rss_bytes: peak.rss_bytes.max(sample.rss_bytes),
            data_bytes: peak.data_bytes.max(sample.data_bytes),
            threads: peak.threads.max(sample.threads),
            files: peak.files.max(sample.files),
            maps: peak.maps.max(sample.maps),
        };
    }
}

/// A row per process, a column per figure.
pub(crate) fn table(changes: &[Change], peaks: Option<&Samples>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let names = Figure::ALL.map(Figure::name);
    table.set_header(std::iter::once("").chain(names));
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let row = rest.iter().take_while(|change| change.process == first.process).count();
        let (row, others) = rest.split_at(row);
        let peak = peaks.and_then(|peaks| peaks.get(&first.process));
        let cells = row.iter().map(|change| cell(change, peak));
        table.add_row(std::iter::once(first.process.clone()).chain(cells));
        rest = others;
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn cell(change: &Change, peak: Option<&Sample>) -> String {
    let Change { figure, before, after, grew, .. } = change;
    let mut text = format!("{} > {}", figure.text(*before), figure.text(*after));
    if let Some(peak) = peak {
        text.push_str(&format!(" ({})", figure.text(figure.of(peak))));
    }
    if *grew {
        text.push_str(" GREW");
    }
    text
}

/// What grew, a sentence each.
pub(crate) fn grown(changes: &[Change]) -> Vec<String> {
    let grown = changes.iter().filter(|change| change.grew);
    let sentence = |change: &Change| {
        let Change { process, figure, before, after, .. } = change;
        let (before, after) = (figure.text(*before), figure.text(*after));
        format!("{process}: {} grew from {before} to {after}", figure.name())
    };
    grown.map(sentence).collect()
}

/// Bytes as a float: exact up to 4 PiB.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn approximately(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn samples(pss_bytes: u64, threads: u64, files: u64, maps: u64) -> Samples {
        let (rss_bytes, data_bytes) = (2 * pss_bytes, 3 * pss_bytes);
        let sample = Sample { pss_bytes, rss_bytes, data_bytes, threads, files, maps };
        Samples::from([("cell".to_owned(), sample)])
    }

    fn check(first: Samples, last: Samples, expected: &[&str]) {
        let plateaus = [first.clone(), first, last.clone(), last];
        assert_eq!(grown(&over_time(&plateaus).expect("enough")), expected);
    }

    #[test]
    fn a_little_more_is_the_same() {
        check(samples(50 * MIB, 9, 30, 800), samples(66 * MIB, 17, 38, 1_000), &[]);
        check(samples(500 * MIB, 9, 30, 800), samples(550 * MIB, 1, 3, 8), &[]);
    }

    #[test]
    fn more_than_that_grew() {
        let base = || samples(50 * MIB, 9, 30, 800);
        check(base(), samples(67 * MIB, 9, 30, 800), &["cell: PSS grew from 50.0 MiB to 67.0 MiB"]);
        check(base(), samples(50 * MIB, 18, 30, 800), &["cell: threads grew from 9 to 18"]);
        check(
            base(),
            samples(50 * MIB, 9, 39, 1_001),
            &["cell: fds grew from 30 to 39", "cell: maps grew from 800 to 1001"],
        );
    }

    #[test]
    fn one_odd_plateau_at_an_end_changes_nothing() {
        let (usual, odd) = (samples(50 * MIB, 9, 30, 800), samples(500 * MIB, 90, 300, 8_000));
        let mut plateaus = vec![usual.clone(); 6];
        plateaus[5] = odd;
        assert_eq!(grown(&over_time(&plateaus).expect("enough")), [] as [&str; 0]);
        assert_eq!(over_time(&plateaus[..1]), None);
    }

    #[test]
    fn an_emptied_solo_gives_everything_back() {
        let before = samples(50 * MIB, 9, 30, 800);
        let judge = |after: Samples| grown(&emptied(&before, &after));
        assert_eq!(judge(samples(90 * MIB, 12, 33, 1_400)), [] as [&str; 0]);
        let leaked = judge(samples(90 * MIB, 9, 60, 5_000));
        assert_eq!(leaked, ["cell: fds grew from 30 to 60", "cell: maps grew from 800 to 5000"]);
    }

    #[test]
    fn the_table_has_a_row_per_process() {
        let changes = emptied(&samples(MIB, 1, 2, 3), &samples(2 * MIB, 1, 99, 3));
        let mut most = samples(MIB, 7, 1, 1);
        peaks(&mut most, &samples(9 * MIB, 1, 1, 1));
        let text = table(&changes, Some(&most));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("1.00 MiB > 2.00 MiB (9.00 MiB)"), "{text}");
        assert!(text.contains("1 > 1 (7)") && text.contains("2 > 99 (1) GREW"), "{text}");
    }
}
