//! Who is asking, and what they may.

use std::sync::Arc;

use solo_capability::{Access, Denial};
use solo_types::{Problem, ProblemKind, Right};
use tonic::metadata::MetadataMap;

use crate::clock;
use crate::kernel::Kernel;
use crate::service::Service;

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) enum Principal {
    /// Without a token. Such requests come from this machine only: Solo listens on loopback and on
    /// a Unix socket of mode 0600. The full model, where everybody needs a token, is not built yet.
    Owner,
    /// With a token.
    Token(Arc<Access>),
}

/// Reads who sent a request.
pub(super) fn principal(kernel: &Kernel, metadata: &MetadataMap) -> Result<Principal, Problem> {
    let Some(value) = metadata.get("authorization") else { return Ok(Principal::Owner) };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        })
        .ok_or_else(|| {
            Problem::new(
                ProblemKind::Unauthenticated,
                "TOKEN_MALFORMED",
                "the authorization is not `Bearer TOKEN`",
            )
            .remedy("send `authorization: Bearer TOKEN` with a token from GrantCapability")
        })?;
    let access =
        kernel.authority.verify(token, clock::unix_ms() / 1_000).map_err(Denial::into_problem)?;
    Ok(Principal::Token(Arc::new(access)))
}

impl Principal {
    /// For the audit log.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Owner => "owner".to_owned(),
            Self::Token(access) => format!("token:{}", access.id()),
        }
    }

    pub(super) fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }

    /// Refuses what no token of this build allows.
    pub(super) fn must_be_owner(&self, what: &str) -> Result<(), Problem> {
        match self {
            Self::Owner => Ok(()),
            Self::Token(_) => Err(Problem::new(
                ProblemKind::PermissionDenied,
                "RIGHT_MISSING",
                format!("a token does not allow to {what}"),
            )
            .remedy("ask the owner of this Solo; tokens cover read, call, send, kill and execute so far")),
        }
    }

    /// The service of this name, if there is one and the principal has `right` on it.
    ///
    /// To a token, a service that is not there looks like one that it has no right on.
    pub(super) fn service_for(
        &self,
        kernel: &Kernel,
        name: &str,
        right: Right,
    ) -> Result<Arc<Service>, Problem> {
        let found = kernel.service(name);
        let Self::Token(access) = self else { return found };
        let denied = || {
            Problem::new(
                ProblemKind::PermissionDenied,
                "RIGHT_MISSING",
                format!("the token does not allow `{}` on {name}", right.as_str()),
            )
            .remedy(format!("ask the owner for a token with the right `{}`", right.as_str()))
        };
        let service = found.map_err(|_| denied())?;
        access.allows(service.id, right).map_err(|denial| match denial {
            Denial::RightMissing { .. } | Denial::WrongService { .. } => denied(),
            other => other.into_problem(),
        })?;
        Ok(service)
    }

    /// Whether the principal may read about `service`.
    pub(super) fn may_read(&self, service: &Service) -> bool {
        match self {
            Self::Owner => true,
            Self::Token(access) => access.allows(service.id, Right::Read).is_ok(),
        }
    }
}
