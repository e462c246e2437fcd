//! Describes core modules.

use wasmtime::{ExternType, Module};

use super::{
    Description, Export, Exports, Kind, Refusal, provides_module, refuse_long, refuse_unknown,
};
use crate::clean::clean;
use crate::values::{core_function_text, core_parameters, core_result_text};

/// The export that makes a module a program.
const START: &str = "_start";

/// Runs before anything else in a module that is a library; not for callers.
const INITIALIZE: &str = "_initialize";

/// Describes a core module.
///
/// # Errors
/// [`Refusal`] if it is no service, or one that Solo cannot run.
pub(crate) fn describe_module(module: &Module) -> Result<Description, Refusal> {
    let mut imports = Vec::new();
    let mut unknown = Vec::new();
    for import in module.imports() {
        let name = clean(&format!("{}#{}", import.module(), import.name())).into_owned();
        let function = matches!(import.ty(), ExternType::Func(_));
        if !(function && provides_module(import.module(), import.name())) {
            unknown.push(name.clone());
        }
        imports.push(name);
    }
    refuse_unknown(&unknown)?;
    refuse_long(&imports)?;
    let mut exports = Exports::default();
    let mut command = false;
    for export in module.exports() {
        let ExternType::Func(ty) = export.ty() else { continue };
        // People read it, and callers write it; a module may put anything in it.
        let name = &*clean(export.name());
        command |= name == START && ty.params().len() == 0 && ty.results().len() == 0;
        if name != INITIALIZE {
            exports.push(Export {
                name: name.to_owned(),
                signature: format!("{name}: {}", core_function_text(&ty)),
                parameters: core_parameters(&ty).map(|(name, ty)| (name, ty.to_string())).collect(),
                result: core_result_text(&ty),
            })?;
        }
    }
    let (kind, list) = match (command, exports.list) {
        (true, _) => (Kind::Command, Vec::new()),
        (false, list) if list.is_empty() => return Err(Refusal::NotAService),
        (false, list) => (Kind::Core, list),
    };
    Ok(Description { kind, core_module: true, exports: list, imports })
}
