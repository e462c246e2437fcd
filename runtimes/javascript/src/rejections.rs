//! Promises that were rejected and that nobody waits for: lines of the log, once the turn is over.

use std::cell::RefCell;

use rquickjs::{Ctx, Function, Object, Persistent, Value};

/// Those of one turn; more are not told one by one.
const NOTED_MAX: usize = 100;

/// One of them.
struct Rejection {
    promise: Persistent<Value<'static>>,
    reason: Persistent<Value<'static>>,
}

thread_local!(static NOTED: RefCell<Vec<Rejection>> = const { RefCell::new(Vec::new()) });

/// The engine tells of a promise that was rejected with nobody waiting, or that somebody waits for after all.
pub(crate) fn track<'js>(ctx: Ctx<'js>, promise: Value<'js>, reason: Value<'js>, is_handled: bool) {
    NOTED.with(|noted| {
        let mut noted = noted.borrow_mut();
        if is_handled {
            noted.retain(|other| {
                let other = other.promise.clone().restore(&ctx);
                other.is_ok_and(|other| other != promise)
            });
        } else if noted.len() < NOTED_MAX {
            let promise = Persistent::save(&ctx, promise);
            noted.push(Rejection { promise, reason: Persistent::save(&ctx, reason) });
        }
    });
}

/// Writes those that are left.
pub(crate) fn report<'js>(ctx: &Ctx<'js>, inside: &Object<'js>) -> rquickjs::Result<()> {
    let noted = NOTED.with(RefCell::take);
    if noted.is_empty() {
        return Ok(());
    }
    let tell: Function = inside.get("rejected")?;
    for rejection in noted {
        tell.call::<_, ()>((rejection.reason.restore(ctx)?,))?;
    }
    Ok(())
}
