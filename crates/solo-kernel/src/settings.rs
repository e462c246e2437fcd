//! Files in the home by which an operator sets Solo up. Whoever writes one decides what the kernel does:
//! one that others may write is refused.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes of a file: all that can be said, with room for comments.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Who else than the owner may write a file.
const OTHERS_WRITE: u32 = 0o022;

/// The text of a file right in the home; `None`: there is none.
///
/// # Errors
/// In a sentence: it cannot be read, others may write it, or it is too long.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, String> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    let told = |error: std::io::Error| error.to_string();
    let metadata = file.metadata().map_err(told)?;
    if metadata.mode() & OTHERS_WRITE != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(format!("others may write it (mode {mode:o}): chmod 600"));
    }
    let home = path.parent().unwrap_or(Path::new("/"));
    let owner = std::fs::metadata(home).map_err(told)?.uid();
    if ![0, owner].contains(&metadata.uid()) {
        return Err("it belongs to another user than the home does".to_owned());
    }
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(format!("it is no file of at most {FILE_BYTES_MAX} bytes"));
    }
    let mut text = String::new();
    let mut limited = (&mut file).take(FILE_BYTES_MAX);
    limited.read_to_string(&mut text).map_err(told)?;
    Ok(Some(text))
}

/// What is wrong with a text, and in which line.
pub(crate) fn line_of(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().map(|span| &text[..span.start.min(text.len())]);
    let line = before.map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}
