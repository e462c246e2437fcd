//! The files of a service, found by the paths that its imports name. There is nothing else to import but
//! `solo`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Exception, Module as JsModule, Result};

use crate::exports::solo::runtime::source::Module;
use crate::resolve::{resolve, why_missing};

/// What every service can import.
const SOLO: &str = include_str!("prelude/solo.js");

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

/// Runs the module `solo`, once, before anything of a service: what it is given nobody else sees.
pub(crate) fn prepare(ctx: &Ctx<'_>) -> Result<()> {
    let (_, running) = JsModule::declare(ctx.clone(), "solo", SOLO)?.eval()?;
    running.finish()
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
        resolve(is_there, base, name).ok_or_else(|| {
            not_there(ctx, &format!("cannot import \"{name}\" from {base}: {}", why_missing(name)))
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
