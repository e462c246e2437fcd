//! Code by digest (SPEC D5): one file per artifact, named by the BLAKE3 digest of its bytes. Each tenant
//! has a store of its own, so that what one has another finds neither by its digest nor by its speed.
//!
//! A file is written under a temporary name, synced and renamed, so that a name always stands for
//! the whole content. The kernel hashes bytes; it never looks at what they mean.

mod room;

use std::collections::HashSet;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use solo_types::{Digest, Problem, ProblemKind, bounds};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::home::TenantHome;
pub(crate) use room::NodeRoom;
use room::{Claim, Room};

/// Uploads under way at once: each holds a file and a chunk of 4 MiB.
const UPLOADS_MAX: usize = 32;

/// Code that comes inside a request and is being written: those requests hold it in memory anyway, and
/// uploads that hang must not hold them up.
const INLINE_MAX: usize = 64;

/// An artifact that nothing refers to is kept so long: a deployment that follows an upload finds it.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3_600);

/// The artifacts of one tenant.
#[derive(Debug)]
pub(crate) struct Artifacts {
    home: TenantHome,
    next_upload: AtomicU64,
    room: Room,
    uploads: Arc<tokio::sync::Semaphore>,
    inline_room: Arc<tokio::sync::Semaphore>,
}

/// An artifact that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) size_bytes: u64,
    pub(crate) existed: bool,
}

fn disk(step: &'static str) -> impl Fn(io::Error) -> Problem {
    move |error| {
        Problem::new(ProblemKind::Internal, "STORE_FAILED", format!("failed to {step}: {error}"))
            .remedy("check the disk under SOLO_HOME: space, permissions, health")
    }
}

