//! Rows of what is used up of capabilities that bound their uses. Each function is one step of a
//! transaction and decides nothing. Rows end with the grant that they count for, by a foreign key.

use rusqlite::{Connection, Row, params};
use solo_capability::{Count, GrantId, Per};

use super::StoreError;

/// What was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsesRow {
    /// The grant or attenuation, as it is written.
    pub(crate) link: String,
    /// None: the row cannot be read.
    pub(crate) count: Option<Count>,
}

/// Keeps counts. They come in any order, as requests wait for the disk side by side: a count that is
/// there and is higher, or of a later window, stays. Of a grant that was revoked meanwhile nothing is
/// kept.
pub(crate) fn put_uses(connection: &Connection, counts: &[Count]) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO uses (account, link, capability, per, period, used, expires_at, ends_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE EXISTS (SELECT 1 FROM grants WHERE id = ?1)
         ON CONFLICT (account, link, capability, per) DO UPDATE SET
             period = excluded.period, used = excluded.used,
             expires_at = excluded.expires_at, ends_at = excluded.ends_at
         WHERE excluded.period > period OR (excluded.period = period AND excluded.used > used)",
    )?;
    for count in counts {
        statement.execute(params![
            count.account.as_str(),
            count.link.as_str(),
            i64::try_from(count.capability).unwrap_or(i64::MAX),
            count.per.as_str(),
            signed(count.window),
            signed(count.used),
            count.expires_at_unix_s.map(signed),
            count.ends_at_unix_s().map(signed),
        ])?;
    }
    Ok(())
}

/// All counts that still matter.
pub(crate) fn load_uses(
    connection: &Connection,
    now_unix_s: u64,
) -> Result<Vec<UsesRow>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT account, link, capability, per, period, used, expires_at FROM uses
         WHERE ends_at IS NULL OR ends_at > ?1",
    )?;
    let rows = statement.query_map([signed(now_unix_s)], |row| {
        let link: String = row.get(1)?;
        let count = count(&link, row);
        Ok(UsesRow { link, count })
    })?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

/// Forgets what cannot matter any more.
pub(super) fn forget_uses(connection: &Connection, now_unix_s: u64) -> Result<(), StoreError> {
    connection.execute("DELETE FROM uses WHERE ends_at <= ?1", [signed(now_unix_s)])?;
    Ok(())
}

fn count(link: &str, row: &Row<'_>) -> Option<Count> {
    let number = |at: usize| u64::try_from(row.get::<_, i64>(at).ok()?).ok();
    Some(Count {
        account: GrantId::new(&row.get::<_, String>(0).ok()?).ok()?,
        link: GrantId::new(link).ok()?,
        capability: usize::try_from(number(2)?).ok()?,
        per: Per::parse(&row.get::<_, String>(3).ok()?)?,
        window: number(4)?,
        used: number(5)?,
        expires_at_unix_s: row.get::<_, Option<i64>>(6).ok()?.map(i64::unsigned_abs),
    })
}

