//! Who is asking, and what they may.
//!
//! Every request carries a token (SPEC C2); there is nobody who needs none. What it allows is decided
//! anew each time, for the object that the request touches. To who may not, what is there and what is
//! not look the same.

use std::sync::Arc;

use parking_lot::Mutex;
use solo_capability::{Bill, Capability, Object, ObjectKind, Refusal, Rule, Token};
use solo_types::{Grant, Mount, Problem, ProblemKind, Right, SecretName, Tier, VolumeName};
use tonic::metadata::MetadataMap;

use super::naming::tenant_of;
use crate::audit::Entry;
use crate::kernel::Kernel;
use crate::service::Service;
use crate::store;

/// Reason of what is not allowed, and of what may not be there.
const MISSING: &str = "RIGHT_MISSING";

/// Of the text that a request names itself by, as many characters reach the audit log.
const REQUEST_ID_CHARS_MAX: usize = 64;

/// Of a name that nobody checked, as many characters are repeated: more than a legal one has.
const NAME_CHARS_SHOWN: usize = 80;

/// What the kernel itself can be asked for: `kernel:NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// To see the whole tree.
    Tree,
    /// To read the records of everything, the node's own included.
    Records,
    /// To read the figures of everything.
    Metrics,
    /// To list all grants.
    Grants,
    /// To end whatever grant, also what Solo has never seen.
    Revoke,
    /// To end Solo.
    Shutdown,
}

impl Operation {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Tree, Self::Records, Self::Metrics, Self::Grants, Self::Revoke, Self::Shutdown];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Records => "records",
            Self::Metrics => "metrics",
            Self::Grants => "grants",
            Self::Revoke => "revoke",
            Self::Shutdown => "shutdown",
        }
    }

    fn right(self) -> Right {
        match self {
            Self::Tree | Self::Records | Self::Metrics | Self::Grants => Right::Read,
            Self::Revoke | Self::Shutdown => Right::Execute,
        }
    }
}

/// Who sent a request: whoever bears this token. Whether it is in force is asked with each decision.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    token: Arc<Token>,
    /// The one that the token is for; that of the owner, if it is for several or none.
    tenant: String,
    /// For the audit log.
    name: String,
    /// What the client calls this request; empty: nothing.
    request_id: String,
    /// What this request costs where uses are counted. Clones are of the same request.
    bill: Arc<Mutex<Bill>>,
}

/// Reads who sent a request.
///
/// # Errors
/// `TOKEN_MISSING`, or what is wrong with the token.
pub(crate) fn principal(kernel: &Kernel, metadata: &MetadataMap) -> Result<Principal, Problem> {
    let text = |name: &str| metadata.get(name).map(|value| value.to_str().unwrap_or_default());
    let mut values = metadata.get_all("authorization").iter();
    let (first, second) = (values.next(), values.next());
    let request_id = text("x-request-id").unwrap_or_default();
    match (first.map(|value| value.to_str()), second) {
        (None, _) => Err(missing_token()),
        (Some(Ok(authorization)), None) => bearer(kernel, authorization, request_id),
        (Some(_), _) => Err(malformed()),
    }
}

/// Reads who bears a token, from the text of an `authorization` header.
///
/// # Errors
/// As [`principal`].
pub(super) fn bearer(
    kernel: &Kernel,
    authorization: &str,
    request_id: &str,
) -> Result<Principal, Problem> {
    let (scheme, token) = authorization.split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(malformed());
    }
    let token = kernel.holdings.verify(token.trim())?;
    // Whatever is asked, so that each operation answers the same to a token whose time is over.
    kernel.holdings.check_in_force(&token).map_err(over)?;
    let (name, tenant) = (kernel.holdings.name_of(&token), tenant_of(&token));
    let legal = |c: &char| c.is_ascii_alphanumeric() || "-_.:/".contains(*c);
    let request_id = request_id.chars().filter(legal).take(REQUEST_ID_CHARS_MAX).collect();
    Ok(Principal { token, tenant, name, request_id, bill: Arc::default() })
}

