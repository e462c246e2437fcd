//! D4: programs that nobody here wrote, as services: started, called, crashed, restarted, updated, stopped, with
//! data that survives in a volume. They are the machine's own packages (`scripts/setup.sh` installs them).

use std::time::Duration;

use solo_api::{Client, v1};

use crate::harness::{Requests, Solo, eventually};
use crate::programs::{logged, program};
use crate::volumes::volume;

const HTTP: v1::ProgramInterface = v1::ProgramInterface::Http;
const STDIO: v1::ProgramInterface = v1::ProgramInterface::Stdio;

/// Its answer is in its configuration.
const NGINX: &str = r#"#!/bin/sh
cat > /tmp/nginx.conf <<CONF
daemon off;
pid /tmp/nginx.pid;
worker_processes 2;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  default_type application/json;
  server {
    listen 127.0.0.1:$PORT;
    location = /greet { return 200 '"one"'; }
    location = /busy { return 503; }
  }
}
CONF
exec /usr/sbin/nginx -e stderr -c /tmp/nginx.conf
"#;

/// A database as a child, and a client of it for each message. The last life's lock, if any, is its own affair.
const REDIS: &str = r#"#!/usr/bin/python3
import json, subprocess, sys
server = subprocess.Popen(
    ["redis-server", "--port", "0", "--unixsocket", "/tmp/redis", "--dir", "/data", "--save", "",
     "--appendonly", "yes", "--appendfsync", "always"], stdout=sys.stderr)
def ask(*words):
    return subprocess.run(["redis-cli", "-s", "/tmp/redis", *words], capture_output=True, text=True).stdout.strip()
while ask("ping") != "PONG":
    assert server.poll() is None
for line in sys.stdin:
    message = json.loads(line)
    print(json.dumps({"result": ask(message["function"], *message["arguments"])}), flush=True)
"#;

const POSTGRES: &str = r#"#!/usr/bin/python3
import glob, json, os, signal, subprocess, sys
here = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
if not os.path.exists("/data/db/PG_VERSION"):
    subprocess.run([here + "/initdb", "-D", "/data/new", "-U", "solo", "-A", "trust", "-N"], stdout=sys.stderr, check=True)
    os.rename("/data/new", "/data/db")
server = subprocess.Popen([here + "/postgres", "-D", "/data/db", "-k", "/tmp", "-h", ""], stdout=sys.stderr)
def end(*_):
    server.send_signal(signal.SIGINT)
    server.wait()
    print("the database is closed", file=sys.stderr, flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
def ask(sql):
    return subprocess.run(["psql", "-h", "/tmp", "-U", "solo", "-d", "postgres", "-Atc", sql],
        capture_output=True, text=True)
while ask("select 1").stdout.strip() != "1":
    assert server.poll() is None
for line in sys.stdin:
    done = ask(json.loads(line)["arguments"][0])
    print(json.dumps({"result": (done.stdout + done.stderr).strip()}), flush=True)
"#;

const NODE: &str = r#"#!/usr/bin/node
require("http").createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    if (request.url === "/crash") process.abort();
    response.end(JSON.stringify({ path: request.url, sum: JSON.parse(body).reduce((a, b) => a + b, 0) }));
  });
}).listen(process.env.PORT, "127.0.0.1");
"#;

const STATIC: &str = r#"
#include <stdio.h>
#include <string.h>
int main(void) {
  static char line[65536];
  while (fgets(line, sizeof line, stdin)) {
    printf("{\"result\":%zu}\n", strlen(line));
    fflush(stdout);
  }
  return 0;
}
"#;

/// Asks until there is an answer: what has crashed is being started again.
async fn answer(client: &Client, service: &str, function: &str, arguments: &str) -> String {
    eventually("an answer", || async { client.json_call(service, function, arguments).await.ok() })
        .await
}

fn with_volume(mut request: v1::DeployRequest) -> v1::DeployRequest {
    request.mounts = vec![volume("data", "/data", false)];
    request
}

/// U2: and no call is lost while the next revision takes over.
#[tokio::test]
async fn nginx() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(program("web", NGINX, HTTP)).await.expect("deployed");
    assert_eq!(client.json_call("web", "greet", "[]").await.as_deref(), Ok("\"one\""));
    let problem = client.json_call("web", "busy", "[]").await.expect_err("busy");
    assert_eq!(problem.reason, "OVERLOADED");
    let problem = client.json_call("web", "nothing", "[]").await.expect_err("not there");
    assert_eq!(problem.reason, "NO_SUCH_FUNCTION");
    let calling = {
        let client = solo.answering().await;
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while answers.last().is_none_or(|last| last != "\"two\"") {
                answers.push(client.json_call("web", "greet", "[]").await.expect("an answer"));
            }
            answers
        })
    };
    let code = v1::code::Source::Inline(NGINX.replace("\"one\"", "\"two\"").into_bytes());
    let update = v1::UpdateRequest {
        name: "web".to_owned(),
        code: Some(v1::Code { source: Some(code), format: 0 }),
        ..v1::UpdateRequest::default()
    };
    client.grpc().update(client.request(update, Duration::from_secs(60))).await.expect("updated");
    let answers = calling.await.expect("no call was lost");
    assert!(answers.iter().all(|answer| ["\"one\"", "\"two\""].contains(&answer.as_str())));
    client.kill("web", false).await.expect("it ends when it is asked to");
    solo.down().await;
}

