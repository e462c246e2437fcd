//! A sink that is a file: the lines of the log, appended and synced.
//!
//! The file itself shows what it has, so that nothing is written twice after a kill. It can be moved
//! away at any time (`logrotate`): what follows goes to a new one. Each operation is done by a thread
//! that may block; there is never more than one per sink, also when a disk hangs.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use solo_audit::Record;
use solo_audit::sink::{Batch, Cursor};
use tokio::task::JoinHandle;

use super::transport::Failure;

/// As much of the end of the file is read to find its last line: more than a record has.
const END_BYTES_MAX: u64 = 128 << 10;

/// How a line of ours begins.
const LINE_BEGIN: &[u8] = b"{\"seq\":";

/// The sink.
#[derive(Debug)]
pub(super) struct FileSink {
    path: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    Rests(Option<Open>),
    /// A thread has the file: also when nobody waited for it.
    Works(JoinHandle<Done>),
}

type Done = (Option<Open>, Result<Option<Cursor>, String>);

/// The file, open.
#[derive(Debug)]
struct Open {
    file: File,
    /// The last record that it has.
    last_seq: u64,
    unsynced: bool,
}

impl FileSink {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: State::Rests(None) }
    }

    /// Opens the file and looks what it has; the answer is where to go on. It is believed to be further
    /// than `kept`, unless the log is `anew`: whether its last record is in the log is found when the
    /// next is read.
    pub(super) async fn resume(
        &mut self,
        kept: Option<Cursor>,
        anew: bool,
    ) -> Result<Option<Cursor>, Failure> {
        let path = self.path.clone();
        self.work(move |_| match open(&path) {
            Ok((file, last)) => {
                let kept_seq = kept.map_or(0, |kept| kept.seq);
                let further = last.filter(|last| !anew && last.seq > kept_seq);
                let from = further.or(kept);
                let last_seq = from.map_or(0, |from| from.seq);
                (Some(Open { file, last_seq, unsynced: false }), Ok(from))
            }
            Err(why) => (None, Err(why)),
        })
        .await
    }

    /// Appends what the file has not yet.
    pub(super) async fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        let (path, batch) = (self.path.clone(), batch.clone());
        let written = self.work(move |open| {
            let Some(open) = open else { return (None, Err("it is not open".to_owned())) };
            match append(&path, open, &batch) {
                Ok(open) => (Some(open), Ok(None)),
                Err(why) => (None, Err(why)),
            }
        });
        // Opened anew, it shows how much of it was written.
        written.await.map(drop).map_err(|failure| Failure { rewind: true, ..failure })
    }

    /// Makes what was written survive a power loss.
    pub(super) async fn sync(&mut self) -> Result<(), Failure> {
        let synced = self.work(|open| {
            let Some(mut open) = open else { return (None, Err("it is not open".to_owned())) };
            if !std::mem::take(&mut open.unsynced) {
                return (Some(open), Ok(None));
            }
            match open.file.sync_data() {
                Ok(()) => (Some(open), Ok(None)),
                Err(error) => (None, Err(format!("it cannot be synced: {error}"))),
            }
        });
        synced.await.map(drop)
    }

    /// Does one thing after whatever is still under way. Can be dropped: the thing goes on, and the
    /// next waits for it.
    async fn work(
        &mut self,
        work: impl FnOnce(Option<Open>) -> Done + Send + 'static,
    ) -> Result<Option<Cursor>, Failure> {
        if let State::Works(thread) = &mut self.state {
            let (open, _unheard) =
                thread.await.map_err(|error| Failure::broken(error.to_string()))?;
            self.state = State::Rests(open);
        }
        let State::Rests(open) = &mut self.state else {
            return Err(Failure::broken("it is busy"));
        };
        let open = open.take();
        self.state = State::Works(tokio::task::spawn_blocking(move || work(open)));
        let State::Works(thread) = &mut self.state else {
            return Err(Failure::broken("it is not busy"));
        };
        let ended = thread.await;
        let (open, done) = ended.unwrap_or_else(|error| (None, Err(error.to_string())));
        self.state = State::Rests(open);
        done.map_err(Failure::broken)
    }
}

/// Opens the file, mends its end, and reads its last record.
fn open(path: &Path) -> Result<(File, Option<Cursor>), String> {
    let why = |error: std::io::Error| format!("{} cannot be opened: {error}", path.display());
    if let Ok(metadata) = std::fs::metadata(path)
        && !metadata.is_file()
    {
        // Opening a pipe would wait for its reader.
        return Err(format!("{} is no file", path.display()));
    }
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).append(true).create(true).mode(0o600).open(path).map_err(why)?;
    let length = file.metadata().map_err(why)?.len();
    let from = length.saturating_sub(END_BYTES_MAX);
    file.seek(SeekFrom::Start(from)).map_err(why)?;
    let mut end = Vec::new();
    (&mut file).take(END_BYTES_MAX).read_to_end(&mut end).map_err(why)?;
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = &end[whole..];
    if torn.starts_with(LINE_BEGIN) || (!torn.is_empty() && LINE_BEGIN.starts_with(torn)) {
        // A part of a line of ours that a kill or a full disk cut off: it is written again as a whole.
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(from.saturating_add(whole)).map_err(why)?;
    } else if !torn.is_empty() {
        file.write_all(b"\n").map_err(why)?;
    }
    let lines = end[..whole].strip_suffix(b"\n").unwrap_or_default();
    let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let last = serde_json::from_slice::<Record>(last).ok();
    Ok((file, last.map(|record| Cursor::behind(&record))))
}

