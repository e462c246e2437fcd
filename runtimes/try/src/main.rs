use std::time::Instant;
use anyhow::{Result, anyhow};
use wasmtime::component::{Component, Linker, ResourceTable, HasSelf};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
wasmtime::component::bindgen!({
    inline: "package a:b; world w { import solo:service/log@0.1.0; import solo:service/timers@0.1.0; export solo:runtime/source@0.1.0; export prepare: func(); }",
    path: ["../../wit/solo-service.wit", "../../wit/runtime/solo-runtime.wit"],
    imports: { default: trappable }, exports: { default: async },
});
use exports::solo::runtime::source::{Module, Failure};
struct St { t: ResourceTable, w: WasiCtx }
impl WasiView for St { fn ctx(&mut self) -> WasiCtxView<'_> { WasiCtxView { ctx: &mut self.w, table: &mut self.t } } }
impl solo::service::log::Host for St { fn log(&mut self, l: solo::service::log::Level, m: String) -> wasmtime::Result<()> { println!("  [{l:?}] {m}"); Ok(()) } }
impl solo::service::timers::Host for St {
    fn send_after(&mut self, ms: u64, p: Vec<u8>) -> wasmtime::Result<std::result::Result<u64, String>> { println!("  [timer {ms} ms {}]", String::from_utf8_lossy(&p)); Ok(Ok(1)) }
    fn cancel(&mut self, _: u64) -> wasmtime::Result<bool> { Ok(true) }
}
fn st() -> St { St { t: ResourceTable::new(), w: WasiCtxBuilder::new().inherit_stderr().build() } }
fn linker(e: &Engine, c: &Component) -> Result<Linker<St>> {
    let mut l = Linker::new(e);
    wasmtime_wasi::p2::add_to_linker_async(&mut l).map_err(|e| anyhow!("{e:?}"))?;
    solo::service::log::add_to_linker::<_, HasSelf<St>>(&mut l, |s| s).map_err(|e| anyhow!("{e:?}"))?;
    solo::service::timers::add_to_linker::<_, HasSelf<St>>(&mut l, |s| s).map_err(|e| anyhow!("{e:?}"))?;
    use wasmtime::component::types::ComponentItem as I;
    struct R;
    for (name, item) in c.component_type().imports(e) {
        let ours = ["solo:service/messaging", "solo:service/context", "solo:service/secrets", "wasi:keyvalue", "wasi:config"];
        if !ours.iter().any(|o| name.starts_with(o)) { continue }
        let I::ComponentInstance(i) = item.ty else { continue };
        let mut inst = l.instance(name).map_err(|e| anyhow!("{e:?}"))?;
        for (n, it) in i.exports(e) {
            match it.ty {
                I::Resource(_) => { let _ = inst.resource(n, wasmtime::component::ResourceType::host::<R>(), |_, _| Ok(())); }
                I::ComponentFunc(_) => { let nn = n.to_owned(); inst.func_new(n, move |_, _, _, _| Err(wasmtime::Error::msg(format!("{nn} is a stub")))).map_err(|e| anyhow!("{e:?}"))?; }
                _ => {}
            }
        }
    }
    Ok(l)
}
fn show(f: &Failure) -> String { format!("{:?} {}: {} at {}:{}:{}\n{}", f.stage, f.name, f.message, f.file, f.line, f.column, f.stack) }
#[tokio::main]
async fn main() -> Result<()> {
    let a: Vec<String> = std::env::args().collect();
    let core = std::fs::read(&a[1])?;
    let mut cfg = Config::new(); cfg.wasm_component_model(true); cfg.max_wasm_stack(1 << 20); cfg.async_stack_size(4 << 20);
    let e = Engine::new(&cfg).map_err(|e| anyhow!("{e:?}"))?;
    let out = format!("{}.snap", a[1]);
    let t = Instant::now();
    let comp = wit_component::ComponentEncoder::default().validate(true).module(&core)?.encode()?;
    println!("component {} bytes {:?}", comp.len(), t.elapsed());
    let wz = wasmtime_wizer::Wizer::new();
    let (cx, ins) = wz.instrument_component(&comp).map_err(|e| anyhow!("{e:?}"))?;
    let c = Component::new(&e, &ins).map_err(|e| anyhow!("{e:?}"))?;
    println!("compiled instrumented {:?}", t.elapsed());
    let l = linker(&e, &c)?;
    let mut s = Store::new(&e, st());
    let inst = l.instantiate_async(&mut s, &c).await.map_err(|e| anyhow!("{e:?}"))?;
    let f = inst.get_typed_func::<(), ()>(&mut s, "prepare").map_err(|e| anyhow!("{e:?}"))?;
    f.call_async(&mut s, ()).await.map_err(|e| anyhow!("{e:?}"))?;
    let snap = wz.snapshot_component(&cx, &mut wasmtime_wizer::WasmtimeWizerComponent { store: &mut s, instance: inst }).await.map_err(|e| anyhow!("{e:?}"))?;
    println!("snapshot {} bytes {:?}", snap.len(), t.elapsed());
    std::fs::write(&out, &snap)?;
    let c = Component::new(&e, &snap).map_err(|e| anyhow!("{e:?}"))?;
    println!("compiled {:?}", t.elapsed());
    let l = linker(&e, &c)?;
    let pre = WPre::new(l.instantiate_pre(&c).map_err(|e| anyhow!("{e:?}"))?).map_err(|e| anyhow!("{e:?}"))?;
    let files: Vec<Module> = a[2..].iter().map(|p| Module { path: p.rsplit('/').next().unwrap().to_owned(), text: std::fs::read_to_string(p).unwrap() }).collect();
    for round in 0..3 {
        let t = Instant::now();
        let mut s = Store::new(&e, st());
        let w = pre.instantiate_async(&mut s).await.map_err(|e| anyhow!("{e:?}"))?;
        let d0 = t.elapsed();
        let src = w.solo_runtime_source();
        let loaded = src.call_load(&mut s, &files[0].path, &files).await.map_err(|e| anyhow!("{e:?}"))?;
        let d1 = t.elapsed();
        let loaded = match loaded { Ok(l) => l, Err(f) => { println!("load failed: {}", show(&f)); return Ok(()) } };
        if round > 0 { 
            let r = src.call_call(&mut s, &loaded.functions[0], "[]").await.map_err(|e| anyhow!("{e:?}"))?;
            println!("round {round}: instantiate {d0:?} load {:?} first {:?} {:?}", d1 - d0, t.elapsed() - d1, r.is_ok());
            continue;
        }
        println!("{loaded:?}");
        for name in &loaded.functions {
            let r = src.call_call(&mut s, name, "[]").await;
            match r { Ok(Ok(t)) => println!("{name}: {t}"), Ok(Err(f)) => println!("{name} failed: {}", show(&f)), Err(e) => { println!("{name} trapped: {e:?}"); break } }
        }
        if loaded.handles { println!("handle: {:?}", src.call_handle(&mut s, b"abc").await.map_err(|e| anyhow!("{e:?}"))?.map(|b| String::from_utf8_lossy(&b).into_owned()).map_err(|f| show(&f))); }
    }
    Ok(())
}