impl Artifacts {
    /// Opens the store and removes what unfinished uploads and compilations left.
    pub(crate) fn open(home: TenantHome, node: NodeRoom) -> io::Result<Self> {
        for entry in std::fs::read_dir(home.uploads())? {
            std::fs::remove_file(entry?.path())?;
        }
        for entry in std::fs::read_dir(home.compiled())? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "cwasm") {
                std::fs::remove_file(path)?;
            } else {
                // Versions before hosted services as the user of the kernel.
                std::fs::set_permissions(path, Permissions::from_mode(0o644))?;
            }
        }
        let used = bytes_in(&home.artifacts())?;
        Ok(Self {
            next_upload: AtomicU64::new(0),
            room: Room::new(node, used),
            home,
            uploads: Arc::new(tokio::sync::Semaphore::new(UPLOADS_MAX)),
            inline_room: Arc::new(tokio::sync::Semaphore::new(INLINE_MAX)),
        })
    }

    /// What all artifacts may have from now on; `None`: as much as the node has. What is there stays.
    pub(crate) fn set_quota(&self, bytes: Option<u64>) {
        self.room.set_quota(bytes);
    }

    /// Bytes of all artifacts, those on their way included.
    pub(crate) fn used(&self) -> u64 {
        self.room.used()
    }

    /// Whether the artifact is there.
    pub(crate) async fn contains(&self, digest: &Digest) -> bool {
        // An empty file is no artifact, whatever made it.
        self.size(digest).await.is_some_and(|size| size > 0)
    }

    async fn size(&self, digest: &Digest) -> Option<u64> {
        tokio::fs::metadata(self.home.artifact(digest)).await.ok().map(|metadata| metadata.len())
    }

    /// Stores `bytes`.
    pub(crate) async fn put(&self, bytes: &[u8]) -> Result<Stored, Problem> {
        let digest = Digest(*blake3::hash(bytes).as_bytes());
        let size_bytes = bytes.len() as u64;
        // One of another size was damaged from outside: it is written again.
        if self.size(&digest).await == Some(size_bytes) {
            return Ok(Stored { digest, size_bytes, existed: true });
        }
        let permit = self.inline_room.clone().acquire_owned().await;
        let permit = permit.map_err(|error| Problem::internal(error.to_string()))?;
        let mut upload = self.begin_with(size_bytes, permit).await?;
        upload.write(bytes).await?;
        upload.finish(None).await
    }

    /// Begins an upload of exactly `size_bytes`.
    pub(crate) async fn begin(&self, size_bytes: u64) -> Result<Upload, Problem> {
        if size_bytes > bounds::ARTIFACT_BYTES_MAX {
            return Err(Problem::new(
                ProblemKind::ResourceExhausted,
                "ARTIFACT_TOO_LARGE",
                format!("the artifact has {size_bytes} bytes, the limit is 128 MiB"),
            )
            .remedy("strip debug information, or split the program")
            .field("header.size_bytes"));
        }
        if size_bytes == 0 {
            return Err(Problem::invalid(
                "MISSING_CODE",
                "header.size_bytes",
                "the artifact is empty",
            ));
        }
        let permit = self.uploads.clone().try_acquire_owned().map_err(|_| {
            Problem::new(
                ProblemKind::ResourceExhausted,
                "TOO_MANY_UPLOADS",
                format!("{UPLOADS_MAX} uploads are under way"),
            )
            .remedy("try again when one has ended")
        })?;
        self.begin_with(size_bytes, permit).await
    }

    async fn begin_with(
        &self,
        size_bytes: u64,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Upload, Problem> {
        let claim = self.room.claim(size_bytes)?;
        let number = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let path = self.home.uploads().join(format!("upload-{number}"));
        let file = File::create_new(&path).await.map_err(disk("make a file for the upload"))?;
        Ok(Upload {
            home: self.home.clone(),
            temporary: Some(Temporary(path)),
            file,
            hasher: blake3::Hasher::new(),
            expected: size_bytes,
            received: 0,
            claim,
            _permit: permit,
        })
    }

    /// Removes artifacts that nothing refers to and that are a day old, and what was compiled of
    /// them. Returns how many.
    pub(crate) fn sweep(&self, referenced: &HashSet<String>) -> io::Result<usize> {
        let mut removed = 0;
        for directory in [self.home.artifacts(), self.home.compiled()] {
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let digest = name.split('-').next().unwrap_or_default();
                let old = metadata
                    .modified()
                    .ok()
                    .and_then(|at| SystemTime::now().duration_since(at).ok())
                    .is_some_and(|age| age > ORPHAN_AGE);
                if metadata.is_file() && old && !referenced.contains(digest) {
                    std::fs::remove_file(entry.path())?;
                    removed += 1;
                    if entry.path().parent() == Some(self.home.artifacts().as_path()) {
                        self.room.give_back(metadata.len());
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// Bytes of the files in a directory.
fn bytes_in(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let metadata = entry?.metadata()?;
        bytes += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(bytes)
}

/// A file that vanishes unless it is kept.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.0.display(), "Failed to remove an unfinished upload");
        }
    }
}

/// An upload under way. Dropped before it is finished, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Upload {
    home: TenantHome,
    temporary: Option<Temporary>,
    file: File,
    hasher: blake3::Hasher,
    expected: u64,
    received: u64,
    claim: Claim,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Upload {
    /// Adds a chunk.
    pub(crate) async fn write(&mut self, chunk: &[u8]) -> Result<(), Problem> {
        self.received += chunk.len() as u64;
        if self.received > self.expected {
            return Err(size_mismatch(self.expected, "more"));
        }
        self.hasher.update(chunk);
        self.file.write_all(chunk).await.map_err(disk("write the upload"))
    }

    /// Makes the artifact durable under its digest.
    pub(crate) async fn finish(mut self, expected: Option<Digest>) -> Result<Stored, Problem> {
        if self.received != self.expected {
            return Err(size_mismatch(self.expected, &format!("only {}", self.received)));
        }
        let digest = Digest(*self.hasher.finalize().as_bytes());
        if expected.is_some_and(|expected| expected != digest) {
            return Err(Problem::invalid(
                "DIGEST_MISMATCH",
                "header.digest",
                &format!("the bytes have the digest {digest}"),
            )
            .remedy("the upload was damaged, or the digest is another file's: send it again"));
        }
        let stored = |existed| Stored { digest, size_bytes: self.expected, existed };
        let target = self.home.artifact(&digest);
        if tokio::fs::metadata(&target).await.is_ok_and(|known| known.len() == self.expected) {
            return Ok(stored(true));
        }
        // The file hands bytes on in the background: only a flush tells whether they were taken.
        self.file.flush().await.map_err(disk("write the upload"))?;
        self.file.sync_all().await.map_err(disk("sync the upload"))?;
        let written = self.file.metadata().await.map_err(disk("look at the upload"))?.len();
        if written != self.expected {
            let error = io::Error::other(format!("{written} of {} bytes are there", self.expected));
            return Err(disk("write the upload")(error));
        }
        let Some(temporary) = self.temporary.take() else {
            return Err(Problem::internal("the upload was finished twice"));
        };
        let directory = self.home.artifacts();
        tokio::task::spawn_blocking(move || {
            std::fs::rename(&temporary.0, target)?;
            sync_directory(&directory)
        })
        .await
        .map_err(|error| Problem::internal(error.to_string()))?
        .map_err(disk("store the upload"))?;
        self.claim.keep();
        Ok(stored(false))
    }
}

fn size_mismatch(expected: u64, received: &str) -> Problem {
    Problem::invalid(
        "SIZE_MISMATCH",
        "header.size_bytes",
        &format!("{expected} bytes were announced, {received} came"),
    )
    .remedy("the upload was cut, or the size is wrong: send it again")
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::room::STORE_BYTES_MAX;
    use super::*;

    fn artifacts() -> (tempfile::TempDir, Artifacts) {
        let directory = tempfile::tempdir().expect("tempdir");
        let home = crate::home::Home::open(directory.path()).expect("home");
        let tenant = solo_types::TenantName::new("acme").expect("legal");
        let home = home.open_tenant(&tenant).expect("its own");
        let artifacts = Artifacts::open(home, NodeRoom::default()).expect("open");
        (directory, artifacts)
    }

    fn files(directory: &tempfile::TempDir) -> usize {
        let count = |name: &str| {
            std::fs::read_dir(directory.path().join("tenants/acme").join(name))
                .expect("read_dir")
                .filter(|e| e.as_ref().is_ok_and(|e| e.path().is_file()))
                .count()
        };
        count("artifacts") + count("artifacts/tmp")
    }

    #[tokio::test]
    async fn the_same_bytes_are_stored_once() {
        let (directory, artifacts) = artifacts();
        let first = artifacts.put(b"code").await.expect("put");
        let second = artifacts.put(b"code").await.expect("put again");
        assert!(!first.existed && second.existed);
        assert_eq!(first.digest, second.digest);
        assert_eq!(files(&directory), 1);
    }

    #[tokio::test]
    async fn a_broken_upload_leaves_nothing() {
        let (directory, artifacts) = artifacts();
        let mut upload = artifacts.begin(100).await.expect("begin");
        upload.write(b"half").await.expect("write");
        drop(upload);
        let mut short = artifacts.begin(100).await.expect("begin");
        short.write(b"half").await.expect("write");
        assert_eq!(short.finish(None).await.expect_err("short").reason, "SIZE_MISMATCH");
        let mut long = artifacts.begin(2).await.expect("begin");
        assert_eq!(long.write(b"long").await.expect_err("long").reason, "SIZE_MISMATCH");
        drop(long);
        let mut other = artifacts.begin(2).await.expect("begin");
        other.write(b"ab").await.expect("write");
        let wrong = other.finish(Some(Digest([0; 32]))).await.expect_err("wrong digest");
        assert_eq!(wrong.reason, "DIGEST_MISMATCH");
        assert_eq!(files(&directory), 0);
    }

    #[tokio::test]
    async fn too_large_is_refused_before_a_byte_is_taken() {
        let (directory, mut artifacts) = artifacts();
        let refused = artifacts.begin(1 << 30).await.expect_err("1 GiB");
        assert_eq!(refused.reason, "ARTIFACT_TOO_LARGE");
        let node = NodeRoom::default();
        artifacts.room = Room::new(node.clone(), 0);
        node.0.store(STORE_BYTES_MAX - 10, Ordering::Relaxed);
        assert_eq!(artifacts.begin(11).await.expect_err("full").reason, "STORE_FULL");
        drop(artifacts.begin(10).await.expect("fits"));
        assert_eq!(node.0.load(Ordering::Relaxed), STORE_BYTES_MAX - 10);
        artifacts.set_quota(Some(9));
        let problem = artifacts.begin(10).await.expect_err("more than the quota");
        assert_eq!(problem.reason, "QUOTA_EXCEEDED");
        drop(artifacts.begin(9).await.expect("fits"));
        assert_eq!(artifacts.used(), 0);
        assert_eq!(files(&directory), 0);
    }
}
