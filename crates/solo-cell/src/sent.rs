//! What was sent, as `solo:runtime/files` shows it to the runtime of a language: a tree of files in memory.
//!
//! Paths are keys and nothing else: none leads out of it.

use std::collections::BTreeMap;
use std::ops::Bound;

use solo_api::cell::v1::SentFile;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Nothing,
    /// A file.
    File,
    /// Files begin with it.
    Folder,
}

/// The files of a service.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    roots: Vec<String>,
    files: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
}

impl Sent {
    /// Of the files of a program.
    pub(crate) fn new(roots: Vec<String>, files: Vec<SentFile>) -> Self {
        let file = |file: SentFile| (file.path, (file.content, file.compiled));
        Self { roots, files: files.into_iter().map(file).collect() }
    }

    /// What the program has.
    pub(crate) fn into_files(self) -> (Vec<String>, Vec<SentFile>) {
        let file = |(path, (content, compiled))| SentFile { path, content, compiled };
        (self.roots, self.files.into_iter().map(file).collect())
    }

    /// Notes what the language made of a file.
    pub(crate) fn set_compiled(&mut self, path: &str, bytes: Vec<u8>) {
        if let Some((_, compiled)) = self.files.get_mut(path) {
            *compiled = bytes;
        }
    }

    /// Folders that modules are looked for in.
    pub(crate) fn roots(&self) -> &[String] {
        &self.roots
    }

    /// What a path leads to.
    pub(crate) fn kind_of(&self, path: &str) -> Kind {
        if self.files.contains_key(path) {
            return Kind::File;
        }
        let inside = inside(path);
        let mut below =
            self.files.range::<str, _>((Bound::Included(inside.as_str()), Bound::Unbounded));
        match below.next() {
            Some((first, _)) if first.starts_with(&inside) => Kind::Folder,
            _ => Kind::Nothing,
        }
    }

    /// Names in a folder, in their order.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let inside = inside(folder);
        let mut names = Vec::new();
        let mut from = inside.clone();
        loop {
            let mut left =
                self.files.range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded));
            let Some(rest) = left.next().and_then(|(path, _)| path.strip_prefix(&inside)) else {
                return names;
            };
            let name = rest.split('/').next().unwrap_or(rest).to_owned();
            // Behind all that is below it: `0` comes after `/`. A file has its end, or `.`, before that.
            from = match rest.len() == name.len() {
                true => format!("{inside}{name}\0"),
                false => format!("{inside}{name}0"),
            };
            names.push(name);
        }
    }

    /// A file as it was sent.
    pub(crate) fn read(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|(content, _)| content.as_slice())
    }

    /// What the language made of it.
    pub(crate) fn compiled(&self, path: &str) -> Option<&[u8]> {
        let compiled = self.files.get(path).map(|(_, compiled)| compiled.as_slice());
        compiled.filter(|compiled| !compiled.is_empty())
    }
}

/// What all paths below a folder begin with.
fn inside(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(paths: &[&str]) -> Sent {
        let file = |path: &&str| SentFile {
            path: (*path).to_owned(),
            content: b"x".to_vec(),
            ..SentFile::default()
        };
        Sent::new(vec![String::new()], paths.iter().map(file).collect())
    }

    #[test]
    fn paths_are_a_tree() {
        let sent = sent(&["a.py", "a/b.py", "a/b/c.py", "a/b/d/e.py", "a-b/f.py", "z.txt"]);
        for (path, kind) in [
            ("", Kind::Folder),
            ("a", Kind::Folder),
            ("a.py", Kind::File),
            ("a/b", Kind::Folder),
            ("a/b/", Kind::Nothing),
            ("b", Kind::Nothing),
            ("..", Kind::Nothing),
            ("/etc/passwd", Kind::Nothing),
        ] {
            assert_eq!(sent.kind_of(path), kind, "{path}");
        }
        let sorted = |folder| {
            let mut names = sent.names(folder);
            names.sort();
            names
        };
        assert_eq!(sorted(""), ["a", "a-b", "a.py", "z.txt"]);
        assert_eq!(sorted("a"), ["b", "b.py"]);
        assert_eq!(sorted("a/b"), ["c.py", "d"]);
        assert_eq!(sorted("nothing"), Vec::<String>::new());
        assert_eq!(sent.read("a/b.py"), Some(b"x".as_slice()));
        assert_eq!(sent.compiled("a/b.py"), None);
    }

    #[test]
    fn a_file_and_a_folder_of_one_name_are_two() {
        // Between them other names have their place.
        let sent = sent(&["a", "a!", "a/b", "a/c", "a0", "b"]);
        assert_eq!(sent.names(""), ["a", "a!", "a", "a0", "b"]);
    }
}
