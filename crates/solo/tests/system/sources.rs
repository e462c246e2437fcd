//! D2: source text (JavaScript, TypeScript) as services: what they offer, what they are told of their mistakes, and
//! that they are services like any other.

use std::time::Duration;

use serde_json::{Value, json};
use solo_api::{Client, v1};
use solo_types::Problem;

use crate::harness::{ADDER, Requests, Solo, deploy, eventually, guest_bytes};

/// A deployment of files; the first is the one that it begins with.
pub(crate) fn source(name: &str, files: &[(&str, &str)]) -> v1::DeployRequest {
    let file = |(path, content): &(&str, &str)| v1::SourceFile {
        path: (*path).to_owned(),
        content: content.as_bytes().to_vec(),
    };
    let entry = files[0].0.to_owned();
    let files = v1::SourceFiles { entry, files: files.iter().map(file).collect() };
    let code = v1::Code { source: Some(v1::code::Source::Files(files)), ..v1::Code::default() };
    v1::DeployRequest { code: Some(code), ..deploy(name, "") }
}

pub(crate) fn allowed(mut request: v1::DeployRequest, others: &[&str]) -> v1::DeployRequest {
    let capability = |other: &&str| v1::CapabilityRequest {
        object: format!("service:{other}"),
        rights: vec![v1::Right::Call.into(), v1::Right::Send.into()],
    };
    request.capabilities = others.iter().map(capability).collect();
    request
}

/// The answer as JSON.
pub(crate) async fn call(client: &Client, name: &str, function: &str, arguments: Value) -> Value {
    let answer = client.json_call(name, function, &arguments.to_string()).await;
    let answer = answer.unwrap_or_else(|problem| panic!("{name} {function}: {problem:?}"));
    serde_json::from_str(&answer).expect("JSON")
}

pub(crate) fn detail<'a>(problem: &'a Problem, key: &str) -> &'a str {
    problem.details.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
}

/// Does what it is told, well or badly.
const HANDY: &str = r#"
import { words, loads } from "./lib/words.js";
import data from "./data.json";
import * as solo from "solo";
const started = await new Promise((done) => setTimeout(() => done("started"), 1));
let count = 0, ticks = 0, initialised = false, downs = [];
export const init = async () => { await null; initialised = true; };
export const handle = (bytes) => bytes.reverse();
export const onDown = (down) => downs.push([down.service, down.reason]);
export const terminate = (reason) => console.log("the end:", reason);
export const hello = (name = "you") => `Hello, ${words(name).join(" ")}!`;
export const echo = (...values) => values;
export const about = () => ({ started, initialised, loads, data });
export async function add(n) { await null; return count += n; }
export function nothing() {}
export function every(ms) { setInterval(() => ticks++, ms); }
export const seen = () => ({ ticks, downs });
export const random = () => [Math.random(), crypto.randomUUID(), Array.from(crypto.getRandomValues(new Uint8Array(8)))];
export const now = () => Date.now();
export async function keep(key, value) { await solo.kv.setJSON(key, value); return solo.kv.getJSON(key); }
export const kept = (key) => solo.kv.getJSON(key);
export const ask = (...to) => solo.call(...to);
export const text = async (to, payload) => (await solo.call(to, payload)).text();
export const tell = (...to) => solo.send(...to);
export const sum = (a, b) => solo.service("adder").add(a, b);
export const watch = (name) => solo.monitor(name);
export const fail = async () => { throw new TypeError("not today"); };
export const later = () => { setTimeout(() => { throw new RangeError("much later"); }, 1); };
export const never = () => new Promise(() => {});
export const loop = () => { for (;;) {} };
export const deep = (n) => deep(n + 1) + 1;
export const hog = () => { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); };
export const large = (n) => "x".repeat(n);
export const cyclic = () => { const a = {}; a.a = a; return a; };
export const explode = () => /^(a+)+$/.test("a".repeat(40) + "b");
"#;
const WORDS: &str =
    "let n = 0; export const words = (text) => text.split('_');\nexport const loads = ++n;";

