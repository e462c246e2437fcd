//! Volumes and devices of programs: protobuf to domain types and back.

use solo_types::{Mount, Problem, VolumeName};

use crate::v1;

/// Checks what a request wants a program to be given.
///
/// # Errors
/// Reasons `INVALID_MOUNT` and `INVALID_NAME`, with the field.
pub fn mounts(messages: Vec<v1::Mount>) -> Result<Vec<Mount>, Problem> {
    let mut mounts = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        use v1::mount::What;
        mounts.push(match message.what {
            Some(What::Volume(v1::VolumeMount { volume, at, read_only })) => {
                let name = VolumeName::new(&volume).map_err(|mut problem| {
                    problem.fields[0].field = format!("mounts[{index}].volume.volume");
                    problem
                })?;
                Mount::Volume { name, at, read_only }
            }
            Some(What::Device(name)) => Mount::Device { name },
            None => {
                let rule = "it is neither a volume nor a device";
                return Err(Problem::invalid("INVALID_MOUNT", &format!("mounts[{index}]"), rule));
            }
        });
    }
    Mount::validate(&mounts)?;
    Ok(mounts)
}

/// The same on the wire.
#[must_use]
pub fn mount_messages(mounts: &[Mount]) -> Vec<v1::Mount> {
    use v1::mount::What;
    let what = |mount: &Mount| match mount {
        Mount::Volume { name, at, read_only } => What::Volume(v1::VolumeMount {
            volume: name.to_string(),
            at: at.clone(),
            read_only: *read_only,
        }),
        Mount::Device { name } => What::Device(name.clone()),
    };
    mounts.iter().map(|mount| v1::Mount { what: Some(what(mount)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_checked_and_come_back_as_they_went() {
        use v1::mount::What;
        let volume = |volume: &str, at: &str| v1::Mount {
            what: Some(What::Volume(v1::VolumeMount {
                volume: volume.to_owned(),
                at: at.to_owned(),
                read_only: true,
            })),
        };
        let messages =
            vec![volume("db", "/data"), v1::Mount { what: Some(What::Device("gpu".to_owned())) }];
        let read = mounts(messages.clone()).expect("legal");
        assert_eq!(mount_messages(&read), messages);
        for (wrong, reason, field) in [
            (volume("../db", "/data"), "INVALID_NAME", "mounts[0].volume.volume"),
            (volume("db", "/data/../x"), "INVALID_MOUNT", "mounts[0].volume.at"),
            (v1::Mount { what: None }, "INVALID_MOUNT", "mounts[0]"),
        ] {
            let problem = mounts(vec![wrong]).expect_err(field);
            assert_eq!(
                (problem.reason.as_str(), problem.fields[0].field.as_str()),
                (reason, field)
            );
        }
    }
}
