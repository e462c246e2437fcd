//! Source text: the runtime of its language, a component, with the modules of the service in it.

use std::sync::Arc;

use wasmtime::Store;

use super::super::artifact::Artifact;
use super::super::failure::{Failure, Fault, Reason};
use super::super::host::{
    ComponentState, GuestFailure, GuestModule, GuestStage, SourceBindings, runtime_down,
};
use super::super::message::{Answer, Chain, Down, Input};
use super::super::slot::{Slot, StopReason};
use super::super::source::{Source, is_too_deep};
use super::super::warmth::Part;
use super::{Outcome, Parts, bound};
use solo_types::bounds::MESSAGE_BYTES_MAX;

/// What the service's bytes are called.
const HANDLE: &str = "handle";

/// A runtime that has loaded its source.
pub(crate) struct SourceGuest {
    // Before the store: what refers to it goes first.
    bindings: SourceBindings,
    store: Store<ComponentState>,
    artifact: Arc<Artifact>,
}

impl SourceGuest {
    pub(super) async fn start(parts: Parts) -> Result<Self, Fault> {
        let state = ComponentState::new(&parts);
        let Parts { engine, actors, artifact, .. } = parts;
        let Artifact::Source { source, runtime } = &*artifact else {
            return Err(Fault::unusable("the artifact is no source text"));
        };
        let mut store = Store::new(&engine, state);
        store.limiter(|state| &mut state.budget);
        bound(&mut store, &actors);
        let fault = |error: wasmtime::Error| Fault::from_error(&error);
        let instance = runtime.pre.instantiate_async(&mut store).await.map_err(fault)?;
        let bindings = runtime.indices.load(&mut store, &instance).map_err(fault)?;
        store.data_mut().budget.started();
        let program = &source.program;
        let modules: Vec<GuestModule> = program
            .modules
            .iter()
            .map(|module| GuestModule {
                path: module.path.clone(),
                text: module.text.clone(),
                legacy: module.is_commonjs,
                imports: module
                    .imports
                    .iter()
                    .map(|import| (import.name.clone(), import.path.clone()))
                    .collect(),
            })
            .collect();
        let exports = bindings.solo_runtime_source();
        let loaded =
            exports.call_load(&mut store, &program.entry, &modules).await.map_err(fault)?;
        drop(modules);
        let loaded = loaded.map_err(|error| Fault::not_loaded(failure(source, error, None)))?;
        store.data_mut().watches = loaded.watches;
        let init = exports.call_init(&mut store).await.map_err(fault)?;
        init.map_err(|error| Fault::init_threw(failure(source, error, None)))?;
        Ok(Self { bindings, store, artifact })
    }

    /// It has its place now.
    pub(super) fn settled(&self, slot: &Slot) {
        slot.warmth.note(Part::Guest, self);
    }

    pub(super) fn begin(&mut self, chain: Chain) {
        let state = self.store.data_mut();
        state.chain = chain;
        state.received.clear();
    }

    pub(super) async fn call(&mut self, function: &str, input: Input) -> Outcome {
        let arguments = match input {
            Input::None if is_handle(function) => return self.handle(Vec::new()).await,
            Input::Payload(bytes) => return self.bytes(function, bytes).await,
            Input::Passing(passing) => return self.bytes(function, passing.payload).await,
            Input::None => "[]".to_owned(),
            Input::Json(json) => json,
        };
        if is_too_deep(&arguments) {
            let failure = Failure::new(Reason::BadArguments, "the arguments are nested too deeply");
            return Ok(Err(failure.expected(self.signature(function))));
        }
        let exports = self.bindings.solo_runtime_source();
        let called = exports.call_call(&mut self.store, function, &arguments).await;
        let answered = called.map_err(|error| Fault::from_error(&error))?;
        Ok(match answered {
            Ok(json) if json.len() > MESSAGE_BYTES_MAX => Err(too_large(json.len())),
            Ok(json) => Ok(Answer::Json(json)),
            Err(error) => Err(self.failure(error, Some(function))),
        })
    }

    async fn bytes(&mut self, function: &str, payload: Vec<u8>) -> Outcome {
        if is_handle(function) {
            return self.handle(payload).await;
        }
        let message = format!("{function} takes a JSON array of arguments, not a payload");
        let failure = Failure::new(Reason::BadArguments, message);
        Ok(Err(failure.expected(self.signature(function))))
    }

    async fn handle(&mut self, payload: Vec<u8>) -> Outcome {
        let exports = self.bindings.solo_runtime_source();
        let called = exports.call_handle(&mut self.store, &payload).await;
        Ok(match called.map_err(|error| Fault::from_error(&error))? {
            Ok(bytes) if bytes.len() > MESSAGE_BYTES_MAX => Err(too_large(bytes.len())),
            Ok(bytes) => Ok(Answer::Payload(bytes)),
            Err(error) => Err(self.failure(error, None)),
        })
    }

