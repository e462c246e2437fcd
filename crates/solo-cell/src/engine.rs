//! The two wasmtime engines of Solo: one that compiles, one that runs.
//!
//! What the first compiles the second loads; both are built from one configuration and differ only
//! in how they allocate. This module holds no code, no instance and no state.

use std::hash::{Hash as _, Hasher};
use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, Inlining, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
};

/// Address space per linear memory: a whole 32-bit memory, so that no access needs a bounds check.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;

/// Inaccessible space after each memory: catches accesses with a constant offset up to this size
/// (wasmtime's default; the largest offset seen in a large corpus was 20 MiB).
const MEMORY_GUARD_BYTES: u64 = 32 << 20;

/// Stack of guest code. JavaScript and Python interpreters recurse deeply: below 1 MiB their own
/// check of the depth comes after the trap, and a `RangeError` becomes a crash.
const GUEST_STACK_BYTES: usize = 1 << 20;

/// Stack of a fiber: the guest's part and as much for host functions that it calls. It is address
/// space until touched; an idle actor keeps the 1 to 3 pages that it used.
const FIBER_STACK_BYTES: usize = 2 << 20;

/// Linear memories of one component. The generic JavaScript and Python components have 2 to 4.
pub const COMPONENT_MEMORIES_MAX: u32 = 16;

/// Tables of one component. Adapters bring one each.
pub const COMPONENT_TABLES_MAX: u32 = 64;

/// Core instances of one component: Python has over 30.
pub const COMPONENT_CORE_INSTANCES_MAX: u32 = 256;

/// Memories, and tables, that one module defines.
pub const MODULE_MEMORIES_MAX: u32 = 8;

/// Elements of one table. Large interpreters have tens of thousands of functions in theirs.
pub const TABLE_ELEMENTS_MAX: usize = 65_536;

/// Book-keeping of one core instance on the host: 40 bytes for each function in a table, so this
/// fits a full table and what comes with it.
const CORE_INSTANCE_BYTES_MAX: usize = 4 << 20;

/// The same for all of a component.
const COMPONENT_INSTANCE_BYTES_MAX: usize = 8 << 20;

/// Of a memory that nobody uses any more so many written bytes stay in place. Up to 100 memories do.
const MEMORY_KEPT_BYTES: usize = 128 << 10;

/// The same for a table.
const TABLE_KEPT_BYTES: usize = 16 << 10;

/// Frames of a backtrace. Enough to see where a crash came from; a stack overflow has thousands.
const BACKTRACE_FRAMES_MAX: usize = 32;

/// How much an engine that runs has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Instances (stores) that live at one time.
    ///
    /// One takes some 4 of the `vm.max_map_count` memory maps of a process for its memory and 2 for
    /// its fiber stack, and 8 GiB of address space.
    pub instances: u32,
}

/// Memory maps of an idle instance with its stack, and one to spare for what grows.
const MAPS_PER_INSTANCE: u64 = 7;

/// Maps for code, threads and the allocator: without them allocations fail, and with them the process.
const MAPS_RESERVED: u64 = 5_500;

/// Instances that the address space has room for, with two memories (8.06 GiB) each. They are reserved
/// in one piece, and the largest one of the 128 TiB is what is below the program: Linux loads it at two
/// thirds, 85.3 TiB, which would be 10,800.
const INSTANCES_MAX: u32 = 10_500;

impl RunLimits {
    /// What this machine has room for: `vm.max_map_count` decides. 8,500 where it is as the kernel sets
    /// it, the most there can be from 80,000 on.
    #[must_use]
    pub fn of_machine() -> Self {
        let setting = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        let maps = setting.ok().and_then(|text| text.trim().parse().ok());
        Self::for_maps(maps.unwrap_or(65_530))
    }

    fn for_maps(maps: u64) -> Self {
        let instances = maps.saturating_sub(MAPS_RESERVED) / MAPS_PER_INSTANCE;
        let instances = u32::try_from(instances).unwrap_or(INSTANCES_MAX);
        Self { instances: instances.clamp(100, INSTANCES_MAX) }
    }
}

/// An engine that compiles. It allocates on demand and reserves nothing.
///
/// # Errors
/// If wasmtime does not support the configuration on this machine.
pub fn compile_engine() -> wasmtime::Result<Engine> {
    Engine::new(&common())
}

