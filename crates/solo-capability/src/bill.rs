//! The bill of one request: by which capabilities that bound their uses it was let through.
//!
//! A request may be decided on more than once, and takes one use of each of them all the same. So its
//! decisions go through a bill, and [`crate::Ledger::charge`] takes the bill as a whole, once, before
//! anything is done for the request. From then on it is closed: what is on it stays open to the request
//! (a stream asks again and again), and nothing else that is counted opens to it any more.

use std::fmt;

use solo_types::{Problem, ProblemKind};

use crate::decision::{Use, decide_with};
use crate::{Allowed, Capability, Chain, Context, Decision, GrantId, Link, Per, Request, Rule};

/// What one request is to be charged. At most the capabilities of one chain.
#[derive(Debug, Clone, Default)]
pub struct Bill {
    uses: Vec<Use>,
    is_closed: bool,
}

impl Bill {
    /// Of a request that nothing was decided for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that takes nothing: to it only opens what is not counted.
    #[must_use]
    pub fn closed() -> Self {
        Self { uses: Vec::new(), is_closed: true }
    }

    /// Decides as [`crate::decide`] does, and notes what is to be charged. What is on the bill already
    /// opens without another use.
    ///
    /// # Errors
    /// As [`crate::decide`]; [`Rule::Counted`] for what only opens to a bill that is not closed.
    pub fn decide(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        context: Context<'_>,
    ) -> Decision {
        let fits = |capability: &Capability| capability.fits(request, context.now_unix_s);
        let allowed = decide_with(chain, self, context, fits)
            .map_err(|(rule, link)| crate::Refusal::new(rule, Some(link.clone()), request))?;
        self.add(&allowed, |_| true);
        Ok(allowed)
    }

    /// Decides about what no object stands for: each link must have a capability that is `wanted`. Of
    /// those that did, the `counted` ones are noted.
    ///
    /// # Errors
    /// The rule that stands against it in the link that is farthest from it.
    pub fn decide_any(
        &mut self,
        chain: &Chain,
        context: Context<'_>,
        wanted: impl Fn(&Capability) -> bool,
        counted: impl Fn(&Capability) -> bool,
    ) -> Result<(), Rule> {
        let fits = |capability: &Capability| match wanted(capability) {
            true => capability.in_time(context.now_unix_s),
            false => Err(Rule::Object),
        };
        let allowed = decide_with(chain, self, context, fits).map_err(|(rule, _)| rule)?;
        self.add(&allowed, counted);
        Ok(())
    }

    /// Notes each counted capability of a chain that is `wanted` and has uses left: for what is not
    /// decided now, but again and again once the bill is closed.
    pub fn add_each(
        &mut self,
        chain: &Chain,
        context: Context<'_>,
        wanted: impl Fn(&Capability) -> bool,
    ) {
        for link in chain.links() {
            for (at, capability) in link.capabilities().iter().enumerate() {
                if wanted(capability)
                    && capability.in_time(context.now_unix_s).is_ok()
                    && self.check(link, at, capability, context).is_ok()
                {
                    self.put(Use { link: link.clone(), capability: at });
                }
            }
        }
    }

    /// The capabilities that are to be charged, each with its link and its place there.
    pub fn uses(&self) -> impl Iterator<Item = (&Link, usize, &Capability)> {
        self.uses.iter().filter_map(Use::parts)
    }

    /// Tells whether it was charged, or cannot be.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Ends what can be noted. `is_paid`: what is on it stays open.
    pub(crate) fn close(&mut self, is_paid: bool) {
        self.is_closed = true;
        if !is_paid {
            self.uses.clear();
        }
    }

    /// Notes what an allowance counts.
    pub(crate) fn add(&mut self, allowed: &Allowed, wanted: impl Fn(&Capability) -> bool) {
        for used in allowed.raw() {
            if used.parts().is_some_and(|(_, _, capability)| wanted(capability)) {
                self.put(used.clone());
            }
        }
    }

    pub(crate) fn has(&self, link: &Link, at: usize) -> bool {
        self.uses.iter().any(|used| used.capability == at && used.link.id() == link.id())
    }

    /// Tells whether a capability may be used by who has this bill, as far as uses are concerned.
    pub(crate) fn check(
        &self,
        link: &Link,
        at: usize,
        capability: &Capability,
        context: Context<'_>,
    ) -> Result<(), Rule> {
        if capability.constraints().uses_max().is_empty() || self.has(link, at) {
            return Ok(());
        }
        if self.is_closed {
            return Err(Rule::Counted);
        }
        context.ledger.check(link, at, capability, context.now_unix_s)
    }

    fn put(&mut self, used: Use) {
        let Some((link, at, capability)) = used.parts() else { return };
        let is_counted = !capability.constraints().uses_max().is_empty();
        if is_counted && !self.is_closed && !self.has(link, at) {
            self.uses.push(used);
        }
    }
}

/// Why a bill was not charged: between decision and charge others used up what was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdrawn {
    /// [`Rule::UsedUp`] or [`Rule::LedgerFull`].
    pub rule: Rule,
    /// The grant or attenuation.
    pub link: GrantId,
    /// Its capability, as text.
    pub capability: String,
}

impl Overdrawn {
    /// Makes the answer for the caller.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        let needed = match self.rule {
            Rule::LedgerFull => "a grant of its own in place of an attenuation".to_owned(),
            Rule::UsedUp { per, until_unix_s: Some(until), .. } if per != Per::Ever => {
                format!("to wait until {until} (Unix time), when the next {} begins", per.as_str())
            }
            _ => format!("a new grant of `{}`", self.capability),
        };
        Problem::new(ProblemKind::ResourceExhausted, self.rule.reason(), self.to_string())
            .remedy(format!("it takes {needed}"))
    }
}

impl fmt::Display for Overdrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant {}: ", self.link)?;
        self.rule.write_uses(f)
    }
}

impl std::error::Error for Overdrawn {}
