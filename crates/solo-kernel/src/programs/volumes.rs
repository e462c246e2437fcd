//! What programs are given beside their code: volumes, which are directories of their tenant or of the
//! machine, and devices.
//!
//! A volume is a directory, and its name in the tenant's home is all that there is to know of it. All
//! volumes of a tenant belong to one user, who runs the programs that are given one, so that they can
//! share it; the user is whoever owns the directory above, so that it stays the same. Nothing here
//! looks at what is in a volume, or decides who may have it.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use solo_sandbox::{Access, Entry};
use solo_types::{Mount, Problem, ProblemKind, VolumeName};

use super::settings::Settings;
use crate::files::{Size, remove_tree, tree_size};
use crate::tenants::Tenant;

/// Ends the name of a volume that is being removed. No name of a volume has a dot.
const REMOVED: &str = ".removed";

/// A volume, for people.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: VolumeName,
    /// None: a directory of the machine.
    pub(crate) size: Option<Size>,
}

/// Volumes that a deployment made. Unless it is kept they are removed again, if nothing is in them.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<PathBuf>);

impl Made {
    /// The deployment is acknowledged.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = std::fs::remove_dir(path) {
                tracing::info!(%error, path = %path.display(), "A volume of a failed deployment stays");
            }
        }
    }
}

/// Checks that a program can be given `mounts`, and makes the volumes that it may write to and that are not
/// there yet. Blocks.
///
/// # Errors
/// `INVALID_MOUNT`, `NO_SUCH_VOLUME`, `NO_SUCH_DEVICE`, `VOLUME_UNUSABLE`.
pub(crate) fn make(
    settings: &Settings,
    home: &Path,
    tenant: &Tenant,
    mounts: &[Mount],
) -> Result<Made, Problem> {
    check_places(settings, mounts)?;
    let mut made = Made::default();
    for name in mounts.iter().filter_map(Mount::written_volume) {
        if of_machine(settings, tenant, name).is_some() {
            continue;
        }
        let user = solo_heart::volume_user(home, tenant.name.as_str());
        let all = tenant.home.volumes();
        open_all(&all, user).map_err(|error| unusable(&all, &error))?;
        let path = all.join(name.as_str());
        match make_owned(&path, owner(&all)) {
            Ok(()) => made.0.push(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unusable(&path, &error)),
        }
    }
    entries(settings, tenant, mounts).map(|_| made)
}

/// What `mounts` are in a sandbox.
///
/// # Errors
/// `NO_SUCH_VOLUME`, `NO_SUCH_DEVICE`.
pub(super) fn entries(
    settings: &Settings,
    tenant: &Tenant,
    mounts: &[Mount],
) -> Result<Vec<Entry>, Problem> {
    let mut entries = Vec::new();
    for mount in mounts {
        match mount {
            Mount::Volume { name, at, read_only } => {
                let path = of_machine(settings, tenant, name)
                    .unwrap_or_else(|| tenant.home.volumes().join(name.as_str()));
                if !path.is_dir() {
                    let volume = tenant.label(name.as_str());
                    return Err(no_volume(format!("there is no volume {volume}")));
                }
                let access = if *read_only { Access::Read } else { Access::Write };
                entries.push(Entry::Bind { from: path, at: at.into(), access });
            }
            Mount::Device { name } => {
                let paths = settings.devices.get(name).ok_or_else(|| no_device(name, None))?;
                for path in paths {
                    if !path.exists() {
                        return Err(no_device(name, Some(path)));
                    }
                    let (from, at) = (path.clone(), path.clone());
                    entries.push(Entry::Bind { from, at, access: Access::Device });
                }
            }
        }
    }
    Ok(entries)
}

/// Who runs a program that is given `mounts`: the owner of its tenant's volumes. `None`: whoever would
/// run it without them.
pub(super) fn user(tenant: &Tenant, mounts: &[Mount]) -> Option<u32> {
    let has_volume = mounts.iter().any(|mount| mount.volume().is_some());
    let owner = has_volume.then(|| owner(&tenant.home.volumes())).flatten();
    owner.filter(|user| solo_heart::is_own_user(*user))
}

/// All volumes of a tenant, with what they take on the disk. Blocks.
pub(crate) fn list(settings: &Settings, tenant: &Tenant) -> Vec<Listed> {
    let prefix = format!("{}/", tenant.name);
    let of_machine = settings.volumes.keys().filter_map(|name| {
        let name = VolumeName::new(name.strip_prefix(&prefix)?).ok()?;
        Some(Listed { name, size: None })
    });
    let mut all: Vec<Listed> = of_machine.collect();
    for name in own_names(tenant) {
        if all.iter().all(|listed| listed.name != name) {
            let size = tree_size(&tenant.home.volumes().join(name.as_str()));
            // Of one that cannot be read nothing is known.
            let size = size.unwrap_or(Size { bytes: 0, complete: false });
            all.push(Listed { name, size: Some(size) });
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Whether a tenant has volumes that would go with it.
pub(crate) fn has_any(tenant: &Tenant) -> bool {
    !own_names(tenant).is_empty()
}

fn own_names(tenant: &Tenant) -> Vec<VolumeName> {
    let Ok(entries) = std::fs::read_dir(tenant.home.volumes()) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| VolumeName::new(&name).ok()).collect()
}

/// Removes a volume that nobody is given. Blocks for as long as that takes; what a kernel that dies
/// meanwhile leaves, [`sweep`] removes.
///
/// # Errors
/// `NO_SUCH_VOLUME`, `VOLUME_OF_MACHINE`, `VOLUME_UNUSABLE`.
pub(crate) fn remove(
    settings: &Settings,
    tenant: &Tenant,
    name: &VolumeName,
) -> Result<(), Problem> {
    if of_machine(settings, tenant, name).is_some() {
        let cause = "the volume is a directory of the machine";
        return Err(Problem::new(ProblemKind::FailedPrecondition, "VOLUME_OF_MACHINE", cause)
            .remedy("take it out of programs.toml; Solo removes nothing that is not its own"));
    }
    let path = tenant.home.volumes().join(name.as_str());
    let mut removed = path.clone().into_os_string();
    removed.push(REMOVED);
    let removed = PathBuf::from(removed);
    let gone = || -> io::Result<()> {
        if removed.exists() {
            // An earlier one of this name, whose removal failed.
            remove_tree(&removed)?;
        }
        // From here on it is gone, whatever happens.
        std::fs::rename(&path, &removed)?;
        remove_tree(&removed)
    };
    gone().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_volume(format!("there is no volume {name}")),
        _ => unusable(&path, &error),
    })
}