/// Numbers far beyond what is legal stay far.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{HeldRow, LinkRow, RevokedRow, Store, forget_old, insert_grant, revoke};

    const NOW: u64 = 1_800_000_000;

    fn hours(account: &str, window: u64, used: u64) -> Count {
        let id = |text: &str| GrantId::new(text).expect("legal");
        Count {
            account: id(account),
            link: id("child"),
            capability: 3,
            per: Per::Hour,
            window,
            used,
            expires_at_unix_s: Some(NOW + 100_000),
        }
    }

    async fn store_with(grants: &[&str]) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("tempdir");
        let store = Store::open(&directory.path().join("solo.db")).expect("a store");
        for id in grants {
            let link = LinkRow {
                id: (*id).to_owned(),
                account: (*id).to_owned(),
                capabilities: vec!["call service:default/x uses=9/hour".to_owned()],
            };
            let row = HeldRow {
                id: (*id).to_owned(),
                holder: "me".to_owned(),
                links: vec![link],
                expires_at: Some(NOW + 50_000),
            };
            store.run(move |t| insert_grant(t, &row)).await.expect("kept");
        }
        (directory, store)
    }

    async fn put(store: &Store, count: Count) {
        store.run(move |t| put_uses(t, &[count])).await.expect("kept");
    }

    async fn loaded(store: &Store, now_unix_s: u64) -> Vec<UsesRow> {
        store.run(move |t| load_uses(t, now_unix_s)).await.expect("read")
    }

    fn row(count: Count) -> UsesRow {
        UsesRow { link: count.link.to_string(), count: Some(count) }
    }

    #[tokio::test]
    async fn a_count_never_falls_within_its_window() {
        let (_directory, store) = store_with(&["a"]).await;
        let window = NOW / 3_600;
        for (number, used, expected) in [
            (window, 2, (window, 2)),
            // Those that were charged before come behind it.
            (window, 1, (window, 2)),
            (window, 3, (window, 3)),
            (window + 1, 1, (window + 1, 1)),
            (window, 4, (window + 1, 1)),
        ] {
            put(&store, hours("a", number, used)).await;
            let expected = row(hours("a", expected.0, expected.1));
            assert_eq!(loaded(&store, NOW).await, [expected], "{number} {used}");
        }
    }

    #[tokio::test]
    async fn rows_end_with_their_windows_and_grants() {
        let (_directory, store) = store_with(&["a", "b", "c"]).await;
        let window = NOW / 3_600;
        for account in ["a", "b", "c", "never-issued"] {
            put(&store, hours(account, window, 1)).await;
        }
        let all = ["a", "b", "c"].map(|account| row(hours(account, window, 1)));
        assert_eq!(loaded(&store, NOW).await, all);
        let revoked =
            RevokedRow { id: "b".to_owned(), expires_at: None, ended: true, of_service: None };
        store.run(move |t| revoke(t, &[revoked])).await.expect("revoked");
        // Charged before, stored after.
        put(&store, hours("b", window, 2)).await;
        assert_eq!(loaded(&store, NOW).await, [all[0].clone(), all[2].clone()]);
        assert_eq!(loaded(&store, NOW + 3_600).await, [], "its window is over");
        let count = || async {
            let sql = "SELECT count(*) FROM uses";
            store
                .run(|t| Ok(t.query_row(sql, [], |row| row.get::<_, i64>(0))?))
                .await
                .expect("count")
        };
        assert_eq!(count().await, 2);
        put(&store, hours("c", window + 24, 1)).await;
        store.run(|t| forget_old(t, (NOW + 3_600) * 1_000)).await.expect("swept");
        assert_eq!(count().await, 1, "a's window is over, and c's is not");
        store.run(|t| forget_old(t, (NOW + 50_000) * 1_000)).await.expect("swept");
        assert_eq!(count().await, 0, "the grants are over");
    }

    /// What version 3 of the schema wrote gets the table, and keeps its grants.
    #[tokio::test]
    async fn older_databases_get_the_table() {
        let (directory, store) = store_with(&["a"]).await;
        let undo = "DROP TABLE uses; DROP TABLE tenants; PRAGMA user_version = 3;";
        drop(store);
        let path = directory.path().join("solo.db");
        let connection = Connection::open(&path).expect("opened");
        connection.execute_batch(undo).expect("as it was");
        drop(connection);
        let store = Store::open(&path).expect("migrated");
        put(&store, hours("a", NOW / 3_600, 1)).await;
        assert_eq!(loaded(&store, NOW).await, [row(hours("a", NOW / 3_600, 1))]);
    }

    #[tokio::test]
    async fn rows_that_cannot_be_read_are_told() {
        let (_directory, store) = store_with(&["a"]).await;
        put(&store, hours("a", NOW, 1)).await;
        for (change, link) in [
            ("per = 'year'", "child"),
            ("per = 'hour', used = -1", "child"),
            ("used = 1, link = 'a b'", "a b"),
        ] {
            let sql = format!("UPDATE uses SET {change}");
            store.run(move |t| Ok(t.execute(&sql, [])?)).await.expect("changed");
            let unreadable = UsesRow { link: link.to_owned(), count: None };
            assert_eq!(loaded(&store, NOW).await, [unreadable], "{change}");
        }
    }
}
