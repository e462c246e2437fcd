//! A capability: rights on a set of objects, within constraints.
//!
//! A plain value: holding one in memory allows nothing. What allows is a [`crate::Chain`] of them
//! that comes from a verified token or from the [`crate::Grants`].

use std::fmt;
use std::str::FromStr;

use solo_types::{Right, Rights, Tier};

use crate::object::OBJECT_CHARS_MAX;
use crate::{Constraints, ModelError, Object, ObjectPattern, Per};

/// Characters of a capability's text: an object, all rights, and all constraints at their longest.
const CAPABILITY_CHARS_MAX: usize = OBJECT_CHARS_MAX + 512;

/// Rights on the objects of a pattern.
///
/// Its text is `RIGHTS OBJECT [tier=system] [until=UNIX_S] [uses=N/PER,...]`, for example
/// `call,send service:default/counter until=1800000000 uses=10/second,500/ever`. PER is `second`,
/// `minute`, `hour`, `day` or `ever`; `1s`, `1m`, `1h` and `1d` are read too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    objects: ObjectPattern,
    /// At least one; only such as objects of this kind have.
    rights: Rights,
    tier: Tier,
    constraints: Constraints,
}

impl Capability {
    /// Makes a capability of the user tier, without constraints.
    ///
    /// # Errors
    /// [`ModelError::NoRights`], [`ModelError::RightOfOtherKind`].
    pub fn new(objects: ObjectPattern, rights: Rights) -> Result<Self, ModelError> {
        let known = objects.kind().rights();
        if let Some(right) = rights.difference(&known).next() {
            return Err(ModelError::RightOfOtherKind { kind: objects.kind(), right: *right });
        }
        if rights.is_empty() {
            return Err(ModelError::NoRights);
        }
        Ok(Self { objects, rights, tier: Tier::User, constraints: Constraints::default() })
    }

    /// Changes its tier. With the system tier it is an operator's: it reaches what
    /// [`Object::is_protected_from`] keeps from others.
    #[must_use]
    pub fn with_tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// Replaces its constraints.
    #[must_use]
    pub fn with_constraints(mut self, constraints: Constraints) -> Self {
        self.constraints = constraints;
        self
    }

    /// What it is for.
    #[must_use]
    pub fn objects(&self) -> &ObjectPattern {
        &self.objects
    }

    /// What may be done with them.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The tier of what may be changed with it.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Until when, how many times and how often.
    #[must_use]
    pub fn constraints(&self) -> &Constraints {
        &self.constraints
    }

    /// Tells whether it allows nothing that `other` does not, whatever is asked. May say no where
    /// the truth is yes ([`Constraints::is_within`]), never the other way round.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.objects.is_within(&other.objects)
            && self.rights.is_subset(&other.rights)
            && self.tier <= other.tier
            && self.constraints.is_within(&other.constraints)
    }

    /// What both allow; `None` if that is nothing.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let rights: Rights = self.rights.intersection(&other.rights).copied().collect();
        if rights.is_empty() {
            return None;
        }
        Some(Self {
            objects: self.objects.intersection(&other.objects)?,
            rights,
            tier: self.tier.min(other.tier),
            constraints: self.constraints.intersection(&other.constraints),
        })
    }

    /// Tells whether it is for this right on this object, constraints aside.
    #[must_use]
    pub fn covers(&self, object: &Object, right: Right) -> bool {
        self.objects.matches(object)
            && self.rights.contains(&right)
            && !object.is_protected_from(self.tier, right)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rights: Vec<&str> = self.rights.iter().map(|right| right.as_str()).collect();
        write!(f, "{} {}", rights.join(","), self.objects)?;
        if self.tier == Tier::System {
            f.write_str(" tier=system")?;
        }
        if let Some(expires_at) = self.constraints.expires_at_unix_s() {
            write!(f, " until={expires_at}")?;
        }
        for (at, (per, uses)) in self.constraints.uses_max().iter().enumerate() {
            let before = if at == 0 { " uses=" } else { "," };
            write!(f, "{before}{uses}/{}", per.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Capability {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        // Bytes are at least as many as characters.
        if text.len() > CAPABILITY_CHARS_MAX {
            return Err(ModelError::TooLong { chars_max: CAPABILITY_CHARS_MAX });
        }
        let mut words = text.split(' ');
        let rights = words.next().unwrap_or_default();
        let objects = words.next().ok_or(ModelError::Words)?.parse()?;
        let capability = Self::new(objects, parse_rights(rights)?)?;
        let (mut tier, mut until, mut uses) = (None, None, None);
        for word in words {
            let (key, value) = word.split_once('=').ok_or(ModelError::Words)?;
            let place = match key {
                "tier" => &mut tier,
                "until" => &mut until,
                "uses" => &mut uses,
                _ => return Err(ModelError::Words),
            };
            if place.replace(value).is_some() {
                return Err(ModelError::Words);
            }
        }
        let tier = match tier {
            None | Some("user") => Tier::User,
            Some("system") => Tier::System,
            Some(_) => return Err(ModelError::Words),
        };
        let mut constraints = Constraints::default();
        if let Some(until) = until {
            constraints = constraints.until(number(until).ok_or(ModelError::Expiry)?)?;
        }
        if let Some(uses) = uses {
            constraints = parse_uses(uses, constraints)?;
        }
        Ok(capability.with_tier(tier).with_constraints(constraints))
    }
}

fn parse_rights(text: &str) -> Result<Rights, ModelError> {
    if text.is_empty() {
        return Err(ModelError::NoRights);
    }
    let right = |word: &str| Right::ALL.into_iter().find(|right| right.as_str() == word);
    text.split(',').map(|word| right(word).ok_or(ModelError::UnknownRight)).collect()
}

fn parse_uses(text: &str, mut constraints: Constraints) -> Result<Constraints, ModelError> {
    for bound in text.split(',') {
        let (uses, per) = bound.split_once('/').ok_or(ModelError::Uses)?;
        let (Some(uses), Some(per)) = (number(uses), Per::parse(per)) else {
            return Err(ModelError::Uses);
        };
        if constraints.uses_max().contains_key(&per) {
            return Err(ModelError::Uses);
        }
        constraints = constraints.uses(uses, per)?;
    }
    Ok(constraints)
}

/// Digits alone: `parse` takes a sign too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