/// The request has no token.
pub(super) fn missing_token() -> Problem {
    Problem::new(ProblemKind::Unauthenticated, "TOKEN_MISSING", "the request carries no token")
        .remedy(
            "send `authorization: Bearer TOKEN`; the owner's token is in keys/admin.token of \
             the home, and `solo token mint` makes others",
        )
}

fn malformed() -> Problem {
    Problem::new(
        ProblemKind::Unauthenticated,
        "TOKEN_MALFORMED",
        "the authorization is not one `Bearer TOKEN`",
    )
    .remedy("send `authorization: Bearer TOKEN` with a token from GrantCapability")
}

impl Principal {
    /// The token.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// The tenant that the token is for.
    pub(super) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// An entry of the audit log about what this one does.
    pub(super) fn entry(&self, operation: &str, object: &str) -> Entry {
        Entry::new(&self.name, operation, object).request_id(&self.request_id)
    }

    /// Decides now whether `right` on `object` is allowed. What is counted is noted, see [`Self::pay`].
    ///
    /// # Errors
    /// Why not, and what it would take.
    pub(super) fn check(
        &self,
        kernel: &Kernel,
        object: &Object,
        right: Right,
    ) -> Result<(), Problem> {
        self.decide(kernel, object, right).map_err(Refusal::into_problem)
    }

    fn decide(&self, kernel: &Kernel, object: &Object, right: Right) -> Result<(), Refusal> {
        kernel.holdings.check(&self.token, &mut self.bill.lock(), object, right)
    }

    /// Takes a use of each counted capability that let this request through, and answers when that is on
    /// disk. Comes behind all that is asked about a request and before anything is done for it: a kernel
    /// that is killed may have counted what it did not do, never the other way round. Once is enough; who
    /// only answers leaves it to `Api::answer`.
    ///
    /// # Errors
    /// Nothing is left, as others were faster; or the store failed.
    pub(super) async fn pay(&self, kernel: &Kernel) -> Result<(), Problem> {
        let counts = kernel.holdings.charge(&mut self.bill.lock())?;
        if !counts.is_empty() {
            kernel.store.run(move |t| store::put_uses(t, &counts)).await?;
        }
        Ok(())
    }

