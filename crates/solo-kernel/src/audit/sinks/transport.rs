//! The ways to a sink behind one face. Decides nothing about when to send.
//!
//! Some ways confirm what has arrived (a file that was synced, an answered request); others only take
//! bytes (a stream, a pipe). Of these, what was sent counts as arrived once the way has stayed whole
//! for a while behind it, and everything later is sent again over a new one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use solo_audit::AuditError;
use solo_audit::sink::{Batch, Cursor};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::command::CommandSink;
use super::file::FileSink;
use super::syslog::SyslogSink;
use super::webhook::Webhook;
use crate::audit::target::Target;

/// A way that stays whole for so long behind what was sent has brought it there. A peer that ended is
/// noticed within a round trip, a program that ended at once.
const WHOLE_FOR: Duration = Duration::from_secs(2);

/// Times that are remembered for a way: one per [`MARK_EVERY`] of [`WHOLE_FOR`], and as many again for
/// one that stalls.
const MARKS_MAX: usize = 20;

const MARK_EVERY: Duration = Duration::from_millis(200);

/// Why a sink did not take something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) why: String,
    /// What the sink asked for.
    pub(super) retry_after_ms: Option<u64>,
    /// What was sent over this way and not confirmed may be lost with it.
    pub(super) rewind: bool,
}

impl Failure {
    /// Nothing but what was just sent is in doubt.
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry_after_ms: None, rewind: false }
    }

    /// Everything that was not confirmed is in doubt.
    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry_after_ms: None, rewind: true }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Self::broken(format!("{error}{}", cause.unwrap_or_default()))
    }
}

/// A way to a sink.
#[derive(Debug)]
pub(super) enum Transport {
    File(FileSink),
    Syslog(SyslogSink),
    Webhook(Webhook),
    Command(CommandSink),
}

impl Transport {
    pub(super) fn new(target: &Target, node: &str) -> Self {
        match target {
            Target::File(path) => Self::File(FileSink::new(path.clone())),
            Target::SyslogUnix(..) | Target::SyslogTcp(..) | Target::SyslogUdp(_) => {
                Self::Syslog(SyslogSink::new(target.clone(), node))
            }
            Target::Webhook { uri, peer, token_file } => {
                Self::Webhook(Webhook::new(uri, peer.clone(), token_file.clone(), node))
            }
            Target::Command { program, arguments } => {
                Self::Command(CommandSink::new(program.clone(), arguments.clone()))
            }
        }
    }

    /// Begins behind `kept`, or behind what the sink itself shows that it has; `anew`: not behind that,
    /// as it is of another log.
    pub(super) async fn resume(
        &mut self,
        kept: Option<Cursor>,
        anew: bool,
    ) -> Result<Option<Cursor>, Failure> {
        match self {
            Self::File(file) => return file.resume(kept, anew).await,
            Self::Syslog(syslog) => syslog.reset(),
            Self::Webhook(webhook) => webhook.reset(),
            Self::Command(command) => command.reset(),
        }
        Ok(kept)
    }

    /// Sends a batch. May be dropped before it ends: [`Self::timed_out`] then.
    pub(super) async fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.send(batch).await,
            Self::Syslog(syslog) => syslog.send(batch).await,
            Self::Webhook(webhook) => webhook.send(batch).await,
            Self::Command(command) => command.send(batch).await,
        }
    }

    /// Of what was sent (`sent` is its end), tells what has arrived.
    pub(super) async fn arrived(&mut self, sent: Cursor) -> Result<Option<Cursor>, Failure> {
        match self {
            Self::File(file) => file.sync().await.map(|()| Some(sent)),
            Self::Syslog(syslog) => syslog.arrived(sent),
            Self::Webhook(_) => Ok(Some(sent)),
            Self::Command(command) => command.arrived(sent),
        }
    }

    /// The sink did not answer in time: gives the way up.
    pub(super) fn timed_out(&mut self, after: Duration) -> Failure {
        let why = format!("it did not take a batch within {} s", after.as_secs());
        match self {
            // The system still works on it, and the next try waits for that.
            Self::File(_) => Failure::new(why),
            Self::Webhook(webhook) => {
                webhook.reset();
                Failure::new(why)
            }
            Self::Syslog(syslog) => {
                syslog.reset();
                Failure::broken(why)
            }
            Self::Command(command) => {
                command.reset();
                Failure::broken(why)
            }
        }
    }
}

/// Until when a way that confirms nothing was seen whole.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    /// When something was first sent, and the end of what was sent until shortly after.
    marks: VecDeque<(Instant, Cursor)>,
}

impl Unconfirmed {
    /// Something was sent.
    pub(super) fn sent(&mut self, now: Instant, end: Cursor) {
        let is_full = self.marks.len() >= MARKS_MAX;
        match self.marks.back_mut() {
            Some((_, last)) if last.seq >= end.seq => {}
            Some((at, last)) if now.duration_since(*at) < MARK_EVERY => *last = end,
            Some(last) if is_full => *last = (now, end),
            _ => self.marks.push_back((now, end)),
        }
    }

    /// The way is whole now: what was sent long enough ago has arrived.
    pub(super) fn whole(&mut self, now: Instant) -> Option<Cursor> {
        let mut arrived = None;
        while let Some((at, end)) = self.marks.front() {
            // A mark covers what was sent for a moment behind its time.
            if now.duration_since(*at) < WHOLE_FOR + MARK_EVERY {
                break;
            }
            arrived = Some(*end);
            self.marks.pop_front();
        }
        arrived
    }

    /// Whether everything that was sent has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }
}

/// Writes to a stream; why not, if it is broken.
pub(super) async fn write_all(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(|error| Failure::broken(format!("it broke off: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(seq: u64) -> Cursor {
        Cursor { seq, ..Cursor::start() }
    }

    #[test]
    fn what_was_sent_has_arrived_once_the_way_stayed_whole() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut sent = Unconfirmed::default();
        sent.sent(at(0), end(1));
        sent.sent(at(100), end(2));
        sent.sent(at(1_000), end(3));
        assert_eq!(sent.whole(at(2_100)), None, "the second was sent 2 s ago only");
        assert_eq!(sent.whole(at(2_200)), Some(end(2)));
        assert_eq!(sent.whole(at(2_200)), None);
        assert_eq!(sent.whole(at(9_000)), Some(end(3)));
        assert!(sent.is_empty());
    }

    #[test]
    fn a_way_that_stalls_is_remembered_within_bounds() {
        let start = Instant::now();
        let mut sent = Unconfirmed::default();
        for seq in 1..=1_000 {
            sent.sent(start + Duration::from_secs(seq), end(seq));
        }
        assert_eq!(sent.marks.len(), MARKS_MAX);
        let long_after = start + Duration::from_secs(1_000);
        assert_eq!(sent.whole(long_after), Some(end(MARKS_MAX as u64 - 1)));
        assert_eq!(sent.whole(long_after + WHOLE_FOR + MARK_EVERY), Some(end(1_000)));
    }
}
