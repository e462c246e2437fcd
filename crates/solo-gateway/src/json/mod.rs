//! The JSON shapes of Solo: what the command line prints with `--output json` and the gateway
//! answers.
//!
//! The keys are a contract: they may be joined by others, and are never renamed. A key whose value
//! is absent is `null`; enums are lower-case words; points in time are RFC 3339 in UTC. Reads
//! protobuf messages, decides nothing, and never fails: a number that is no known enum value is
//! `unknown`.

mod deploy;
mod mount;
mod payload;
mod problem;
mod record;
mod service;
mod tree;
mod words;

pub use deploy::{DeployJson, TimingJson, UpdateJson};
pub use mount::MountJson;
pub use payload::{PayloadJson, payload};
pub use problem::{ErrorJson, FieldJson, ProblemJson, error};
pub use record::{RecordBody, RecordJson};
pub use service::{
    CapabilityJson, ExitJson, ExportJson, InstanceJson, LimitsJson, ListJson, ParameterJson,
    RestartJson, SecretReferenceJson, StatusJson, SummaryJson, ViolationJson,
};
pub use tree::TreeJson;
