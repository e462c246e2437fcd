//! Flags that give a program volumes and devices.

use clap::Args;
use solo_api::v1;
use solo_api::v1::mount::What;

/// Of an external program.
#[derive(Debug, Clone, Args)]
pub(crate) struct MountFlags {
    /// Give a program the volume NAME at PATH; `:ro`: to be read only (can be repeated)
    #[arg(long, value_name = "NAME:PATH[:ro]", value_parser = volume)]
    volume: Vec<v1::VolumeMount>,
    /// Give a program the devices that the operator named NAME (can be repeated)
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
}

impl MountFlags {
    /// What was named.
    pub(crate) fn messages(self) -> Vec<v1::Mount> {
        let volumes = self.volume.into_iter().map(What::Volume);
        let all = volumes.chain(self.device.into_iter().map(What::Device));
        all.map(|what| v1::Mount { what: Some(what) }).collect()
    }
}

fn volume(text: &str) -> Result<v1::VolumeMount, String> {
    let wrong = || format!("mounts: not NAME:/PATH or NAME:/PATH:ro: {text}");
    let (volume, place) = text.split_once(':').ok_or_else(wrong)?;
    let (at, read_only) = match place.strip_suffix(":ro") {
        Some(at) => (at, true),
        None => (place, false),
    };
    if !at.starts_with('/') {
        return Err(wrong());
    }
    Ok(v1::VolumeMount { volume: volume.to_owned(), at: at.to_owned(), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_a_name_a_place_and_perhaps_a_word() {
        let read = |text: &str| volume(text).map(|one| (one.volume, one.at, one.read_only));
        let expected = |at: &str, read_only| Ok(("db".to_owned(), at.to_owned(), read_only));
        assert_eq!(read("db:/data"), expected("/data", false));
        assert_eq!(read("db:/data:ro"), expected("/data", true));
        assert_eq!(read("db:/a:b"), expected("/a:b", false));
        for wrong in ["db", "db:", "db:data", "/data", "db:ro"] {
            assert!(volume(wrong).is_err(), "{wrong}");
        }
    }
}
