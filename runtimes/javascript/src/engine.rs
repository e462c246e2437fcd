//! The engine: started once when the component is built, given its source once when an instance starts.

use std::cell::RefCell;

use rquickjs::function::Args;
use rquickjs::{
    CatchResultExt, Context, Ctx, Function, Object, Persistent, Runtime, TypedArray, Value,
};

use crate::errors::{self, Place};
use crate::exports::solo::runtime::source::{Down, Failure, Loaded, Module, Stage};
use crate::{host, modules, rejections, turns};

/// Of the engine's own stack, which lies in the memory of the component (1 MiB of it). Recursion without end is a
/// RangeError before it is the trap of a stack that is used up.
const STACK_BYTES: usize = 256 << 10;

/// What every instance has before its source: one function that is given what the host can do, and answers
/// what the engine calls.
const PRELUDE: &str = concat!(
    "(function (host) {\n'use strict';\n",
    include_str!("prelude/text.js"),
    include_str!("prelude/console.js"),
    include_str!("prelude/timers.js"),
    include_str!("prelude/clone.js"),
    include_str!("prelude/events.js"),
    include_str!("prelude/url.js"),
    include_str!("prelude/misc.js"),
    include_str!("prelude/commonjs.js"),
    include_str!("prelude/inside.js"),
    "\n})"
);

/// Functions with a meaning of their own.
const CONVENTIONS: [&str; 6] =
    ["init", "handle", "onDown", "terminate", "exportState", "importState"];

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
    /// Asked for while the engine is at work.
    static NAMES_OF: RefCell<Option<Persistent<Function<'static>>>> = const { RefCell::new(None) };
}

/// The engine of this instance.
pub(crate) struct Engine {
    // Before the context: what refers to it goes first.
    /// What the prelude answered.
    inside: Persistent<Object<'static>>,
    /// What the entry module exports; none before `load`.
    service: Option<Persistent<Object<'static>>>,
    context: Context,
    _runtime: Runtime,
}

/// Starts the engine. A defect in it or in the prelude is one of the build.
pub(crate) fn prepare() {
    let runtime = Runtime::new().expect("an engine");
    runtime.set_max_stack_size(STACK_BYTES);
    runtime.set_loader(modules::Files, modules::Files);
    runtime.set_host_promise_rejection_tracker(Some(Box::new(rejections::track)));
    let context = Context::full(&runtime).expect("a context");
    let inside = context.with(|ctx| {
        let make = || -> rquickjs::Result<_> {
            let prelude: Function = ctx.eval(PRELUDE)?;
            let inside: Object = prelude.call((host::functions(&ctx)?,))?;
            modules::prepare(&ctx)?;
            let names_of = Persistent::save(&ctx, inside.get::<_, Function>("namesOf")?);
            NAMES_OF.with(|place| place.replace(Some(names_of)));
            Ok(Persistent::save(&ctx, inside))
        };
        make().catch(&ctx).unwrap_or_else(|error| panic!("the prelude failed: {error}"))
    });
    runtime.run_gc();
    let engine = Engine { inside, service: None, context, _runtime: runtime };
    ENGINE.with(|place| place.replace(Some(engine)));
}

/// Works with the engine.
pub(crate) fn with<T>(work: impl FnOnce(&mut Engine) -> T) -> T {
    ENGINE.with(|place| {
        let mut place = place.borrow_mut();
        work(place.as_mut().expect("`prepare` has run"))
    })
}

impl Engine {
    pub(crate) fn load(&mut self, entry: &str, sources: Vec<Module>) -> Result<Loaded, Failure> {
        host::begin();
        modules::put(sources);
        if !modules::is_there(entry) {
            return Err(errors::missing(entry));
        }
        let inside = self.inside.clone();
        let (service, loaded) = self.context.with(|ctx| {
            let inside =
                inside.restore(&ctx).map_err(|error| errors::of(&ctx, error, Stage::Load))?;
            seed(&ctx, &inside)?;
            let declared = modules::declare(&ctx, entry);
            let declared =
                declared.map_err(|error| errors::of(&ctx, error, Stage::Syntax).at_file(entry))?;
            let of = |error| errors::of(&ctx, error, Stage::Load);
            let (module, running) = declared.eval().map_err(of)?;
            turns::settle(&ctx, &inside, running.into_value(), Stage::Load)?;
            let service = module.namespace().map_err(of)?;
            let loaded = describe(&service).map_err(of)?;
            rejections::report(&ctx, &inside).map_err(of)?;
            Ok((Persistent::save(&ctx, service), loaded))
        })?;
        self.service = Some(service);
        Ok(loaded)
    }

    pub(crate) fn call(&mut self, function: &str, arguments: &str) -> Result<String, Failure> {
        self.run("call", Stage::Call, |ctx, service, args| {
            args.push_arg(service.clone())?;
            args.push_arg(function)?;
            args.push_arg(rquickjs::String::from_str(ctx.clone(), arguments)?)
        })?
        .text()
    }

