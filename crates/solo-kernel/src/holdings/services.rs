//! What services may do to each other: grants of their own, that derive from their deployers'.
//!
//! They are by name, as references are, and end with what they derive from, but not with its time.

use std::sync::Arc;

use solo_capability::{
    CAPABILITIES_MAX, Capability, Chain, Constraints, GrantError, GrantId, Link, Object,
    ObjectPattern, Principal, Request, Token,
};
use solo_types::{Grant, Problem, ProblemKind, Right, Rights, ServiceId, ServiceName, Tier};

use super::rows::row;
use super::{Holdings, now_unix_s};
use crate::store::HeldRow;

impl Holdings {
    /// What is to be stored for what a deployment gives its service: on names, as references go by
    /// name, and as long as nobody revokes it. It ends with what the bearer of `from` has it from, but
    /// not with the time of their token: services stay when who deployed them has gone. Whether they
    /// may give it has been asked.
    ///
    /// # Errors
    /// `from` is not in force any more, or has gone through too many hands.
    pub(crate) fn give(
        &self,
        from: &Token,
        tenant: &str,
        service: ServiceId,
        grants: &[Grant],
    ) -> Result<Vec<HeldRow>, Problem> {
        if grants.is_empty() {
            return Ok(Vec::new());
        }
        let chain = self.granted.lock().grants.present(from).map_err(|rule| {
            Problem::new(ProblemKind::Unauthenticated, rule.reason(), "the token is not in force")
                .remedy("ask for a new token (GrantCapability)")
        })?;
        let internal = |error: &dyn std::fmt::Display| Problem::internal(error.to_string());
        let lasting = |link: &Arc<Link>| {
            // Nobody counts what services do, so that what is counted is not theirs.
            let uncounted = |c: &&Capability| c.constraints().uses_max().is_empty();
            let capabilities = link.capabilities().iter().filter(uncounted);
            let capabilities =
                capabilities.map(|c| c.clone().with_constraints(Constraints::default()));
            Link::attenuation(link.id().clone(), link.account().clone(), capabilities.collect())
        };
        let links: Result<Vec<_>, _> =
            chain.links().iter().map(|link| lasting(link).map(Arc::new)).collect();
        let links = links.map_err(|error| internal(&error))?;
        let capability = |grant: &Grant| {
            let object = Object::service(tenant, grant.service.as_str(), None, Tier::User)?;
            // Of the tier that the links before it leave.
            Capability::new(ObjectPattern::exactly(&object), grant.rights.clone())
                .map(|capability| capability.with_tier(Tier::System))
        };
        let capabilities: Result<Vec<_>, _> = grants.iter().map(capability).collect();
        let capabilities = capabilities.map_err(|error| internal(&error))?;
        let mut rows = Vec::new();
        for (number, part) in capabilities.chunks(CAPABILITIES_MAX).enumerate() {
            let id = GrantId::new(&format!("{}.{number}", Principal::service(service)));
            let link = Link::issued(id.map_err(|error| internal(&error))?, part.to_vec());
            let link = Arc::new(link.map_err(|error| internal(&error))?);
            let chain = Chain::new(links.iter().cloned().chain([link]).collect())
                .map_err(|error| GrantError::from(error).into_problem())?;
            rows.push(row(Principal::service(service).as_str(), &chain));
        }
        Ok(rows)
    }

    /// What is left of what a deployment gave its service. `object`: what has a name now.
    pub(crate) fn in_effect(
        &self,
        service: ServiceId,
        given: &[Grant],
        object: impl Fn(&ServiceName) -> Option<Object>,
    ) -> Vec<Grant> {
        let holder = Principal::service(service);
        let now_unix_s = now_unix_s();
        let objects: Vec<_> = given.iter().map(|grant| (grant, object(&grant.service))).collect();
        let granted = self.granted.lock();
        let left = objects.into_iter().filter_map(|(grant, object)| {
            let object = object?;
            let is_left = |right: &Right| {
                let request = Request { object: &object, right: *right };
                granted.grants.explain(&holder, request, &granted.ledger, now_unix_s).is_ok()
            };
            let rights: Rights = grant.rights.iter().copied().filter(is_left).collect();
            (!rights.is_empty()).then(|| Grant { service: grant.service.clone(), rights })
        });
        left.collect()
    }

    /// Forgets what a service held that is gone.
    pub(crate) fn forget(&self, service: ServiceId) {
        self.granted.lock().grants.forget(&Principal::service(service));
    }
}
