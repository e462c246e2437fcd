//! Reading and writing rows. Each function is one step of a transaction and decides nothing.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use solo_types::{Digest, Exit, Export, NodeId, ServiceId, ServiceKind, ServiceSpec, ServiceState};

use super::{StoreError, schema};

/// Life of an idempotency key, as `solo.v1` documents it.
const IDEMPOTENCY_TTL_MS: u64 = 24 * 3_600_000;

/// Keys that are kept at most, whatever their age: the newest ones.
const IDEMPOTENCY_ROWS_MAX: u64 = 10_000;

/// Killed services that `Status` still answers for: the newest ones.
const TOMBSTONES_MAX: u64 = 256;

/// A service that should be.
#[derive(Debug, Clone)]
pub(crate) struct ServiceRow {
    pub(crate) id: ServiceId,
    pub(crate) revision: u64,
    pub(crate) spec: ServiceSpec,
    pub(crate) next_instance: u64,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) rollout: Option<RolloutRow>,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

/// How a service ended by itself, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// `Completed`, `Failed`, or for a tombstone `Killed`.
    pub(crate) state: ServiceState,
    /// Last exits, oldest first, with the instance's id.
    pub(crate) exits: Vec<(String, Exit)>,
    /// Last log lines, oldest first.
    pub(crate) log_tail: Vec<String>,
    /// Over all instances.
    pub(crate) restarts: u64,
}

/// An update that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RolloutRow {
    /// The state of the strategy.
    pub(crate) rollout: solo_rollout::Rollout,
    /// The revision that takes over.
    pub(crate) to_spec: ServiceSpec,
}

/// A service that was killed.
#[derive(Debug, Clone)]
pub(crate) struct Tombstone {
    pub(crate) id: ServiceId,
    pub(crate) revision: u64,
    pub(crate) spec: ServiceSpec,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

/// What the compiler found out about an artifact.
#[derive(Debug, Clone)]
pub(crate) struct CompiledArtifact {
    pub(crate) kind: ServiceKind,
    pub(crate) core_module: bool,
    pub(crate) exports: Vec<Export>,
}

/// A request that was answered before.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyRow {
    pub(crate) key: String,
    pub(crate) fingerprint: String,
    pub(crate) response: Vec<u8>,
    pub(crate) at: u64,
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Row(error.to_string()))
}

fn from_json<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Row(error.to_string()))
}

fn id(text: &str) -> Result<ServiceId, StoreError> {
    text.parse().map_err(|error: solo_types::IdError| StoreError::Row(error.to_string()))
}

/// SQLite's integers are signed; times and counters stay far below the difference.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The node of this installation.
pub(crate) fn node(connection: &Connection) -> Result<NodeId, StoreError> {
    schema::meta(connection, "node")?
        .parse()
        .map_err(|error: solo_types::IdError| StoreError::Row(error.to_string()))
}

/// The key of numbers that are not to tell how many there are; made when it is first asked for.
pub(crate) fn veil_key(connection: &Connection) -> Result<Vec<u8>, StoreError> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(|error| StoreError::Row(error.to_string()))?;
    connection.execute(
        "INSERT OR IGNORE INTO meta (key, value) VALUES ('veil', ?1)",
        [blake3::Hash::from_bytes(fresh).to_hex().as_str()],
    )?;
    let wrong = |_| StoreError::Row("meta.veil is no key".to_owned());
    let key = blake3::Hash::from_hex(schema::meta(connection, "veil")?).map_err(wrong)?;
    Ok(key.as_bytes().to_vec())
}

/// Takes `count` service numbers that were never used. Unused ones are lost, which harms nothing.
pub(crate) fn reserve_service_numbers(
    connection: &Connection,
    count: u64,
) -> Result<Range<u64>, StoreError> {
    let first: u64 = schema::meta(connection, "next_service")?
        .parse()
        .map_err(|_| StoreError::Row("meta.next_service is no number".into()))?;
    connection.execute(
        "UPDATE meta SET value = ?1 WHERE key = 'next_service'",
        [(first + count).to_string()],
    )?;
    Ok(first..first + count)
}

/// The highest revision that any service of this name ever had; 0 for none.
pub(crate) fn latest_revision_of_name(
    connection: &Connection,
    tenant: &str,
    name: &str,
) -> Result<u64, StoreError> {
    let latest: Option<i64> = connection.query_row(
        "SELECT max(r.revision) FROM services s JOIN revisions r ON r.service = s.id
         WHERE s.tenant = ?1 AND s.name = ?2",
        params![tenant, name],
        |row| row.get(0),
    )?;
    Ok(latest.map_or(0, unsigned))
}

