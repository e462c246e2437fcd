//! When a program is ready: it says so, accepts connections, answers a GET, or has lived for a while.
//!
//! Waits without end; who starts a program has a deadline for that.

use std::time::Duration;

use solo_types::Readiness;
use tokio::sync::watch;

use super::http::{Http, dial};
use super::link::{Link, LinkError};

/// Between two tries. Doubles from the first to the last: most programs are ready soon.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
const PAUSE_LAST: Duration = Duration::from_millis(50);

/// Waits until the program of `link` is ready. `said`: whether it said so over a socket of its own.
///
/// # Errors
/// The sandbox is gone. The end of the program is for others to see.
pub(super) async fn wait(
    link: &Link,
    ready: &Readiness,
    port: u16,
    mut said: Option<watch::Receiver<bool>>,
) -> Result<(), LinkError> {
    let mut pause = PAUSE_FIRST;
    loop {
        match ready {
            Readiness::After(0) => return Ok(()),
            Readiness::After(ms) => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                return Ok(());
            }
            Readiness::Notify => {
                let mut told = link.told();
                let notified = told.wait_for(|told| told.ready);
                let lost = |_| LinkError::Lost("it ended".to_owned());
                let Some(said) = &mut said else { return notified.await.map(drop).map_err(lost) };
                return tokio::select! {
                    notified = notified => notified.map(drop).map_err(lost),
                    said = said.wait_for(|said| *said) => said.map(drop).map_err(lost),
                };
            }
            Readiness::Listening => match dial(link, port).await {
                Ok(_) => return Ok(()),
                Err(lost @ LinkError::Lost(_)) => return Err(lost),
                Err(_) => {}
            },
            Readiness::Http(path) => {
                let status = Http::new(port).get(link, path).await;
                if status.is_ok_and(|status| status.as_u16() < 400) {
                    return Ok(());
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LAST);
    }
}
