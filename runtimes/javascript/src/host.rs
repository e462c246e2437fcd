//! What the prelude can ask the host for, as functions of one object that only it sees.

use std::cell::Cell;

use rquickjs::function::Func;
use rquickjs::{Ctx, Error, Exception, Object, Result, TypedArray};

use crate::solo::service::log::{Level, log as write_log};
use crate::solo::service::messaging::{MessageError, ServiceRef, lookup, self_id};
use crate::solo::service::{context, functions as by_name, secrets, timers};
use crate::wasi::clocks::{monotonic_clock, wall_clock};
use crate::wasi::config::store as config;
use crate::wasi::keyvalue::atomics::increment;
use crate::wasi::keyvalue::store::{Bucket, Error as StoreError, open};
use crate::wasi::random::random::get_random_bytes;
use crate::{modules, urls};

/// What the cell hands back to `tick`.
const TICK: &[u8] = b"tick";

thread_local! {
    /// The host may be asked: this is an instance, and not the build.
    static BEGUN: Cell<bool> = const { Cell::new(false) };
    /// When the host wakes this instance, and by which of its timers.
    static WAKES: Cell<Option<(f64, u64)>> = const { Cell::new(None) };
}

/// From now on the host may be asked.
pub(crate) fn begin() {
    BEGUN.with(|begun| begun.set(true));
}

/// The clock of the engine. While the component is built it stands still.
#[unsafe(no_mangle)]
pub extern "C" fn __rquickjs_host_now_us() -> f64 {
    if !BEGUN.with(Cell::get) {
        return 0.0;
    }
    let now = wall_clock::now();
    now.seconds as f64 * 1e6 + f64::from(now.nanoseconds / 1_000)
}

pub(crate) fn random(bytes: u32) -> Vec<u8> {
    get_random_bytes(bytes.into())
}

/// Milliseconds since some moment.
fn monotonic_ms() -> f64 {
    if BEGUN.with(Cell::get) { monotonic_clock::now() as f64 / 1e6 } else { 0.0 }
}

/// Waits; others run meanwhile.
pub(crate) fn sleep(ms: f64) {
    if ms > 0.0 {
        monotonic_clock::subscribe_duration((ms * 1e6) as u64).block();
    }
}

/// Has the host call `tick` in so many milliseconds.
pub(crate) fn wake(ms: f64) {
    let at = monotonic_ms() + ms;
    if let Some((earlier, timer)) = WAKES.with(Cell::get) {
        if earlier <= at {
            return;
        }
        timers::cancel(timer);
    }
    // One that has no place among the timers of the instance is woken by its next message.
    let made = timers::send_after(ms.ceil() as u64, TICK).ok();
    WAKES.with(|wakes| wakes.set(made.map(|timer| (at, timer))));
}

/// The host has called.
pub(crate) fn ticked() {
    WAKES.with(|wakes| wakes.set(None));
}

/// A copy, as the engine may move what it has.
pub(crate) fn bytes_of(array: &TypedArray<'_, u8>) -> Vec<u8> {
    // SAFETY: there is one thread, and the engine does not run while this is copied.
    unsafe { array.as_bytes() }.unwrap_or_default().to_vec()
}

fn thrown(ctx: &Ctx<'_>, code: &str, message: &str) -> Error {
    let error = Exception::from_message(ctx.clone(), message).and_then(|exception| {
        exception.as_object().set("code", code)?;
        Ok(exception.throw())
    });
    error.unwrap_or(Error::Unknown)
}

fn message_error(ctx: &Ctx<'_>, service: &str, error: MessageError) -> Error {
    let (code, text) = match error {
        MessageError::Denied => ("denied", "it was not granted, or is not there".to_owned()),
        MessageError::Overloaded => ("overloaded", "its mailbox is full".to_owned()),
        MessageError::Timeout => ("timeout", "no answer in time".to_owned()),
        MessageError::Crashed(text) => ("crashed", text),
        MessageError::Unavailable(text) => ("unavailable", text),
        MessageError::Deadlock => ("deadlock", "the call would wait for itself".to_owned()),
        MessageError::Failed(text) => ("failed", text),
    };
    thrown(ctx, code, &format!("{service}: {text}"))
}

fn store_error(ctx: &Ctx<'_>, error: StoreError) -> Error {
    match error {
        StoreError::NoSuchStore => thrown(ctx, "no-such-store", "there is no such store"),
        StoreError::AccessDenied => thrown(ctx, "denied", "access denied"),
        StoreError::Other(text) => {
            let code = text.split(':').next().unwrap_or_default().to_owned();
            thrown(ctx, &code, &text)
        }
    }
}

fn service(ctx: &Ctx<'_>, name: &str) -> Result<ServiceRef> {
    lookup(name).map_err(|error| message_error(ctx, name, error))
}

fn bucket(ctx: &Ctx<'_>) -> Result<Bucket> {
    open("default").map_err(|error| store_error(ctx, error))
}

