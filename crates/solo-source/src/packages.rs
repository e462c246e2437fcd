//! Packages of npm that were sent along: where an import leads in them.
//!
//! Follows `exports`, `imports`, `main` and `module` of their `package.json` by the rules of node, with the conditions
//! of a worker. Reads no code.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::resolve::{is_relative, join, resolve};

/// What a manifest chooses by, beside `import` or `require`.
const CONDITIONS: [&str; 3] = ["worker", "browser", "default"];

/// Whether a path was sent.
type IsThere<'a> = &'a dyn Fn(&str) -> bool;

/// Where packages lie.
pub(crate) const FOLDER: &str = "node_modules";

/// The name of a manifest.
pub(crate) const MANIFEST: &str = "package.json";

/// Whether a file is part of a package.
pub(crate) fn is_in_package(path: &str) -> bool {
    path.split('/').any(|part| part == FOLDER)
}

/// The manifests of what was sent, by their directories.
#[derive(Debug, Default)]
pub(crate) struct Packages(HashMap<String, Manifest>);

/// The part of `package.json` that says where imports lead.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Manifest {
    #[serde(default)]
    name: Target,
    #[serde(default)]
    main: Target,
    #[serde(default)]
    module: Target,
    #[serde(default)]
    exports: Target,
    #[serde(default)]
    imports: Target,
}

impl Manifest {
    /// `None`: it is none.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match &self.name {
            Target::Text(name) => Some(name),
            _ => None,
        }
    }
}

impl Packages {
    /// Takes note of a manifest, by the path of its file.
    pub(crate) fn add(&mut self, path: &str, content: &[u8]) {
        let directory = path.strip_suffix(MANIFEST).map(|before| before.trim_end_matches('/'));
        if let (Some(directory), Some(manifest)) = (directory, Manifest::read(content)) {
            self.0.insert(directory.to_owned(), manifest);
        }
    }

    /// The file that `name` means in the file `base`. `required`: by `require`.
    pub(crate) fn resolve(
        &self,
        is_there: IsThere<'_>,
        base: &str,
        name: &str,
        required: bool,
    ) -> Option<String> {
        let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
        if is_relative(name) || name.starts_with('/') {
            let path = join(if is_relative(name) { directory } else { "" }, name)?;
            return resolve(is_there, base, name)
                .or_else(|| self.directory(is_there, &path, required));
        }
        if name.starts_with('#') {
            return self.inner(is_there, directory, name, required);
        }
        let (package, rest) = split(name)?;
        above(directory).find_map(|above| {
            let root = format!("{above}{FOLDER}/{package}");
            self.of_package(is_there, &root, rest, required)
        })
    }

    /// In the package at `root`: `rest` is empty, or `/` and more.
    fn of_package(
        &self,
        is_there: IsThere<'_>,
        root: &str,
        rest: &str,
        required: bool,
    ) -> Option<String> {
        let manifest = self.0.get(root);
        if let Some(Manifest { exports, .. }) = manifest
            && !matches!(exports, Target::Nothing)
        {
            let wanted = format!(".{rest}");
            let path = join(root, &exports.choose_by_key(&wanted, required)?)?;
            return is_there(&path).then_some(path);
        }
        let path = format!("{root}{rest}");
        if rest.is_empty() {
            return self.directory(is_there, &path, required);
        }
        resolve(is_there, "", &format!("/{path}"))
            .or_else(|| self.directory(is_there, &path, required))
    }

    /// What a directory stands for.
    fn directory(&self, is_there: IsThere<'_>, path: &str, required: bool) -> Option<String> {
        let manifest = self.0.get(path);
        let of_manifest = manifest.and_then(|Manifest { main, module, .. }| {
            let module = if required { &Target::Nothing } else { module };
            [module, main].into_iter().find_map(|target| {
                let path = join(path, target.text()?)?;
                resolve(is_there, "", &format!("/{path}"))
            })
        });
        of_manifest.or_else(|| {
            let index = ["index.js", "index.mjs", "index.cjs", "index.json"];
            index.iter().map(|name| format!("{path}/{name}")).find(|path| is_there(path))
        })
    }