/// Writes a service that is ready.
pub(crate) fn insert_service(connection: &Connection, row: &ServiceRow) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO services (id, name, tenant, revision, next_instance, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            row.id.to_string(),
            row.spec.name.as_str(),
            row.spec.tenant,
            signed(row.revision),
            signed(row.next_instance),
            signed(row.created_at),
            signed(row.updated_at),
        ],
    )?;
    insert_revision(connection, row.id, row.revision, &row.spec, row.created_at)
}

fn insert_revision(
    connection: &Connection,
    service: ServiceId,
    revision: u64,
    spec: &ServiceSpec,
    at: u64,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT OR REPLACE INTO revisions (service, revision, digest, spec, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            service.to_string(),
            signed(revision),
            spec.digest.to_string(),
            json(spec)?,
            signed(at)
        ],
    )?;
    Ok(())
}

/// All services that should be.
pub(crate) fn load_services(connection: &Connection) -> Result<Vec<ServiceRow>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT s.id, s.revision, r.spec, s.next_instance, s.outcome, s.rollout, s.created_at,
                s.updated_at
         FROM services s JOIN revisions r ON r.service = s.id AND r.revision = s.revision
         WHERE s.killed = 0 ORDER BY s.name",
    )?;
    let mut rows = statement.query([])?;
    let mut services = Vec::new();
    while let Some(row) = rows.next()? {
        let outcome: Option<String> = row.get(4)?;
        let rollout: Option<String> = row.get(5)?;
        services.push(ServiceRow {
            id: id(&row.get::<_, String>(0)?)?,
            revision: unsigned(row.get(1)?),
            spec: from_json(&row.get::<_, String>(2)?)?,
            next_instance: unsigned(row.get(3)?),
            outcome: outcome.as_deref().map(from_json).transpose()?,
            rollout: rollout.as_deref().map(from_json).transpose()?,
            created_at: unsigned(row.get(6)?),
            updated_at: unsigned(row.get(7)?),
        });
    }
    Ok(services)
}

/// Notes that an update has begun. The revision that serves stays the old one.
pub(crate) fn start_rollout(
    connection: &Connection,
    service: ServiceId,
    rollout: &RolloutRow,
    next_instance: u64,
) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE services SET rollout = ?2, next_instance = ?3, outcome = NULL WHERE id = ?1",
        params![service.to_string(), json(rollout)?, signed(next_instance)],
    )?;
    Ok(())
}

/// Notes how an update ended: with the new revision, or (`None`) with the old one.
pub(crate) fn finish_rollout(
    connection: &Connection,
    service: ServiceId,
    new: Option<(u64, &ServiceSpec)>,
    next_instance: u64,
    at: u64,
) -> Result<(), StoreError> {
    if let Some((revision, spec)) = new {
        insert_revision(connection, service, revision, spec, at)?;
        connection.execute(
            "UPDATE services SET revision = ?2, updated_at = ?3 WHERE id = ?1",
            params![service.to_string(), signed(revision), signed(at)],
        )?;
    }
    connection.execute(
        "UPDATE services SET rollout = NULL, next_instance = ?2 WHERE id = ?1",
        params![service.to_string(), signed(next_instance)],
    )?;
    Ok(())
}

/// Notes that a service ended by itself, or (`None`) lives again.
pub(crate) fn set_outcome(
    connection: &Connection,
    service: ServiceId,
    outcome: Option<&Outcome>,
) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE services SET outcome = ?2 WHERE id = ?1",
        params![service.to_string(), outcome.map(json).transpose()?],
    )?;
    Ok(())
}

/// All killed services that are remembered, the newest of each name, by tenant and name.
pub(crate) fn load_tombstones(connection: &Connection) -> Result<Vec<Tombstone>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT tenant, name FROM services WHERE killed = 1 ORDER BY tenant, name",
    )?;
    let names =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut tombstones = Vec::new();
    for name in names {
        let (tenant, name) = name?;
        tombstones.extend(find_tombstone(connection, &tenant, &name)?);
    }
    Ok(tombstones)
}

/// Makes a tombstone of a service.
pub(crate) fn kill_service(
    connection: &Connection,
    service: ServiceId,
    outcome: &Outcome,
    at: u64,
) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE services SET killed = 1, rollout = NULL, outcome = ?2, updated_at = ?3 WHERE id = ?1",
        params![service.to_string(), json(outcome)?, signed(at)],
    )?;
    Ok(())
}

