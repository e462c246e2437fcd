//! `solo:service/children`: children of a guest, from code that the tenant has deployed.
//!
//! Checks the right to the code and `max_processes`; the group does the rest.

use std::sync::Arc;

use solo_supervisor::{AutoShutdown, ChildOptions, Strategy, SupervisorOptions};
use solo_types::bounds::{CONFIG_ENTRIES_MAX, CONFIG_KEY_BYTES_MAX, CONFIG_VALUE_BYTES_MAX};
use solo_types::{LimitAction, RestartMode, RestartPolicy};
use wasmtime::component::Resource;

use super::super::failure::Fault;
use super::super::group::{self, ChildPlan, GroupError, Process};
use super::super::service::Service;
use super::super::violations::Limit;
use super::ComponentState;
use super::bindings::solo::service::children::{
    self as wit, ChildError, ChildInfo, ChildSpec, Host, HostGroup,
};
use super::reference::ServiceRef;

/// Groups of one instance: each is a task on the host.
const GROUPS_MAX: usize = 100;

/// Longest name of a child.
const NAME_BYTES_MAX: usize = 63;

/// Longest graceful end of a child, as of a service.
const SHUTDOWN_MS_MAX: u64 = 600_000;

/// Children of one instance where limits only warn: each takes some tens of kilobytes.
const PROCESSES_CEILING: u64 = 10_000;

/// A group of children.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Group(Arc<group::Group>);

impl Host for ComponentState {}

impl HostGroup for ComponentState {
    fn new(&mut self, options: wit::Options) -> wasmtime::Result<Resource<Group>> {
        if self.slot.groups.count() >= GROUPS_MAX {
            wasmtime::bail!("the instance has {GROUPS_MAX} groups of children already");
        }
        let Some(cell) = self.cell.upgrade() else { wasmtime::bail!("the cell ends") };
        let policy = RestartPolicy {
            mode: RestartMode::Permanent,
            max_restarts: options.max_restarts.min(1_000),
            window_ms: options.window_ms.clamp(1, 24 * 3_600_000),
            ..RestartPolicy::default()
        };
        let options = SupervisorOptions {
            strategy: match options.strategy {
                wit::Strategy::OneForOne => Strategy::OneForOne,
                wit::Strategy::OneForAll => Strategy::OneForAll,
                wit::Strategy::RestForOne => Strategy::RestForOne,
            },
            auto_shutdown: match options.auto_shutdown {
                wit::AutoShutdown::Never => AutoShutdown::Never,
                wit::AutoShutdown::AnySignificant => AutoShutdown::AnySignificant,
                wit::AutoShutdown::AllSignificant => AutoShutdown::AllSignificant,
            },
            policy,
        };
        let group = group::Group::open(cell, Arc::clone(&self.slot), options);
        Ok(self.table.push(Group(Arc::new(group)))?)
    }

    async fn spawn(
        &mut self,
        group: Resource<Group>,
        child: ChildSpec,
    ) -> wasmtime::Result<Result<Resource<ServiceRef>, ChildError>> {
        let group = Arc::clone(&self.table.get(&group)?.0);
        if self.is_ending {
            return Ok(Err(ChildError::Ended));
        }
        let planned = self.plan(child);
        let (plan, process) = match planned {
            Ok(planned) => planned,
            Err(error) => return Ok(Err(error)),
        };
        let name = plan.name.clone();
        Ok(match group.spawn(plan, process).await {
            Ok(address) => Ok(self.table.push(ServiceRef::child(&name, address))?),
            Err(error) => Err(child_error(error)),
        })
    }

    async fn stop(
        &mut self,
        group: Resource<Group>,
        name: String,
    ) -> wasmtime::Result<Result<(), ChildError>> {
        let group = Arc::clone(&self.table.get(&group)?.0);
        Ok(group.stop(name).await.map_err(child_error))
    }

