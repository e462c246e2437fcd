//! Rows of grants and revocations. Each function is one step of a transaction and decides nothing.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// A grant: who holds it, and hand by hand how they came to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldRow {
    /// Of its last link.
    pub(crate) id: String,
    pub(crate) holder: String,
    /// Oldest first; at least one.
    pub(crate) links: Vec<LinkRow>,
    /// Unix seconds; none: never.
    pub(crate) expires_at: Option<u64>,
}

/// One act of granting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkRow {
    pub(crate) id: String,
    /// The grant that it counts for.
    pub(crate) account: String,
    /// As `solo-capability` writes them.
    pub(crate) capabilities: Vec<String>,
}

/// The id of a grant that allows nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevokedRow {
    pub(crate) id: String,
    /// Unix seconds from which on it need not be remembered; none: not known.
    pub(crate) expires_at: Option<u64>,
    /// Whether it was in force; not kept.
    pub(crate) ended: bool,
    /// `service:ID` of the service that held it: that need not be remembered, as nobody presents it.
    pub(crate) of_service: Option<String>,
}

/// Keeps a grant that is about to be told. Not one of which a link has been revoked meanwhile: when
/// the revocation is forgotten, it would be back.
pub(crate) fn insert_grant(connection: &Connection, row: &HeldRow) -> Result<(), StoreError> {
    for link in &row.links {
        let mut statement = connection.prepare_cached("SELECT 1 FROM revoked WHERE id = ?1")?;
        if statement.exists([&link.id])? {
            return Ok(());
        }
    }
    let links = serde_json::to_string(&row.links).map_err(|e| StoreError::Row(e.to_string()))?;
    connection.execute(
        "INSERT INTO grants (id, holder, links, expires_at) VALUES (?1, ?2, ?3, ?4)",
        params![row.id, row.holder, links, row.expires_at.map(signed)],
    )?;
    Ok(())
}

/// Whether services of version 1 are still to be given the grants that their deployments name.
pub(crate) fn services_hold_grants(connection: &Connection) -> Result<bool, StoreError> {
    let key = "SELECT 1 FROM meta WHERE key = 'services_hold_grants'";
    Ok(connection.prepare(key)?.exists([])?)
}

/// Keeps the grants of services of version 1.
pub(crate) fn give_services(connection: &Connection, rows: &[HeldRow]) -> Result<(), StoreError> {
    for row in rows {
        insert_grant(connection, row)?;
    }
    let done = "INSERT OR REPLACE INTO meta (key, value) VALUES ('services_hold_grants', '1')";
    connection.execute(done, [])?;
    Ok(())
}

/// Keeps revocations, and forgets the grants that they ended.
pub(crate) fn revoke(connection: &Connection, rows: &[RevokedRow]) -> Result<(), StoreError> {
    for row in rows {
        if row.of_service.is_some() {
            connection.execute("DELETE FROM grants WHERE id = ?1", [&row.id])?;
            continue;
        }
        connection.execute(
            "INSERT OR REPLACE INTO revoked (id, expires_at) VALUES (?1, ?2)",
            params![row.id, row.expires_at.map(signed)],
        )?;
        connection.execute("DELETE FROM grants WHERE id = ?1", [&row.id])?;
    }
    Ok(())
}

/// Forgets what a holder had who is gone.
pub(crate) fn forget_holder(connection: &Connection, holder: &str) -> Result<(), StoreError> {
    connection.execute("DELETE FROM grants WHERE holder = ?1", [holder])?;
    Ok(())
}

/// All grants and revocations.
pub(crate) fn load_grants(
    connection: &Connection,
) -> Result<(Vec<HeldRow>, Vec<RevokedRow>), StoreError> {
    let mut statement = connection.prepare("SELECT id, holder, links, expires_at FROM grants")?;
    let mut rows = statement.query([])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        let links: String = row.get(2)?;
        held.push(HeldRow {
            id: row.get(0)?,
            holder: row.get(1)?,
            links: serde_json::from_str(&links).map_err(|e| StoreError::Row(e.to_string()))?,
            expires_at: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
        });
    }
    let mut statement = connection.prepare("SELECT id, expires_at FROM revoked")?;
    let mut rows = statement.query([])?;
    let mut revoked = Vec::new();
    while let Some(row) = rows.next()? {
        let expires_at = row.get::<_, Option<i64>>(1)?.map(i64::unsigned_abs);
        let id = row.get(0)?;
        revoked.push(RevokedRow { id, expires_at, ended: false, of_service: None });
    }
    Ok((held, revoked))
}

/// Forgets what is over by itself.
pub(crate) fn forget_expired(connection: &Connection, now_unix_s: u64) -> Result<(), StoreError> {
    connection.execute("DELETE FROM grants WHERE expires_at <= ?1", [signed(now_unix_s)])?;
    connection.execute("DELETE FROM revoked WHERE expires_at <= ?1", [signed(now_unix_s)])?;
    Ok(())
}

/// Times far beyond what is legal stay far.
fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn row_of(id: &str, expires_at: Option<u64>) -> HeldRow {
        let link = LinkRow {
            id: id.to_owned(),
            account: id.to_owned(),
            capabilities: vec!["call service:default/counter".to_owned()],
        };
        HeldRow { id: id.to_owned(), holder: "me".to_owned(), links: vec![link], expires_at }
    }

    #[tokio::test]
    async fn grants_are_kept_until_they_are_revoked_or_over() {
        let directory = tempfile::tempdir().expect("tempdir");
        let store = Store::open(&directory.path().join("solo.db")).expect("a store");
        let rows = [row_of("a", Some(100)), row_of("b", None), row_of("c", Some(300))];
        for row in rows.clone() {
            store.run(move |t| insert_grant(t, &row)).await.expect("kept");
        }
        let again = rows[0].clone();
        store.run(move |t| insert_grant(t, &again)).await.expect_err("its id is taken");
        let revoked = RevokedRow {
            id: "c".to_owned(),
            expires_at: Some(300),
            ended: false,
            of_service: None,
        };
        let row = revoked.clone();
        store.run(move |t| revoke(t, std::slice::from_ref(&row))).await.expect("revoked");
        let (held, found) = store.run(|t| load_grants(t)).await.expect("read");
        assert_eq!((held.as_slice(), found.as_slice()), (&rows[..2], &[revoked][..]));
        // One that was made meanwhile from what is revoked is not kept.
        let mut late = row_of("d", None);
        late.links.insert(0, rows[2].links[0].clone());
        store.run(move |t| insert_grant(t, &late)).await.expect("no error");
        let (held, _) = store.run(|t| load_grants(t)).await.expect("read");
        assert_eq!(held, &rows[..2]);
        store.run(|t| forget_expired(t, 100)).await.expect("forgotten");
        let (held, found) = store.run(|t| load_grants(t)).await.expect("read");
        assert_eq!((held.as_slice(), found.len()), (&rows[1..2], 1));
        store.run(|t| forget_expired(t, 300)).await.expect("forgotten");
        let (_, found) = store.run(|t| load_grants(t)).await.expect("read");
        assert_eq!(found, []);
    }
}
