//! Starts children of its own and supervises them, as it is told to.
//!
//! Calls (G: number of a group, from 1; NAME: of a child in it):
//! - `open STRATEGY MAX WINDOW AUTO` makes a group: `one-for-one`, `one-for-all` or `rest-for-one`;
//!   more than MAX restarts within WINDOW ms end it; `never`, `any-significant` or
//!   `all-significant`. Answers its number.
//! - `spawn G NAME CODE RESTART SIGNIFICANT SHUTDOWN_MS [KEY=VALUE;KEY=VALUE...]` starts a child from
//!   the code of the service CODE: `permanent`, `transient` or `temporary`; `true` or `false`. What
//!   follows is its configuration; values may hold spaces. Answers `spawned`. CODE may be the parent's
//!   own name: children of children.
//! - `stop G NAME` answers `stopped` once it is gone.
//! - `list G` answers `{"name":"...","instance":"...","state":"...","restarts":N}` for each child, a line
//!   each, in the order of their start.
//! - `call G NAME PAYLOAD` answers the child's answer; `G NAME@MS` waits for MS milliseconds.
//! - `send G NAME PAYLOAD` answers `sent`.
//! - `monitor G NAME` watches a child and answers the number of the watch; `downs` answers what came,
//!   as the guest `watcher` does.
//! - `drop G` ends a group with all its children. Answers `dropped`.
//! - `crash` traps.
//!
//! An error of the host is answered as an error with the name of its variant: `denied`, `limit: ...`,
//! `exists`, `unknown`, `ended`, `failed: ...`; those of messages as `denied`, `overloaded` and so on.
//!
//! Casts: the same; answers are dropped. The configuration entry `init` holds commands, one a line,
//! that run at each start; where one fails, `init` answers `retry`.

use exports::solo::service::down_handler::{self, Down};
use exports::solo::service::handler::{self, InitError};
use solo::service::children::{
    AutoShutdown, ChildError, ChildSpec, Group, Options, Restart, Strategy,
};
use solo::service::log::{Level, log};
use solo::service::messaging::ServiceRef;
use std::cell::RefCell;
use std::collections::BTreeMap;
use text::{describe, number, quote, receiver, word};

#[path = "../../shared/config.rs"]
mod config;
#[path = "../../shared/downs.rs"]
mod downs;
#[path = "../../shared/text.rs"]
mod text;

wit_bindgen::generate!({ path: "../../../wit", world: "watcher" });

const COMMANDS: &str = "expected one of: open STRATEGY MAX WINDOW AUTO, \
     spawn G NAME CODE RESTART SIGNIFICANT SHUTDOWN_MS [KEY=VALUE;...], stop G NAME, list G, \
     call G NAME PAYLOAD, send G NAME PAYLOAD, monitor G NAME, downs, drop G, crash";

thread_local! {
    static PARENT: RefCell<Parent> = RefCell::new(Parent::default());
}

/// The groups and what was heard of their children.
#[derive(Default)]
struct Parent {
    groups: BTreeMap<u64, Family>,
    /// How many groups were made: numbers are not used again.
    opened: u64,
    downs: downs::Downs,
}

/// A group, with references to the children in it.
struct Family {
    group: Group,
    children: BTreeMap<String, ServiceRef>,
}

struct Service;

impl handler::Guest for Service {
    fn init() -> Result<(), InitError> {
        let commands = config::get("init").map_err(InitError::Retry)?.unwrap_or_default();
        for command in commands.lines().filter(|line| !line.trim().is_empty()) {
            obey(command).map_err(|error| InitError::Retry(format!("{command}: {error}")))?;
        }
        log(Level::Info, "parent started");
        Ok(())
    }

    fn handle_call(payload: Vec<u8>) -> Result<Vec<u8>, String> {
        let text = String::from_utf8(payload).map_err(|_| COMMANDS.to_owned())?;
        obey(&text)
    }

    fn handle_cast(payload: Vec<u8>) {
        if let Err(error) = Self::handle_call(payload) {
            log(Level::Warn, &format!("cast dropped: {error}"));
        }
    }

    fn terminate(reason: String) {
        log(Level::Info, &format!("parent ends: {reason}"));
    }
}

impl down_handler::Guest for Service {
    fn handle_down(down: Down) {
        let line = PARENT.with_borrow_mut(|parent| parent.downs.add(&down));
        log(Level::Info, &format!("down: {line}"));
    }
}

fn obey(text: &str) -> Result<Vec<u8>, String> {
    let (command, rest) = word(text.trim());
    PARENT.with_borrow_mut(|parent| match command {
        "open" => parent.open(rest).map(|number| number.to_string().into_bytes()),
        "spawn" => parent.spawn(rest),
        "stop" => parent.stop(rest),
        "list" => Ok(parent.family(rest)?.0.list().into_bytes()),
        "call" => {
            let (child, timeout_ms, payload) = parent.child(rest)?;
            child.call(payload.as_bytes(), timeout_ms).map_err(describe)
        }
        "send" => {
            let (child, _, payload) = parent.child(rest)?;
            child.send(payload.as_bytes()).map_err(describe)?;
            Ok(b"sent".to_vec())
        }
        "monitor" => {
            let monitor = parent.child(rest)?.0.monitor().map_err(describe)?;
            Ok(monitor.to_string().into_bytes())
        }
        "downs" => Ok(parent.downs.lines().into_bytes()),
        "drop" => {
            let number: u64 = number("group", rest)?;
            let family = parent.groups.remove(&number).ok_or_else(|| no_group(number))?;
            drop(family);
            Ok(b"dropped".to_vec())
        }
        "crash" => core::arch::wasm32::unreachable(),
        _ => Err(COMMANDS.to_owned()),
    })
}