/// S5: what was acknowledged is in the volume, whatever happened to the program.
#[tokio::test]
async fn redis_server() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(with_volume(program("cache", REDIS, STDIO))).await.expect("deployed");
    assert_eq!(answer(&client, "cache", "set", r#"["key", "value"]"#).await, "\"OK\"");
    // The database, without which its client is of no use.
    let ended = client.json_call("cache", "shutdown", "[\"nosave\"]").await;
    assert_eq!(ended.as_deref(), Ok("\"\""));
    assert_eq!(answer(&client, "cache", "get", "[\"key\"]").await, "\"\"");
    solo.kill_process("cells/wasm-default").await;
    let client = solo.answering().await;
    client.kill("cache", true).await.expect("killed");
    client.deploy(with_volume(program("cache", REDIS, STDIO))).await.expect("deployed");
    assert_eq!(answer(&client, "cache", "get", "[\"key\"]").await, "\"value\"");
    client.kill("cache", true).await.expect("killed");

    // As it is, without a line of ours.
    let line = ["deploy", "plain", "--host-path", "/usr/bin/redis-server", "--ready-listening"];
    let port = ["--port", "6379", "--volume", "plain:/data", "--arg=--dir", "--arg=/data"];
    solo.json(&[&line[..], &port].concat());
    client.kill("plain", false).await.expect("killed");
    logged(&solo, "plain", "# Redis is now ready to exit, bye bye...").await;
    solo.down().await;
}

#[tokio::test]
async fn postgres() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = with_volume(program("db", POSTGRES, STDIO));
    // It makes its files first, on a machine that is busy with other tests.
    request.limits = Some(v1::Limits { startup_timeout_ms: Some(60_000), ..v1::Limits::default() });
    client.deploy(request.clone()).await.expect("deployed");
    let ask = async |sql: &str| {
        let arguments = serde_json::json!([sql]).to_string();
        answer(&client, "db", "sql", &arguments).await
    };
    assert_eq!(
        ask("create table t (n int); insert into t values (7)").await,
        "\"CREATE TABLE\\nINSERT 0 1\""
    );
    client.kill("db", true).await.expect("killed");
    client.deploy(request.clone()).await.expect("deployed");
    assert_eq!(ask("select n from t").await, "\"7\"");
    client.kill("db", false).await.expect("killed");
    logged(&solo, "db", "the database is closed").await;
    client.deploy(request).await.expect("deployed");
    assert_eq!(ask("select count(*) from t").await, "\"1\"");
    solo.down().await;
}

#[tokio::test]
async fn node() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(program("js", NODE, HTTP)).await.expect("deployed");
    let sum = r#"{"path":"/add","sum":6}"#;
    assert_eq!(client.json_call("js", "add", "[1, 2, 3]").await.as_deref(), Ok(sum));
    client.json_call("js", "crash", "[]").await.expect_err("it crashed");
    assert_eq!(answer(&client, "js", "add", "[6]").await, sum);
    solo.down().await;
}

/// A program of the machine with nothing but arguments; its health is asked for.
#[tokio::test]
async fn python_serves_files() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let line = ["deploy", "files", "--host-path", "/usr/bin/python3", "--interface", "http"];
    let server = ["--arg=-m", "--arg=http.server", "--arg=8080", "--arg=--directory=/usr/share"];
    let health = ["--ready-http", "/", "--health", "/", "--health-interval", "50ms"];
    solo.json(&[&line[..], &server, &health].concat());
    let problem = client.json_call("files", "x", "[]").await.expect_err("it takes no POST");
    assert!(problem.reason == "REFUSED" && problem.cause.contains("501"), "{problem:?}");
    logged(&solo, "files", "127.0.0.1 - - [").await;
    let status = client.status("files").await.expect("status");
    assert_eq!(status.state(), v1::ServiceState::Running);
    solo.down().await;
}

/// A binary that needs nothing of the machine; the tests compile it.
#[tokio::test]
async fn a_static_binary() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let directory = tempfile::tempdir().expect("a directory");
    let (source, binary) = (directory.path().join("a.c"), directory.path().join("a"));
    std::fs::write(&source, STATIC).expect("written");
    let compiled = std::process::Command::new("cc")
        .args(["-static", "-O1", "-o"])
        .args([&binary, &source])
        .status();
    assert!(compiled.expect("a compiler").success());
    let code = std::fs::read(&binary).expect("read");
    client.deploy(program("length", code, STDIO)).await.expect("deployed");
    let line = r#"{"function":"x","arguments":[1]}"#.len() + 1;
    let length = client.json_call("length", "x", "[1]").await.expect("an answer");
    assert_eq!(length, line.to_string());
    solo.down().await;
}
