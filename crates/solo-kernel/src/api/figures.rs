//! The figures of all services, as their cell counts them, shared by those who ask often.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use solo_types::InstanceId;
use tokio::sync::Mutex;

use crate::kernel::Kernel;
use crate::monitor::metrics::ServiceFigures;

/// How old figures may be for a list or a sample: ten thousand instances are some megabytes, which
/// must not cross to the kernel once per page and watcher.
const AGE_MAX: Duration = Duration::from_millis(500);

/// By id of the service.
pub(super) type Figures = HashMap<String, ServiceFigures>;

/// The figures of some moments ago.
#[derive(Debug, Default)]
pub(crate) struct FiguresCache {
    latest: Mutex<Option<(Instant, Arc<Figures>)>>,
}

impl FiguresCache {
    /// Figures that are half a second old at most. Who comes while they are being asked for waits
    /// and gets the same.
    pub(super) async fn recent(&self, kernel: &Kernel) -> Arc<Figures> {
        let mut latest = self.latest.lock().await;
        if let Some((at, figures)) = &*latest
            && at.elapsed() < AGE_MAX
        {
            return Arc::clone(figures);
        }
        let figures = Arc::new(fresh(kernel).await);
        *latest = Some((Instant::now(), Arc::clone(&figures)));
        figures
    }
}

/// The figures as they are now; none of those whose cell is away.
pub(super) async fn fresh(kernel: &Kernel) -> Figures {
    let mut figures = Figures::new();
    let tenants = kernel.tenants.all();
    let asking = tenants.iter().map(|tenant| async move {
        let Some(cell) = tenant.host.current() else { return Vec::new() };
        cell.snapshot("").await.map(|snapshot| snapshot.instances).unwrap_or_default()
    });
    let answers = futures_util::future::join_all(asking).await;
    for (tenant, instances) in tenants.iter().zip(answers) {
        for instance in &instances {
            // A child counts for the service that started it, not for the one whose code it runs.
            let Ok(root) = InstanceId::of_tree(&instance.id) else { continue };
            let id = root.service.to_string();
            // A cell counts for its own tenant only.
            let own = kernel.registry.find_id(&id);
            if own.is_some_and(|service| Arc::ptr_eq(&service.tenant, tenant)) {
                figures.entry(id).or_default().add(instance);
            }
        }
    }
    figures
}
