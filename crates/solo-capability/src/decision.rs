//! The decision: may this be done, by what, and if not, what would be needed.
//!
//! Pure: a chain, a request, a time and what is used up go in; what lets it through or what explains
//! the refusal comes out. Whatever is not certain is refused. Nothing here knows whether an
//! object exists, so that a refusal does not tell either.

use std::fmt;
use std::sync::Arc;

use solo_types::{Problem, ProblemKind, Right};

use crate::{Bill, Capability, Chain, GrantId, Ledger, Link, Object, Per, Revocations};

/// What is to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What something is to be done with.
    pub object: &'a Object,
    /// What is to be done.
    pub right: Right,
}

/// What a decision depends on beside the chain and the request.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The moment that it is made for.
    pub now_unix_s: u64,
    /// What is used up.
    pub ledger: &'a Ledger,
    /// What was revoked.
    pub revoked: &'a Revocations,
}

/// The outcome of [`decide`].
pub type Decision = Result<Allowed, Refusal>;

/// Decides one request: each link must let it through, whatever their order. Notes nothing: for who
/// only asks. Where something is to be done, [`Bill::decide`] notes what it costs.
///
/// Takes at most [`crate::LINKS_MAX`] times [`crate::CAPABILITIES_MAX`] comparisons.
///
/// # Errors
/// [`Refusal`] of the link that is farthest from letting it through; the same for each order of the
/// links.
pub fn decide(chain: &Chain, request: Request<'_>, context: Context<'_>) -> Decision {
    let fits = |capability: &Capability| capability.fits(request, context.now_unix_s);
    decide_with(chain, &Bill::new(), context, fits)
        .map_err(|(rule, link)| Refusal::new(rule, Some(link.clone()), request))
}

/// Decides by what `fits`, uses aside, for a request with this bill.
pub(crate) fn decide_with<'a>(
    chain: &'a Chain,
    bill: &Bill,
    context: Context<'_>,
    fits: impl Fn(&Capability) -> Result<(), Rule>,
) -> Result<Allowed, (Rule, &'a GrantId)> {
    let mut uses = Vec::with_capacity(chain.links().len());
    let mut worst: Option<(Rule, &GrantId)> = None;
    for link in chain.links() {
        match judge(link, bill, context, &fits) {
            Ok(capability) => uses.push(Use { link: Arc::clone(link), capability }),
            Err(rule) => {
                let found = (rule, link.id());
                worst = Some(worst.map_or(found, |worst| worst.min(found)));
            }
        }
    }
    worst.map_or(Ok(Allowed { uses }), Err)
}

/// Finds the capability of a link that lets a request through, or the rule that is nearest to it.
///
/// Capabilities without bounds on uses go first, then those that are on the bill, so that none are used
/// up in vain.
fn judge(
    link: &Link,
    bill: &Bill,
    context: Context<'_>,
    fits: impl Fn(&Capability) -> Result<(), Rule>,
) -> Result<usize, Rule> {
    if context.revoked.contains(link.id()) {
        return Err(Rule::Revoked);
    }
    let (mut on_bill, mut counted) = (None, None);
    let mut nearest = Rule::Object;
    for (at, capability) in link.capabilities().iter().enumerate() {
        let checked = fits(capability).and_then(|()| bill.check(link, at, capability, context));
        match checked {
            Ok(()) if capability.constraints().uses_max().is_empty() => return Ok(at),
            Ok(()) if bill.has(link, at) => on_bill = on_bill.or(Some(at)),
            Ok(()) => counted = counted.or(Some(at)),
            Err(rule) => nearest = nearest.max(rule),
        }
    }
    on_bill.or(counted).ok_or(nearest)
}

impl Capability {
    /// Tells whether it is for a request at this moment, uses aside.
    pub(crate) fn fits(&self, request: Request<'_>, now_unix_s: u64) -> Result<(), Rule> {
        if !self.objects().matches(request.object) {
            return Err(Rule::Object);
        }
        if !self.rights().contains(&request.right) {
            return Err(Rule::Right);
        }
        if request.object.is_protected_from(self.tier(), request.right) {
            return Err(Rule::Tier);
        }
        self.in_time(now_unix_s)
    }

    /// Tells whether its time is not over.
    pub(crate) fn in_time(&self, now_unix_s: u64) -> Result<(), Rule> {
        match self.constraints().expires_at_unix_s() {
            Some(at_unix_s) if now_unix_s >= at_unix_s => Err(Rule::Expired { at_unix_s }),
            _ => Ok(()),
        }
    }
}

/// One link's part in an allowance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) link: Arc<Link>,
    /// Place in the link.
    pub(crate) capability: usize,
}

impl Use {
    pub(crate) fn parts(&self) -> Option<(&Link, usize, &Capability)> {
        let capability = self.link.capabilities().get(self.capability)?;
        Some((self.link.as_ref(), self.capability, capability))
    }
}

/// An operation that is allowed at the moment that was asked about.
///
/// Where it is to be carried out, decide by a [`Bill`], and [`Ledger::charge`] that first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    uses: Vec<Use>,
}

impl Allowed {
    /// The links that let it through, each with the capability that did and its place in the link.
    pub fn uses(&self) -> impl Iterator<Item = (&Link, usize, &Capability)> {
        self.uses.iter().filter_map(Use::parts)
    }

    pub(crate) fn raw(&self) -> &[Use] {
        &self.uses
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("allowed")?;
        for (at, (link, _, capability)) in self.uses().enumerate() {
            let before = if at == 0 { " by" } else { ", and by" };
            write!(f, "{before} `{capability}` of grant {}", link.id())?;
        }
        Ok(())
    }
}

