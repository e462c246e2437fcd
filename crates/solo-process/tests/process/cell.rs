//! A cell, with the three that it has to do with: the heart, the kernel and the proxy.

use std::collections::VecDeque;
use std::fs::{self, File, Permissions};
use std::io::{PipeWriter, Read as _, Write as _, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use solo_process::wire::messages::{
    Bind, ControlAnswer, ControlRequest, Descriptor, Hello, ProgramAnswer, ProgramRequest, Seal,
    Start, Variable, control_answer, control_request, entry, exited::How, program_answer::Tell,
    program_request::Ask,
};
use solo_process::wire::{Connection, VERSION, messages, take_descriptors};
use solo_process::{Options, run};
use solo_sandbox::{Access, Entry, Identity, Layer, common_entries, spawn_in_pid_namespace};
use tempfile::TempDir;

/// In the environment of what is to be an init: where its socket is, and which layers are off.
const SOCKET: &str = "SOLO_TEST_SOCKET";
const WITHOUT: &str = "SOLO_TEST_WITHOUT";

/// A user that owns nothing on any machine.
pub(crate) const OUTSIDE: u32 = 1_900_000_002;

/// Nothing here takes longer, however busy the machine is.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Becomes the init, if this process was started to be one.
#[expect(clippy::print_stderr, reason = "what is shown if a test fails")]
pub(crate) fn become_init() -> Option<ExitCode> {
    let socket = std::env::var_os(SOCKET)?;
    let without = std::env::var(WITHOUT).unwrap_or_default();
    let without = without.split_whitespace().filter_map(Layer::from_name).collect();
    // As Solo's own processes have it.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let options = Options {
        cell: "test".into(),
        socket: socket.into(),
        entries: common(),
        groups: Vec::new(),
        without,
    };
    Some(match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// What every program has, with the programs of this machine.
fn common() -> Vec<Entry> {
    let mut entries = common_entries(Identity::default(), 16 << 20);
    for path in ["/usr", "/bin", "/sbin", "/lib", "/lib64"].map(PathBuf::from) {
        if path.exists() {
            entries.push(Entry::Bind { from: path.clone(), at: path, access: Access::Execute });
        }
    }
    entries
}

pub(crate) struct Cell {
    pub(crate) directory: TempDir,
    pub(crate) child: Child,
    /// What the heart holds.
    pub(crate) alive: Option<PipeWriter>,
    pub(crate) kernel: Connection,
}

impl Cell {
    /// A cell that nobody uses yet.
    pub(crate) fn prepared(without: &[Layer]) -> Self {
        // Not below `/tmp`, which a sandbox has one of its own of.
        let directory = tempfile::Builder::new().prefix("solo").tempdir_in("/var/tmp");
        let directory = directory.expect("a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("opened");
        fs::create_dir(directory.path().join("inside")).expect("made");
        let socket = directory.path().join("control");
        let (theirs, alive) = pipe().expect("a pipe");
        let without: Vec<_> = without.iter().map(|layer| layer.as_str()).collect();
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        // What the heart sets for all, with less kept.
        let allocator =
            [("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];
        command
            .env_clear()
            .envs(allocator)
            .env(SOCKET, &socket)
            .env(WITHOUT, without.join(" "))
            .stdin(theirs);
        let child = spawn_in_pid_namespace(command).expect("spawned");
        let kernel = connect(&socket);
        Self { directory, child, alive: Some(alive), kernel }
    }

    /// A sealed cell, and the proxy's connection.
    pub(crate) fn sealed() -> (Self, Program) {
        let mut cell = Self::prepared(&[]);
        let sealed = cell.seal(cell.usual());
        assert!(matches!(sealed, control_answer::Tell::Sealed(_)), "{sealed:?}");
        let program = cell.program();
        (cell, program)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What most services would be sealed with; `inside` of the directory can be read.
    pub(crate) fn usual(&self) -> Seal {
        let at = self.path("inside").to_str().expect("text").to_owned();
        let access = messages::Access::Execute.into();
        let what = entry::What::Bind(Bind { from: at.clone(), access });
        let entries = vec![messages::Entry { at, what: Some(what) }];
        Seal {
            instance: "node-service-1".into(),
            entries,
            user: OUTSIDE,
            program_socket: self.path("program").to_str().expect("text").into(),
            ..Seal::default()
        }
    }

    pub(crate) fn ask(&mut self, ask: control_request::Ask) -> control_answer::Tell {
        let request = ControlRequest { id: 7, ask: Some(ask) };
        self.kernel.send(&request, LONG).expect("sent");
        let answer: ControlAnswer = self.kernel.receive(LONG).expect("an answer");
        assert_eq!(answer.id, 7);
        answer.tell.expect("something")
    }

    pub(crate) fn seal(&mut self, seal: Seal) -> control_answer::Tell {
        self.ask(control_request::Ask::Seal(seal))
    }

    pub(crate) fn hello(&mut self) -> messages::Identity {
        match self.ask(control_request::Ask::Hello(Hello { version: VERSION })) {
            control_answer::Tell::Identity(identity) => identity,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn program(&self) -> Program {
        Program::at(&self.path("program"))
    }

    /// Compiles one of the programs of the tests to where the sandbox has it.
    pub(crate) fn build(&self, name: &str) -> String {
        let source = match name {
            "attack" => include_str!("programs/attack.c"),
            "first" => include_str!("programs/first.c"),
            _ => include_str!("programs/tree.c"),
        };
        let program = self.path("inside").join(name);
        let mut compiler = Command::new("cc")
            .args(["-Wall", "-O1", "-static", "-xc", "-", "-o"])
            .arg(&program)
            .args((name == "first").then_some("-nostdlib"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("a compiler");
        let mut input = compiler.stdin.take().expect("input");
        input.write_all(source.as_bytes()).expect("written");
        drop(input);
        assert!(compiler.wait().expect("waited").success(), "{name}");
        program.to_str().expect("text").to_owned()
    }

    /// Waits for the end of the init.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status;
            }
            assert!(Instant::now() < until, "it goes on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("waited").is_none()
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        drop(self.alive.take());
        // It has ended by itself.
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(path: &Path) -> Connection {
    let until = Instant::now() + LONG;
    loop {
        match Connection::open(path) {
            Ok(connection) => return connection,
            Err(error) => assert!(Instant::now() < until, "{}: {error}", path.display()),
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The proxy's side.
pub(crate) struct Program {
    pub(crate) connection: Connection,
    id: u64,
    events: VecDeque<Tell>,
}

pub(crate) type Handed = Vec<(Descriptor, OwnedFd)>;

impl Program {
    pub(crate) fn at(path: &Path) -> Self {
        Self { connection: connect(path), id: 0, events: VecDeque::new() }
    }

    fn receive(&mut self) -> (u64, Tell, Handed) {
        let answer: ProgramAnswer = self.connection.receive(LONG).expect("an answer");
        let handed = take_descriptors(self.connection.frames(), &answer).expect("all of them");
        (answer.id, answer.tell.expect("something"), handed)
    }

    pub(crate) fn ask(&mut self, ask: Ask) -> (Tell, Handed) {
        self.id += 1;
        let request = ProgramRequest { id: self.id, ask: Some(ask) };
        self.connection.send(&request, LONG).expect("sent");
        loop {
            match self.receive() {
                (0, event, _) => self.events.push_back(event),
                (id, tell, handed) => {
                    assert_eq!(id, self.id);
                    return (tell, handed);
                }
            }
        }
    }

    pub(crate) fn event(&mut self) -> Tell {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        match self.receive() {
            (0, event, _) => event,
            other => panic!("no event: {other:?}"),
        }
    }

    /// Waits for the exit, which must be the next event.
    pub(crate) fn exit(&mut self) -> How {
        match self.event() {
            Tell::Exited(exited) => exited.how.expect("how"),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn start(&mut self, start: Start) -> Streams {
        match self.ask(Ask::Start(start)) {
            (Tell::Started(_), handed) => Streams::of(handed),
            (other, _) => panic!("{other:?}"),
        }
    }

    /// The word by which it is refused.
    pub(crate) fn refused(&mut self, ask: Ask) -> String {
        match self.ask(ask) {
            (Tell::Failed(failed), _) => failed.reason,
            (other, _) => panic!("{other:?}"),
        }
    }

    /// Runs a shell script to its end: what it wrote, and how it exited.
    pub(crate) fn sh(&mut self, script: &str) -> (String, How) {
        let mut streams = self.start(shell(script));
        let out = streams.output_to_end();
        (String::from_utf8(out).expect("text"), self.exit())
    }
}

pub(crate) fn shell(script: &str) -> Start {
    command(&["sh", "-c", script])
}

pub(crate) fn python(script: &str) -> Start {
    command(&["python3", "-I", "-S", "-c", script])
}

pub(crate) fn command(words: &[&str]) -> Start {
    let (program, arguments) = words.split_first().expect("a word");
    Start {
        program: (*program).to_owned(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        environment: vec![Variable { name: "LANG".into(), value: "C.UTF-8".into() }],
        ..Start::default()
    }
}

/// What is handed out with a start.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) output: Option<File>,
    pub(crate) error_output: Option<File>,
    pub(crate) input: Option<File>,
    pub(crate) other: Handed,
}

impl Streams {
    pub(crate) fn of(handed: Handed) -> Self {
        let mut streams = Self::default();
        for (kind, descriptor) in handed {
            match kind {
                Descriptor::Output => streams.output = Some(descriptor.into()),
                Descriptor::ErrorOutput => streams.error_output = Some(descriptor.into()),
                Descriptor::Input => streams.input = Some(descriptor.into()),
                _ => streams.other.push((kind, descriptor)),
            }
        }
        streams
    }

    pub(crate) fn output_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.output.as_mut().expect("output").read_to_end(&mut bytes).expect("read");
        bytes
    }

    /// Reads one line, byte by byte.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        let output = self.output.as_mut().expect("output");
        while output.read(&mut byte).expect("read") == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8(line).expect("text")
    }
}
