//! `solo tenant`: makes, changes, lists and removes tenants.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use solo_api::{UNBOUNDED, v1};

use super::Failure;
use super::context::{Context, DEADLINE, answer};
use crate::output::{one_line, size, table};

/// The end of a cell may take its time.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(60);

/// Arguments of `solo tenant`.
#[derive(Debug, Args)]
pub(crate) struct Tenant {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a tenant, or change what it may have
    Set(Box<Set>),
    /// List tenants: what they have of what they may have
    List,
    /// Remove a tenant that has no services any more; its name is not used again
    Rm(Rm),
}

/// Arguments of `solo tenant set`.
///
/// What is not stated stays; a new tenant gets defaults. `none`: no bound but those of the node.
#[derive(Debug, Args)]
struct Set {
    /// Name of the tenant
    #[arg(value_name = "NAME")]
    name: String,
    /// Services
    #[arg(long, value_name = "N", value_parser = bound)]
    services: Option<u64>,
    /// Instances that services should have
    #[arg(long, value_name = "N", value_parser = bound)]
    instances: Option<u64>,
    /// Memory limits of all those instances together, in bytes
    #[arg(long, value_name = "BYTES", value_parser = bound)]
    memory_bytes: Option<u64>,
    /// CPU shares of all those instances together
    #[arg(long, value_name = "N", value_parser = bound)]
    cpu_shares: Option<u64>,
    /// Code that is stored, in bytes
    #[arg(long, value_name = "BYTES", value_parser = bound)]
    artifact_bytes: Option<u64>,
    /// Deployments and updates within a minute
    #[arg(long, value_name = "N", value_parser = bound)]
    deploys_per_minute: Option<u64>,
    /// Grants in force
    #[arg(long, value_name = "N", value_parser = bound)]
    tokens: Option<u64>,
}

/// Arguments of `solo tenant rm`.
#[derive(Debug, Args)]
struct Rm {
    /// Name of the tenant
    #[arg(value_name = "NAME")]
    name: String,
}

fn bound(text: &str) -> Result<u64, String> {
    match text {
        "none" => Ok(UNBOUNDED),
        text => text.parse().map_err(|_| "a number, or `none`".to_owned()),
    }
}

impl Tenant {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            Command::Set(set) => set.run(context).await,
            Command::List => list(context).await,
            Command::Rm(rm) => rm.run(context).await,
        }
    }
}

#[derive(Debug, Serialize)]
struct SetJson {
    tenant: TenantJson,
    is_new: bool,
}

#[derive(Debug, Serialize)]
struct TenantJson {
    name: String,
    quotas: QuotasJson,
    used: QuotasJson,
    created_at: Option<String>,
    cell: String,
}

/// Null: no bound, or not counted.
#[derive(Debug, Serialize)]
struct QuotasJson {
    services: Option<u64>,
    instances: Option<u64>,
    memory_bytes: Option<u64>,
    cpu_shares: Option<u64>,
    artifact_bytes: Option<u64>,
    deploys_per_minute: Option<u64>,
    tokens: Option<u64>,
}

impl From<v1::Quotas> for QuotasJson {
    fn from(quotas: v1::Quotas) -> Self {
        Self {
            services: quotas.services,
            instances: quotas.instances,
            memory_bytes: quotas.memory_bytes,
            cpu_shares: quotas.cpu_shares,
            artifact_bytes: quotas.artifact_bytes,
            deploys_per_minute: quotas.deploys_per_minute,
            tokens: quotas.tokens,
        }
    }
}

impl From<v1::TenantSummary> for TenantJson {
    fn from(tenant: v1::TenantSummary) -> Self {
        Self {
            name: tenant.name,
            quotas: tenant.quotas.unwrap_or_default().into(),
            used: tenant.used.unwrap_or_default().into(),
            created_at: tenant.created_at.as_ref().map(ToString::to_string),
            cell: tenant.cell,
        }
    }
}

impl Set {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let quotas = v1::Quotas {
            services: self.services,
            instances: self.instances,
            memory_bytes: self.memory_bytes,
            cpu_shares: self.cpu_shares,
            artifact_bytes: self.artifact_bytes,
            deploys_per_minute: self.deploys_per_minute,
            tokens: self.tokens,
        };
        let message = v1::SetTenantRequest { name: self.name, quotas: Some(quotas) };
        let request = client.request(message, DEADLINE);
        let response = answer(DEADLINE, client.grpc().set_tenant(request)).await?;
        let json =
            SetJson { tenant: response.tenant.unwrap_or_default().into(), is_new: response.is_new };
        context.output.show(&json, |set| {
            let done = if set.is_new { "is there" } else { "is changed" };
            format!("tenant {} {done}\n", one_line(&set.tenant.name))
        })
    }
}

#[derive(Debug, Serialize)]
struct ListJson {
    tenants: Vec<TenantJson>,
}

async fn list(context: &Context) -> Result<(), Failure> {
    let client = context.client().await?;
    let request = client.request(v1::ListTenantsRequest {}, DEADLINE);
    let response = answer(DEADLINE, client.grpc().list_tenants(request)).await?;
    let json = ListJson { tenants: response.tenants.into_iter().map(Into::into).collect() };
    context.output.show(&json, |list| {
        let head = ["TENANT", "SERVICES", "INSTANCES", "MEMORY", "CPU", "CODE", "TOKENS"];
        let number = |n: u64| n.to_string();
        let rows = list.tenants.iter().map(|tenant| {
            let (used, quotas) = (&tenant.used, &tenant.quotas);
            vec![
                one_line(&tenant.name),
                part(used.services, quotas.services, number),
                part(used.instances, quotas.instances, number),
                part(used.memory_bytes, quotas.memory_bytes, size),
                part(used.cpu_shares, quotas.cpu_shares, number),
                part(used.artifact_bytes, quotas.artifact_bytes, size),
                part(used.tokens, quotas.tokens, number),
            ]
        });
        table(&head, &[1, 2, 3, 4, 5, 6], rows.collect())
    })
}

/// `USED`, or `USED of QUOTA`.
fn part(used: Option<u64>, quota: Option<u64>, text: impl Fn(u64) -> String) -> String {
    let used = text(used.unwrap_or(0));
    match quota {
        Some(quota) => format!("{used} of {}", text(quota)),
        None => used,
    }
}

#[derive(Debug, Serialize)]
struct RmJson {
    name: String,
}

impl Rm {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let message = v1::RemoveTenantRequest { name: self.name.clone() };
        let request = client.request(message, REMOVAL_DEADLINE);
        answer(REMOVAL_DEADLINE, client.grpc().remove_tenant(request)).await?;
        let json = RmJson { name: self.name };
        context.output.show(&json, |gone| format!("tenant {} is gone\n", one_line(&gone.name)))
    }
}
