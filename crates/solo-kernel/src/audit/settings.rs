//! What the operator wants of the audit log: sinks and retention, from `audit.toml` in the home.
//!
//! A file, and no operation of the API: a sink can be a command, and no token may make the kernel run
//! one. What is not understood is refused, so that nobody believes in a sink that is not there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use solo_types::{Problem, ProblemKind};

use super::target::{Framing, Target};
use crate::settings::{line_of, read_text};

/// Sinks of a node: each has a task and reads the log on its own.
const SINKS_MAX: usize = 16;

/// Characters of a sink's name, which names its file too.
const NAME_CHARS_MAX: usize = 63;

/// Longest wait between two tries, if nothing else is said.
const RETRY_DEFAULT: Duration = Duration::from_secs(60);

/// Longest that can be said: a sink that is back should not wait for more than an hour.
const RETRY_MAX_S: u64 = 3_600;

/// Bounds of the size of a segment: one holds some hundred records at least; one is verified, and
/// read again after a failure, within some ten seconds.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(256 << 20);

const DAY_MS: u64 = 86_400_000;

/// All settings of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) retention: Retention,
    /// By name.
    pub(crate) sinks: Vec<SinkSettings>,
}

/// What is removed of the log: by default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Segments whose records are all older go, once all sinks have them.
    pub(crate) keep_ms: Option<u64>,
    /// The oldest segments beyond so many bytes go, once all sinks have them.
    pub(crate) keep_bytes: Option<u64>,
    /// The oldest segments beyond so many bytes go, whether or not a sink has them.
    pub(crate) hard_bytes: Option<u64>,
    /// Bytes of a segment; none: as the library has it.
    pub(crate) segment_bytes: Option<u64>,
}

impl Retention {
    /// Whether anything is ever removed.
    pub(crate) fn is_bounded(&self) -> bool {
        self.keep_ms.is_some() || self.keep_bytes.is_some() || self.hard_bytes.is_some()
    }
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SinkSettings {
    pub(crate) name: String,
    pub(crate) target: Target,
    /// Longest wait between two tries.
    pub(crate) retry_max: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileForm {
    retention: RetentionForm,
    sinks: BTreeMap<String, SinkForm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetentionForm {
    keep_days: Option<u64>,
    keep_bytes: Option<u64>,
    hard_bytes: Option<u64>,
    segment_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SinkForm {
    pub(super) to: Option<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) framing: Option<Framing>,
    pub(super) plaintext: bool,
    pub(super) token_file: Option<PathBuf>,
    pub(super) retry_max_seconds: Option<u64>,
}

/// Reads the settings in `home`; the defaults if there is no file.
///
/// # Errors
/// `AUDIT_SETTINGS`: the file cannot be read, others may write it, or it is not as it must be.
pub(crate) fn read(home: &Path) -> Result<Settings, Problem> {
    let path = path(home);
    let wrong = |why: String| wrong(&path, &why);
    let Some(text) = read_text(&path).map_err(wrong)? else {
        return Ok(Settings::default());
    };
    parse(&text, home).map_err(wrong)
}

/// Checks the settings in `home` before anything is started.
///
/// # Errors
/// As the kernel would refuse them: `AUDIT_SETTINGS`, with the place and what to do.
pub fn check_audit_settings(home: &Path) -> Result<(), Problem> {
    read(home).map(drop)
}

/// Where the settings are.
fn path(home: &Path) -> PathBuf {
    home.join("audit.toml")
}

fn wrong(path: &Path, why: &str) -> Problem {
    let cause = format!("{}: {why}", path.display());
    Problem::new(ProblemKind::FailedPrecondition, "AUDIT_SETTINGS", cause).remedy(
        "mend the file, or move it away to run without audit sinks and retention; docs/audit.md \
         describes it",
    )
}

/// Reads the text of the file; says what is wrong.
fn parse(text: &str, home: &Path) -> Result<Settings, String> {
    let form: FileForm = toml::from_str(text).map_err(|error| line_of(text, &error))?;
    let retention = retention(&form.retention)?;
    if form.sinks.len() > SINKS_MAX {
        return Err(format!("{} sinks; at most {SINKS_MAX} are possible", form.sinks.len()));
    }
    let mut sinks: Vec<SinkSettings> = Vec::new();
    for (name, form) in form.sinks {
        let of = |why: String| format!("sinks.{}: {why}", name.escape_debug());
        let sink = sink(&name, &form, home).map_err(of)?;
        let is_same = |other: &&SinkSettings| match (&other.target, &sink.target) {
            (Target::File(other), Target::File(this)) => other == this,
            _ => false,
        };
        if let Some(other) = sinks.iter().find(is_same) {
            return Err(of(format!("it writes the same file as sinks.{}", other.name)));
        }
        sinks.push(sink);
    }
    Ok(Settings { retention, sinks })
}

fn retention(form: &RetentionForm) -> Result<Retention, String> {
    for (key, value) in [
        ("keep_days", form.keep_days),
        ("keep_bytes", form.keep_bytes),
        ("hard_bytes", form.hard_bytes),
    ] {
        if value == Some(0) {
            return Err(format!("retention.{key} is 0: leave it out to keep everything"));
        }
    }
    if let (Some(keep), Some(hard)) = (form.keep_bytes, form.hard_bytes)
        && hard < keep
    {
        return Err("retention.hard_bytes is less than retention.keep_bytes".to_owned());
    }
    if let Some(bytes) = form.segment_bytes
        && !SEGMENT_BYTES.contains(&bytes)
    {
        let (least, most) = (SEGMENT_BYTES.start(), SEGMENT_BYTES.end());
        return Err(format!("retention.segment_bytes is {bytes}, not {least} to {most}"));
    }
    Ok(Retention {
        keep_ms: form.keep_days.map(|days| days.saturating_mul(DAY_MS)),
        keep_bytes: form.keep_bytes,
        hard_bytes: form.hard_bytes,
        segment_bytes: form.segment_bytes,
    })
}

/// Where the sinks of `home` write beside it: directories. `None`: anywhere, as one of them is a command, which
/// the kernel starts. Settings that cannot be read name nothing; the kernel does not start with them.
#[must_use]
pub fn written_by_sinks(home: &Path) -> Option<Vec<PathBuf>> {
    let mut written = Vec::new();
    for sink in read(home).unwrap_or_default().sinks {
        match sink.target {
            Target::File(path) => {
                // Its directory, or what will be above it once it is made.
                let above = path.ancestors().skip(1).find(|path| path.is_dir());
                written.extend(above.map(Path::to_owned));
            }
            Target::Command { .. } => return None,
            _ => {}
        }
    }
    Some(written)
}

fn sink(name: &str, form: &SinkForm, home: &Path) -> Result<SinkSettings, String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=NAME_CHARS_MAX).contains(&name.len());
    if !fits || !name.chars().all(legal) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(format!(
            "a name has 1 to {NAME_CHARS_MAX} lower-case letters, digits and `-`, first a letter"
        ));
    }
    let retry_max = match form.retry_max_seconds {
        None => RETRY_DEFAULT,
        Some(seconds @ 1..=RETRY_MAX_S) => Duration::from_secs(seconds),
        Some(seconds) => {
            return Err(format!("retry_max_seconds is {seconds}, not 1 to {RETRY_MAX_S}"));
        }
    };
    let target = Target::of(form, home)?;
    Ok(SinkSettings { name: name.to_owned(), target, retry_max })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn parsed(text: &str) -> Result<Settings, String> {
        parse(text, Path::new("/home/of/solo"))
    }

