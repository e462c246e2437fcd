//! The files of a server: where they are, what is in them, whether that changed.
//!
//! Follows no change by itself and understands nothing of what it reads.

use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::TlsError;

/// Longest file that is read: a bundle with all public authorities has 250 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Who else than the owner may use a key.
const OTHERS: u32 = 0o077;

/// Where a server's certificate, its key, and the authority of its clients are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate, then those between it and its authority.
    pub certificate: PathBuf,
    /// PEM: the private key, mode 0600 or less.
    pub key: PathBuf,
    /// PEM: who signs clients' certificates. If it is named, clients must have one (mTLS).
    pub client_ca: Option<PathBuf>,
}

/// What is in the files at one time.
pub(crate) struct Contents {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) client_ca: Option<Vec<u8>>,
}

impl TlsFiles {
    /// Reads all of them.
    pub(crate) fn contents(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read_key(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }
}

impl Contents {
    /// Tells contents apart, so that the key need not be kept to see that it changed.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for part in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()] {
            let bytes = part.map(Vec::as_slice).unwrap_or_default();
            hasher.update(&bytes.len().to_le_bytes()).update(bytes);
        }
        hasher.finalize().into()
    }
}

/// Reads a file of bounded length.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    // Not a pipe, which would keep whoever opens it.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it is over 1 MiB")));
    }
    Ok(bytes)
}

/// Reads a private key, which must be its owner's alone.
pub(crate) fn read_key(path: &Path) -> Result<Vec<u8>, TlsError> {
    let metadata = std::fs::metadata(path)
        .map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(TlsError::KeyOpen { path: path.to_owned(), mode });
    }
    read(path)
}
