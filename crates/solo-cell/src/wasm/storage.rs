//! Key-value storage of the services of this cell: that of the service whose code runs, as its configuration
//! and its secrets are. All its instances, revisions and children share it.

use std::io;
use std::path::Path;

use solo_state::{Answer, Op, Stores};
use solo_types::{Problem, ProblemKind};

use super::slot::Slot;

/// The storage, if the cell was given a directory for it.
#[derive(Debug)]
pub(crate) struct Storage(Option<Stores>);

impl Storage {
    /// Starts its threads.
    ///
    /// # Errors
    /// No threads.
    pub(crate) fn start(directory: Option<&Path>) -> io::Result<Self> {
        directory.map(Stores::start).transpose().map(Self)
    }

    /// Does one operation for the service of `slot`.
    ///
    /// # Errors
    /// As of [`Stores::run`]; `STORAGE_UNAVAILABLE`: there is none.
    pub(crate) async fn run(&self, slot: &Slot, op: Op) -> Result<Answer, Problem> {
        let unavailable =
            |cause| Problem::new(ProblemKind::Unavailable, "STORAGE_UNAVAILABLE", cause);
        let Some(stores) = &self.0 else {
            return Err(unavailable("this cell was given no directory for it"));
        };
        let service = slot.service.id.parse();
        stores.run(service.map_err(|_| unavailable("the service has no id"))?, op).await
    }
}

/// An answer of another kind than was asked for, which does not happen.
pub(crate) fn unexpected() -> Problem {
    Problem::internal("the storage gave an answer to another question")
}
