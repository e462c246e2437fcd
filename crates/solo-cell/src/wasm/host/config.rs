//! `wasi:config/store`: the configuration of the service, as its deployment states it.
//!
//! Only drafts of 0.2.0 of this interface exist, all with these two functions; toolchains use
//! several. Each is linked under the name that the component imports. Read only.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::ComponentState;

/// What a component's import must start with.
const STORE: &str = "wasi:config/store@0.2.0";

/// The error of the interface. Never made: reading a map does not fail.
#[allow(unsafe_code, dead_code, reason = "derived; the interface has these cases")]
mod types {
    use wasmtime::component::{ComponentType, Lift, Lower};

    #[derive(Debug, Clone, ComponentType, Lift, Lower)]
    #[component(variant)]
    pub(super) enum ConfigError {
        #[component(name = "upstream")]
        Upstream(String),
        #[component(name = "io")]
        Io(String),
    }
}
use types::ConfigError;

type Entries = Vec<(String, String)>;

/// Tells whether `import` is a version of the interface.
pub(in crate::wasm) fn is_store(import: &str) -> bool {
    import.strip_prefix(STORE).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Links the interface under the name `import`.
///
/// # Errors
/// If it is linked already (a bug).
pub(in crate::wasm) fn link(
    linker: &mut Linker<ComponentState>,
    import: &str,
) -> wasmtime::Result<()> {
    let mut store = linker.instance(import)?;
    store.func_wrap("get", |store: StoreContextMut<'_, ComponentState>, (key,): (String,)| {
        let entries = &store.data().slot.service.config;
        let value = entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        Ok((Ok::<Option<String>, ConfigError>(value),))
    })?;
    store.func_wrap("get-all", |store: StoreContextMut<'_, ComponentState>, (): ()| {
        Ok((Ok::<Entries, ConfigError>(store.data().slot.service.config.clone()),))
    })
}
