//! Secrets of the kernel (SPEC C5): sealed on disk, opened for the start of who was given them.
//!
//! Each tenant has a key of its own, apart from the database ([`keyfile`]). A value is in the kernel's memory while it is
//! set and while a start that needs it is under way, and nowhere else; it is never told by the API, and
//! no record names more than name, version and size. Who may do what is the API's business.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use solo_api::cell::v1 as wire;
use solo_secrets::{Place, SEALED_OVERHEAD_BYTES, SealError, SealingKey, Secret};
use solo_types::{
    Problem, ProblemKind, SecretName, SecretReference, ServiceId, ServiceSpec, bounds,
};

use crate::audit::{Audit, Entry};
use crate::boot::KernelError;
use crate::home::Home;
use crate::service::Registry;
use crate::store::{self, SecretRow, Store};
use crate::{clock, keyfile};

/// Reason of a start that names a secret which is not there.
pub(crate) const SECRET_MISSING: &str = "SECRET_MISSING";

/// Reason of a start that names a secret which cannot be opened.
pub(crate) const SECRET_UNREADABLE: &str = "SECRET_UNREADABLE";

/// The secrets of the node.
#[derive(Debug)]
pub(crate) struct Secrets {
    home: Home,
    /// By tenant; read when they are first needed.
    keys: Mutex<HashMap<String, Arc<SealingKey>>>,
    store: Store,
    /// Changes come one after the other, so that each knows the version that it makes before it is
    /// audited. Held for two writes to disk.
    changing: tokio::sync::Mutex<()>,
}

/// A secret in a list.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) row: SecretRow,
    /// Of the value.
    pub(crate) size_bytes: u64,
}

impl Secrets {
    /// Reads the keys of these tenants, or makes them at the first start.
    ///
    /// # Errors
    /// [`KernelError::SecretsKey`], also for a key that others may read or that has not its length;
    /// [`KernelError::Store`].
    pub(crate) async fn open(
        home: &Home,
        store: Store,
        tenants: &[&str],
    ) -> Result<Self, KernelError> {
        let (home, keys) = (home.clone(), Mutex::default());
        let secrets = Self { home, keys, store, changing: tokio::sync::Mutex::default() };
        for tenant in tenants {
            let (_, made) = secrets.load(tenant).map_err(|why| KernelError::SecretsKey {
                path: secrets.home.secrets_key(tenant),
                why,
            })?;
            let owner = (*tenant).to_owned();
            let count = secrets.store.run(move |t| store::count_secrets(t, &owner)).await;
            let count = count.map_err(|error| KernelError::Store(error.to_string()))?;
            if made && count > 0 {
                // The services that need none go on; each start that needs one says why it fails.
                let path = secrets.home.secrets_key(tenant);
                let path = path.display();
                tracing::error!(%path, count, "The key of the secrets was gone; a new one opens none of them");
            }
        }
        Ok(secrets)
    }

    /// Reads the key of a tenant, or makes it. True: it was made.
    fn load(&self, tenant: &str) -> Result<(Arc<SealingKey>, bool), String> {
        let mut made = false;
        let make = || {
            made = true;
            let key = SealingKey::generate().map_err(std::io::Error::other)?;
            Ok(key.to_bytes().to_vec())
        };
        let bytes = keyfile::load_or_make(&self.home.secrets_key(tenant), make);
        let bytes = bytes.map_err(|error| error.to_string())?;
        let key = Arc::new(SealingKey::from_bytes(&bytes).map_err(|error| error.to_string())?);
        self.keys.lock().insert(tenant.to_owned(), Arc::clone(&key));
        Ok((key, made))
    }

    fn key(&self, tenant: &str) -> Result<Arc<SealingKey>, Problem> {
        if let Some(key) = self.keys.lock().get(tenant) {
            return Ok(Arc::clone(key));
        }
        let loaded = self.load(tenant).map(|(key, _)| key);
        loaded.map_err(|why| {
            Problem::internal(format!("the key of the secrets cannot be used: {why}"))
        })
    }

