//! Components: the `solo:service` handler by its typed path, all other exports by their types.

use std::sync::Arc;

use solo_types::ServiceKind;
use solo_types::bounds::MESSAGE_BYTES_MAX;
use wasmtime::Store;
use wasmtime::component::{Instance, Val};

use super::super::artifact::{Artifact, Function, find};
use super::super::failure::{Failure, Fault, Reason};
use super::super::host::{ComponentState, DownBindings, InitError, ServiceBindings, guest_down};
use super::super::message::{Answer, Chain, Down, Input};
use super::super::slot::{Slot, StopReason};
use super::super::warmth::Part;
use super::{HANDED_BYTES_MAX, HANDED_VALUES_BYTES_MAX, Outcome, Parts, bad_payload, bound};
use crate::values::{ResourceNames, arguments_from_json, function_text, results_to_json};

/// The handler's functions that are the cell's to call, not a caller's.
const LIFE_CYCLE: [&str; 2] = ["init", "terminate"];

/// Of a store, so much before its data is used with each message, and so much of them: what was found by
/// trying, and nothing depends on.
const STORE_BYTES: usize = 1_536;
const DATA_BYTES: usize = 512;

/// A component that answers messages.
pub(crate) struct ComponentGuest {
    // Before the store: what refers to it goes first.
    handler: Option<ServiceBindings>,
    down: Option<DownBindings>,
    instance: Instance,
    store: Store<ComponentState>,
    artifact: Arc<Artifact>,
}

impl ComponentGuest {
    pub(super) async fn start(parts: Parts) -> Result<Self, Fault> {
        let state = ComponentState::new(&parts);
        let Parts { engine, actors, artifact, slot, .. } = parts;
        let Artifact::Component { pre, handler: indices, down: down_indices, .. } = &*artifact
        else {
            return Err(Fault::unusable("the artifact is no component"));
        };
        let mut store = Store::new(&engine, state);
        store.limiter(|state| &mut state.budget);
        bound(&mut store, &actors);
        let fault = |error: wasmtime::Error| Fault::from_error(&error);
        let instance = pre.instantiate_async(&mut store).await.map_err(fault)?;
        store.data_mut().budget.started();
        let mut handler = None;
        let mut down = None;
        if let Some(indices) = down_indices {
            down = Some(indices.load(&mut store, &instance).map_err(fault)?);
            store.data_mut().watches = true;
        }
        if slot.service.kind == ServiceKind::Handler {
            let indices = indices
                .as_ref()
                .ok_or_else(|| Fault::unusable("it exports no solo:service/handler"))?;
            let bindings = indices.load(&mut store, &instance).map_err(fault)?;
            let init = bindings.solo_service_handler().call_init(&mut store).await;
            init.map_err(fault)?.map_err(|error| match error {
                InitError::Retry(message) => Fault::init_failed(&message, false),
                InitError::Permanent(message) => Fault::init_failed(&message, true),
            })?;
            handler = Some(bindings);
        }
        let data = std::ptr::from_ref(store.data()).addr();
        // The store itself lies before what it holds.
        slot.warmth.note_range(
            Part::Store,
            data.wrapping_sub(STORE_BYTES),
            STORE_BYTES + DATA_BYTES,
        );
        Ok(Self { handler, down, instance, store, artifact })
    }

    /// It has its place now.
    pub(super) fn settled(&self, slot: &Slot) {
        slot.warmth.note(Part::Guest, self);
    }

    pub(super) fn begin(&mut self, chain: Chain) {
        let state = self.store.data_mut();
        state.chain = chain;
        // What the last message brought and nobody took.
        state.received.clear();
    }

