//! The kernel's version and the sizes that bound a node. Reads `/proc` only.

use std::fs;
use std::thread::available_parallelism;

use crate::Item;

/// Oldest kernel with all that Solo uses: Landlock and `CLONE_INTO_CGROUP` (5.13).
const KERNEL_MIN: (u32, u32) = (5, 13);

/// Memory maps of one process: from so many on a wasm cell has room for all the instances that its
/// address space can hold, which is more than the goal (SPEC 9).
const MAPS_WANTED: u64 = 80_000;

/// How a wasm cell computes its room from the setting: maps of an instance and one to spare, maps of
/// the cell itself, and what the address space allows.
const MAPS_PER_INSTANCE: u64 = 7;
const MAPS_OF_CELL: u64 = 5_500;
const INSTANCES_MAX: u64 = 10_500;

/// Process ids of the machine: what Linux itself starts with on small machines.
const PIDS_WANTED: u64 = 32_768;

/// The goal's 10,000 services at 35 KB each, the kernel and a few runtimes fit easily.
const MEMORY_WANTED: u64 = 1 << 30;

pub(crate) fn detect() -> Vec<Item> {
    vec![version(), cores(), memory(), maps(), pids()]
}

/// Reads a file of one number.
pub(crate) fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn version() -> Item {
    const REMEDY: &str = "run Solo on Linux 5.13 or newer";
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = text.trim();
    match parse_version(text) {
        None => Item::unknown("kernel", format!("unreadable version {text:?}"), REMEDY),
        Some(version) if version < KERNEL_MIN => {
            Item::limited("kernel", format!("Linux {text}: no Landlock"), REMEDY)
        }
        Some(_) => Item::available("kernel", format!("Linux {text}")),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn cores() -> Item {
    match available_parallelism() {
        Ok(count) => Item::available("cores", format!("{count}")),
        Err(error) => Item::unknown("cores", error.to_string(), "mount /proc and /sys"),
    }
}

fn memory() -> Item {
    const REMEDY: &str = "give the machine, the container or the control group more memory";
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(total) = meminfo_bytes(&text, "MemTotal") else {
        return Item::unknown("memory", "/proc/meminfo is not readable", "mount /proc");
    };
    let free = meminfo_bytes(&text, "MemAvailable").unwrap_or(0);
    let mib = |bytes: u64| bytes >> 20;
    let detail = format!("{} MiB, of which {} MiB are available", mib(total), mib(free));
    if free < MEMORY_WANTED {
        Item::limited("memory", detail, REMEDY)
    } else {
        Item::available("memory", detail)
    }
}

fn meminfo_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn maps() -> Item {
    const REMEDY: &str = "as root: sysctl -w vm.max_map_count=1048576 (a file in /etc/sysctl.d keeps \
                          it), or start with `solo up --raise-map-count`; running cells keep the \
                          room that they started with";
    let room = |count: u64| {
        let instances = count.saturating_sub(MAPS_OF_CELL) / MAPS_PER_INSTANCE;
        let instances = instances.min(INSTANCES_MAX);
        format!("{count}: room for {instances} instances per wasm cell, about 6.5 maps each")
    };
    match read_number("/proc/sys/vm/max_map_count") {
        None => Item::unknown("max_map_count", "not readable", REMEDY),
        Some(count) if count < MAPS_WANTED => Item::limited("max_map_count", room(count), REMEDY),
        Some(count) => Item::available("max_map_count", room(count)),
    }
}

fn pids() -> Item {
    const REMEDY: &str = "as root: sysctl -w kernel.pid_max=4194304";
    match read_number("/proc/sys/kernel/pid_max") {
        None => Item::unknown("pid_max", "not readable", REMEDY),
        Some(count) if count < PIDS_WANTED => {
            Item::limited("pid_max", format!("{count} processes and threads"), REMEDY)
        }
        Some(count) => Item::available("pid_max", format!("{count} processes and threads")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_understood() {
        assert_eq!(parse_version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(parse_version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(parse_version("6.1"), Some((6, 1)));
        assert_eq!(parse_version("linux"), None);
        assert!((5, 4) < KERNEL_MIN && (6, 1) > KERNEL_MIN);
    }

    #[test]
    fn memory_is_read_by_whole_key() {
        let text = "MemTotalX: 1 kB\nMemTotal:       2048 kB\nMemFree: 7 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal"), Some(2 << 20));
        assert_eq!(meminfo_bytes(text, "MemAvailable"), None);
    }
}
