//! One more instance of a component that the cell has loaded: until it is ready, `init` included.

use std::path::Path;

use super::cell::{Cell, Service};
use super::{Scale, compiled, processors};
use crate::guests;
use crate::sheet::Sheet;

/// Instances before the first one that counts: the first loads the artifact.
const WARM_UP: usize = 20;

/// Measures.
///
/// # Errors
/// One does not start.
pub(super) async fn measure(
    directory: &Path,
    scale: &Scale,
    sheet: &mut Sheet,
) -> anyhow::Result<Cell> {
    let room = WARM_UP + scale.starts;
    let cell = Cell::start(processors(), room + 4)?;
    let artifact = compiled(directory, "counter", &guests::read("counter")?)?;
    let service = Service::new(1, "counter", &artifact);
    for number in 0..room {
        let time = cell.start_instances(&service, number..number + 1).await?;
        if number >= WARM_UP {
            sheet.push_time("start", time);
        }
    }
    cell.route(&service, room);
    cell.call(&service.id(), crate::requests::get_64()).await?;
    Ok(cell)
}
