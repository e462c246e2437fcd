//! D2: source text in Python as services: what they offer, what they are told of their mistakes, and what they
//! cannot do.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use solo_api::{Client, v1};

use crate::harness::{Requests, Solo, eventually};
use crate::sources::{allowed, call, detail, handy as javascript, source};

/// Does what it is told, well or badly.
const HANDY: &str = r#"
import asyncio, datetime, enum, json, logging, os, random, re, sys, time
from dataclasses import dataclass
import lib.words
from lib import words as w
import solo

started, count, ticks, initialised, downs = "not yet", 0, 0, False, []
FIRST = random.random()

async def init():
    global initialised, started
    await asyncio.sleep(0.001)
    initialised, started = True, "started"

def handle(data: bytes) -> bytes:
    return data[::-1]

def on_down(down):
    downs.append([down.service, down.reason])

def terminate(reason):
    print("the end:", reason)

def hello(name: str = "you") -> str:
    return f"Hello, {' '.join(w.words(name))}!"

def echo(*values):
    return values

def about():
    return {"started": started, "initialised": initialised, "loads": lib.words.loads, "name": __name__}

async def add(n: int) -> int:
    global count
    await asyncio.sleep(0)
    count += n
    return count

def nothing() -> None:
    print("without end of line", end="")
    logging.warning("careful %s", 1)
    logging.getLogger("own").debug("not seen")

async def every(ms: float):
    async def tick():
        global ticks
        while True:
            await asyncio.sleep(ms / 1000)
            ticks += 1
    every.task = asyncio.create_task(tick())

def seen():
    return {"ticks": ticks, "downs": downs}

def numbers():
    return [FIRST, random.random(), os.urandom(8).hex()]

def now() -> float:
    return time.time()

class Colour(enum.Enum):
    RED = "red"

@dataclass
class Point:
    x: int
    y: "float" = 0.5

def shapes(n: int = 1, *, extra: list[int] | None = None) -> list[Point]:
    return [Point(n), {1, }, Colour.RED, datetime.date(2020, 1, 2), b"ab", (i for i in range(2))]

def keep(key: str, value): solo.kv.set_json(key, value); return solo.kv.get_json(key)
def kept(key: str): return solo.kv.get_json(key)
def ask(*to): return solo.call(*to)
def text(to, payload): return solo.call(to, payload).decode()
def tell(*to): return solo.send(*to)
def sum_of(a, b): return solo.service("adder").add(a, b)
def watch(name): return solo.monitor(name)
async def fail(): raise TypeError("not today")
def caused():
    try:
        w.broken()
    except ZeroDivisionError as error:
        raise ValueError("it did not work") from error
async def never(): await asyncio.get_running_loop().create_future()
def loop():
    while True: pass
def deep(n): return deep(n + 1) + 1
def nested(n: int): return len(json.loads("[" * n + "]" * n))
def hog():
    held = []
    while True: held.append(bytearray(1 << 20))
def giant(): return len("x" * (1 << 30))
def large(n): return "x" * n
def not_a_number(): return float("nan")
def opaque(): return object()
def explode(): return re.fullmatch(r"(a+)+", "a" * 40 + "b")
def leave(): sys.exit(3)
def run(text): return eval(text, {"__builtins__": __builtins__, "sys": sys})
_hidden = lambda: "hidden"
def _private(): return "private"
"#;
const WORDS: &str = "loads = 1\ndef words(text: str):\n    return text.split('_')\n\ndef broken():\n    return 1 / 0\n";

fn handy(name: &str) -> v1::DeployRequest {
    source(name, &[("main.py", HANDY), ("lib/words.py", WORDS)])
}

