//! The owner's token: everything, for whoever can read one file of the home (SPEC C2).
//!
//! Made at the first start, and again when the file is gone or its token is not in force any more. It
//! ends nothing: an older one that may be in other hands is revoked by its id, with all that was made
//! from it.

use solo_capability::{
    Bill, Capability, Constraints, GrantId, ModelError, Object, ObjectKind, ObjectPattern,
};
use solo_types::{DEFAULT_TENANT, Problem, Right, Tier};

use crate::boot::KernelError;
use crate::holdings::Holdings;
use crate::home::Home;
use crate::kernel::Kernel;
use crate::keyfile;
use crate::store::{self, Store, StoreError};

/// The year 9999, where text forms of times end: as long as nobody revokes it.
const EXPIRES_AT_UNIX_S: u64 = 253_402_300_799;

/// Makes sure that there is a token of the owner, and that it is in force.
///
/// # Errors
/// [`KernelError::AdminToken`]: the file is open to others, or cannot be read or written.
pub(crate) async fn ensure(
    home: &Home,
    store: &Store,
    holdings: &Holdings,
) -> Result<(), KernelError> {
    let path = home.admin_token();
    let wrong = |why: String| KernelError::AdminToken { path: path.clone(), why };
    if let Some(bytes) = keyfile::load(&path).map_err(|error| wrong(error.to_string()))? {
        if std::str::from_utf8(&bytes).is_ok_and(|token| is_in_force(holdings, token)) {
            return Ok(());
        }
        tracing::warn!(path = %path.display(), "The owner's token is not in force; making another");
    }
    let (token, row) = make(holdings).map_err(|problem| wrong(problem.to_string()))?;
    let stored = row.clone();
    store
        .run(move |t| store::insert_grant(t, &stored))
        .await
        .map_err(|error| KernelError::Store(error.to_string()))?;
    holdings.insert(row).map_err(|problem| wrong(problem.to_string()))?;
    // Last: what the file has is in force, also after a crash in between.
    keyfile::store(&path, token.as_bytes()).map_err(|error| wrong(error.to_string()))
}

/// Gives services that an earlier version deployed, which kept no grants, what their deployments name.
/// Once: what is revoked afterwards stays so.
///
/// # Errors
/// [`KernelError`].
pub(crate) async fn give_to_old_services(
    kernel: &Kernel,
    services: &[store::ServiceRow],
) -> Result<(), KernelError> {
    let failed = |error: StoreError| KernelError::Store(error.to_string());
    if kernel.store.run(|t| store::services_hold_grants(t)).await.map_err(failed)? {
        return Ok(());
    }
    let path = kernel.home.admin_token();
    let wrong = |why: String| KernelError::AdminToken { path: path.clone(), why };
    let token = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    let token = kernel.holdings.verify(token.trim()).map_err(|p| wrong(p.to_string()))?;
    let mut rows = Vec::new();
    for service in services {
        let given = kernel.holdings.give(&token, DEFAULT_TENANT, service.id, &service.spec.grants);
        rows.extend(given.map_err(|problem| wrong(problem.to_string()))?);
    }
    let stored = rows.clone();
    kernel.store.run(move |t| store::give_services(t, &stored)).await.map_err(failed)?;
    for row in rows {
        kernel.holdings.insert(row).map_err(|problem| wrong(problem.to_string()))?;
    }
    Ok(())
}

fn is_in_force(holdings: &Holdings, token: &str) -> bool {
    let Ok(token) = holdings.verify(token.trim()) else { return false };
    // One of the things that only the owner has from the start.
    Object::kernel("shutdown").is_ok_and(|object| {
        holdings.check(&token, &mut Bill::closed(), &object, Right::Execute).is_ok()
    })
}

fn make(holdings: &Holdings) -> Result<(String, store::HeldRow), Problem> {
    let all = everything().map_err(|error| Problem::internal(error.to_string()))?;
    let minted = holdings.mint(&all)?;
    let id = GrantId::new(&minted.id).map_err(|error| Problem::internal(error.to_string()))?;
    Ok((format!("{}\n", minted.token), holdings.first(&id, all)?))
}

/// All rights on all objects of all kinds and tiers.
fn everything() -> Result<Vec<Capability>, ModelError> {
    let constraints = Constraints::default().until(EXPIRES_AT_UNIX_S)?;
    let all_of = |kind: ObjectKind| {
        Ok(Capability::new(ObjectPattern::any(kind), kind.rights())?
            .with_tier(Tier::System)
            .with_constraints(constraints.clone()))
    };
    ObjectKind::ALL.into_iter().map(all_of).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use solo_capability::Authority;

    use super::*;

    struct Fixture {
        home: Home,
        store: Store,
        authority: Vec<u8>,
        _directory: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("tempdir");
            let home = Home::open(directory.path()).expect("home");
            let store = Store::open(&home.database()).expect("store");
            let authority = Authority::generate().private_key_bytes();
            Self { home, store, authority, _directory: directory }
        }

        /// What a start does.
        async fn start(&self) -> (Holdings, String) {
            let authority = Authority::from_private_key_bytes(&self.authority).expect("a key");
            let holdings = Holdings::new(authority);
            let (held, revoked) = self.store.run(|t| store::load_grants(t)).await.expect("rows");
            holdings.restore(held, revoked);
            ensure(&self.home, &self.store, &holdings).await.expect("a token");
            let token = std::fs::read_to_string(self.home.admin_token()).expect("the file");
            (holdings, token)
        }
    }

    #[tokio::test]
    async fn the_token_stays_while_it_is_in_force() {
        let mut fixture = Fixture::new();
        let (holdings, first) = fixture.start().await;
        let token = holdings.verify(first.trim()).expect("signed here");
        assert_eq!(holdings.name_of(&token), "owner");
        let mode = std::fs::metadata(fixture.home.admin_token()).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let (holdings, second) = fixture.start().await;
        assert_eq!(first, second);
        // Revoked: another one takes its place, and the old one stays dead.
        let id = token.links()[0].id().clone();
        let rows = holdings.revoke(&id).expect("room");
        fixture.store.run(move |t| store::revoke(t, &rows)).await.expect("stored");
        let (holdings, third) = fixture.start().await;
        assert_ne!(first, third);
        let object = Object::kernel("shutdown").expect("a name");
        let old = holdings.verify(first.trim()).expect("signed here");
        holdings.check(&old, &mut Bill::closed(), &object, Right::Execute).expect_err("revoked");
        // The root key was replaced: nothing that it signed is taken any more.
        fixture.authority = Authority::generate().private_key_bytes();
        let (holdings, fourth) = fixture.start().await;
        holdings.verify(third.trim()).expect_err("of another key");
        let token = holdings.verify(fourth.trim()).expect("signed here");
        holdings.check(&token, &mut Bill::closed(), &object, Right::Execute).expect("in force");
    }

    #[tokio::test]
    async fn a_file_that_others_may_read_is_refused() {
        let fixture = Fixture::new();
        let (holdings, _) = fixture.start().await;
        let path = fixture.home.admin_token();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        let error = ensure(&fixture.home, &fixture.store, &holdings).await.expect_err("refused");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
