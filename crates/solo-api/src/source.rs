//! Source text as one artifact: its files and the one that the service begins with, behind a magic number.
//!
//! What a file holds and whether its path is one are not looked at here: the compiler cell does.

use prost::Message as _;
use solo_types::{Problem, bounds};

use crate::v1;

/// What an artifact of source text begins with.
pub const SOURCE_MAGIC: &[u8; 8] = b"SOLOSRC1";

/// The format of such an artifact: its first bytes tell it.
pub(crate) const SOURCE_FORMAT: &str = "";

/// Files of one service.
const FILES_MAX: usize = 5_000;

/// Makes an artifact of source text.
///
/// # Errors
/// `MISSING_CODE`, `CODE_TOO_LARGE`, `INVALID_FILES`.
pub(crate) fn pack(files: &v1::SourceFiles) -> Result<Vec<u8>, Problem> {
    let wrong = |field: &str, rule: &str| Err(Problem::invalid("INVALID_FILES", field, rule));
    if files.files.is_empty() {
        return Err(Problem::invalid("MISSING_CODE", "code.files.files", "there is no file")
            .remedy("send the source text"));
    }
    if files.files.len() > FILES_MAX {
        let rule = format!("there are {} files, the limit is {FILES_MAX}", files.files.len());
        return wrong("code.files.files", &rule);
    }
    if !files.files.iter().any(|file| file.path == files.entry) {
        return wrong("code.files.entry", "no file has this path");
    }
    let bytes: usize = files.files.iter().map(|file| file.path.len() + file.content.len()).sum();
    if bytes > bounds::INLINE_CODE_BYTES_MAX {
        let rule = format!("the files have {bytes} bytes, the limit is 16 MiB");
        return Err(Problem::invalid("CODE_TOO_LARGE", "code.files", &rule)
            .remedy("send only what the service imports, without tests, maps and documents"));
    }
    let mut packed = SOURCE_MAGIC.to_vec();
    packed.extend(files.encode_to_vec());
    Ok(packed)
}

/// One file of a language.
pub(crate) fn pack_one(path: &str, content: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let file = v1::SourceFile { path: path.to_owned(), content };
    pack(&v1::SourceFiles { entry: path.to_owned(), files: vec![file] })
}

/// The files in an artifact of source text; `None` if it is none.
#[must_use]
pub fn unpack_source(artifact: &[u8]) -> Option<v1::SourceFiles> {
    v1::SourceFiles::decode(artifact.strip_prefix(SOURCE_MAGIC)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &[u8]) -> v1::SourceFile {
        v1::SourceFile { path: path.to_owned(), content: content.to_vec() }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let files = vec![file("main.js", b"export {}"), file("a/b.json", b"{}")];
        let files = v1::SourceFiles { entry: "main.js".to_owned(), files };
        let packed = pack(&files).expect("it fits");
        assert!(packed.starts_with(SOURCE_MAGIC));
        assert_eq!(unpack_source(&packed), Some(files));
        for broken in [&packed[..12], b"SOLOSRC2", b"", b"\0asm"] {
            assert_eq!(unpack_source(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |entry: &str, files| {
            let files = v1::SourceFiles { entry: entry.to_owned(), files };
            pack(&files).expect_err("refused").reason
        };
        assert_eq!(refused("a", vec![]), "MISSING_CODE");
        assert_eq!(refused("b.js", vec![file("a.js", b"")]), "INVALID_FILES");
        assert_eq!(refused("a", vec![file("a", b""); FILES_MAX + 1]), "INVALID_FILES");
        let large = vec![b' '; bounds::INLINE_CODE_BYTES_MAX];
        assert_eq!(refused("a", vec![file("a", &large)]), "CODE_TOO_LARGE");
    }
}
