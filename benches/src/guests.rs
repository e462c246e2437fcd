//! The components that are deployed: built guests, and fresh bytes made of them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};

/// Sends and calls in a loop, so that one message can be timed. Text.
pub(crate) const CALLER: &[u8] = include_bytes!("../guests/caller.wat");

/// The actor of all experiments in a cell; what it does its messages say. Text.
pub(crate) const ACTOR: &[u8] = include_bytes!("../guests/actor.wat");

/// Guests that make up a new component: the first is what it does, the rest is code to compile.
const PARTS_OF_NEW: [&str; 4] = ["calculator", "pinger", "counter", "memory-hog"];

/// Section of a component that holds a core module.
const CORE_MODULE: u8 = 1;

/// Section that holds what a tool put there; no engine looks at it.
const CUSTOM: u8 = 0;

/// Magic number and version before the first section.
const PREAMBLE_BYTES: usize = 8;

/// The bytes of a guest that `make guests` built beside this program's profile.
///
/// # Errors
/// It is not there.
pub(crate) fn read(name: &str) -> anyhow::Result<Vec<u8>> {
    let program = std::env::current_exe().context("failed to find this program")?;
    let target = program.parent().and_then(|profile| profile.parent());
    let directory: PathBuf =
        target.context("this program is in no build directory")?.join("guests");
    let path = directory.join(format!("{name}.wasm"));
    fs::read(&path).with_context(|| format!("failed to read {}; run `make guests`", path.display()))
}

/// A component of about 100 KB of compiled Rust, whose bytes no machine has seen: `number` makes
/// them so. It does what the first of its parts does.
#[derive(Debug)]
pub(crate) struct NewComponent {
    base: Vec<u8>,
}

impl NewComponent {
    /// Puts it together.
    ///
    /// # Errors
    /// A guest is missing, or is no component.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut base = Vec::new();
        for name in PARTS_OF_NEW {
            let guest = read(name)?;
            if base.is_empty() {
                base = guest;
                continue;
            }
            // Code that nothing instantiates is validated and compiled all the same.
            for module in sections(&guest)?.into_iter().filter(|(id, _)| *id == CORE_MODULE) {
                base.extend(section(CORE_MODULE, module.1));
            }
        }
        Ok(Self { base })
    }

    /// New bytes.
    pub(crate) fn bytes(&self, number: u64) -> Vec<u8> {
        let unique = std::process::id();
        let name = format!("bench-{unique}-{number}");
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let content = [&[length], name.as_bytes()].concat();
        [self.base.as_slice(), &section(CUSTOM, &content)].concat()
    }

    pub(crate) fn len(&self) -> usize {
        self.base.len()
    }
}

/// Id and content of each section of a component.
fn sections(component: &[u8]) -> anyhow::Result<Vec<(u8, &[u8])>> {
    ensure!(component.starts_with(b"\0asm"), "not WebAssembly");
    let mut rest = component.get(PREAMBLE_BYTES..).context("cut off")?;
    let mut found = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = leb128(after)?;
        let (content, after) = after.split_at_checked(length).context("a section is cut off")?;
        found.push((*id, content));
        rest = after;
    }
    Ok(found)
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    let mut length = content.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0x7f);
        length >>= 7;
        bytes.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            break;
        }
    }
    bytes.extend(content);
    bytes
}

/// An unsigned number and what follows it.
fn leb128(bytes: &[u8]) -> anyhow::Result<(usize, &[u8])> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    bail!("a number is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_as_they_are_written() {
        let long = vec![7; 300];
        let component =
            [b"\0asm\x0d\0\x01\0".as_slice(), &section(1, &long), &section(0, b"")].concat();
        let found = sections(&component).expect("sections");
        assert_eq!(found, [(1, long.as_slice()), (0, b"".as_slice())]);
        assert!(sections(&component[..40]).is_err());
        assert!(sections(b"(component)").is_err());
    }

    #[test]
    fn bytes_are_new_each_time() {
        let component = NewComponent { base: b"\0asm\x0d\0\x01\0".to_vec() };
        assert_ne!(component.bytes(1), component.bytes(2));
        assert!(sections(&component.bytes(1)).is_ok());
    }
}
