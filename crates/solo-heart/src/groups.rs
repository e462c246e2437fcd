//! Control groups around cells: one each, made before the cell starts and gone after it.
//!
//! For cells that host code which is shut in already they are a second lock: where this machine has none for
//! Solo, such cells do without, and the log says so. Where it has them, a cell that cannot have its own does not start.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use solo_sandbox::{Group, GroupError, Groups, Layer, Limits};
use tracing::{info, warn};

use crate::HeartError;
use crate::isolation::control_group_name;
use crate::protocol::CellKind;

/// For all that a former heart left. The system has killed most of it by then.
const SWEEP_WAIT: Duration = Duration::from_secs(2);

/// For what a cell left, twice: to be killed, and to be gone. Meanwhile the heart does nothing else. Nothing
/// outlives the first process of a pid namespace, so that there is something to kill without one only.
const END_WAIT: Duration = Duration::from_millis(100);

/// Threads of a wasm cell: one for each processor, and those that wait for files and sockets.
const WASM_PROCESSES: u64 = 1_024;

/// Threads of a compiler: some for each processor.
const COMPILER_PROCESSES: u64 = 256;

/// Memory of a compiler. What it allows itself is its address space (6 GiB, `solo-cell`), most of which
/// it never touches; this holds for all that one may start that was taken over.
const COMPILER_MEMORY_BYTES: u64 = 4 << 30;

/// Processes of a program's cell until it is told for whom it is.
const PREPARED_PROCESSES: u64 = 16;

/// The control groups of this home's cells.
#[derive(Debug)]
pub(crate) struct CellGroups {
    groups: Option<Groups>,
    /// The operator does without.
    are_given_up: bool,
    cells: BTreeMap<String, Group>,
}

impl CellGroups {
    /// Opens the groups of this home and ends what a former heart left in them. Call it with the lock of
    /// the home.
    ///
    /// # Errors
    /// [`HeartError::Groups`]: something of a former heart cannot be ended.
    pub(crate) fn open(home: &Path, without: &[Layer]) -> Result<Self, HeartError> {
        let are_given_up = without.contains(&Layer::ControlGroup);
        let mut opened = Self { groups: None, are_given_up, cells: BTreeMap::new() };
        if are_given_up {
            return Ok(opened);
        }
        match Groups::open(&control_group_name(home)) {
            Ok(groups) => {
                let left = groups.sweep(SWEEP_WAIT).map_err(HeartError::Groups)?;
                if left > 0 {
                    info!(groups = left, "Ended what a former heart left in control groups");
                }
                opened.groups = Some(groups);
            }
            Err(error) => {
                let remedy = error.remedy();
                info!(%error, remedy, "Cells go without control groups");
            }
        }
        Ok(opened)
    }

    /// Makes the group of a cell that is to start. Returns its directories; none where there are no groups.
    ///
    /// # Errors
    /// As the system says; `Unsupported`: this kind of cell needs one, and there are none.
    pub(crate) fn create(&mut self, cell: &str, kind: CellKind) -> io::Result<Vec<PathBuf>> {
        let Some(groups) = &self.groups else {
            // A program is bounded by nothing else.
            let is_needed = kind == CellKind::Process && !self.are_given_up;
            return if is_needed { Err(io::ErrorKind::Unsupported.into()) } else { Ok(Vec::new()) };
        };
        let group = groups.create(cell, &limits(kind)).map_err(|error| {
            warn!(cell, %error, "Failed to make a control group");
            match error {
                GroupError::File { source, .. } => source,
                error => io::Error::other(error),
            }
        })?;
        let directories = group.directories();
        self.cells.insert(cell.to_owned(), group);
        Ok(directories)
    }

    /// Kills what a cell left and removes its group. What cannot be removed now is when another cell
    /// of that id starts, or with the rest.
    pub(crate) fn end(&mut self, cell: &str) {
        let Some(group) = self.cells.remove(cell) else { return };
        if let Err(error) = group.end(END_WAIT) {
            warn!(cell, %error, "Failed to remove a control group");
        }
    }
}

impl Drop for CellGroups {
    /// Ends all and leaves nothing behind, also where the heart could not start.
    fn drop(&mut self) {
        if let Some(Err(error)) = self.groups.take().map(|groups| groups.remove(SWEEP_WAIT)) {
            warn!(%error, "Failed to remove the control groups");
        }
    }
}

/// What a cell of a kind may use. The memory of a wasm cell is bounded for each of its instances.
fn limits(kind: CellKind) -> Limits {
    match kind {
        CellKind::Wasm => Limits { processes: Some(WASM_PROCESSES), ..Limits::default() },
        CellKind::Process => Limits { processes: Some(PREPARED_PROCESSES), ..Limits::default() },
        CellKind::Compiler => Limits {
            processes: Some(COMPILER_PROCESSES),
            memory_bytes: Some(COMPILER_MEMORY_BYTES),
            ..Limits::default()
        },
    }
}