    pub(super) async fn down(&mut self, down: Down) -> Outcome {
        let nothing = || Ok(Ok(Answer::Payload(Vec::new())));
        if !self.store.data_mut().monitors.take(&down) {
            return nothing();
        }
        let Some(bindings) = &self.down else { return nothing() };
        let down = guest_down(down);
        let called = bindings.solo_service_down_handler().call_handle_down(&mut self.store, &down);
        called.await.map_err(|error| Fault::from_error(&error))?;
        nothing()
    }

    pub(super) async fn call(&mut self, function: &str, input: Input) -> Outcome {
        let handler =
            self.handler.as_ref().filter(|_| is_handler_function(function, "handle-call"));
        let payload = match (handler, input) {
            (Some(handler), Input::None) => (handler, Vec::new()),
            (Some(handler), Input::Payload(bytes)) => (handler, bytes),
            (Some(handler), Input::Passing(passing)) => {
                self.store.data_mut().received = passing.handles;
                (handler, passing.payload)
            }
            (Some(_), input @ Input::Json(_)) => return self.typed("handle-call", input).await,
            (None, input) => return self.typed(function, input).await,
        };
        let (handler, bytes) = payload;
        let called = handler.solo_service_handler().call_handle_call(&mut self.store, &bytes).await;
        Ok(match called.map_err(|error| Fault::from_error(&error))? {
            Ok(bytes) if bytes.len() > MESSAGE_BYTES_MAX => Err(too_large(bytes.len())),
            Ok(bytes) => Ok(Answer::Payload(bytes)),
            Err(message) => Err(Failure::new(Reason::Refused, message)),
        })
    }

    pub(super) async fn cast(&mut self, function: &str, input: Input) -> Outcome {
        let handler =
            self.handler.as_ref().filter(|_| is_handler_function(function, "handle-cast"));
        let (handler, bytes) = match (handler, input) {
            (Some(handler), Input::None) => (handler, Vec::new()),
            (Some(handler), Input::Payload(bytes)) => (handler, bytes),
            (Some(handler), Input::Passing(passing)) => {
                self.store.data_mut().received = passing.handles;
                (handler, passing.payload)
            }
            (Some(_), input @ Input::Json(_)) => return self.typed("handle-cast", input).await,
            (None, input) => return self.typed(function, input).await,
        };
        let called = handler.solo_service_handler().call_handle_cast(&mut self.store, &bytes).await;
        called.map_err(|error| Fault::from_error(&error))?;
        Ok(Ok(Answer::Payload(Vec::new())))
    }

    pub(super) async fn health(&mut self, function: &str) -> Outcome {
        if function.is_empty() && self.handler.is_some() {
            return self.call("", Input::None).await;
        }
        let artifact = Arc::clone(&self.artifact);
        let function = match exported(&artifact, function) {
            Ok(function) => function,
            Err(failure) => return Ok(Err(failure)),
        };
        let results = self.invoke(function, &[]).await?;
        Ok(match results.first() {
            Some(Val::Bool(false)) => Err(Failure::new(Reason::Refused, "it returned false")),
            Some(Val::Result(Err(_))) => Err(Failure::new(Reason::Refused, "it returned an error")),
            _ => Ok(Answer::Payload(Vec::new())),
        })
    }

    pub(super) async fn terminate(&mut self, reason: StopReason) -> Result<(), Fault> {
        let Some(handler) = &self.handler else { return Ok(()) };
        self.store.data_mut().begin_end();
        let called = handler.solo_service_handler().call_terminate(&mut self.store, reason.word());
        called.await.map_err(|error| Fault::from_error(&error))
    }

    async fn typed(&mut self, name: &str, input: Input) -> Outcome {
        let artifact = Arc::clone(&self.artifact);
        let (function, arguments) = match prepare(&artifact, name, &input) {
            Ok(prepared) => prepared,
            Err(failure) => return Ok(Err(failure)),
        };
        // As large as its values once more.
        drop(input);
        let results = self.invoke(function, &arguments).await?;
        Ok(match results_to_json(&results) {
            Ok(json) => Ok(Answer::Json(json)),
            Err(bad) => Err(Failure::new(Reason::LimitExceeded, bad.to_string())),
        })
    }

