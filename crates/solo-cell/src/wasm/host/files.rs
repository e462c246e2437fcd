//! `solo:runtime/files`: what was sent, for the runtime that runs it. No other component is linked to it.

use wasmtime::component::{HasSelf, Linker};

use super::super::artifact::Artifact;
use super::ComponentState;
use crate::sent::{self, Sent};

/// What a runtime imports.
#[allow(unsafe_code, missing_debug_implementations, unreachable_pub, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        inline: "package solo:cell; world files { import solo:runtime/files@0.1.0; }",
        path: "../../wit/runtime",
        imports: { default: trappable },
    });
}

use bindings::solo::runtime::files::{Host, Kind};

/// Links it.
///
/// # Errors
/// If it is linked already (a bug).
pub(in super::super) fn link(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    bindings::Files::add_to_linker::<_, HasSelf<ComponentState>>(linker, |state| state)
}

impl ComponentState {
    fn sent(&self) -> wasmtime::Result<&Sent> {
        match &*self.artifact {
            Artifact::Source { source, .. } => Ok(&source.sent),
            _ => Err(wasmtime::Error::msg("nothing was sent")),
        }
    }
}

impl Host for ComponentState {
    fn roots(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.sent()?.roots().to_vec())
    }

    fn kind_of(&mut self, path: String) -> wasmtime::Result<Kind> {
        Ok(match self.sent()?.kind_of(&path) {
            sent::Kind::Nothing => Kind::Nothing,
            sent::Kind::File => Kind::File,
            sent::Kind::Folder => Kind::Folder,
        })
    }

    fn names(&mut self, folder: String) -> wasmtime::Result<Vec<String>> {
        Ok(self.sent()?.names(&folder))
    }

    fn read(&mut self, path: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.sent()?.read(&path).map(<[u8]>::to_vec))
    }

    fn compiled(&mut self, path: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.sent()?.compiled(&path).map(<[u8]>::to_vec))
    }
}
