//! The process itself: one thread, one loop around `poll`.
//!
//! Each turn looks at everything once, without waiting, and does a bounded amount for each; what it looks
//! at wakes it again while something is left. It ends when the heart does (standard input closes) or when
//! it could not be sealed. What runs inside cannot end it: it is process 1 and blocks all signals.

mod connect;
mod door;
mod error;
mod life;
mod notify;
mod oom;
mod program;
mod scratch;
mod seal;
mod start;
mod usage;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Uid, geteuid, getpid, getppid};
use solo_sandbox::{Entry, Identity, Layer, Policy, Prepared, ProcessLimits, Sandbox};

use crate::wire::VERSION;
use crate::wire::messages::{
    self, ControlAnswer, ControlRequest, Seal, SealFailed, Sealed, control_answer::Tell,
    control_request::Ask,
};
use door::{Credentials, Door, REQUESTS_AT_ONCE};
pub use error::ProcessError;
use oom::Oom;
use program::Host;
use seal::{OwnGroup, Shut, shut};

/// What the heart starts it with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cell's id.
    pub cell: String,
    /// Where the control socket is made; nothing may be there.
    pub socket: PathBuf,
    /// What each program has, so that it is there before it is known which: it is made while nobody waits.
    /// A Seal names what comes after these.
    pub entries: Vec<Entry>,
    /// The control group that it enters: a directory in each hierarchy. Empty only if the operator does
    /// without.
    pub groups: Vec<PathBuf>,
    /// Layers that the operator does without. [`Layer::PidNamespace`] must not be among them: the program's
    /// tree is ended by it.
    pub without: BTreeSet<Layer>,
}

/// Runs the cell until the heart ends. The process must be the first one of a pid namespace
/// ([`solo_sandbox::spawn_in_pid_namespace`]), have one thread, and as standard input a pipe whose other
/// end the heart has.
///
/// # Errors
/// [`ProcessError`]: it could not be prepared or sealed; the process must end.
pub fn run(options: Options) -> Result<(), ProcessError> {
    // It ends by `kill(-1)` what runs inside: as any other process it would end much else.
    if getpid().as_raw() != 1 || getppid().as_raw() != 0 {
        return Err(ProcessError::NotInit);
    }
    Init::prepare(options)?.serve()
}

struct Init {
    options: Options,
    signals: SignalFd,
    control: Door,
    /// Who the control socket is for, as this process sees that user.
    kernel: Uid,
    stage: Stage,
}

enum Stage {
    Prepared {
        prepared: Prepared,
        /// What is in its root.
        entries: Vec<Entry>,
        null: File,
        oom: Oom,
        group: Option<Box<OwnGroup>>,
    },
    Sealed {
        sealed: Sealed,
        host: Box<Host>,
    },
    /// It must end, once the answer is sent.
    Failed,
}

