//! The files of a service, found by the paths that its imports name. There is nothing else to import but
//! `solo`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rquickjs::context::EvalOptions;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Exception, Module as JsModule, Result, Value};

use crate::engine;
use crate::exports::solo::runtime::source::Module;
use crate::resolve::{resolve, why_missing};

/// What every service can import.
const SOLO: &str = include_str!("prelude/solo.js");

thread_local!(static FILES: RefCell<BTreeMap<String, Module>> = const { RefCell::new(BTreeMap::new()) });

pub(crate) fn put(modules: Vec<Module>) {
    let files = modules.into_iter().map(|module| (module.path.clone(), module)).collect();
    FILES.with(|place| place.replace(files));
}

/// Works with a file, if it is there.
fn file<T>(path: &str, work: impl FnOnce(&Module) -> T) -> Option<T> {
    FILES.with(|files| files.borrow().get(path).map(work))
}

pub(crate) fn is_there(path: &str) -> bool {
    file(path, |_| ()).is_some()
}

/// Where a name leads that a file has.
fn find(base: &str, name: &str) -> Option<String> {
    let of_package = file(base, |module| {
        let mut imports = module.imports.iter();
        imports.find(|(import, _)| import == name).map(|(_, path)| path.clone())
    });
    of_package.flatten().or_else(|| resolve(is_there, base, name))
}

/// For `require`: the path, or an error of the language.
pub(crate) fn required<'js>(ctx: Ctx<'js>, base: String, name: String) -> Result<String> {
    if name == "solo" {
        return Ok(name);
    }
    find(&base, &name).ok_or_else(|| missing(&ctx, &base, &name))
}

/// What a file is to `require`: `commonjs`, `json` or `module`.
pub(crate) fn form(path: String) -> &'static str {
    let form = |module: &Module| match (module.legacy, module.path.ends_with(".json")) {
        (true, _) => "commonjs",
        (false, true) => "json",
        (false, false) => "module",
    };
    file(&path, form).unwrap_or("module")
}

/// The text of a file, for `require` of JSON.
pub(crate) fn text(path: String) -> Option<String> {
    file(&path, |module| module.text.clone())
}

/// A script of CommonJS as a function of what it is given, with its own name and lines.
pub(crate) fn script<'js>(ctx: Ctx<'js>, path: String) -> Result<Value<'js>> {
    let text = text(path.clone()).unwrap_or_default();
    // A first line that names an interpreter is none of the language.
    let text = if text.starts_with("#!") { format!("//{text}") } else { text };
    let given = "exports, require, module, __filename, __dirname";
    let wrapped = format!("(function ({given}) {{{text}\n}})");
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(path);
    ctx.eval_with_options(wrapped, options)
}

/// A module of the language for `require`: it must not wait for anything.
pub(crate) fn namespace<'js>(ctx: Ctx<'js>, path: String) -> Result<Value<'js>> {
    // From the top: there is no file that imports it.
    let from_top = format!("/{path}");
    let is_own = OWN.iter().any(|(own, _)| *own == path);
    let promise = JsModule::import(&ctx, if is_own { path.as_str() } else { from_top.as_str() })?;
    promise.finish()
}

/// For modules that stand for scripts of CommonJS.
const COMMONJS: &str = "export const require = globalThis[Symbol.for('solo')].require;";

/// What is there by itself.
const OWN: [(&str, &str); 2] = [("solo:commonjs", COMMONJS), ("solo", SOLO)];

/// Runs the modules that are there by themselves, once, before anything of a service: what they are given nobody
/// else sees.
pub(crate) fn prepare(ctx: &Ctx<'_>) -> Result<()> {
    for (name, text) in OWN {
        let (_, running) = JsModule::declare(ctx.clone(), name, text)?.eval()?;
        running.finish::<()>()?;
    }
    Ok(())
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
        if OWN.iter().any(|(own, _)| *own == name) {
            return Ok(name.to_owned());
        }
        find(base, name).ok_or_else(|| missing(ctx, base, name))
    }
}

impl Loader for Files {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<JsModule<'js, Declared>> {
        declare(ctx, name)
    }
}

/// Declares a file as a module of the language, whatever it is.
pub(crate) fn declare<'js>(ctx: &Ctx<'js>, path: &str) -> Result<JsModule<'js, Declared>> {
    let text = match form(path.to_owned()) {
        // Read by the engine when the module runs, so that what is wrong in it has a place.
        "json" => {
            let text = text(path.to_owned()).unwrap_or_default();
            format!("export default JSON.parse({});", quote(&text))
        }
        // It runs now: its names are known when it has run.
        "commonjs" => engine::names_of(ctx, path)?,
        _ => text(path.to_owned()).unwrap_or_default(),
    };
    JsModule::declare(ctx.clone(), path, text)
}

fn missing(ctx: &Ctx<'_>, base: &str, name: &str) -> Error {
    not_there(ctx, &format!("cannot import \"{name}\" from {base}: {}", why_missing(name)))
}

fn not_there(ctx: &Ctx<'_>, message: &str) -> Error {
    let thrown = Exception::from_message(ctx.clone(), message).and_then(|exception| {
        exception.as_object().set("soloStage", "import")?;
        Ok(exception.throw())
    });
    thrown.unwrap_or(Error::Unknown)
}

/// A string of the language.
pub(crate) fn quote(text: &str) -> String {
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