pub(crate) fn handy(name: &str) -> v1::DeployRequest {
    source(name, &[("main.js", HANDY), ("lib/words.js", WORDS), ("data.json", "{\"a\": [1]}")])
}

#[tokio::test]
async fn text_is_a_service() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let deployed = client.deploy(handy("handy")).await.expect("deployed");
    assert_eq!(deployed.kind(), v1::ServiceKind::Source);
    let signatures: Vec<&str> = deployed.exports.iter().map(|e| e.signature.as_str()).collect();
    assert!(signatures.contains(&"hello: func(name?: any) -> any"), "{signatures:?}");
    assert!(!signatures.iter().any(|signature| signature.starts_with("handle")));
    let call =
        async |function: &str, arguments: Value| call(&client, "handy", function, arguments).await;
    assert_eq!(call("hello", json!([])).await, "Hello, you!");
    assert_eq!(call("hello", json!(["a_b"])).await, "Hello, a b!");
    let values = json!([1, -0.5, null, "\u{1f600}\0\u{ffff}", [[]], {"__proto__": 1, "": {}}]);
    assert_eq!(call("echo", values.clone()).await, values);
    let about = json!({"started": "started", "initialised": true, "loads": 1, "data": {"a": [1]}});
    assert_eq!(call("about", json!([])).await, about);
    assert_eq!(
        (call("add", json!([2])).await, call("add", json!([40])).await),
        (json!(2), json!(42))
    );
    assert_eq!(call("nothing", json!([])).await, Value::Null);
    assert_eq!(client.call("handy", "abc").await.as_deref(), Ok("cba"));
    // A clock that goes, and random numbers that are nobody else's.
    let now = call("now", json!([])).await.as_f64().expect("a number");
    let real = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs_f64() * 1e3;
    assert!((now - real).abs() < 60_000.0, "{now} {real}");
    client.deploy(handy("other")).await.expect("deployed");
    let other = crate::sources::call(&client, "other", "random", json!([])).await;
    let own = call("random", json!([])).await;
    for index in 0..3 {
        assert_ne!(own[index], other[index]);
    }
    // Timers run while nobody calls.
    call("every", json!([2])).await;
    let start = call("seen", json!([])).await["ticks"].as_u64();
    eventually("the timer runs", || async {
        (call("seen", json!([])).await["ticks"].as_u64() > start.map(|n| n + 3)).then_some(())
    })
    .await;
    client.kill("handy", false).await.expect("killed");
    let lines = solo.json_lines(&["logs", "handy"]);
    assert!(lines.iter().any(|line| line["message"] == "the end: killed"), "{lines:?}");
}

#[tokio::test]
async fn typescript_is_a_service() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let main = "import { Kind, type Shape } from './shapes';\n\
        enum Unit { Metre = 'm' }\n\
        \n\
        export function area(shape: Shape, unit: Unit = Unit.Metre): string {\n\
        \tconst side = shape.side!;\n\
        \treturn `${side ** 2} ${unit}² ${Kind[shape.kind]}`;\n\
        }\n\
        export class Ignored<T> { constructor(private readonly value: T) {} }\n\
        export async function fail(n: number): Promise<never> {\n\
        \tconst inner = (m: number): never => { throw new RangeError(`${m as any} is wrong`); };\n\
        \treturn inner(n);\n\
        }\n";
    let shapes = "export enum Kind { Circle, Square }\nexport interface Shape { side?: number; kind: Kind }\n";
    let request = source("shapes", &[("main.ts", main), ("shapes.ts", shapes)]);
    let deployed = client.deploy(request).await.expect("deployed");
    let expected = "area: func(shape: Shape, unit?: Unit) -> string";
    assert_eq!(deployed.exports[0].signature, expected);
    let shape = json!([{"side": 3, "kind": 1}]);
    assert_eq!(call(&client, "shapes", "area", shape).await, "9 m² Square");
    let problem = client.json_call("shapes", "fail", "[7]").await.expect_err("it throws");
    assert_eq!((&*problem.reason, detail(&problem, "file")), ("EXCEPTION", "main.ts"));
    assert_eq!(problem.cause, "RangeError: 7 is wrong");
    assert_eq!(detail(&problem, "line"), "10");
    assert!(
        detail(&problem, "excerpt").contains("10 | \tconst inner = (m: number)"),
        "{problem:?}"
    );
    assert!(detail(&problem, "backtrace").contains("main.ts:11:"), "{problem:?}");
}