/// Appends the records that are not there yet.
fn append(path: &Path, open: Open, batch: &Batch) -> Result<Open, String> {
    let why = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    let mut open = follow_name(path, open)?;
    let missing = |record: &&std::sync::Arc<Record>| record.seq > open.last_seq;
    let records: Vec<_> = batch.records.iter().filter(missing).cloned().collect();
    let Some(last_seq) = records.last().map(|record| record.seq) else { return Ok(open) };
    let lines = solo_audit::sink::json_lines(&Batch { records, attempt: batch.attempt });
    let lines = lines.map_err(|error| error.to_string())?;
    open.file.write_all(&lines).map_err(why)?;
    open.last_seq = last_seq;
    open.unsynced = true;
    Ok(open)
}

/// Goes on in a new file if this one was moved away or removed.
fn follow_name(path: &Path, open: Open) -> Result<Open, String> {
    let why = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let ours = open.file.metadata().map_err(why)?;
    match std::fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => return Ok(open),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(why(error)),
        _ => {}
    }
    open.file.sync_data().map_err(why)?;
    let (file, _) = self::open(path)?;
    Ok(Open { file, ..open })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::sinks::tests::{lines_of, log};

    fn batch(records: &[Arc<Record>]) -> Batch {
        Batch { records: records.to_vec(), attempt: 1 }
    }

    #[tokio::test]
    async fn a_file_shows_what_it_has() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("copy.jsonl");
        let records = log(directory.path(), 9);
        let all = lines_of(&records);
        let mut sink = FileSink::new(path.clone());
        assert_eq!(sink.resume(None, false).await, Ok(None));
        sink.send(&batch(&records[..4])).await.expect("written");
        sink.send(&batch(&records[2..5])).await.expect("what is there is not written again");
        sink.sync().await.expect("synced");
        // Another kernel, which remembers less, after a kill in the midst of a line.
        for torn in ["{\"se", "{\"seq\":6,\"at_"] {
            let mut file = OpenOptions::new().append(true).open(&path).expect("open");
            file.write_all(torn.as_bytes()).expect("write");
            let mut sink = FileSink::new(path.clone());
            let kept = Cursor::behind(&records[1]);
            let resumed = sink.resume(Some(kept), false).await.expect("opens");
            assert_eq!(resumed, Some(Cursor::behind(&records[4])));
            sink.send(&batch(&records[3..6])).await.expect("written");
            let text = std::fs::read_to_string(&path).expect("read");
            assert_eq!(text, all[..6].concat());
            // Of another log, as far as anybody knows.
            assert_eq!(sink.resume(None, true).await, Ok(None));
            let cut: String = all[..5].concat();
            std::fs::write(&path, cut).expect("write");
        }
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_followed_by_another() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("copy.jsonl");
        let moved = directory.path().join("copy.1");
        let records = log(directory.path(), 4);
        let all = lines_of(&records);
        let mut sink = FileSink::new(path.clone());
        sink.resume(None, false).await.expect("opens");
        sink.send(&batch(&records[..2])).await.expect("written");
        std::fs::rename(&path, &moved).expect("rename");
        sink.send(&batch(&records[1..])).await.expect("written");
        assert_eq!(std::fs::read_to_string(&moved).expect("read"), all[..2].concat());
        assert_eq!(std::fs::read_to_string(&path).expect("read"), all[2..].concat());
    }

    #[tokio::test]
    async fn what_is_no_file_of_ours_is_left_as_it_is() {
        let directory = tempfile::tempdir().expect("tempdir");
        let records = log(directory.path(), 2);
        let path = directory.path().join("notes");
        std::fs::write(&path, "mine, without an end").expect("write");
        let mut sink = FileSink::new(path.clone());
        let kept = Cursor::behind(&records[0]);
        assert_eq!(sink.resume(Some(kept), false).await, Ok(Some(kept)));
        sink.send(&batch(&records)).await.expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(text, format!("mine, without an end\n{}", lines_of(&records)[1]));
        let mut sink = FileSink::new(directory.path().to_owned());
        assert!(sink.resume(None, false).await.is_err());
        assert!(sink.send(&batch(&records)).await.is_err());
    }
}
