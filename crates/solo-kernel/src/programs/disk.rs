//! Keeps volumes within their size, and the disk from filling up (SPEC section 5, L2).
//!
//! File systems bound no directory, so this looks at short intervals, and ends who wrote too much: what
//! can be written between two looks is what the disk takes in that time. Nothing is removed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use solo_api::cell::v1 as wire;
use solo_types::{LimitAction, Mount, Problem, ProblemKind};

use super::settings::Settings;
use super::tend::owner;
use super::{blocking, volumes};
use crate::files::tree_size;
use crate::kernel::Kernel;
use crate::service::Service;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Between two events about one that is only warned.
const WARN_LOOKS: u64 = 30;

/// Name of the limit.
const LIMIT: &str = "volume_bytes";

/// An instance that may write to a volume of its tenant.
#[derive(Debug, Clone)]
struct Writer {
    instance: String,
    service: Arc<Service>,
    volume: String,
    only_warn: bool,
}

/// Runs until it is dropped. The actor of all volumes in the tree.
pub(crate) async fn watch(kernel: Arc<Kernel>) -> Result<(), String> {
    let tenants = kernel.tenants.all();
    let swept = blocking(move || {
        volumes::sweep(&tenants);
        Ok(())
    });
    swept.await.map_err(|problem| problem.cause)?;
    let mut looks = 0;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        look(&kernel, looks % WARN_LOOKS == 0).await.map_err(|problem| problem.cause)?;
        looks += 1;
    }
}

/// Looks at all volumes that something may write to now.
async fn look(kernel: &Arc<Kernel>, warn: bool) -> Result<(), Problem> {
    let writers = writers(kernel);
    if writers.is_empty() {
        return Ok(());
    }
    let (shared, paths) = (Arc::clone(kernel), writers.clone());
    let measure = move || {
        let mut sizes = HashMap::new();
        for writer in &paths {
            let path = writer.service.tenant.home.volumes().join(&writer.volume);
            sizes.entry(key(writer)).or_insert_with(|| {
                // Of one that cannot be read nothing is known.
                tree_size(&path).map_or(0, |size| size.bytes)
            });
        }
        Ok((sizes, free_bytes(shared.programs.home.root())))
    };
    let (sizes, free) = blocking(measure).await?;
    let settings = &kernel.programs.settings;
    for writer in &writers {
        let size = sizes.get(&key(writer)).copied().unwrap_or_default();
        if size <= settings.volume_bytes {
            continue;
        }
        let message = format!(
            "the volume {} has {size} bytes, of {} that it may have",
            writer.volume, settings.volume_bytes
        );
        if !writer.only_warn {
            end(kernel, writer, &message).await;
        } else if warn {
            tell(kernel, writer, LimitAction::Warn, &message);
        }
    }
    if free < settings.keep_free_bytes {
        let largest = writers.iter().max_by_key(|writer| sizes.get(&key(writer)).copied());
        if let Some(writer) = largest {
            let message =
                format!("the disk has {free} bytes left, and {} wrote most", writer.volume);
            end(kernel, writer, &message).await;
        }
    }
    Ok(())
}

/// Refuses to start what writes to a volume while the disk is almost full.
///
/// # Errors
/// `DISK_FULL`.
pub(super) fn check_room(
    settings: &Settings,
    home: &Path,
    mounts: &[Mount],
) -> Result<(), Problem> {
    if !mounts.iter().any(|mount| mount.written_volume().is_some()) {
        return Ok(());
    }
    let (free, kept) = (free_bytes(home), settings.keep_free_bytes);
    if free >= kept {
        return Ok(());
    }
    let cause = format!("the disk has {free} bytes left, of which {kept} are kept free");
    Err(Problem::new(ProblemKind::ResourceExhausted, "DISK_FULL", cause).remedy(
        "remove volumes that are not needed (`solo volume list`), or make room on the disk",
    ))
}

/// Instances that live in a sandbox and may write to a volume that is Solo's.
fn writers(kernel: &Kernel) -> Vec<Writer> {
    let instances: Vec<String> = kernel.programs.sandboxes.lock().keys().cloned().collect();
    let mut writers = Vec::new();
    for instance in instances {
        let Some(service) = owner(kernel, &instance) else { continue };
        let Some((_, spec)) = service.spec_of(&instance) else { continue };
        for name in spec.mounts.iter().filter_map(Mount::written_volume) {
            if volumes::is_of_machine(&kernel.programs.settings, &service.tenant, name) {
                continue;
            }
            writers.push(Writer {
                instance: instance.clone(),
                service: Arc::clone(&service),
                volume: name.to_string(),
                only_warn: spec.limits.limit_exceeded_action == LimitAction::Warn,
            });
        }
    }
    writers
}

fn key(writer: &Writer) -> (String, String) {
    (writer.service.tenant.name.to_string(), writer.volume.clone())
}

async fn end(kernel: &Kernel, writer: &Writer, message: &str) {
    tell(kernel, writer, LimitAction::Kill, message);
    let sandbox = kernel.programs.sandboxes.lock().get(&writer.instance).cloned();
    let Some(sandbox) = sandbox else { return };
    let cell = sandbox.shown.lock().clone();
    if let Some(cell) = cell {
        // The instance is started again by its policy, in another sandbox.
        kernel.programs.end(&cell).await;
    }
}

fn tell(kernel: &Kernel, writer: &Writer, action: LimitAction, message: &str) {
    let label = writer.service.label();
    kernel.monitor.event(&label, &writer.instance, "limit_exceeded", message);
    let violation = wire::Violation {
        limit: LIMIT.to_owned(),
        action: action.as_str().to_owned(),
        count: 1,
        message: message.to_owned(),
    };
    kernel.violations.note(&label, &writer.instance, &violation);
}

/// What the file system of `path` has left for who is not root. Of one that does not say, plenty.
fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}
