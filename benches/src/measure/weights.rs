//! A hundred hogs with weights of 1, 2, 4 and 8: how far each is from its share of the time that all
//! of them got, as the cell accounts for it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::cell::{Cell, Service, actor, order};
use super::{Scale, processors};
use crate::sheet::Sheet;

/// Actors that compute.
const COMPETITORS: usize = 100;

/// Their weights in turn, relative to the default.
const WEIGHTS: [u64; 4] = [1, 2, 4, 8];

/// The weight of 1: an eighth of the default, so that none is above it.
const SHARES: u64 = 128;

/// Until all of them run.
const SETTLE: Duration = Duration::from_millis(500);

/// Measures.
///
/// # Errors
/// One of them does not run.
pub(super) async fn measure(
    directory: &Path,
    scale: &Scale,
    sheet: &mut Sheet,
) -> anyhow::Result<Cell> {
    let cell = Cell::start(processors(), COMPETITORS + 4)?;
    let artifact = actor(directory)?;
    let mut weights = Vec::new();
    let names: Vec<String> = (1..=COMPETITORS).map(|number| format!("hog-{number}")).collect();
    let hogs: Vec<Service<'_>> = (1..)
        .zip(&names)
        .zip(WEIGHTS.iter().cycle())
        .map(|((number, name), weight)| Service {
            cpu_shares: SHARES * weight,
            ..Service::new(number, name, &artifact)
        })
        .collect();
    for hog in &hogs {
        cell.deploy(hog, 1).await?;
        weights.push((hog.id(), hog.cpu_shares));
    }
    for hog in &hogs {
        cell.send(&hog.id(), order(b'S', 0))?;
    }
    tokio::time::sleep(SETTLE).await;
    let before = cell.processor_time()?;
    tokio::time::sleep(scale.weighed_for).await;
    let after = cell.processor_time()?;
    for error in errors(&weights, &before, &after) {
        sheet.push("weights.error", error);
    }
    sheet.note(&format!(
        "{COMPETITORS} hogs competed on {} processors for {} s",
        processors(),
        scale.weighed_for.as_secs()
    ));
    Ok(cell)
}

/// By how much each differs from its share, relative to that share.
fn errors(
    weights: &[(String, u64)],
    before: &HashMap<String, f64>,
    after: &HashMap<String, f64>,
) -> Vec<f64> {
    let time = |id: &String| {
        let at = |times: &HashMap<String, f64>| times.get(id).copied().unwrap_or(0.0);
        at(after) - at(before)
    };
    let weight = |weight: u64| f64::from(u32::try_from(weight).unwrap_or(u32::MAX));
    let all: f64 = weights.iter().map(|(id, _)| time(id)).sum();
    let sum: f64 = weights.iter().map(|(_, shares)| weight(*shares)).sum();
    let error = |(id, shares): &(String, u64)| {
        let due = all * weight(*shares) / sum;
        if due > 0.0 { (time(id) / due - 1.0).abs() } else { 1.0 }
    };
    weights.iter().map(error).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_relative_to_the_share() {
        let times = |a: f64, b: f64| {
            HashMap::from([("a".to_owned(), a), ("b".to_owned(), b), ("other".to_owned(), 9.0)])
        };
        let weights = [("a".to_owned(), 128), ("b".to_owned(), 384)];
        let found = errors(&weights, &times(10.0, 10.0), &times(110.0, 310.0));
        assert_eq!(found, [0.0, 0.0]);
        let equal = [("a".to_owned(), 128), ("b".to_owned(), 128)];
        let found = errors(&equal, &times(0.0, 0.0), &times(100.0, 300.0));
        assert_eq!(found, [0.5, 0.5]);
        assert_eq!(errors(&weights, &times(0.0, 0.0), &times(0.0, 0.0)), [1.0, 1.0]);
    }
}
