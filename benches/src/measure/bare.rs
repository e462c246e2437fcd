//! The experiments in wasmtime with nothing around it: the same components, Solo's engine settings.

use anyhow::bail;

use super::cell::{one_of, order as message, times, word};
use super::{Experiment, Order, Scale};
use crate::floors::{Engines, Way};
use crate::guests;
use crate::machine::pss;
use crate::requests::get_64;
use crate::sheet::Sheet;
use crate::stats::{float, slope};

/// Instances at which memory is read: the growth from one to the next is theirs.
const LEVELS: [usize; 2] = [100, 500];

/// Starts before the first one that counts.
const WARM_UP: usize = 20;

/// Measures.
///
/// # Errors
/// Something does not work.
pub(super) fn measure(order: &Order, scale: &Scale) -> anyhow::Result<Sheet> {
    let engines = Engines::new()?;
    let mut sheet = Sheet::default();
    match order.experiment {
        Experiment::Talk => talk(&engines, order, scale, &mut sheet)?,
        Experiment::Crash => {
            let actor = engines.load(guests::ACTOR, "crash", &order.directory)?;
            for _ in 0..scale.crashes {
                let (trap, answer) = (message(b't', 0), message(b'g', 0));
                sheet.push_time("crash", actor.trap_and_answer(&trap, &answer)?);
            }
        }
        Experiment::Start => {
            let counter = engines.load(&guests::read("counter")?, "start", &order.directory)?;
            for number in 0..WARM_UP + scale.starts {
                let began = std::time::Instant::now();
                let live = counter.start()?;
                if number >= WARM_UP {
                    sheet.push_time("start", began.elapsed());
                }
                drop(live);
            }
        }
        Experiment::Idle => {
            let counter = engines.load(&guests::read("counter")?, "idle", &order.directory)?;
            let (mut live, mut points) = (Vec::new(), Vec::new());
            for level in LEVELS {
                while live.len() < level {
                    let mut one = counter.start()?;
                    one.call(&get_64())?;
                    live.push(one);
                }
                points.push((float(level), pss(std::process::id())?));
            }
            if let Some(bytes) = slope(&points) {
                sheet.push("idle.bytes", bytes);
            }
        }
        Experiment::Hogs | Experiment::Weights => bail!("it has no scheduler"),
        Experiment::Growth => bail!("it has no messages"),
    }
    Ok(sheet)
}

fn talk(engines: &Engines, order: &Order, scale: &Scale, sheet: &mut Sheet) -> anyhow::Result<()> {
    let count = scale.per_batch;
    let mut direct = engines.pair(guests::ACTOR, &order.directory, Way::Direct)?;
    let mut fibers = engines.pair(guests::ACTOR, &order.directory, Way::Fibers)?;
    let mut alone = engines.load(guests::ACTOR, "alone", &order.directory)?.start()?;
    // The first batch warms up.
    for batch in 0..=scale.batches {
        let sends = direct.call(message(b's', count))?;
        let calls = direct.call(message(b'c', count))?;
        let on_fibers = fibers.call(message(b'c', count))?;
        let from_host = alone.calls(&message(b'g', 0), count)?;
        if batch > 0 {
            sheet.push("send", one_of(word(&sends, 0)?, count));
            sheet.push("send.handled", one_of(word(&sends, 1)?, count));
            sheet.push("call", one_of(word(&calls, 0)?, count));
            sheet.push("call.fibers", one_of(word(&on_fibers, 0)?, count));
            sheet.push_time("call.from_host", from_host);
        }
    }
    for time in times(&fibers.call(message(b'C', scale.single_calls))?) {
        sheet.push("call.each", time);
    }
    Ok(())
}