    #[test]
    fn what_can_be_said() {
        let text = "
            [retention]
            keep_days = 30
            keep_bytes = 1_000_000_000
            hard_bytes = 2_000_000_000
            segment_bytes = 1048576
            [sinks.copy]
            to = \"file:/var/log/solo.jsonl\"
            [sinks.local]
            to = \"syslog:unix:/dev/log\"
            [sinks.far]
            to = \"syslog:tcp:logs.example:601\"
            framing = \"newline\"
            plaintext = true
            retry_max_seconds = 5
            [sinks.hook]
            to = \"http://localhost:9000/audit?of=solo\"
            token_file = \"/etc/solo.token\"
            [sinks.pipe]
            command = [\"/usr/bin/tee\", \"-a\", \"out\"]
        ";
        let settings = parsed(text).expect("understood");
        assert_eq!(settings.retention.keep_ms, Some(30 * DAY_MS));
        assert_eq!(settings.retention.segment_bytes, Some(1 << 20));
        assert!(settings.retention.is_bounded());
        let names: Vec<_> = settings.sinks.iter().map(|sink| sink.name.as_str()).collect();
        assert_eq!(names, ["copy", "far", "hook", "local", "pipe"]);
        assert_eq!(settings.sinks[1].retry_max, Duration::from_secs(5));
        assert_eq!(parsed("").expect("empty"), Settings::default());
        assert!(!Settings::default().retention.is_bounded());
    }

    /// What is wrong is told with its place; nothing of it is passed over.
    #[test]
    fn what_is_refused() {
        for (text, why) in [
            ("[sinks.a", "line 1"),
            ("\n\nnonsense = 1", "line 3"),
            ("[retention]\nkeep_day = 1", "keep_day"),
            ("[retention]\nkeep_days = 0", "keep_days is 0"),
            ("[retention]\nkeep_days = -1", "line 2"),
            ("[retention]\nkeep_bytes = 9\nhard_bytes = 8", "less than"),
            ("[retention]\nsegment_bytes = 1", "segment_bytes is 1"),
            ("[sinks.a]", "`to` or `command`"),
            ("[sinks.a]\nto = \"file:/x\"\ncommand = [\"/bin/cat\"]", "`to` or `command`"),
            ("[sinks.a]\nto = \"file:/x\"\nshell = true", "shell"),
            ("[sinks.\"../x\"]\nto = \"file:/x\"", "a name has"),
            ("[sinks.A]\nto = \"file:/x\"", "a name has"),
            ("[sinks.a]\nto = \"file:/x\"\n[sinks.b]\nto = \"file:/x\"", "same file as sinks.a"),
            ("[sinks.a]\nto = \"file:/x\"\nretry_max_seconds = 0", "retry_max_seconds"),
            ("[sinks.a]\nto = \"file:/home/of/solo/audit/x\"", "below the home"),
        ] {
            let refused = parsed(text).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let many: String =
            (0..=SINKS_MAX).map(|n| format!("[sinks.a{n}]\nto = \"file:/{n}\"\n")).collect();
        assert!(parsed(&many).expect_err("too many").contains("at most"));
    }

    #[test]
    fn a_file_that_others_can_write_is_not_read() {
        let home = tempfile::tempdir().expect("tempdir");
        assert_eq!(read(home.path()), Ok(Settings::default()));
        let path = path(home.path());
        std::fs::write(&path, "").expect("write");
        for (mode, is_read) in [(0o600, true), (0o644, true), (0o660, false), (0o602, false)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).expect("chmod");
            let refused = check_audit_settings(home.path()).err();
            assert_eq!(refused.is_none(), is_read, "{mode:o}: {refused:?}");
            if let Some(problem) = refused {
                assert_eq!(problem.reason, "AUDIT_SETTINGS");
                assert!(!problem.remedy.is_empty());
            }
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        std::fs::write(&path, vec![b'#'; 70_000]).expect("write");
        assert!(read(home.path()).is_err());
    }
}