impl Parent {
    fn open(&mut self, arguments: &str) -> Result<u64, String> {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let &[strategy, max_restarts, window_ms, auto_shutdown] = words.as_slice() else {
            return Err(COMMANDS.to_owned());
        };
        let options = Options {
            strategy: self::strategy(strategy)?,
            max_restarts: number("restarts", max_restarts)?,
            window_ms: number("window", window_ms)?,
            auto_shutdown: self::auto_shutdown(auto_shutdown)?,
        };
        self.opened += 1;
        let family = Family { group: Group::new(options), children: BTreeMap::new() };
        self.groups.insert(self.opened, family);
        Ok(self.opened)
    }

    fn spawn(&mut self, arguments: &str) -> Result<Vec<u8>, String> {
        let (family, rest) = self.family(arguments)?;
        let mut words = rest.splitn(6, ' ');
        let mut next = || words.next().ok_or_else(|| COMMANDS.to_owned());
        let child = ChildSpec {
            name: next()?.to_owned(),
            code: next()?.to_owned(),
            restart: restart(next()?)?,
            significant: next()?.parse().map_err(|_| "significant: neither true nor false")?,
            shutdown_ms: number("shutdown", next()?)?,
            config: entries(words.next().unwrap_or_default())?,
        };
        let reference = family.group.spawn(&child).map_err(describe_child)?;
        family.children.insert(child.name, reference);
        Ok(b"spawned".to_vec())
    }

    fn stop(&mut self, arguments: &str) -> Result<Vec<u8>, String> {
        let (family, name) = self.family(arguments)?;
        family.group.stop(name).map_err(describe_child)?;
        family.children.remove(name);
        Ok(b"stopped".to_vec())
    }

    /// Takes the number of a group off the arguments.
    fn family<'a>(&mut self, arguments: &'a str) -> Result<(&mut Family, &'a str), String> {
        let (number, rest) = word(arguments);
        let number = text::number("group", number)?;
        let family = self.groups.get_mut(&number).ok_or_else(|| no_group(number))?;
        Ok((family, rest))
    }

    /// Takes a group and a child off the arguments; gives also how long to wait for the child.
    fn child<'a>(
        &mut self,
        arguments: &'a str,
    ) -> Result<(&ServiceRef, Option<u32>, &'a str), String> {
        let (family, rest) = self.family(arguments)?;
        let (name, payload) = word(rest);
        let (name, timeout_ms) = receiver(name)?;
        let child = family.children.get(name).ok_or_else(|| describe_child(ChildError::Unknown))?;
        Ok((child, timeout_ms, payload))
    }
}

impl Family {
    fn list(&self) -> String {
        let line = |child: solo::service::children::ChildInfo| {
            let [name, instance, state] =
                [&child.name, &child.instance, &child.state].map(|text| quote(text));
            let restarts = child.restarts;
            format!(
                r#"{{"name":{name},"instance":{instance},"state":{state},"restarts":{restarts}}}"#
            )
        };
        self.group.members().into_iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn no_group(number: u64) -> String {
    format!("this parent has no group {number}")
}

fn strategy(text: &str) -> Result<Strategy, String> {
    match text {
        "one-for-one" => Ok(Strategy::OneForOne),
        "one-for-all" => Ok(Strategy::OneForAll),
        "rest-for-one" => Ok(Strategy::RestForOne),
        _ => Err(format!("no strategy: {text}; one-for-one, one-for-all or rest-for-one")),
    }
}

fn auto_shutdown(text: &str) -> Result<AutoShutdown, String> {
    match text {
        "never" => Ok(AutoShutdown::Never),
        "any-significant" => Ok(AutoShutdown::AnySignificant),
        "all-significant" => Ok(AutoShutdown::AllSignificant),
        _ => Err(format!("no shutdown: {text}; never, any-significant or all-significant")),
    }
}

fn restart(text: &str) -> Result<Restart, String> {
    match text {
        "permanent" => Ok(Restart::Permanent),
        "transient" => Ok(Restart::Transient),
        "temporary" => Ok(Restart::Temporary),
        _ => Err(format!("no restart: {text}; permanent, transient or temporary")),
    }
}

/// Reads `KEY=VALUE;KEY=VALUE...`.
fn entries(text: &str) -> Result<Vec<(String, String)>, String> {
    let entry = |entry: &str| {
        let (key, value) = entry.split_once('=').ok_or_else(|| format!("no entry: {entry}"))?;
        Ok((key.trim().to_owned(), value.to_owned()))
    };
    text.split(';').filter(|text| !text.trim().is_empty()).map(entry).collect()
}

/// The name of the variant, and its text where it has one.
fn describe_child(error: ChildError) -> String {
    match error {
        ChildError::Denied => "denied".to_owned(),
        ChildError::Limit(why) => format!("limit: {why}"),
        ChildError::Exists => "exists".to_owned(),
        ChildError::Unknown => "unknown".to_owned(),
        ChildError::Ended => "ended".to_owned(),
        ChildError::Failed(why) => format!("failed: {why}"),
    }
}

export!(Service);