    async fn invoke(&mut self, function: &Function, arguments: &[Val]) -> Result<Vec<Val>, Fault> {
        let Some(func) = self.instance.get_func(&mut self.store, function.index) else {
            return Err(Fault::unusable(format!("the export {} is gone", function.name)));
        };
        let mut results = vec![Val::Bool(false); function.ty.results().len()];
        self.store.set_hostcall_fuel(HANDED_VALUES_BYTES_MAX);
        let called = func.call_async(&mut self.store, arguments, &mut results).await;
        self.store.set_hostcall_fuel(HANDED_BYTES_MAX);
        called.map_err(|error| Fault::from_error(&error))?;
        Ok(results)
    }
}

/// Checks a message that nobody waits for: `cast` will find its function and read its arguments.
///
/// # Errors
/// `NO_SUCH_FUNCTION`, `BAD_ARGUMENTS`.
pub(super) fn check_cast(
    artifact: &Artifact,
    kind: ServiceKind,
    name: &str,
    input: &Input,
) -> Result<(), Failure> {
    let handler = kind == ServiceKind::Handler && is_handler_function(name, "handle-cast");
    let name = match (handler, input) {
        (true, Input::None | Input::Payload(_) | Input::Passing(_)) => return Ok(()),
        (true, Input::Json(_)) => "handle-cast",
        (false, _) => name,
    };
    prepare(artifact, name, input).map(drop)
}

/// Finds the function and converts its arguments.
fn prepare<'a>(
    artifact: &'a Artifact,
    name: &str,
    input: &Input,
) -> Result<(&'a Function, Vec<Val>), Failure> {
    let function = exported(artifact, name)?;
    let signature =
        || format!("{name}: {}", function_text(&function.ty, &ResourceNames::default()));
    let json = match input {
        Input::None => "[]",
        Input::Json(json) => json,
        Input::Payload(_) | Input::Passing(_) => return Err(bad_payload(signature())),
    };
    let arguments = arguments_from_json(&function.ty, json)
        .map_err(|bad| Failure::new(Reason::BadArguments, bad.message).expected(signature()))?;
    Ok((function, arguments))
}

/// Whether `name` means this function of the handler.
fn is_handler_function(name: &str, function: &str) -> bool {
    name.is_empty()
        || name == function
        || name
            .strip_prefix("solo:service/handler@")
            .is_some_and(|rest| rest.split_once('#').is_some_and(|(_, last)| last == function))
}

fn exported<'a>(artifact: &'a Artifact, name: &str) -> Result<&'a Function, Failure> {
    let functions: &[Function] = match artifact {
        Artifact::Component { functions, .. } => functions,
        Artifact::Core { .. } | Artifact::Process | Artifact::Source { .. } => &[],
    };
    let function = find(functions, |function| &function.name, name)?;
    let is_life_cycle = function.name.split_once('#').is_some_and(|(interface, last)| {
        interface.starts_with("solo:service/handler@") && LIFE_CYCLE.contains(&last)
    });
    if is_life_cycle {
        let message = format!("{} is called by Solo alone", function.name);
        return Err(Failure::new(Reason::NoSuchFunction, message));
    }
    Ok(function)
}

fn too_large(bytes: usize) -> Failure {
    let message = format!("the answer has {bytes} bytes, at most {MESSAGE_BYTES_MAX}");
    Failure::new(Reason::LimitExceeded, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_handler() {
        assert!(is_handler_function("", "handle-call"));
        assert!(is_handler_function("handle-call", "handle-call"));
        assert!(is_handler_function("solo:service/handler@0.1.0#handle-call", "handle-call"));
        assert!(!is_handler_function("handle-cast", "handle-call"));
        assert!(!is_handler_function("x:y/z#handle-call", "handle-call"));
    }
}
