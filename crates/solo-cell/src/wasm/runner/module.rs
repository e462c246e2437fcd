//! Core modules: exported functions of numbers.

use std::sync::Arc;

use wasmtime::{Instance, Store, Val};

use super::super::artifact::{Artifact, CoreFunction, find};
use super::super::failure::{Failure, Fault, Reason};
use super::super::host::CoreState;
use super::super::message::{Answer, Input};
use super::{Outcome, Parts, bad_payload, bound};
use crate::values::{core_arguments_from_json, core_function_text, core_results_to_json};

/// A core module that answers messages.
pub(crate) struct ModuleGuest {
    instance: Instance,
    store: Store<CoreState>,
    artifact: Arc<Artifact>,
}

impl ModuleGuest {
    pub(super) async fn start(parts: Parts) -> Result<Self, Fault> {
        let Parts { engine, actors, artifact, slot, .. } = parts;
        let Artifact::Core { pre, .. } = &*artifact else {
            return Err(Fault::unusable("the artifact is no core module"));
        };
        let fault = |error: wasmtime::Error| Fault::from_error(&error);
        let mut store = Store::new(&engine, CoreState::new(&slot));
        store.limiter(|state| &mut state.budget);
        bound(&mut store, &actors);
        let instance = pre.instantiate_async(&mut store).await.map_err(fault)?;
        store.data_mut().budget.started();
        // A reactor of WASI preview 1 wants this once, before anything else.
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call_async(&mut store, ()).await.map_err(fault)?;
        }
        Ok(Self { instance, store, artifact })
    }

    pub(super) async fn call(&mut self, function: &str, input: Input) -> Outcome {
        let (function, arguments) = match prepare(&self.artifact, function, &input) {
            Ok(prepared) => prepared,
            Err(failure) => return Ok(Err(failure)),
        };
        let Some(func) = self.instance.get_func(&mut self.store, &function.export) else {
            return Err(Fault::unusable(format!("the export {} is gone", function.name)));
        };
        let mut results = vec![Val::I32(0); function.ty.results().len()];
        let called = func.call_async(&mut self.store, &arguments, &mut results).await;
        called.map_err(|error| Fault::from_error(&error))?;
        Ok(match core_results_to_json(&results) {
            Ok(json) => Ok(Answer::Json(json)),
            Err(bad) => Err(Failure::new(Reason::LimitExceeded, bad.to_string())),
        })
    }
}

/// Finds the function and converts its arguments.
///
/// # Errors
/// `NO_SUCH_FUNCTION`, `BAD_ARGUMENTS`.
pub(super) fn prepare<'a>(
    artifact: &'a Artifact,
    name: &str,
    input: &Input,
) -> Result<(&'a CoreFunction, Vec<Val>), Failure> {
    let functions: &[CoreFunction] = match artifact {
        Artifact::Core { functions, .. } => functions,
        Artifact::Component { .. } | Artifact::Process | Artifact::Source { .. } => &[],
    };
    let function = find(functions, |function| &function.name, name)?;
    let signature = || format!("{}: {}", function.name, core_function_text(&function.ty));
    let json = match input {
        Input::None => "[]",
        Input::Json(json) => json,
        Input::Payload(_) | Input::Passing(_) => return Err(bad_payload(signature())),
    };
    let arguments = core_arguments_from_json(&function.ty, json)
        .map_err(|bad| Failure::new(Reason::BadArguments, bad.message).expected(signature()))?;
    Ok((function, arguments))
}
