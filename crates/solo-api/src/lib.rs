//! The contract of Solo on the wire: generated protobuf types, conversions to the domain types of
//! `solo-types`, the one mapping of problems to gRPC statuses, and the client.
//!
//! Only this crate knows how a domain type looks in protobuf. It checks requests field by field and
//! refuses what is wrong; it decides nothing that needs state.

mod client;
mod code;
mod convert;
mod mount;
mod problem;
mod program;
mod request;
mod secret;
mod source;
mod tenant;

pub use client::{Client, ConnectError, Endpoint, admin_token, connect_channel};
pub use code::{CodeSource, PROGRAM_FORMAT, code_source, is_program};
pub use convert::{
    cell_exit, cell_failure_problem, cell_grants, cell_spec, exit_message, export_from_cell,
    export_message, instance_state_message, kind_from_cell, kind_message, limit_action_message,
    limits_message, rights_from_messages, rights_messages, service_state_from_message,
    service_state_message, tier_message, timestamp, violation_message,
};
pub use mount::{mount_messages, mounts};
pub use problem::{problem_from_status, status_from_problem};
pub use program::{cell_program, program, program_from_cell};
pub use request::{DeploySpec, UpdateSpec, deploy_spec, update_spec};
pub use secret::{secret_references, secret_references_messages, secret_value};
pub use source::{SOURCE_MAGIC, unpack_source};
pub use tenant::{UNBOUNDED, quotas_after, quotas_details, quotas_message};

/// The generated API, package `solo.v1`.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    missing_debug_implementations,
    reason = "generated; the documentation is in proto/"
)]
pub mod v1 {
    tonic::include_proto!("solo.v1");
}

/// Generated types of the cell protocol.
pub mod cell {
    /// Package `solo.cell.v1`.
    #[allow(
        clippy::all,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        missing_debug_implementations,
        reason = "generated; the documentation is in proto/"
    )]
    pub mod v1 {
        tonic::include_proto!("solo.cell.v1");
    }
}

/// Generated types of what programs speak over their socket.
pub mod socket {
    /// Package `solo.program.v1`.
    #[allow(
        clippy::all,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        missing_debug_implementations,
        reason = "generated; the documentation is in proto/"
    )]
    pub mod v1 {
        tonic::include_proto!("solo.program.v1");
    }
}

/// Encoded `FileDescriptorSet` of all packages, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/solo.descriptors.bin"));

/// Version of the cell protocol that this build speaks.
pub const CELL_PROTOCOL: u32 = 1;

/// Largest message on the wire: the largest inline code and room for the rest of the request.
pub const WIRE_MESSAGE_BYTES_MAX: usize = solo_types::bounds::INLINE_CODE_BYTES_MAX + (1 << 20);
