//! What a program is given of the machine beside its code: volumes and devices.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::{Problem, VolumeName, bounds};

/// Longest place of a volume.
const PLACE_BYTES_MAX: usize = 255;

/// Longest name of a device.
const DEVICE_CHARS_MAX: usize = 63;

/// What is Solo's own in each sandbox: nothing is put in, on or above it.
const TAKEN: [&str; 6] = ["/app", "/dev", "/proc", "/run/solo", "/sys", "/tmp"];

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mount {
    /// A directory that stays when the service goes.
    Volume {
        /// Of the service's tenant.
        name: VolumeName,
        /// Where the program finds it: absolute, in normal form.
        at: String,
        /// It can be changed unless this is true.
        read_only: bool,
    },
    /// Devices, as the operator named them; they are where they are on the machine.
    Device {
        /// The operator's name for them.
        name: String,
    },
}

impl Mount {
    /// The volume, if it is one that can be changed.
    #[must_use]
    pub fn written_volume(&self) -> Option<&VolumeName> {
        match self {
            Self::Volume { name, read_only: false, .. } => Some(name),
            _ => None,
        }
    }

    /// The volume, if it is one.
    #[must_use]
    pub fn volume(&self) -> Option<&VolumeName> {
        match self {
            Self::Volume { name, .. } => Some(name),
            Self::Device { .. } => None,
        }
    }

    /// Checks what a client may have made up: each thing by itself, and that they leave each other alone.
    ///
    /// # Errors
    /// Reason `INVALID_MOUNT`, with the field.
    pub fn validate(all: &[Self]) -> Result<(), Problem> {
        let refuse = |field: &str, rule: &str| Err(Problem::invalid("INVALID_MOUNT", field, rule));
        if all.len() > bounds::MOUNTS_MAX {
            let rule = format!("a program is given at most {} things", bounds::MOUNTS_MAX);
            return refuse("mounts", &rule);
        }
        let mut places: Vec<&Path> = Vec::new();
        let mut devices: Vec<&str> = Vec::new();
        for (index, mount) in all.iter().enumerate() {
            match mount {
                Self::Volume { at, .. } => {
                    let field = format!("mounts[{index}].volume.at");
                    if !is_place(at) {
                        let rule = "a place is an absolute path below `/`, of at most 255 bytes, \
                                    without `.`, `..`, `//` and control characters";
                        return refuse(&field, rule);
                    }
                    let at = Path::new(at);
                    let taken = TAKEN.map(Path::new);
                    let others = taken.iter().chain(&places);
                    if let Some(other) = others.into_iter().find(|other| overlap(at, other)) {
                        let rule = format!("it is in, on or above {}", other.display());
                        return refuse(&field, &rule);
                    }
                    places.push(at);
                }
                Self::Device { name } => {
                    let legal = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                    let is_name = (1..=DEVICE_CHARS_MAX).contains(&name.len())
                        && name.chars().all(legal)
                        && ![".", ".."].contains(&name.as_str());
                    let field = format!("mounts[{index}].device");
                    if !is_name {
                        let rule = "a device has 1 to 63 letters, digits, `-`, `.` and `_`";
                        return refuse(&field, rule);
                    }
                    if devices.contains(&name.as_str()) {
                        return refuse(&field, "it is named twice");
                    }
                    devices.push(name);
                }
            }
        }
        Ok(())
    }
}

/// Whether one of two places is in the other.
#[must_use]
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn is_place(at: &str) -> bool {
    let mut parts = Path::new(at).components();
    let normal: String = match parts.next() {
        Some(Component::RootDir) => parts
            .map(|part| match part {
                Component::Normal(name) => format!("/{}", name.to_string_lossy()),
                _ => "/..".to_owned(),
            })
            .collect(),
        _ => return false,
    };
    // What components leave out was not in normal form.
    !normal.is_empty()
        && normal == at
        && at.len() <= PLACE_BYTES_MAX
        && !Path::new(at).components().any(|part| part == Component::ParentDir)
        && !at.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(at: &str) -> Mount {
        let name = VolumeName::new("data").expect("legal");
        Mount::Volume { name, at: at.to_owned(), read_only: false }
    }

    fn device(name: &str) -> Mount {
        Mount::Device { name: name.to_owned() }
    }

    #[test]
    fn places_are_plain_and_leave_each_other_alone() {
        let legal = [volume("/data"), volume("/var/lib/x"), volume("/run/x"), device("gpu")];
        assert_eq!(Mount::validate(&legal), Ok(()));
        for wrong in [
            "",
            "/",
            "data",
            "/data/",
            "//data",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/..",
            "/a\n",
            "/proc",
            "/proc/self",
            "/dev/x",
            "/run",
            "/run/solo/x",
            "/tmp",
            "/tmp/x",
            "/app/program",
            "/sys/fs",
        ] {
            let problem = Mount::validate(&[volume(wrong)]).expect_err(wrong);
            assert_eq!(problem.reason, "INVALID_MOUNT", "{wrong}");
            assert_eq!(problem.fields[0].field, "mounts[0].volume.at");
        }
        let long = format!("/{}", "x".repeat(255));
        assert!(Mount::validate(&[volume(&long)]).is_err());
        for (one, other) in [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a")] {
            assert!(Mount::validate(&[volume(one), volume(other)]).is_err(), "{one} {other}");
        }
        assert_eq!(Mount::validate(&[volume("/a"), volume("/ab")]), Ok(()));
    }

    #[test]
    fn devices_have_plain_names_and_all_have_a_bound() {
        for wrong in ["", ".", "..", "a/b", "a b", &"x".repeat(64)] {
            assert!(Mount::validate(&[device(wrong)]).is_err(), "{wrong}");
        }
        assert!(Mount::validate(&[device("gpu"), device("gpu")]).is_err());
        let many: Vec<_> =
            (0..=bounds::MOUNTS_MAX).map(|number| volume(&format!("/v{number}"))).collect();
        assert!(Mount::validate(&many).is_err());
        assert_eq!(Mount::validate(&many[1..]), Ok(()));
    }
}
