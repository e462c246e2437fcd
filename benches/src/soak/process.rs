//! The processes of a Solo, and what each of them takes. Reads `/proc`; judges nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Bytes of one kB in `/proc`.
const KB: u64 = 1_024;

/// What one process takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) pss_bytes: u64,
    pub(crate) rss_bytes: u64,
    /// Private writable address space, `VmData`.
    pub(crate) data_bytes: u64,
    pub(crate) threads: u64,
    /// Open file descriptors.
    pub(crate) files: u64,
    /// Memory maps.
    pub(crate) maps: u64,
}

/// Samples by the role of the process: `heart`, `kernel`, `gateway`, or the id of a cell.
pub(crate) type Samples = BTreeMap<String, Sample>;

/// The processes of the Solo whose home this is, by role.
pub(crate) fn processes(home: &Path) -> BTreeMap<String, u32> {
    let home = home.display().to_string();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has just ended has no command line.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains(&home)
            && let Some(role) = role(&line.split('\0').collect::<Vec<_>>())
        {
            found.insert(role, pid);
        }
    }
    found
}

/// The role of a process by its command line.
fn role(words: &[&str]) -> Option<String> {
    match *words {
        [_, "up", ..] => Some("heart".to_owned()),
        [_, role @ ("kernel" | "gateway"), ..] => Some(role.to_owned()),
        [_, "cell", _, "--id", id, ..] => Some(id.to_owned()),
        _ => None,
    }
}

/// What the processes take. One that ends meanwhile is left out.
pub(crate) fn sample(processes: &BTreeMap<String, u32>) -> Samples {
    let one = |(role, pid): (&String, &u32)| Some((role.clone(), read(*pid).ok()?));
    processes.iter().filter_map(one).collect()
}

fn read(pid: u32) -> anyhow::Result<Sample> {
    let text = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
    };
    let (rollup, status) = (text("smaps_rollup")?, text("status")?);
    let maps = text("maps")?.lines().count();
    let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok(Sample {
        pss_bytes: field(&rollup, "Pss")? * KB,
        rss_bytes: field(&rollup, "Rss")? * KB,
        data_bytes: field(&status, "VmData")? * KB,
        threads: field(&status, "Threads")?,
        files: u64::try_from(files)?,
        maps: u64::try_from(maps)?,
    })
}

/// The number in a line `NAME: NUMBER kB` or `NAME: NUMBER`.
fn field(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("there is no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_off_command_lines() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(role(&line.split(' ').collect::<Vec<_>>()).as_deref(), expected, "{line}");
        };
        check("solo up --home h", Some("heart"));
        check("solo kernel --home h", Some("kernel"));
        check("solo gateway --home h", Some("gateway"));
        check("solo cell wasm --id wasm-default --socket h/s", Some("wasm-default"));
        check("solo list --home h", None);
        check("cat h", None);
    }

    #[test]
    fn numbers_are_read_by_their_names() {
        let text = "Rss:     12 kB\nPss:      7 kB\nPss_Anon: 3 kB\nThreads:\t9\n";
        assert_eq!(field(text, "Pss").expect("Pss"), 7);
        assert_eq!(field(text, "Threads").expect("Threads"), 9);
        assert!(field(text, "VmData").is_err());
    }

    #[test]
    fn this_process_takes_something() {
        let own = BTreeMap::from([("own".to_owned(), std::process::id())]);
        let sample = sample(&own)["own"];
        assert!(sample.pss_bytes > 0 && sample.rss_bytes >= sample.pss_bytes);
        assert!(sample.threads > 0 && sample.files > 2 && sample.maps > 2);
    }
}
