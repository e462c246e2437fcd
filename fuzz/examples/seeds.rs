//! Writes the seeds that are not typed by hand: tokens of the fixed key, and messages of each kind.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`, from the root of the repository. Tokens
//! come out different each time, as the library draws the keys of their holders.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use biscuit_auth::UnverifiedBiscuit;
use prost::Message;
use solo_api::{cell, v1};
use solo_capability::{Authority, Capability, attenuate};

fn main() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let directory = seeds.join(target);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join(name), bytes).expect("a file");
    };
    for (name, text) in tokens() {
        write("token_text", name, text.as_bytes());
    }
    for (name, kind, bytes) in messages() {
        write("requests", name, &[&[kind], bytes.as_slice()].concat());
    }
}

fn tokens() -> Vec<(&'static str, String)> {
    // The key of `solo_fuzz::samples`, which is not used here: that module reads what is written here.
    let authority = Authority::from_private_key_bytes(&[7; 32]).expect("32 bytes");
    let capability = |text: &str| text.parse::<Capability>().expect("legal");
    let first = capability("read,call,grant service:a/* until=1800000020");
    let minted = authority.mint_token(&[first]).expect("minted").token;
    let second = [capability("call service:a/x uses=5/minute")];
    let attenuated = attenuate(&minted, &second).expect("attenuated").token;
    let sealed = UnverifiedBiscuit::from_base64(&attenuated).expect("a token");
    let sealed = sealed.seal().expect("sealed").to_base64().expect("encodes");
    let other = Authority::from_private_key_bytes(&[8; 32]).expect("32 bytes");
    let foreign = other.mint_token(&[capability("read kernel:* until=9")]).expect("minted").token;
    let cut = base64::engine::general_purpose::URL_SAFE.encode([10, 0, 26, 0, 34, 0]);
    vec![
        ("minted", minted),
        ("attenuated", attenuated),
        ("sealed", sealed),
        ("foreign", foreign),
        ("short", cut),
    ]
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> std::collections::HashMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn messages() -> Vec<(&'static str, u8, Vec<u8>)> {
    let grant = v1::GrantCapabilityRequest {
        capabilities: vec!["deploy,read service:default/ci-* uses=3/day".into()],
        holder: "ci".into(),
        ttl_seconds: Some(60),
        rights: vec![v1::Right::Read.into()],
        service: "counter".into(),
        dry_run: true,
    };
    let set_secret = v1::SetSecretRequest { name: "db".into(), value: vec![0x53; 40] };
    let explain = v1::ExplainCapabilityRequest {
        principal: "service:0000beef-1".into(),
        right: "call".into(),
        object: "network:a.example.com/443/GET/v1/x".into(),
    };
    let list = v1::ListRequest {
        name: "ci-*".into(),
        labels: pairs([("team", "x")]),
        states: vec![v1::ServiceState::Running.into()],
        page_size: Some(10),
        page_token: "counter".into(),
    };
    let call = v1::CallRequest {
        service: "counter".into(),
        trace_id: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        input: Some(v1::call_request::Input::Payload(b"get".to_vec())),
        ..Default::default()
    };
    messages_of_services()
        .into_iter()
        .chain(messages_of_cells())
        .chain([
            ("grant", 2, grant.encode_to_vec()),
            ("set_secret", 3, set_secret.encode_to_vec()),
            ("explain", 4, explain.encode_to_vec()),
            ("list", 5, list.encode_to_vec()),
            ("call", 6, call.encode_to_vec()),
        ])
        .collect()
}

fn messages_of_services() -> Vec<(&'static str, u8, Vec<u8>)> {
    let secret = v1::SecretReference { secret: "db".into(), key: "password".into() };
    let right = v1::CapabilityRequest {
        object: "service:other".into(),
        rights: vec![v1::Right::Call.into(), v1::Right::Send.into()],
    };
    let limits = v1::Limits {
        max_processes: Some(10),
        max_memory_bytes: Some(1 << 20),
        cpu_quota_percent: Some(50),
        message_queue_max: Some(20_000),
        ..Default::default()
    };
    let restart = v1::RestartPolicy {
        mode: v1::RestartMode::Transient.into(),
        max_restarts: Some(3),
        backoff_initial_ms: Some(10),
        ..Default::default()
    };
    let inline = v1::Code {
        source: Some(v1::code::Source::Inline(b"\0asm\x0d\0\x01\0".to_vec())),
        format: v1::CodeFormat::Wasm.into(),
    };
    let stored = v1::Code {
        source: Some(v1::code::Source::Digest("5a".repeat(32))),
        format: v1::CodeFormat::Unspecified.into(),
    };
    let deploy = v1::DeployRequest {
        name: "counter".into(),
        code: Some(inline),
        replicas: Some(2),
        capabilities: vec![right],
        limits: Some(limits),
        restart: Some(restart),
        health_check: Some(v1::HealthCheck {
            function: "healthy".into(),
            interval_ms: Some(100),
            ..Default::default()
        }),
        config: pairs([("a", "b"), ("level", "debug")]),
        secrets: vec![secret.clone()],
        labels: pairs([("team", "x")]),
        tier: v1::Tier::User.into(),
        arguments: vec!["--fast".into()],
        environment: pairs([("HOME", "none")]),
        idempotency_key: "one".into(),
        ..Default::default()
    };
    let update = v1::UpdateRequest {
        name: "counter".into(),
        code: Some(stored),
        replicas: Some(3),
        limits: Some(limits),
        restart: Some(restart),
        config: pairs([("a", "c")]),
        secrets: Some(v1::SecretReferences { references: vec![secret] }),
        ..Default::default()
    };
    let program = v1::DeployRequest {
        name: "web".into(),
        code: Some(v1::Code {
            source: Some(v1::code::Source::HostPath("/usr/bin/python3".into())),
            format: v1::CodeFormat::Program.into(),
        }),
        program: Some(v1::Program {
            interface: v1::ProgramInterface::Http.into(),
            port: Some(8080),
            ready: Some(v1::ProgramReadiness {
                when: Some(v1::program_readiness::When::HttpPath("/health".into())),
            }),
        }),
        mounts: vec![
            v1::Mount {
                what: Some(v1::mount::What::Volume(v1::VolumeMount {
                    volume: "data".into(),
                    at: "/var/lib/data".into(),
                    read_only: true,
                })),
            },
            v1::Mount { what: Some(v1::mount::What::Device("gpu".into())) },
        ],
        ..Default::default()
    };
    vec![
        ("deploy", 0, deploy.encode_to_vec()),
        ("deploy_program", 0, program.encode_to_vec()),
        ("update", 1, update.encode_to_vec()),
    ]
}

fn messages_of_cells() -> Vec<(&'static str, u8, Vec<u8>)> {
    let exit = cell::v1::Exit {
        reason: "trap".into(),
        message: "unreachable".into(),
        backtrace: vec!["at f".into()],
        at_unix_ms: 1_800_000_000_000,
        permanent: false,
    };
    let violation = cell::v1::Violation {
        limit: "max_memory_bytes".into(),
        action: "kill".into(),
        count: 3,
        message: "too much".into(),
    };
    let instance = cell::v1::Instance {
        id: "0000beef-1-1".into(),
        state: "running".into(),
        last_exit: Some(exit.clone()),
        violations: vec![violation],
        ..Default::default()
    };
    let snapshot = cell::v1::SnapshotResponse { instances: vec![instance], ..Default::default() };
    let export = cell::v1::Export {
        name: "add".into(),
        signature: "add(a: u32) -> u32".into(),
        parameters: vec![cell::v1::Parameter { name: "a".into(), r#type: "u32".into() }],
        result: "u32".into(),
    };
    let compiled = cell::v1::CompileResponse { exports: vec![export], ..Default::default() };
    let failure = cell::v1::Failure {
        reason: "CRASHED".into(),
        message: "it trapped".into(),
        expected: "add(u32)".into(),
        backtrace: vec!["at f".into()],
    };
    let state = cell::v1::StateChange {
        state: "restarting".into(),
        exit: Some(exit),
        ..Default::default()
    };
    let report = cell::v1::ReportsResponse {
        sequence: 7,
        report: Some(cell::v1::reports_response::Report::State(state)),
        ..Default::default()
    };
    // A `google.rpc.Status`: a code and a message.
    let status = vec![5, 0x08, 5, 0x12, 4, b'g', b'o', b'n', b'e'];
    vec![
        ("cell_snapshot", 7, snapshot.encode_to_vec()),
        ("cell_compile", 8, compiled.encode_to_vec()),
        ("cell_failure", 9, failure.encode_to_vec()),
        ("cell_reports", 10, report.encode_to_vec()),
        ("status", 11, status),
    ]
}
