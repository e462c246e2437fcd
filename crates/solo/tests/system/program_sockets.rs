//! D4, S4: programs that speak over a socket of their own, as services among services.

use std::time::{Duration, Instant};

use solo_api::v1;
use solo_types::Problem;

use crate::harness::{Requests, Solo, deploy, eventually, guest_bytes};

/// The client of the example, without its service.
fn client_code() -> &'static str {
    let example = include_str!("../../../../examples/programs/clerk.js");
    example.split("// ---- The service itself.").next().expect("a first part")
}

/// Does what it is told, well or badly. Bytes come back turned around.
const SERVICE: &str = r#"
const call = async (to, payload, ms) => {
  const fields = { 1: to, 4: payload, ...(ms ? { 5: ms } : {}) };
  return (await rpc("Call", fields))[2].toString();
};
const reason = (promise) => promise.then(() => "OK", (error) => error.reason);
const downs = [];
let background = "nothing yet";
const handle = async (name, input, message) => {
  switch (name) {
    case "":
      if (Buffer.isBuffer(input)) return Buffer.from(input).reverse();
      downs.push([input[2].toString(), input[4].toString()]);
      return null;
    case "echo": return { input, id: message[1], waits: message[6] === 1, left: message[7] > 0, trace: message[8].length };
    case "call": return call(...input);
    case "sum": return JSON.parse((await rpc("Call", { 1: input[0], 2: "add", 3: "[1, 2]" }))[1]);
    case "send": await rpc("Send", { 1: input[0], 4: input[1] }); return null;
    case "look": { const rights = await rpc("Lookup", { 1: input[0] }); return [rights[1] === 1, rights[2] === 1]; }
    case "watch": return (await rpc("Watch", { 1: input[0] }))[1];
    case "unwatch": return (await rpc("Unwatch", { 1: input[0] }))[1] === 1;
    case "downs": return downs;
    case "log": await rpc("Log", { 1: 4, 2: input[0] }); return null;
    case "set": await rpc("SetValue", { 1: input[0], 2: input[1] }); return null;
    case "get": return (await rpc("GetValue", { 1: input[0] }))[1]?.toString() ?? null;
    case "delete": await rpc("DeleteValue", { 1: input[0] }); return null;
    case "add": return (await rpc("IncrementValue", { 1: input[0], 2: input[1] }))[1];
    // Of several keys this client sees the last.
    case "last": { const page = await rpc("ListKeys", { 1: input[0], 2: input[1], 3: input[2] }); return [page[1]?.toString() ?? null, page[2] === 1]; }
    case "large": return reason(rpc("SetValue", { 1: "large", 2: Buffer.alloc(input[0]) }));
    case "nonsense": return Promise.all([
      reason(rpc("Reply", { 1: 999, 2: "1" })), reason(rpc("Receive", { 1: 999 })), reason(rpc("Reply", { 1: message[1], 2: "{" })),
      reason(rpc("Call", { 1: "worker", 3: "[" })), reason(rpc("Log", { 1: 77 })), reason(rpc("Dance")),
      reason(rpc("Reply", { 1: message[1], 3: Buffer.alloc(4194305) })), reason(rpc("Send", { 1: "worker", 4: Buffer.alloc(5000000) })),
    ]);
    case "twice":
      await rpc("Reply", { 1: message[1], 2: '"first"' });
      downs.push(await reason(rpc("Reply", { 1: message[1], 2: '"second"' })));
      return "third";
    case "later":
      setTimeout(() => call(...input).then((said) => (background = said), (error) => (background = error.reason)), 100);
      return null;
    case "background": return background;
    case "reject": throw new Error("not today");
    case "full": await rpc("Reply", { 1: message[1], 4: encode({ 1: 4, 2: "come back later" }) }); return null;
    case "crash": process.kill(process.pid, "SIGSEGV"); return new Promise(() => {});
    case "hang": return new Promise(() => {});
    case "again": return decode((await rpc("Receive", { 1: message[1] - 1 }))[1])[1] === message[1];
    default: throw new Error(`no ${name}`);
  }
};
// What it still may do when it is told to end.
process.on("SIGTERM", async () => {
  const called = await reason(rpc("Call", { 1: "worker", 4: "echo x" }));
  const sent = await reason(rpc("Send", { 1: "worker", 4: "echo x" }));
  await rpc("Log", { 1: 3, 2: `the end: ${called} ${sent}` });
  process.exit(0);
});
// A second reply is an error, after which it goes on.
const run = () => serve(handle).catch((error) => (session.closed ? console.error(error.message) : run()));
run();
"#;