#[tokio::test]
async fn python_is_a_service() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let deployed = client.deploy(handy("handy")).await.expect("deployed");
    assert_eq!(deployed.kind(), v1::ServiceKind::Source);
    let signatures: Vec<&str> = deployed.exports.iter().map(|e| e.signature.as_str()).collect();
    assert!(signatures.contains(&"hello: func(name: str='you') -> str"), "{signatures:?}");
    let shapes = "shapes: func(n: int=1, *, extra: list[int] | None=None) -> list[Point]";
    assert!(signatures.contains(&shapes), "{signatures:?}");
    for hidden in ["handle", "on_down", "_hidden", "_private", "init"] {
        assert!(!signatures.iter().any(|signature| signature.starts_with(hidden)), "{hidden}");
    }
    let call =
        async |function: &str, arguments: Value| call(&client, "handy", function, arguments).await;
    assert_eq!(call("hello", json!([])).await, "Hello, you!");
    assert_eq!(call("hello", json!(["a_b"])).await, "Hello, a b!");
    let values = json!([1, -0.5, null, "\u{1f600}\0\u{ffff}", [[]], {"__class__": 1, "": {}}]);
    assert_eq!(call("echo", values.clone()).await, values);
    let about = json!({"started": "started", "initialised": true, "loads": 1, "name": "main"});
    assert_eq!(call("about", json!([])).await, about);
    let added = (call("add", json!([2])).await, call("add", json!([40])).await);
    assert_eq!(added, (json!(2), json!(42)));
    let shapes = json!([{"x": 3, "y": 0.5}, [1], "red", "2020-01-02", "YWI=", [0, 1]]);
    assert_eq!(call("shapes", json!([3])).await, shapes);
    assert_eq!(call("nothing", json!([])).await, Value::Null);
    assert_eq!(client.call("handy", "abc").await.as_deref(), Ok("cba"));
    assert_eq!(call("keep", json!(["k", {"a": [1]}])).await, json!({"a": [1]}));
    let now = call("now", json!([])).await.as_f64().expect("a number");
    let real = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs_f64();
    assert!((now - real).abs() < 60.0, "{now} {real}");
    client.deploy(handy("other")).await.expect("deployed");
    let other = crate::sources::call(&client, "other", "numbers", json!([])).await;
    let own = call("numbers", json!([])).await;
    for index in 0..3 {
        assert_ne!(own[index], other[index]);
    }
    // Tasks go on while nobody calls.
    call("every", json!([2])).await;
    let start = call("seen", json!([])).await["ticks"].as_u64();
    eventually("the task goes on", || async {
        (call("seen", json!([])).await["ticks"].as_u64() > start.map(|n| n + 3)).then_some(())
    })
    .await;
    client.kill("handy", false).await.expect("killed");
    let lines = solo.json_lines(&["logs", "handy"]);
    let has = |level: &str, message: &str| {
        lines.iter().any(|line| line["message"] == message && line["level"] == level)
    };
    for (level, message) in
        [("info", "the end: killed"), ("info", "without end of line"), ("warn", "root: careful 1")]
    {
        assert!(has(level, message), "{message}: {lines:?}");
    }
}

