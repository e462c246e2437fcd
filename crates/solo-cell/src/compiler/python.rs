//! Source text that the language itself reads: its runtime does it, as WebAssembly in this process, and runs none of
//! it.
//!
//! What is read is hostile; the runtime is not, but may be taken over by it: it has the files that were sent, some
//! memory, the clock and random numbers, and nothing else.

use std::path::PathBuf;

use parking_lot::Mutex;
use solo_source::SourceError;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable, ResourceType, Val};
use wasmtime::{Engine, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder, Trap};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::describe::Export;
use crate::runtimes::{self, RuntimeError};
use crate::sent::{self, Sent};

/// Memory of a runtime that reads. The largest packages known take a quarter of it.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// What a service imports and a text that is read does not.
const OTHERS: [&str; 3] = ["solo:service/", "wasi:config/", "wasi:keyvalue/"];

/// What the host keeps for it.
const HANDLES_MAX: usize = 100;

/// What a runtime that reads imports and exports.
#[allow(unsafe_code, missing_debug_implementations, unreachable_pub, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        inline: "package solo:cell;
            world reading {
                import solo:runtime/files@0.1.0;
                export solo:runtime/source@0.1.0;
                export solo:runtime/reader@0.1.0;
            }",
        path: "../../wit/runtime",
    });
}

use bindings::ReadingPre;
use bindings::exports::solo::runtime::reader::{Function, Reading as Read};
use bindings::exports::solo::runtime::source::{Failure, Stage};
use bindings::solo::runtime::files::{Host, Kind};

/// Reads source text.
pub(super) struct Readers {
    engine: Engine,
    /// Where runtimes are.
    directory: Option<PathBuf>,
    /// That of Python, once it was needed.
    python: Mutex<Option<ReadingPre<State>>>,
}

struct State {
    sent: Sent,
    limits: StoreLimits,
    /// No files, no variables, no network.
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Readers {
    pub(super) fn new(engine: Engine, directory: Option<PathBuf>) -> Self {
        Self { engine, directory, python: Mutex::default() }
    }

    /// Checks that there is a runtime, which is wanted later, by another process.
    ///
    /// # Errors
    /// `LANGUAGE_MISSING`.
    pub(super) fn check(&self, language: &str) -> Result<(), SourceError> {
        runtimes::find(&self.engine, self.directory.as_deref(), language).map(drop).map_err(missing)
    }

    /// Reads a service in Python: what can be called, and its files with what the language made of them.
    ///
    /// # Errors
    /// What is wrong with it, with its place; `LANGUAGE_MISSING`.
    pub(super) fn python(
        &self,
        entry: &str,
        sent: Sent,
    ) -> Result<(Vec<Export>, Sent), SourceError> {
        let prepared = self.prepared()?;
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES_MAX).build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let state = State { sent, limits, wasi: WasiCtx::builder().build(), table };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        // A job's time is the kernel's to limit: it ends the process.
        store.set_epoch_deadline(u64::MAX / 2);
        let read = prepared
            .instantiate(&mut store)
            .and_then(|reading| reading.solo_runtime_reader().call_read(&mut store, entry));
        let mut sent = store.into_data().sent;
        let read = read.map_err(|error| gave_up(entry, &error))?;
        let Read { functions, others, compiled } =
            read.map_err(|failure| refusal(failure, &sent))?;
        if functions.is_empty() && !others {
            let error = SourceError::new("NO_EXPORTS", entry, "it has no function to be called");
            let hint = "define one whose name does not begin with _: `def hello(name): return f\"Hello, {name}\"`";
            return Err(SourceError { hint: hint.to_owned(), ..error });
        }
        for (path, bytes) in compiled {
            sent.set_compiled(&path, bytes);
        }
        Ok((functions.into_iter().map(export).collect(), sent))
    }

    fn prepared(&self) -> Result<ReadingPre<State>, SourceError> {
        let mut python = self.python.lock();
        if let Some(prepared) = &*python {
            return Ok(prepared.clone());
        }
        let component = runtimes::map(&self.engine, self.directory.as_deref(), "python");
        let component = component.map_err(missing)?;
        let mut linker: Linker<State> = Linker::new(&self.engine);
        let link = |linker: &mut Linker<State>| {
            bindings::Reading::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
            // Its C library looks at its surroundings, which are empty.
            wasmtime_wasi::p2::add_to_linker_sync(linker)?;
            refuse_others(linker, &component)?;
            ReadingPre::new(linker.instantiate_pre(&component)?)
        };
        let prepared = link(&mut linker).map_err(|error| {
            missing(RuntimeError::Unusable {
                language: "python".to_owned(),
                error: format!("{error:#}"),
            })
        })?;
        Ok(python.insert(prepared).clone())
    }
}

/// Nobody is there to talk to: what services import is a trap.
fn refuse_others(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    for (name, import) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !OTHERS.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (name, export) in interface.exports(&engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    let refused = |_: StoreContextMut<'_, State>, _, _: &[Val], _: &mut [Val]| {
                        Err(wasmtime::Error::msg("source text that is read asks for nothing"))
                    };
                    instance.func_new(name, refused)?;
                }
                ComponentItem::Resource(_) => {
                    instance.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn missing(error: RuntimeError) -> SourceError {
    let hint = "build the runtime with `make runtimes`, or send WebAssembly or a program instead";
    let error = SourceError::new("LANGUAGE_MISSING", "", error.to_string());
    SourceError { hint: hint.to_owned(), ..error }
}

/// The runtime itself ended over it.
fn gave_up(entry: &str, error: &wasmtime::Error) -> SourceError {
    let why = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "it is nested too deeply".to_owned(),
        _ => format!("the language gave up reading it: {}", error.root_cause()),
    };
    SourceError::new("TOO_LARGE", entry, why)
}

fn refusal(failure: Failure, sent: &Sent) -> SourceError {
    let Failure { stage, name, message, file, line, column, .. } = failure;
    let reason = match stage {
        Stage::Import => "IMPORT_NOT_FOUND",
        _ if matches!(name.as_str(), "RecursionError" | "MemoryError") => "TOO_LARGE",
        _ => "SYNTAX_ERROR",
    };
    let text = sent.read(&file).map(String::from_utf8_lossy);
    let excerpt = text.filter(|_| line > 0).map(|text| solo_source::excerpt(&text, line, column));
    let hint = match stage {
        Stage::Import => {
            "send each module that is imported, with its path below the first one, and packages as wheels"
        }
        _ => "",
    };
    SourceError {
        line,
        column,
        excerpt: excerpt.unwrap_or_default(),
        hint: hint.to_owned(),
        ..SourceError::new(reason, &file, format!("{name}: {message}"))
    }
}

fn export(function: Function) -> Export {
    let Function { name, parameters, result, signature } = function;
    Export { name, signature, parameters, result }
}

impl Host for State {
    fn roots(&mut self) -> Vec<String> {
        self.sent.roots().to_vec()
    }

    fn kind_of(&mut self, path: String) -> Kind {
        match self.sent.kind_of(&path) {
            sent::Kind::Nothing => Kind::Nothing,
            sent::Kind::File => Kind::File,
            sent::Kind::Folder => Kind::Folder,
        }
    }

    fn names(&mut self, folder: String) -> Vec<String> {
        self.sent.names(&folder)
    }

    fn read(&mut self, path: String) -> Option<Vec<u8>> {
        self.sent.read(&path).map(<[u8]>::to_vec)
    }

    fn compiled(&mut self, path: String) -> Option<Vec<u8>> {
        self.sent.compiled(&path).map(<[u8]>::to_vec)
    }
}
