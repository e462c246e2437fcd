//! The words of Solo as types: names, ids, limits, policies, specifications, states and problems.
//!
//! No I/O, no clock, no protobuf. What is a value of one of these types has been checked: a
//! [`ServiceName`] is a legal name, [`Limits`] are within their bounds. Everything else in the
//! workspace depends on this crate, and it depends on nothing of the workspace.

mod glob;
mod id;
mod limits;
mod mount;
mod name;
mod problem;
mod program;
mod quotas;
mod restart;
mod spec;
mod state;
mod trace;

pub use glob::glob_matches;
pub use id::{IdError, InstanceId, NodeId, ServiceId};
pub use limits::{LIMIT_NAMES, LimitAction, Limits, bounds};
pub use mount::Mount;
pub use name::{SecretName, ServiceName, TenantName, VolumeName};
pub use problem::{FieldViolation, Problem, ProblemKind};
pub use program::{
    Interface, PROGRAM_PORT_DEFAULT, PROGRAM_STARTUP_TIMEOUT_MS, Program, Readiness, is_url_path,
};
pub use quotas::{DEFAULT_TENANT, Quotas, Usage};
pub use restart::{RestartMode, RestartPolicy};
pub use spec::{
    Digest, Export, Grant, HealthCheck, Parameter, Right, Rights, SecretReference, ServiceKind,
    ServiceSpec, Tier,
};
pub use state::{Exit, ExitReason, InstanceState, ServiceState};
pub use trace::{TraceError, TraceId};