    fn members(&mut self, group: Resource<Group>) -> wasmtime::Result<Vec<ChildInfo>> {
        let members = self.table.get(&group)?.0.members().into_iter();
        let info = members.map(|member| ChildInfo {
            name: member.name,
            instance: member.instance,
            state: member.state.as_str().to_owned(),
            restarts: member.restarts,
        });
        Ok(info.collect())
    }

    fn drop(&mut self, group: Resource<Group>) -> wasmtime::Result<()> {
        self.table.delete(group)?;
        Ok(())
    }
}

impl ComponentState {
    /// Checks what a guest wants to start.
    fn plan(&self, child: ChildSpec) -> Result<(ChildPlan, Process), ChildError> {
        let own = &self.slot.service;
        let may = child.code == own.name
            || own.grants.get(&child.code).is_some_and(|rights| rights.execute);
        if !may {
            return Err(ChildError::Denied);
        }
        let (service, artifact) = if child.code == own.name {
            (Arc::clone(own), Arc::clone(&self.slot.artifact))
        } else {
            let route = self.routes.by_name(&child.code).ok_or(ChildError::Denied)?;
            let instance = route.instances.first().ok_or_else(|| {
                ChildError::Failed(format!("{} has no instance at the moment", child.code))
            })?;
            (Arc::clone(&instance.service), Arc::clone(&instance.artifact))
        };
        let name = child.name;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let message = format!("the name must have 1 to {NAME_BYTES_MAX} bytes of text");
            return Err(ChildError::Failed(message));
        }
        let service = configured(&service, child.config)?;
        let mode = match child.restart {
            wit::Restart::Permanent => RestartMode::Permanent,
            wit::Restart::Transient => RestartMode::Transient,
            wit::Restart::Temporary => RestartMode::Temporary,
        };
        let plan = ChildPlan {
            name,
            service,
            artifact,
            options: ChildOptions { mode, significant: child.significant },
            shutdown_ms: child.shutdown_ms.min(SHUTDOWN_MS_MAX),
        };
        Ok((plan, self.process()?))
    }

    /// One more child, if the limit allows it.
    fn process(&self) -> Result<Process, ChildError> {
        let (slot, processes) = (&self.slot, &self.slot.processes);
        let max = processes.max;
        let count = match processes.add(max) {
            Ok(process) => return Ok(process),
            Err(count) => count,
        };
        let action = slot.service.limit_action;
        let message = format!("max_processes = {max} exceeded: {count} children, and theirs");
        slot.violated(Limit::Processes, action, || message.clone());
        match action {
            LimitAction::Warn => processes.add(PROCESSES_CEILING).map_err(|_| {
                ChildError::Limit(format!("{PROCESSES_CEILING} children are the most there can be"))
            }),
            LimitAction::Throttle => Err(ChildError::Limit(message)),
            LimitAction::Kill => {
                slot.inject(slot.life(), Fault::limit(message.clone()));
                Err(ChildError::Limit(message))
            }
        }
    }
}

/// `service` with other entries of its configuration.
fn configured(
    service: &Arc<Service>,
    entries: Vec<(String, String)>,
) -> Result<Arc<Service>, ChildError> {
    let too_large = entries.iter().any(|(key, value)| {
        key.is_empty() || key.len() > CONFIG_KEY_BYTES_MAX || value.len() > CONFIG_VALUE_BYTES_MAX
    });
    let mut config = service.config.clone();
    for (key, value) in entries {
        config.retain(|(old, _)| *old != key);
        config.push((key, value));
    }
    if too_large || config.len() > CONFIG_ENTRIES_MAX {
        return Err(ChildError::Failed("the configuration is too large".to_owned()));
    }
    Ok(Arc::new(Service { config, ..Service::clone(service) }))
}

fn child_error(error: GroupError) -> ChildError {
    match error {
        GroupError::Exists => ChildError::Exists,
        GroupError::Unknown => ChildError::Unknown,
        GroupError::Ended => ChildError::Ended,
        GroupError::Failed(message) => ChildError::Failed(message),
    }
}