/// The object that the prelude is given.
pub(crate) fn functions<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let host = Object::new(ctx.clone())?;
    host.set("monotonic", Func::from(monotonic_ms))?;
    host.set("log", Func::from(|level: String, text: String| write_log(level_of(&level), &text)))?;
    let fill = |ctx: Ctx<'js>, bytes: u32| TypedArray::new(ctx, random(bytes));
    host.set("random", Func::from(fill))?;
    host.set("selfId", Func::from(self_id))?;
    host.set("traceId", Func::from(context::trace_id))?;
    host.set("remaining", Func::from(|| context::remaining_ms().map(|ms| ms as f64)))?;
    messages(&host)?;
    values(&host)?;
    text(&host)?;
    urls::functions(&host)?;
    host.set("required", Func::from(modules::required))?;
    host.set("form", Func::from(modules::form))?;
    host.set("text", Func::from(modules::text))?;
    host.set("script", Func::from(modules::script))?;
    host.set("namespace", Func::from(modules::namespace))?;
    Ok(host)
}

fn level_of(name: &str) -> Level {
    match name {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Info,
    }
}

fn messages<'js>(host: &Object<'js>) -> Result<()> {
    let call = |ctx: Ctx<'js>, name: String, payload: TypedArray<'js, u8>, ms: Option<u32>| {
        let answer = service(&ctx, &name)?.call(&bytes_of(&payload), ms);
        let answer = answer.map_err(|error| message_error(&ctx, &name, error))?;
        TypedArray::new(ctx, answer)
    };
    host.set("call", Func::from(call))?;
    let send = |ctx: Ctx<'js>, name: String, payload: TypedArray<'js, u8>| {
        let sent = service(&ctx, &name)?.send(&bytes_of(&payload));
        sent.map_err(|error| message_error(&ctx, &name, error))
    };
    host.set("send", Func::from(send))?;
    let call =
        |ctx: Ctx<'js>, name: String, function: String, arguments: String, ms: Option<u32>| {
            let answer = by_name::call(&service(&ctx, &name)?, &function, &arguments, ms);
            answer.map_err(|error| message_error(&ctx, &name, error))
        };
    host.set("callFunction", Func::from(call))?;
    let send = |ctx: Ctx<'js>, name: String, function: String, arguments: String| {
        let sent = by_name::send(&service(&ctx, &name)?, &function, &arguments);
        sent.map_err(|error| message_error(&ctx, &name, error))
    };
    host.set("sendFunction", Func::from(send))?;
    let find = |ctx: Ctx<'js>, name: String| service(&ctx, &name).map(drop);
    host.set("lookup", Func::from(find))?;
    let monitor = |ctx: Ctx<'js>, name: String| {
        let watch = service(&ctx, &name)?.monitor();
        watch.map(|watch| watch as f64).map_err(|error| message_error(&ctx, &name, error))
    };
    host.set("monitor", Func::from(monitor))?;
    let demonitor = |watch: f64| crate::solo::service::messaging::demonitor(watch as u64);
    host.set("demonitor", Func::from(demonitor))
}

fn values<'js>(host: &Object<'js>) -> Result<()> {
    let get = |ctx: Ctx<'js>, key: String| {
        let value = bucket(&ctx)?.get(&key).map_err(|error| store_error(&ctx, error))?;
        value.map(|value| TypedArray::new(ctx, value)).transpose()
    };
    host.set("kvGet", Func::from(get))?;
    let set = |ctx: Ctx<'js>, key: String, value: TypedArray<'js, u8>| {
        bucket(&ctx)?.set(&key, &bytes_of(&value)).map_err(|error| store_error(&ctx, error))
    };
    host.set("kvSet", Func::from(set))?;
    let delete = |ctx: Ctx<'js>, key: String| {
        bucket(&ctx)?.delete(&key).map_err(|error| store_error(&ctx, error))
    };
    host.set("kvDelete", Func::from(delete))?;
    let exists = |ctx: Ctx<'js>, key: String| {
        bucket(&ctx)?.exists(&key).map_err(|error| store_error(&ctx, error))
    };
    host.set("kvExists", Func::from(exists))?;
    let keys = |ctx: Ctx<'js>, cursor: Option<String>| {
        let page = bucket(&ctx)?.list_keys(cursor.as_deref());
        let page = page.map_err(|error| store_error(&ctx, error))?;
        let object = Object::new(ctx)?;
        object.set("keys", page.keys)?;
        object.set("cursor", page.cursor)?;
        Ok::<_, Error>(object)
    };
    host.set("kvKeys", Func::from(keys))?;
    let add = |ctx: Ctx<'js>, key: String, delta: f64| {
        let number = increment(&bucket(&ctx)?, &key, delta as i64);
        number.map(|number| number as f64).map_err(|error| store_error(&ctx, error))
    };
    host.set("kvAdd", Func::from(add))?;
    host.set("config", Func::from(|key: String| config::get(&key).ok().flatten()))?;
    let secret = |ctx: Ctx<'js>, key: String| {
        secrets::get(&key).map(|value| TypedArray::new(ctx, value)).transpose()
    };
    host.set("secret", Func::from(secret))
}

fn text<'js>(host: &Object<'js>) -> Result<()> {
    let encode = |ctx: Ctx<'js>, text: String| TypedArray::new(ctx, text.into_bytes());
    host.set("encode", Func::from(encode))?;
    let decode = |ctx: Ctx<'js>, bytes: TypedArray<'js, u8>, fatal: bool| {
        let bytes = bytes_of(&bytes);
        match String::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(error) if !fatal => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
            Err(_) => Err(Exception::throw_type(&ctx, "The encoded data was not valid utf-8")),
        }
    };
    host.set("decode", Func::from(decode))
}
