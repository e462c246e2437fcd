//! Tenants (SPEC L2, C1): who shares nothing with whom, and how much each may have.
//!
//! A tenant has its own cell, artifacts and names; what it has is counted here, so that fifty requests
//! at once cannot have more than one after the other. The books are kept in memory and made anew from
//! the store at each start. Decides nothing about rights.

mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use solo_types::{DEFAULT_TENANT, Problem, ProblemKind, Quotas, TenantName, Usage, bounds};

use crate::artifacts::{Artifacts, NodeRoom};
use crate::cells::{CellHost, Turns};
use crate::heart::Heart;
use crate::home::{Home, TenantHome};
use crate::store::TenantRow;
use pace::Pace;

/// Begins the name of each tenant's cell.
const CELL_PREFIX: &str = "wasm-";

/// Names that are not longer are in the name of the cell, which becomes a path of a socket.
const CELL_NAME_CHARS: usize = 24;

/// Of a longer one, as much of its hash is: 80 bits.
const CELL_HASH_CHARS: usize = 20;

/// One tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: TenantName,
    /// Unix milliseconds.
    pub(crate) created_at: u64,
    pub(crate) home: TenantHome,
    /// Its cell.
    pub(crate) host: Arc<CellHost>,
    pub(crate) artifacts: Artifacts,
    pub(crate) turns: Turns,
    /// Held while a grant is made: counting and keeping are one step.
    pub(crate) granting: tokio::sync::Mutex<()>,
    /// Held to read while something is given volumes, to write while one is removed.
    pub(crate) volumes: tokio::sync::RwLock<()>,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    quotas: Quotas,
    used: Usage,
    deploys: Pace,
    /// Nothing begins any more.
    is_leaving: bool,
}

/// What is counted for a service. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    tenant: Arc<Tenant>,
    usage: Usage,
}

impl Charge {
    /// Counts `usage` in the place of what is counted.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`; then nothing has changed.
    pub(crate) fn change(&mut self, usage: Usage) -> Result<(), Problem> {
        self.tenant.recount(self.usage, usage)?;
        self.usage = usage;
        Ok(())
    }

    /// The same for what is there already, whatever the quotas are by now.
    pub(crate) fn set(&mut self, usage: Usage) {
        let mut books = self.tenant.books.lock();
        books.used = books.used.minus(self.usage).plus(usage);
        self.usage = usage;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(Usage::default());
    }
}

impl Tenant {
    fn open(
        row: TenantRow,
        home: &Home,
        heart: &Heart,
        node: &NodeRoom,
    ) -> std::io::Result<Arc<Self>> {
        let (own, is_first) = (home.open_tenant(&row.name)?, row.name.as_str() == DEFAULT_TENANT);
        let artifacts = Artifacts::open(own.clone(), node.clone())?;
        artifacts.set_quota(row.quotas.artifact_bytes);
        Ok(Arc::new(Self {
            host: CellHost::new(&row.name, &cell_name(&row.name), home, heart.clone()),
            name: row.name,
            created_at: row.created_at,
            home: own,
            artifacts,
            turns: Turns::new(is_first),
            granting: tokio::sync::Mutex::default(),
            volumes: tokio::sync::RwLock::default(),
            books: Mutex::new(Books { quotas: row.quotas, ..Books::default() }),
        }))
    }

    /// How others name what is `name` here: `NAME` for the owner's own tenant, else `TENANT/NAME`.
    pub(crate) fn label(&self, name: &str) -> String {
        label(self.name.as_str(), name)
    }

    pub(crate) fn quotas(&self) -> Quotas {
        self.books.lock().quotas
    }

    pub(crate) fn used(&self) -> Usage {
        self.books.lock().used
    }

    /// What may be had from now on. What is there stays.
    pub(crate) fn set_quotas(&self, quotas: Quotas) {
        self.artifacts.set_quota(quotas.artifact_bytes);
        self.books.lock().quotas = quotas;
    }

    /// Counts one deployment or update.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`: too many within a minute. `NO_SUCH_TENANT`: it is being removed.
    pub(crate) fn count_deploy(&self) -> Result<(), Problem> {
        let mut books = self.books.lock();
        if books.is_leaving {
            return Err(not_found(self.name.as_str()));
        }
        let Some(quota) = books.quotas.deploys_per_minute else { return Ok(()) };
        books.deploys.take(quota, Instant::now()).map_err(|wait| {
            let cause = format!("the tenant may deploy and update {quota} times a minute");
            let seconds = wait.as_secs_f64().ceil();
            Problem::new(ProblemKind::ResourceExhausted, "QUOTA_EXCEEDED", cause)
                .remedy(format!(
                    "try again in {seconds:.0} s, or ask the operator for a larger quota"
                ))
                .detail("quota", "deploys_per_minute")
                .detail("allowed", quota.to_string())
        })
    }

