//! Precompiled code, loaded once and shared by all instances.
//!
//! Maps the files that the compiler cell wrote, links them against the host functions and finds
//! their exports. It compiles nothing and takes nothing from a guest.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use solo_types::ServiceKind;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Engine, FuncType, Module};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::failure::{Failure, Reason};
use super::host::{self, ComponentState, CoreState, DownIndices, HandlerIndices, SourceIndices};
use super::source::Source;
use crate::clean::clean;
use crate::runtimes::{self, RuntimeError};

/// Artifacts that stay loaded without a user: a service that is deployed again, or restarted by an
/// update, finds its code mapped.
const UNUSED_MAX: usize = 16;

/// Exports that start a module; the cell calls them, not a caller.
const STARTERS: [&str; 2] = ["_start", "_initialize"];

/// One exported function of a component.
#[derive(Debug)]
pub(crate) struct Function {
    /// `INTERFACE#FUNCTION`, or `FUNCTION`.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) index: ComponentExportIndex,
    /// Its type.
    pub(crate) ty: ComponentFunc,
}

/// One exported function of a core module.
#[derive(Debug)]
pub(crate) struct CoreFunction {
    /// How callers and people see it: as the module has it, with what steers a terminal written out.
    pub(crate) name: String,
    /// As the module has it.
    pub(crate) export: String,
    /// Its type.
    pub(crate) ty: FuncType,
}

/// What is in a file of compiled code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A component.
    Component,
    /// A core module.
    Module,
    /// Source text.
    Source,
}

/// Loaded and linked code.
pub(crate) enum Artifact {
    /// A component.
    Component {
        /// Ready to be instantiated.
        pre: InstancePre<ComponentState>,
        /// Every exported function.
        functions: Vec<Function>,
        /// Where the handler's functions are, if it has one.
        handler: Option<HandlerIndices>,
        /// Where the function is that learns of the end of others, if it has one.
        down: Option<DownIndices>,
    },
    /// A core module.
    Core {
        /// Ready to be instantiated.
        pre: wasmtime::InstancePre<CoreState>,
        /// Every function that can be called.
        functions: Vec<CoreFunction>,
    },
    /// An external program: its code is not this cell's to see.
    Process,
    /// Source text.
    Source {
        /// The modules of the service.
        source: Source,
        /// What runs them; one for all services of the language.
        runtime: Arc<Runtime>,
    },
}

/// What runs a language.
pub(crate) struct Runtime {
    /// Ready to be instantiated.
    pub(crate) pre: InstancePre<ComponentState>,
    /// Where its functions are.
    pub(crate) indices: SourceIndices,
}

/// All loaded artifacts.
pub(crate) struct Artifacts {
    engine: Engine,
    components: Linker<ComponentState>,
    modules: wasmtime::Linker<CoreState>,
    /// Where the runtimes of languages are; none: nowhere.
    runtimes: Option<PathBuf>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    by_path: HashMap<PathBuf, Weak<Artifact>>,
    /// By language, for good.
    runtimes: HashMap<String, Arc<Runtime>>,
    /// Used last at the end.
    recent: VecDeque<Arc<Artifact>>,
}

impl Artifacts {
    /// Nothing is loaded; the host functions are linked.
    ///
    /// # Errors
    /// If two host functions have one name (a bug).
    pub(crate) fn new(engine: &Engine, runtimes: Option<PathBuf>) -> wasmtime::Result<Self> {
        Ok(Self {
            engine: engine.clone(),
            components: host::component_linker(engine)?,
            modules: host::core_linker(engine)?,
            runtimes,
            loaded: Mutex::default(),
        })
    }

    /// The artifact at `path`, if it is loaded.
    pub(crate) fn get(&self, path: &Path) -> Option<Arc<Artifact>> {
        self.loaded.lock().get(path)
    }

    /// The artifact at `path`; maps it if it is not loaded. Blocks for the mapping, well under a
    /// millisecond for most.
    ///
    /// # Errors
    /// `ARTIFACT_UNUSABLE` or `UNKNOWN_IMPORT`.
    pub(crate) fn load(&self, path: &Path, form: Form) -> Result<Arc<Artifact>, Failure> {
        // Held meanwhile: a second start of the same service waits for the first one's mapping.
        let mut loaded = self.loaded.lock();
        if let Some(artifact) = loaded.get(path) {
            return Ok(artifact);
        }
        let artifact = Arc::new(match form {
            Form::Component => self.component(path)?,
            Form::Module => self.module(path)?,
            Form::Source => self.source(path, &mut loaded)?,
        });
        loaded.by_path.retain(|_, artifact| artifact.strong_count() > 0);
        loaded.by_path.insert(path.to_owned(), Arc::downgrade(&artifact));
        loaded.touch(&artifact);
        Ok(artifact)
    }

