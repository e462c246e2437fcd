//! An external program as an instance: this is its proxy in the cell of its tenant.
//!
//! The program runs in a sandbox of its own (`solo-process`), which the kernel made; here are its mailbox,
//! its supervision, its log and its figures, as those of every instance. Nothing of a program's output is
//! believed: it is bounded, cleaned, and parsed in this cell, which is shut in itself.

mod ends;
mod http;
mod link;
mod logs;
mod ready;
mod socket;
mod stdio;
mod usage;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::signal::Signal;
use solo_process::wire::messages::program_answer::Tell;
use solo_process::wire::messages::program_request::Ask;
use solo_process::wire::messages::{self, Descriptor, Exited, Start, Variable, exited::How};
use solo_types::{Interface, Program};
use tokio::net::unix::pipe;
use tokio::task::AbortHandle;

use self::ends::{broken, ended_by_itself, not_started};
use self::http::Http;
use self::link::{Descriptors, Link, LinkError};
use self::logs::Rest;
use self::socket::Socket;
use self::stdio::Stdio;
use super::failure::{Failure, Fault, Reason};
use super::message::{Answer, Chain, Down, Input};
use super::output::Stream;
use super::runner::{Outcome, Parts};
use super::service::Service;
use super::slot::{Slot, StopReason};

/// Between two tries to reach a sandbox that is being made.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
const PAUSE_LAST: Duration = Duration::from_millis(50);

/// A program that runs. Dropping it ends all that runs in its sandbox.
#[derive(Debug)]
pub(crate) struct ProcessGuest {
    link: Arc<Link>,
    talk: Talk,
    /// Wait for its end, and read its output, as long as this is there.
    tasks: Vec<Task>,
    /// What it wrote and nobody read so far.
    rest: Rest,
    /// Tells of its end. None once its end is wanted.
    watch: Option<Task>,
    slot: Arc<Slot>,
}

/// How it is spoken to.
#[derive(Debug)]
enum Talk {
    None,
    Http(Http),
    Stdio(Stdio),
    Socket(Box<Socket>),
}

/// Where the socket of a program is, as it sees it.
const SOCKET_PATH: &str = "/run/solo/service.sock";

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(AbortHandle);

impl Task {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ProcessGuest {
    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// It could not be started, or ended before it was ready. Nothing of it is left.
    pub(crate) async fn start(parts: Parts) -> Result<Self, Fault> {
        let slot = Arc::clone(&parts.slot);
        let program = slot.service.program.clone();
        let program = program.ok_or_else(|| Fault::unusable("nothing is said of the program"))?;
        let socket = parts.programs.join(format!("{}.sock", slot.id));
        let link = Arc::new(reach(socket).await?);
        let asked = Ask::Start(start_message(&slot.service, &program, &slot.id));
        let descriptors = match link.ask(asked).await {
            Ok((Tell::Started(_), descriptors)) => descriptors,
            Ok(_) => return Err(broken(&LinkError::Unexpected)),
            Err(error) => return Err(not_started(&error)),
        };
        let mut guest = Self::with(link, &program, &parts, descriptors).map_err(|e| broken(&e))?;
        let (link, rest) = (Arc::clone(&guest.link), guest.rest.clone());
        let said = match &guest.talk {
            Talk::Socket(socket) => Some(socket.ready()),
            _ => None,
        };
        tokio::select! {
            // What is ready at once is so also if it has ended by now.
            biased;
            ready = ready::wait(&link, &program.ready, program.port, said) => ready.map_err(|e| broken(&e))?,
            ended = ended(&link, &rest) => {
                let mut fault = ended.map_or_else(|error| broken(&error), |exited| ended_by_itself(&slot, &exited));
                fault.message.push_str(", before it was ready");
                return Err(fault);
            }
            // It may need others to get ready.
            () = std::future::poll_fn(|context| guest.poll_asks(context)) => {}
        }
        guest.watch_end();
        Ok(guest)
    }