/// The rule that a request broke. Ordered by how far from being allowed it is, farthest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The principal holds no grant at all.
    NothingHeld,
    /// The grant was revoked.
    Revoked,
    /// This node does not know of the grant: it was never issued, or was cleared away.
    UnknownGrant,
    /// No capability of the grant is for this object.
    Object,
    /// None of those for this object has this right.
    Right,
    /// It takes a capability of the system tier.
    Tier,
    /// Its time is over.
    Expired {
        /// Since when.
        at_unix_s: u64,
    },
    /// Its uses are counted, and what is asked for is not: it goes on without being asked about again.
    Counted,
    /// Its uses are used up.
    UsedUp {
        /// What they were counted for.
        per: Per,
        /// The bound.
        uses_max: u64,
        /// First second of the next window; `None`: there is none.
        until_unix_s: Option<u64>,
    },
    /// Its uses cannot be counted, as too many attenuations of one grant are being counted.
    LedgerFull,
}

impl Rule {
    /// Stable reason, upper snake case.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Revoked => "TOKEN_REVOKED",
            Self::UnknownGrant => "TOKEN_UNKNOWN",
            Self::Expired { .. } => "TOKEN_EXPIRED",
            // Not told apart for who sends requests: what exists is nobody's business.
            Self::NothingHeld | Self::Object | Self::Right => "RIGHT_MISSING",
            Self::Tier => "SYSTEM_TIER",
            Self::Counted => "USES_COUNTED",
            Self::UsedUp { .. } => "USES_EXCEEDED",
            Self::LedgerFull => "TOO_MANY_COUNTERS",
        }
    }

    /// Writes what is wrong with the number of uses.
    pub(crate) fn write_uses(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UsedUp { per: Per::Ever, uses_max, .. } => {
                write!(f, "its uses are used up, {uses_max} in all")
            }
            Self::UsedUp { per, uses_max, until_unix_s } => {
                write!(f, "its uses are used up, {uses_max} per {}", per.as_str())?;
                until_unix_s.map_or(Ok(()), |at| write!(f, ", until {at} (Unix time)"))
            }
            Self::Counted => f.write_str("its uses are counted, and those of this cannot be"),
            _ => f.write_str("too many of its attenuations are being counted"),
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that it broke.
    pub rule: Rule,
    /// The grant that did not let it through; `None` if there is none at all.
    pub link: Option<GrantId>,
    /// What was to be done.
    pub right: Right,
    /// With what.
    pub object: Object,
}

impl Refusal {
    pub(crate) fn new(rule: Rule, link: Option<GrantId>, request: Request<'_>) -> Self {
        Self { rule, link, right: request.right, object: request.object.clone() }
    }

    /// What would be needed, as one sentence for who is refused.
    #[must_use]
    pub fn needed(&self) -> String {
        let (right, object) = (self.right.as_str(), &self.object);
        match self.rule {
            Rule::NothingHeld | Rule::Object | Rule::Right => {
                format!("`{right} {object}` from somebody who holds it and may pass it on")
            }
            Rule::Revoked | Rule::UnknownGrant | Rule::Expired { .. } => {
                format!("a new grant of `{right} {object}`")
            }
            Rule::Tier => format!("`{right} {object} tier=system`, which only operators hold"),
            Rule::UsedUp { per: Per::Ever, .. } => format!("a new grant of `{right} {object}`"),
            Rule::UsedUp { per, until_unix_s, .. } => {
                let next = format!("to wait for the next {}", per.as_str());
                until_unix_s.map_or(next.clone(), |at| format!("{next}, at {at} (Unix time)"))
            }
            Rule::Counted => format!("`{right} {object}` without a bound on its uses"),
            Rule::LedgerFull => "a grant of its own in place of an attenuation".to_owned(),
        }
    }

    /// Makes the answer for the caller. It contains no token and does not tell what exists.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        let kind = match self.rule {
            Rule::Revoked | Rule::UnknownGrant | Rule::Expired { .. } => {
                ProblemKind::Unauthenticated
            }
            Rule::NothingHeld | Rule::Object | Rule::Right | Rule::Tier | Rule::Counted => {
                ProblemKind::PermissionDenied
            }
            Rule::UsedUp { .. } | Rule::LedgerFull => ProblemKind::ResourceExhausted,
        };
        let expected = format!("{} {}", self.right.as_str(), self.object);
        let cause = match self.rule {
            Rule::NothingHeld | Rule::Object | Rule::Right => {
                format!("what is held does not allow `{expected}`")
            }
            _ => self.to_string(),
        };
        Problem::new(kind, self.rule.reason(), cause)
            .remedy(format!("it takes {}", self.needed()))
            .detail("expected", expected)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (right, object) = (self.right.as_str(), &self.object);
        if let Some(link) = &self.link {
            write!(f, "grant {link}: ")?;
        }
        match self.rule {
            Rule::NothingHeld => f.write_str("no grant is held"),
            Rule::Object => write!(f, "none of its capabilities is for {object}"),
            Rule::Right => write!(f, "it does not contain `{right}` on {object}"),
            Rule::Revoked => f.write_str("it was revoked"),
            Rule::UnknownGrant => f.write_str("it is not known to this node"),
            Rule::Tier => write!(f, "`{right}` on {object} takes a capability of the system tier"),
            Rule::Expired { at_unix_s } => write!(f, "it expired at {at_unix_s} (Unix time)"),
            Rule::Counted | Rule::UsedUp { .. } | Rule::LedgerFull => self.rule.write_uses(f),
        }
    }
}

impl std::error::Error for Refusal {}
