//! What WebAssembly itself costs: compile, instantiate, call, trap, with Solo's engine settings.
//!
//! Synchronous and without fibers, limits, preemption or messaging: the bare engine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use solo_cell::engine::{RunLimits, compile_engine, run_engine};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Instance, InstancePre, Lift, Linker, TypedFunc,
};
use wasmtime::{Engine, Store, StoreContextMut};

use super::pair::{Pair, Way};

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
    exports: Exports,
}

/// Where a component has the functions of an actor.
#[derive(Clone, Copy)]
pub(super) struct Exports {
    pub(super) init: ComponentExportIndex,
    pub(super) handle_call: ComponentExportIndex,
    handle_cast: ComponentExportIndex,
}

/// What `handle-call` returns.
type Answer = Result<Vec<u8>, String>;

/// `handle-call` of an instance.
pub(super) type HandleCall = TypedFunc<(Vec<u8>,), (Answer,)>;

/// An instance that has been started.
pub(crate) struct Live {
    store: Store<()>,
    instance: Instance,
    handle_call: HandleCall,
}

/// `handle-cast` of an instance: looked up by those who need it only, so that it is in no figure of a
/// start.
pub(super) type HandleCast = TypedFunc<(Vec<u8>,), ()>;

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(super) enum InitError {
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
        self.map(&path).and_then(|component| self.link(&component)).map_err(told)
    }

    /// Two stores with an actor each, the first of which reaches the second: see [`Pair`].
    ///
    /// # Errors
    /// As [`Engines::load`], or one of them does not start.
    pub(crate) fn pair(
        &self,
        component: &[u8],
        directory: &Path,
        way: Way,
    ) -> anyhow::Result<Pair> {
        let callee = self.load(component, "pair", directory)?;
        let component = self.map(&directory.join("pair.cwasm")).map_err(told)?;
        Pair::start(&self.run, &component, &callee, way).map_err(told)
    }

    /// `path` holds what [`Engines::load`] wrote.
    #[expect(unsafe_code, reason = "compiled code can only be mapped on trust")]
    fn map(&self, path: &Path) -> wasmtime::Result<Component> {
        // SAFETY: the caller wrote the file just now, by wasmtime's own precompilation, into a
        // directory of this process alone; nothing changes it afterwards.
        unsafe { Component::deserialize_file(&self.run, path) }
    }

    fn link(&self, component: &Component) -> wasmtime::Result<Handler> {
        let mut linker = Linker::new(&self.run);
        linker
            .instance("solo:service/log@0.1.0")?
            .func_wrap("log", |_: StoreContextMut<'_, ()>, (_, _): (Level, String)| Ok(()))?;
        linker.define_unknown_imports_as_traps(component)?;
        let pre = linker.instantiate_pre(component)?;
        Ok(Handler { engine: self.run.clone(), pre, exports: Exports::of(component)? })
    }
}

impl Exports {
    pub(super) fn of(component: &Component) -> wasmtime::Result<Self> {
        let missing = |what| move || wasmtime::format_err!("it has no export {what}");
        let interface = component.get_export_index(None, HANDLER).ok_or_else(missing(HANDLER))?;
        let function =
            |name| component.get_export_index(Some(&interface), name).ok_or_else(missing(name));
        Ok(Self {
            init: function("init")?,
            handle_call: function("handle-call")?,
            handle_cast: function("handle-cast")?,
        })
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
        let init = instance.get_typed_func::<(), (_,)>(&mut store, self.exports.init)?;
        let (started,) = init.call(&mut store, ())?;
        let handle_call = instance.get_typed_func(&mut store, self.exports.handle_call)?;
        Ok((Live { store, instance, handle_call }, started))
    }

    /// `handle-cast` of an instance of this component.
    pub(super) fn cast_of(&self, live: &mut Live) -> wasmtime::Result<HandleCast> {
        live.instance.get_typed_func(&mut live.store, self.exports.handle_cast)
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

    /// The same for who wants wasmtime's errors; an error of the guest is one.
    pub(super) fn answer(&mut self, payload: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        let (answer,) = self.handle_call.call(&mut self.store, (payload,))?;
        answer.map_err(wasmtime::Error::msg)
    }

    /// The same on a fiber.
    pub(super) async fn answer_async(&mut self, payload: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        let (answer,) = self.handle_call.call_async(&mut self.store, (payload,)).await?;
        answer.map_err(wasmtime::Error::msg)
    }

    /// Hands one message to `function`, which is this instance's.
    pub(super) fn cast(&mut self, function: &HandleCast, payload: Vec<u8>) -> wasmtime::Result<()> {
        function.call(&mut self.store, (payload,))
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
pub(super) fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}
