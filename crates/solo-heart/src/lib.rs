//! The heart: binds the listening sockets, keeps the kernel and the gateway running, starts cells
//! when the kernel asks, and ends everything in order.
//!
//! It is small, and one thread does it all (others only wait for a cell each): it is the one spawner of
//! Solo's processes. It refuses to accept a connection, to read a request of a client, to run a program
//! other than Solo's own, and to do anything for the kernel beyond the closed set of
//! [`protocol::Request`]. Decisions are in `keeper.rs` (pure); `run.rs` carries them out.
//!
//! [`run`] is the process `solo up`; [`bind_to_parent`] is the first call of every other role.
//! [`start_tended`] and [`tend_command`] are for the one other thing that is started: by the kernel, a
//! program that the operator set up as an audit sink, with a process between.

mod backoff;
mod control;
mod error;
mod groups;
mod home;
mod inherit;
mod isolation;
mod keeper;
mod launch;
mod parent;
pub mod protocol;
mod run;
mod sockets;
mod survivors;
mod tender;
mod vocabulary;

pub use error::HeartError;
pub use inherit::take_descriptor;
pub use isolation::{control_group_name, is_own_user, program_user, volume_user};
pub use parent::{HEART_PID_VARIABLE, ParentError, bind_to_parent, end_with_parent};
pub use run::{HeartOptions, TlsOptions, run};
pub use tender::{start_tended, tend_command};
