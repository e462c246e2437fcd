//! What the program's tree uses: counted by the system for what has ended, read in `/proc` for what runs.

use std::fs;
use std::path::Path;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

use solo_sandbox::Watch;

use crate::wire::messages::{self, Usage};

/// Processes that are looked at; a sandbox with more tells of this many.
const PROCESSES_MAX: usize = 4_096;

/// Processor time, and the largest process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) user_micros: u64,
    pub(super) system_micros: u64,
    pub(super) max_rss_bytes: u64,
}

impl Used {
    /// By all that has ended and was reaped since this process began.
    pub(super) fn by_ended() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Self::default() };
        let micros = |time: nix::sys::time::TimeVal| {
            let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
            seconds * 1_000_000 + u64::try_from(time.tv_usec()).unwrap_or_default()
        };
        Self {
            user_micros: micros(usage.user_time()),
            system_micros: micros(usage.system_time()),
            max_rss_bytes: u64::try_from(usage.max_rss()).unwrap_or_default() * 1_024,
        }
    }
}

/// The same as the control group counts it.
pub(super) fn of_group(watch: &Watch) -> messages::Group {
    let usage = watch.usage();
    messages::Group {
        memory_bytes: usage.memory_bytes,
        cpu_micros: usage.cpu_micros,
        throttled_micros: usage.throttled_micros,
        processes: usage.processes,
        processes_refused: usage.processes_refused,
        oom_kills: usage.oom_kills,
    }
}

/// What is used now. Processes that hide from their own user are not seen.
pub(super) fn now(before: Used) -> Usage {
    let ended = Used::by_ended();
    let mut usage = Usage {
        user_micros: ended.user_micros.saturating_sub(before.user_micros),
        system_micros: ended.system_micros.saturating_sub(before.system_micros),
        ..Usage::default()
    };
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    let per_second = per_second.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1);
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4_096);
    let Ok(processes) = fs::read_dir("/proc") else { return usage };
    let numbers = processes.filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse::<u32>().ok()?;
        (number != 1).then_some(number)
    });
    for number in numbers.take(PROCESSES_MAX) {
        let read =
            |name| fs::read_to_string(Path::new("/proc").join(number.to_string()).join(name));
        // It may have ended meanwhile.
        let (Ok(stat), Ok(statm)) = (read("stat"), read("statm")) else { continue };
        let Some((user, system)) = ticks(&stat) else { continue };
        usage.processes += 1;
        usage.rss_bytes += resident(&statm).unwrap_or_default().saturating_mul(page);
        usage.user_micros += user.saturating_mul(1_000_000) / per_second;
        usage.system_micros += system.saturating_mul(1_000_000) / per_second;
    }
    usage
}

/// Ticks in user and system mode. The name before them may hold anything, but ends with the last `)`.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse().ok();
    Some((next()?, next()?))
}

/// Resident pages.
fn resident(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_any_name() {
        let stat = "7 (a) b ) (c) S 1 7 7 0 -1 4194304 1 2 3 4 55 66 7 8 20 0 1 0";
        assert_eq!(ticks(stat), Some((55, 66)));
        assert_eq!(ticks("7 (a"), None);
        assert_eq!(ticks("7 (a) S 1"), None);
        assert_eq!(resident("100 42 3"), Some(42));
        assert_eq!(resident(""), None);
    }
}
