//! Addresses that other machines reach: TLS or nothing, with the real binary.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use solo_api::{Client, ConnectError, Endpoint};
use solo_tls::{ClientFiles, HandshakeFailure, handshake_failure, issue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{ADDER, Requests, Solo, deploy, eventually};

const PUBLIC: &str = "0.0.0.0:0";
const LOOPBACK: &str = "127.0.0.1:0";

/// A home with what `solo tls init` makes.
fn home(flags: &[&str]) -> Solo {
    let solo = Solo::new();
    let made = solo.json(&[&["tls", "init"], flags].concat());
    assert!(made["files"].as_array().is_some_and(|files| files.len() >= 6), "{made}");
    solo
}

/// What `solo up` says, which must end at once.
fn up(home: &Path, flags: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_solo"))
        .args(["--output", "json", "up", "--detach", "--home"])
        .arg(home)
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("solo");
    let code = output.status.code().expect("an exit code");
    assert_ne!(code, 0, "{flags:?}: {output:?}");
    let error: Value = serde_json::from_slice(&output.stderr)
        .unwrap_or_else(|error| panic!("{flags:?}: {error}: {output:?}"));
    (code, error["error"].clone())
}

fn tls(solo: &Solo) -> PathBuf {
    solo.home().join("tls")
}

fn port(solo: &Solo, listener: &str) -> u16 {
    let address = solo.addresses()[listener].as_str().expect(listener).to_owned();
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn files(directory: &Path, client: Option<&str>) -> ClientFiles {
    let file = |name: &str, ending: &str| directory.join(format!("clients/{name}.{ending}"));
    ClientFiles {
        ca: directory.join("ca.crt"),
        identity: client.map(|name| (file(name, "crt"), file(name, "key"))),
    }
}

async fn connect(solo: &Solo, files: ClientFiles) -> Result<Client, HandshakeFailure> {
    let address = format!("127.0.0.1:{}", port(solo, "api"));
    match Client::connect(&Endpoint::Tls { address, files }).await {
        Ok(client) => Ok(client.with_token(&solo.admin_token()).expect("a token")),
        Err(ConnectError::Unreachable { source, .. }) => {
            Err(handshake_failure(&source).unwrap_or_else(|| panic!("no handshake: {source:?}")))
        }
        Err(error) => panic!("{error:?}"),
    }
}

async fn calls(client: &Client) {
    assert_eq!(client.json_call("adder", "add", "[20, 22]").await.as_deref(), Ok("42"));
}

/// Everything that says that an address is public and not served so.
#[test]
fn public_addresses_are_refused_without_tls() {
    let solo = Solo::new();
    for listener in ["--api", "--gateway", "--metrics"] {
        let (code, error) = up(solo.home(), &[listener, PUBLIC]);
        assert_eq!((code, &error["reason"]), (1, &Value::from("TLS_REQUIRED")), "{listener}");
        assert!(error["remedy"].as_str().is_some_and(|text| text.contains("solo tls init")));
    }
    let named = ["--tls-cert", "/nonexistent/c", "--tls-key", "/nonexistent/k"];
    let (code, error) = up(solo.home(), &named);
    assert_eq!((code, &error["reason"]), (2, &Value::from("USAGE")), "files that nobody would use");
    let (_, error) = up(solo.home(), &[&["--api", PUBLIC][..], &named].concat());
    assert_eq!(error["reason"], "TLS_NOT_USABLE");
    solo.json(&["tls", "init"]);
    let (_, error) = up(solo.home(), &["--metrics", PUBLIC]);
    assert_eq!(error["reason"], "CLIENT_CERTIFICATES_REQUIRED");
    // One that has ended.
    let pem = |name: &str| std::fs::read_to_string(tls(&solo).join(name)).expect("read");
    let authority = issue::Issued { certificate: pem("ca.crt"), key: pem("ca.key") };
    let ended = issue::server(&authority, &["localhost".to_owned()], 0).expect("a certificate");
    std::fs::write(tls(&solo).join("server.crt"), ended.certificate).expect("write");
    std::fs::write(tls(&solo).join("server.key"), ended.key).expect("write");
    let (_, error) = up(solo.home(), &["--api", PUBLIC]);
    assert_eq!(error["reason"], "TLS_NOT_USABLE");
    assert!(error["cause"].as_str().is_some_and(|cause| cause.contains("and not now")), "{error}");
    let shown = solo.json(&["tls", "show"]);
    assert!(shown["problem"].as_str().is_some_and(|text| text.contains("solo tls server")));
    // A key that others may read.
    solo.json(&["tls", "server"]);
    assert_eq!(solo.json(&["tls", "show"])["problem"], Value::Null);
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(tls(&solo).join("server.key"), open).expect("chmod");
    let (_, error) = up(solo.home(), &["--api", PUBLIC]);
    assert!(error["remedy"].as_str().is_some_and(|text| text.contains("chmod 600")), "{error}");
    assert!(!solo.home().join("run/addresses.json").exists());
}

#[tokio::test]
async fn who_has_the_authority_is_served_and_nobody_else() {
    let mut solo = home(&[]);
    solo.up_at(PUBLIC, PUBLIC, LOOPBACK).await;
    let owner = solo.answering().await;
    owner.deploy(deploy("adder", ADDER)).await.expect("deployed");
    let client = connect(&solo, files(&tls(&solo), None)).await.expect("trusted");
    calls(&client).await;
    // TLS opens the connection; the token still decides.
    let address = format!("127.0.0.1:{}", port(&solo, "api"));
    let endpoint = Endpoint::Tls { address: address.clone(), files: files(&tls(&solo), None) };
    let nobody = Client::connect(&endpoint).await.expect("connected");
    assert_eq!(nobody.status("adder").await.expect_err("refused").reason, "TOKEN_MISSING");
    // Another authority.
    let other = home(&[]);
    let unknown = connect(&solo, files(&tls(&other), None)).await.expect_err("not trusted");
    assert_eq!(unknown, HandshakeFailure::UnknownAuthority);
    // In plain: nothing, and no harm.
    let mut plain = TcpStream::connect(&address).await.expect("connected");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;
    assert!(answer.len() < 32, "an alert at most: {answer:?}");
    let endpoint = Endpoint::Tcp(address);
    if let Ok(client) = Client::connect(&endpoint).await {
        let client = client.with_token(&solo.admin_token()).expect("a token");
        client.status("adder").await.expect_err("no plain text");
    }
    calls(&client).await;
    let failed = solo.metrics().await;
    let line = failed.lines().find(|line| line.starts_with("solo_tls_handshakes_failed_total "));
    assert!(line.is_some_and(|line| !line.ends_with(" 0")), "{line:?}");
    solo.down().await;
}

/// The command line, as people on another machine use it; and the gateway.
#[tokio::test]
async fn the_command_line_and_the_gateway_speak_it() {
    let mut solo = home(&["--host", "solo.example.com"]);
    solo.up_at(PUBLIC, PUBLIC, LOOPBACK).await;
    solo.answering().await.deploy(deploy("adder", ADDER)).await.expect("deployed");
    let token = solo.admin_token();
    let ca = tls(&solo).join("ca.crt").display().to_string();
    let run = |api: &str, more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_solo"))
            .args(["--output", "json", "--home", "/nonexistent", "--token", &token, "--api", api])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .expect("solo")
    };
    let call = ["call", "adder", "add", "20", "22"];
    let api = port(&solo, "api");
    for host in ["localhost", "127.0.0.1"] {
        let output = run(&format!("https://{host}:{api}"), &[&["--ca", &ca][..], &call].concat());
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "42", "{output:?}");
    }
    let other = home(&[]);
    let foreign = tls(&other).join("ca.crt").display().to_string();
    for (host, flags, reason) in [
        ("localhost", &["--ca", &foreign][..], "TLS_UNKNOWN_CA"),
        ("127.0.0.2", &["--ca", &ca][..], "TLS_WRONG_NAME"),
        ("localhost", &[][..], "USAGE"),
        ("localhost", &["--ca", "/nonexistent"][..], "USAGE"),
    ] {
        let output = run(&format!("https://{host}:{api}"), &[flags, &call].concat());
        let error: Value = serde_json::from_slice(&output.stderr).expect("JSON");
        assert_eq!(error["error"]["reason"], reason, "{error}");
        assert!(error["error"]["remedy"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    }
    // The gateway is asked by the names of its certificate, and by no others.
    let client = files(&tls(&solo), None);
    for (host, code) in
        [("solo.example.com", "200"), ("localhost:1", "200"), ("evil.example", "403")]
    {
        let answer = https_get(&client, port(&solo, "gateway"), "/healthz", host, &token).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{host}: {answer}");
    }
    // Inside, nothing changed: the socket serves its owner.
    assert_eq!(solo.json(&call), 42);
    solo.down().await;
}

/// One request over TLS, whatever was agreed on; `curl` is not everywhere.
async fn https_get(files: &ClientFiles, port: u16, path: &str, host: &str, token: &str) -> String {
    let connector = solo_tls::Connector::open(files).expect("files").without_alpn();
    let mut stream = connector.connect("localhost", port).await.expect("connected");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let _end = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn clients_without_a_certificate_are_refused_in_the_handshake() {
    let mut solo = home(&["--mutual"]);
    solo.json(&["tls", "client", "agent-7"]);
    solo.up_at(PUBLIC, LOOPBACK, PUBLIC).await;
    solo.answering().await.deploy(deploy("adder", ADDER)).await.expect("deployed");
    let directory = tls(&solo);
    for name in ["client", "agent-7"] {
        calls(&connect(&solo, files(&directory, Some(name))).await.expect("known")).await;
    }
    let none = connect(&solo, files(&directory, None)).await.expect_err("refused");
    assert_eq!(none, HandshakeFailure::ClientCertificateNeeded);
    let other = home(&["--mutual"]);
    let identity = files(&tls(&other), Some("client")).identity;
    let foreign = ClientFiles { ca: directory.join("ca.crt"), identity };
    let foreign = connect(&solo, foreign).await.expect_err("refused");
    assert_eq!(foreign, HandshakeFailure::ClientCertificateRefused);
    // The metrics, with a certificate and a token.
    let (files, port) = (files(&directory, Some("client")), port(&solo, "metrics"));
    let answer = https_get(&files, port, "/metrics", "localhost", &solo.admin_token()).await;
    assert!(answer.contains("solo_active_services 1"), "{answer}");
    let answer = https_get(&files, port, "/metrics", "localhost", "nonsense").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    solo.down().await;
}

#[tokio::test]
async fn new_certificates_are_taken_without_a_restart() {
    let mut solo = home(&[]);
    solo.up_at(PUBLIC, PUBLIC, LOOPBACK).await;
    solo.answering().await.deploy(deploy("adder", ADDER)).await.expect("deployed");
    let before = connect(&solo, files(&tls(&solo), None)).await.expect("trusted");
    calls(&before).await;
    let processes = (solo.pid("kernel").await, solo.pid("gateway").await);
    // Broken files change nothing, and it is said so.
    let path = tls(&solo).join("server.crt");
    let good = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, "nonsense").expect("write");
    let events = || solo.json_lines(&["watch", "--kind", "event"]);
    let has = |kind: &str| {
        let events = events();
        events.iter().any(|event| event.to_string().contains(kind)).then_some(())
    };
    eventually("the broken certificate is told of", || async { has("certificate_broken") }).await;
    connect(&solo, files(&tls(&solo), None)).await.expect("the old one stays");
    std::fs::write(&path, good).expect("write");
    // Another authority altogether.
    let old = tempfile::tempdir().expect("tempdir");
    std::fs::copy(tls(&solo).join("ca.crt"), old.path().join("ca.crt")).expect("copy");
    let (code, error) = solo.refused(&["tls", "init"]);
    assert_eq!((code, &error["reason"]), (1, &Value::from("TLS_EXISTS")));
    solo.json(&["tls", "init", "--force"]);
    let new = eventually("the new certificate is served with", || async {
        connect(&solo, files(&tls(&solo), None)).await.ok()
    })
    .await;
    calls(&new).await;
    let unknown = connect(&solo, files(old.path(), None)).await.expect_err("no longer");
    assert_eq!(unknown, HandshakeFailure::UnknownAuthority);
    calls(&before).await;
    let gateway = port(&solo, "gateway");
    eventually("the gateway has it too", || async {
        let connector = solo_tls::Connector::open(&files(&tls(&solo), None)).ok()?.without_alpn();
        connector.connect("localhost", gateway).await.ok()
    })
    .await;
    assert_eq!((solo.pid("kernel").await, solo.pid("gateway").await), processes, "no restart");
    eventually("the new certificate is told of", || async { has("certificate_replaced") }).await;
    // A kernel that starts again reads it too.
    solo.kill_process("kernel").await;
    solo.answering().await;
    calls(&connect(&solo, files(&tls(&solo), None)).await.expect("trusted")).await;
    solo.down().await;
}

#[tokio::test]
async fn half_open_handshakes_keep_nobody_out() {
    let mut solo = home(&[]);
    solo.up_at(PUBLIC, PUBLIC, LOOPBACK).await;
    solo.answering().await.deploy(deploy("adder", ADDER)).await.expect("deployed");
    let mut idle = Vec::new();
    for listener in ["api", "gateway"] {
        for number in 0..300 {
            let mut stream =
                TcpStream::connect(("127.0.0.1", port(&solo, listener))).await.expect("connected");
            if number % 2 == 0 {
                // The beginning of a handshake.
                stream.write_all(&[22, 3, 1, 2, 0, 1]).await.expect("written");
            }
            idle.push(stream);
        }
    }
    calls(&connect(&solo, files(&tls(&solo), None)).await.expect("let in")).await;
    let client = files(&tls(&solo), None);
    let gateway = port(&solo, "gateway");
    let answer = https_get(&client, gateway, "/healthz", "localhost", "none").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(idle);
    solo.down().await;
}

/// Files, modes, and what is not overwritten.
#[test]
fn certificates_are_made_and_shown() {
    let solo = Solo::new();
    let (code, error) = solo.refused(&["tls", "show"]);
    assert_eq!((code, &error["reason"]), (1, &Value::from("TLS_NOT_MADE")));
    let (_, error) = solo.refused(&["tls", "client", "agent-7"]);
    assert_eq!(error["reason"], "NO_AUTHORITY");
    for flags in [&["--host", "a b"][..], &["--days", "0"], &["--days", "3651"], &["--days", "-1"]]
    {
        assert_eq!(solo.refused(&[&["tls", "init"], flags].concat()).0, 2, "{flags:?}");
    }
    assert!(!tls(&solo).join("ca.crt").exists(), "nothing half-made");
    solo.json(&[
        "tls",
        "init",
        "--host",
        "solo.example.com",
        "--host",
        "192.0.2.7",
        "--days",
        "30",
    ]);
    for name in ["ca.key", "server.key", "clients/client.key"] {
        let mode = std::fs::metadata(tls(&solo).join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    solo.json(&["tls", "client", "agent-7"]);
    for arguments in
        [&["tls", "client", "agent-7"][..], &["tls", "init"], &["tls", "init", "--mutual"]]
    {
        assert_eq!(solo.refused(arguments).1["reason"], "TLS_EXISTS", "{arguments:?}");
    }
    assert_eq!(solo.refused(&["tls", "client", "../server"]).0, 2);
    let shown = solo.json(&["tls", "show"]);
    assert_eq!((&shown["mutual"], &shown["problem"]), (&Value::from(false), &Value::Null));
    let certificates = shown["certificates"].as_array().expect("certificates");
    let find = |name: &str| {
        let is_it =
            |found: &&Value| found["file"].as_str().is_some_and(|file| file.ends_with(name));
        certificates.iter().find(is_it).unwrap_or_else(|| panic!("{name}: {shown}"))
    };
    let server = find("/server.crt");
    for name in ["solo.example.com", "192.0.2.7", "localhost", "127.0.0.1", "::1"] {
        assert!(
            server["names"].as_array().is_some_and(|names| names.contains(&name.into())),
            "{name}"
        );
    }
    assert_eq!((&server["valid"], &server["authority"]), (&true.into(), &false.into()));
    assert!(server["days_left"].as_i64().is_some_and(|days| (29..=30).contains(&days)), "{server}");
    assert_eq!(find("/ca.crt")["authority"], true);
    assert_eq!(find("/clients/agent-7.crt")["subject"], "CN=agent-7");
    assert_eq!(find("/ca.crt")["subject"], server["issuer"]);
}