    pub(crate) fn handle(&mut self, payload: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let answer = self.run("handle", Stage::Call, |ctx, service, args| {
            args.push_arg(service.clone())?;
            args.push_arg(TypedArray::new(ctx.clone(), payload)?)
        })?;
        Ok(answer.bytes().unwrap_or_default())
    }

    /// Runs one of the conventions, if the service has it.
    pub(crate) fn optional(&mut self, name: &str, bytes: Vec<u8>) -> Result<Answer, Failure> {
        self.run("optional", Stage::Call, |ctx, service, args| {
            args.push_arg(service.clone())?;
            args.push_arg(name)?;
            args.push_arg(TypedArray::new(ctx.clone(), bytes)?)
        })
    }

    pub(crate) fn down(&mut self, down: &Down) -> Result<(), Failure> {
        self.run("down", Stage::Call, |ctx, service, args| {
            let object = Object::new(ctx.clone())?;
            object.set("monitor", down.monitor as f64)?;
            object.set("service", down.service.as_str())?;
            object.set("instance", down.instance.as_str())?;
            object.set("reason", down.reason.as_str())?;
            object.set("message", down.message.as_str())?;
            object.set("restarts", down.restarts)?;
            args.push_arg(service.clone())?;
            args.push_arg(object)
        })
        .map(drop)
    }

    pub(crate) fn tick(&mut self) -> Result<(), Failure> {
        host::ticked();
        self.run("tick", Stage::Call, |_, _, _| Ok(())).map(drop)
    }

    pub(crate) fn terminate(&mut self, reason: &str) -> Result<(), Failure> {
        self.optional("terminate", reason.as_bytes().to_vec()).map(drop)
    }

    pub(crate) fn export_state(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.optional("exportState", Vec::new()).map(Answer::bytes)
    }

    pub(crate) fn import_state(&mut self, state: Vec<u8>) -> Result<(), Failure> {
        self.optional("importState", state).map(drop)
    }

    /// Calls a function of the prelude, and waits for what it promises.
    fn run(
        &mut self,
        function: &str,
        stage: Stage,
        push: impl for<'js> FnOnce(&Ctx<'js>, &Object<'js>, &mut Args<'js>) -> rquickjs::Result<()>,
    ) -> Result<Answer, Failure> {
        let inside = self.inside.clone();
        let service = self.service.clone().ok_or_else(errors::not_loaded)?;
        self.context.with(|ctx| {
            let of = |error| errors::of(&ctx, error, stage);
            let inside = inside.restore(&ctx).map_err(of)?;
            let service = service.restore(&ctx).map_err(of)?;
            let started = || {
                let function: Function = inside.get(function)?;
                let mut args = Args::new_unsized(ctx.clone());
                push(&ctx, &service, &mut args)?;
                function.call_arg::<Value>(args)
            };
            let started = started().map_err(of)?;
            let value = turns::settle(&ctx, &inside, started, stage)?;
            rejections::report(&ctx, &inside).map_err(of)?;
            turns::arm(&ctx, &inside).map_err(of)?;
            Answer::of(value).map_err(of)
        })
    }
}

/// What a function of the prelude answers.
pub(crate) enum Answer {
    Nothing,
    Text(String),
    Bytes(Vec<u8>),
}

impl Answer {
    fn of(value: Value<'_>) -> rquickjs::Result<Self> {
        if let Some(text) = value.as_string() {
            return text.to_string().map(Self::Text);
        }
        let array =
            value.into_object().and_then(|object| TypedArray::<u8>::from_object(object).ok());
        Ok(array.map_or(Self::Nothing, |array| Self::Bytes(host::bytes_of(&array))))
    }

    fn text(self) -> Result<String, Failure> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Nothing | Self::Bytes(_) => Ok("null".to_owned()),
        }
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.into_bytes()),
            Self::Nothing => None,
        }
    }
}

/// Runs a script of CommonJS, and answers a module of the language that has its exports.
pub(crate) fn names_of(ctx: &Ctx<'_>, path: &str) -> rquickjs::Result<String> {
    let function = NAMES_OF.with(|place| place.borrow().clone());
    let function = function.ok_or(rquickjs::Error::Unknown)?.restore(ctx)?;
    function.call((path,))
}

/// Gives this instance random numbers of its own.
fn seed<'js>(ctx: &Ctx<'js>, inside: &Object<'js>) -> Result<(), Failure> {
    let seed = || {
        let function: Function = inside.get("seed")?;
        function.call::<_, ()>((TypedArray::new(ctx.clone(), host::random(32))?,))
    };
    seed().map_err(|error| errors::of(ctx, error, Stage::Load))
}

fn describe(service: &Object<'_>) -> rquickjs::Result<Loaded> {
    let mut functions = Vec::new();
    let (mut handles, mut watches) = (false, false);
    for name in service.keys::<String>() {
        let name = name?;
        if !service.get::<_, Value>(name.as_str())?.is_function() {
            continue;
        }
        handles |= name == "handle";
        watches |= name == "onDown";
        if !CONVENTIONS.contains(&name.as_str()) {
            functions.push(name);
        }
    }
    functions.sort();
    Ok(Loaded { functions, handles, watches })
}
