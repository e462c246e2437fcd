//! The connection to the init of a program's sandbox: requests, their answers, and what it tells unasked.
//!
//! One task owns it. What comes back without a request that waits for it is thrown away; a peer that
//! breaks the protocol is left.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use solo_process::wire::messages::program_answer::Tell;
use solo_process::wire::messages::program_request::Ask;
use solo_process::wire::messages::{
    Descriptor, Exited, Hello, Kill, ProgramAnswer, ProgramRequest,
};
use solo_process::wire::{self, Frames, VERSION, take_descriptors};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests under way: an incarnation has a handful of those who ask.
const REQUESTS_MAX: usize = 32;

/// Descriptors that came with an answer, each with what it is.
pub(super) type Descriptors = Vec<(Descriptor, OwnedFd)>;

/// What an answer is.
type Answered = Result<(Tell, Descriptors), LinkError>;

/// What the init told by itself, all that it ever told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// The program says that it is ready.
    pub(super) ready: bool,
    /// The program has ended.
    pub(super) exited: Option<Exited>,
    /// The connection is gone.
    pub(super) lost: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum LinkError {
    /// The connection is gone.
    #[error("the sandbox of the program is gone: {0}")]
    Lost(String),
    /// It was not done.
    #[error("{detail}")]
    Failed {
        /// A stable word.
        reason: String,
        /// One sentence.
        detail: String,
    },
    /// It is no answer to what was asked.
    #[error("the sandbox of the program answered with something else (a bug of Solo)")]
    Unexpected,
}

struct Request {
    ask: Ask,
    reply: oneshot::Sender<Answered>,
}

/// The connection. Dropping it ends the program at once, and the connection.
#[derive(Debug)]
pub(super) struct Link {
    requests: mpsc::Sender<Request>,
    told: watch::Receiver<Told>,
}

impl Link {
    /// Connects, and says hello. What a former incarnation left running is ended.
    ///
    /// # Errors
    /// Nothing listens there (yet), or it speaks something else.
    pub(super) async fn open(path: &Path) -> Result<Self, LinkError> {
        let lost = |error: io::Error| LinkError::Lost(error.to_string());
        let socket = UnixStream::connect(path).await.map_err(lost)?;
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let (tells, told) = watch::channel(Told::default());
        // Ends with the connection, or with the last handle.
        tokio::spawn(run(socket, asked, tells));
        let link = Self { requests, told };
        let hello = Ask::Hello(Hello { version: VERSION });
        let (Tell::Welcome(welcome), _) = link.ask(hello).await? else {
            return Err(LinkError::Unexpected);
        };
        if welcome.running.is_some() {
            link.ask(Ask::Kill(Kill {})).await?;
            link.exited().await?;
        }
        Ok(link)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(super) async fn ask(&self, ask: Ask) -> Answered {
        let lost = || LinkError::Lost(self.told.borrow().lost.clone().unwrap_or_default());
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { ask, reply }).await.map_err(|_| lost())?;
        match answer.await.map_err(|_| lost())?? {
            (Tell::Failed(failed), _) => {
                Err(LinkError::Failed { reason: failed.reason, detail: failed.detail })
            }
            answer => Ok(answer),
        }
    }

    /// What it told so far, and will tell.
    pub(super) fn told(&self) -> watch::Receiver<Told> {
        self.told.clone()
    }

    /// Waits until the program has ended.
    ///
    /// # Errors
    /// [`LinkError::Lost`].
    pub(super) async fn exited(&self) -> Result<Exited, LinkError> {
        let mut told = self.told();
        let ended = told.wait_for(|told| told.exited.is_some() || told.lost.is_some()).await;
        match ended {
            Ok(told) => match (&told.exited, &told.lost) {
                (Some(exited), _) => Ok(*exited),
                (None, lost) => Err(LinkError::Lost(lost.clone().unwrap_or_default())),
            },
            Err(_) => Err(LinkError::Lost("its end was not told".to_owned())),
        }
    }
}

async fn run(socket: UnixStream, mut asked: mpsc::Receiver<Request>, tells: watch::Sender<Told>) {
    let mut frames = Frames::default();
    let mut waiting = HashMap::new();
    let mut next_id = 0;
    let why = loop {
        let step = tokio::select! {
            request = asked.recv() => {
                next_id += 1;
                let Some(Request { ask, reply }) = request else {
                    // Nobody wants the program any more.
                    let ask = Some(Ask::Kill(Kill {}));
                    // If it is gone there is nothing to end.
                    let _ = send(&socket, ProgramRequest { id: next_id, ask }).await;
                    return;
                };
                // Those who do not wait any more leave their place.
                waiting.retain(|_, reply: &mut oneshot::Sender<Answered>| !reply.is_closed());
                waiting.insert(next_id, reply);
                if matches!(ask, Ask::Start(_)) {
                    // From now on it is the next life that is told of.
                    tells.send_modify(|told| *told = Told::default());
                }
                send(&socket, ProgramRequest { id: next_id, ask: Some(ask) }).await
            }
            received = receive(&socket, &mut frames) => received
                .and_then(|()| take(&mut frames, &mut waiting, &tells)),
        };
        if let Err(error) = step {
            break error.to_string();
        }
    };
    tells.send_modify(|told| told.lost = Some(why));
}

async fn send(socket: &UnixStream, request: ProgramRequest) -> io::Result<()> {
    let frame = wire::encode(&request).map_err(invalid)?;
    let mut sent = 0;
    while let Some(rest) = frame.get(sent..).filter(|rest| !rest.is_empty()) {
        socket.writable().await?;
        match socket.try_io(Interest::WRITABLE, || wire::send(socket, rest, &[])) {
            Ok(bytes) => sent += bytes,
            Err(error) => again(error)?,
        }
    }
    Ok(())
}

async fn receive(socket: &UnixStream, frames: &mut Frames) -> io::Result<()> {
    loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || wire::receive(socket, frames)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) => again(error)?,
        }
    }
}

/// Whether it may be tried again.
fn again(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

/// Hands on what has come.
fn take(
    frames: &mut Frames,
    waiting: &mut HashMap<u64, oneshot::Sender<Answered>>,
    tells: &watch::Sender<Told>,
) -> io::Result<()> {
    while let Some(answer) = frames.next_message::<ProgramAnswer>().map_err(invalid)? {
        let descriptors = take_descriptors(frames, &answer).map_err(invalid)?;
        let ProgramAnswer { id, tell, .. } = answer;
        // What a newer version tells.
        let Some(tell) = tell else { continue };
        match tell {
            Tell::Ready(_) => tells.send_modify(|told| told.ready = true),
            Tell::Exited(exited) if id == 0 => {
                tells.send_modify(|told| told.exited = Some(exited));
            }
            tell => {
                if let Some(reply) = waiting.remove(&id) {
                    // Who asked may have gone.
                    let _ = reply.send(Ok((tell, descriptors)));
                }
            }
        }
    }
    Ok(())
}

fn invalid(error: wire::WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