    /// Forgets the key of a tenant that is gone: a copy of what it sealed is worth nothing any more.
    pub(crate) fn forget(&self, tenant: &str) {
        self.keys.lock().remove(tenant);
        if let Err(error) = std::fs::remove_file(self.home.secrets_key(tenant))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!(%error, tenant, "Failed to remove the key of a tenant's secrets");
        }
    }

    /// Seals a value and keeps it, once `entry` is audited. Answers the version.
    ///
    /// # Errors
    /// `TOO_MANY_SECRETS`, or what writing to disk came to; then the value is not kept.
    pub(crate) async fn set(
        &self,
        audit: &Audit,
        entry: Entry,
        tenant: &str,
        name: &SecretName,
        value: &Secret,
    ) -> Result<u64, Problem> {
        let _change = self.changing.lock().await;
        let now = clock::unix_ms();
        let before = self.find(tenant, vec![name.to_string()]).await?.pop();
        if before.is_none() {
            self.check_room(tenant).await?;
        }
        let row = SecretRow {
            tenant: tenant.to_owned(),
            name: name.to_string(),
            version: before.as_ref().map_or(1, |before| before.version + 1),
            sealed: Vec::new(),
            created_at: before.map_or(now, |before| before.created_at),
            updated_at: now,
        };
        let sealed = self
            .key(tenant)?
            .seal(place(&row), value)
            .map_err(|error| Problem::internal(format!("failed to seal a secret: {error}")))?;
        let row = SecretRow { sealed, ..row };
        let version = row.version;
        audit.append(entry.detail("version", version).detail("bytes", value.len())).await?;
        self.store.run(move |t| store::put_secret(t, &row)).await?;
        Ok(version)
    }

    async fn check_room(&self, tenant: &str) -> Result<(), Problem> {
        let wanted = tenant.to_owned();
        let count = self.store.run(move |t| store::count_secrets(t, &wanted)).await?;
        if count < bounds::SECRETS_PER_TENANT_MAX {
            return Ok(());
        }
        let cause = format!("the tenant has {count} secrets, which is the most");
        Err(Problem::new(ProblemKind::ResourceExhausted, "TOO_MANY_SECRETS", cause)
            .remedy("remove secrets that no service needs; `solo secret list` shows them"))
    }

    /// Forgets a secret, once `entry` is audited.
    ///
    /// # Errors
    /// `NO_SUCH_SECRET`, or what writing to disk came to; then the secret is still there.
    pub(crate) async fn remove(
        &self,
        audit: &Audit,
        entry: Entry,
        tenant: &str,
        name: &SecretName,
    ) -> Result<(), Problem> {
        let _change = self.changing.lock().await;
        let Some(row) = self.find(tenant, vec![name.to_string()]).await?.pop() else {
            let cause = format!("there is no secret {name}");
            return Err(Problem::new(ProblemKind::NotFound, "NO_SUCH_SECRET", cause)
                .remedy("`solo secret list` shows the secrets that are there"));
        };
        audit.append(entry.detail("version", row.version)).await?;
        self.store.run(move |t| store::delete_secret(t, &row.tenant, &row.name)).await?;
        Ok(())
    }

    /// All secrets of a tenant, by name.
    pub(crate) async fn list(&self, tenant: &str) -> Result<Vec<Listed>, Problem> {
        let tenant = tenant.to_owned();
        let rows = self.store.run(move |t| store::list_secrets(t, &tenant)).await?;
        let listed = |(row, sealed_bytes): (SecretRow, usize)| Listed {
            row,
            size_bytes: sealed_bytes.saturating_sub(SEALED_OVERHEAD_BYTES) as u64,
        };
        Ok(rows.into_iter().map(listed).collect())
    }

    /// Whether each of these could be given to a service now.
    ///
    /// # Errors
    /// `SECRET_MISSING`, `SECRET_UNREADABLE`, with the first one that could not.
    pub(crate) async fn check(
        &self,
        tenant: &str,
        references: &[SecretReference],
    ) -> Result<(), Problem> {
        self.give(tenant, references).await.map(drop)
    }

    /// What a cell must know to start instances of a revision, the values of its secrets included.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) async fn cell_spec(
        &self,
        id: ServiceId,
        revision: u64,
        spec: &ServiceSpec,
        artifact_path: String,
    ) -> Result<wire::ServiceSpec, Problem> {
        let mut message = solo_api::cell_spec(id, revision, spec, artifact_path);
        message.secrets = self.give(&spec.tenant, &spec.secrets).await?;
        Ok(message)
    }

    async fn give(
        &self,
        tenant: &str,
        references: &[SecretReference],
    ) -> Result<Vec<wire::Secret>, Problem> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let names = references.iter().map(|reference| reference.secret.to_string()).collect();
        let rows = self.find(tenant, names).await?;
        let mut given = Vec::with_capacity(references.len());
        for reference in references {
            let name = reference.secret.as_str();
            let row = rows.iter().find(|row| row.name == name).ok_or_else(|| missing(name))?;
            let value = self.key(tenant)?.open(place(row), &row.sealed).map_err(|error| {
                tracing::error!(name, version = row.version, %error, "A secret does not open");
                unreadable(name, &error)
            })?;
            let (key, value) = (reference.key.clone(), value.expose().to_vec());
            given.push(wire::Secret { key, value });
        }
        Ok(given)
    }

    async fn find(&self, tenant: &str, names: Vec<String>) -> Result<Vec<SecretRow>, Problem> {
        let tenant = tenant.to_owned();
        Ok(self.store.run(move |t| store::find_secrets(t, &tenant, &names)).await?)
    }
}

