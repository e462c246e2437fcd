//! `solo:service/secrets`: what the deployment gave to the service by reference. Read only.
//!
//! What was not given looks the same as what does not exist. A value goes from the cell's one copy into
//! the guest's memory, without a buffer in between.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::ComponentState;

const INTERFACE: &str = "solo:service/secrets@0.1.0";

/// Links the interface.
///
/// # Errors
/// If it is linked already (a bug).
pub(super) fn link(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut secrets = linker.instance(INTERFACE)?;
    secrets.func_wrap("get", |store: StoreContextMut<'_, ComponentState>, (key,): (String,)| {
        let value: Option<Arc<[u8]>> = store.data().slot.service.secrets.get(&key);
        Ok((value,))
    })
}
