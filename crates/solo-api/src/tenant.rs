//! Quotas of tenants on the wire. Each figure may be anything; the largest number stands for no bound.

use solo_types::Quotas;

use crate::v1;

/// No bound but those of the node.
pub const UNBOUNDED: u64 = u64::MAX;

/// The quotas that a request makes of those that are in force: what it does not state stays.
#[must_use]
pub fn quotas_after(before: Quotas, wanted: v1::Quotas) -> Quotas {
    let after = |before: Option<u64>, wanted: Option<u64>| match wanted {
        None => before,
        Some(UNBOUNDED) => None,
        Some(wanted) => Some(wanted),
    };
    Quotas {
        services: after(before.services, wanted.services),
        instances: after(before.instances, wanted.instances),
        memory_bytes: after(before.memory_bytes, wanted.memory_bytes),
        cpu_shares: after(before.cpu_shares, wanted.cpu_shares),
        artifact_bytes: after(before.artifact_bytes, wanted.artifact_bytes),
        deploys_per_minute: after(before.deploys_per_minute, wanted.deploys_per_minute),
        tokens: after(before.tokens, wanted.tokens),
    }
}

/// Quotas on the wire: absent where there is no bound.
#[must_use]
pub fn quotas_message(quotas: &Quotas) -> v1::Quotas {
    v1::Quotas {
        services: quotas.services,
        instances: quotas.instances,
        memory_bytes: quotas.memory_bytes,
        cpu_shares: quotas.cpu_shares,
        artifact_bytes: quotas.artifact_bytes,
        deploys_per_minute: quotas.deploys_per_minute,
        tokens: quotas.tokens,
    }
}

/// Quotas by name, for records: `none` where there is no bound.
#[must_use]
pub fn quotas_details(quotas: &Quotas) -> [(&'static str, String); 7] {
    let text = |quota: Option<u64>| quota.map_or_else(|| "none".to_owned(), |n| n.to_string());
    [
        ("services", text(quotas.services)),
        ("instances", text(quotas.instances)),
        ("memory_bytes", text(quotas.memory_bytes)),
        ("cpu_shares", text(quotas.cpu_shares)),
        ("artifact_bytes", text(quotas.artifact_bytes)),
        ("deploys_per_minute", text(quotas.deploys_per_minute)),
        ("tokens", text(quotas.tokens)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_stated_stays() {
        let before = Quotas { services: Some(3), tokens: Some(1), ..Quotas::default() };
        let wanted =
            v1::Quotas { services: Some(UNBOUNDED), instances: Some(0), ..Default::default() };
        let after = quotas_after(before, wanted);
        let expected = Quotas { instances: Some(0), tokens: Some(1), ..Quotas::default() };
        assert_eq!(after, expected);
        assert_eq!(quotas_after(Quotas::default(), quotas_message(&after)), after);
        assert_eq!(quotas_details(&after)[0].1, "none");
    }
}
