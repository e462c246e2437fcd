//! Keeps the init alive where memory is short: of its sandbox the system is to end the program.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;

/// As unlikely as can be, but for never. It takes a right that not even every root has.
const UNLIKELY: &str = "-999";

/// What everybody has who is given nothing.
const USUAL: &str = "0";

/// A program is ended before anything else, on the whole machine. It may make itself as unlikely as the init;
/// then the larger of the two goes, which is the program.
const FIRST: &str = "1000";

/// How likely the init is to be ended: a file that is opened before it shuts itself in.
#[derive(Debug)]
pub(super) struct Oom {
    file: Option<File>,
    own: &'static str,
}

impl Oom {
    /// Makes the init less likely to be ended, as far as it may.
    pub(super) fn prepare() -> Self {
        let file = OpenOptions::new().write(true).open("/proc/self/oom_score_adj").ok();
        let is_unlikely = file.as_ref().is_some_and(|file| write(file, UNLIKELY).is_ok());
        Self { file, own: if is_unlikely { UNLIKELY } else { USUAL } }
    }

    /// Does something that starts a program.
    pub(super) fn unspared<T>(&self, action: impl FnOnce() -> T) -> io::Result<T> {
        let Some(file) = &self.file else { return Ok(action()) };
        write(file, FIRST)?;
        let done = action();
        write(file, self.own)?;
        Ok(done)
    }
}

fn write(file: &File, value: &str) -> io::Result<()> {
    file.write_all_at(value.as_bytes(), 0)
}