/// Issue 6.4: file, line, column, lines, stack.
#[tokio::test]
async fn mistakes_are_told_with_their_place() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let refused = async |files: &[(&str, &str)]| {
        let mut request = source("wrong", files);
        request.restart =
            Some(v1::RestartPolicy { max_restarts: Some(0), ..v1::RestartPolicy::default() });
        let problem = client.deploy(request).await.expect_err("refused");
        let place = format!("{}:{}", detail(&problem, "file"), detail(&problem, "line"));
        let _ = client.kill("wrong", true).await;
        (problem.reason.clone(), place, problem)
    };
    let (reason, place, problem) =
        refused(&[("a.js", "export function f() {\n  retrun 1;\n}")]).await;
    assert_eq!((&*reason, &*place), ("SYNTAX_ERROR", "a.js:2"));
    assert_eq!(detail(&problem, "column"), "9");
    assert!(detail(&problem, "excerpt").contains("retrun 1;"), "{problem:?}");
    let (reason, place, _) = refused(&[
        ("a.js", "export * from './b.js'; export const f = () => 1;"),
        ("b.js", "\n\nimport c from './c.js';"),
    ])
    .await;
    assert_eq!((&*reason, &*place), ("IMPORT_NOT_FOUND", "b.js:3"));
    let text = "const a = 1;\n\nfunction g() {\n  throw new Error('at once');\n}\ng();\nexport const f = g;";
    let (reason, place, problem) = refused(&[("a.js", text)]).await;
    assert_eq!((&*reason, &*place), ("LOAD_FAILED", "a.js:4"), "{problem:?}");
    assert!(problem.cause.contains("Error: at once"), "{problem:?}");
    assert!(detail(&problem, "backtrace").contains("a.js:6:"), "{problem:?}");
    let text = "await import('./gone.js');\nexport const f = () => 1;";
    let (reason, _, problem) = refused(&[("a.js", text)]).await;
    assert_eq!(reason, "LOAD_FAILED");
    assert!(problem.cause.contains("gone.js"), "{problem:?}");
    let text = "import { a } from './b.js';\nexport const f = () => a;";
    let (reason, _, problem) = refused(&[("a.js", text), ("b.js", "export const b = 1;")]).await;
    assert_eq!(reason, "LOAD_FAILED", "{problem:?}");
    assert!(problem.cause.contains("'a'"), "{problem:?}");
    let (reason, _, problem) = refused(&[("a.js", "export const f = 1;")]).await;
    assert_eq!(reason, "NO_EXPORTS");
    assert!(!problem.remedy.is_empty());
    let text = "export const init = () => { null.x; }; export const f = () => 1;";
    let (reason, place, problem) = refused(&[("a.js", text)]).await;
    assert_eq!((&*reason, &*place), ("INIT_FAILED", "a.js:1"), "{problem:?}");
    // None of them left anything.
    assert!(client.names().await.is_empty());
}