    /// A timer of the runtime's own is due: it has no other.
    pub(super) async fn tick(&mut self) -> Outcome {
        let ticked = self.bindings.solo_runtime_source().call_tick(&mut self.store).await;
        let ticked = ticked.map_err(|error| Fault::from_error(&error))?;
        Ok(match ticked {
            Ok(()) => Ok(Answer::Payload(Vec::new())),
            Err(error) => Err(self.failure(error, None)),
        })
    }

    pub(super) async fn down(&mut self, down: Down) -> Outcome {
        let nothing = Ok(Ok(Answer::Payload(Vec::new())));
        if !self.store.data_mut().monitors.take(&down) || !self.store.data().watches {
            return nothing;
        }
        let exports = self.bindings.solo_runtime_source();
        let called = exports.call_handle_down(&mut self.store, &runtime_down(down)).await;
        match called.map_err(|error| Fault::from_error(&error))? {
            Ok(()) => nothing,
            Err(error) => Ok(Err(self.failure(error, None))),
        }
    }

    pub(super) async fn health(&mut self, function: &str) -> Outcome {
        if function.is_empty() {
            // It lives, or this would not be asked.
            return Ok(Ok(Answer::Json("true".to_owned())));
        }
        let outcome = self.call(function, Input::None).await?;
        Ok(match outcome {
            Ok(Answer::Json(json)) if json == "false" => {
                Err(Failure::new(Reason::Refused, "it returned false"))
            }
            outcome => outcome,
        })
    }

    pub(super) async fn terminate(&mut self, reason: StopReason) -> Result<(), Fault> {
        self.store.data_mut().begin_end();
        let exports = self.bindings.solo_runtime_source();
        let called = exports.call_terminate(&mut self.store, reason.word()).await;
        called.map_err(|error| Fault::from_error(&error))
    }

    fn signature(&self, function: &str) -> String {
        let Artifact::Source { source, .. } = &*self.artifact else { return String::new() };
        source.signature(function).map_or_else(|| source.expected(), str::to_owned)
    }

    fn failure(&self, error: GuestFailure, function: Option<&str>) -> Failure {
        match &*self.artifact {
            Artifact::Source { source, .. } => failure(source, error, function),
            // It was started from one.
            _ => Failure::new(Reason::ArtifactUnusable, error.message),
        }
    }
}

/// Checks a message that nobody waits for, as far as that can be told before it is handled.
///
/// # Errors
/// `NO_SUCH_FUNCTION`, `BAD_ARGUMENTS`.
pub(super) fn check_cast(artifact: &Artifact, name: &str, input: &Input) -> Result<(), Failure> {
    let Artifact::Source { source, .. } = artifact else { return Ok(()) };
    match input {
        Input::None | Input::Payload(_) | Input::Passing(_) if is_handle(name) => Ok(()),
        Input::Payload(_) | Input::Passing(_) => {
            let message = format!("{name} takes a JSON array of arguments, not a payload");
            Err(Failure::new(Reason::BadArguments, message))
        }
        Input::None | Input::Json(_) if source.signature(name).is_some() => Ok(()),
        Input::None | Input::Json(_) => {
            let message = format!("there is no function {name:?}");
            Err(Failure::new(Reason::NoSuchFunction, message).expected(source.expected()))
        }
    }
}

fn is_handle(function: &str) -> bool {
    function.is_empty() || function == HANDLE
}

/// What the runtime says went wrong, in the sender's own lines.
fn failure(source: &Source, error: GuestFailure, function: Option<&str>) -> Failure {
    let GuestFailure { stage, name, message, file, line, column, stack } = error;
    let reason = match stage {
        GuestStage::NoSuchFunction => Reason::NoSuchFunction,
        GuestStage::BadArguments => Reason::BadArguments,
        GuestStage::Call => Reason::Exception,
        GuestStage::Syntax | GuestStage::Import | GuestStage::Load => Reason::LoadFailed,
    };
    let message = match reason {
        Reason::NoSuchFunction | Reason::BadArguments => message,
        _ if name.is_empty() => message,
        _ => format!("{name}: {message}"),
    };
    let expected = match (reason, function) {
        (Reason::NoSuchFunction, _) => source.expected(),
        (Reason::BadArguments, Some(function)) => {
            source.signature(function).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    let place = source.place(&file, line, column).map(Box::new);
    let backtrace = source.stack(&stack);
    Failure { place, backtrace, ..Failure::new(reason, message).expected(expected) }
}

fn too_large(bytes: usize) -> Failure {
    let message = format!("the answer has {bytes} bytes, at most {MESSAGE_BYTES_MAX}");
    Failure::new(Reason::LimitExceeded, message)
}