    fn with(
        link: Arc<Link>,
        program: &Program,
        parts: &Parts,
        descriptors: Descriptors,
    ) -> Result<Self, LinkError> {
        let slot = Arc::clone(&parts.slot);
        let lost = |error: std::io::Error| LinkError::Lost(error.to_string());
        let (mut output, mut errors, mut input, mut socket) = (None, None, None, None);
        for (kind, fd) in descriptors {
            match kind {
                Descriptor::Output => output = Some(receiver(fd)?),
                Descriptor::ErrorOutput => errors = Some(receiver(fd)?),
                Descriptor::Input => {
                    input = Some(pipe::Sender::from_owned_fd(fd).map_err(lost)?);
                }
                Descriptor::Listener => {
                    let made = Socket::new(fd, parts);
                    socket = Some(Box::new(made.map_err(lost)?));
                }
                _ => {}
            }
        }
        let (Some(output), Some(errors)) = (output, errors) else {
            return Err(LinkError::Unexpected);
        };
        let (rest, reading) = Rest::new();
        let take = |from, stream| {
            Task::spawn(logs::take(from, Arc::clone(&slot.logger), stream, Arc::clone(&reading)))
        };
        let mut tasks = vec![take(errors, Stream::Stderr)];
        let talk = if program.interface == Interface::Stdio {
            Talk::Stdio(Stdio::new(input.ok_or(LinkError::Unexpected)?, output))
        } else {
            tasks.push(take(output, Stream::Stdout));
            match program.interface {
                Interface::Http => Talk::Http(Http::new(program.port)),
                Interface::Socket => Talk::Socket(socket.ok_or(LinkError::Unexpected)?),
                Interface::None | Interface::Stdio => Talk::None,
            }
        };
        let life = slot.life();
        tasks.push(Task::spawn(usage::watch(Arc::clone(&link), Arc::clone(&slot), life)));
        Ok(Self { link, talk, tasks, rest, watch: None, slot })
    }

    /// From now on the end of the program is the end of the incarnation.
    fn watch_end(&mut self) {
        let (link, slot, life) = (Arc::clone(&self.link), Arc::clone(&self.slot), self.slot.life());
        let rest = self.rest.clone();
        self.watch = Some(Task::spawn(async move {
            let fault = match ended(&link, &rest).await {
                Ok(exited) => ended_by_itself(&slot, &exited),
                Err(error) => broken(&error),
            };
            slot.inject(life, fault);
        }));
    }

    /// The next message belongs to this chain.
    pub(crate) fn begin(&mut self, chain: Chain) {
        if let Talk::Socket(socket) = &mut self.talk {
            socket.begin(chain);
        }
    }

    /// Ready when it may be given a message: no call of its own is under way.
    pub(crate) fn poll_under_way(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.talk {
            Talk::Socket(socket) => socket.poll_under_way(context),
            Talk::None | Talk::Http(_) | Talk::Stdio(_) => Poll::Ready(()),
        }
    }

    /// Makes the calls that it asks for. Never ready.
    pub(crate) fn poll_asks<T>(&mut self, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.talk {
            Talk::Socket(socket) => socket.poll_asks(context),
            Talk::None | Talk::Http(_) | Talk::Stdio(_) => Poll::Pending,
        }
    }

    /// Tells it that an instance ended which it watched.
    ///
    /// # Errors
    /// None: what it says of that is its answer.
    pub(crate) async fn down(&mut self, down: Down) -> Outcome {
        Ok(match &mut self.talk {
            Talk::Socket(socket) => socket.down(down).await,
            // They have no way to watch.
            Talk::None | Talk::Http(_) | Talk::Stdio(_) => Ok(Answer::Payload(Vec::new())),
        })
    }

    /// Gives it a message that nobody waits for.
    ///
    /// # Errors
    /// It does not keep to its interface.
    pub(crate) async fn cast(&mut self, function: &str, input: Input) -> Outcome {
        match &mut self.talk {
            Talk::Socket(socket) => Ok(socket.call(function, input, false).await),
            Talk::None | Talk::Http(_) | Talk::Stdio(_) => self.call(function, input).await,
        }
    }

    /// Gives it a message and waits for the answer.
    ///
    /// # Errors
    /// It does not keep to its interface.
    pub(crate) async fn call(&mut self, function: &str, input: Input) -> Outcome {
        match &mut self.talk {
            Talk::None => Ok(Err(Failure::new(
                Reason::NotCallable,
                "the program was deployed with no interface, and takes no messages",
            ))),
            Talk::Http(http) => Ok(http.call(&self.link, function, input).await),
            Talk::Socket(socket) => Ok(socket.call(function, input, true).await),
            Talk::Stdio(stdio) => match stdio.call(function, input).await {
                Ok(answer) => Ok(answer),
                Err(broken) => {
                    // If that is because it ended, its end says more.
                    tokio::time::sleep(PAUSE_LAST).await;
                    Err(Fault::broken_program(broken.to_string()))
                }
            },
        }
    }

