//! Calls beside ten actors that compute without end, on the same processors, one call now and then:
//! from component to component, as the caller's clock has it, and from outside the cell's threads.

use std::path::Path;
use std::time::{Duration, Instant};

use super::cell::{Cell, Service, actor, order, times};
use super::talk::deploy_pair;
use super::{HOGS, Scale, pause, processors};
use crate::sheet::Sheet;

/// Instances that there is room for.
const ROOM: usize = 64;

/// Until hogs have been moved to where they will stay.
const SETTLE: Duration = Duration::from_millis(300);

/// Number of the first hog: behind target and driver.
const FIRST_HOG: usize = 10;

/// Measures.
///
/// # Errors
/// A call is not answered.
pub(super) async fn measure(
    directory: &Path,
    scale: &Scale,
    sheet: &mut Sheet,
) -> anyhow::Result<Cell> {
    let cell = Cell::start(processors(), ROOM)?;
    let artifact = actor(directory)?;
    let driver = deploy_pair(&cell, &artifact).await?;
    paced(&cell, &driver, scale, "quiet", sheet).await?;
    for number in 0..HOGS {
        let name = format!("hog-{number}");
        let hog = Service::new(FIRST_HOG + number, &name, &artifact);
        cell.deploy(&hog, 1).await?;
        cell.send(&hog.id(), order(b'S', 0))?;
    }
    tokio::time::sleep(SETTLE).await;
    paced(&cell, &driver, scale, "hogs", sheet).await?;
    Ok(cell)
}

async fn paced(
    cell: &Cell,
    driver: &str,
    scale: &Scale,
    prefix: &str,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let (inside, outside) = (format!("{prefix}.call"), format!("{prefix}.outside"));
    let target = Service::new(1, "target", Path::new("")).id();
    let began = Instant::now();
    for number in 0..scale.paced_calls {
        tokio::time::sleep(pause(number)).await;
        for time in times(&cell.call(driver, order(b'C', 1)).await?) {
            sheet.push(&inside, time);
        }
        tokio::time::sleep(pause(number)).await;
        let called = Instant::now();
        cell.call(&target, order(b'g', 0)).await?;
        sheet.push_time(&outside, called.elapsed());
        if began.elapsed() > scale.paced_for {
            break;
        }
    }
    Ok(())
}