#[tokio::test]
async fn calls_that_go_wrong_end_nothing_else() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(handy("handy")).await.expect("deployed");
    call(&client, "handy", "add", json!([5])).await;
    let refused = async |function: &str, arguments: &str| {
        let problem = client.json_call("handy", function, arguments).await;
        problem.expect_err("refused")
    };
    let problem = refused("fail", "[]").await;
    assert_eq!((&*problem.reason, &*problem.cause), ("EXCEPTION", "TypeError: not today"));
    assert_eq!(detail(&problem, "file"), "main.js");
    let problem = refused("cyclic", "[]").await;
    assert_eq!(problem.reason, "EXCEPTION");
    let problem = refused("deep", "[0]").await;
    assert_eq!(problem.reason, "EXCEPTION", "{problem:?}");
    assert!(problem.cause.contains("RangeError"), "{problem:?}");
    let problem = refused("never", "[]").await;
    assert_eq!(problem.reason, "EXCEPTION");
    assert!(problem.cause.contains("nothing settles"), "{problem:?}");
    let problem = refused("dance", "[]").await;
    assert_eq!(problem.reason, "NO_SUCH_FUNCTION");
    assert!(detail(&problem, "expected").contains("hello"));
    for arguments in ["{}", "1", "[", "[1] 2"] {
        assert_eq!(refused("hello", arguments).await.reason, "BAD_ARGUMENTS", "{arguments}");
    }
    assert_eq!(refused("large", "[5000000]").await.reason, "LIMIT_EXCEEDED");
    // Whatever went wrong: it is the same instance.
    assert_eq!(call(&client, "handy", "add", json!([1])).await, 6);
    // An error of nobody's call ends the instance, as in other languages; its supervisor brings it back.
    call(&client, "handy", "later", json!([])).await;
    let lines = eventually("it is told", || async {
        let lines = solo.json_lines(&["logs", "handy"]);
        lines
            .iter()
            .any(|line| line["message"].as_str().is_some_and(|m| m.contains("much later")))
            .then_some(lines)
    })
    .await;
    assert!(!lines.is_empty());
    eventually("it is back", || async { client.json_call("handy", "add", "[1]").await.ok() }).await;
}

/// SPEC section 5: an endless loop, memory, a mailbox.
#[tokio::test]
async fn limits_hold_for_text() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = handy("handy");
    let limits = request.limits.as_mut().expect("limits");
    limits.max_memory_bytes = Some(32 << 20);
    client.deploy(request.clone()).await.expect("deployed");
    let bystander = source("bystander", &[("a.js", "export const f = () => 1;")]);
    client.deploy(bystander).await.expect("deployed");
    let problem = client.json_call("handy", "hog", "[]").await.expect_err("ended");
    assert_eq!(problem.reason, "CRASHED", "{problem:?}");
    eventually("it is back", || async { client.json_call("handy", "add", "[1]").await.ok() }).await;
    for function in ["loop", "explode"] {
        let message = v1::CallRequest {
            service: "handy".into(),
            function: function.into(),
            input: Some(v1::call_request::Input::JsonArguments("[]".into())),
            ..v1::CallRequest::default()
        };
        let called = client.grpc().call(client.request(message, Duration::from_millis(300))).await;
        assert!(called.is_err(), "{function} has no end");
        assert_eq!(call(&client, "bystander", "f", json!([])).await, 1);
        client.kill("handy", true).await.expect("killed");
        client.deploy(request.clone()).await.expect("deployed");
    }
    // At its start nobody waits without end either.
    for text in [
        "for (;;) {}",
        "export const init = () => { for (;;) {} };",
        "await new Promise(() => {});",
    ] {
        let text = format!("{text}\nexport const f = () => 1;");
        let mut request = source("endless", &[("a.js", &text)]);
        request.limits =
            Some(v1::Limits { startup_timeout_ms: Some(500), ..v1::Limits::default() });
        request.restart =
            Some(v1::RestartPolicy { max_restarts: Some(0), ..v1::RestartPolicy::default() });
        let problem = client.deploy(request).await.expect_err("refused");
        assert!(["STARTUP_TIMEOUT", "LOAD_FAILED"].contains(&&*problem.reason), "{problem:?}");
        let _ = client.kill("endless", true).await;
    }
    assert_eq!(call(&client, "bystander", "f", json!([])).await, 1);
}

