//! Patterns: which objects a capability is for.
//!
//! A pattern has one matcher per part of its kind. They are so few (anything, exactly this, beginning
//! with this, ending in this) that two of them intersect in a third, and whether one lies within
//! another can be told without looking at any object. Globs and regular expressions could not.

use std::fmt;
use std::str::FromStr;

use crate::part::{Field, Wildcard};
use crate::{ModelError, Object, ObjectKind};

/// Matches one part of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Matcher {
    /// Also a part that is absent.
    Any,
    Exactly(String),
    /// Not used for hosts.
    Beginning(String),
    /// Of hosts only; begins with a dot, so that `*.example.com` does not match `evil-example.com`.
    Ending(String),
}

impl Matcher {
    fn parse(text: &str, field: Field) -> Result<Self, ModelError> {
        let piece = |piece: &str| field.check_piece(piece).map(|()| piece.to_owned());
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(beginning) = text.strip_suffix('*') {
            if field.wildcard() != Wildcard::Behind {
                return field.refuse("`*` cannot stand behind a piece of it");
            }
            return Ok(Self::Beginning(piece(beginning)?));
        }
        if let Some(ending) = text.strip_prefix('*') {
            if field.wildcard() != Wildcard::Before || !ending.starts_with('.') {
                return field.refuse("`*` cannot stand before a piece of it");
            }
            return Ok(Self::Ending(piece(ending)?));
        }
        field.check(text)?;
        Ok(Self::Exactly(text.to_owned()))
    }

    fn matches(&self, part: Option<&str>) -> bool {
        match (self, part) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exactly(text), Some(part)) => text == part,
            (Self::Beginning(text), Some(part)) => part.starts_with(text.as_str()),
            (Self::Ending(text), Some(part)) => part.ends_with(text.as_str()),
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) => true,
            (Self::Exactly(text), _) => other.matches(Some(text)),
            (Self::Beginning(text), Self::Beginning(wider)) => text.starts_with(wider.as_str()),
            (Self::Ending(text), Self::Ending(wider)) => text.ends_with(wider.as_str()),
            _ => false,
        }
    }

    fn intersection(&self, other: &Self) -> Option<Self> {
        if self.is_within(other) {
            Some(self.clone())
        } else if other.is_within(self) {
            Some(other.clone())
        } else {
            // Two texts, beginnings or endings of which neither lies within the other have nothing
            // in common; and no field has beginnings and endings both.
            None
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exactly(text) => f.write_str(text),
            Self::Beginning(text) => write!(f, "{text}*"),
            Self::Ending(text) => write!(f, "*{text}"),
        }
    }
}

/// A set of objects of one kind, written as objects are, with `*` in it.
///
/// `service:default/ci-*`, `network:*.example.com/443/GET/v1/*`. Optional parts that are left out
/// are `*`. Within one part `*` stands alone, at the end of names and paths, or before the first
/// dot of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectPattern {
    kind: ObjectKind,
    /// One for each field of the kind.
    matchers: Vec<Matcher>,
}

impl ObjectPattern {
    /// Matches all objects of a kind.
    #[must_use]
    pub fn any(kind: ObjectKind) -> Self {
        Self { kind, matchers: vec![Matcher::Any; kind.fields().len()] }
    }

    /// Matches this object, and what has the same parts and more: a service without an id stands
    /// for whatever has that name.
    #[must_use]
    pub fn exactly(object: &Object) -> Self {
        let matcher = |index| match object.part(index) {
            Some(part) => Matcher::Exactly(part.to_owned()),
            None => Matcher::Any,
        };
        let matchers = (0..object.kind().fields().len()).map(matcher).collect();
        Self { kind: object.kind(), matchers }
    }

    /// The kind of its objects.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// The one tenant that all its objects are of; `None`: they may be of several, or are of none.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self.of_tenant()? {
            Matcher::Exactly(tenant) => Some(tenant),
            _ => None,
        }
    }

    /// Tells whether something that is of `tenant` may be among its objects.
    #[must_use]
    pub fn may_be_of(&self, tenant: &str) -> bool {
        self.of_tenant().is_some_and(|matcher| matcher.matches(Some(tenant)))
    }

    /// The matcher of the tenant, of kinds whose objects are of one.
    fn of_tenant(&self) -> Option<&Matcher> {
        let is_of_tenant =
            self.kind == ObjectKind::Tenant || self.kind.fields()[0].name == "tenant";
        is_of_tenant.then(|| &self.matchers[0])
    }

    /// Tells whether `object` is one of them.
    #[must_use]
    pub fn matches(&self, object: &Object) -> bool {
        self.kind == object.kind()
            && self.matchers.iter().enumerate().all(|(at, m)| m.matches(object.part(at)))
    }

    /// Tells whether each object that it matches is matched by `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.kind == other.kind && self.pairs(other).all(|(own, others)| own.is_within(others))
    }

    /// The pattern of what both match; `None` if that is nothing.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.kind != other.kind {
            return None;
        }
        let matchers = self.pairs(other).map(|(own, others)| own.intersection(others));
        Some(Self { kind: self.kind, matchers: matchers.collect::<Option<_>>()? })
    }

    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a Matcher, &'a Matcher)> {
        self.matchers.iter().zip(&other.matchers)
    }
}

impl fmt::Display for ObjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.kind.fields();
        let is_needed = |at: &usize| fields[*at].required || self.matchers[*at] != Matcher::Any;
        let last = (0..self.matchers.len()).rev().find(is_needed).unwrap_or_default();
        write!(f, "{}:", self.kind.as_str())?;
        for (at, matcher) in self.matchers.iter().take(last + 1).enumerate() {
            write!(f, "{}{matcher}", if at == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

impl FromStr for ObjectPattern {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let (kind, parts) = ObjectKind::split(text)?;
        let mut pattern = Self::any(kind);
        for ((matcher, field), part) in pattern.matchers.iter_mut().zip(kind.fields()).zip(parts) {
            *matcher = Matcher::parse(part, *field)?;
        }
        Ok(pattern)
    }
}
