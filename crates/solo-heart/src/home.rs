//! The heart's part of the home: the run directory, its lock and the files in it.
//!
//! It refuses a home that another heart has, and directories that belong to somebody else. It
//! touches nothing outside `run/`: the rest of the home is the kernel's.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tracing::warn;

use crate::HeartError;
use crate::protocol::CELL_ID_CHARS_MAX;
use crate::vocabulary::Role;

/// Longest path of a Unix socket on Linux, without its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A home that this process has the lock of.
#[derive(Debug)]
pub(crate) struct Home {
    root: PathBuf,
    run: PathBuf,
    cells: PathBuf,
    /// Held until the process ends; the file itself stays, or the lock could be had twice.
    _lock: File,
}

impl Home {
    /// Makes the directories and takes the lock.
    ///
    /// # Errors
    /// The path is not usable, somebody else's, or in use.
    pub(crate) fn open(home: &Path) -> Result<Self, HeartError> {
        let root = std::path::absolute(home).map_err(HeartError::file("find", home))?;
        if root.to_str().is_none() {
            return Err(HeartError::HomeNotUtf8 { home: root });
        }
        let (run, cells) = (root.join("run"), root.join("run/cells"));
        let longest = cells.join(format!("{}.sock", "x".repeat(CELL_ID_CHARS_MAX)));
        let bytes = longest.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            return Err(HeartError::HomeTooLong { home: root, bytes });
        }
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&root).map_err(HeartError::file("create", &root))?;
        own_directory(&builder, &run)?;
        own_directory(&builder, &cells)?;
        let lock = lock(&root, &run.join("heart.lock"))?;
        Ok(Self { root, run, cells, _lock: lock })
    }

    /// Absolute path of the home.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `run/api.sock`.
    pub(crate) fn api_socket(&self) -> PathBuf {
        self.run.join("api.sock")
    }

    /// `run/addresses.json`.
    pub(crate) fn addresses(&self) -> PathBuf {
        self.run.join("addresses.json")
    }

    /// `run/cells/ID.sock`; the cell makes it.
    pub(crate) fn cell_socket(&self, cell: &str) -> PathBuf {
        self.cells.join(format!("{cell}.sock"))
    }

    /// `tenants/TENANT/compiled`; the kernel makes it.
    pub(crate) fn compiled(&self, tenant: &str) -> PathBuf {
        self.root.join("tenants").join(tenant).join("compiled")
    }

    /// Makes `run/cells/ID.work` anew, empty, for a cell that runs as `user`.
    ///
    /// # Errors
    /// As the file system says.
    pub(crate) fn new_work(&self, cell: &str, user: Option<u32>) -> std::io::Result<PathBuf> {
        let path = self.work(cell);
        remove_directory(&path)?;
        DirBuilder::new().mode(0o700).create(&path)?;
        std::os::unix::fs::chown(&path, user, user)?;
        Ok(path)
    }

    /// Makes `run/programs/CELL` for a cell that runs as `user`, if it is not there. It stays with the
    /// sockets in it when that cell is started anew.
    ///
    /// # Errors
    /// As the file system says.
    pub(crate) fn own_programs(&self, cell: &str, user: Option<u32>) -> std::io::Result<PathBuf> {
        let path = self.run.join("programs").join(cell);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        std::os::unix::fs::chown(&path, user, user)?;
        Ok(path)
    }

    /// Makes `tenants/TENANT/state` for a cell that runs as `user`, and gives it what an earlier one as
    /// another user has left there.
    ///
    /// # Errors
    /// As the file system says.
    pub(crate) fn own_state(&self, tenant: &str, user: Option<u32>) -> std::io::Result<PathBuf> {
        let path = self.root.join("tenants").join(tenant).join("state");
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let Some(user) = user else { return Ok(path) };
        std::os::unix::fs::chown(&path, Some(user), Some(user))?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // What has two names may be somebody else's.
            if metadata.uid() != user && metadata.is_file() && metadata.nlink() == 1 {
                std::os::unix::fs::lchown(entry.path(), Some(user), Some(user))?;
            }
        }
        Ok(path)
    }

    fn work(&self, cell: &str) -> PathBuf {
        self.cells.join(format!("{cell}.work"))
    }

    /// Where the process id of a role is written.
    fn pid_file(&self, role: &Role) -> PathBuf {
        match role {
            Role::Kernel => self.run.join("kernel.pid"),
            Role::Gateway => self.run.join("gateway.pid"),
            Role::Cell { cell, .. } => self.cells.join(format!("{cell}.pid")),
        }
    }

    /// Writes the pid file of a role. It is a help for people and tests: without it all goes on.
    pub(crate) fn write_pid(&self, role: &Role, pid: u32) {
        let path = self.pid_file(role);
        if let Err(error) = write_atomically(&path, &format!("{pid}\n")) {
            warn!(path = %path.display(), %error, "Failed to write a pid file");
        }
    }

    /// Removes what a process leaves behind: its pid file, and the socket and directory of a cell.
    pub(crate) fn forget(&self, role: &Role) {
        remove(&self.pid_file(role));
        if let Role::Cell { cell, .. } = role {
            remove(&self.cell_socket(cell));
            remove_all(&self.work(cell));
        }
    }

    /// Process ids in the pid files.
    pub(crate) fn written_pids(&self) -> Vec<u32> {
        self.leftovers()
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
            .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
            .collect()
    }

    /// Removes sockets, pid files, directories of cells and `addresses.json`.
    pub(crate) fn clean(&self) {
        for path in self.leftovers() {
            if path.is_dir() { remove_all(&path) } else { remove(&path) }
        }
        remove_all(&self.run.join("programs"));
        remove(&self.addresses());
    }

    /// Sockets, pid files, half-written files and directories of cells, of `run/` and `run/cells/`.
    fn leftovers(&self) -> Vec<PathBuf> {
        [&self.run, &self.cells]
            .into_iter()
            .filter_map(|directory| fs::read_dir(directory).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.extension()
                    .and_then(|extension| extension.to_str())
                    .is_some_and(|extension| matches!(extension, "sock" | "pid" | "new" | "work"))
            })
            .collect()
    }
}

