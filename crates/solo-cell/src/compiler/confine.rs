//! Limits that the compiler sets on its own process, never to be raised again.
//!
//! They are the second fence: the kernel ends a job that takes too long, and the sandbox around
//! the process is not made here.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

use super::CompilerError;

/// Memory of its own. The largest component measured (12 MB, JavaScript engine included) needs less
/// than 1 GiB to compile; this leaves room for ten times that and ends a bomb before the machine
/// feels it. It counts what can be written, too: stacks of 64 MiB and the allocator's arenas.
const MEMORY_BYTES: u64 = 6 << 30;

/// Address space: that, and what the memories of a runtime that reads source text reserve, 4 GiB each.
const ADDRESS_SPACE_BYTES: u64 = 64 << 30;

/// Open files: a handful, and one per connection of the kernel.
const OPEN_FILES: u64 = 256;

/// Size of a file: a compiled artifact is 2 to 5 times its source, which has at most 128 MiB.
pub(super) const FILE_BYTES: u64 = 1 << 30;

/// How far it steps back behind services on the same processors (`nice`): they get three quarters of
/// a processor that both want. More would make a deployment on a busy machine wait for its quarter of
/// a minute.
const NICENESS: i32 = 5;

/// Limits this process.
pub(super) fn confine() -> Result<(), CompilerError> {
    for (what, resource, limit) in [
        // A core file would hold a tenant's code, and writing it would take as long as the bomb.
        ("core files", Resource::RLIMIT_CORE, 0),
        ("memory", Resource::RLIMIT_DATA, MEMORY_BYTES),
        ("the address space", Resource::RLIMIT_AS, ADDRESS_SPACE_BYTES),
        ("open files", Resource::RLIMIT_NOFILE, OPEN_FILES),
        ("the size of files", Resource::RLIMIT_FSIZE, FILE_BYTES),
    ] {
        limit_to(resource, limit)
            .map_err(|error| CompilerError::Confine { what, source: error.into() })?;
    }
    // Nobody else reads what it writes.
    umask(Mode::from_bits_truncate(0o077));
    rustix::process::nice(NICENESS)
        .map_err(|error| CompilerError::Confine { what: "the priority", source: error.into() })?;
    Ok(())
}

/// Lowers both limits; one that is lower already stays.
fn limit_to(resource: Resource, limit: u64) -> nix::Result<()> {
    let (soft, hard) = getrlimit(resource)?;
    setrlimit(resource, soft.min(limit), hard.min(limit))
}
