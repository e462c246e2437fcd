//! Core modules: exported functions of numbers.

use wasmtime::{Func, Instance, Store, Val};

use super::super::artifact::{Artifact, find};
use super::super::failure::{Failure, Fault, Reason};
use super::super::host::CoreState;
use super::super::message::{Answer, Input};
use super::{Outcome, Parts, bad_payload, bound};
use crate::values::{core_arguments_from_json, core_function_text, core_results_to_json};

/// Exports that start a module; the cell calls them, not a caller.
const STARTERS: [&str; 2] = ["_start", "_initialize"];

/// A core module that answers messages.
pub(crate) struct ModuleGuest {
    instance: Instance,
    /// Names of the functions that can be called.
    functions: Vec<String>,
    store: Store<CoreState>,
}

impl ModuleGuest {
    pub(super) async fn start(parts: Parts) -> Result<Self, Fault> {
        let Parts { engine, artifact, slot, .. } = parts;
        let Artifact::Core { pre } = &*artifact else {
            return Err(Fault::unusable("the artifact is no core module"));
        };
        let fault = |error: wasmtime::Error| Fault::from_error(&error);
        let mut store = Store::new(&engine, CoreState::new(&slot));
        store.limiter(|state| &mut state.budget);
        bound(&mut store);
        let instance = pre.instantiate_async(&mut store).await.map_err(fault)?;
        // A reactor of WASI preview 1 wants this once, before anything else.
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call_async(&mut store, ()).await.map_err(fault)?;
        }
        let functions = pre
            .module()
            .exports()
            .filter(|export| export.ty().func().is_some() && !STARTERS.contains(&export.name()))
            .map(|export| export.name().to_owned())
            .collect();
        Ok(Self { instance, functions, store })
    }

    pub(super) async fn call(&mut self, function: &str, input: Input) -> Outcome {
        let func = match find(&self.functions, |name| name, function) {
            Ok(name) => self.instance.get_func(&mut self.store, name),
            Err(failure) => return Ok(Err(failure)),
        };
        let Some(func) = func else {
            return Err(Fault::unusable(format!("the export {function} is gone")));
        };
        self.invoke(function, &func, &input).await
    }

    async fn invoke(&mut self, name: &str, func: &Func, input: &Input) -> Outcome {
        let ty = func.ty(&self.store);
        let signature = || format!("{name}: {}", core_function_text(&ty));
        let json = match input {
            Input::None => "[]",
            Input::Json(json) => json,
            Input::Payload(_) => return Ok(Err(bad_payload(signature()))),
        };
        let arguments = match core_arguments_from_json(&ty, json) {
            Ok(arguments) => arguments,
            Err(bad) => {
                let failure = Failure::new(Reason::BadArguments, bad.message);
                return Ok(Err(failure.expected(signature())));
            }
        };
        let mut results = vec![Val::I32(0); ty.results().len()];
        let called = func.call_async(&mut self.store, &arguments, &mut results).await;
        called.map_err(|error| Fault::from_error(&error))?;
        Ok(match core_results_to_json(&results) {
            Ok(json) => Ok(Answer::Json(json)),
            Err(bad) => Err(Failure::new(Reason::LimitExceeded, bad.to_string())),
        })
    }
}
