//! Entries of a sandbox's root, between the sandbox's form and the wire's.

use std::path::{Path, PathBuf};

use solo_sandbox::{Access, Entry};

use super::messages::{self, entry::What};

/// The form for the wire. `None` if a path is no text.
#[must_use]
pub fn entry_message(entry: &Entry) -> Option<messages::Entry> {
    let text = |path: &Path| path.to_str().map(str::to_owned);
    let what = match entry {
        Entry::Bind { from, access, .. } => {
            let access = match access {
                Access::Read => messages::Access::Read,
                Access::Execute => messages::Access::Execute,
                Access::Write => messages::Access::Write,
                Access::Device => messages::Access::Device,
            };
            What::Bind(messages::Bind { from: text(from)?, access: access.into() })
        }
        Entry::Scratch { bytes, .. } => What::Scratch(messages::Scratch { size_bytes: *bytes }),
        Entry::File { text, .. } => What::File(messages::File { text: text.clone() }),
        Entry::Link { to, .. } => What::Link(messages::Link { to: text(to)? }),
        Entry::Directory { .. } => What::Directory(messages::Directory {}),
        Entry::Processes { .. } => What::Processes(messages::Processes {}),
    };
    Some(messages::Entry { at: text(entry.at())?, what: Some(what) })
}

/// The form of the sandbox, which checks the paths. `None` if this version does not know it.
pub(crate) fn read_entry(entry: messages::Entry) -> Option<Entry> {
    let at = PathBuf::from(entry.at);
    Some(match entry.what? {
        What::Bind(bind) => {
            let access = match bind.access() {
                messages::Access::Unspecified => return None,
                messages::Access::Read => Access::Read,
                messages::Access::Execute => Access::Execute,
                messages::Access::Write => Access::Write,
                messages::Access::Device => Access::Device,
            };
            Entry::Bind { from: bind.from.into(), at, access }
        }
        What::Scratch(scratch) => Entry::Scratch { at, bytes: scratch.size_bytes },
        What::File(file) => Entry::File { at, text: file.text },
        What::Link(link) => Entry::Link { at, to: link.to.into() },
        What::Directory(_) => Entry::Directory { at },
        What::Processes(_) => Entry::Processes { at },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use solo_sandbox::{Identity, common_entries};

    #[test]
    fn entries_come_back_as_they_went() {
        let mut entries = common_entries(Identity::default(), 1 << 20);
        entries.push(Entry::Directory { at: "/mnt".into() });
        for access in [Access::Read, Access::Execute, Access::Write] {
            entries.push(Entry::Bind { from: "/a".into(), at: "/b".into(), access });
        }
        for entry in entries {
            let message = entry_message(&entry).expect("text");
            assert_eq!(read_entry(message), Some(entry));
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert_eq!(read_entry(messages::Entry::default()), None);
        let bind = messages::Bind { from: "/a".into(), access: 77 };
        let entry = messages::Entry { at: "/a".into(), what: Some(What::Bind(bind)) };
        assert_eq!(read_entry(entry), None);
    }
}
