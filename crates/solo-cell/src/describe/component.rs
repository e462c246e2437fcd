//! Describes components.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};

use super::imports::is_interface;
use super::{
    COMMAND_INTERFACE, Description, Export, Exports, HANDLER_INTERFACE, Kind, Refusal,
    provides_interface, refuse_long, refuse_unknown,
};
use crate::values::{ResourceNames, function_text, type_text};

/// The export that makes a component a web service, without the patch version.
const WEB_INTERFACE: &str = "wasi:http/incoming-handler@0.2";

/// Describes `component`, which was compiled by `engine`.
///
/// # Errors
/// [`Refusal`] if it is no service, or one that Solo cannot run.
pub(crate) fn describe_component(
    engine: &Engine,
    component: &Component,
) -> Result<Description, Refusal> {
    let ty = component.component_type();
    let mut resources = ResourceNames::default();
    let mut imports = Vec::new();
    let mut unknown = Vec::new();
    for (name, import) in ty.imports(engine) {
        imports.push(name.to_owned());
        let known = match &import.ty {
            ComponentItem::Type(_) => true,
            ComponentItem::ComponentInstance(instance) => {
                name_resources(engine, instance, &mut resources);
                // An interface of types alone needs nobody who provides it.
                provides_interface(name) || !needs_host(engine, instance)
            }
            _ => false,
        };
        if !known {
            unknown.push(name.to_owned());
        }
    }
    refuse_unknown(&unknown)?;
    refuse_long(&imports)?;
    let exports: Vec<_> = ty.exports(engine).collect();
    for (name, export) in &exports {
        match &export.ty {
            ComponentItem::ComponentInstance(instance) => {
                name_resources(engine, instance, &mut resources);
            }
            ComponentItem::Resource(resource) => resources.insert(*resource, name),
            _ => {}
        }
    }
    let kind = kind(engine, exports.iter().map(|(name, export)| (*name, &export.ty)))?;
    let mut list = Exports::default();
    // A program runs once and by itself: nothing of it can be called.
    if kind != Kind::Command {
        for (name, export) in &exports {
            push_export(engine, &mut list, name, &export.ty, &resources)?;
        }
    }
    Ok(Description { kind, core_module: false, exports: list.list, imports })
}

/// The kind. A component may be several things at once; the first of handler, program, typed, web
/// counts, because tools add web exports that nobody asked for.
fn kind<'a>(
    engine: &Engine,
    exports: impl Iterator<Item = (&'a str, &'a ComponentItem)>,
) -> Result<Kind, Refusal> {
    let (mut command, mut web, mut typed) = (false, false, false);
    for (name, item) in exports {
        match item {
            ComponentItem::ComponentFunc(_) => typed = true,
            ComponentItem::ComponentInstance(_) if is_interface(name, HANDLER_INTERFACE) => {
                return Ok(Kind::Handler);
            }
            ComponentItem::ComponentInstance(_) if is_interface(name, COMMAND_INTERFACE) => {
                command = true;
            }
            ComponentItem::ComponentInstance(_) if is_interface(name, WEB_INTERFACE) => web = true,
            ComponentItem::ComponentInstance(instance) => {
                typed |= functions(engine, instance).next().is_some();
            }
            _ => {}
        }
    }
    if command {
        Ok(Kind::Command)
    } else if typed {
        Ok(Kind::Typed)
    } else if web {
        Err(Refusal::Unsupported("web services come with the gateway"))
    } else {
        Err(Refusal::NotAService)
    }
}

fn push_export(
    engine: &Engine,
    exports: &mut Exports,
    name: &str,
    item: &ComponentItem,
    resources: &ResourceNames,
) -> Result<(), Refusal> {
    match item {
        ComponentItem::ComponentFunc(function) => {
            exports.push(export(name.to_owned(), name, function, resources))
        }
        // Only Solo itself calls these.
        ComponentItem::ComponentInstance(_)
            if is_interface(name, HANDLER_INTERFACE) || is_interface(name, WEB_INTERFACE) =>
        {
            Ok(())
        }
        ComponentItem::ComponentInstance(instance) => {
            functions(engine, instance).try_for_each(|(inner, function)| {
                exports.push(export(format!("{name}#{inner}"), &inner, &function, resources))
            })
        }
        _ => Ok(()),
    }
}

fn export(
    name: String,
    short: &str,
    function: &ComponentFunc,
    resources: &ResourceNames,
) -> Export {
    Export {
        name,
        signature: format!("{short}: {}", function_text(function, resources)),
        parameters: function
            .params()
            .map(|(name, ty)| (name.to_owned(), type_text(&ty, resources)))
            .collect(),
        result: function.results().map(|ty| type_text(&ty, resources)).collect(),
    }
}

fn functions<'a>(
    engine: &'a Engine,
    instance: &'a ComponentInstance,
) -> impl Iterator<Item = (String, ComponentFunc)> + 'a {
    instance.exports(engine).filter_map(|(name, export)| match export.ty {
        ComponentItem::ComponentFunc(function) => Some((name.to_owned(), function)),
        _ => None,
    })
}

fn needs_host(engine: &Engine, instance: &ComponentInstance) -> bool {
    instance.exports(engine).any(|(_, export)| !matches!(export.ty, ComponentItem::Type(_)))
}

fn name_resources(engine: &Engine, instance: &ComponentInstance, resources: &mut ResourceNames) {
    for (name, export) in instance.exports(engine) {
        if let ComponentItem::Resource(resource) = export.ty {
            resources.insert(resource, name);
        }
    }
}