fn program(name: &str, service: &str) -> v1::DeployRequest {
    let code = client_code().to_owned() + service;
    v1::DeployRequest {
        program: Some(v1::Program {
            interface: v1::ProgramInterface::Socket.into(),
            ..v1::Program::default()
        }),
        limits: Some(v1::Limits { startup_timeout_ms: Some(30_000), ..v1::Limits::default() }),
        ..deploy(name, code)
    }
}

fn allowed(mut request: v1::DeployRequest, others: &[&str]) -> v1::DeployRequest {
    let capability = |other: &&str| v1::CapabilityRequest {
        object: format!("service:{other}"),
        rights: vec![v1::Right::Call.into(), v1::Right::Send.into()],
    };
    request.capabilities = others.iter().map(capability).collect();
    request
}

async fn logged(solo: &Solo, name: &str, level: &str, text: &str) {
    eventually(text, || async {
        let lines = solo.json_lines(&["logs", name]);
        lines.iter().any(|l| l["message"] == text && l["level"] == level).then_some(())
    })
    .await;
}

fn reason(answer: Result<String, Problem>) -> String {
    answer.expect_err("refused").reason
}

/// S5: what a program keeps over its socket, through restarts of it and of its cell.
#[tokio::test]
async fn a_program_keeps_values() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(program("clerk", SERVICE)).await.expect("deployed");
    let call = async |function: &str, arguments: &str| {
        eventually("it answers", || async {
            client
                .json_call("clerk", function, arguments)
                .await
                .map_err(|problem| problem.reason)
                .map_or_else(|reason| (reason == "REFUSED").then_some(reason), Some)
        })
        .await
    };
    assert_eq!(call("get", r#"["a"]"#).await, "null");
    for key in ["a", "b/1", "b/2", "b/3", "c"] {
        call("set", &format!(r#"["{key}", "of {key}"]"#)).await;
    }
    assert_eq!(call("get", r#"["b/2"]"#).await, "\"of b/2\"");
    assert_eq!(call("last", r#"["", "", 0]"#).await, r#"["c",false]"#);
    assert_eq!(call("last", r#"["b/", "", 2]"#).await, r#"["b/2",true]"#);
    assert_eq!(call("last", r#"["b/", "b/2", 2]"#).await, r#"["b/3",false]"#);
    assert_eq!(call("last", r#"["d", "", 2]"#).await, "[null,false]");
    call("delete", r#"["a"]"#).await;
    assert_eq!(call("get", r#"["a"]"#).await, "null");
    assert_eq!(call("add", r#"["n", 40]"#).await, "40");
    assert_eq!(call("add", r#"["n", 2]"#).await, "42");
    assert_eq!(call("large", "[4194304]").await, "\"OK\"");
    assert_ne!(call("large", "[4194305]").await, "\"OK\"");
    for refused in [("get", r#"[""]"#), ("add", r#"["c", 1]"#), ("last", r#"["", "", 1001]"#)] {
        assert_eq!(call(refused.0, refused.1).await, "REFUSED", "{refused:?}");
    }
    client.json_call("clerk", "crash", "[]").await.expect_err("it crashed");
    assert_eq!(call("get", r#"["n"]"#).await, "\"42\"");
    solo.kill_process("cells/wasm-default").await;
    assert_eq!(call("add", r#"["n", 1]"#).await, "43");
    client.kill("clerk", false).await.expect("killed");
    let kept = std::fs::read_dir(solo.home().join("tenants/default/state")).expect("there");
    assert_eq!(kept.count(), 0);
}

/// D4, S6: what it is called with and what it answers, from outside.
#[tokio::test]
async fn a_program_with_a_socket_is_called_like_any_service() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(program("clerk", SERVICE)).await.expect("deployed");
    let call = async |function: &str, arguments: &str| {
        client.json_call("clerk", function, arguments).await
    };
    let echo = call("echo", "[1, \"two\"]").await.expect("an answer");
    let echo: serde_json::Value = serde_json::from_str(&echo).expect("JSON");
    let expected =
        serde_json::json!({"input": [1, "two"], "id": 1, "waits": true, "left": true, "trace": 32});
    assert_eq!(echo, expected);
    assert_eq!(client.call("clerk", "abc").await.as_deref(), Ok("cba"));
    let rejected = call("reject", "[]").await.expect_err("refused");
    assert_eq!((&*rejected.reason, &*rejected.cause), ("REFUSED", "not today"));
    assert_eq!(reason(call("full", "[]").await), "OVERLOADED");
    client.send("clerk", "to nobody").await.expect("sent");
    assert_eq!(call("again", "[]").await.as_deref(), Ok("true"), "what was lost comes again");
    assert_eq!(call("twice", "[]").await.as_deref(), Ok("\"first\""));
    let downs = eventually("it went on", || async { call("downs", "[]").await.ok() }).await;
    assert_eq!(downs, "[\"REPLIED_ALREADY\"]");
    let reasons = call("nonsense", "[]").await.expect("an answer");
    let reasons: Vec<Option<&str>> = serde_json::from_str(&reasons).expect("JSON");
    let known =
        ["NO_SUCH_MESSAGE", "NO_SUCH_MESSAGE", "INVALID_REPLY", "BAD_ARGUMENTS", "INVALID_LEVEL"];
    assert_eq!(reasons[..5], known.map(Some));
    // These are beyond what is spoken at all, or need no word of Solo's.
    assert!(reasons[5..].iter().all(|reason| *reason != Some("OK")), "{reasons:?}");
    call("log", "[\"careful\"]").await.expect("logged");
    logged(&solo, "clerk", "warn", "careful").await;
    let status = client.status("clerk").await.expect("a status");
    assert_eq!(status.instances[0].restarts, 0, "{status:?}");
    solo.down().await;
}

/// S4, C1: programs and WebAssembly services reach each other by name, and nothing that was not granted.
#[tokio::test]
async fn programs_and_components_call_each_other() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deployed");
    client.deploy(deploy("adder", crate::harness::ADDER)).await.expect("deployed");
    client.deploy(deploy("hidden", guest_bytes("counter"))).await.expect("deployed");
    let worker = allowed(deploy("worker", guest_bytes("worker")), &["clerk"]);
    client.deploy(worker).await.expect("deployed");
    let clerk = allowed(program("clerk", SERVICE), &["counter", "adder", "worker"]);
    client.deploy(clerk).await.expect("deployed");
    let call = async |function: &str, arguments: &str| {
        client.json_call("clerk", function, arguments).await
    };
    assert_eq!(call("call", "[\"counter\", \"add 3\"]").await.as_deref(), Ok("\"3\""));
    call("send", "[\"counter\", \"add 4\"]").await.expect("sent");
    assert_eq!(call("call", "[\"counter\", \"get\"]").await.as_deref(), Ok("\"7\""));
    assert_eq!(call("sum", "[\"adder\"]").await.as_deref(), Ok("3"));
    assert_eq!(client.call("worker", "call clerk abc").await.as_deref(), Ok("cba"));
    // What it is not allowed looks like what is not there.
    for other in ["hidden", "nobody"] {
        for what in ["call", "send", "look", "watch"] {
            let refused = call(what, &format!("[\"{other}\", \"get\"]")).await.expect_err(what);
            assert_eq!(refused.cause, format!("DENIED {other} was not granted"), "{what}");
        }
    }
    assert_eq!(call("look", "[\"counter\"]").await.as_deref(), Ok("[true,true]"));
    let refused = call("call", "[\"counter\", \"dance\"]").await.expect_err("refused");
    assert!(refused.cause.starts_with("REFUSED "), "{refused:?}");
    let late = call("call", "[\"worker\", \"sleep 2000\", 50]").await.expect_err("late");
    assert!(late.cause.starts_with("TIMEOUT "), "{late:?}");
    // A cycle: clerk waits for worker, which would wait for clerk.
    let cycle = call("call", "[\"worker\", \"call clerk abc\"]").await.expect_err("a cycle");
    assert!(cycle.cause.contains("deadlock"), "{cycle:?}");
    let crashed = call("call", "[\"worker\", \"crash\"]").await.expect_err("crashed");
    assert!(crashed.cause.starts_with("CRASHED "), "{crashed:?}");
    // Outside of any message.
    call("later", "[\"counter\", \"get\"]").await.expect("begun");
    eventually("the call in the background", || async {
        (call("background", "[]").await.as_deref() == Ok("\"7\"")).then_some(())
    })
    .await;
    solo.down().await;
}

/// S4: it learns of the end of others, and of its own.
#[tokio::test]
async fn a_program_watches_others_and_is_told_to_end() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("worker", guest_bytes("worker"))).await.expect("deployed");
    client.deploy(allowed(program("clerk", SERVICE), &["worker"])).await.expect("deployed");
    let call = async |function: &str, arguments: &str| {
        client.json_call("clerk", function, arguments).await
    };
    assert_eq!(call("watch", "[\"worker\"]").await.as_deref(), Ok("1"));
    assert_eq!(call("watch", "[\"worker\"]").await.as_deref(), Ok("2"));
    assert_eq!(call("unwatch", "[1]").await.as_deref(), Ok("true"));
    assert_eq!(call("unwatch", "[1]").await.as_deref(), Ok("false"));
    assert_eq!(reason(client.call("worker", "crash").await), "CRASHED");
    eventually("it is told", || async {
        (call("downs", "[]").await.as_deref() == Ok("[[\"worker\",\"trap\"]]")).then_some(())
    })
    .await;
    client.kill("clerk", false).await.expect("killed");
    logged(&solo, "clerk", "info", "the end: UNAVAILABLE OK").await;
    solo.down().await;
}

/// S3, S4: who waits for it learns at once that it ended, and it is started again.
#[tokio::test]
async fn a_program_with_a_socket_crashes_and_is_stopped() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(program("clerk", SERVICE)).await.expect("deployed");
    let began = Instant::now();
    assert_eq!(reason(client.json_call("clerk", "crash", "[]").await), "CRASHED");
    assert!(began.elapsed() < Duration::from_secs(15), "at once, not at the deadline");
    let echo =
        eventually("it is back", || async { client.json_call("clerk", "echo", "[]").await.ok() });
    assert!(echo.await.contains("\"id\":1,"), "numbers begin anew");
    let worker = allowed(deploy("worker", guest_bytes("worker")), &["clerk"]);
    client.deploy(worker).await.expect("deployed");
    // One that hangs holds up nobody but its own callers, and is ended by force.
    let hanging = client.json_call("clerk", "hang", "[]");
    let ended = async {
        eventually("it is busy", || async {
            let late = client.call("worker", "call clerk@50 x").await;
            late.is_err_and(|problem| problem.cause.contains("timeout")).then_some(())
        })
        .await;
        client.kill("clerk", true).await
    };
    let (hung, ended) = tokio::join!(hanging, ended);
    ended.expect("killed");
    assert_eq!(reason(hung), "CRASHED");
    solo.down().await;
}

/// A program that never says so is not ready; one that notifies is.
#[tokio::test]
async fn a_program_with_a_socket_is_ready_when_it_says_so() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut silent = program("silent", "setInterval(() => {}, 1000);");
    silent.limits = Some(v1::Limits { startup_timeout_ms: Some(1_000), ..v1::Limits::default() });
    let problem = client.deploy(silent).await.expect_err("never ready");
    assert_eq!(problem.reason, "STARTUP_TIMEOUT");
    let notifies = r#"#!/usr/bin/python3
import os, socket, time
assert os.environ["SOLO_SOCKET"] == "/run/solo/service.sock"
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"#;
    let request =
        v1::DeployRequest { code: deploy("notifies", notifies).code, ..program("notifies", "") };
    client.deploy(request).await.expect("ready");
    solo.down().await;
}

/// What comes on the socket may be anything, and as much as it likes.
const GARBAGE: &str = r#"
const crypto = require("node:crypto");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const raw = (...pieces) => new Promise((done) => {
  const socket = connect();
  socket.on("error", () => {});
  socket.on("close", done);
  for (const piece of pieces) socket.write(piece);
  setTimeout(() => socket.destroy(), 500);
});
const PREFACE = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
const frame = (type, flags, stream, body) => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
};
const flood = (make) => raw(PREFACE, ...Array.from({ length: 2000 }, (_, i) => make(i)));
const header = Buffer.concat([Buffer.from([0, 1, 97, 127, 128, 126]), Buffer.alloc(16000, 98)]);
(async () => {
  await rpc("Ready");
  for (const round of [1, 2, 3]) {
    await raw(crypto.randomBytes(1 << 20));
    await raw(PREFACE, crypto.randomBytes(1 << 20));
    // Headers that never end, requests that are taken back, pings, settings, windows of nothing.
    await raw(PREFACE, frame(1, 0, 1, header), ...Array.from({ length: 500 }, () => frame(9, 0, 1, header)));
    await flood((i) => Buffer.concat([frame(1, 4, 2 * i + 1, Buffer.from([0x83, 0x86, 0x84])), frame(3, 0, 2 * i + 1, Buffer.from([0, 0, 0, 8]))]));
    await flood(() => frame(6, 0, 0, Buffer.alloc(8)));
    await flood(() => frame(4, 0, 0, Buffer.alloc(0)));
    await flood((i) => frame(8, 0, 0, Buffer.alloc(4)));
    await Promise.all(Array.from({ length: 700 }, () => raw(PREFACE)));
    // A message that promises more than it may have, and bodies that are none.
    for (const body of [Buffer.from([0, 255, 255, 255, 255, 1]), Buffer.from([1, 0, 0, 0, 1, 9]), crypto.randomBytes(100000)]) {
      await new Promise((done) => {
        const stream = session.request({ ":method": "POST", ":path": "/solo.program.v1.ProgramService/Call", "content-type": "application/grpc" });
        stream.on("error", () => {}); stream.on("close", done); stream.resume(); stream.end(body);
      });
    }
  }
  // After all that it is still heard.
  await rpc("Log", { 1: 3, 2: "still here" });
})().catch((error) => console.error(error.reason, error.message));
"#;

#[tokio::test]
async fn a_program_that_talks_nonsense_hurts_no_other() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(deploy("counter", guest_bytes("counter"))).await.expect("deployed");
    let cell = solo.pid("cells/wasm-default").await;
    client.deploy(program("babbler", GARBAGE)).await.expect("deployed");
    let mut slowest = Duration::ZERO;
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        client.call("counter", "add 1").await.expect("an answer");
        slowest = slowest.max(asked.elapsed());
        let lines = solo.json_lines(&["logs", "babbler"]);
        if lines.iter().any(|line| line["message"] == "still here") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{lines:?}\n{}", solo.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(solo.pid("cells/wasm-default").await, cell, "the cell lives");
    let resident = std::fs::read_to_string(format!("/proc/{cell}/status")).expect("it lives");
    let peak = resident.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    // One of 64 MiB is what is usual.
    assert!(peak_kb < 256 << 10, "{peak_kb} kB");
    solo.down().await;
}
