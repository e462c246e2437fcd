//! `solo up`: the loop that turns signals, the kernel's requests and the time into events for the
//! keeper, and does what the keeper says.
//!
//! One thread, one wait (`poll`), no lock. It decides nothing: see `keeper.rs`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, wait};
use solo_sandbox::Layer;
use tracing::{debug, error, info, warn};

use crate::HeartError;
use crate::control::{Control, End};
use crate::groups::CellGroups;
use crate::home::Home;
use crate::isolation::Isolation;
use crate::keeper::Keeper;
use crate::launch::{Launcher, errno_name};
use crate::protocol::NO_CONTROL_GROUPS;
use crate::sockets::{Sockets, check_addresses};
use crate::survivors;
use crate::vocabulary::{Action, Event, Notice, Role, Status};

/// Restarts in a row from which on the log calls it an error.
const FAILURES_LOUD: u32 = 5;

/// Reads from the control socket before a death is handled: what a socket buffer can hold.
const DRAIN_READS_MAX: usize = 64;

/// What `solo up` was asked for.
#[derive(Debug, Clone)]
pub struct HeartOptions {
    /// Directory of all data; made if it does not exist.
    pub home: PathBuf,
    /// gRPC API (TCP; port 0: any free one).
    pub api: SocketAddr,
    /// HTTP front door (TCP; port 0: any free one).
    pub gateway: SocketAddr,
    /// Prometheus metrics (TCP; port 0: any free one).
    pub metrics: SocketAddr,
    /// The binary that is started for every role. Looked up anew at each start, so that a new
    /// binary under the same path is taken at the next SIGHUP.
    pub program: PathBuf,
    /// Layers of the sandbox around cells that the operator does without. All others must hold.
    pub without: Vec<Layer>,
    /// Files for TLS, which kernel and gateway read themselves. Without them addresses are loopback.
    pub tls: Option<TlsOptions>,
}

/// Where certificates and keys are; absolute paths. The heart opens none of them.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who signs clients' certificates; if there is one, clients must have one.
    pub client_ca: Option<PathBuf>,
}

impl HeartOptions {
    /// Refuses addresses that [`run`] would refuse, without touching anything.
    ///
    /// # Errors
    /// [`HeartError::TlsRequired`] or [`HeartError::ClientCertificatesRequired`].
    pub fn check_addresses(&self) -> Result<(), HeartError> {
        check_addresses(self)
    }
}

/// Runs Solo in the foreground until it is told to end (SIGTERM, SIGINT, or the kernel's word).
///
/// Must be called in a process with one thread, early: it changes the umask (to 077) and the signal
/// mask of the process, reaps all its children, and the children die with the calling thread.
///
/// # Errors
/// [`HeartError`]: nothing was started, or, for [`HeartError::System`], everything has to end.
pub fn run(options: HeartOptions) -> Result<(), HeartError> {
    check_addresses(&options)?;
    umask(Mode::from_bits_truncate(0o077));
    let isolation = Isolation::prepare(options.without)?;
    let launcher = Launcher::new(options.program, options.tls, isolation)?;
    let home = Home::open(&options.home)?;
    survivors::outlast(&home.written_pids(), home.root())?;
    let groups = CellGroups::open(home.root(), launcher.without())?;
    home.clean();
    let signals = catch_signals()?;
    let sockets = Sockets::bind(&home, options.api, options.gateway, options.metrics)?;
    sockets.publish(&home)?;
    info!(home = %home.root().display(), "Solo starts");
    let mut heart = Heart {
        groups,
        home,
        sockets,
        launcher,
        signals,
        control: None,
        keeper: Keeper::new(),
        start: Instant::now(),
        finished: false,
    };
    let result = heart.work();
    heart.home.clean();
    drop(heart);
    info!("Solo has ended");
    result
}

/// The shell around the keeper.
#[derive(Debug)]
struct Heart {
    /// Dropped first: they are removed while this heart has the lock of the home.
    groups: CellGroups,
    home: Home,
    sockets: Sockets,
    launcher: Launcher,
    signals: SignalFd,
    control: Option<Control>,
    keeper: Keeper,
    start: Instant,
    finished: bool,
}

impl Heart {
    fn work(&mut self) -> Result<(), HeartError> {
        self.tell(Event::Tick);
        while !self.finished {
            let (readable, writable) = self.wait()?;
            let child_ended = self.read_signals()?;
            if writable && let Some(Err(end)) = self.control.as_mut().map(Control::flush) {
                self.cut_off(end);
            }
            if child_ended {
                // The last words of a kernel come before its death.
                for _ in 0..DRAIN_READS_MAX {
                    if !self.read_control() {
                        break;
                    }
                }
                self.reap();
            } else if readable {
                self.read_control();
            }
            self.tell(Event::Tick);
        }
        Ok(())
    }

    /// Waits for a signal, the kernel or the next deadline. Returns whether the control socket is
    /// readable and writable.
    fn wait(&self) -> Result<(bool, bool), HeartError> {
        let timeout = match self.keeper.deadline() {
            None => PollTimeout::NONE,
            Some(at) => {
                let wait = at.saturating_sub(self.start.elapsed());
                // Rounded up, or the last millisecond would be a busy wait.
                let wait = if wait.is_zero() { wait } else { wait + Duration::from_millis(1) };
                PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(control) = &self.control {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, control.has_output());
            fds.push(PollFd::new(control.as_fd(), flags));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(HeartError::system("wait for events")(errno)),
        }
        let happened = fds.get(1).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        Ok((
            happened.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR),
            happened.contains(PollFlags::POLLOUT),
        ))
    }

