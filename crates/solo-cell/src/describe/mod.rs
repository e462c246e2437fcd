//! What a compiled component or module is: its kind, what can be called, what it needs.
//!
//! Reads types only. Decides nothing about what a service may reach: an import that Solo provides
//! is let through here, and granted or denied where the instance is made.

mod component;
mod imports;
mod module;

#[cfg(test)]
mod tests;

pub(crate) use component::describe_component;
pub(crate) use imports::{keyvalue_interface, provides_interface, provides_module};
pub(crate) use module::describe_module;

/// Room for all texts of a description. A client takes messages of 4 MiB; a real interface has a
/// few kilobytes.
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 1 << 20;

/// Imports that are named in a message.
const NAMED_IMPORTS_MAX: usize = 20;

/// The export that makes a component an actor, without the patch version.
pub(crate) const HANDLER_INTERFACE: &str = "solo:service/handler@0.1";

/// The export that makes a component a program, without the patch version.
pub(crate) const COMMAND_INTERFACE: &str = "wasi:cli/run@0.2";

/// What code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A component that exports `solo:service/handler`: an actor.
    Handler,
    /// A component with functions of its own.
    Typed,
    /// A program: a component that exports `wasi:cli/run`, or a module with `_start`.
    Command,
    /// A core module with functions.
    Core,
    /// Source text.
    Source,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// What it is.
    pub(crate) kind: Kind,
    /// True: a core module, not a component.
    pub(crate) core_module: bool,
    /// What can be called by name, in the order of declaration; empty for a program. The handler's
    /// own functions are not among them: a call to the service is a call to the handler.
    pub(crate) exports: Vec<Export>,
    /// Names of the interfaces and functions that it imports.
    pub(crate) imports: Vec<String>,
}

/// A function that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    /// `FUNCTION` or `INTERFACE#FUNCTION`.
    pub(crate) name: String,
    /// `add: func(a: s32, b: s32) -> s32`.
    pub(crate) signature: String,
    /// Name and WIT type.
    pub(crate) parameters: Vec<(String, String)>,
    /// WIT type; empty: none.
    pub(crate) result: String,
}

/// Why code cannot be a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It imports something that Solo does not have.
    #[error("Solo does not provide what it imports: {0}")]
    UnknownImport(String),
    /// Nothing can be called.
    #[error(
        "it exports nothing that can be called: export a function, `solo:service/handler` or `wasi:cli/run`"
    )]
    NotAService,
    /// It is a kind of service that is not built yet.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Its types do not fit into a description.
    #[error(
        "its interface is too large: the types of its functions have more than {0} bytes as text"
    )]
    TooLarge(usize),
}

/// Collects exports within the bound of a description.
#[derive(Default)]
struct Exports {
    list: Vec<Export>,
    bytes: usize,
}

impl Exports {
    fn push(&mut self, export: Export) -> Result<(), Refusal> {
        let parameters: usize =
            export.parameters.iter().map(|(name, ty)| name.len() + ty.len()).sum();
        // 16 bytes for what the wire adds.
        self.bytes +=
            export.name.len() + export.signature.len() + parameters + export.result.len() + 16;
        if self.bytes > DESCRIPTION_BYTES_MAX {
            return Err(Refusal::TooLarge(DESCRIPTION_BYTES_MAX));
        }
        self.list.push(export);
        Ok(())
    }
}

/// Refuses if there is any unknown import; names them all, up to a bound.
fn refuse_unknown(unknown: &[String]) -> Result<(), Refusal> {
    if unknown.is_empty() {
        return Ok(());
    }
    let mut text = unknown[..unknown.len().min(NAMED_IMPORTS_MAX)].join(", ");
    if unknown.len() > NAMED_IMPORTS_MAX {
        text.push_str(&format!(" and {} more", unknown.len() - NAMED_IMPORTS_MAX));
    }
    Err(Refusal::UnknownImport(text))
}

/// Refuses imports whose names do not fit into a description.
fn refuse_long(imports: &[String]) -> Result<(), Refusal> {
    let bytes: usize = imports.iter().map(|name| name.len() + 16).sum();
    if bytes > DESCRIPTION_BYTES_MAX {
        Err(Refusal::TooLarge(DESCRIPTION_BYTES_MAX))
    } else {
        Ok(())
    }
}
