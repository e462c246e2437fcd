//! The sealed process: answers the proxy, and tells it what happens to the program.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use solo_sandbox::{Entry, Watch};

use super::connect::{Connects, NoConnection, Outcome};
use super::door::{Door, REQUESTS_AT_ONCE};
use super::life::{Counted, Life};
use super::oom::Oom;
use super::start::{Refusal, start};
use super::{scratch, usage};
use crate::wire::VERSION;
use crate::wire::messages::{
    Connected, Descriptor, Done, Failed, ProgramAnswer, ProgramRequest, Ready, Running, Start,
    Started, Status, Stopping, Welcome, program_answer::Tell, program_request::Ask,
};

/// Between two statuses that are told: nobody reads faster.
const STATUS_EVERY: Duration = Duration::from_millis(100);

/// Characters of a detail, which repeats what was asked for.
const DETAIL_CHARS: usize = 512;

/// What goes with an answer.
type Handed = Vec<(Descriptor, OwnedFd)>;

/// Hosts the program of one instance.
#[derive(Debug)]
pub(super) struct Host {
    instance: String,
    door: Door,
    null: File,
    oom: Oom,
    scratches: Vec<PathBuf>,
    /// Whether a start was tried.
    was_used: bool,
    connects: Connects,
    /// None: it is in no control group.
    watch: Option<Watch>,
    /// The latest life of the program.
    life: Option<Life>,
    /// When a status was told last.
    status_at: Option<Instant>,
    /// More has ended than was reaped.
    is_behind: bool,
}

impl Host {
    pub(super) fn new(
        instance: String,
        door: Door,
        (null, oom): (File, Oom),
        entries: Vec<Entry>,
        watch: Option<Watch>,
    ) -> Self {
        let scratch = |entry| match entry {
            Entry::Scratch { at, .. } => Some(at),
            _ => None,
        };
        Self {
            instance,
            door,
            null,
            oom,
            scratches: entries.into_iter().filter_map(scratch).collect(),
            was_used: false,
            connects: Connects::default(),
            watch,
            life: None,
            status_at: None,
            is_behind: false,
        }
    }

