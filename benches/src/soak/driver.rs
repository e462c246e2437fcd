//! A driver: play after play, at a bounded rate, until the run ends.
//!
//! What goes wrong it tells with everything that is known, deploys its services anew and goes on, so that
//! one run shows more than one fault.

use std::rc::Rc;
use std::time::Duration;

use anyhow::bail;

use super::household::Household;
use super::shared::{Broken, Outcome, Shared, Trouble};

/// Pause between two plays, in milliseconds: what is tested is not how much Solo can bear at most.
const PAUSE_MS: (u64, u64) = (5, 40);

/// Lines of Solo's own log that are told with a fault.
const LOG_LINES: usize = 12;

/// Deploys the services and plays until the run ends. Gives the household back.
///
/// # Errors
/// Solo does not get over a fault, or there were too many.
pub(crate) async fn drive(mut household: Household) -> anyhow::Result<Household> {
    let shared = Rc::clone(&household.link.shared);
    if let Err(Trouble::Broken(broken)) = household.rebuild().await {
        tell(&household, "the first deployment", &broken).await;
        bail!("the services of {} cannot be deployed", household.driver);
    }
    loop {
        {
            let _turn = shared.gate.read().await;
            if shared.stopping.get() {
                return Ok(household);
            }
            turn(&mut household, &shared).await?;
        }
        let (low, high) = PAUSE_MS;
        tokio::time::sleep(Duration::from_millis(household.random.between(low, high))).await;
    }
}

async fn turn(household: &mut Household, shared: &Shared) -> anyhow::Result<()> {
    if household.link.is_interrupted() {
        // Between two plays: everything should be as it was.
        give_up_on(household, "the return of the API", household.reconnected().await).await?;
    }
    if household.is_distrusted() {
        let recovered = household.recover().await;
        return give_up_on(household, "deploying everything anew", recovered).await;
    }
    let play = household.draw();
    match household.play(play).await {
        Ok(()) => {
            shared.totals.add("plays", 1);
            return Ok(());
        }
        Err(Trouble::Interrupted) => shared.totals.add("plays interrupted", 1),
        Err(Trouble::Broken(broken)) => {
            tell(household, &format!("{play:?}"), &broken).await;
            if shared.has_failed() {
                bail!("there were too many faults");
            }
        }
    }
    let recovered = household.recover().await;
    give_up_on(household, "deploying everything anew", recovered).await
}

async fn give_up_on(household: &Household, what: &str, outcome: Outcome) -> anyhow::Result<()> {
    if let Err(Trouble::Broken(broken)) = outcome {
        tell(household, what, &broken).await;
        bail!("{} does not get over a fault", household.driver);
    }
    Ok(())
}

/// Tells a fault with what is known of the service.
async fn tell(household: &Household, play: &str, broken: &Broken) {
    let Broken { service, what } = broken;
    let link = &household.link;
    let history = link.history.borrow().of(service);
    // As it is now; the answer is for people.
    let status = match link.status(service).await {
        Ok(Ok(status)) => {
            let exit = status.last_exit.as_ref().map(|exit| (&exit.reason, &exit.message));
            let mut text = format!("{:?}, last exit {exit:?}", status.state());
            for one in &status.instances {
                let (state, depth) = (one.state(), one.mailbox_depth);
                let (restarts, handled) = (one.restarts, one.handled);
                text.push_str(&format!(
                    "\n    {} {state:?}, {restarts} restarts, {handled} handled, {depth} wait",
                    one.id
                ));
            }
            text
        }
        other => format!("{other:?}"),
    };
    let log = link.shared.log_end(LOG_LINES);
    link.shared.failed(format!(
        "{} playing {play}: {service}: {what}\n  what was done:{history}\n  status: {status}\n  \
         Solo's log:{log}",
        household.driver
    ));
}
