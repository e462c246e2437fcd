//! The tables. Users may open the database with their own tools: names are plain, ids are text,
//! specifications are JSON.

use rusqlite::{Connection, OptionalExtension};
use solo_types::NodeId;

use super::StoreError;

/// Version of the schema that this build writes, kept in `PRAGMA user_version`.
const VERSION: i64 = 4;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

-- One row per service that was ever acknowledged; killed ones are forgotten after a while.
CREATE TABLE services (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    tenant      TEXT NOT NULL,
    killed      INTEGER NOT NULL DEFAULT 0,
    revision    INTEGER NOT NULL,           -- the one that should serve
    next_instance INTEGER NOT NULL,         -- first number that no instance has had
    outcome     TEXT,                       -- JSON; set when the service ended by itself, for good
    rollout     TEXT,                       -- JSON; set while an update is under way
    created_at  INTEGER NOT NULL,           -- Unix milliseconds
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX services_name ON services (tenant, name) WHERE killed = 0;
CREATE INDEX services_killed ON services (killed, updated_at);

CREATE TABLE revisions (
    service     TEXT NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    revision    INTEGER NOT NULL,
    digest      TEXT NOT NULL,
    spec        TEXT NOT NULL,              -- JSON
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (service, revision)
) STRICT;
CREATE INDEX revisions_digest ON revisions (digest);

CREATE TABLE idempotency (
    key         TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    response    BLOB NOT NULL,
    at          INTEGER NOT NULL
) STRICT;

";

/// Since version 2. Tokens of version 1 were of another kind, which is refused: only their ids were kept.
const GRANTS: &str = "
DROP TABLE IF EXISTS grants;
CREATE TABLE grants (
    id          TEXT PRIMARY KEY,
    holder      TEXT NOT NULL,
    links       TEXT NOT NULL,              -- JSON; from the owner's grant to this one
    expires_at  INTEGER                     -- Unix seconds
) STRICT;
CREATE INDEX grants_holder ON grants (holder);
CREATE TABLE revoked (
    id          TEXT PRIMARY KEY,
    expires_at  INTEGER                     -- Unix seconds from which on it need not be kept
) STRICT;
";

/// Since version 3.
const SECRETS: &str = "
CREATE TABLE secrets (
    tenant      TEXT NOT NULL,
    name        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    sealed      BLOB NOT NULL,              -- opens with the tenant's key, for this row alone
    created_at  INTEGER NOT NULL,           -- Unix milliseconds; of the first version
    updated_at  INTEGER NOT NULL,           -- of this one
    PRIMARY KEY (tenant, name)
) STRICT;
";

/// Since version 4. What the compiler found out before then was nobody's; it is found out again.
const TENANTS: &str = "
CREATE TABLE tenants (
    name        TEXT PRIMARY KEY,
    quotas      TEXT NOT NULL,              -- JSON
    created_at  INTEGER NOT NULL,           -- Unix milliseconds
    removed_at  INTEGER                     -- set once it is gone: its name is not used again
) STRICT;
INSERT INTO tenants (name, quotas, created_at) VALUES ('default', '{}', 0);

-- What the compiler found out, so that the same bytes of a tenant are never compiled twice. Not shared
-- between tenants: how long a deployment takes would tell one what others have.
DROP TABLE IF EXISTS compiled;
CREATE TABLE compiled (
    tenant      TEXT NOT NULL,
    digest      TEXT NOT NULL,
    engine      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    core_module INTEGER NOT NULL,
    exports     TEXT NOT NULL,              -- JSON
    PRIMARY KEY (tenant, digest, engine)
) STRICT;
";

/// Since version 4. What is used up of capabilities that bound their uses.
const USES: &str = "
CREATE TABLE uses (
    account     TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    link        TEXT NOT NULL,              -- the grant, or an attenuation of it
    capability  INTEGER NOT NULL,           -- its place there
    per         TEXT NOT NULL,              -- second, minute, hour, day, ever
    period      INTEGER NOT NULL,           -- whole seconds, minutes, hours, days since 1970; 0: ever
    used        INTEGER NOT NULL,           -- in that period
    expires_at  INTEGER,                    -- Unix seconds; of the capability
    ends_at     INTEGER,                    -- Unix seconds from which on it need not be kept
    PRIMARY KEY (account, link, capability, per)
) STRICT;
CREATE INDEX uses_ends_at ON uses (ends_at);
";

/// What only makes questions fast; made where it is missing, so that it needs no new version. Every
/// deployment asks for the revisions of a name, every sweep for the oldest keys.
const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS services_by_name ON services (tenant, name);
CREATE INDEX IF NOT EXISTS idempotency_at ON idempotency (at);
";

/// Sets the connection up and makes the tables of a new database.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    // FULL: a commit is synced before it is answered. NORMAL would lose commits with the power.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;",
    )?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        0 => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            transaction.execute_batch(GRANTS)?;
            transaction.execute_batch(SECRETS)?;
            transaction.execute_batch(TENANTS)?;
            transaction.execute_batch(USES)?;
            transaction.execute_batch(INDEXES)?;
            transaction.execute(
                "INSERT INTO meta (key, value)
                 VALUES ('node', ?1), ('next_service', '1'), ('services_hold_grants', '1')",
                [NodeId(random_node()?).to_string()],
            )?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(())
        }
        1..VERSION => {
            let transaction = connection.transaction()?;
            if found < 2 {
                transaction.execute_batch(GRANTS)?;
            }
            if found < 3 {
                transaction.execute_batch(SECRETS)?;
            }
            transaction.execute_batch(TENANTS)?;
            transaction.execute_batch(USES)?;
            transaction.execute_batch(INDEXES)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(())
        }
        VERSION => Ok(connection.execute_batch(INDEXES)?),
        found => Err(StoreError::Newer { found, known: VERSION }),
    }
}

fn random_node() -> Result<u32, StoreError> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Row(error.to_string()))?;
    Ok(u32::from_le_bytes(bytes))
}

/// A value of `meta`.
pub(super) fn meta(connection: &Connection, key: &str) -> Result<String, StoreError> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()?
        .ok_or_else(|| StoreError::Row(format!("meta.{key} is missing")))
}
