//! Programs: `wasi:cli/command` components and core modules with `_start`. They run to completion.

use wasmtime::{Store, TypedFunc};
use wasmtime_wasi::p2::bindings::{Command, CommandPre};

use super::super::artifact::Artifact;
use super::super::failure::Fault;
use super::super::host::{ComponentState, CoreState};
use super::{Parts, bound};

/// A program that is about to run.
pub(crate) enum Program {
    /// A component.
    Component {
        /// Its exports.
        command: Command,
        /// Its store.
        store: Store<ComponentState>,
    },
    /// A core module.
    Module {
        /// Its `_start`.
        start: TypedFunc<(), ()>,
        /// Its store.
        store: Store<CoreState>,
    },
}

impl Program {
    pub(super) async fn start(parts: Parts) -> Result<Self, Fault> {
        let state = ComponentState::new(&parts);
        let Parts { engine, actors, artifact, slot, .. } = parts;
        let fault = |error: wasmtime::Error| Fault::from_error(&error);
        match &*artifact {
            Artifact::Component { pre, .. } => {
                let mut store = Store::new(&engine, state);
                store.limiter(|state| &mut state.budget);
                bound(&mut store, &actors);
                let command = CommandPre::new(pre.clone()).map_err(fault)?;
                let command = command.instantiate_async(&mut store).await.map_err(fault)?;
                store.data_mut().budget.started();
                Ok(Self::Component { command, store })
            }
            Artifact::Core { pre, .. } => {
                let mut store = Store::new(&engine, CoreState::new(&slot));
                store.limiter(|state| &mut state.budget);
                bound(&mut store, &actors);
                let instance = pre.instantiate_async(&mut store).await.map_err(fault)?;
                store.data_mut().budget.started();
                let start = instance.get_typed_func(&mut store, "_start").map_err(fault)?;
                Ok(Self::Module { start, store })
            }
            Artifact::Process | Artifact::Source { .. } => {
                Err(Fault::unusable("a program and WebAssembly are mixed up"))
            }
        }
    }

    /// Runs it; answers how it ended.
    pub(crate) async fn run(self) -> Fault {
        let ended = match self {
            Self::Component { command, mut store } => {
                match command.wasi_cli_run().call_run(&mut store).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(())) => return Fault::exit_code(1),
                    Err(error) => Err(error),
                }
            }
            Self::Module { start, mut store } => start.call_async(&mut store, ()).await,
        };
        match ended {
            Ok(()) => Fault::normal(),
            Err(error) => Fault::from_error(&error),
        }
    }
}