impl Init {
    fn prepare(options: Options) -> Result<Self, ProcessError> {
        let system = ProcessError::system;
        no_handlers().map_err(system("forget handlers"))?;
        let signals = SigSet::from(Signal::SIGCHLD);
        signals.thread_set_mask().map_err(system("block signals"))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&signals, flags).map_err(system("watch children"))?;
        let null = File::open("/dev/null").map_err(ProcessError::file("open", "/dev/null"))?;
        let sandbox = Sandbox {
            entries: seal::first(&options.entries),
            identity: Identity::default(),
            limits: ProcessLimits::default(),
            own_network: true,
            groups: options.groups.clone(),
            without: options.without.clone(),
        };
        // Its file is the machine's, and the right to change it goes with the rest.
        let oom = Oom::prepare();
        let group = OwnGroup::find(&options.groups)?;
        let prepared = sandbox.prepare()?;
        let entries = sandbox.entries;
        if !options.without.contains(&Layer::NetworkNamespace) {
            // All ports of a network of its own are its own. Where this cannot be said, those below 1024
            // are root's, that is, nobody's.
            let _ = std::fs::write(FIRST_PORT_OF_ALL, "0");
        }
        if !options.without.contains(&Layer::Seccomp) {
            // Compiled now, it is there when it is wanted. A failure shows then.
            let _ = Policy::Program.filter();
        }
        let control = Door::bind(&options.socket, 0o600)
            .map_err(ProcessError::file("listen on", &options.socket))?;
        let stage = Stage::Prepared { prepared, entries, null, oom, group };
        Ok(Self { options, signals, control, kernel: geteuid(), stage })
    }

    fn serve(mut self) -> Result<(), ProcessError> {
        loop {
            if self.wait()? {
                return Ok(());
            }
            self.tend_control()?;
            if let Stage::Sealed { host, .. } = &mut self.stage {
                // How many do not matter: all that have ended are reaped.
                while let Ok(Some(_)) = self.signals.read_signal() {}
                host.turn();
            }
        }
    }

    /// Waits for anything, and tells whether the heart is gone.
    fn wait(&self) -> Result<bool, ProcessError> {
        let stdin = std::io::stdin();
        let heart = PollFd::new(stdin.as_fd(), PollFlags::empty());
        let mut watched = vec![heart, PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        watched.extend(self.control.watched());
        let mut until = self.control.has_next().then(Instant::now);
        if let Stage::Sealed { host, .. } = &self.stage {
            until = until.into_iter().chain(host.watched(&mut watched)).min();
        }
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            // Rounded up: a turn before the time would be for nothing.
            let left = until.saturating_duration_since(Instant::now());
            let rounding = if left.is_zero() { Duration::ZERO } else { Duration::from_micros(999) };
            PollTimeout::try_from(left + rounding).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(ProcessError::system("wait")(error)),
        }
        Ok(watched.first().is_some_and(|heart| heart.any().unwrap_or(true)))
    }

    fn tend_control(&mut self) -> Result<(), ProcessError> {
        let kernel = self.kernel;
        self.control.accept(|peer: Credentials| peer.is_outside && peer.user == kernel);
        for _ in 0..REQUESTS_AT_ONCE {
            let Some(request) = self.control.next::<ControlRequest>() else { break };
            let (tell, error) = self.answer(request.ask);
            let answer = ControlAnswer { id: request.id, tell: Some(tell) };
            self.control.send(&answer, Vec::new());
            if let Some(error) = error {
                self.control.flush_before_end();
                return Err(error);
            }
        }
        self.control.flush();
        Ok(())
    }

    fn answer(&mut self, ask: Option<Ask>) -> (Tell, Option<ProcessError>) {
        match ask {
            Some(Ask::Hello(_)) => (Tell::Identity(self.identity()), None),
            Some(Ask::Prepare(prepare)) => told(self.add(prepare), Tell::Prepared),
            Some(Ask::Seal(seal)) => told(self.seal(seal), Tell::Sealed),
            None => (Tell::Failed(failure(&ProcessError::Request("an unknown request"))), None),
        }
    }

    fn identity(&self) -> messages::Identity {
        let sealed = match &self.stage {
            Stage::Sealed { sealed, .. } => Some(sealed.clone()),
            Stage::Prepared { .. } | Stage::Failed => None,
        };
        messages::Identity { version: VERSION, cell: self.options.cell.clone(), sealed }
    }

    /// Makes more of the root.
    fn add(&mut self, prepare: messages::Prepare) -> Result<messages::Done, ProcessError> {
        let Stage::Prepared { prepared, entries, .. } = &mut self.stage else {
            return Err(ProcessError::Request("it is sealed already"));
        };
        let more = seal::places(prepare.entries, entries.len())?;
        prepared.add(&more)?;
        entries.extend(more);
        Ok(messages::Done {})
    }

    fn seal(&mut self, seal: Seal) -> Result<Sealed, ProcessError> {
        let Stage::Prepared { entries, .. } = &self.stage else {
            return Err(ProcessError::Request("it is sealed already"));
        };
        let instance = seal.instance.clone();
        let socket = PathBuf::from(&seal.program_socket);
        let limits = seal.group_limits.unwrap_or_default();
        let sandbox = seal::read(seal, entries, &self.options)?;
        let Stage::Prepared { prepared, null, oom, group, .. } =
            std::mem::replace(&mut self.stage, Stage::Failed)
        else {
            return Err(ProcessError::Request("it is sealed already"));
        };
        let Shut { door, holds, watch } = shut(&sandbox, prepared, group, &socket, &limits)?;
        // Users have other numbers from here on. Who asked is the kernel.
        self.kernel = self.control.peer_user().unwrap_or(self.kernel);
        let sealed = Sealed { instance: instance.clone(), holds };
        self.stage = Stage::Sealed {
            sealed: sealed.clone(),
            host: Box::new(Host::new(instance, door, (null, oom), sandbox.entries, watch)),
        };
        Ok(sealed)
    }
}

/// What is wrong with a request changes nothing; any other failure is the end.
fn told<T>(
    done: Result<T, ProcessError>,
    tell: impl Fn(T) -> Tell,
) -> (Tell, Option<ProcessError>) {
    match done {
        Ok(done) => (tell(done), None),
        Err(error) => {
            let ends = !matches!(error, ProcessError::Request(_));
            (Tell::Failed(failure(&error)), ends.then_some(error))
        }
    }
}

fn failure(error: &ProcessError) -> SealFailed {
    let detail =
        |error: &dyn std::error::Error| error.source().map(ToString::to_string).unwrap_or_default();
    match error {
        ProcessError::Sandbox(refused) => SealFailed {
            layer: refused.layer.as_str().to_owned(),
            action: refused.action.to_string(),
            detail: detail(refused),
            remedy: refused.remedy.to_owned(),
        },
        other => {
            SealFailed { action: other.to_string(), detail: detail(other), ..SealFailed::default() }
        }
    }
}

/// Has the two handlers taken off that Rust's runtime puts on every process, to tell a stack overflow: a
/// signal that a program forges would reach them, and the first process of a namespace gets none that it
/// does not handle. They take themselves off at the first signal that is no overflow.
fn no_handlers() -> nix::Result<()> {
    [Signal::SIGSEGV, Signal::SIGBUS].into_iter().try_for_each(raise)
}

/// A path of the init's own in each sandbox.
fn own(name: &str) -> PathBuf {
    Path::new(OWN_DIRECTORY).join(name)
}

/// The first port that takes no privilege, of the network that this process is in.
const FIRST_PORT_OF_ALL: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Where sockets of the init lie, in a scratch file system of their own.
const OWN_DIRECTORY: &str = "/run/solo";