/// S4, S6, S7: messages between text, components, programs.
#[tokio::test]
async fn text_talks_to_others() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deployed");
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deployed");
    client.deploy(handy("other")).await.expect("deployed");
    let request = allowed(handy("handy"), &["adder", "counter", "other"]);
    client.deploy(request).await.expect("deployed");
    let pinger = allowed(deploy("pinger", guest_bytes("pinger")), &["handy"]);
    client.deploy(pinger).await.expect("deployed");
    let call =
        async |function: &str, arguments: Value| call(&client, "handy", function, arguments).await;
    assert_eq!(call("sum", json!([20, 22])).await, 42);
    assert_eq!(call("ask", json!(["adder", "add", [1, 2]])).await, 3);
    assert_eq!(call("ask", json!(["other", "hello", ["text"]])).await, "Hello, text!");
    assert_eq!(call("text", json!(["counter", "add 3"])).await, "3");
    call("tell", json!(["counter", "add 4"])).await;
    assert_eq!(call("text", json!(["counter", "get"])).await, "7");
    call("tell", json!(["other", "add", [5]])).await;
    assert_eq!(call("ask", json!(["other", "add", [1]])).await, 6);
    assert_eq!(client.call("pinger", "ask handy abc").await.as_deref(), Ok("cba"));
    // Its own errors reach who called, and so does that it was not allowed.
    let problem =
        client.json_call("handy", "ask", r#"["other", "fail", []]"#).await.expect_err("it throws");
    assert!(problem.cause.contains("other: TypeError: not today"), "{problem:?}");
    let problem =
        client.json_call("handy", "ask", r#"["pinger", "stats"]"#).await.expect_err("denied");
    assert!(problem.cause.contains("not granted"), "{problem:?}");
    call("watch", json!(["other"])).await;
    client.kill("other", false).await.expect("killed");
    eventually("it learns of the end", || async {
        (call("seen", json!([])).await["downs"] == json!([["other", "killed"]])).then_some(())
    })
    .await;
}

/// Nothing that was acknowledged is lost: kernel, cell, update, restart.
#[tokio::test]
async fn text_survives_like_any_service() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(handy("handy")).await.expect("deployed");
    assert_eq!(
        call(&client, "handy", "keep", json!(["k", {"a": [1, null]}])).await,
        json!({"a": [1, null]})
    );
    call(&client, "handy", "add", json!([2])).await;
    solo.kill_process("kernel").await;
    let client = solo.answering().await;
    assert_eq!(call(&client, "handy", "add", json!([1])).await, 3);
    solo.kill_process("cells/wasm-default").await;
    let count =
        eventually("it is back", || async { client.json_call("handy", "add", "[1]").await.ok() })
            .await;
    assert_eq!(count, "1");
    assert_eq!(call(&client, "handy", "kept", json!(["k"])).await, json!({"a": [1, null]}));
    for strategy in [v1::UpdateStrategy::Rolling, v1::UpdateStrategy::Recreate] {
        let code = source("", &[("new.ts", "export const version = (): number => 2;")]).code;
        let update = v1::UpdateRequest {
            name: "handy".into(),
            code,
            strategy: strategy.into(),
            ..v1::UpdateRequest::default()
        };
        let update = client.request(update, Duration::from_secs(60));
        client.grpc().update(update).await.expect("updated");
        assert_eq!(call(&client, "handy", "version", json!([])).await, 2);
    }
    // What cannot be loaded replaces nothing.
    let update = v1::UpdateRequest {
        name: "handy".into(),
        code: source("", &[("new.js", "export const f = () => 1; throw new Error('broken');")])
            .code,
        ..v1::UpdateRequest::default()
    };
    let update = client.request(update, Duration::from_secs(60));
    client.grpc().update(update).await.expect_err("refused");
    assert_eq!(call(&client, "handy", "version", json!([])).await, 2);
}

