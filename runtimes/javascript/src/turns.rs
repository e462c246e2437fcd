//! The turns of the event loop: what was promised is waited for, and timers run when they are due.

use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Function, Object, Promise, Value};

use crate::errors;
use crate::exports::solo::runtime::source::{Failure, Stage};
use crate::host;

/// Waits until a promise is settled, and answers its value; what is no promise is its own value.
///
/// # Errors
/// It was rejected, or nothing will settle it.
pub(crate) fn settle<'js>(
    ctx: &Ctx<'js>,
    inside: &Object<'js>,
    value: Value<'js>,
    stage: Stage,
) -> Result<Value<'js>, Failure> {
    let Some(promise) = value.as_promise().cloned() else {
        while ctx.execute_pending_job() {}
        return Ok(value);
    };
    loop {
        while ctx.execute_pending_job() {}
        match promise.state() {
            PromiseState::Pending => {}
            PromiseState::Resolved | PromiseState::Rejected => {
                return outcome(ctx, &promise, stage);
            }
        }
        let due = next(inside).map_err(|error| errors::of(ctx, error, stage))?;
        let Some(due) = due else { return Err(errors::never(stage)) };
        host::sleep(due);
        run_due(inside).map_err(|error| errors::of(ctx, error, stage))?;
    }
}

fn outcome<'js>(
    ctx: &Ctx<'js>,
    promise: &Promise<'js>,
    stage: Stage,
) -> Result<Value<'js>, Failure> {
    match promise.result::<Value<'js>>() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(errors::of(ctx, error, stage)),
        None => Err(errors::never(stage)),
    }
}

/// Milliseconds until the next timer is due.
fn next(inside: &Object<'_>) -> rquickjs::Result<Option<f64>> {
    let next: Function = inside.get("next")?;
    let due: f64 = next.call(())?;
    Ok((due >= 0.0).then_some(due))
}

fn run_due(inside: &Object<'_>) -> rquickjs::Result<()> {
    let run: Function = inside.get("runDue")?;
    run.call(())
}

/// Has the host wake this instance for its next timer.
pub(crate) fn arm<'js>(ctx: &Ctx<'js>, inside: &Object<'js>) -> rquickjs::Result<()> {
    while ctx.execute_pending_job() {}
    if let Some(due) = next(inside)? {
        host::wake(due);
    }
    Ok(())
}
