//! `solo token`: makes, narrows, explains and ends tokens.
//!
//! `inspect` and `attenuate` work on the text of a token alone, so that whoever holds one can hand a
//! narrower one on without asking anybody. The kernel decides on what comes of it.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde::Serialize;
use solo_api::v1;
use solo_capability::{Capability, Constraints, Denial, Link, ModelError, Token as Signed};
use solo_types::{Problem, Rights};

use super::Failure;
use super::context::{Context, DEADLINE, answer};
use super::values::{RightName, seconds};
use crate::output::{one_line, table};

/// Arguments of `solo token`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Issue a token for some of what one's own allows and may pass on
    Mint(Mint),
    /// Make a narrower token of a token; asks nobody
    Attenuate(Attenuate),
    /// Tell what a token says; checks no signature
    Inspect(Inspect),
    /// List the grants that are in force
    List(List),
    /// End a token, and all that was made from it
    Revoke(Revoke),
}

/// Arguments of `solo token mint` and `solo grant`.
#[derive(Debug, Args)]
pub(crate) struct Mint {
    /// Name of the service
    #[arg(value_name = "NAME", required_unless_present = "capability")]
    name: Option<String>,
    /// Rights on it, separated by commas
    #[arg(value_name = "RIGHT", required_unless_present = "capability", value_delimiter = ',')]
    rights: Vec<RightName>,
    /// What the token is for, in place of a service and rights, for example
    /// `deploy,read service:default/ci-*` (can be repeated)
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["name", "rights"])]
    capability: Vec<String>,
    /// Time until the token expires, seconds or 1h [default: 1h]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = seconds("ttl_seconds"))]
    ttl: Option<u64>,
    /// Who gets it, for the audit log [default: the token's id]
    #[arg(long = "for", value_name = "HOLDER")]
    holder: Option<String>,
    /// Issue nothing: tell what the holder could newly get at
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct ReachableJson {
    object: String,
    rights: Vec<String>,
    through: Option<String>,
}

#[derive(Debug, Serialize)]
struct DryRunJson {
    newly_reachable: Vec<ReachableJson>,
    truncated: bool,
}

impl DryRunJson {
    fn text(&self) -> String {
        let rows = self.newly_reachable.iter().map(|reached| {
            let through = reached.through.as_deref().unwrap_or("-");
            vec![one_line(&reached.object), reached.rights.join(","), one_line(through)]
        });
        let more = if self.truncated { "and more\n" } else { "" };
        table(&["OBJECT", "RIGHTS", "THROUGH"], &[], rows.collect()) + more
    }
}

#[derive(Debug, Serialize)]
struct MintJson {
    token: String,
    id: String,
    expires_at: Option<String>,
}

impl Mint {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let message = v1::GrantCapabilityRequest {
            service: self.name.unwrap_or_default(),
            rights: self.rights.into_iter().map(RightName::number).collect(),
            ttl_seconds: self.ttl,
            capabilities: self.capability,
            holder: self.holder.unwrap_or_default(),
            dry_run: self.dry_run,
        };
        let request = client.request(message, DEADLINE);
        let response = answer(DEADLINE, client.grpc().grant_capability(request)).await?;
        if self.dry_run {
            let reachable = response.newly_reachable.into_iter().map(|reached| ReachableJson {
                object: reached.object,
                rights: reached.rights,
                through: Some(reached.through).filter(|through| !through.is_empty()),
            });
            let newly_reachable = reachable.collect();
            let json = DryRunJson { newly_reachable, truncated: response.truncated };
            return context.output.show(&json, DryRunJson::text);
        }
        let json = MintJson {
            token: response.token,
            id: response.id,
            expires_at: response.expires_at.as_ref().map(ToString::to_string),
        };
        // Only the token goes to standard output, so that `TOKEN=$(solo token mint ...)` works.
        let expires_at = json.expires_at.as_deref().unwrap_or("never");
        context.output.note(&format!("id {}, expires {expires_at}", json.id));
        context.output.show(&json, |minted| format!("{}\n", minted.token))
    }
}

/// Arguments of `solo token attenuate`.
#[derive(Debug, Args)]
struct Attenuate {
    /// Token to narrow
    #[arg(value_name = "TOKEN")]
    token: String,
    /// Rights that are left, separated by commas [default: all it has]
    #[arg(long, value_name = "RIGHT", value_delimiter = ',')]
    rights: Vec<RightName>,
    /// Time until the new token expires, seconds or 1h [default: with the old one]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = seconds("ttl_seconds"))]
    ttl: Option<u64>,
    /// What is left, as `inspect` writes it, in place of rights and time (can be repeated)
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["rights", "ttl"])]
    capability: Vec<String>,
}

/// Arguments of `solo token inspect`.
#[derive(Debug, Args)]
struct Inspect {
    /// Token to read
    #[arg(value_name = "TOKEN")]
    token: String,
}

/// Arguments of `solo token list`.
#[derive(Debug, Args)]
struct List {
    /// Name of the service [default: all]
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Arguments of `solo token revoke`.
#[derive(Debug, Args)]
struct Revoke {
    /// Id, as `mint`, `attenuate`, `inspect` and `list` print it
    #[arg(value_name = "ID")]
    id: String,
}

impl Token {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            Command::Mint(mint) => mint.run(context).await,
            Command::Attenuate(attenuate) => attenuate.run(context),
            Command::Inspect(inspect) => inspect.run(context),
            Command::List(list) => list.run(context).await,
            Command::Revoke(revoke) => revoke.run(context).await,
        }
    }
}

