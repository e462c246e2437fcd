//! How a request names things, and how it is answered: `NAME` is in the tenant that the token is for,
//! anything else is `TENANT/NAME`.

use solo_capability::{Capability, Token};
use solo_types::{DEFAULT_TENANT, glob_matches};

use super::access::Principal;
use crate::tenants::{label, of_label};

/// The tenant that a token is for: the one of all that its last hand left, or else that of an earlier one.
pub(super) fn tenant_of(token: &Token) -> String {
    let of_link = |capabilities: &[Capability]| {
        let mut tenants = capabilities.iter().map(|capability| capability.objects().tenant());
        let first = tenants.next()??.to_owned();
        tenants.all(|tenant| tenant == Some(&first)).then_some(first)
    };
    let found = token.links().iter().rev().find_map(|link| of_link(link.capabilities()));
    found.unwrap_or_else(|| DEFAULT_TENANT.to_owned())
}

impl Principal {
    /// The tenant and the name that a request means by `NAME` or `TENANT/NAME`: without a tenant it is the
    /// one that the token is for.
    pub(super) fn place<'a>(&'a self, text: &'a str) -> (&'a str, &'a str) {
        text.split_once('/').unwrap_or((self.tenant(), text))
    }

    /// How this one names what is `name` in `tenant`.
    pub(super) fn shown(&self, tenant: &str, name: &str) -> String {
        if tenant == self.tenant() { name.to_owned() } else { format!("{tenant}/{name}") }
    }

    /// The same of a label, as records have it; empty: the node.
    pub(super) fn shown_label(&self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let (tenant, name) = of_label(text);
        self.shown(tenant, name)
    }

    /// The label of what a request names.
    pub(super) fn label(&self, text: &str) -> String {
        let (tenant, name) = self.place(text);
        label(tenant, name)
    }

    /// A glob of this one's as a glob of labels.
    pub(super) fn glob(&self, text: &str) -> String {
        match text.split_once('/') {
            Some((DEFAULT_TENANT, glob)) => glob.to_owned(),
            None if self.tenant() != DEFAULT_TENANT => {
                format!("{}/{}", self.tenant(), if text.is_empty() { "*" } else { text })
            }
            _ => text.to_owned(),
        }
    }

    /// Whether a glob of this one's is for what is `name` in `tenant`.
    pub(super) fn glob_matches(&self, glob: &str, tenant: &str, name: &str) -> bool {
        glob_matches(glob, &self.shown(tenant, name))
    }
}