/// Text of others is hostile: what it does to itself is its own affair.
#[tokio::test]
async fn text_cannot_reach_beyond_itself() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let hostile = r#"
        Object.prototype.call = () => "polluted"; Array.prototype.map = null; Promise.prototype.then = () => 0;
        globalThis.JSON = null; globalThis.console = null; Uint8Array.prototype.reverse = 1;
        export const f = () => 1;
        export const symbols = () => Object.getOwnPropertySymbols(globalThis).map((s) => String(s));
    "#;
    // It may break itself, at its start or later.
    let _ = client.deploy(source("hostile", &[("a.js", hostile)])).await;
    let own = r#"
        export const reach = () => [typeof require, typeof std, typeof os, typeof Deno, typeof WebAssembly,
            typeof globalThis[Symbol.for("solo")], typeof bjson, typeof scriptArgs];
        export const make = () => new Function("return typeof require + typeof globalThis.bjson")();
        export const evaluate = () => (0, eval)("1 + 1");
        export const load = async (what) => { try { await import(what); return "loaded"; } catch (error) { return error.message; } };
    "#;
    client.deploy(source("own", &[("a.js", own)])).await.expect("deployed");
    let reached = call(&client, "own", "reach", json!([])).await;
    for kind in reached.as_array().expect("a list") {
        assert_eq!(kind, "undefined", "{reached}");
    }
    assert_eq!(call(&client, "own", "make", json!([])).await, "undefinedundefined");
    assert_eq!(call(&client, "own", "evaluate", json!([])).await, 2);
    for path in [
        "std",
        "os",
        "qjs:std",
        "/etc/passwd",
        "../../../etc/passwd",
        "file:///etc/passwd",
        "https://a.example/x.js",
        "node:fs",
    ] {
        let told = call(&client, "own", "load", json!([path])).await;
        assert!(told.as_str().is_some_and(|told| told.contains("cannot import")), "{path}: {told}");
    }
    // Paths, sizes and nonsense.
    for (files, reason) in [
        (vec![("../a.js", "export const f = () => 1;")], "BAD_PATH"),
        (vec![("a.js", "export const f = () => 1;"), ("a.js", "")], "BAD_PATH"),
        (vec![("a.rb", "def f; end")], "UNSUPPORTED"),
    ] {
        let problem = client.deploy(source("bad", &files)).await.expect_err("refused");
        assert_eq!(problem.reason, reason, "{problem:?}");
    }
    let deep = format!("export const f = () => {}1;", "[".repeat(3_000_000));
    let problem = client.deploy(source("deep", &[("a.js", &deep)])).await.expect_err("refused");
    assert_eq!(problem.reason, "COMPILER_DIED", "{problem:?}");
    assert_eq!(call(&client, "own", "evaluate", json!([])).await, 2);
}

/// The command line, and one file inline.
#[tokio::test]
async fn text_from_the_command_line() {
    let solo = Solo::start().await;
    let folder = solo.home().join("source");
    std::fs::create_dir_all(folder.join("lib")).expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let main = write(
        "main.ts",
        "import { words } from './lib/words';\nexport const count = (text: string): number => words(text).length;\n",
    );
    let words = write(
        "lib/words.ts",
        "export const words = (text: string): string[] => text.split(' ');\n",
    );
    let deployed =
        solo.json(&["deploy", "words", &main, "--include", &words, "--startup-timeout", "10s"]);
    assert_eq!(deployed["kind"], "source", "{deployed}");
    assert_eq!(solo.json(&["call", "words", "count", "one two three"]), json!(3));
    let (_, problem) = solo.refused(&["deploy", "alone", &main]);
    assert_eq!(problem["reason"], "IMPORT_NOT_FOUND", "{problem}");
    // Without an ending the format says what it is.
    let plain = write("plain", "export const f = (a) => a * 2;");
    solo.json(&["deploy", "plain", &plain, "--format", "javascript", "--startup-timeout", "10s"]);
    assert_eq!(solo.json(&["call", "plain", "f", "21"]), json!(42));
}

