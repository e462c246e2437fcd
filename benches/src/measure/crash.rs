//! An actor crashes in a call: how long until its caller has an answer of its successor.

use std::path::Path;
use std::time::Duration;

use super::cell::{Cell, actor, one_of, order, word};
use super::talk::deploy_pair;
use super::{Scale, processors};
use crate::sheet::Sheet;
use crate::stats::float;

/// Instances that there is room for.
const ROOM: usize = 64;

/// Between two crashes, longer than the window in which they are counted.
const PAUSE: Duration = Duration::from_millis(5);

/// Measures.
///
/// # Errors
/// It does not come back.
pub(super) async fn measure(
    directory: &Path,
    scale: &Scale,
    sheet: &mut Sheet,
) -> anyhow::Result<Cell> {
    let cell = Cell::start(processors(), ROOM)?;
    let driver = deploy_pair(&cell, &actor(directory)?).await?;
    for crash in 0..=scale.crashes {
        let answer = cell.call(&driver, order(b'x', 1)).await?;
        // The first one finds the code that restarts cold.
        if crash > 0 {
            sheet.push("crash", one_of(word(&answer, 0)?, 1));
            sheet.push("crash.calls", float(usize::try_from(word(&answer, 1)?)?));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(cell)
}