    /// `#name`: of the package that the file is in.
    fn inner(
        &self,
        is_there: IsThere<'_>,
        directory: &str,
        name: &str,
        required: bool,
    ) -> Option<String> {
        let (root, manifest) = above(directory).find_map(|above| {
            let root = above.trim_end_matches('/').to_owned();
            self.0.get(&root).map(|manifest| (root, manifest))
        })?;
        let target = manifest.imports.choose_by_key(name, required)?;
        if !is_relative(&target) {
            let base = format!("{root}/{MANIFEST}");
            return self.resolve(is_there, &base, &target, required);
        }
        let path = join(&root, &target)?;
        is_there(&path).then_some(path)
    }
}

/// A directory and those above it, the nearest first, each with a `/` behind it if it has a name.
fn above(directory: &str) -> impl Iterator<Item = String> {
    let mut left = Some(directory);
    std::iter::from_fn(move || {
        let now = left?;
        left = (!now.is_empty()).then(|| now.rsplit_once('/').map_or("", |(before, _)| before));
        Some(if now.is_empty() { String::new() } else { format!("{now}/") })
    })
}

/// `@scope/name/rest` or `name/rest`: the name and, with its `/`, the rest.
fn split(name: &str) -> Option<(&str, &str)> {
    let of_scope = if name.starts_with('@') { name.find('/')? + 1 } else { 0 };
    let end = name[of_scope..].find('/').map_or(name.len(), |end| of_scope + end);
    let (package, rest) = name.split_at(end);
    (!package.is_empty() && !package.contains(':')).then_some((package, rest))
}

/// A name of a package that may be a folder.
pub(crate) fn is_name(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
    };
    name.len() <= 214
        && match parts.as_slice() {
            [name] => plain(name),
            [scope, name] => scope.strip_prefix('@').is_some_and(plain) && plain(name),
            _ => false,
        }
}

/// A value of a manifest; what it chooses by keeps its order.
#[derive(Debug, Default)]
enum Target {
    #[default]
    Nothing,
    Text(String),
    List(Vec<Target>),
    Choice(Vec<(String, Target)>),
}

impl Target {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// By the key of an import: `.`, `./sub`, `#inner`; `*` stands for any part of it.
    fn choose_by_key(&self, wanted: &str, required: bool) -> Option<String> {
        let Self::Choice(entries) = self else {
            return if wanted == "." { self.choose(required) } else { None };
        };
        if !entries.iter().any(|(key, _)| key.starts_with(['.', '#'])) {
            return if wanted == "." { self.choose(required) } else { None };
        }
        if let Some((_, target)) = entries.iter().find(|(key, _)| key == wanted) {
            return target.choose(required);
        }
        let matching = entries.iter().filter_map(|(key, target)| {
            let (before, after) = key.split_once('*')?;
            let star = wanted.strip_prefix(before)?.strip_suffix(after)?;
            (!star.is_empty()).then_some((before.len(), star, target))
        });
        let (_, star, target) = matching.max_by_key(|(before, ..)| *before)?;
        target.choose(required).map(|path| path.replace('*', star))
    }

    /// By conditions.
    fn choose(&self, required: bool) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Text(text) => Some(text.clone()),
            Self::List(targets) => targets.iter().find_map(|target| target.choose(required)),
            Self::Choice(entries) => {
                let way = if required { "require" } else { "import" };
                let holds = |key: &str| key == way || CONDITIONS.contains(&key);
                entries
                    .iter()
                    .filter(|(key, _)| holds(key))
                    .find_map(|(_, target)| target.choose(required))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Target;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_str<E>(self, text: &str) -> Result<Target, E> {
                Ok(Target::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Target, E> {
                Ok(Target::Nothing)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Target, E> {
                Ok(Target::Nothing)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Target, E> {
                Ok(Target::Nothing)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Target, E> {
                Ok(Target::Nothing)
            }

            fn visit_unit<E>(self) -> Result<Target, E> {
                Ok(Target::Nothing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Target, A::Error> {
                let mut targets = Vec::new();
                while let Some(target) = list.next_element()? {
                    targets.push(target);
                }
                Ok(Target::List(targets))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Target, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Target::Choice(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