    /// Refuses one more grant when `held` are in force.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`.
    pub(crate) fn check_tokens(&self, held: usize) -> Result<(), Problem> {
        let wanted = held as u64 + 1;
        match self.quotas().tokens {
            Some(quota) if wanted > quota => Err(Usage::exceeded("tokens", quota, wanted)),
            _ => Ok(()),
        }
    }

    /// Counts a service that is to be.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`; `NO_SUCH_TENANT`: it is being removed.
    pub(crate) fn charge(self: &Arc<Self>, usage: Usage) -> Result<Charge, Problem> {
        self.recount(Usage::default(), usage)?;
        Ok(Charge { tenant: Arc::clone(self), usage })
    }

    /// Counts a service that is there already.
    pub(crate) fn charge_anyway(self: &Arc<Self>, usage: Usage) -> Charge {
        let mut charge = Charge { tenant: Arc::clone(self), usage: Usage::default() };
        charge.set(usage);
        charge
    }

    fn recount(&self, before: Usage, after: Usage) -> Result<(), Problem> {
        let mut books = self.books.lock();
        if books.is_leaving {
            return Err(not_found(self.name.as_str()));
        }
        let used = books.used.minus(before).plus(after);
        used.check(books.used, &books.quotas)?;
        books.used = used;
        Ok(())
    }

    /// Lets nothing begin any more, if nothing is there.
    ///
    /// # Errors
    /// `TENANT_NOT_EMPTY`.
    fn leave(&self) -> Result<(), Problem> {
        let mut books = self.books.lock();
        if books.used != Usage::default() {
            let cause = format!("tenant {} has {} services", self.name, books.used.services);
            return Err(Problem::new(ProblemKind::FailedPrecondition, "TENANT_NOT_EMPTY", cause)
                .remedy("kill them first"));
        }
        books.is_leaving = true;
        Ok(())
    }

    /// It stays after all.
    fn stay(&self) {
        self.books.lock().is_leaving = false;
    }
}

/// All tenants.
#[derive(Debug)]
pub(crate) struct Tenants {
    home: Home,
    heart: Heart,
    node: NodeRoom,
    by_name: RwLock<BTreeMap<String, Arc<Tenant>>>,
    /// Changes come one after the other. Held over writes to disk.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl Tenants {
    /// Opens the tenants of the node.
    ///
    /// # Errors
    /// A directory cannot be made or read.
    pub(crate) fn open(home: &Home, heart: &Heart, rows: Vec<TenantRow>) -> std::io::Result<Self> {
        let node = NodeRoom::default();
        let mut by_name = BTreeMap::new();
        for row in rows {
            let tenant = Tenant::open(row, home, heart, &node)?;
            by_name.insert(tenant.name.to_string(), tenant);
        }
        if !by_name.contains_key(DEFAULT_TENANT) {
            return Err(std::io::Error::other("the default tenant is gone from the database"));
        }
        home.remove_tenants_but(|name| by_name.contains_key(name))?;
        let (home, heart) = (home.clone(), heart.clone());
        let (by_name, changing) = (RwLock::new(by_name), tokio::sync::Mutex::default());
        Ok(Self { home, heart, node, by_name, changing })
    }

