//! Rows of secrets, sealed. Each function is one step of a transaction and decides nothing; none ever
//! sees a value.

use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretRow {
    pub(crate) tenant: String,
    pub(crate) name: String,
    pub(crate) version: u64,
    /// By `solo-secrets`, for these tenant, name and version.
    pub(crate) sealed: Vec<u8>,
    /// Unix milliseconds; of the first version.
    pub(crate) created_at: u64,
    /// Of this one.
    pub(crate) updated_at: u64,
}

/// Keeps a secret, in the place of an older version.
pub(crate) fn put_secret(connection: &Connection, row: &SecretRow) -> Result<(), StoreError> {
    connection.execute(
        "INSERT OR REPLACE INTO secrets (tenant, name, version, sealed, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            row.tenant,
            row.name,
            signed(row.version),
            row.sealed,
            signed(row.created_at),
            signed(row.updated_at),
        ],
    )?;
    Ok(())
}

/// Forgets a secret. True: it was there.
pub(crate) fn delete_secret(
    connection: &Connection,
    tenant: &str,
    name: &str,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM secrets WHERE tenant = ?1 AND name = ?2";
    Ok(connection.execute(sql, [tenant, name])? > 0)
}

/// Those of `names` that are there.
pub(crate) fn find_secrets(
    connection: &Connection,
    tenant: &str,
    names: &[String],
) -> Result<Vec<SecretRow>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT version, sealed, created_at, updated_at FROM secrets
         WHERE tenant = ?1 AND name = ?2",
    )?;
    let mut found = Vec::new();
    for name in names {
        let row = statement.query_row([tenant, name], |row| {
            Ok(SecretRow {
                tenant: tenant.to_owned(),
                name: name.clone(),
                version: unsigned(row.get(0)?),
                sealed: row.get(1)?,
                created_at: unsigned(row.get(2)?),
                updated_at: unsigned(row.get(3)?),
            })
        });
        found.extend(row.optional()?);
    }
    Ok(found)
}

/// All secrets of a tenant by name, without what is sealed but for its size in bytes.
pub(crate) fn list_secrets(
    connection: &Connection,
    tenant: &str,
) -> Result<Vec<(SecretRow, usize)>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT name, version, length(sealed), created_at, updated_at FROM secrets
         WHERE tenant = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map([tenant], |row| {
        let listed = SecretRow {
            tenant: tenant.to_owned(),
            name: row.get(0)?,
            version: unsigned(row.get(1)?),
            sealed: Vec::new(),
            created_at: unsigned(row.get(3)?),
            updated_at: unsigned(row.get(4)?),
        };
        Ok((listed, usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Number of the secrets of a tenant.
pub(crate) fn count_secrets(connection: &Connection, tenant: &str) -> Result<usize, StoreError> {
    let sql = "SELECT count(*) FROM secrets WHERE tenant = ?1";
    let count: i64 = connection.query_row(sql, [tenant], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// SQLite's integers are signed; times and versions stay far below the difference.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn row(tenant: &str, name: &str, version: u64) -> SecretRow {
        SecretRow {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            version,
            sealed: vec![7; 50],
            created_at: 1,
            updated_at: version,
        }
    }

    #[tokio::test]
    async fn secrets_are_kept_by_tenant_and_name() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("solo.db");
        let store = Store::open(&path).expect("a store");
        for row in [row("a", "db", 1), row("a", "db", 2), row("b", "db", 1), row("a", "api", 1)] {
            store.run(move |t| put_secret(t, &row)).await.expect("kept");
        }
        let store = Store::open(&path).expect("the same again");
        let names = ["db".to_owned(), "absent".to_owned()];
        let found = store.run(move |t| find_secrets(t, "a", &names)).await.expect("read");
        assert_eq!(found, [row("a", "db", 2)]);
        let listed = store.run(|t| list_secrets(t, "a")).await.expect("listed");
        let listed: Vec<_> = listed.iter().map(|(row, size)| (row.name.as_str(), *size)).collect();
        assert_eq!(listed, [("api", 50), ("db", 50)]);
        assert!(store.run(|t| delete_secret(t, "a", "db")).await.expect("deleted"));
        assert!(!store.run(|t| delete_secret(t, "a", "db")).await.expect("not there"));
        let counted = store.run(|t| Ok((count_secrets(t, "a")?, count_secrets(t, "c")?)));
        assert_eq!(counted.await.expect("counted"), (1, 0));
    }

    /// What versions 1 and 2 of the schema wrote gets the table, and keeps what it had.
    #[tokio::test]
    async fn older_databases_get_the_table() {
        for version in [1, 2] {
            let directory = tempfile::tempdir().expect("tempdir");
            let path = directory.path().join("solo.db");
            drop(Store::open(&path).expect("made"));
            let connection = Connection::open(&path).expect("opened");
            connection
                .execute_batch(&format!(
                    "DROP TABLE uses; DROP TABLE secrets; DROP TABLE tenants; {} PRAGMA user_version = {version};",
                    if version == 1 { "DROP TABLE grants; DROP TABLE revoked;" } else { "" }
                ))
                .expect("as it was");
            let node: String = connection
                .query_row("SELECT value FROM meta WHERE key = 'node'", [], |row| row.get(0))
                .expect("node");
            drop(connection);
            let store = Store::open(&path).expect("migrated");
            store.run(|t| put_secret(t, &row("a", "db", 1))).await.expect("kept");
            let kept = store.run(|t| crate::store::node(t)).await.expect("node");
            assert_eq!(kept.to_string(), node);
        }
    }
}
