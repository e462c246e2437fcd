//! ExplainCapability, and dry runs of GrantCapability: who could do what, and why. Changes nothing.

use std::sync::Arc;

use solo_api::v1;
use solo_capability::{Object, ObjectKind, Principal as Holder, Proposal, Reach, Reached};
use solo_types::{Problem, ProblemKind, Right};

use super::access::{Operation, Principal, object_of};
use crate::kernel::Kernel;

/// Objects of one answer.
const REACHABLE_MAX: usize = 1_000;

pub(super) async fn explain(
    kernel: Arc<Kernel>,
    principal: Principal,
    request: v1::ExplainCapabilityRequest,
) -> Result<v1::ExplainCapabilityResponse, Problem> {
    principal.ask(&kernel, Operation::Grants)?;
    let wrong = |field: &str, rule: &str| Problem::invalid("INVALID_QUESTION", field, rule);
    let right = Right::ALL.into_iter().find(|right| right.as_str() == request.right);
    let right = right.ok_or_else(|| {
        wrong("right", "there is no such right").remedy(format!("use one of {}", rights()))
    })?;
    let object: Object = request.object.parse().map_err(|error: solo_capability::ModelError| {
        wrong("object", &error.to_string()).remedy("write `service:default/NAME`, `kernel:tree`")
    })?;
    let object = itself(&kernel, object);
    if !object.kind().rights().contains(&right) {
        let rule = format!("there is no right `{}` on {object}", right.as_str());
        return Err(wrong("right", &rule).remedy("ask for a right that objects of this kind have"));
    }
    let holder = holder(&kernel, &principal, &request.principal)?;
    Ok(match kernel.holdings.explain(&holder, &object, right) {
        Ok(because) => {
            v1::ExplainCapabilityResponse { allowed: true, because, ..Default::default() }
        }
        Err(refusal) => v1::ExplainCapabilityResponse {
            allowed: false,
            because: refusal.to_string(),
            needed: refusal.needed(),
        },
    })
}

/// What a grant would newly make reachable.
pub(super) async fn dry_run(
    kernel: &Kernel,
    principal: &Principal,
    proposal: Proposal,
) -> Result<v1::GrantCapabilityResponse, Problem> {
    let mut objects = Vec::new();
    for service in kernel.registry.all() {
        // What the one who asks cannot see they are not told of.
        if principal.may_read(kernel, &service) {
            objects.push(object_of(&service)?);
        }
    }
    objects.extend(Operation::ALL.into_iter().filter_map(|o| Object::kernel(o.name()).ok()));
    let reach = kernel.holdings.newly_reachable(principal.token(), proposal, objects).await?;
    let Reach { mut reached, is_complete } = reach;
    let truncated = !is_complete || reached.len() > REACHABLE_MAX;
    reached.truncate(REACHABLE_MAX);
    let message = |reached: Reached| v1::Reachable {
        object: reached.object.to_string(),
        rights: reached.rights.iter().map(|right| right.as_str().to_owned()).collect(),
        through: reached.through.map(|through| through.to_string()).unwrap_or_default(),
    };
    Ok(v1::GrantCapabilityResponse {
        newly_reachable: reached.into_iter().map(message).collect(),
        truncated,
        ..Default::default()
    })
}

/// A service that is there stands for itself, with its id and tier.
fn itself(kernel: &Kernel, object: Object) -> Object {
    if object.kind() != ObjectKind::Service || object.service_id().is_some() {
        return object;
    }
    let text = object.to_string();
    let name = text.split_once(':').and_then(|(_, name)| name.split_once('/'));
    let there = name.and_then(|(tenant, name)| kernel.service(tenant, name).ok());
    match there.and_then(|service| object_of(&service).ok()) {
        Some(there) => there,
        None => object,
    }
}

/// `service:NAME` is the service that has this name now.
fn holder(kernel: &Kernel, principal: &Principal, name: &str) -> Result<Holder, Problem> {
    if let Some(service) = name.strip_prefix("service:") {
        let (tenant, service) = principal.place(service);
        return kernel.service(tenant, service).map(|service| Holder::service(service.id));
    }
    Holder::new(name).map_err(|error| {
        Problem::new(ProblemKind::InvalidArgument, "INVALID_QUESTION", error.to_string())
            .field("principal")
            .remedy("name a holder as `solo token list` does, or `service:NAME`")
    })
}

fn rights() -> String {
    Right::ALL.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(", ")
}