/// Issue 6.1: without the runtime of a language the rest works, and the language says what is missing.
#[tokio::test]
async fn a_language_that_is_missing_is_told() {
    // Its program is a copy, beside which there are no runtimes; for another user than root it is none.
    let mut solo = Solo::new_without_root();
    solo.up().await;
    let client = solo.answering().await;
    client.deploy(deploy("adder", ADDER)).await.expect("deployed");
    if nix::unistd::geteuid().is_root() {
        let text = source("text", &[("a.js", "export const f = () => 1;")]);
        let problem = client.deploy(text).await.expect_err("refused");
        assert_eq!(problem.reason, "LANGUAGE_MISSING", "{problem:?}");
        assert!(problem.remedy.contains("make runtimes"), "{problem:?}");
        assert_eq!(client.names().await, ["adder"]);
    }
    assert_eq!(client.json_call("adder", "add", "[1, 2]").await.as_deref(), Ok("3"));
}

/// CommonJS, of the sender's own; what is in it that does not exist is found out when it runs.
#[tokio::test]
async fn scripts_of_commonjs_run() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let main = "const { word } = require('./lib'), data = require('./data.json'), own = require('./esm.mjs');\n\
        exports.f = () => [word, data.a, own.b, own.default, __filename, typeof module.exports.f, this === undefined];\n\
        exports.g = () => require('./nowhere');\n\
        exports.h = () => { throw new Error('here'); };\n\
        exports.stray = () => { Promise.reject(new Error('nobody waits')); const p = Promise.reject(1); p.catch(() => 0); };";
    let files = [
        ("main.js", main),
        (
            "lib/index.js",
            "const main = require('../main.js'); exports.word = 'a'; exports.early = typeof main.f;",
        ),
        ("data.json", "{\"a\": 2}"),
        (
            "esm.mjs",
            "import lib, { word } from './lib/index.js'; export const b = word + lib.early; export default 3;",
        ),
    ];
    client.deploy(source("scripts", &files)).await.expect("deployed");
    let expected = json!(["a", 2, "aundefined", 3, "main.js", "function", false]);
    assert_eq!(call(&client, "scripts", "f", json!([])).await, expected);
    let problem = client.json_call("scripts", "g", "[]").await.expect_err("it is not there");
    assert!(problem.cause.contains("./nowhere"), "{problem:?}");
    let problem = client.json_call("scripts", "h", "[]").await.expect_err("it throws");
    assert_eq!((detail(&problem, "file"), detail(&problem, "line")), ("main.js", "4"));
    call(&client, "scripts", "stray", json!([])).await;
    let told = eventually("it is told", || async {
        let lines = solo.json_lines(&["logs", "scripts"]);
        let told = lines.iter().filter_map(|line| line["message"].as_str());
        let told: Vec<_> =
            told.filter(|text| text.contains("unhandled")).map(str::to_owned).collect();
        (!told.is_empty()).then_some(told)
    })
    .await;
    assert!(told.len() == 1 && told[0].contains("nobody waits"), "{told:?}");
    // As the language has it: a name that is not exported is told when modules are linked.
    let files = [
        ("a.js", "import { no } from './b.cjs'; export const f = () => no;"),
        ("b.cjs", "exports.yes = 1;"),
    ];
    let problem = client.deploy(source("wrong", &files)).await.expect_err("refused");
    assert_eq!(problem.reason, "LOAD_FAILED", "{problem:?}");
}