    /// Handles all signals that came in. Returns whether a child ended.
    fn read_signals(&mut self) -> Result<bool, HeartError> {
        let mut child_ended = false;
        while let Some(info) =
            self.signals.read_signal().map_err(HeartError::system("read signals"))?
        {
            let signal = i32::try_from(info.ssi_signo).ok().map(Signal::try_from);
            match signal {
                Some(Ok(Signal::SIGCHLD)) => child_ended = true,
                // From the system, not from a process: the terminal was closed.
                Some(Ok(Signal::SIGHUP)) if info.ssi_code > 0 => self.tell(Event::Terminate),
                Some(Ok(Signal::SIGHUP)) => {
                    info!("Restarting the kernel from the program path");
                    self.tell(Event::Reload);
                }
                Some(Ok(Signal::SIGTERM | Signal::SIGINT)) => self.tell(Event::Terminate),
                _ => {}
            }
        }
        Ok(child_ended)
    }

    /// Reads once from the kernel. Returns whether there may be more.
    fn read_control(&mut self) -> bool {
        let Some(control) = &mut self.control else { return false };
        let incoming = control.read();
        for request in incoming.requests {
            debug!(%request, "The kernel asks");
            self.tell(Event::Request(request));
            if self.control.is_none() {
                return false;
            }
        }
        match incoming.end {
            Some(End::Closed) => self.tell(Event::ControlClosed),
            Some(end) => self.cut_off(end),
            None => return !incoming.dry,
        }
        false
    }

    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let status = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => Status::Code(code),
                        (None, Some(signal)) => Status::Signal(signal),
                        // Stopped or continued: not asked for, so it does not come.
                        (None, None) => continue,
                    };
                    self.tell(Event::Exited {
                        pid: pid.as_raw_nonzero().get().unsigned_abs(),
                        status,
                    });
                }
                Ok(None) | Err(rustix::io::Errno::CHILD) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    error!(%error, "Failed to reap children");
                    return;
                }
            }
        }
    }

    fn cut_off(&mut self, end: End) {
        warn!(reason = %end, "Cutting off the kernel");
        self.tell(Event::ControlBroken);
    }

    /// Hands an event to the keeper and does what it says, and so on with what comes of that.
    fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.keeper.handle(self.start.elapsed(), event) {
                events.extend(self.perform(action));
            }
        }
    }

    /// Does one thing. Returns what became of it, if the keeper has to know.
    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start(role) => return Some(self.launch(role)),
            Action::Terminate { pid } => send_signal(pid, Signal::SIGTERM),
            Action::Kill { pid } => send_signal(pid, Signal::SIGKILL),
            Action::Report(report) => {
                debug!(%report, "Telling the kernel");
                if let Some(Err(end)) = self.control.as_mut().map(|control| control.send(&report)) {
                    warn!(reason = %end, "Cutting off the kernel");
                    return Some(Event::ControlBroken);
                }
            }
            Action::CloseControl => self.control = None,
            Action::Forget(role) => {
                if let Role::Cell { cell, .. } = &role {
                    self.groups.end(cell);
                }
                self.home.forget(&role);
            }
            Action::Notice(notice) => announce(&notice),
            Action::Finish => self.finished = true,
        }
        None
    }

    fn launch(&mut self, role: Role) -> Event {
        let started = match &role {
            Role::Kernel => {
                self.launcher.kernel(&self.home, &self.sockets).map(|(pid, control)| {
                    self.control = Some(control);
                    pid
                })
            }
            Role::Gateway => self.launcher.gateway(&self.home, &self.sockets),
            Role::Cell { cell, kind, .. } => {
                let groups = self.groups.create(cell, *kind);
                groups
                    .and_then(|groups| self.launcher.cell(&self.home, &role, &groups))
                    .inspect_err(|_| self.groups.end(cell))
            }
        };
        match started {
            Ok(pid) => {
                self.home.write_pid(&role, pid);
                info!(%role, pid, "Started");
                Event::Started { role, pid }
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                Event::StartFailed { role, error: NO_CONTROL_GROUPS.to_owned() }
            }
            Err(error) => Event::StartFailed { role, error: errno_name(&error) },
        }
    }
}

/// Blocks the signals that the heart handles and opens a descriptor that delivers them.
fn catch_signals() -> Result<SignalFd, HeartError> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    mask.thread_block().map_err(HeartError::system("block signals"))?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(HeartError::system("receive signals"))
}

/// Signals a child that has not been reaped yet, so the id cannot be another's.
fn send_signal(pid: u32, signal: Signal) {
    let sent = i32::try_from(pid)
        .map_err(io::Error::other)
        .and_then(|pid| Ok(kill(Pid::from_raw(pid), signal)?));
    if let Err(error) = sent {
        warn!(pid, %signal, %error, "Failed to send a signal");
    }
}

fn announce(notice: &Notice) {
    match notice {
        Notice::Ended { role, status } => info!(%role, %status, "Ended"),
        Notice::StartFailed { role, error } => error!(%role, error, "Failed to start"),
        Notice::Restarting { role, delay, failures } => {
            let delay_ms = delay.as_millis();
            if *failures >= FAILURES_LOUD {
                error!(%role, delay_ms, failures, "Keeps failing; starting it again");
            } else {
                warn!(%role, delay_ms, failures, "Starting it again");
            }
        }
        Notice::KernelReady { after } => {
            info!(after_ms = after.as_millis(), "The kernel is ready");
        }
        Notice::KernelCutOff => warn!("Killing the kernel"),
        Notice::KernelSilent => warn!("Killing the kernel: it has been silent for too long"),
        Notice::Stopping => info!("Stopping: first the services, then Solo"),
        Notice::Ending => info!("Ending all processes"),
        Notice::Killing => warn!("Killing processes that did not end in time"),
        Notice::Survivors => error!("Some processes cannot be killed; leaving them"),
    }
}