    /// Decides whether the kernel may be asked for this.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn ask(&self, kernel: &Kernel, operation: Operation) -> Result<(), Problem> {
        let object = Object::kernel(operation.name())
            .map_err(|error| Problem::internal(format!("an operation has no name: {error}")))?;
        self.check(kernel, &object, operation.right())
    }

    /// Decides whether a service of this name may be deployed.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn may_deploy(
        &self,
        kernel: &Kernel,
        (tenant, name): (&str, &str),
        tier: Tier,
    ) -> Result<(), Problem> {
        self.check(kernel, &named(tenant, name, tier)?, Right::Deploy)
    }

    /// Decides whether a service may be given these rights: nobody grants more than they hold, nor
    /// what they may not pass on (C2), nor what is counted, as what services do is not. One that is not
    /// there yet is meant by its name.
    ///
    /// # Errors
    /// As [`Self::check`], for the first one that is not held.
    pub(super) fn may_give(
        &self,
        kernel: &Kernel,
        tenant: &str,
        grants: &[Grant],
    ) -> Result<(), Problem> {
        for grant in grants {
            let name = grant.service.as_str();
            let object = match kernel.service(tenant, name) {
                Ok(service) => object_of(&service)?,
                Err(_) => named(tenant, name, Tier::User)?,
            };
            for right in grant.rights.iter().copied().chain([Right::Grant]) {
                kernel
                    .holdings
                    .check(&self.token, &mut Bill::closed(), &object, right)
                    .map_err(Refusal::into_problem)?;
            }
        }
        Ok(())
    }

    /// Decides whether code may be stored for a tenant: by who could make a service of it. That is what is
    /// counted then; to store code takes a use of the right to do that alone.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn may_bring_code(&self, kernel: &Kernel, tenant: &str) -> Result<(), Problem> {
        let is_artifact = |capability: &Capability| {
            capability.objects().kind() == ObjectKind::Artifact
                && capability.rights().contains(&Right::Write)
        };
        let wanted = |capability: &Capability| {
            let (kind, rights) = (capability.objects().kind(), capability.rights());
            let makes = rights.contains(&Right::Deploy) || rights.contains(&Right::Update);
            let is_its = kind == ObjectKind::Service && capability.objects().may_be_of(tenant);
            (is_its && makes) || is_artifact(capability)
        };
        let mut bill = self.bill.lock();
        let could = kernel.holdings.check_any(&self.token, &mut bill, wanted, is_artifact);
        could.map_err(|rule| match (rule, rule.reason()) {
            (Rule::UsedUp { .. } | Rule::LedgerFull, reason) => Problem::new(
                ProblemKind::ResourceExhausted,
                reason,
                "the uses of what allows to store code are used up",
            )
            .remedy("ask for a new token, or wait for the next window (`solo token inspect`)"),
            (_, MISSING) => Problem::new(
                ProblemKind::PermissionDenied,
                MISSING,
                "the token allows neither to deploy nor to update any service",
            )
            .remedy("ask for a token with the right `deploy` or `update`"),
            (rule, _) => over(rule),
        })
    }

    /// Decides about a secret: `read` to give it to a service and to see that it is there, `write` to set
    /// and remove it. Nobody reads a value.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn may(
        &self,
        kernel: &Kernel,
        tenant: &str,
        secret: &SecretName,
        right: Right,
    ) -> Result<(), Problem> {
        let object = Object::secret(tenant, secret.as_str()).map_err(illegal)?;
        self.check(kernel, &object, right)
    }

    /// Decides whether a program of a tenant may be given volumes and devices.
    ///
    /// # Errors
    /// As [`Self::check`], for the first one that is not held.
    pub(super) fn may_mount(
        &self,
        kernel: &Kernel,
        tenant: &str,
        mounts: &[Mount],
    ) -> Result<(), Problem> {
        for mount in mounts {
            match mount {
                Mount::Volume { name, read_only, .. } => {
                    let right = if *read_only { Right::Read } else { Right::Write };
                    self.may_volume(kernel, tenant, name, right)?;
                }
                Mount::Device { name } => {
                    let object = Object::device(name).map_err(illegal)?;
                    self.check(kernel, &object, Right::Write)?;
                }
            }
        }
        Ok(())
    }

    /// Decides about a volume: `read` to see that it is there and to have programs read it, `write` to have
    /// them change it, to make it and to remove it.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn may_volume(
        &self,
        kernel: &Kernel,
        tenant: &str,
        volume: &VolumeName,
        right: Right,
    ) -> Result<(), Problem> {
        let object = Object::volume(tenant, volume.as_str()).map_err(illegal)?;
        self.check(kernel, &object, right)
    }

    /// Decides about a tenant: `read` its quotas and what is used of them, `deploy` and `update` to make and
    /// change it, `kill` to remove it.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn may_tenant(
        &self,
        kernel: &Kernel,
        tenant: &str,
        right: Right,
    ) -> Result<(), Problem> {
        let object = Object::tenant(tenant).map_err(illegal)?;
        self.check(kernel, &object, right)
    }

    /// The service of this name, if there is one and the principal has `right` on it.
    ///
    /// # Errors
    /// As [`Self::check`]; that there is none is told only to who has the right on its name.
    pub(super) fn service_for(
        &self,
        kernel: &Kernel,
        text: &str,
        right: Right,
    ) -> Result<Arc<Service>, Problem> {
        let (tenant, name) = self.place(text);
        let service = match kernel.service(tenant, name) {
            Ok(service) => service,
            Err(problem) => {
                // What is no legal name is nobody's.
                let Ok(object) = named(tenant, name, Tier::User) else { return Err(problem) };
                let checked = self.decide(kernel, &object, right);
                return Err(checked.map_or_else(|refusal| refused(text, refusal), |()| problem));
            }
        };
        self.decide(kernel, &object_of(&service)?, right)
            .map_err(|refusal| refused(text, refusal))?;
        Ok(service)
    }

    /// Whether the principal may read about `service`.
    pub(super) fn may_read(&self, kernel: &Kernel, service: &Service) -> bool {
        object_of(service).is_ok_and(|object| self.decide(kernel, &object, Right::Read).is_ok())
    }

    /// Whether the principal may read about what has, or had, this name.
    pub(super) fn may_read_name(&self, kernel: &Kernel, tenant: &str, name: &str) -> bool {
        match kernel.service(tenant, name) {
            Ok(service) => self.may_read(kernel, &service),
            Err(_) => named(tenant, name, Tier::User)
                .is_ok_and(|object| self.decide(kernel, &object, Right::Read).is_ok()),
        }
    }

    /// Notes a use of everything that lets the principal read about services: for a stream about many.
    pub(super) fn note_reading(&self, kernel: &Kernel) {
        kernel.holdings.note_each(&self.token, &mut self.bill.lock(), |capability| {
            capability.objects().kind() == ObjectKind::Service
                && capability.rights().contains(&Right::Read)
        });
    }

    /// Whether a stream about `service` that was opened before may go on.
    pub(super) fn still_may_read(&self, kernel: &Kernel, service: &Service) -> Result<(), Problem> {
        let name = service.name.as_str();
        // A name that was given to another service is not what the stream was opened for.
        match kernel.service(service.tenant.name.as_str(), name) {
            Ok(named) if named.id != service.id => return Err(missing(name, Right::Read)),
            _ => {}
        }
        let checked = self.decide(kernel, &object_of(service)?, Right::Read);
        checked.map_err(|refusal| refused(name, refusal))
    }

    /// Whether the token is in force at all.
    pub(super) fn still_there(&self, kernel: &Kernel) -> Result<(), Problem> {
        kernel.holdings.check_in_force(&self.token).map_err(over)
    }
}

