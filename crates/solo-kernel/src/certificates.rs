//! Keeps the certificate of the TLS listeners up to date, and tells of it as events.
//!
//! What a certificate is and when it is taken is `solo-tls`'s; this only says what happened. The
//! gateway reads the same files by itself.

use std::sync::Arc;

use solo_tls::{Change, ServerTls};

use crate::kernel::Kernel;

/// Looks at the files until it fails, which its supervisor notices.
pub(crate) async fn keep(kernel: Arc<Kernel>, tls: Arc<ServerTls>) -> Result<(), String> {
    let tell = |change: &Change| {
        let (kind, message) = told(change);
        kernel.monitor.event("", "", kind, &message);
    };
    Err(tls.keep(tell).await)
}

fn told(change: &Change) -> (&'static str, String) {
    match change {
        Change::Replaced { facts } => {
            let message =
                format!("new connections get {}, valid until {}", facts.subject, facts.not_after);
            ("certificate_replaced", message)
        }
        Change::Broken { why } => (
            "certificate_broken",
            format!("the new certificate is of no use, the old one stays: {why}"),
        ),
        Change::Ending { facts } => {
            let message = format!("{} is valid until {}: renew it", facts.subject, facts.not_after);
            ("certificate_ending", message)
        }
    }
}
