//! Ways out, tried by native code from inside. Each is refused with all layers on, and by each of the
//! layers that are there for it alone; with all of those off it works, which shows that they do something.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use solo_sandbox::Layer;
use tempfile::TempDir;

use crate::inside::{Inside, OUTSIDE, text};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("files_of_the_machine_cannot_be_read", files_of_the_machine_cannot_be_read),
    ("files_of_the_machine_cannot_be_made", files_of_the_machine_cannot_be_made),
    ("other_processes_cannot_be_ended", other_processes_cannot_be_ended),
    ("other_processes_cannot_be_debugged", other_processes_cannot_be_debugged),
    ("sockets_with_a_name_cannot_be_reached", sockets_with_a_name_cannot_be_reached),
    (
        "the_loopback_of_the_machine_cannot_be_reached",
        the_loopback_of_the_machine_cannot_be_reached,
    ),
    ("shared_memory_of_the_machine_cannot_be_found", shared_memory_of_the_machine_cannot_be_found),
    ("what_somebody_forgot_to_close_is_closed", what_somebody_forgot_to_close_is_closed),
    ("a_program_of_roots_does_not_run_as_root", a_program_of_roots_does_not_run_as_root),
    ("the_name_of_the_machine_is_not_told", the_name_of_the_machine_is_not_told),
    ("no_namespace_is_made_to_be_root_of", no_namespace_is_made_to_be_root_of),
    ("nothing_is_mounted_where_one_is_root", nothing_is_mounted_where_one_is_root),
    ("a_file_system_in_memory_is_bounded", a_file_system_in_memory_is_bounded),
];

fn files_of_the_machine_cannot_be_read() {
    let outside = Outside::new();
    let canary = outside.path("canary");
    fs::write(&canary, "canary").expect("written");
    outside.check("read_outside", &[text_of(&canary)], &[Layer::Root, Layer::Landlock]);
}

fn files_of_the_machine_cannot_be_made() {
    let outside = Outside::new();
    let open = outside.path("open");
    fs::create_dir(&open).expect("made");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("opened");
    outside.check("write_outside", &[text_of(&open)], &[Layer::Root, Layer::Landlock]);
}

fn other_processes_cannot_be_ended() {
    let outside = Outside::new();
    let layers = [Layer::PidNamespace, Layer::Landlock];
    outside.check_on("kill_outside", |_| vec![Victim::new()], &layers);
}

fn other_processes_cannot_be_debugged() {
    let outside = Outside::new();
    let layers = [Layer::PidNamespace, Layer::UserNamespace, Layer::Landlock, Layer::Seccomp];
    outside.check_on("read_memory_outside", |_| vec![Victim::new()], &layers);
}