/// Names of the services that are given a secret, or will be by the update that is under way.
pub(crate) fn users(registry: &Registry, tenant: &str, secret: &SecretName) -> Vec<String> {
    let names = |spec: &ServiceSpec| spec.secrets.iter().any(|given| given.secret == *secret);
    let services = registry.all();
    let users = services.iter().filter(|service| {
        let state = service.state.lock();
        let next = state.rollout.as_ref().map(|row| &row.to_spec);
        service.tenant.name.as_str() == tenant && (names(&state.spec) || next.is_some_and(names))
    });
    users.map(|service| service.name.to_string()).collect()
}

fn place(row: &SecretRow) -> Place<'_> {
    Place { tenant: &row.tenant, name: &row.name, version: row.version }
}

fn missing(name: &str) -> Problem {
    let cause = format!("there is no secret {name}, which the service is to be given");
    Problem::new(ProblemKind::FailedPrecondition, SECRET_MISSING, cause)
        .remedy(format!(
            "set it with `solo secret set {name}` and try again, or deploy or update without it"
        ))
        .detail("secret", name)
}

fn unreadable(name: &str, error: &SealError) -> Problem {
    let cause = format!("the secret {name} cannot be opened: {error}");
    Problem::new(ProblemKind::FailedPrecondition, SECRET_UNREADABLE, cause)
        .remedy(format!(
            "put the right key back into keys/ and start Solo again, or set the secret anew \
             with `solo secret set {name}`"
        ))
        .detail("secret", name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    async fn open(root: &Path) -> Result<Secrets, KernelError> {
        let home = Home::open(root).expect("a home");
        let store = Store::open(&home.database()).expect("a store");
        Secrets::open(&home, store, &["default"]).await
    }

    fn reference(name: &str) -> SecretReference {
        SecretReference { secret: SecretName::new(name).expect("legal"), key: name.to_owned() }
    }

    /// Keeps a secret as [`Secrets::set`] does, without an audit log.
    async fn keep(secrets: &Secrets, name: &str, value: &str) {
        let row = SecretRow {
            tenant: "default".to_owned(),
            name: name.to_owned(),
            version: 1,
            sealed: Vec::new(),
            created_at: 1,
            updated_at: 1,
        };
        let value = Secret::new(value.as_bytes().to_vec());
        let sealed =
            secrets.key("default").expect("a key").seal(place(&row), &value).expect("sealed");
        let row = SecretRow { sealed, ..row };
        secrets.store.run(move |t| store::put_secret(t, &row)).await.expect("kept");
    }

    #[tokio::test]
    async fn a_key_with_wrong_mode_or_length_is_refused() {
        let directory = tempfile::tempdir().expect("tempdir");
        drop(open(directory.path()).await.expect("a key is made"));
        let path = directory.path().join("keys/secrets.key");
        let metadata = std::fs::metadata(&path).expect("metadata");
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o600, 32));
        let refused = async |expected: &str| {
            let error = open(directory.path()).await.expect_err("refused").to_string();
            assert!(error.contains(expected) && error.contains("secrets.key"), "{error}");
        };
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
            refused("chmod 600").await;
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        for length in [0, 31, 33, 5_000] {
            std::fs::write(&path, vec![7; length]).expect("write");
            refused(if length > 4_096 { "too long" } else { "a key has 32 bytes" }).await;
        }
    }

    #[tokio::test]
    async fn another_key_opens_nothing_and_the_right_one_does_again() {
        let directory = tempfile::tempdir().expect("tempdir");
        let secrets = open(directory.path()).await.expect("opened");
        keep(&secrets, "db", "hunter2").await;
        let wanted = [reference("db")];
        let given = secrets.give("default", &wanted).await.expect("given");
        assert_eq!(given[0].value, b"hunter2");
        let problem = secrets.check("other", &wanted).await.expect_err("another tenant");
        assert_eq!(problem.reason, SECRET_MISSING);
        let path = directory.path().join("keys/secrets.key");
        std::fs::rename(&path, path.with_extension("away")).expect("moved away");
        let without = open(directory.path()).await.expect("a new key is made");
        let problem = without.check("default", &wanted).await.expect_err("unreadable");
        assert_eq!(problem.reason, SECRET_UNREADABLE);
        assert!(without.check("default", &[]).await.is_ok());
        std::fs::rename(path.with_extension("away"), &path).expect("put back");
        let again = open(directory.path()).await.expect("opened");
        assert!(again.check("default", &wanted).await.is_ok());
    }
}
