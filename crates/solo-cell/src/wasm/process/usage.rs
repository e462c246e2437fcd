//! What a program takes, asked for at intervals: the figures of its instance, and the limits that it ran into.
//!
//! The limits are the system's to keep; here they are told of.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use solo_process::wire::messages::program_answer::Tell;
use solo_process::wire::messages::program_request::Ask;
use solo_process::wire::messages::{GetUsage, Usage};
use solo_types::LimitAction;

use super::super::failure::Fault;
use super::super::faults::Life;
use super::super::slot::Slot;
use super::super::violations::Limit;
use super::link::Link;

/// Between two looks: people look at figures.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was seen at the last look.
struct Seen {
    cpu_us: u64,
    processes_refused: u64,
    throttled_us: u64,
    oom_kills: u64,
}

/// Keeps the figures of `slot`, until the sandbox is gone.
pub(super) async fn watch(link: Arc<Link>, slot: Arc<Slot>, life: Life) {
    let mut seen: Option<Seen> = None;
    while let Ok((Tell::Usage(usage), _)) = link.ask(Ask::GetUsage(GetUsage {})).await {
        seen = Some(note(&slot, life, &usage, seen));
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Notes one look. What a control group counts goes on over the lives in it: the first look is where this one
/// begins.
fn note(slot: &Slot, life: Life, usage: &Usage, before: Option<Seen>) -> Seen {
    let group = usage.group.unwrap_or_default();
    let has_group = usage.group.is_some();
    let memory = if has_group { group.memory_bytes } else { usage.rss_bytes };
    let own_us = usage.user_micros.saturating_add(usage.system_micros);
    let now = Seen {
        cpu_us: if has_group { group.cpu_micros } else { own_us },
        processes_refused: group.processes_refused,
        throttled_us: group.throttled_micros,
        oom_kills: group.oom_kills,
    };
    let before = before.unwrap_or(Seen {
        cpu_us: if has_group { now.cpu_us.saturating_sub(own_us) } else { 0 },
        processes_refused: now.processes_refused,
        throttled_us: now.throttled_us,
        oom_kills: now.oom_kills,
    });
    let throttled_us = now.throttled_us.saturating_sub(before.throttled_us);
    let figures = &slot.figures;
    figures.memory_bytes.store(memory, Ordering::Relaxed);
    figures.outside_us.fetch_add(now.cpu_us.saturating_sub(before.cpu_us), Ordering::Relaxed);
    figures.outside_throttled_us.fetch_add(throttled_us, Ordering::Relaxed);
    let service = &slot.service;
    let action = service.limit_action;
    let (max_processes, max_memory) = (service.max_processes, service.max_memory_bytes);
    if now.processes_refused > before.processes_refused {
        let message = format!("max_processes = {max_processes} exceeded: another one was refused");
        slot.violated(Limit::Processes, action, || message.clone());
        if action == LimitAction::Kill {
            slot.inject(life, Fault::limit(message));
        }
    }
    if now.oom_kills > before.oom_kills {
        // It was one of many, or its end would have come first.
        let message =
            format!("max_memory_bytes = {max_memory} exceeded: the system ended a process");
        slot.violated(Limit::Memory, LimitAction::Kill, || message.clone());
        slot.inject(life, Fault::limit(message));
    }
    if action == LimitAction::Warn && group.processes > max_processes {
        let count = group.processes;
        slot.violated(Limit::Processes, action, || {
            format!("{count} processes and threads; max_processes = {max_processes}")
        });
    }
    if action == LimitAction::Warn && memory > max_memory {
        slot.violated(Limit::Memory, action, || {
            format!("{memory} bytes are in use; max_memory_bytes = {max_memory}")
        });
    }
    if throttled_us > 0 {
        let percent = service.cpu_quota_percent;
        slot.violated(Limit::Cpu, LimitAction::Throttle, || {
            format!("slowed down to cpu_quota_percent = {percent}")
        });
    }
    now
}
