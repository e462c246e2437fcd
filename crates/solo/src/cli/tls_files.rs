//! `$SOLO_HOME/tls`: where the files of TLS are, and how they are written.
//!
//! Knows no certificate from the other; `tls` and `solo-tls` do.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Longest name of a client, in bytes: it becomes the name of a file and of a certificate.
const NAME_BYTES_MAX: usize = 64;

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The directory. Making this value makes no directory.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(home: &Path) -> Self {
        Self(home.join("tls"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The own authority. Its key is needed to make certificates only.
    pub(crate) fn authority(&self) -> Pair {
        self.pair("ca")
    }

    /// What `solo up` serves with.
    pub(crate) fn server(&self) -> Pair {
        self.pair("server")
    }

    /// Where it is, clients must have certificates.
    pub(crate) fn client_ca(&self) -> PathBuf {
        self.0.join("client-ca.crt")
    }

    pub(crate) fn clients(&self) -> PathBuf {
        self.0.join("clients")
    }

    /// A client's files; none if `name` could be anything else than the name of a file.
    pub(crate) fn client(&self, name: &str) -> Option<Pair> {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_name = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.starts_with(['.', '-'])
            && name.chars().all(is_legal);
        is_name.then(|| self.pair(&format!("clients/{name}")))
    }

    fn pair(&self, name: &str) -> Pair {
        // Not `with_extension`: a client may be called `build.7`.
        let file = |ending| self.0.join(format!("{name}.{ending}"));
        Pair { certificate: file("crt"), key: file("key") }
    }

    /// Makes the directory and that of the clients, for their owner alone.
    pub(crate) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.clients())
    }
}

impl Pair {
    /// Those of both files that are there.
    pub(crate) fn there(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key].into_iter().filter(|path| path.exists())
    }

    /// Writes both: the key first, as the certificate is what others look for.
    pub(crate) fn write(&self, issued: &solo_tls::issue::Issued) -> io::Result<()> {
        write(&self.key, &issued.key, 0o600)?;
        write(&self.certificate, &issued.certificate, 0o644)
    }
}

/// Writes a file so that a reader sees the old one or the whole new one, and that survives a power
/// loss.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // What a killed process left may have another mode.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(directory) => std::fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients_are_names_of_files() {
        let directory = Directory::new(Path::new("/h"));
        for (name, expected) in [
            ("agent-7", true),
            ("build.7_x", true),
            ("", false),
            ("..", false),
            ("../server", false),
            ("a/b", false),
            ("-f", false),
            ("ä", false),
            ("a b", false),
        ] {
            assert_eq!(directory.client(name).is_some(), expected, "{name:?}");
        }
        assert!(directory.client(&"x".repeat(65)).is_none());
        let pair = directory.client("build.7").expect("a name");
        assert_eq!(pair.key, Path::new("/h/tls/clients/build.7.key"));
    }
}