    #[expect(unsafe_code, reason = "compiled code can only be mapped on trust")]
    fn component(&self, path: &Path) -> Result<Artifact, Failure> {
        // SAFETY: the kernel names the path, and only the compiler cell writes such files, by
        // wasmtime's own precompilation; they are complete before they have this name and are never
        // changed afterwards. No guest has a path to them.
        let component = unsafe { Component::deserialize_file(&self.engine, path) };
        let component = component.map_err(|error| unusable(path, &error))?;
        let functions = functions(&self.engine, &component);
        let pre = self.link(&component).map_err(|error| unknown_import(&error))?;
        let handler = HandlerIndices::new(&pre).ok();
        let down = DownIndices::new(&pre).ok();
        Ok(Artifact::Component { pre, functions, handler, down })
    }

    fn link(&self, component: &Component) -> wasmtime::Result<InstancePre<ComponentState>> {
        self.linker(component)?.instantiate_pre(component)
    }

    /// What a component may import, with the drafts that it imports.
    fn linker(&self, component: &Component) -> wasmtime::Result<Cow<'_, Linker<ComponentState>>> {
        let ty = component.component_type();
        let is_draft = |name: &&str| host::is_config(name) || host::is_keyvalue(name);
        let mut drafts = ty.imports(&self.engine).map(|(name, _)| name).filter(is_draft);
        let Some(draft) = drafts.next() else { return Ok(Cow::Borrowed(&self.components)) };
        let mut linker = self.components.clone();
        for draft in std::iter::once(draft).chain(drafts) {
            if host::is_config(draft) {
                host::link_config(&mut linker, draft)?;
            } else {
                host::link_keyvalue(&mut linker, draft)?;
            }
        }
        Ok(Cow::Owned(linker))
    }

    /// Source text, and the runtime of its language. One write of the compiler cell reaches this cell whole.
    fn source(&self, path: &Path, loaded: &mut Loaded) -> Result<Artifact, Failure> {
        let bytes = std::fs::read(path).map_err(|error| {
            let message = format!("failed to read compiled source text: {error}");
            Failure::new(Reason::ArtifactUnusable, message)
        })?;
        let source = Source::read(&bytes)?;
        let language = &source.program.language;
        let runtime = match loaded.runtimes.get(language) {
            Some(runtime) => Arc::clone(runtime),
            None => {
                let runtime = Arc::new(self.runtime(language)?);
                loaded.runtimes.insert(language.clone(), Arc::clone(&runtime));
                runtime
            }
        };
        Ok(Artifact::Source { source, runtime })
    }

    fn runtime(&self, language: &str) -> Result<Runtime, Failure> {
        let component = runtimes::map(&self.engine, self.runtimes.as_deref(), language);
        let component = component.map_err(|error| match &error {
            RuntimeError::Missing { .. } => {
                Failure::new(Reason::LanguageMissing, error.to_string())
            }
            RuntimeError::Unusable { .. } => {
                Failure::new(Reason::ArtifactUnusable, error.to_string())
            }
        })?;
        let unknown = |error: wasmtime::Error| unknown_import(&error);
        let mut linker = self.linker(&component).map_err(unknown)?.into_owned();
        host::link_files(&mut linker).map_err(unknown)?;
        let pre = linker.instantiate_pre(&component).map_err(unknown)?;
        let indices = SourceIndices::new(&pre).map_err(unknown)?;
        Ok(Runtime { pre, indices })
    }

    #[expect(unsafe_code, reason = "compiled code can only be mapped on trust")]
    fn module(&self, path: &Path) -> Result<Artifact, Failure> {
        // SAFETY: as for components.
        let module = unsafe { Module::deserialize_file(&self.engine, path) };
        let module = module.map_err(|error| unusable(path, &error))?;
        let pre = self.modules.instantiate_pre(&module).map_err(|e| unknown_import(&e))?;
        let functions = module
            .exports()
            .filter(|export| !STARTERS.contains(&export.name()))
            .filter_map(|export| {
                let (name, ty) = (export.name(), export.ty());
                let name = (clean(name).into_owned(), name.to_owned());
                ty.func().map(|ty| CoreFunction { name: name.0, export: name.1, ty: ty.clone() })
            })
            .collect();
        Ok(Artifact::Core { pre, functions })
    }
}

impl Loaded {
    fn get(&mut self, path: &Path) -> Option<Arc<Artifact>> {
        let artifact = self.by_path.get(path)?.upgrade()?;
        self.touch(&artifact);
        Some(artifact)
    }

    fn touch(&mut self, artifact: &Arc<Artifact>) {
        self.recent.retain(|recent| !Arc::ptr_eq(recent, artifact));
        self.recent.push_back(Arc::clone(artifact));
        if self.recent.len() > UNUSED_MAX {
            self.recent.pop_front();
        }
    }
}