    /// Asks it how it is: a GET of `path`; an empty one: whether it accepts connections, if it should.
    ///
    /// # Errors
    /// None: what is wrong is its answer.
    pub(crate) async fn health(&mut self, path: &str) -> Outcome {
        let answer = match &mut self.talk {
            Talk::Http(http) if !path.is_empty() => {
                http.get(&self.link, path).await.and_then(|status| match status.as_u16() {
                    ..400 => Ok(()),
                    _ => {
                        Err(Failure::new(Reason::Refused, format!("GET {path} answered {status}")))
                    }
                })
            }
            Talk::Http(_) => {
                let port = self.slot.service.program.as_ref().map_or(0, |program| program.port);
                let dialled = http::dial(&self.link, port).await;
                dialled.map(drop).map_err(|e| Failure::new(Reason::Unavailable, e.to_string()))
            }
            // It lives, or this would not be asked.
            Talk::Stdio(_) | Talk::Socket(_) | Talk::None => Ok(()),
        };
        Ok(answer.map(|()| Answer::Json("true".to_owned())))
    }

    /// Tells it to end and waits until it has; who gives it only so much time drops it then.
    ///
    /// # Errors
    /// How it ended, if not by itself or by that signal.
    pub(crate) async fn terminate(&mut self, _reason: StopReason) -> Result<(), Fault> {
        // From here on its end is no news.
        drop(self.watch.take());
        if let Talk::Socket(socket) = &self.talk {
            socket.begin_end();
        }
        let number = u32::try_from(Signal::SIGTERM as i32).unwrap_or_default();
        let signal = messages::Signal { number, whole_tree: false };
        match self.link.ask(Ask::Signal(signal)).await {
            Ok(_) => {}
            // It had ended already.
            Err(LinkError::Failed { .. }) => {
                self.rest.read().await;
                return Ok(());
            }
            Err(error) => return Err(broken(&error)),
        }
        let (link, rest) = (Arc::clone(&self.link), self.rest.clone());
        let exited = tokio::select! {
            exited = ended(&link, &rest) => exited,
            // What it still wants to call is refused.
            exited = std::future::poll_fn(|context| self.poll_asks(context)) => exited,
        };
        match exited {
            Ok(Exited { how: Some(How::Signal(by)), .. }) if by == number => Ok(()),
            Ok(exited) => Err(ended_by_itself(&self.slot, &exited)),
            Err(error) => Err(broken(&error)),
        }
    }
}

impl Drop for ProcessGuest {
    fn drop(&mut self) {
        use std::sync::atomic::Ordering;
        // The tasks hold the link: what ends the program is its last handle.
        self.tasks.clear();
        self.watch = None;
        self.slot.figures.memory_bytes.store(0, Ordering::Relaxed);
    }
}

/// How a program ended, once all is read that it wrote.
async fn ended(link: &Link, rest: &Rest) -> Result<Exited, LinkError> {
    let exited = link.exited().await?;
    rest.read().await;
    Ok(exited)
}

/// Connects to the sandbox, which the kernel may still be making.
async fn reach(socket: PathBuf) -> Result<Link, Fault> {
    let mut pause = PAUSE_FIRST;
    let mut told = false;
    loop {
        match Link::open(&socket).await {
            Ok(link) => return Ok(link),
            Err(LinkError::Lost(why)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::debug!(socket = %socket.display(), why, "The sandbox is not there yet");
                }
            }
            Err(error) => return Err(broken(&error)),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LAST);
    }
}

fn receiver(fd: OwnedFd) -> Result<pipe::Receiver, LinkError> {
    pipe::Receiver::from_owned_fd(fd).map_err(|error| LinkError::Lost(error.to_string()))
}

fn start_message(service: &Service, program: &Program, instance: &str) -> Start {
    let variable = |name: &str, value: String| Variable { name: name.to_owned(), value };
    // Later ones replace earlier ones: what Solo says of the sandbox cannot be said otherwise.
    let mut environment = std::collections::BTreeMap::new();
    let given = service.config.iter().chain(&service.environment);
    environment.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    environment.extend(service.secrets.texts());
    environment.insert("PORT".to_owned(), program.port.to_string());
    environment.insert("SOLO_SERVICE".to_owned(), service.name.clone());
    environment.insert("SOLO_INSTANCE".to_owned(), instance.to_owned());
    Start {
        program: service.artifact_path.display().to_string(),
        arguments: service.arguments.clone(),
        environment: environment
            .into_iter()
            .filter(|(name, value)| is_variable(name) && !value.contains('\0'))
            .map(|(name, value)| variable(&name, value))
            .collect(),
        directory: String::new(),
        input: program.interface == Interface::Stdio,
        socket: if program.interface == Interface::Socket { SOCKET_PATH } else { "" }.to_owned(),
        notify: true,
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// References are a WebAssembly service's.
fn no_references() -> Failure {
    Failure::new(Reason::BadArguments, "a program takes no references to services")
}