/// What a token is asked about.
pub(super) fn object_of(service: &Service) -> Result<Object, Problem> {
    let tier = service.state.lock().spec.tier;
    Object::service(service.tenant.name.as_str(), service.name.as_str(), Some(service.id), tier)
        .map_err(|error| Problem::internal(format!("a service has no legal name: {error}")))
}

fn illegal(error: solo_capability::ModelError) -> Problem {
    Problem::invalid("INVALID_NAME", "name", &error.to_string())
}

/// A service that is not there, or not yet.
fn named(tenant: &str, name: &str, tier: Tier) -> Result<Object, Problem> {
    Object::service(tenant, name, None, tier)
        .map_err(|error| Problem::invalid("INVALID_NAME", "name", &error.to_string()))
}

/// Who holds a token learns that its time is over, or that it does not allow this, and not whether
/// there is such a service.
fn refused(name: &str, refusal: Refusal) -> Problem {
    match refusal.rule.reason() {
        MISSING => missing(name, refusal.right),
        _ => refusal.into_problem(),
    }
}

fn missing(name: &str, right: Right) -> Problem {
    let right = right.as_str();
    let name: String = name.chars().take(NAME_CHARS_SHOWN).collect();
    let cause = format!("the token does not allow `{right}` on {name}");
    Problem::new(ProblemKind::PermissionDenied, MISSING, cause)
        .remedy(format!("ask for a token with the right `{right}`"))
        .detail("expected", format!("{right} {name}"))
}

/// The token allows nothing any more.
fn over(rule: Rule) -> Problem {
    Problem::new(ProblemKind::Unauthenticated, rule.reason(), "the token is not in force")
        .remedy("ask for a new token (GrantCapability)")
}
