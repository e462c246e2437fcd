//! Takes over a descriptor that the heart passed down. Used once per descriptor, at the start of a
//! role, before anything else is opened.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::protocol::descriptors;

/// One bit for each number that was taken: a second owner would close it under the first.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// Takes descriptor `number` (see [`descriptors`]) and marks it close-on-exec, so that it goes no
/// further down.
///
/// # Errors
/// `EBADF` when the heart passes no such number, when it was taken before, or when it is not open:
/// the role was not started by a heart.
#[expect(unsafe_code, reason = "an inherited descriptor is only known by its number")]
pub fn take_descriptor(number: i32) -> io::Result<OwnedFd> {
    if !(descriptors::KERNEL_CONTROL..=descriptors::KERNEL_METRICS).contains(&number) {
        return Err(Errno::EBADF.into());
    }
    let bit = 1 << number;
    if TAKEN.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: the borrow ends with this statement, and fcntl answers EBADF for a closed descriptor.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open (checked above) and was not taken before; the heart passed it for this
    // role alone, and roles take theirs before they open anything, so that nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::take_descriptor;

    #[test]
    fn numbers_that_the_heart_does_not_pass_are_refused() {
        for number in [-1, 0, 2, 7, 987_654] {
            assert!(take_descriptor(number).is_err(), "{number}");
        }
    }
}
