//! Solo as its users meet it: the real binary, real components, a real gRPC client, real signals.
//!
//! Each test has a Solo of its own in a temporary home. They wait for states, never for time.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "../attacks/mod.rs"]
mod attacks;
mod auditing;
mod bad_input;
mod calls;
mod capabilities;
mod chains;
mod children;
mod command_line;
mod endurance;
mod gateway;
mod harness;
mod isolation;
mod limits;
mod matrix;
mod model;
mod observing;
mod operations;
mod program_deaths;
mod program_limits;
mod program_sockets;
mod programs;
mod python;
mod real_programs;
mod secrets;
mod sinks;
mod sources;
mod state;
mod survival;
mod tenants;
mod tls;
mod updates;
mod uses;
mod volumes;