/// Removes what is left of volumes whose removal was cut short. Blocks.
pub(super) fn sweep(tenants: &[std::sync::Arc<Tenant>]) {
    for tenant in tenants {
        let Ok(entries) = std::fs::read_dir(tenant.home.volumes()) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().ends_with(REMOVED)
                && let Err(error) = remove_tree(&entry.path())
            {
                tracing::warn!(%error, path = %entry.path().display(), "Failed to remove a volume");
            }
        }
    }
}

/// A volume at a place where something of the machine is shown would hide it, or could not be made.
fn check_places(settings: &Settings, mounts: &[Mount]) -> Result<(), Problem> {
    for (index, mount) in mounts.iter().enumerate() {
        let Mount::Volume { at, .. } = mount else { continue };
        let at = Path::new(at);
        let overlaps = |shown: &&PathBuf| at.starts_with(shown) || shown.starts_with(at);
        if let Some(shown) = settings.shown.iter().find(overlaps) {
            let rule = format!("it is in, on or above {}, which programs see", shown.display());
            let field = format!("mounts[{index}].volume.at");
            return Err(Problem::invalid("INVALID_MOUNT", &field, &rule));
        }
    }
    Ok(())
}

/// Whether a volume is a directory of the machine.
pub(super) fn is_of_machine(settings: &Settings, tenant: &Tenant, name: &VolumeName) -> bool {
    of_machine(settings, tenant, name).is_some()
}

fn of_machine(settings: &Settings, tenant: &Tenant, name: &VolumeName) -> Option<PathBuf> {
    settings.volumes.get(&format!("{}/{name}", tenant.name)).cloned()
}

/// Makes the directory of all volumes of a tenant, or finds it, with an owner that programs may run as.
fn open_all(path: &Path, user: Option<u32>) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let Some(user) = user else { return Ok(()) };
    if owner(path).is_some_and(solo_heart::is_own_user) {
        return Ok(());
    }
    // Made just now, or while Solo did not run as root. Whoever that was is a person of this machine.
    if std::fs::read_dir(path)?.next().is_some() {
        return Err(io::Error::other(format!(
            "it belongs to somebody who runs no programs; as root: chown -R {user}:{user} {}",
            path.display()
        )));
    }
    give(path, Some(user))
}

/// Makes a volume. It has its owner before it has its name.
fn make_owned(path: &Path, user: Option<u32>) -> io::Result<()> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut unnamed = path.to_owned().into_os_string();
    unnamed.push(REMOVED);
    let unnamed = PathBuf::from(unnamed);
    match std::fs::create_dir(&unnamed) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove_tree(&unnamed)?;
            std::fs::create_dir(&unnamed)?;
        }
        other => other?,
    }
    std::fs::set_permissions(&unnamed, std::fs::Permissions::from_mode(0o700))?;
    if rustix::process::geteuid().is_root() {
        give(&unnamed, user)?;
    }
    std::fs::rename(&unnamed, path)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::File::open(parent)?.sync_all()
}

/// Gives a directory to a user, by its descriptor: the kernel's own policy knows no other way.
fn give(path: &Path, user: Option<u32>) -> io::Result<()> {
    std::os::unix::fs::fchown(std::fs::File::open(path)?, user, user)
}

fn owner(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|metadata| metadata.uid())
}

fn no_volume(cause: String) -> Problem {
    Problem::new(ProblemKind::NotFound, "NO_SUCH_VOLUME", cause).remedy(
        "`solo volume list` tells which there are; a program that may write to one makes it",
    )
}

fn no_device(name: &str, path: Option<&PathBuf>) -> Problem {
    let cause = match path {
        Some(path) => format!("{} of the device {name} is not on this machine", path.display()),
        None => format!("the operator names no device {name}"),
    };
    Problem::new(ProblemKind::FailedPrecondition, "NO_SUCH_DEVICE", cause)
        .remedy("have `devices` in programs.toml changed")
}

fn unusable(path: &Path, error: &io::Error) -> Problem {
    let cause = format!("the volume {} cannot be used: {error}", path.display());
    Problem::new(ProblemKind::FailedPrecondition, "VOLUME_UNUSABLE", cause)
        .remedy("check the disk under SOLO_HOME: space, permissions, health")
}
