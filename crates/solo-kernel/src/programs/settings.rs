//! What the operator wants of external programs, from `programs.toml` in the home.
//!
//! A file, and no operation of the API: no token may show a directory of the machine to programs.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use solo_capability::Object;
use solo_types::{Problem, ProblemKind};

use crate::settings::{line_of, read_text};

/// What programs see of the machine if nothing else is said: what the system's programs and
/// interpreters are made of, nothing of which is anybody's own.
const SHOWN: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/services",
];

/// Sandboxes that are kept ready, if nothing else is said: a deployment of some replicas finds one each.
const POOL: usize = 4;

/// Each is a process of some MiB.
const POOL_MAX: usize = 256;

/// Directories that can be shown: each is a mount of each sandbox.
const SHOWN_MAX: usize = 64;

/// Size of a volume if nothing else is said.
const VOLUME_BYTES: u64 = 10 << 30;

/// What is left on the disk if nothing else is said: Solo's own writes need little, and soon.
const KEEP_FREE_BYTES: u64 = 1 << 30;

/// Files that one name of a device stands for: each is a mount.
const DEVICE_PATHS_MAX: usize = 16;

/// What is wrong with a path.
const NOT_PLAIN: &str = "no absolute path below `/`, without `..`";

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Sandboxes that are kept ready.
    pub(crate) pool: usize,
    /// Files and directories of the machine that every program may read and execute.
    pub(crate) shown: Vec<PathBuf>,
    /// Directories of the machine that are volumes, by `TENANT/NAME`.
    pub(crate) volumes: BTreeMap<String, PathBuf>,
    /// What the files of one volume may take.
    pub(crate) volume_bytes: u64,
    /// So much of the disk is not for volumes.
    pub(crate) keep_free_bytes: u64,
    /// Devices of the machine, by the names that rights on them have.
    pub(crate) devices: BTreeMap<String, Vec<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileForm {
    pool: Option<usize>,
    show: Option<Vec<PathBuf>>,
    volumes: BTreeMap<String, PathBuf>,
    volume_bytes: Option<u64>,
    keep_free_bytes: Option<u64>,
    devices: BTreeMap<String, Vec<PathBuf>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pool: POOL,
            shown: SHOWN.map(PathBuf::from).to_vec(),
            volumes: BTreeMap::new(),
            volume_bytes: VOLUME_BYTES,
            keep_free_bytes: KEEP_FREE_BYTES,
            devices: BTreeMap::new(),
        }
    }
}

/// Reads the settings in `home`; without a file all is as by default.
///
/// # Errors
/// `PROGRAM_SETTINGS`, with the place and what to do.
pub(crate) fn read(home: &Path) -> Result<Settings, Problem> {
    let path = home.join("programs.toml");
    let wrong = |why: String| {
        let cause = format!("{}: {why}", path.display());
        Problem::new(ProblemKind::FailedPrecondition, "PROGRAM_SETTINGS", cause)
            .remedy("mend the file, or move it away; docs/programs.md describes it")
    };
    match read_text(&path).map_err(wrong)? {
        None => Ok(Settings::default()),
        Some(text) => parse(&text).map_err(wrong),
    }
}

fn parse(text: &str) -> Result<Settings, String> {
    let form: FileForm = toml::from_str(text).map_err(|error| line_of(text, &error))?;
    let default = Settings::default();
    let settings = Settings {
        pool: form.pool.unwrap_or(default.pool),
        shown: form.show.unwrap_or(default.shown),
        volumes: form.volumes,
        volume_bytes: form.volume_bytes.unwrap_or(default.volume_bytes),
        keep_free_bytes: form.keep_free_bytes.unwrap_or(default.keep_free_bytes),
        devices: form.devices,
    };
    if settings.pool > POOL_MAX {
        return Err(format!("pool is {}; at most {POOL_MAX} can be kept ready", settings.pool));
    }
    if settings.shown.len() > SHOWN_MAX {
        return Err(format!("{} paths in show; at most {SHOWN_MAX}", settings.shown.len()));
    }
    if let Some(path) = settings.shown.iter().find(|path| !is_plain(path)) {
        return Err(format!("show has {path:?}, which is {NOT_PLAIN}"));
    }
    for (name, path) in &settings.volumes {
        let (tenant, volume) = name.split_once('/').unwrap_or((name, ""));
        if Object::volume(tenant, volume).is_err() {
            return Err(format!("volumes has {name:?}, which is no TENANT/NAME"));
        }
        if !is_plain(path) {
            return Err(format!("the volume {name} is {path:?}, which is {NOT_PLAIN}"));
        }
    }
    for (name, paths) in &settings.devices {
        if Object::device(name).is_err() {
            return Err(format!("devices has {name:?}, which is no name of a device"));
        }
        let wrong = |path: &&PathBuf| !is_plain(path) || !path.starts_with("/dev");
        if let Some(path) = paths.iter().find(wrong) {
            return Err(format!("the device {name} has {path:?}, which is no path below /dev"));
        }
        if paths.is_empty() || paths.len() > DEVICE_PATHS_MAX {
            return Err(format!("the device {name} has not 1 to {DEVICE_PATHS_MAX} paths"));
        }
    }
    Ok(settings)
}

fn is_plain(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && path.components().count() > 1
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_by_default() {
        assert_eq!(parse(""), Ok(Settings::default()));
        let settings = parse("pool = 0\nshow = [\"/opt/tools\"]\n").expect("legal");
        assert_eq!((settings.pool, settings.shown), (0, vec![PathBuf::from("/opt/tools")]));
        let text =
            "[volumes]\n\"acme/models\" = \"/srv/models\"\n[devices]\ngpu = [\"/dev/dri/card0\"]";
        let settings = parse(text).expect("legal");
        assert_eq!(settings.volumes["acme/models"], PathBuf::from("/srv/models"));
        assert_eq!(settings.devices["gpu"], [PathBuf::from("/dev/dri/card0")]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, why) in [
            ("pool = 257", "at most 256"),
            ("\npull = 1", "line 2"),
            ("show = [\"usr\"]", "no absolute path"),
            ("show = [\"/\"]", "no absolute path"),
            ("show = [\"/usr/../etc\"]", "no absolute path"),
            ("[volumes]\nmodels = \"/srv\"", "no TENANT/NAME"),
            ("[volumes]\n\"a/../b\" = \"/srv\"", "no TENANT/NAME"),
            ("[volumes]\n\"a/models\" = \"srv\"", "no absolute path"),
            ("[devices]\n\"a/b\" = [\"/dev/null\"]", "no name"),
            ("[devices]\ngpu = [\"/etc/passwd\"]", "below /dev"),
            ("[devices]\ngpu = [\"/dev/../etc/passwd\"]", "below /dev"),
            ("[devices]\ngpu = []", "1 to 16"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
