//! Cells: what is left of the kernel to who has broken out of WebAssembly. And roles.

use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;

use super::{Answers, answers, call, check};
use crate::Policy;

fn own_pid() -> u64 {
    u64::from(std::process::id())
}

fn spawn() -> i32 {
    match Command::new("true").status() {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}

#[test]
fn a_cell_starts_nothing_and_calls_nobody() {
    let answers =
        answers("cell::a_cell_starts_nothing_and_calls_nobody", Policy::Cell, |answers| {
            let mut add = |name: &str, answer| answers.insert(name.to_owned(), answer);
            add("program", spawn());
            add("execve", call(libc::SYS_execve, [0; 5]));
            add("execveat", call(libc::SYS_execveat, [u64::MAX, 0, 0, 0, 0]));
            // CLONE_SIGHAND without CLONE_VM: the kernel makes no process of it.
            add("clone", call(libc::SYS_clone, [0x0800, 0, 0, 0, 0]));
            add("clone, high bits", call(libc::SYS_clone, [0x0800 | (0x1_0000 << 32), 0, 0, 0, 0]));
            add("TCP", call(libc::SYS_socket, [2, 1, 0, 0, 0]));
            add("UDP", call(libc::SYS_socket, [10, 2, 0, 0, 0]));
            add("netlink", call(libc::SYS_socket, [16, 3, 0, 0, 0]));
            add("kill", call(libc::SYS_kill, [own_pid(), 0, 0, 0, 0]));
            add("limits of others", call(libc::SYS_prlimit64, [own_pid(), 0, 0, 0, 0]));
            add("ptrace", call(libc::SYS_ptrace, [3, 0x7fff_ffff, 0, 0, 0]));
            add("userfaultfd", call(libc::SYS_userfaultfd, [0xff, 0, 0, 0, 0]));
            add("mkdir", call(libc::SYS_mkdirat, [u64::MAX, 0, 0, 0, 0]));
            add("TIOCSTI", call(libc::SYS_ioctl, [u64::MAX, 0x5412, 0, 0, 0]));
            add("dumpable", call(libc::SYS_prctl, [4, 1, 0, 0, 0]));
        });
    let Some((bare, filtered)) = answers else { return };
    check(&bare, &filtered, Errno::EPERM);
}

/// What hosting needs: threads, sockets of this machine, files, code that is mapped, limits.
fn host(answers: &mut Answers) {
    let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(|| {
        let (mut here, mut there) = UnixStream::pair().expect("sockets");
        std::io::Write::write_all(&mut here, b"x").expect("sent");
        let mut byte = [0];
        std::io::Read::read_exact(&mut there, &mut byte).expect("received");
        byte[0]
    });
    assert_eq!(thread.expect("a thread").join().expect("it ends"), b'x');
    let directory = tempfile::tempdir_in("/tmp");
    answers.insert("directory".to_owned(), directory.as_ref().map_or(libc::EPERM, |_| 0));
    let file = tempfile::tempfile().expect("a file");
    file.set_len(4096).expect("truncated");
    file.sync_all().expect("synced");
    nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_AS).expect("limits");
    let name = std::ffi::CString::new("image").expect("a name");
    nix::sys::memfd::memfd_create(name.as_c_str(), nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
        .expect("a file without a name");
}

#[test]
fn a_cell_can_host() {
    let answers = answers("cell::a_cell_can_host", Policy::Cell, |answers| {
        host(answers);
        // A process may always take more from itself.
        Policy::Cell.filter().expect("compiled").install().expect("once more");
    });
    let Some((bare, filtered)) = answers else { return };
    assert_eq!((bare["directory"], filtered["directory"]), (0, libc::EPERM));
}

#[test]
fn a_role_starts_commands_and_listens() {
    let answers = answers("cell::a_role_starts_commands_and_listens", Policy::Role, |answers| {
        host(&mut Answers::new());
        assert_eq!(spawn(), 0);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("an address");
        std::net::TcpStream::connect(address).expect("connects");
        answers.insert("unshare".to_owned(), call(libc::SYS_unshare, [0; 5]));
        answers.insert("raw".to_owned(), call(libc::SYS_socket, [2, 3, 0, 0, 0]));
        answers.insert("TIOCSTI".to_owned(), call(libc::SYS_ioctl, [u64::MAX, 0x5412, 0, 0, 0]));
        answers.insert("ptrace".to_owned(), call(libc::SYS_ptrace, [3, 0x7fff_ffff, 0, 0, 0]));
    });
    let Some((bare, filtered)) = answers else { return };
    check(&bare, &filtered, Errno::EPERM);
}