#[derive(Debug, Serialize)]
struct TokenJson {
    token: String,
    id: String,
}

impl Attenuate {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let signed = read(&self.token)?;
        let capabilities = match self.capability.is_empty() {
            true => self.narrowed(&signed)?,
            false => {
                let read = self.capability.iter().map(|text| text.parse());
                read.collect::<Result<Vec<Capability>, ModelError>>().map_err(|e| illegal(&e))?
            }
        };
        let minted = solo_capability::attenuate(self.token.trim(), &capabilities)
            .map_err(|error| Failure::Refused(Problem::from(error)))?;
        let json = TokenJson { token: minted.token, id: minted.id };
        context.output.note(&format!("id {}", json.id));
        context.output.show(&json, |made| format!("{}\n", made.token))
    }

    /// What the last hand had, less what is taken away.
    fn narrowed(&self, signed: &Signed) -> Result<Vec<Capability>, Failure> {
        let last = signed.links().last().map(|link| link.capabilities()).unwrap_or_default();
        let mut narrowed = Vec::new();
        for own in last {
            let rights: Rights = match self.rights.is_empty() {
                true => own.rights().clone(),
                false => {
                    let wanted: Rights = self.rights.iter().map(|right| right.right()).collect();
                    own.rights().intersection(&wanted).copied().collect()
                }
            };
            if rights.is_empty() {
                continue;
            }
            let mut constraints = own.constraints().clone();
            if let Some(ttl) = self.ttl {
                let until = Constraints::default().until(now_unix_s().saturating_add(ttl));
                constraints = constraints.intersection(&until.map_err(|error| illegal(&error))?);
            }
            let capability = Capability::new(own.objects().clone(), rights);
            narrowed.push(
                capability
                    .map_err(|error| illegal(&error))?
                    .with_tier(own.tier())
                    .with_constraints(constraints),
            );
        }
        if narrowed.is_empty() {
            return Err(Failure::usage(
                "the token has none of these rights",
                "`solo token inspect` tells which it has",
            ));
        }
        Ok(narrowed)
    }
}

#[derive(Debug, Serialize)]
struct LinkJson {
    id: String,
    capabilities: Vec<String>,
}

#[derive(Debug, Serialize)]
struct InspectJson {
    /// The grant that Solo issued, then the attenuations: each narrows those before it.
    links: Vec<LinkJson>,
}

impl Inspect {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let signed = read(&self.token)?;
        let link = |link: &Link| LinkJson {
            id: link.id().to_string(),
            capabilities: link.capabilities().iter().map(ToString::to_string).collect(),
        };
        let json = InspectJson { links: signed.links().iter().map(|l| link(l)).collect() };
        context.output.show(&json, |token| {
            let lines = token.links.iter().map(|link| {
                let capabilities: Vec<String> = link
                    .capabilities
                    .iter()
                    .map(|text| format!("  {}\n", one_line(text)))
                    .collect();
                format!("{}\n{}", link.id, capabilities.concat())
            });
            lines.collect()
        })
    }
}

#[derive(Debug, Serialize)]
struct HeldJson {
    id: String,
    holder: Option<String>,
    from: Option<String>,
    capabilities: Vec<String>,
    expires_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListJson {
    grants: Vec<HeldJson>,
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let message = v1::ListCapabilitiesRequest { service: self.name.unwrap_or_default() };
        let request = client.request(message, DEADLINE);
        let response = answer(DEADLINE, client.grpc().list_capabilities(request)).await?;
        let grants = response.grants.into_iter().map(|grant| HeldJson {
            id: grant.id,
            holder: Some(grant.holder).filter(|holder| !holder.is_empty()),
            from: Some(grant.from).filter(|from| !from.is_empty()),
            capabilities: grant.capabilities,
            expires_at: grant.expires_at.as_ref().map(ToString::to_string),
        });
        let json = ListJson { grants: grants.collect() };
        context.output.show(&json, |list| {
            let rows = list.grants.iter().map(|grant| {
                let expires_at = grant.expires_at.clone().unwrap_or_else(|| "never".to_owned());
                let holder = grant.holder.as_deref().unwrap_or("-");
                let capabilities = one_line(&grant.capabilities.join("; "));
                vec![one_line(&grant.id), one_line(holder), capabilities, expires_at]
            });
            table(&["ID", "HOLDER", "CAPABILITIES", "EXPIRES"], &[], rows.collect())
        })
    }
}

#[derive(Debug, Serialize)]
struct RevokedJson {
    id: String,
    ended: u32,
}

impl Revoke {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let message = v1::RevokeCapabilityRequest { id: self.id.clone() };
        let request = client.request(message, DEADLINE);
        let response = answer(DEADLINE, client.grpc().revoke_capability(request)).await?;
        let json = RevokedJson { id: self.id, ended: response.ended };
        context.output.show(&json, |revoked| format!("revoked; {} grants ended\n", revoked.ended))
    }
}

fn read(token: &str) -> Result<Signed, Failure> {
    solo_capability::inspect(token.trim())
        .map_err(|denial: Denial| Failure::Refused(denial.into_problem()))
}

fn illegal(error: &ModelError) -> Failure {
    Failure::usage(
        format!("the capability is not legal: {error}"),
        "write it as `solo token inspect` does, for example `call service:default/counter`",
    )
}

fn now_unix_s() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}
