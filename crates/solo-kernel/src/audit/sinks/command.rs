//! A sink that is a program: the lines of the log on its standard input.
//!
//! Started without a shell, with `PATH` alone in its environment, by a process of Solo that stands
//! between ([`solo_heart::start_tended`]): it ends the program and all that
//! the program started when the kernel lets go of it, also by dying. What the program has read counts
//! as arrived when it has lived on for a while; what it has not is given to the next one.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::process::Child;
use std::time::{Duration, Instant};

use solo_audit::sink::{Batch, Cursor, json_lines};
use tokio::net::unix::pipe;

use super::transport::{Failure, Unconfirmed, write_all};

/// A program that does not read for so long is started anew.
const UNREAD_MAX: Duration = Duration::from_secs(10);

/// Bytes of how a program ended: `code 1`.
const TOLD_BYTES_MAX: usize = 64;

/// The sink.
#[derive(Debug)]
pub(super) struct CommandSink {
    program: String,
    arguments: Vec<String>,
    running: Option<Running>,
    /// What it has read.
    unconfirmed: Unconfirmed,
}

/// A program and the process between, which ends it when this is dropped.
#[derive(Debug)]
struct Running {
    tender: Option<Child>,
    input: pipe::Sender,
    /// Says how the program ended. Held: its closing is what ends the program.
    told: Option<pipe::Receiver>,
    written_bytes: u64,
    /// What was written and not read yet, as far as the pipe holds it: where it ends.
    unread: VecDeque<(u64, Cursor)>,
    /// How much was read, and when that was last more than before.
    read_bytes: u64,
    read_at: Instant,
}

impl CommandSink {
    pub(super) fn new(program: String, arguments: Vec<String>) -> Self {
        Self { program, arguments, running: None, unconfirmed: Unconfirmed::default() }
    }

    /// Ends the program.
    pub(super) fn reset(&mut self) {
        self.running = None;
        self.unconfirmed = Unconfirmed::default();
    }

    pub(super) async fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.check()?;
        // Dropped, and thereby ended, when writing breaks off: it was given half a line.
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        let lines = json_lines(batch)?;
        let written = write_all(&mut running.input, &lines).await;
        if let (Err(_), Some(how)) = (&written, running.ended()) {
            return Err(Failure::broken(how));
        }
        written?;
        let bytes = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        running.written_bytes = running.written_bytes.saturating_add(bytes);
        if running.unread.is_empty() {
            running.read_at = Instant::now();
        }
        if let Some(last) = batch.records.last() {
            running.unread.push_back((running.written_bytes, Cursor::behind(last)));
        }
        self.running = Some(running);
        Ok(())
    }

    /// Of what was sent (`_sent` is its end), tells what was read by a program that lived on.
    pub(super) fn arrived(&mut self, _sent: Cursor) -> Result<Option<Cursor>, Failure> {
        self.check()?;
        let now = Instant::now();
        if let Some(running) = &mut self.running {
            for read in running.read(now)? {
                self.unconfirmed.sent(now, read);
            }
            if !running.unread.is_empty() && now.duration_since(running.read_at) > UNREAD_MAX {
                self.reset();
                return Err(Failure::broken("it does not read its input"));
            }
        }
        Ok(self.unconfirmed.whole(now))
    }

    /// Notices a program that has ended.
    fn check(&mut self) -> Result<(), Failure> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(how) = running.ended() else { return Ok(()) };
        let had_doubt = !self.unconfirmed.is_empty() || !running.unread.is_empty();
        self.reset();
        // It had taken in everything: the next record starts another.
        if had_doubt { Err(Failure::broken(how)) } else { Ok(()) }
    }

    fn start(&self) -> Result<Running, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("it cannot be started: {error}"));
        let tender = solo_heart::start_tended(&self.program, &self.arguments);
        let mut tender = tender.map_err(failed)?;
        let (input, told) = (tender.stdin.take(), tender.stdout.take());
        let broken = || failed(ErrorKind::BrokenPipe.into());
        let input = input.ok_or_else(broken)?;
        let told = told.ok_or_else(broken)?;
        Ok(Running {
            input: pipe::Sender::from_owned_fd(input.into()).map_err(failed)?,
            told: Some(pipe::Receiver::from_owned_fd(told.into()).map_err(failed)?),
            tender: Some(tender),
            written_bytes: 0,
            unread: VecDeque::new(),
            read_bytes: 0,
            read_at: Instant::now(),
        })
    }
}

impl Running {
    /// How the program ended; none if it runs.
    fn ended(&self) -> Option<String> {
        let told = self.told.as_ref()?;
        let mut text = [0; TOLD_BYTES_MAX];
        match told.try_read(&mut text) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Ok(length @ 1..) => {
                let how = String::from_utf8_lossy(&text[..length]);
                Some(format!("it ended: {}", how.trim()))
            }
            Ok(_) => Some("it was ended".to_owned()),
            Err(error) => Some(format!("it cannot be watched: {error}")),
        }
    }

    /// Looks how much was read; the ends of the batches that were read since the last look.
    fn read(&mut self, now: Instant) -> Result<Vec<Cursor>, Failure> {
        let left = rustix::io::ioctl_fionread(&self.input)
            .map_err(|error| Failure::broken(format!("its pipe cannot be watched: {error}")))?;
        let read_bytes = self.written_bytes.saturating_sub(left);
        if read_bytes > self.read_bytes {
            self.read_bytes = read_bytes;
            self.read_at = now;
        }
        let mut read = Vec::new();
        while let Some((end, cursor)) = self.unread.front() {
            if *end > read_bytes {
                break;
            }
            read.push(*cursor);
            self.unread.pop_front();
        }
        Ok(read)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.told = None;
        let Some(mut tender) = self.tender.take() else { return };
        // It ends within its own deadline. Were there no thread to take notice, its entry in the list
        // of processes would stay, and no more.
        let wait = move || drop(tender.wait());
        let _thread = std::thread::Builder::new().name("audit-command".to_owned()).spawn(wait);
    }
}
