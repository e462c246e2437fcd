//! The host functions that guests may import, and the state of a store behind them.
//!
//! Everything is linked; what a function gives access to is decided per service, from its grants:
//! no files, no sockets, no HTTP, and of other services only what was granted.

mod children;
mod config;
mod files;
mod http;
mod keyvalue;
mod log;
mod messaging;
mod reference;
mod secrets;
mod timers;
mod wasi;

use std::sync::{Arc, Weak};

use wasmtime::Engine;
use wasmtime::component::{HasSelf, ResourceTable};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::artifact::Artifact;
use super::cell::Cell;
use super::limits::MemoryBudget;
use super::message::{Chain, Down};
use super::monitor::Monitors;
use super::route::Routes;
use super::runner::Parts;
use super::slot::Slot;
use super::storage::Storage;
pub(crate) use bindings::exports::solo::service::handler::InitError;
pub(crate) use bindings::{Service as ServiceBindings, ServiceIndices as HandlerIndices};
pub(super) use config::{is_store as is_config, link as link_config};
pub(crate) use down::exports::solo::service::down_handler::Down as GuestDown;
pub(crate) use down::{Down as DownBindings, DownIndices};
pub(super) use files::link as link_files;
use http::NoHttp;
pub(super) use keyvalue::{is_keyvalue, link as link_keyvalue};
pub(crate) use reference::{Caller, ServiceRef};
pub(crate) use runtime::exports::solo::runtime::source::{
    Down as RuntimeDown, Failure as GuestFailure, Module as GuestModule, Stage as GuestStage,
};
pub(crate) use runtime::{Runtime as SourceBindings, RuntimeIndices as SourceIndices};
use timers::Timers;

/// Handles that the host keeps for one instance (streams, pollables, references, headers): more is a
/// leak, and each costs the host some hundred bytes.
const HANDLES_MAX: usize = 10_000;

/// The world `solo:service/service`, but for `secrets`: generated code would hand values over in buffers
/// that nobody wipes.
#[allow(unsafe_code, missing_debug_implementations, unreachable_pub, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        inline: "package solo:cell;
            world service {
                import solo:service/messaging@0.1.0;
                import solo:service/functions@0.1.0;
                import solo:service/context@0.1.0;
                import solo:service/log@0.1.0;
                import solo:service/timers@0.1.0;
                import solo:service/children@0.1.0;
                export solo:service/handler@0.1.0;
            }",
        path: "../../wit/solo-service.wit",
        imports: {
            "solo:service/messaging.[method]service-ref.call": async | trappable,
            "solo:service/messaging.[method]service-ref.call-with": async | trappable,
            "solo:service/functions.call": async | trappable,
            "solo:service/children.[method]group.spawn": async | trappable,
            "solo:service/children.[method]group.stop": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "solo:service/messaging.service-ref": super::reference::ServiceRef,
            "solo:service/children.group": super::children::Group,
        },
    });
}

/// What a component exports beside that world if it watches others.
#[allow(unsafe_code, missing_debug_implementations, unreachable_pub, reason = "generated")]
mod down {
    wasmtime::component::bindgen!({
        inline: "package solo:cell; world down { export solo:service/down-handler@0.1.0; }",
        path: "../../wit/solo-service.wit",
        exports: { default: async },
    });
}

/// What a cell and the runtime of a language say to each other.
#[allow(unsafe_code, missing_debug_implementations, unreachable_pub, reason = "generated")]
mod runtime {
    wasmtime::component::bindgen!({
        inline: "package solo:cell; world runtime { export solo:runtime/source@0.1.0; }",
        path: "../../wit/runtime",
        exports: { default: async },
    });
}

/// The state of a store that runs a component.
pub(crate) struct ComponentState {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    no_http: NoHttp,
    timers: Timers,
    routes: Arc<Routes>,
    cell: Weak<Cell>,
    slot: Arc<Slot>,
    storage: Arc<Storage>,
    artifact: Arc<Artifact>,
    is_ending: bool,
    /// It exports what learns of the end of others.
    pub(crate) watches: bool,
    /// Its watches on others.
    pub(crate) monitors: Monitors,
    /// Of the message that is being handled.
    pub(crate) chain: Chain,
    /// What came with it and was not taken yet.
    pub(crate) received: Vec<ServiceRef>,
    /// Of this store.
    pub(crate) budget: MemoryBudget,
}

/// The state of a store that runs a core module.
pub(crate) struct CoreState {
    p1: WasiP1Ctx,
    /// Of this store.
    pub(crate) budget: MemoryBudget,
}

impl ComponentState {
    /// The state of one incarnation.
    pub(crate) fn new(parts: &Parts) -> Self {
        let Parts { slot, routes, cell, storage, artifact, incarnation, .. } = parts;
        let incarnation = *incarnation;
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self {
            wasi: wasi::context(slot).build(),
            table,
            http: WasiHttpCtx::new(),
            no_http: NoHttp::new(Arc::clone(&slot.logger)),
            timers: Timers::new(Arc::clone(slot), incarnation),
            routes: Arc::clone(routes),
            cell: Weak::clone(cell),
            slot: Arc::clone(slot),
            storage: Arc::clone(storage),
            artifact: Arc::clone(artifact),
            is_ending: false,
            watches: false,
            monitors: Monitors::new(Arc::clone(slot), incarnation),
            chain: Chain::NONE,
            received: Vec::new(),
            budget: MemoryBudget::new(Arc::clone(slot)),
        }
    }

    /// `terminate` comes next.
    pub(crate) fn begin_end(&mut self) {
        self.is_ending = true;
        self.chain = Chain::NONE;
    }
}

/// The end of an instance as a guest is told.
pub(crate) fn guest_down(down: Down) -> GuestDown {
    let (reason, message) = match down.exit {
        Some(exit) => (exit.reason.as_str(), exit.message),
        None => ("no_instance", "there was no instance when the watch began".to_owned()),
    };
    GuestDown {
        monitor: down.monitor,
        service: down.service,
        instance: down.instance,
        reason: reason.to_owned(),
        message,
        restarts: down.restarts,
    }
}

/// The same, as the runtime of a language is told.
pub(crate) fn runtime_down(down: Down) -> RuntimeDown {
    let GuestDown { monitor, service, instance, reason, message, restarts } = guest_down(down);
    RuntimeDown { monitor, service, instance, reason, message, restarts }
}

impl CoreState {
    /// The state of one incarnation of `slot`.
    pub(crate) fn new(slot: &Arc<Slot>) -> Self {
        Self { p1: wasi::context(slot).build_p1(), budget: MemoryBudget::new(Arc::clone(slot)) }
    }
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.no_http, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Links everything that a component may import, except the drafts of `wasi:config` and `wasi:keyvalue`,
/// which are linked by name where they are imported.
///
/// # Errors
/// If two functions have one name (a bug).
pub(crate) fn component_linker(
    engine: &Engine,
) -> wasmtime::Result<wasmtime::component::Linker<ComponentState>> {
    let mut linker = wasmtime::component::Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    ServiceBindings::add_to_linker::<_, HasSelf<ComponentState>>(&mut linker, |state| state)?;
    secrets::link(&mut linker)?;
    Ok(linker)
}

/// Links what a core module may import: WASI preview 1.
///
/// # Errors
/// If two functions have one name (a bug).
pub(crate) fn core_linker(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<CoreState>> {
    let mut linker = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut CoreState| &mut state.p1)?;
    Ok(linker)
}