fn sockets_with_a_name_cannot_be_reached() {
    let outside = Outside::new();
    let name = format!("solo-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let _listener = UnixListener::bind_addr(&address).expect("bound");
    let layers = [Layer::NetworkNamespace, Layer::Landlock];
    outside.check("abstract_socket", &[name], &layers);
}

fn the_loopback_of_the_machine_cannot_be_reached() {
    let outside = Outside::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port().to_string();
    outside.check("loopback", &[port], &[Layer::NetworkNamespace]);
}

fn shared_memory_of_the_machine_cannot_be_found() {
    let outside = Outside::new();
    let memory = SharedMemory::new();
    outside.check("shared_memory", &[memory.0.to_string()], &[Layer::IpcNamespace]);
}

fn what_somebody_forgot_to_close_is_closed() {
    let outside = Outside::new();
    let forgotten = File::open("/dev/null").expect("opened");
    fcntl(&forgotten, FcntlArg::F_SETFD(FdFlag::empty())).expect("left open");
    outside.check("inherited_descriptor", &[], &[Layer::Descriptors]);
}

fn a_program_of_roots_does_not_run_as_root() {
    let outside = Outside::new();
    let program = outside.build("setuid_program");
    let marked = outside.path("marked");
    fs::copy(program, &marked).expect("copied");
    fs::set_permissions(&marked, Permissions::from_mode(0o4755)).expect("marked");
    // Neither Landlock nor a filter takes a process that could get new privileges.
    let layers = [
        Layer::Root,
        Layer::NoNewPrivileges,
        Layer::UserNamespace,
        Layer::Landlock,
        Layer::Seccomp,
    ];
    outside.check("setuid_program", &[text_of(&marked)], &layers);
}

fn the_name_of_the_machine_is_not_told() {
    let outside = Outside::new();
    let name = nix::unistd::gethostname().expect("a name").into_string().expect("text");
    outside.check("host_name", &[name], &[Layer::UtsNamespace]);
}

fn no_namespace_is_made_to_be_root_of() {
    let outside = Outside::new();
    outside.check("new_user_namespace", &[], &[Layer::Seccomp]);
}

fn nothing_is_mounted_where_one_is_root() {
    let outside = Outside::new();
    let layers = [Layer::Landlock, Layer::Seccomp];
    outside.check("mount_in_namespace", &[], &layers);
}

fn a_file_system_in_memory_is_bounded() {
    let outside = Outside::new();
    outside.check("fill_scratch", &[], &[Layer::Root]);
}

/// What there is outside: a directory that everybody may look into, and in it what was tried.
struct Outside {
    directory: TempDir,
}

impl Outside {
    fn new() -> Self {
        // Not below `/tmp`, which a sandbox has one of its own of.
        let directory = tempfile::Builder::new().prefix("solo-test").tempdir_in("/var/tmp");
        let directory = directory.expect("a directory");
        let everybody = Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), everybody).expect("opened");
        fs::create_dir(directory.path().join("inside")).expect("made");
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Compiles an attempt to where the sandbox has it.
    fn build(&self, name: &str) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/escapes");
        let program = self.path("inside").join(name);
        let built = Command::new("cc")
            .args(["-Wall", "-static", "-o"])
            .arg(&program)
            .arg(source.join(format!("{name}.c")))
            .output()
            .expect("a compiler");
        assert!(built.status.success(), "{}", text(&built.stderr));
        program
    }

    fn check(&self, name: &str, arguments: &[String], layers: &[Layer]) {
        self.check_on(name, |_| arguments.iter().map(|word| Words::of(word)).collect(), layers);
    }

    /// Tries `name` with all layers, with each of `layers` alone of them, and with none of them.
    fn check_on<T: Argument>(
        &self,
        name: &str,
        arguments: impl Fn(&Self) -> Vec<T>,
        layers: &[Layer],
    ) {
        let program = self.build(name);
        let attempt = |without: Vec<Layer>| {
            let own = self.path("inside");
            let binds = vec![(own.clone(), own, false)];
            let inside = Inside { without: without.clone(), binds, ..Inside::default() };
            let arguments = arguments(self);
            let words: Vec<String> = arguments.iter().map(Argument::text).collect();
            let mut command = vec![program.to_str().expect("text")];
            command.extend(words.iter().map(String::as_str));
            let output = inside.run(&command);
            let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
            match output.status.code() {
                Some(10) => Ended::Held,
                Some(11) => Ended::Out,
                code => panic!("{name} without {without:?}: {code:?} {told}"),
            }
        };
        assert_eq!(attempt(Vec::new()), Ended::Held, "{name}, all layers");
        for layer in layers {
            let others: Vec<Layer> = layers.iter().copied().filter(|l| l != layer).collect();
            assert_eq!(attempt(others), Ended::Held, "{name}, only {layer}");
        }
        assert_eq!(attempt(layers.to_vec()), Ended::Out, "{name} shows nothing");
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Held,
    Out,
}

/// A word of a command, with what must be there while it runs.
trait Argument {
    fn text(&self) -> String;
}

struct Words(String);

impl Words {
    fn of(word: &str) -> Self {
        Self(word.to_owned())
    }
}

impl Argument for Words {
    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A process outside, of the user that those inside are.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        let mut command = Command::new("/bin/sleep");
        command.arg("60").uid(OUTSIDE).gid(OUTSIDE).stdin(Stdio::null());
        Self(command.spawn().expect("started"))
    }
}

impl Argument for Victim {
    fn text(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have been ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A segment of System V shared memory, by its key.
struct SharedMemory(u32);

impl SharedMemory {
    fn new() -> Self {
        let key = 0x5010_0000 | std::process::id();
        Self::python(&format!("assert shmget({key}, 4096, 0o1666) >= 0"));
        Self(key)
    }

    fn python(line: &str) {
        let prelude = "import ctypes; c = ctypes.CDLL(None); shmget = c.shmget; ";
        let done = Command::new("python3").args(["-c", &format!("{prelude}{line}")]).output();
        let done = done.expect("python3");
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        Self::python(&format!("c.shmctl(shmget({}, 0, 0), 0, None)", self.0));
    }
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}
