//! Policies as texts: what they say is true, and what is wrong with them is found.

use std::collections::BTreeSet;

use nix::libc;

use crate::filter::Policy;
use crate::filter::names::{Arch, call_numbers};
use crate::filter::policy::{Rules, Source};

#[test]
fn every_policy_is_readable_on_every_architecture() {
    for policy in [Policy::Program, Policy::Cell, Policy::Role] {
        for arch in Arch::ALL {
            let rules = Rules::read(policy.source(), arch).expect("readable");
            assert!(rules.calls.len() > 100, "{policy:?}");
            assert_eq!(rules.highest_known, 469);
        }
    }
}

#[test]
fn each_call_has_one_number() {
    for arch in Arch::ALL {
        let calls = call_numbers(arch);
        let numbers: Vec<_> = calls.values().flatten().collect();
        assert_eq!(numbers.len(), numbers.iter().collect::<BTreeSet<_>>().len());
        assert!(numbers.len() > 300);
    }
}

macro_rules! numbers {
    ($($name:ident)*) => {
        [$((stringify!($name), libc::$name)),*]
    };
}

#[test]
fn numbers_are_those_of_the_c_library() {
    let calls = call_numbers(Arch::of_this_machine().expect("known"));
    let numbers = numbers!(
        SYS_read SYS_write SYS_openat SYS_close SYS_mmap SYS_clone SYS_clone3 SYS_execve SYS_kill
        SYS_socket SYS_socketpair SYS_ioctl SYS_prctl SYS_prlimit64 SYS_seccomp SYS_futex
        SYS_personality SYS_mknodat SYS_futex_waitv SYS_fchownat SYS_shmget SYS_semtimedop
        SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_unshare SYS_setns SYS_bpf SYS_keyctl
        SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_kcmp SYS_pidfd_getfd SYS_reboot
        SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_userfaultfd SYS_mseal
        SYS_perf_event_open SYS_open_tree SYS_move_mount SYS_fsopen SYS_fsconfig SYS_fsmount
        SYS_fspick SYS_mount_setattr SYS_open_by_handle_at SYS_name_to_handle_at SYS_add_key
        SYS_init_module SYS_finit_module SYS_kexec_load SYS_settimeofday SYS_clock_settime
        SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self SYS_rseq
        SYS_epoll_pwait2 SYS_openat2 SYS_close_range SYS_statx SYS_getrandom SYS_memfd_secret
    );
    for (name, number) in numbers {
        let ours = calls[name.trim_start_matches("SYS_")].map(i64::from);
        assert_eq!(ours, Some(number), "{name}");
    }
}

fn check(text: &'static str, expect: &str) {
    let read = Rules::read(Source { file: "text", text }, Arch::Aarch64);
    let message = match read {
        Ok(rules) => format!("{} rules", rules.calls.len()),
        Err(error) => error.to_string(),
    };
    assert_eq!(message, expect, "{text}");
}

#[test]
fn wrong_lines_are_found() {
    check("read : contents", "1 rules");
    check("# nothing\n\nread\n  write : contents # and more", "2 rules");
    check("open openat : an architecture may lack one", "1 rules");
    check("read if arg0 == 1 : a\nread if arg0 == 2 : b", "1 rules");
    check("raed : contents", "line 1 of text: no call raed");
    check("\nread", "line 2 of text: no reason");
    check("read :  ", "line 1 of text: no reason");
    check(" : why", "line 1 of text: no call");
    check("read : a\nread : b", "line 2 of text: read again");
    check("read if arg0 == 1 : a\nread : b", "line 2 of text: read again");
    check("clone3 = EWHAT : a", "line 1 of text: no error EWHAT");
    check("read if arg6 == 1 : a", "line 1 of text: `arg6 == 1` is no term");
    check("read if arg0 > 1 : a", "line 1 of text: `arg0 > 1` is no term");
    check("read if arg0 == TIOCSTY : a", "line 1 of text: no value TIOCSTY");
    check("read if arg0 & 1 == 2 : a", "line 1 of text: 0x2 has bits that its mask lacks");
    check("include other.policy", "line 1 of text: cannot include other.policy");
}