    /// What to wait for, and until when.
    pub(super) fn watched<'a>(&'a self, watched: &mut Vec<PollFd<'a>>) -> Option<Instant> {
        watched.extend(self.door.watched());
        let notify = self.life.as_ref().and_then(Life::notify);
        watched.extend(notify.map(|socket| PollFd::new(socket, PollFlags::POLLIN)));
        let connects = self.connects.watched(watched);
        let now = (self.door.has_next() || self.is_behind).then(Instant::now);
        let unsaid = self.life.as_ref().is_some_and(Life::has_new_status) && self.door.is_open();
        let status = self.status_at.filter(|_| unsaid).map(|at| at + STATUS_EVERY);
        connects.into_iter().chain(now).chain(status).min()
    }

    /// Looks at everything once.
    pub(super) fn turn(&mut self) {
        // Who is in this pid namespace is what runs inside.
        if self.door.accept(|peer| peer.is_outside) {
            self.connects.clear();
        }
        for _ in 0..REQUESTS_AT_ONCE {
            let Some(request) = self.door.next::<ProgramRequest>() else { break };
            let answer = match request.ask {
                Some(Ask::Connect(asked)) => {
                    let begun = self.connects.begin(request.id, &asked, Instant::now());
                    begun.map(connected)
                }
                Some(ask) => Some(self.answer(ask).unwrap_or_else(|refusal| refused(&refusal))),
                None => Some(refused(&Refusal::new("unknown", "an unknown request"))),
            };
            if let Some(answer) = answer {
                self.send(request.id, answer);
            }
        }
        for (id, outcome) in self.connects.finished(Instant::now()) {
            self.send(id, connected(outcome));
        }
        // After a start, which may hide the end of somebody.
        self.tend_life();
        self.door.flush();
    }

    fn tend_life(&mut self) {
        let Some(life) = &mut self.life else { return };
        let reaped = life.reap(self.watch.as_ref());
        self.is_behind = reaped.is_behind;
        // After that it was seen to have ended, nothing that it said before is overlooked.
        life.listen();
        if self.door.is_open() {
            self.tell_news();
        }
        if let Some(exited) = reaped.exited {
            self.event(Tell::Exited(exited));
        }
    }

    /// Tells what the program told and the peer does not know.
    fn tell_news(&mut self) {
        let Some(life) = &mut self.life else { return };
        let now = Instant::now();
        let may_status = self.status_at.is_none_or(|at| now >= at + STATUS_EVERY);
        let (ready, stopping, status) = life.take_news(may_status);
        if let Some(text) = status {
            self.status_at = Some(now);
            self.event(Tell::Status(Status { text }));
        }
        if ready {
            self.event(Tell::Ready(Ready {}));
        }
        if stopping {
            self.event(Tell::Stopping(Stopping {}));
        }
    }

    fn answer(&mut self, ask: Ask) -> Result<(Tell, Handed), Refusal> {
        let done = || (Tell::Done(Done {}), Vec::new());
        match ask {
            Ask::Hello(_) => self.welcome(),
            Ask::Start(asked) => self.start(&asked),
            Ask::Signal(asked) => {
                let number = i32::try_from(asked.number).unwrap_or_default();
                let signal = Signal::try_from(number);
                let signal = signal.map_err(|_| Refusal::new("invalid", "no such signal"))?;
                let life = self.running()?;
                life.signal(signal, asked.whole_tree)?;
                Ok(done())
            }
            Ask::Kill(_) => {
                if let Some(life) = &self.life {
                    life.kill_all();
                }
                Ok(done())
            }
            Ask::GetUsage(_) => {
                let before = self.life.as_ref().map(Life::used_before).unwrap_or_default();
                let mut now = usage::now(before);
                now.group = self.watch.as_ref().map(usage::of_group);
                Ok((Tell::Usage(now), Vec::new()))
            }
            Ask::CloseInput(_) => {
                self.running()?.close_input();
                Ok(done())
            }
            // It is answered later, and elsewhere.
            Ask::Connect(_) => Err(Refusal::new("unknown", "")),
        }
    }

    fn running(&mut self) -> Result<&mut Life, Refusal> {
        let running = self.life.as_mut().filter(|life| life.running().is_some());
        running.ok_or(Refusal::new("not_running", "no program runs"))
    }

    fn welcome(&mut self) -> Result<(Tell, Handed), Refusal> {
        let mut welcome =
            Welcome { version: VERSION, instance: self.instance.clone(), ..Welcome::default() };
        let mut handed = Vec::new();
        if let Some(life) = &mut self.life {
            handed = life.streams()?;
            if let Some(exited) = life.exited() {
                welcome.exited = Some(*exited);
            } else {
                let told = life.told();
                welcome.running = Some(Running {
                    pid: life.pid(),
                    age_micros: micros(life.age()),
                    ready: told.ready,
                    stopping: told.stopping,
                    status: told.status.clone(),
                });
                life.take_news(true);
            }
        }
        Ok((Tell::Welcome(welcome), handed))
    }

    fn start(&mut self, asked: &Start) -> Result<(Tell, Handed), Refusal> {
        let began = Instant::now();
        if self.life.as_ref().is_some_and(|life| life.exited().is_none()) {
            return Err(Refusal::new("running", "a program runs, or its tree is being ended"));
        }
        let mut before = Counted::default();
        // The first one finds all as it was made.
        if std::mem::replace(&mut self.was_used, true) {
            // What lived before is gone with all that it left.
            self.life = None;
            for place in &self.scratches {
                scratch::empty(place)
                    .map_err(|error| Refusal::system("scratch", place.display(), &error))?;
            }
            before = Counted::now(self.watch.as_ref());
        }
        let mut life = start(asked, &self.null, &self.oom)?;
        life.before = before;
        let handed = life.streams()?;
        let started = Started { pid: life.pid(), micros: micros(began.elapsed()) };
        self.life = Some(life);
        Ok((Tell::Started(started), handed))
    }

    fn event(&mut self, tell: Tell) {
        self.send(0, (tell, Vec::new()));
    }

    fn send(&mut self, id: u64, (tell, handed): (Tell, Handed)) {
        let (kinds, descriptors): (Vec<i32>, Vec<OwnedFd>) =
            handed.into_iter().map(|(kind, descriptor)| (i32::from(kind), descriptor)).unzip();
        let answer = ProgramAnswer { id, descriptors: kinds, tell: Some(tell) };
        self.door.send(&answer, descriptors);
    }
}

fn connected(outcome: Outcome) -> (Tell, Handed) {
    let refusal = match outcome {
        Ok(socket) => {
            return (Tell::Connected(Connected {}), vec![(Descriptor::Connection, socket)]);
        }
        Err(NoConnection::Port) => Refusal::new("invalid", "no such port"),
        Err(NoConnection::TooMany) => Refusal::new("limit", "too many connections are being made"),
        Err(NoConnection::Deadline) => Refusal::new("deadline", "the program does not accept"),
        Err(NoConnection::Refused(error)) => Refusal::system("refused", "the port", &error.into()),
    };
    refused(&refusal)
}

fn refused(refusal: &Refusal) -> (Tell, Handed) {
    let failed = Failed {
        reason: refusal.reason.to_owned(),
        detail: refusal.detail.chars().take(DETAIL_CHARS).collect(),
        errno: refusal.errno,
    };
    (Tell::Failed(failed), Vec::new())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::system("system", "", &errno.into())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::system("system", "", &error)
    }
}
