//! Numbers of what policies name: architectures, calls, errors, constants.
//!
//! Calls come from `policies/calls.table`, for all architectures; constants from the C library's
//! headers, as this architecture has them.

use std::collections::BTreeMap;

use nix::libc;

const CALLS: &str = include_str!("../../policies/calls.table");

/// What an unlisted call is answered with.
pub(super) const EPERM: u16 = 1;
/// What a call is answered with that is newer than the policies.
pub(super) const ENOSYS: u16 = 38;

/// An architecture that policies know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    #[cfg(test)]
    pub(super) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    pub(super) fn of_this_machine() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// How the kernel names it to filters. Source: `AUDIT_ARCH_*` of `linux/audit.h`.
    pub(super) fn audit_value(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }
}

/// All calls by name; `None` where the architecture lacks one.
pub(super) fn call_numbers(arch: Arch) -> BTreeMap<&'static str, Option<u32>> {
    let lines = CALLS.lines().filter(|line| !line.starts_with('#'));
    let calls = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, x86_64, aarch64) = (words.next()?, words.next()?, words.next()?);
        let number = match arch {
            Arch::X86_64 => x86_64,
            Arch::Aarch64 => aarch64,
        };
        Some((name, number.parse().ok()))
    });
    calls.collect()
}

pub(super) fn errno(name: &str) -> Option<u16> {
    match name {
        "ENOSYS" => Some(ENOSYS),
        "EPERM" => Some(EPERM),
        _ => None,
    }
}

/// A constant by its name, or a number as it is written in Rust.
pub(super) fn value(text: &str) -> Option<u32> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u32::from_str_radix(hex, 16).ok();
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u32::from_str_radix(octal, 8).ok();
    }
    text.parse().ok().or_else(|| constant(text))
}

/// All kinds of namespaces. That of time cannot be asked of `clone`, but costs nothing here.
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWTIME) as u32;

macro_rules! constants {
    ($text:expr, $($name:ident)*) => {
        match $text {
            $(stringify!($name) => Some(libc::$name as u32),)*
            _ => None,
        }
    };
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "all fit: they are the C library's `int`s, or commands of ioctl"
)]
fn constant(name: &str) -> Option<u32> {
    match name {
        "NEW_NAMESPACES" => return Some(NEW_NAMESPACES),
        // Of `linux/net.h`, `linux/fs.h` and `linux/userfaultfd.h`; the C library has none.
        "SOCK_TYPE_MASK" => return Some(0xf),
        "PAGEMAP_SCAN" => return Some(0xc060_6610),
        "USERFAULTFD_IOC_NEW" => return Some(0xaa00),
        "SIOCGIFCONF" => return Some(0x8912),
        _ => {}
    }
    constants!(name,
        AF_UNIX AF_INET AF_INET6 AF_NETLINK NETLINK_ROUTE SOCK_STREAM SOCK_DGRAM
        IPPROTO_TCP IPPROTO_UDP
        CLONE_THREAD
        S_IFMT S_IFREG S_IFIFO S_IFSOCK
        FIONBIO FIONREAD FIOCLEX FIONCLEX TCGETS TIOCGWINSZ
        TIOCSTI TIOCLINUX TIOCSETD TIOCCONS
        SIOCGIFINDEX SIOCGIFNAME SIOCGIFFLAGS SIOCGIFADDR SIOCGIFNETMASK
        PR_SET_NAME PR_GET_NAME PR_SET_VMA PR_SET_PDEATHSIG PR_GET_PDEATHSIG
        PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS PR_SET_SECCOMP PR_GET_SECCOMP PR_SET_MDWE
        PR_SET_DUMPABLE PR_GET_DUMPABLE PR_SET_TIMERSLACK PR_GET_TIMERSLACK PR_CAPBSET_READ
        PR_SET_CHILD_SUBREAPER PR_GET_CHILD_SUBREAPER PR_SET_THP_DISABLE PR_GET_THP_DISABLE
        PR_SET_KEEPCAPS PR_GET_KEEPCAPS PR_GET_SECUREBITS PR_CAPBSET_DROP
    )
}
