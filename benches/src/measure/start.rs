//! One more instance of a component that the cell has loaded: until it is ready, `init` included. First
//! each in the place of one that has ended, as the peers do it; then each beside all before it.
//!
//! Who asks stays awake: what it takes to wake a thread of the bench is not the cell's.

use std::path::Path;
use std::task::Poll;

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
    let room = WARM_UP + 2 * scale.starts;
    let cell = Cell::start(processors(), room + 4)?;
    let artifact = compiled(directory, "counter", &guests::read("counter")?)?;
    let service = Service::new(1, "counter", &artifact);
    for number in 0..room {
        let time = awake(cell.start_instances(&service, number..number + 1)).await?;
        let stays = number >= WARM_UP + scale.starts;
        match number {
            0..WARM_UP => {}
            _ if stays => sheet.push_time("start.beside", time),
            _ => sheet.push_time("start", time),
        }
        if !stays {
            cell.kill(&service, number).await;
        }
    }
    cell.route(&service, room);
    cell.call(&service.id(), crate::requests::get_64()).await?;
    Ok(cell)
}

/// Asks a future again and again. Nothing else on this thread runs meanwhile.
async fn awake<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(tokio::task::unconstrained(future));
    std::future::poll_fn(|context| {
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            // The cell may need this processor.
            std::thread::yield_now();
        }
    })
    .await
}
