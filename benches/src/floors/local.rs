//! What a queue and a table cost inside of one thread.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Puts `count` messages of 64 bytes into a bounded queue of the standard library, then takes them
/// out; the time of one of both together.
///
/// # Errors
/// None that can occur: both ends live.
pub(crate) fn queue_send(count: u32) -> anyhow::Result<Duration> {
    let (sender, receiver) = sync_channel(count as usize);
    let began = Instant::now();
    for _ in 0..count {
        sender.send(black_box(vec![0_u8; 64])).context("the queue is gone")?;
    }
    for _ in 0..count {
        black_box(receiver.recv().context("the queue is gone")?);
    }
    Ok(began.elapsed() / count.max(1))
}

/// Looks a name up in a table of 100 behind a lock, `count` times; the time of one.
///
/// # Errors
/// None that can occur: nobody panics while holding the lock.
pub(crate) fn look_up(count: u32) -> anyhow::Result<Duration> {
    let table: HashMap<String, Arc<()>> =
        (0..100).map(|number| (format!("service-{number}"), Arc::new(()))).collect();
    let table = RwLock::new(table);
    let began = Instant::now();
    for _ in 0..count {
        let table = table.read().ok().context("the lock is poisoned")?;
        black_box(table.get(black_box("service-42")).map(Arc::clone));
    }
    Ok(began.elapsed() / count.max(1))
}
