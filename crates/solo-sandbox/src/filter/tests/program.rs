//! Programs in a sandbox: they run, and do not reach the kernel past it.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
#[cfg(target_arch = "x86_64")]
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc::{self, c_long};

use super::{answers, call, check};
use crate::Policy;

/// A descriptor, or a process, that there is not.
const NONE: u64 = u64::MAX;
const NOBODY: u64 = 0x7fff_ffff;

/// Each with arguments that make it fail, or do nothing, where it is not refused.
const DENIED: &[(&str, c_long, [u64; 5])] = &[
    ("mount", libc::SYS_mount, [0; 5]),
    ("umount2", libc::SYS_umount2, [0; 5]),
    ("pivot_root", libc::SYS_pivot_root, [0; 5]),
    ("chroot", libc::SYS_chroot, [0; 5]),
    ("open_tree", libc::SYS_open_tree, [NONE, 0, 0, 0, 0]),
    ("move_mount", libc::SYS_move_mount, [NONE, 0, NONE, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [0; 5]),
    ("fsconfig", libc::SYS_fsconfig, [NONE, 0, 0, 0, 0]),
    ("fsmount", libc::SYS_fsmount, [NONE, 0, 0, 0, 0]),
    ("fspick", libc::SYS_fspick, [NONE, 0, 0, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [NONE, 0, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, [0; 5]),
    ("setns", libc::SYS_setns, [NONE, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [0; 5]),
    ("request_key", libc::SYS_request_key, [0; 5]),
    ("keyctl", libc::SYS_keyctl, [9999, 0, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 5]),
    ("io_uring_enter", libc::SYS_io_uring_enter, [NONE, 0, 0, 0, 0]),
    ("io_uring_register", libc::SYS_io_uring_register, [NONE, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [9999, 0, 0, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [0xff, 0, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0, 0, NONE, NONE, 0]),
    ("memfd_secret", libc::SYS_memfd_secret, [0xff, 0, 0, 0, 0]),
    ("ptrace", libc::SYS_ptrace, [3, NOBODY, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [NOBODY, 0, 0, 0, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [NOBODY, 0, 0, 0, 0]),
    ("process_madvise", libc::SYS_process_madvise, [NONE, 0, 0, 0, 0]),
    ("process_mrelease", libc::SYS_process_mrelease, [NONE, 0, 0, 0, 0]),
    ("kcmp", libc::SYS_kcmp, [NOBODY, NOBODY, 0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [NONE, 0, 0, 0, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [NONE, 0, 0, 0, 0]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, [NONE, 0, 0, 0, 0]),
    ("quotactl", libc::SYS_quotactl, [NONE, 0, 0, 0, 0]),
    ("fanotify_init", libc::SYS_fanotify_init, [NONE, 0, 0, 0, 0]),
    ("init_module", libc::SYS_init_module, [0; 5]),
    ("finit_module", libc::SYS_finit_module, [NONE, 0, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [0; 5]),
    ("kexec_load", libc::SYS_kexec_load, [0, 0, 0, 0xffff, 0]),
    ("reboot", libc::SYS_reboot, [0; 5]),
    ("swapon", libc::SYS_swapon, [0; 5]),
    ("swapoff", libc::SYS_swapoff, [0; 5]),
    ("acct", libc::SYS_acct, [1, 0, 0, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [1, 0, 0, 0, 0]),
    ("clock_settime", libc::SYS_clock_settime, [9999, 0, 0, 0, 0]),
    ("clock_adjtime", libc::SYS_clock_adjtime, [9999, 0, 0, 0, 0]),
    ("adjtimex", libc::SYS_adjtimex, [0; 5]),
    ("sethostname", libc::SYS_sethostname, [0, NONE, 0, 0, 0]),
    ("setdomainname", libc::SYS_setdomainname, [0, NONE, 0, 0, 0]),
    ("syslog", libc::SYS_syslog, [9999, 0, 0, 0, 0]),
    ("mbind", libc::SYS_mbind, [0, 0, 9999, 0, 0]),
    ("move_pages", libc::SYS_move_pages, [NOBODY, 0, 0, 0, 0]),
    ("migrate_pages", libc::SYS_migrate_pages, [NOBODY, 0, 0, 0, 0]),
    ("set_mempolicy", libc::SYS_set_mempolicy, [9999, 0, 0, 0, 0]),
    ("statmount", 457, [0; 5]),
    ("listmount", 458, [0; 5]),
    ("lsm_set_self_attr", 460, [0; 5]),
    // By their arguments.
    ("personality without ASLR", libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0]),
    ("mknod of a device", libc::SYS_mknodat, [NONE, 0, 0o020_600, 0, 0]),
    ("mknod of a disk", libc::SYS_mknodat, [NONE, 0, 0o060_600 | (1 << 32), 0, 0]),
    ("packets", libc::SYS_socket, [17, 9999, 0, 0, 0]),
    ("crypto", libc::SYS_socket, [38, 9999, 0, 0, 0]),
    ("virtual machines", libc::SYS_socket, [40 | (1 << 32), 9999, 0, 0, 0]),
    ("raw", libc::SYS_socket, [2, 3, 0, 0, 0]),
    ("netfilter", libc::SYS_socket, [16, 9999, 12, 0, 0]),
    ("TIOCSTI", libc::SYS_ioctl, [NONE, 0x5412, 0, 0, 0]),
    ("TIOCSTI with high bits", libc::SYS_ioctl, [NONE, 0x5412 | (1 << 32), 0, 0, 0]),
    ("TIOCLINUX", libc::SYS_ioctl, [NONE, 0x541c | (1 << 63), 0, 0, 0]),
    ("PR_SET_PTRACER", libc::SYS_prctl, [0x5961_6d61, 0, 0, 0, 0]),
    // CLONE_SIGHAND without CLONE_VM: the kernel makes no process of it.
    ("clone user", libc::SYS_clone, [0x1000_0800, 0, 0, 0, 0]),
    ("clone user, high bits", libc::SYS_clone, [0x1000_0800 | (1 << 32), 0, 0, 0, 0]),
    ("clone mount", libc::SYS_clone, [0x0002_0800, 0, 0, 0, 0]),
    ("clone pid", libc::SYS_clone, [0x2000_0800, 0, 0, 0, 0]),
    ("clone net", libc::SYS_clone, [0x4000_0800, 0, 0, 0, 0]),
];

#[cfg(target_arch = "x86_64")]
const DENIED_X86_64: &[(&str, c_long, [u64; 5])] = &[
    ("iopl", libc::SYS_iopl, [9, 0, 0, 0, 0]),
    ("ioperm", libc::SYS_ioperm, [NONE, 0, 0, 0, 0]),
    ("modify_ldt", libc::SYS_modify_ldt, [9999, 0, 0, 0, 0]),
    ("uselib", libc::SYS_uselib, [0; 5]),
    ("ustat", libc::SYS_ustat, [0; 5]),
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_X86_64: &[(&str, c_long, [u64; 5])] = &[];

#[test]
fn a_program_reaches_nothing_past_its_sandbox() {
    let answers = answers(
        "program::a_program_reaches_nothing_past_its_sandbox",
        Policy::Program,
        |answers| {
            for (name, number, arguments) in DENIED.iter().chain(DENIED_X86_64) {
                answers.insert((*name).to_owned(), call(*number, *arguments));
            }
        },
    );
    let Some((bare, filtered)) = answers else { return };
    check(&bare, &filtered, Errno::EPERM);
}

#[test]
fn calls_that_cannot_be_looked_at_do_not_exist() {
    let answers = answers(
        "program::calls_that_cannot_be_looked_at_do_not_exist",
        Policy::Program,
        |answers| {
            answers.insert("clone3".to_owned(), call(libc::SYS_clone3, [0; 5]));
            // Threads do without it.
            let thread = std::thread::spawn(|| call(libc::SYS_clone3, [0; 5]));
            answers.insert("clone3 of a thread".to_owned(), thread.join().expect("a thread runs"));
        },
    );
    let Some((bare, filtered)) = answers else { return };
    check(&bare, &filtered, Errno::ENOSYS);
}

#[test]
fn high_bits_of_a_command_are_nothing_to_the_kernel() {
    let answers = answers(
        "program::high_bits_of_a_command_are_nothing_to_the_kernel",
        Policy::Program,
        |answers| {
            let (reader, _writer) = std::io::pipe().expect("a pipe");
            let pipe = u64::try_from(reader.as_raw_fd()).expect("a descriptor");
            // FIONREAD with nowhere to write the answer: taken for what its low bits say.
            answers.insert("low".to_owned(), call(libc::SYS_ioctl, [pipe, 0x541b, 0, 0, 0]));
            let high = 0x541b | (1 << 32);
            answers.insert("high".to_owned(), call(libc::SYS_ioctl, [pipe, high, 0, 0, 0]));
        },
    );
    let Some((bare, filtered)) = answers else { return };
    assert_eq!(bare, filtered);
    assert_eq!((bare["low"], bare["high"]), (libc::EFAULT, libc::EFAULT));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_other_architectures_are_refused() {
    const TEST: &str = "program::calls_of_other_architectures_are_refused";
    if super::in_force() {
        // x32: whether the kernel has it or not.
        assert_eq!(call(libc::SYS_getpid | 0x4000_0000, [0; 5]), libc::ENOSYS);
        i386_getpid();
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    // The x32 of the line above may exist without the filter, so only 32 bits are compared.
    let bare = super::again(TEST, None, directory.path());
    assert!(!super::killed(&bare), "{bare:?}");
    if bare.status.signal() == Some(libc::SIGSEGV) {
        return; // A kernel without 32 bits.
    }
    let filtered = super::again(TEST, Some(Policy::Program), directory.path());
    assert!(super::killed(&filtered), "{filtered:?}");
}

#[cfg(target_arch = "x86_64")]
fn i386_getpid() {
    #[expect(unsafe_code, reason = "there is no other way to call as a process of 32 bits")]
    // SAFETY: number 20 is getpid there, which takes no arguments and touches no memory; old
    // kernels change the registers that are named here.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inout("rax") 20_u64 => _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            options(nostack)
        );
    }
}

const SHELL: &str = r#"set -e
cd "$TMPDIR"; mkfifo pipe; mkdir -p a/b; echo one > a/b/file; chmod 600 a/b/file; ln -s file a/b/link
(cat a/b/link > pipe) & cat pipe | grep -q one; wait
for i in 1 2 3; do (sleep 0.01; exit $i) & done; wait
sh -c 'kill -TERM $$' || test $? = 143
ls -la a >/dev/null; cp -a a c; mv c d; rm -r d; echo done"#;

const PYTHON: &str = r#"
import socket, subprocess, threading, tempfile, os, mmap, select, signal, time
server = socket.create_server(("127.0.0.1", 0))
def serve():
    connection, _ = server.accept()
    connection.sendall(connection.recv(100).upper()); connection.close()
thread = threading.Thread(target=serve); thread.start()
client = socket.create_connection(server.getsockname()); client.sendall(b"hello")
assert client.recv(100) == b"HELLO"; thread.join()
assert socket.getaddrinfo("localhost", 80)
a, b = socket.socketpair(); a.sendall(b"x"); assert b.recv(1) == b"x"
assert subprocess.run(["sh", "-c", "echo 1"], capture_output=True).stdout == b"1\n"
pid = os.fork()
if pid == 0: os._exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
memory = mmap.mmap(-1, 4096); memory[0] = 7
epoll = select.epoll(); epoll.register(a, select.EPOLLIN); epoll.poll(0)
signal.setitimer(signal.ITIMER_REAL, 100); signal.setitimer(signal.ITIMER_REAL, 0)
import multiprocessing; lock = multiprocessing.Lock(); lock.acquire(); lock.release()
print("done")
"#;

const NODE: &str = r#"
const http = require("http"), os = require("os"), child = require("child_process");
os.networkInterfaces();
const { Worker } = require("worker_threads");
const server = http.createServer((request, response) => response.end("ok")).listen(0, "127.0.0.1", () =>
  http.get({ port: server.address().port, host: "127.0.0.1" }, (response) => response.on("data", () =>
    new Worker("0", { eval: true }).on("exit", () => {
      child.execSync("true"); server.close(); console.log("done"); process.exit(0); }))));
"#;

#[test]
fn programs_run_under_their_policy() {
    let answers = answers("program::programs_run_under_their_policy", Policy::Program, |answers| {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, flag, script) in
            [("sh", "-c", SHELL), ("python3", "-c", PYTHON), ("node", "-e", NODE)]
        {
            let mut command = Command::new(name);
            command.args([flag, script]).env("TMPDIR", directory.path()).stdin(Stdio::null());
            match command.output() {
                // What is not installed cannot be tried.
                Err(error) if error.kind() == ErrorKind::NotFound && name != "sh" => {}
                Err(error) => panic!("{name}: {error}"),
                Ok(output) => {
                    assert!(output.stdout.ends_with(b"done\n"), "{name}: {output:?}");
                    answers.insert(name.to_owned(), output.status.code().unwrap_or(-1));
                }
            }
        }
    });
    let Some((bare, filtered)) = answers else { return };
    assert_eq!(bare, filtered);
    assert!(filtered.values().all(|code| *code == 0), "{filtered:?}");
}