/// Code that nobody here wrote: packages of npm, as npm installed them.
#[tokio::test]
async fn packages_of_others_run() {
    let solo = Solo::start().await;
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let modules = format!("{repository}/examples/source/packages/node_modules");
    assert!(std::path::Path::new(&modules).exists(), "packages are missing: run `make guests`");
    let folder = solo.home().join("source");
    std::fs::create_dir_all(&folder).expect("a folder");
    let deploy = |name: &str, text: &str, included: &[&str]| {
        let path = folder.join(format!("{name}.ts"));
        std::fs::write(&path, text).expect("written");
        let path = path.display().to_string();
        let mut arguments =
            vec!["deploy", name, &path, "--startup-timeout", "30s", "--max-memory", "128MiB"];
        let included: Vec<String> =
            included.iter().map(|name| format!("{modules}{name}")).collect();
        arguments.extend(included.iter().flat_map(|path| ["--include", path]));
        solo.json(&arguments);
    };
    let call =
        |name: &str, arguments: &[&str]| solo.json(&[&["call", name, "f"], arguments].concat());

    let text = "import _, { chunk } from 'lodash'; import debounce from 'lodash/debounce';\n\
        export const f = (n: number[]) => [_.groupBy(n, Math.floor), chunk(n, 2), _.template('<%= a %>!')({ a: 1 }), typeof debounce];";
    deploy("lodash", text, &["/lodash"]);
    let expected = json!([{"1": [1.2, 1.4], "2": [2.1]}, [[1.2, 1.4], [2.1]], "1!", "function"]);
    assert_eq!(call("lodash", &["[1.2, 1.4, 2.1]"]), expected);

    let text = "import { z } from 'zod';\n\
        const Person = z.object({ name: z.string().min(2), age: z.number().int().optional() });\n\
        export const f = (person: unknown) => { const parsed = Person.safeParse(person); return parsed.success ? parsed.data : parsed.error.issues.map((i) => [i.path, i.code]); };";
    deploy("zod", text, &["/zod"]);
    assert_eq!(call("zod", &[r#"{"name": "Ada", "other": 1}"#]), json!({"name": "Ada"}));
    let issues = json!([[["name"], "too_small"], [["age"], "invalid_type"]]);
    assert_eq!(call("zod", &[r#"{"name": "A", "age": "x"}"#]), issues);

    let text = "import { addDays, formatDistance, format } from 'date-fns'; import { de } from 'date-fns/locale';\n\
        export const f = (day: string) => [format(addDays(new Date(day), 30), 'yyyy-MM-dd'), formatDistance(0, 86400000 * 3, { locale: de })];";
    deploy("date-fns", text, &["/date-fns"]);
    assert_eq!(call("date-fns", &["\"2024-02-01T12:00:00Z\""]), json!(["2024-03-02", "3 Tage"]));

    let text =
        "import { marked } from 'marked'; export const f = (text: string) => marked.parse(text);";
    deploy("marked", text, &["/marked"]);
    let html = call("marked", &["\"# One\\n\\n- **two** `three`\""]);
    assert_eq!(
        html,
        "<h1>One</h1>\n<ul>\n<li><strong>two</strong> <code>three</code></li>\n</ul>\n"
    );

    // All that lies there: what mathjs needs it finds among it.
    let text = "import { create, all } from 'mathjs'; const math = create(all, { number: 'BigNumber', precision: 40 });\n\
        export const f = (text: string) => math.format(math.evaluate(text));\n\
        export const g = (text: string) => math.derivative(text, 'x').toString();";
    deploy("mathjs", text, &[""]);
    assert_eq!(call("mathjs", &["\"sqrt(2)\""]), "1.41421356237309504880168872420969807857");
    assert_eq!(solo.json(&["call", "mathjs", "g", "\"x^2 + sin(x)\""]), "2 * x + cos(x)");
    let (_, problem) = solo.refused(&["call", "mathjs", "f", "\"1 +\""]);
    assert_eq!(problem["reason"], "EXCEPTION", "{problem}");
}
