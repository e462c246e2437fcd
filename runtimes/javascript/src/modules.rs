//! The files of a service, found by the paths that its imports name. There is nothing else to import but
//! `solo`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Exception, Module as JsModule, Result};

use crate::exports::solo::runtime::source::Module;

/// What every service can import.
const SOLO: &str = include_str!("prelude/solo.js");

/// What an import may leave out.
const ENDINGS: [&str; 4] = ["", ".js", ".mjs", "/index.js"];

thread_local!(static FILES: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) });

pub(crate) fn put(modules: Vec<Module>) {
    let files = modules.into_iter().map(|module| (module.path, module.text)).collect();
    FILES.with(|place| place.replace(files));
}

pub(crate) fn text(path: &str) -> Option<String> {
    FILES.with(|files| files.borrow().get(path).cloned())
}

fn is_there(path: &str) -> bool {
    FILES.with(|files| files.borrow().contains_key(path))
}

/// Finds and reads them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files;

impl Resolver for Files {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        if name == "solo" {
            return Ok(name.to_owned());
        }
        let found = candidates(base, name).into_iter().find(|path| is_there(path));
        found.ok_or_else(|| {
            let hint = if name.starts_with('.') || name.starts_with('/') {
                "no such file was sent"
            } else {
                "no package of this name was sent; only `solo` is there by itself"
            };
            not_there(ctx, &format!("cannot import \"{name}\" from {base}: {hint}"))
        })
    }
}

impl Loader for Files {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<JsModule<'js, Declared>> {
        if name == "solo" {
            return JsModule::declare(ctx.clone(), name, SOLO);
        }
        let Some(text) = text(name) else {
            return Err(not_there(ctx, &format!("{name} is not there")));
        };
        if name.ends_with(".json") {
            // Read by the engine when the module runs, so that what is wrong in it has a place.
            let quoted = format!("export default JSON.parse({});", quote(&text));
            return JsModule::declare(ctx.clone(), name, quoted);
        }
        JsModule::declare(ctx.clone(), name, text)
    }
}

/// Where an import may lie: beside who imports, or in `node_modules` of a directory above.
fn candidates(base: &str, name: &str) -> Vec<String> {
    let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut roots = Vec::new();
    if name.starts_with("./") || name.starts_with("../") || name == "." || name == ".." {
        roots.extend(join(directory, name));
    } else if let Some(absolute) = name.strip_prefix('/') {
        roots.extend(join("", absolute));
    } else {
        roots.extend(join("node_modules", name));
    }
    let all = roots.iter().flat_map(|root| ENDINGS.map(|ending| format!("{root}{ending}")));
    all.collect()
}

/// `None`: it leads out of what was sent.
fn join(directory: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn not_there(ctx: &Ctx<'_>, message: &str) -> Error {
    let thrown = Exception::from_message(ctx.clone(), message).and_then(|exception| {
        exception.as_object().set("soloStage", "import")?;
        Ok(exception.throw())
    });
    thrown.unwrap_or(Error::Unknown)
}

/// A string of the language.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\u{2028}' => quoted.push_str("\\u2028"),
            '\u{2029}' => quoted.push_str("\\u2029"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