/// The newest killed service of this name.
pub(crate) fn find_tombstone(
    connection: &Connection,
    tenant: &str,
    name: &str,
) -> Result<Option<Tombstone>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT s.id, s.revision, r.spec, s.outcome, s.created_at, s.updated_at
         FROM services s JOIN revisions r ON r.service = s.id AND r.revision = s.revision
         WHERE s.killed = 1 AND s.tenant = ?1 AND s.name = ?2
         ORDER BY s.updated_at DESC, s.revision DESC LIMIT 1",
    )?;
    let mut rows = statement.query(params![tenant, name])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let outcome: Option<String> = row.get(3)?;
    Ok(Some(Tombstone {
        id: id(&row.get::<_, String>(0)?)?,
        revision: unsigned(row.get(1)?),
        spec: from_json(&row.get::<_, String>(2)?)?,
        outcome: outcome.as_deref().map(from_json).transpose()?,
        created_at: unsigned(row.get(4)?),
        updated_at: unsigned(row.get(5)?),
    }))
}

/// Notes what the compiler found out.
pub(crate) fn put_compiled(
    connection: &Connection,
    tenant: &str,
    digest: &Digest,
    engine: &str,
    compiled: &CompiledArtifact,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT OR REPLACE INTO compiled (tenant, digest, engine, kind, core_module, exports)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            tenant,
            digest.to_string(),
            engine,
            json(&compiled.kind)?,
            compiled.core_module,
            json(&compiled.exports)?
        ],
    )?;
    Ok(())
}

/// What the compiler found out before.
pub(crate) fn find_compiled(
    connection: &Connection,
    tenant: &str,
    digest: &Digest,
    engine: &str,
) -> Result<Option<CompiledArtifact>, StoreError> {
    let found: Option<(String, bool, String)> = connection
        .query_row(
            "SELECT kind, core_module, exports FROM compiled
             WHERE tenant = ?1 AND digest = ?2 AND engine = ?3",
            params![tenant, digest.to_string(), engine],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    found
        .map(|(kind, core_module, exports)| {
            Ok(CompiledArtifact {
                kind: from_json(&kind)?,
                core_module,
                exports: from_json(&exports)?,
            })
        })
        .transpose()
}

/// The answer to an earlier request with this key.
pub(crate) fn find_idempotent(
    connection: &Connection,
    key: &str,
    now: u64,
) -> Result<Option<IdempotencyRow>, StoreError> {
    Ok(connection
        .query_row(
            "SELECT fingerprint, response, at FROM idempotency WHERE key = ?1 AND at > ?2",
            params![key, signed(now.saturating_sub(IDEMPOTENCY_TTL_MS))],
            |row| {
                Ok(IdempotencyRow {
                    key: key.to_owned(),
                    fingerprint: row.get(0)?,
                    response: row.get(1)?,
                    at: unsigned(row.get(2)?),
                })
            },
        )
        .optional()?)
}

/// Keeps the answer to a request, in the transaction that made it true.
pub(crate) fn put_idempotent(
    connection: &Connection,
    row: &IdempotencyRow,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT OR REPLACE INTO idempotency (key, fingerprint, response, at)
         VALUES (?1, ?2, ?3, ?4)",
        params![row.key, row.fingerprint, row.response, signed(row.at)],
    )?;
    Ok(())
}

/// Forgets what has had its time: old keys, expired grants, all but the newest tombstones.
/// Returns the services that were forgotten.
pub(crate) fn forget_old(connection: &Connection, now: u64) -> Result<Vec<ServiceId>, StoreError> {
    connection.execute(
        "DELETE FROM idempotency WHERE at <= ?1 OR key NOT IN
             (SELECT key FROM idempotency ORDER BY at DESC LIMIT ?2)",
        params![signed(now.saturating_sub(IDEMPOTENCY_TTL_MS)), signed(IDEMPOTENCY_ROWS_MAX)],
    )?;
    super::held::forget_expired(connection, now / 1_000)?;
    super::uses::forget_uses(connection, now / 1_000)?;
    let mut statement = connection.prepare(
        "DELETE FROM services WHERE killed = 1 AND id NOT IN
             (SELECT id FROM services WHERE killed = 1 ORDER BY updated_at DESC LIMIT ?1)
         RETURNING id",
    )?;
    let mut rows = statement.query([signed(TOMBSTONES_MAX)])?;
    let mut forgotten = Vec::new();
    while let Some(row) = rows.next()? {
        forgotten.push(id(&row.get::<_, String>(0)?)?);
    }
    Ok(forgotten)
}

/// Digests of all artifacts that a revision or a rollout of the tenant needs.
pub(crate) fn referenced_digests(
    connection: &Connection,
    tenant: &str,
) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT r.digest FROM revisions r JOIN services s ON s.id = r.service WHERE s.tenant = ?1
         UNION SELECT json_extract(rollout, '$.to_spec.digest') FROM services
               WHERE rollout IS NOT NULL AND tenant = ?1",
    )?;
    let rows = statement.query_map([tenant], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
