//! Volumes and devices, in JSON.

use serde::Serialize;
use solo_api::v1;

/// What a program is given beside its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MountJson {
    /// A directory that stays when the service goes.
    Volume {
        /// Its name.
        name: String,
        /// Where the program finds it.
        at: String,
        /// It cannot be changed.
        read_only: bool,
    },
    /// Devices.
    Device {
        /// The operator's name for them.
        name: String,
    },
}

impl MountJson {
    /// `None`: this version does not know it.
    #[must_use]
    pub fn read(mount: v1::Mount) -> Option<Self> {
        use v1::mount::What;
        Some(match mount.what? {
            What::Volume(v1::VolumeMount { volume: name, at, read_only }) => {
                Self::Volume { name, at, read_only }
            }
            What::Device(name) => Self::Device { name },
        })
    }
}
