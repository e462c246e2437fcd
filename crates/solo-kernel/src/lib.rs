//! The kernel: the control plane of a node. Owns desired state, the signing key and the audit log;
//! serves `solo.v1`; keeps what runs in the cells in step with what should be.
//!
//! It refuses to run or to parse guest code: it hashes bytes, hands paths to cells, and passes
//! messages on. It is a tree of supervised actors (SPEC S2) over shared state ([`kernel::Kernel`]);
//! everything that matters is in the store, so that it can be killed at any instruction and started
//! again under running services.
//!
//! Entry point: [`run`]. Map: `boot` starts and ends it, `actors` is the tree, `api` the edge,
//! `service` the operations, `cells` and `heart` the way to other processes, `store`, `artifacts`,
//! `audit` and `monitor` what is kept.

mod actors;
mod admin;
mod api;
mod artifacts;
mod audit;
mod boot;
mod cells;
mod certificates;
mod clock;
mod files;
mod heart;
mod holdings;
mod home;
mod kernel;
mod keyfile;
mod monitor;
mod programs;
mod secrets;
mod service;
mod settings;
mod state;
mod store;
mod sweeps;
mod tenants;
mod veil;

pub use audit::{SinkReport, SinksReport, check_audit_settings, written_by_sinks};
pub use boot::{KernelError, KernelOptions, run};