/// An engine that runs: a pool of memories, tables and stacks, memory images mapped copy on write.
///
/// # Errors
/// If the pool cannot be reserved, or wasmtime does not support the configuration here.
pub fn run_engine(limits: RunLimits) -> wasmtime::Result<Engine> {
    let instances = limits.instances;
    // Most services have one memory and one or two tables; the few large ones have several.
    let memories = instances.saturating_mul(2).max(COMPONENT_MEMORIES_MAX);
    let tables = instances.saturating_mul(4).max(COMPONENT_TABLES_MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // A counter only; the memory behind it is allocated as needed.
        .total_core_instances(instances.saturating_mul(32).max(COMPONENT_CORE_INSTANCES_MAX))
        .total_memories(memories)
        .total_tables(tables)
        .total_stacks(instances)
        .max_memories_per_component(COMPONENT_MEMORIES_MAX)
        .max_tables_per_component(COMPONENT_TABLES_MAX)
        .max_core_instances_per_component(COMPONENT_CORE_INSTANCES_MAX)
        .max_memories_per_module(MODULE_MEMORIES_MAX)
        .max_tables_per_module(MODULE_MEMORIES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_core_instance_size(CORE_INSTANCE_BYTES_MAX)
        .max_component_instance_size(COMPONENT_INSTANCE_BYTES_MAX)
        // An instance that ends leaves its place to the next: pages that it wrote are made as they were
        // rather than given back and faulted in again, which other threads would have to be told of.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        // The ceiling of a service's memory is 4 GiB; the limit itself is the store's.
        .max_memory_size(1 << 32);
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Names what a precompiled artifact must have been made for: compiler, flags, processor features
/// and settings. 16 hexadecimal digits, the same in each process of one build on one machine.
#[must_use]
pub fn engine_digest(engine: &Engine) -> String {
    let mut hasher = Blake3Hasher(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().to_hex()[..16].to_owned()
}

/// Everything that decides whether compiled code fits an engine.
fn common() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .compiler_inlining(Inlining::No)
        .parallel_compilation(true)
        .epoch_interruption(true)
        // Halves the cost of a call; component-model async will get an engine of its own.
        .concurrency_support(false)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .memory_may_move(false)
        .memory_init_cow(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES);
    // Backtraces name functions. Lines would mean to parse the guest's debug information on each
    // trap, which costs milliseconds where a restart costs microseconds; said here because the
    // default depends on an environment variable, and compiled code on this setting.
    config
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // ELF symbols are for native debuggers and make each artifact larger.
    config.debug_symbols(false);
    // Off: what no toolchain that Solo takes needs, each being more to trust. A heap for garbage
    // collection would also take a memory slot of 4 GiB per store; threads break the rule that
    // one instance is one actor.
    config
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .gc_support(false)
        .wasm_threads(false)
        .wasm_memory64(false);
    config
}

/// Feeds what is hashed to BLAKE3: `DefaultHasher` may change with the Rust release.
struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use wasmtime::component::Component;
    use wasmtime::{Instance, Module, Store};

    use super::*;

    const SMALL: RunLimits = RunLimits { instances: 8 };

    #[test]
    #[expect(unsafe_code, reason = "loads what was compiled three lines above")]
    fn what_one_compiles_the_other_loads() {
        let (compile, run) = (compile_engine().unwrap(), run_engine(SMALL).unwrap());
        assert_eq!(engine_digest(&compile), engine_digest(&run));
        let module = wat::parse_str(
            r#"(module (memory 1) (data (i32.const 0) "x") (table 60000 funcref)
                 (func (export "answer") (result i32) i32.const 42))"#,
        )
        .unwrap();
        let precompiled = compile.precompile_module(&module).unwrap();
        // SAFETY: the bytes come from `precompile_module` of an engine with the same settings.
        let module = unsafe { Module::deserialize(&run, &precompiled) }.unwrap();
        let mut store = Store::new(&run, ());
        store.set_epoch_deadline(1);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let answer = instance.get_typed_func::<(), i32>(&mut store, "answer").unwrap();
        assert_eq!(answer.call(&mut store, ()).unwrap(), 42);

        let component =
            wat::parse_str("(component (core module $m) (core instance (instantiate $m)))")
                .unwrap();
        let precompiled = compile.precompile_component(&component).unwrap();
        // SAFETY: as above, from `precompile_component`.
        unsafe { Component::deserialize(&run, &precompiled) }.unwrap();
    }

    #[test]
    fn the_digest_is_stable_and_well_formed() {
        let digest = engine_digest(&compile_engine().unwrap());
        assert_eq!(digest, engine_digest(&compile_engine().unwrap()));
        assert_eq!(digest.len(), 16);
        assert!(digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        let mut other = common();
        other.consume_fuel(true);
        assert_ne!(digest, engine_digest(&Engine::new(&other).unwrap()));
    }

    #[test]
    fn the_largest_pool_fits_the_address_space() {
        let started = std::time::Instant::now();
        run_engine(RunLimits::for_maps(1 << 20)).unwrap();
        assert!(started.elapsed() < std::time::Duration::from_secs(2));
    }

    #[test]
    fn what_is_off_is_refused() {
        let engine = compile_engine().unwrap();
        for text in [
            "(module (memory i64 1))",
            "(module (memory 1 1 shared))",
            "(module (type (struct)))",
            "(module (tag))",
        ] {
            assert!(Module::new(&engine, text).is_err(), "{text}");
        }
    }
}