impl Artifact {
    /// Checks that the code has what its kind promises.
    ///
    /// # Errors
    /// `ARTIFACT_UNUSABLE` with what is missing.
    pub(crate) fn check(&self, kind: ServiceKind) -> Result<(), Failure> {
        let missing = match (self, kind) {
            (Self::Component { pre, .. }, ServiceKind::Handler) => {
                HandlerIndices::new(pre).err().map(|error| format!("{error:#}"))
            }
            (Self::Component { pre, .. }, ServiceKind::Command) => {
                CommandPre::new(pre.clone()).err().map(|error| format!("{error:#}"))
            }
            (Self::Core { pre, .. }, ServiceKind::Command) => pre
                .module()
                .get_export("_start")
                .is_none()
                .then(|| "the module has no export `_start`".to_owned()),
            (Self::Component { .. }, ServiceKind::Typed)
            | (Self::Core { .. }, ServiceKind::Core)
            | (Self::Process, ServiceKind::Process)
            | (Self::Source { .. }, ServiceKind::Source) => None,
            (Self::Process, _) | (_, ServiceKind::Process) => {
                Some("a program and WebAssembly are mixed up".to_owned())
            }
            (Self::Source { .. }, _) | (_, ServiceKind::Source) => {
                Some("source text and WebAssembly are mixed up".to_owned())
            }
            (Self::Component { .. }, ServiceKind::Core)
            | (Self::Core { .. }, ServiceKind::Handler | ServiceKind::Typed) => {
                Some("component and core module are mixed up".to_owned())
            }
        };
        missing.map_or(Ok(()), |message| Err(Failure::new(Reason::ArtifactUnusable, message)))
    }
}

/// Finds a function by its full name, or by its last part when that is unique.
///
/// # Errors
/// `NO_SUCH_FUNCTION` with what exists.
pub(crate) fn find<'a, T>(
    functions: &'a [T],
    name_of: impl Fn(&T) -> &str,
    wanted: &str,
) -> Result<&'a T, Failure> {
    if let Some(function) = functions.iter().find(|function| name_of(function) == wanted) {
        return Ok(function);
    }
    let short = |function: &&T| name_of(function).rsplit('#').next() == Some(wanted);
    let mut matching = functions.iter().filter(short);
    let message = match (matching.next(), matching.next()) {
        (Some(function), None) => return Ok(function),
        (Some(_), Some(_)) => format!("{wanted:?} is the last part of several functions"),
        (None, _) => format!("there is no function {wanted:?}"),
    };
    let names: Vec<&str> = functions.iter().map(name_of).collect();
    let expected = if names.is_empty() {
        "no function: the service exports none".to_owned()
    } else {
        format!("one of: {}", names.join(", "))
    };
    Err(Failure::new(Reason::NoSuchFunction, message).expected(expected))
}

fn functions(engine: &Engine, component: &Component) -> Vec<Function> {
    let mut functions = Vec::new();
    for (name, export) in component.component_type().exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(ty) => {
                if let Some(index) = component.get_export_index(None, name) {
                    functions.push(Function { name: name.to_owned(), index, ty });
                }
            }
            ComponentItem::ComponentInstance(instance) => {
                let Some(parent) = component.get_export_index(None, name) else { continue };
                for (inner, export) in instance.exports(engine) {
                    if let ComponentItem::ComponentFunc(ty) = export.ty
                        && let Some(index) = component.get_export_index(Some(&parent), inner)
                    {
                        functions.push(Function { name: format!("{name}#{inner}"), index, ty });
                    }
                }
            }
            _ => {}
        }
    }
    functions
}

fn unusable(path: &Path, error: &wasmtime::Error) -> Failure {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Failure::new(Reason::ArtifactUnusable, format!("failed to load the artifact {name}: {error:#}"))
}

fn unknown_import(error: &wasmtime::Error) -> Failure {
    Failure::new(Reason::UnknownImport, format!("it imports what is not there: {error:#}"))
}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Component { .. } => "Component",
            Self::Core { .. } => "Core",
            Self::Process => "Process",
            Self::Source { .. } => "Source",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str) -> Result<String, String> {
        let names = ["run", "a:b/c@1.0.0#add", "a:b/c@1.0.0#dup", "a:b/d@1.0.0#dup"];
        find(&names, |name| name, wanted)
            .map(|name| (*name).to_owned())
            .map_err(|failure| failure.expected)
    }

    #[test]
    fn functions_are_found_by_full_or_unique_last_name() {
        assert_eq!(check("run"), Ok("run".into()));
        assert_eq!(check("add"), Ok("a:b/c@1.0.0#add".into()));
        assert_eq!(check("a:b/d@1.0.0#dup"), Ok("a:b/d@1.0.0#dup".into()));
        assert!(check("dup").is_err_and(|expected| expected.contains("a:b/d@1.0.0#dup")));
        assert!(check("nothing").is_err_and(|expected| expected.starts_with("one of: run,")));
    }
}
