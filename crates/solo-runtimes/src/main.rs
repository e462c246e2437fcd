//! `solo-snapshot NAME COMPONENT DIRECTORY`: starts the runtime of a language once, keeps its memory as it is
//! then, and compiles it for this machine: `DIRECTORY/NAME-ENGINE.cwasm`. `--started`: another tool has started
//! it, and it is only compiled.
//!
//! A step of the build, not of Solo: it runs what the project built from its own sources, and nothing of a guest.
//! The runtime may ask the machine for nothing while it is prepared: each import is a trap.

mod state;

use std::path::Path;

use anyhow::{Context as _, bail};
use solo_cell::engine::{compile_engine, engine_digest};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wizer::Wizer;

use state::Started;

/// What a runtime exports to be started.
const PREPARE: &str = "prepare";

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_started = arguments.first().is_some_and(|argument| argument == "--started");
    arguments.drain(..usize::from(is_started));
    let [name, component, directory] = arguments.as_slice() else {
        bail!("usage: solo-snapshot [--started] NAME COMPONENT DIRECTORY");
    };
    let code = std::fs::read(component).with_context(|| format!("failed to read {component}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let engine = compile_engine().map_err(told)?;
    let snapshot = match is_started {
        true => code,
        false => runtime.block_on(snapshot(&engine, &code))?,
    };
    let compiled = engine.precompile_component(&snapshot).map_err(told)?;
    let directory = Path::new(directory);
    std::fs::create_dir_all(directory)?;
    let path = directory.join(format!("{name}-{}.cwasm", engine_digest(&engine)));
    // Cells map the file while it is replaced: they keep the one that they have.
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, &compiled)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .with_context(|| format!("failed to write {}", path.display()))?;
    Ok(())
}

/// The component as it is once `prepare` has run.
async fn snapshot(engine: &Engine, code: &[u8]) -> anyhow::Result<Vec<u8>> {
    let wizer = Wizer::new();
    let (context, instrumented) = wizer.instrument_component(code).map_err(told)?;
    let component = Component::new(engine, &instrumented).map_err(told)?;
    let mut linker: Linker<()> = Linker::new(engine);
    linker.define_unknown_imports_as_traps(&component).map_err(told)?;
    let mut store = Store::new(engine, ());
    // Nobody rings the bell here.
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = linker.instantiate_async(&mut store, &component).await.map_err(told)?;
    let prepare = instance.get_typed_func::<(), ()>(&mut store, PREPARE).map_err(told)?;
    prepare.call_async(&mut store, ()).await.map_err(told)?;
    let mut started = Started { store, instance };
    wizer.snapshot_component(&context, &mut started).await.map_err(told)
}

fn told(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}
