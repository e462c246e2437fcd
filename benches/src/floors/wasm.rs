//! What WebAssembly itself costs: compile, instantiate, call, trap, with Solo's engine settings.
//!
//! Synchronous and without fibers, limits, preemption or messaging: the bare engine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use solo_cell::engine::{RunLimits, compile_engine, run_engine};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, TypedFunc,
};
use wasmtime::{Engine, Store, StoreContextMut};

/// Instances that live at once: what the floor of memory needs.
const INSTANCES_MAX: u32 = 600;

/// The interface of an actor.
const HANDLER: &str = "solo:service/handler@0.1.0";

/// The two engines.
pub(crate) struct Engines {
    compile: Engine,
    run: Engine,
}

/// A `solo:service` component, loaded and linked.
pub(crate) struct Handler {
    engine: Engine,
    pre: InstancePre<()>,
    init: ComponentExportIndex,
    handle_call: ComponentExportIndex,
}

/// What `handle-call` returns.
type Answer = Result<Vec<u8>, String>;

/// An instance that has been started.
pub(crate) struct Live {
    store: Store<()>,
    handle_call: TypedFunc<(Vec<u8>,), (Answer,)>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
enum InitError {
    #[component(name = "retry")]
    Retry(String),
    #[component(name = "permanent")]
    Permanent(String),
}

#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[expect(dead_code, reason = "guests make them")]
#[component(enum)]
#[repr(u8)]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl Engines {
    /// Makes them.
    ///
    /// # Errors
    /// The machine does not give what the pool needs.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let limits = RunLimits { instances: INSTANCES_MAX };
        Ok(Self {
            compile: compile_engine().map_err(told)?,
            run: run_engine(limits).map_err(told)?,
        })
    }

    /// Compiles a component, and throws the result away.
    ///
    /// # Errors
    /// It is not valid.
    pub(crate) fn compile(&self, component: &[u8]) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.compile.precompile_component(component).map_err(told)?;
        Ok(began.elapsed())
    }

    /// Compiles a handler to a file in `directory` and maps that.
    ///
    /// # Errors
    /// It is no handler, or imports more than the log.
    pub(crate) fn load(
        &self,
        component: &[u8],
        name: &str,
        directory: &Path,
    ) -> anyhow::Result<Handler> {
        let path = directory.join(format!("{name}.cwasm"));
        std::fs::write(&path, self.compile.precompile_component(component).map_err(told)?)?;
        self.map(&path).map_err(told)
    }

    /// `path` holds what [`Engines::load`] wrote.
    #[expect(unsafe_code, reason = "compiled code can only be mapped on trust")]
    fn map(&self, path: &Path) -> wasmtime::Result<Handler> {
        // SAFETY: the caller wrote the file just now, by wasmtime's own precompilation, into a
        // directory of this process alone; nothing changes it afterwards.
        let component = unsafe { Component::deserialize_file(&self.run, path) }?;
        let mut linker = Linker::new(&self.run);
        linker
            .instance("solo:service/log@0.1.0")?
            .func_wrap("log", |_: StoreContextMut<'_, ()>, (_, _): (Level, String)| Ok(()))?;
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        let missing = |what| move || wasmtime::format_err!("it has no export {what}");
        let interface = component.get_export_index(None, HANDLER).ok_or_else(missing(HANDLER))?;
        let function =
            |name| component.get_export_index(Some(&interface), name).ok_or_else(missing(name));
        let (init, handle_call) = (function("init")?, function("handle-call")?);
        Ok(Handler { engine: self.run.clone(), pre, init, handle_call })
    }
}

impl Handler {
    /// Instantiates and initializes.
    ///
    /// # Errors
    /// It traps, or refuses to start.
    pub(crate) fn start(&self) -> anyhow::Result<Live> {
        let (live, started) = self.instantiate().map_err(told)?;
        match started {
            Ok(()) => Ok(live),
            Err(InitError::Retry(why) | InitError::Permanent(why)) => bail!("init failed: {why}"),
        }
    }

    fn instantiate(&self) -> wasmtime::Result<(Live, Result<(), InitError>)> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1);
        let instance = self.pre.instantiate(&mut store)?;
        let init = instance.get_typed_func::<(), (_,)>(&mut store, self.init)?;
        let (started,) = init.call(&mut store, ())?;
        let handle_call = instance.get_typed_func(&mut store, self.handle_call)?;
        Ok((Live { store, handle_call }, started))
    }

    /// From nothing to the first answer.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn first_answer(&self, payload: &[u8]) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.start()?.call(payload)?;
        Ok(began.elapsed())
    }

    /// A call that traps, then a new instance to its first answer.
    ///
    /// # Errors
    /// It does not trap, or does not answer afterwards.
    pub(crate) fn trap_and_answer(&self, trap: &[u8], payload: &[u8]) -> anyhow::Result<Duration> {
        let mut live = self.start()?;
        let began = Instant::now();
        if live.call(trap).is_ok() {
            bail!("it did not trap");
        }
        drop(live);
        self.start()?.call(payload)?;
        Ok(began.elapsed())
    }
}

impl Live {
    /// One call.
    ///
    /// # Errors
    /// It traps, or answers with an error.
    pub(crate) fn call(&mut self, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let called = self.handle_call.call(&mut self.store, (payload.to_vec(),));
        let (answer,) = called.map_err(told)?;
        answer.map_err(|why| anyhow!("the guest answered with an error: {why}"))
    }

    /// The time of one of `count` calls.
    ///
    /// # Errors
    /// As [`Live::call`].
    pub(crate) fn calls(&mut self, payload: &[u8], count: u32) -> anyhow::Result<Duration> {
        let began = Instant::now();
        for _ in 0..count {
            self.call(payload)?;
        }
        Ok(began.elapsed() / count.max(1))
    }
}

/// wasmtime's errors are no `std::error::Error`.
fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}
