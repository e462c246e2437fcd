//! Two components that talk with nothing between them: the caller's imports are calls of the callee's
//! exports in another store.
//!
//! The caller is the very component that talks in Solo's cell. There is no scheduler, no mailbox
//! beyond a queue, no limit, no deadline and no name to look up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, ComponentType, Linker, Lower, Resource, ResourceType};
use wasmtime::{Engine, Store, StoreContextMut};

use super::wasm::{Exports, HandleCall, HandleCast, Handler, InitError, Live, told};

/// How a call gets from one store into the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// On the stack of the caller.
    Direct,
    /// Caller and callee have a fiber each, as actors that can be suspended must.
    Fibers,
}

/// A caller that reaches a callee.
pub(crate) struct Pair {
    store: Store<Beside>,
    handle_call: HandleCall,
    way: Way,
}

/// What the caller's imports reach.
struct Beside {
    callee: Live,
    handle_cast: HandleCast,
    sent: VecDeque<Vec<u8>>,
    began: Instant,
}

/// Behind a `service-ref`.
struct Target;

#[derive(ComponentType, Lower)]
#[expect(dead_code, reason = "a bare call does not fail")]
#[component(variant)]
enum MessageError {
    #[component(name = "denied")]
    Denied,
    #[component(name = "overloaded")]
    Overloaded,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "crashed")]
    Crashed(String),
    #[component(name = "unavailable")]
    Unavailable(String),
    #[component(name = "deadlock")]
    Deadlock,
    #[component(name = "failed")]
    Failed(String),
}

type CallArguments = (Resource<Target>, Vec<u8>, Option<u32>);
type Answered = (Result<Vec<u8>, MessageError>,);

impl Pair {
    /// Starts both; `component` is what `callee` was loaded from.
    pub(super) fn start(
        engine: &Engine,
        component: &Component,
        callee: &Handler,
        way: Way,
    ) -> wasmtime::Result<Self> {
        let mut live =
            callee.start().map_err(|error| wasmtime::Error::msg(format!("{error:#}")))?;
        let handle_cast = callee.cast_of(&mut live)?;
        let beside =
            Beside { callee: live, handle_cast, sent: VecDeque::new(), began: Instant::now() };
        let mut store = Store::new(engine, beside);
        store.set_epoch_deadline(1);
        let pre = linker(engine, way)?.instantiate_pre(component)?;
        let exports = Exports::of(component)?;
        let instance = block_on(pre.instantiate_async(&mut store))?;
        let init =
            instance.get_typed_func::<(), (Result<(), InitError>,)>(&mut store, exports.init)?;
        let (started,) = block_on(init.call_async(&mut store, ()))?;
        started.map_err(|error| wasmtime::format_err!("init failed: {error:?}"))?;
        let handle_call = instance.get_typed_func(&mut store, exports.handle_call)?;
        Ok(Self { store, handle_call, way })
    }

    /// Has the caller do what `payload` says; its answer.
    ///
    /// # Errors
    /// It traps, or answers with an error.
    pub(crate) fn call(&mut self, payload: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let called = match self.way {
            Way::Direct => self.handle_call.call(&mut self.store, (payload,)),
            Way::Fibers => block_on(self.handle_call.call_async(&mut self.store, (payload,))),
        };
        let (answer,) = called.map_err(told)?;
        answer.map_err(|why| anyhow::anyhow!("the guest answered with an error: {why}"))
    }
}

fn linker(engine: &Engine, way: Way) -> wasmtime::Result<Linker<Beside>> {
    let mut linker = Linker::new(engine);
    let mut messaging = linker.instance("solo:service/messaging@0.1.0")?;
    messaging.resource("service-ref", ResourceType::host::<Target>(), |_, _| Ok(()))?;
    messaging.func_wrap("lookup", |_: StoreContextMut<'_, Beside>, (_,): (String,)| {
        Ok((Ok::<Resource<Target>, MessageError>(Resource::new_own(0)),))
    })?;
    messaging.func_wrap(
        "[method]service-ref.send",
        |mut store: StoreContextMut<'_, Beside>, (_, payload): (Resource<Target>, Vec<u8>)| {
            store.data_mut().sent.push_back(payload);
            Ok((Ok::<(), MessageError>(()),))
        },
    )?;
    let call = "[method]service-ref.call";
    match way {
        Way::Direct => messaging.func_wrap(
            call,
            |mut store: StoreContextMut<'_, Beside>, (_, payload, _): CallArguments| {
                let beside = store.data_mut();
                beside.hand_over()?;
                let answer: Answered = (Ok(beside.callee.answer(payload)?),);
                Ok(answer)
            },
        )?,
        Way::Fibers => messaging.func_wrap_async(
            call,
            |mut store: StoreContextMut<'_, Beside>, (_, payload, _): CallArguments| {
                Box::new(async move {
                    let beside = store.data_mut();
                    beside.hand_over()?;
                    let answer: Answered = (Ok(beside.callee.answer_async(payload).await?),);
                    Ok(answer)
                })
            },
        )?,
    }
    linker.instance("wasi:clocks/monotonic-clock@0.2.0")?.func_wrap(
        "now",
        |store: StoreContextMut<'_, Beside>, (): ()| {
            Ok((nanoseconds(store.data().began.elapsed()),))
        },
    )?;
    Ok(linker)
}

impl Beside {
    /// Gives the callee what was sent.
    fn hand_over(&mut self) -> wasmtime::Result<()> {
        while let Some(payload) = self.sent.pop_front() {
            self.callee.cast(&self.handle_cast, payload)?;
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Polls until it is ready: nothing here waits for anything.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