    /// Ends cells of tenants that were removed while an earlier kernel died.
    pub(crate) async fn end_strays(&self) {
        let own: BTreeSet<String> =
            self.all().iter().map(|tenant| tenant.host.cell().to_owned()).collect();
        for (cell, _) in self.heart.living() {
            if is_cell_name(&cell)
                && !own.contains(&cell)
                && let Err(error) = self.heart.kill(&cell).await
            {
                tracing::error!(%error, cell, "Failed to end the cell of a tenant that is gone");
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Tenant>> {
        self.by_name.read().values().cloned().collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Tenant>> {
        self.by_name.read().get(name).cloned()
    }

    /// The tenant of this name. Only who may do something in it is told that there is none.
    ///
    /// # Errors
    /// `NO_SUCH_TENANT`.
    pub(crate) fn named(&self, name: &str) -> Result<Arc<Tenant>, Problem> {
        self.find(name).ok_or_else(|| not_found(name))
    }

    /// Makes room for a new one, without telling anybody of it.
    ///
    /// # Errors
    /// `TOO_MANY_TENANTS`, or its directories cannot be made.
    pub(crate) fn prepare(&self, row: TenantRow) -> Result<Arc<Tenant>, Problem> {
        if self.by_name.read().len() >= bounds::TENANTS_MAX {
            let cause = format!("this node has {} tenants", bounds::TENANTS_MAX);
            return Err(Problem::new(ProblemKind::ResourceExhausted, "TOO_MANY_TENANTS", cause)
                .remedy("remove tenants that are not needed"));
        }
        Tenant::open(row, &self.home, &self.heart, &self.node).map_err(|error| {
            Problem::internal(format!("failed to make the directories of a tenant: {error}"))
        })
    }

    /// Makes a tenant known.
    pub(crate) fn insert(&self, tenant: &Arc<Tenant>) {
        self.by_name.write().insert(tenant.name.to_string(), Arc::clone(tenant));
    }

    /// Begins the end of a tenant: nothing begins in it any more.
    ///
    /// # Errors
    /// `NO_SUCH_TENANT`, `TENANT_NOT_EMPTY`; `TENANT_PROTECTED` for the one that is always there.
    pub(crate) fn begin_removal(&self, name: &str) -> Result<Removal, Problem> {
        let tenant = self.named(name)?;
        if name == DEFAULT_TENANT {
            let cause = "the default tenant is always there";
            return Err(Problem::new(ProblemKind::FailedPrecondition, "TENANT_PROTECTED", cause)
                .remedy("kill its services instead"));
        }
        tenant.leave()?;
        Ok(Removal { tenant, done: false })
    }

    /// Forgets a tenant that has ended.
    pub(crate) fn remove(&self, mut removal: Removal) {
        removal.done = true;
        self.by_name.write().remove(removal.tenant.name.as_str());
        if let Err(error) = removal.tenant.home.remove() {
            // A new tenant of this name would find what is left, and nothing refers to it: swept.
            tracing::error!(%error, tenant = %removal.tenant.name, "Failed to remove a tenant's files");
        }
    }
}

/// A tenant that is about to be removed. Stays if this is dropped.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) tenant: Arc<Tenant>,
    done: bool,
}

impl Drop for Removal {
    fn drop(&mut self) {
        if !self.done {
            self.tenant.stay();
        }
    }
}

/// How others name what is `name` in `tenant`.
pub(crate) fn label(tenant: &str, name: &str) -> String {
    if tenant == DEFAULT_TENANT { name.to_owned() } else { format!("{tenant}/{name}") }
}

/// The tenant and the name of a label.
pub(crate) fn of_label(label: &str) -> (&str, &str) {
    label.split_once('/').unwrap_or((DEFAULT_TENANT, label))
}

/// The name of the cell of a tenant. No two are the same: no tenant's name begins with a digit.
fn cell_name(tenant: &TenantName) -> String {
    let name = tenant.as_str();
    if name.len() <= CELL_NAME_CHARS {
        return format!("{CELL_PREFIX}{name}");
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    let hash: String = hash.chars().take(CELL_HASH_CHARS).collect();
    format!("{CELL_PREFIX}0{hash}")
}

fn is_cell_name(cell: &str) -> bool {
    cell.starts_with(CELL_PREFIX)
}

fn not_found(name: &str) -> Problem {
    let cause = format!("there is no tenant {name}");
    Problem::new(ProblemKind::NotFound, "NO_SUCH_TENANT", cause)
        .remedy("`solo tenant list` shows the tenants; `solo tenant set` makes one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_names_of_their_own() {
        let name = |text: &str| cell_name(&TenantName::new(text).expect("legal"));
        assert_eq!(name("default"), "wasm-default");
        let (one, other) = (format!("{}a", "x".repeat(40)), format!("{}b", "x".repeat(40)));
        assert_ne!(name(&one), name(&other));
        assert!(solo_heart::protocol::is_cell_id(&name(&"x".repeat(63))));
    }

    #[test]
    fn labels_come_apart_as_they_were_put_together() {
        for (tenant, name) in [("default", "echo"), ("acme", "echo")] {
            assert_eq!(of_label(&label(tenant, name)), (tenant, name));
        }
    }
}
