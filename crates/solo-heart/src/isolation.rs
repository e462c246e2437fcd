//! What the heart does so that cells can shut themselves in: the right to make namespaces, and users.
//!
//! The layers themselves are put on by each cell (`solo-sandbox`). The heart stays outside.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use nix::unistd::geteuid;
use solo_sandbox::{Layer, own_namespaces};

use crate::HeartError;

/// First and number of the users that cells run as when root starts Solo. Above those that distributions
/// and container engines hand out, below what 32-bit programs take for negative.
const USERS_FIRST: u32 = 1_900_000_000;
const USERS: u64 = 100_000_000;

/// How cells are isolated.
#[derive(Debug)]
pub(crate) struct Isolation {
    /// Layers that the operator does without.
    pub(crate) without: Vec<Layer>,
    root: bool,
}

impl Isolation {
    /// Gets the right to start processes in pid namespaces. Call it while there is one thread.
    ///
    /// # Errors
    /// [`HeartError::Isolation`]: the machine does not allow it, and the operator does not do without.
    pub(crate) fn prepare(without: Vec<Layer>) -> Result<Self, HeartError> {
        let root = geteuid().is_root();
        if !without.contains(&Layer::PidNamespace) {
            own_namespaces().map_err(HeartError::Isolation)?;
        }
        Ok(Self { without, root })
    }

    /// Who the cell `cell` of this home runs as; `None`: as the heart does, who cannot choose.
    pub(crate) fn user(&self, home: &Path, cell: &str) -> Option<u32> {
        if !self.root || self.without.contains(&Layer::User) {
            return None;
        }
        Some(user_of(home, cell))
    }
}

/// Who the programs of a service run as: the same user each time, who owns what they keep. `None`: as Solo
/// does, if that is not root.
#[must_use]
pub fn program_user(home: &Path, service: &str) -> Option<u32> {
    // No cell has such a name.
    geteuid().is_root().then(|| user_of(home, &format!("service {service}")))
}

/// Who owns the volumes of a tenant that has none yet, and runs what has one. `None`: as [`program_user`].
#[must_use]
pub fn volume_user(home: &Path, tenant: &str) -> Option<u32> {
    geteuid().is_root().then(|| user_of(home, &format!("volumes {tenant}")))
}

/// Whether a user is one that Solo hands out.
#[must_use]
pub fn is_own_user(user: u32) -> bool {
    let number = u64::from(user);
    (u64::from(USERS_FIRST)..u64::from(USERS_FIRST) + USERS).contains(&number)
}

fn user_of(home: &Path, name: &str) -> u32 {
    USERS_FIRST + u32::try_from(stable_hash((home, name)) % USERS).unwrap_or_default()
}

/// The name of this home's control groups, as [`solo_sandbox::Groups::open`] takes it: the same for each
/// heart. `home` is absolute.
#[must_use]
pub fn control_group_name(home: &Path) -> String {
    format!("{:016x}", stable_hash(home))
}

/// The same in each process.
fn stable_hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_users_of_their_own() {
        let isolation = Isolation { without: Vec::new(), root: true };
        let user = |home: &str, cell| isolation.user(Path::new(home), cell);
        assert_eq!(user("/a", "x"), user("/a", "x"));
        assert_ne!(user("/a", "x"), user("/a", "y"));
        assert_ne!(user("/a", "x"), user("/b", "x"));
        assert!(user("/a", "x").is_some_and(|user| (1_900_000_000..2_000_000_000).contains(&user)));
        let group = |home: &str| control_group_name(Path::new(home));
        assert_eq!((group("/a").len(), group("/a")), (16, group("/a/")));
        assert_ne!(group("/a"), group("/b"));
        assert_eq!(Isolation { root: false, ..isolation }.user(Path::new("/a"), "x"), None);
    }
}
