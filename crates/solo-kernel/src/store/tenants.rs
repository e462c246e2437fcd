//! Rows of tenants. Each function is one step of a transaction and decides nothing.

use rusqlite::{Connection, params};
use solo_types::{Quotas, TenantName};

use super::StoreError;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TenantRow {
    pub(crate) name: TenantName,
    pub(crate) quotas: Quotas,
    /// Unix milliseconds.
    pub(crate) created_at: u64,
}

/// All tenants, by name.
pub(crate) fn load_tenants(connection: &Connection) -> Result<Vec<TenantRow>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT name, quotas, created_at FROM tenants WHERE removed_at IS NULL ORDER BY name",
    )?;
    let mut rows = statement.query([])?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, quotas): (String, String) = (row.get(0)?, row.get(1)?);
        tenants.push(TenantRow {
            name: TenantName::new(&name).map_err(|error| StoreError::Row(error.to_string()))?,
            quotas: serde_json::from_str(&quotas)
                .map_err(|error| StoreError::Row(error.to_string()))?,
            created_at: row.get::<_, i64>(2)?.unsigned_abs(),
        });
    }
    Ok(tenants)
}

/// Whether a tenant of this name was removed.
pub(crate) fn was_tenant(connection: &Connection, name: &TenantName) -> Result<bool, StoreError> {
    let mut statement =
        connection.prepare("SELECT 1 FROM tenants WHERE name = ?1 AND removed_at IS NOT NULL")?;
    Ok(statement.exists([name.as_str()])?)
}

/// Keeps a tenant, in the place of the one of its name.
pub(crate) fn put_tenant(connection: &Connection, row: &TenantRow) -> Result<(), StoreError> {
    let quotas =
        serde_json::to_string(&row.quotas).map_err(|error| StoreError::Row(error.to_string()))?;
    connection.execute(
        "INSERT OR REPLACE INTO tenants (name, quotas, created_at) VALUES (?1, ?2, ?3)",
        params![row.name.as_str(), quotas, i64::try_from(row.created_at).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}

/// Forgets all that is kept under the name of a tenant: tombstones, secrets, what was compiled, answers
/// to earlier requests. The name alone is remembered.
pub(crate) fn delete_tenant(
    connection: &Connection,
    name: &TenantName,
    at: u64,
) -> Result<(), StoreError> {
    let name = name.as_str();
    for statement in [
        "DELETE FROM services WHERE tenant = ?1",
        "DELETE FROM secrets WHERE tenant = ?1",
        "DELETE FROM compiled WHERE tenant = ?1",
    ] {
        connection.execute(statement, [name])?;
    }
    let at = i64::try_from(at).unwrap_or(i64::MAX);
    connection.execute("UPDATE tenants SET removed_at = ?2 WHERE name = ?1", params![name, at])?;
    let answers = format!("{name}/");
    connection.execute(
        "DELETE FROM idempotency WHERE substr(key, 1, length(?1)) = ?1",
        [answers.as_str()],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn tenants_are_kept_and_forgotten_with_what_is_theirs() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("solo.db");
        let store = Store::open(&path).expect("a store");
        let row = TenantRow {
            name: TenantName::new("acme").expect("legal"),
            quotas: Quotas { services: Some(3), ..Quotas::default() },
            created_at: 5,
        };
        let kept = row.clone();
        store.run(move |t| put_tenant(t, &kept)).await.expect("kept");
        drop(store);
        let store = Store::open(&path).expect("the same again");
        let all = store.run(|t| load_tenants(t)).await.expect("read");
        assert_eq!(all[0], row);
        assert_eq!(all[1].name.as_str(), "default");
        assert_eq!(all[1].quotas, Quotas::default());
        let name = row.name.clone();
        store.run(move |t| delete_tenant(t, &name, 9)).await.expect("forgotten");
        assert_eq!(store.run(|t| load_tenants(t)).await.expect("read").len(), 1);
        assert!(store.run(move |t| was_tenant(t, &row.name)).await.expect("read"));
    }
}