/// Values outlive what ends; an instance that ends is begun anew.
#[tokio::test]
async fn python_survives_like_any_service() {
    let mut solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(handy("handy")).await.expect("deployed");
    call(&client, "handy", "keep", json!(["k", "v"])).await;
    call(&client, "handy", "add", json!([1])).await;
    solo.kill_heart().await;
    solo.up().await;
    let client = solo.answering().await;
    let kept = eventually("it is back", || async {
        client.json_call("handy", "kept", r#"["k"]"#).await.ok()
    })
    .await;
    assert_eq!(kept, r#""v""#);
    assert_eq!(call(&client, "handy", "add", json!([1])).await, 1);
}

#[tokio::test]
async fn mistakes_in_python_are_told_with_their_place() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let refused = async |files: &[(&str, &str)]| {
        let problem = client.deploy(source("wrong", files)).await.expect_err("refused");
        let place = format!("{}:{}", detail(&problem, "file"), detail(&problem, "line"));
        (problem.reason.clone(), place, problem)
    };
    for (text, reason, place, cause) in [
        ("def f(:\n    pass", "SYNTAX_ERROR", "a.py:1", "SyntaxError: invalid syntax"),
        ("def f():\n  x\n y", "SYNTAX_ERROR", "a.py:3", "IndentationError"),
        ("import os\nimport gone", "IMPORT_NOT_FOUND", "a.py:2", "No module named 'gone'"),
        ("import numpy\ndef f(): pass", "IMPORT_NOT_FOUND", "a.py:1", "native code"),
        ("class A:\n    pass", "NO_EXPORTS", "a.py:", "no function"),
        ("x = 1\ndef f(): pass\n{}['k']", "LOAD_FAILED", "a.py:3", "KeyError: 'k'"),
        ("def f(): pass\ndef init():\n    f.x.y", "INIT_FAILED", "a.py:3", "AttributeError"),
        ("def f(): pass\nimport sys\nsys.exit(1)", "LOAD_FAILED", "a.py:3", "SystemExit"),
        ("def f(): pass\nfrom json import gone", "LOAD_FAILED", "a.py:2", "ImportError"),
    ] {
        let (found, at, problem) = refused(&[("a.py", text)]).await;
        assert_eq!((&*found, &*at), (reason, place), "{text}: {problem:?}");
        assert!(problem.cause.contains(cause), "{text}: {problem:?}");
    }
    // In a file that nobody imports too.
    let files = [("a.py", "def f(): pass"), ("lib/b.py", "x = (1,\n")];
    let (reason, place, problem) = refused(&files).await;
    assert_eq!((&*reason, &*place), ("SYNTAX_ERROR", "lib/b.py:1"), "{problem:?}");
    // What may be missing may be missing.
    let text = "try:\n    import numpy\nexcept ImportError as error:\n    why = str(error)\n\
        from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gone\ndef f(): return why\n";
    client.deploy(source("able", &[("a.py", text)])).await.expect("deployed");
    let why = call(&client, "able", "f", json!([])).await;
    assert!(why.as_str().is_some_and(|why| why.contains("program")), "{why}");
    assert_eq!(client.names().await, ["able"]);
}

#[tokio::test]
async fn calls_of_python_that_go_wrong_end_nothing_else() {
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
    assert_eq!(detail(&problem, "file"), "main.py");
    let problem = refused("caused", "[]").await;
    assert_eq!(problem.cause, "ValueError: it did not work");
    let trace = detail(&problem, "backtrace");
    assert!(trace.contains("caused by ZeroDivisionError"), "{problem:?}");
    assert!(trace.contains("lib/words.py:6:12"), "{problem:?}");
    for (function, cause) in [
        ("deep", "RecursionError"),
        ("never", "never come"),
        ("leave", "SystemExit: 3"),
        ("not_a_number", "ValueError"),
        ("opaque", "object"),
    ] {
        let arguments = if function == "deep" { "[0]" } else { "[]" };
        let problem = refused(function, arguments).await;
        assert_eq!(problem.reason, "EXCEPTION", "{function}: {problem:?}");
        assert!(problem.cause.contains(cause), "{function}: {problem:?}");
    }
    for function in ["dance", "_private", "_hidden", "init", "Point", "json", "__name__"] {
        assert_eq!(refused(function, "[]").await.reason, "NO_SUCH_FUNCTION", "{function}");
    }
    for arguments in ["{}", "1", "[", "[1] 2", "[1, 2]"] {
        assert_eq!(refused("hello", arguments).await.reason, "BAD_ARGUMENTS", "{arguments}");
    }
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(refused("echo", &deep).await.reason, "BAD_ARGUMENTS");
    assert_eq!(refused("large", "[5000000]").await.reason, "LIMIT_EXCEEDED");
    // Whatever went wrong: it is the same instance.
    assert_eq!(call(&client, "handy", "add", json!([1])).await, 6);
}

/// S12 and section 5: what has no end, and what wants out.
#[tokio::test]
async fn hostile_python_is_contained() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let mut request = handy("handy");
    let limits = request.limits.as_mut().expect("limits");
    limits.max_memory_bytes = Some(96 << 20);
    client.deploy(request.clone()).await.expect("deployed");
    let bystander = source("bystander", &[("a.py", "def f(): return 1")]);
    client.deploy(bystander).await.expect("deployed");
    for text in [
        "__import__('os').system('id')",
        "__import__('os').fork()",
        "__import__('subprocess').run(['id'])",
        "__import__('ctypes').CDLL(None)",
        "open('/etc/passwd').read()",
        "__import__('os').listdir('/')",
        "__import__('socket').create_connection(('127.0.0.1', 80))",
        "__import__('threading').Thread(target=print).start()",
        "__import__('multiprocessing').Process(target=print).start()",
    ] {
        let arguments = json!([text]).to_string();
        let problem = client.json_call("handy", "run", &arguments).await.expect_err(text);
        assert_eq!(problem.reason, "EXCEPTION", "{text}: {problem:?}");
    }
    // Nothing of the machine is to be seen.
    let environment =
        call(&client, "handy", "run", json!(["dict(__import__('os').environ)"])).await;
    assert!(!environment.to_string().contains("/root"), "{environment}");
    for function in ["hog", "giant"] {
        let problem = client.json_call("handy", function, "[]").await.expect_err("ended");
        assert_eq!(problem.reason, "CRASHED", "{function}: {problem:?}");
        eventually("it is back", || async { client.json_call("handy", "add", "[1]").await.ok() })
            .await;
    }
    for text in ["__import__('os')._exit(1)", "__import__('os').abort()"] {
        let arguments = json!([text]).to_string();
        client.json_call("handy", "run", &arguments).await.expect_err(text);
        eventually("it is back", || async { client.json_call("handy", "add", "[1]").await.ok() })
            .await;
    }
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
    // Text that is hard to read.
    for text in [
        format!("def f(): return {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("def f(): return {}1", "-".repeat(100_000)),
        format!("def f(): return {}x", "lambda x: ".repeat(20_000)),
        format!("x = {}{}\ndef f(): pass", "[".repeat(150), "]".repeat(150)),
        "def f():\0 pass".to_owned(),
        "# coding: nonsense\ndef f(): pass".to_owned(),
    ] {
        let problem = client.deploy(source("hard", &[("a.py", &text)])).await;
        if let Err(problem) = problem {
            let known = ["SYNTAX_ERROR", "TOO_LARGE", "LOAD_FAILED"];
            assert!(known.contains(&&*problem.reason), "{problem:?}");
        }
    }
    assert_eq!(call(&client, "bystander", "f", json!([])).await, 1);
}

/// S4, S6: messages between Python and JavaScript.
#[tokio::test]
async fn python_talks_to_others() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    client.deploy(allowed(javascript("script"), &["snake"])).await.expect("deployed");
    client.deploy(allowed(handy("snake"), &["script"])).await.expect("deployed");
    let asked = call(&client, "snake", "ask", json!(["script", "hello", ["a_b"]])).await;
    assert_eq!(asked, "Hello, a b!");
    let asked = call(&client, "script", "ask", json!(["snake", "hello", ["a_b"]])).await;
    assert_eq!(asked, "Hello, a b!");
    assert_eq!(call(&client, "snake", "text", json!(["script", "abc"])).await, "cba");
    call(&client, "snake", "tell", json!(["script", "add", [5]])).await;
    assert_eq!(call(&client, "snake", "ask", json!(["script", "add", [1]])).await, 6);
    let ask = r#"["script", "fail", []]"#;
    let problem = client.json_call("snake", "ask", ask).await.expect_err("it throws");
    assert!(problem.cause.contains("not today"), "{problem:?}");
    let problem = client.json_call("snake", "ask", r#"["other"]"#).await.expect_err("denied");
    assert!(problem.cause.contains("not granted"), "{problem:?}");
    call(&client, "snake", "watch", json!(["script"])).await;
    client.kill("script", true).await.expect("killed");
    eventually("it learns of the end", || async {
        let seen = call(&client, "snake", "seen", json!([])).await;
        (seen["downs"] == json!([["script", "killed"]])).then_some(())
    })
    .await;
}

/// A wheel that `runtimes/setup.sh` has fetched.
fn wheel(name: &str) -> v1::SourceFile {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/source/wheels");
    let entries = std::fs::read_dir(&folder).expect("runtimes/setup.sh fetches them").flatten();
    let path = entries.map(|entry| entry.path()).find(|path| {
        path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-")))
    });
    let path = path.unwrap_or_else(|| panic!("no wheel of {name}"));
    let file = path.file_name().expect("a name").to_string_lossy().into_owned();
    v1::SourceFile { path: file, content: std::fs::read(&path).expect("it can be read") }
}

async fn deploy_with(client: &Client, name: &str, text: &str, wheels: &[&str]) {
    let mut request = source(name, &[("main.py", text)]);
    request.limits = Some(v1::Limits { startup_timeout_ms: Some(30_000), ..v1::Limits::default() });
    if let Some(v1::Code { source: Some(v1::code::Source::Files(files)), .. }) = &mut request.code {
        files.files.extend(wheels.iter().map(|name| wheel(name)));
    }
    client.deploy(request).await.unwrap_or_else(|problem| panic!("{name}: {problem:?}"));
}

#[tokio::test]
async fn packages_of_python_run() {
    let solo = Solo::start().await;
    let client = solo.answering().await;
    let pages = "import jinja2, markdown\nfrom importlib.metadata import version\n\
        env = jinja2.Environment(autoescape=True)\n\
        def page(text, **_): return env.from_string('<p>{{ x | upper }}</p>').render(x=text)\n\
        def html(text): return markdown.markdown(text, extensions=['tables'])\n\
        def versions(): return [version('jinja2'), jinja2.__version__]\n";
    deploy_with(&client, "pages", pages, &["jinja2", "markupsafe", "markdown"]).await;
    assert_eq!(call(&client, "pages", "page", json!(["<a>"])).await, "<p>&lt;A&gt;</p>");
    let html = call(&client, "pages", "html", json!(["# One *two*"])).await;
    assert_eq!(html, "<h1>One <em>two</em></h1>");
    let versions = call(&client, "pages", "versions", json!([])).await;
    assert_eq!(versions[0], versions[1]);
    let data = "import attrs, sqlparse\n@attrs.define\nclass P:\n    x: int = attrs.field(validator=attrs.validators.instance_of(int))\n\
        def make(x): return attrs.asdict(P(x))\n\
        def sql(text): return sqlparse.format(text, reindent=True, keyword_case='upper')\n";
    deploy_with(&client, "data", data, &["attrs", "sqlparse"]).await;
    assert_eq!(call(&client, "data", "make", json!([3])).await, json!({"x": 3}));
    assert!(client.json_call("data", "make", r#"["a"]"#).await.is_err());
    let sql = call(&client, "data", "sql", json!(["select a from b"])).await;
    assert_eq!(sql, "SELECT a\nFROM b");
    let maths = "import sympy\nx = sympy.symbols('x')\n\
        def derive(text): return str(sympy.diff(sympy.sympify(text), x))\n\
        def solve(text): return [str(s) for s in sympy.solve(sympy.sympify(text), x)]\n";
    deploy_with(&client, "maths", maths, &["sympy", "mpmath"]).await;
    assert_eq!(call(&client, "maths", "derive", json!(["sin(x)**2"])).await, "2*sin(x)*cos(x)");
    assert_eq!(call(&client, "maths", "solve", json!(["x**2 - 4"])).await, json!(["-2", "2"]));
}
