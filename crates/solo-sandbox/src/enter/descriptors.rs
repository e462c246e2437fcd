//! Descriptors that a process was given and does not pass on.

use std::io;

use super::{EnterError, Layer};

/// The first behind the standard streams.
const FIRST: u32 = 3;

/// Has every descriptor but the standard streams closed in what this process starts.
#[expect(unsafe_code, reason = "no library has this call yet")]
pub(super) fn close_on_exec() -> Result<(), EnterError> {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: it takes three numbers. Nothing is closed that this process still uses: the flag makes
    // a later exec close it.
    let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, flag) };
    if done == 0 {
        return Ok(());
    }
    Err(Layer::Descriptors.failed("mark descriptors")(io::Error::last_os_error()))
}
