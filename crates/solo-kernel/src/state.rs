//! Removes what services kept that are gone (SPEC S5). The files are their cell's, who may have written
//! anything to them: nothing here opens one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use solo_state::{FILE_EXTENSION, of_service};
use solo_types::ServiceId;

use crate::kernel::Kernel;
use crate::tenants::Tenant;

/// What SQLite puts beside a file.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// Files that one look goes through, whoever put them there.
const FILES_MAX: usize = 1_000_000;

/// Between two looks whether a deployment is still under way.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks for a moment without deployments: a minute of them.
const PAUSES_MAX: u32 = 600;

/// Removes what a service kept that is over. What cannot be removed now the sweep finds.
pub(crate) async fn forget(tenant: &Tenant, service: ServiceId) {
    let path = tenant.home.state().join(of_service(service));
    let removed = tokio::task::spawn_blocking(move || remove(&path)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(%error, %service, "Failed to remove what a service kept");
    }
}

/// Removes what services kept that are not there.
pub(crate) async fn sweep(kernel: &Kernel, tenant: &Tenant) {
    let directory = tenant.home.state();
    let listed = tokio::task::spawn_blocking(move || services(&directory)).await;
    let mut listed = listed.unwrap_or_default();
    // One that was listed may not be known yet, but then its deployment is under way.
    let mut pauses = 0;
    while kernel.registry.deploying() && !listed.is_empty() {
        if pauses == PAUSES_MAX {
            // The next sweep may find a quiet moment.
            return;
        }
        pauses += 1;
        tokio::time::sleep(PAUSE).await;
    }
    listed.retain(|service| kernel.registry.find_id(&service.to_string()).is_none());
    for service in &listed {
        forget(tenant, *service).await;
    }
    if !listed.is_empty() {
        tracing::info!(services = listed.len(), tenant = %tenant.name, "Removed what services kept that are gone");
    }
}

/// The services that have files.
fn services(directory: &Path) -> Vec<ServiceId> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let service = |path: PathBuf| {
        let is_file = path.extension().is_some_and(|extension| extension == FILE_EXTENSION);
        is_file.then(|| path.file_stem()?.to_str()?.parse().ok())?
    };
    entries.take(FILES_MAX).filter_map(|entry| service(entry.path())).collect()
}

/// Removes a file and what is beside it. The last one is the file itself: it is what is looked for.
fn remove(path: &Path) -> io::Result<()> {
    for suffix in BESIDE.iter().rev() {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_services_are_looked_at_and_removed() {
        let home = tempfile::tempdir().expect("a directory");
        for name in ["0000beef-7.db", "0000beef-7.db-wal", "0000beef-8.db", "x.db", "0000beef-9"] {
            std::fs::write(home.path().join(name), b"x").expect("written");
        }
        std::os::unix::fs::symlink("/etc/passwd", home.path().join("0000beef-7.db-shm"))
            .expect("made");
        let mut found: Vec<String> =
            services(home.path()).iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(found, ["0000beef-7", "0000beef-8"]);
        remove(&home.path().join("0000beef-7.db")).expect("removed");
        let names = std::fs::read_dir(home.path()).expect("readable").flatten();
        let mut left: Vec<_> = names.map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["0000beef-8.db", "0000beef-9", "x.db"]);
        assert!(Path::new("/etc/passwd").exists());
    }
}