/// Writes a file so that a reader sees the old one or the whole new one.
///
/// # Errors
/// As the file system says.
pub(crate) fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    // Not synced: what is in run/ means nothing after a power loss.
    file.write_all(text.as_bytes())?;
    fs::rename(new, path)
}

/// Makes a directory of mode 0700, or takes one that is ours.
fn own_directory(builder: &DirBuilder, path: &Path) -> Result<(), HeartError> {
    builder.create(path).map_err(HeartError::file("create", path))?;
    let metadata = fs::symlink_metadata(path).map_err(HeartError::file("read", path))?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
        return Err(HeartError::ForeignDirectory { path: path.to_owned() });
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))
        .map_err(HeartError::file("set the mode of", path))
}

/// Takes the lock and writes our process id into it.
fn lock(home: &Path, path: &Path) -> Result<File, HeartError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(HeartError::file("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // An id has 10 digits at most; the file could hold anything.
            let read = (&mut file).take(32).read_to_string(&mut text);
            let pid = match (read, text.trim()) {
                (Ok(_), pid) if !pid.is_empty() => pid.to_owned(),
                _ => "unknown".to_owned(),
            };
            return Err(HeartError::AlreadyRunning { home: home.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => {
            return Err(HeartError::file("lock", path)(source));
        }
    }
    let text = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(HeartError::file("write", path))?;
    Ok(file)
}

fn remove_all(path: &Path) {
    if let Err(error) = remove_directory(path) {
        warn!(path = %path.display(), %error, "Failed to remove a directory");
    }
}

/// Removes a directory that may not be there. Links in it are removed, not followed.
fn remove_directory(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "Failed to remove a file");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_heart() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("deep/home");
        let home = Home::open(&root).expect("the first heart");
        let error = Home::open(&root).expect_err("the second heart");
        let pid = std::process::id().to_string();
        assert!(error.to_string().contains(&pid), "{error}");
        drop(home);
        Home::open(&root).expect("the lock ends with its holder");
        for (path, mode) in [("", 0o700), ("run", 0o700), ("run/cells", 0o700)] {
            let metadata = fs::metadata(root.join(path)).expect("made");
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
        }
    }

    #[test]
    fn a_home_that_sockets_cannot_be_named_in_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = Home::open(&directory.path().join("x".repeat(90))).expect_err("too long");
        assert!(matches!(error, HeartError::HomeTooLong { .. }), "{error}");
    }

    #[test]
    fn a_run_directory_that_is_a_link_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("run")).expect("link");
        let error = Home::open(directory.path()).expect_err("a link");
        assert!(matches!(error, HeartError::ForeignDirectory { .. }), "{error}");
    }

    #[test]
    fn cleaning_leaves_the_lock_and_what_is_not_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let home = Home::open(directory.path()).expect("a home");
        let cell =
            Role::Cell { cell: "a".into(), kind: crate::protocol::CellKind::Wasm, tenant: None };
        home.write_pid(&Role::Kernel, 7);
        home.write_pid(&cell, 8);
        fs::write(home.cell_socket("a"), "").expect("written");
        fs::write(directory.path().join("run/notes.txt"), "").expect("written");
        assert_eq!(home.written_pids(), [7, 8]);
        home.forget(&cell);
        assert_eq!(home.written_pids(), [7]);
        home.clean();
        let mut left: Vec<_> = fs::read_dir(directory.path().join("run"))
            .expect("readable")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        left.sort();
        assert_eq!(left, ["cells", "heart.lock", "notes.txt"]);
    }
}
