//! Bytes in the place of requests, and of what cells tell: the first byte chooses the message, the
//! rest is its protobuf form.
//!
//! Nothing panics; what is accepted is within its bounds (`solo_types::bounds`); what is refused says
//! why, and fits the headers in which it travels.

use std::collections::BTreeMap;

use prost::Message;
use solo_api::{CodeSource, DeploySpec, PROGRAM_FORMAT, UpdateSpec, cell, v1};
use solo_capability::{Capability, GrantId, Object, Principal};
use solo_types::{
    Limits, Mount, Problem, Program, RestartPolicy, SecretName, SecretReference, ServiceId,
    ServiceName, TraceId, bounds,
};

/// Bytes of a status: common clients take 8 to 16 KiB of headers.
const STATUS_BYTES_MAX: usize = 8 << 10;

/// Bytes of a path of the machine.
const HOST_PATH_BYTES_MAX: usize = 4096;

/// Takes any bytes.
pub fn check(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 12 {
        0 => deploy(bytes),
        1 => update(bytes),
        2 => grant(bytes),
        3 => set_secret(bytes),
        4 => names(bytes),
        5 => list(bytes),
        6 => call(bytes),
        7 => cell_snapshot(bytes),
        8 => cell_compile(bytes),
        9 => cell_failure(bytes),
        10 => cell_reports(bytes),
        _ => status(bytes),
    }
}

fn deploy(bytes: &[u8]) {
    let Ok(request) = v1::DeployRequest::decode(bytes) else { return };
    match solo_api::deploy_spec(request) {
        Ok(spec) => within(&spec),
        Err(problem) => refusal(&problem),
    }
}

fn within(spec: &DeploySpec) {
    assert!((1..=bounds::REPLICAS_MAX).contains(&spec.replicas));
    assert!(spec.grants.len() <= bounds::CAPABILITIES_MAX);
    assert!(spec.grants.iter().all(|grant| !grant.rights.is_empty()));
    name(spec.name.as_str());
    code(&spec.code);
    spec.program.iter().for_each(program);
    mounts(&spec.mounts);
    assert_eq!(spec.limits.validate(), Ok(()));
    assert_eq!(spec.restart.validate(), Ok(()));
    config(&spec.config);
    secrets(&spec.secrets);
    assert!(spec.labels.len() <= bounds::LABELS_MAX);
    for (key, value) in &spec.labels {
        assert!((1..=bounds::LABEL_KEY_BYTES_MAX).contains(&key.len()));
        assert!(value.len() <= bounds::LABEL_VALUE_BYTES_MAX);
    }
    let together = |all: &mut dyn Iterator<Item = &String>| all.map(String::len).sum::<usize>();
    assert!(spec.arguments.len() <= bounds::ARGUMENTS_MAX);
    assert!(together(&mut spec.arguments.iter()) <= bounds::ARGUMENTS_BYTES_MAX);
    assert!(spec.environment.len() <= bounds::ARGUMENTS_MAX);
    let words = &mut spec.environment.iter().flat_map(|(key, value)| [key, value]);
    assert!(together(words) <= bounds::ARGUMENTS_BYTES_MAX);
    // They become strings of C.
    assert!(!spec.arguments.iter().chain(spec.environment.keys()).any(|text| text.contains('\0')));
    assert!(!spec.environment.values().any(|text| text.contains('\0')));
    assert!(spec.idempotency_key.len() <= bounds::IDEMPOTENCY_KEY_BYTES_MAX);
    if let Some(check) = &spec.health_check {
        assert!(check.interval_ms > 0 && check.timeout_ms > 0 && check.failures_max > 0);
    }
}

fn update(bytes: &[u8]) {
    let Ok(request) = v1::UpdateRequest::decode(bytes) else { return };
    let spec = match solo_api::update_spec(request) {
        Ok(spec) => spec,
        Err(problem) => return refusal(&problem),
    };
    let UpdateSpec { name: service, code: new, replicas, idempotency_key, .. } = &spec;
    name(service.as_str());
    new.iter().for_each(code);
    spec.program.iter().for_each(program);
    spec.mounts.iter().for_each(|all| mounts(all));
    assert!(replicas.is_none_or(|replicas| (1..=bounds::REPLICAS_MAX).contains(&replicas)));
    assert!(idempotency_key.len() <= bounds::IDEMPOTENCY_KEY_BYTES_MAX);
    spec.config.iter().for_each(config);
    spec.secrets.iter().for_each(|all| secrets(all));
    match spec.limits_after(&Limits::default()) {
        Ok(limits) => assert_eq!(limits.validate(), Ok(())),
        Err(problem) => refusal(&problem),
    }
    match spec.restart_after(&RestartPolicy::default()) {
        Ok(policy) => assert_eq!(policy.validate(), Ok(())),
        Err(problem) => refusal(&problem),
    }
}

fn grant(bytes: &[u8]) {
    let Ok(request) = v1::GrantCapabilityRequest::decode(bytes) else { return };
    match solo_api::rights_from_messages(&request.rights, "rights") {
        Ok(rights) => assert!(!rights.is_empty() && !request.rights.is_empty()),
        Err(problem) => refusal(&problem),
    }
    for text in &request.capabilities {
        if let Err(error) = text.parse::<Capability>() {
            refusal(&Problem::invalid("INVALID_CAPABILITY", "capabilities", &error.to_string()));
        }
    }
    if let Ok(holder) = Principal::new(&request.holder) {
        assert!(plain(holder.as_str()) && holder.as_str().len() <= 128);
    }
}

fn set_secret(bytes: &[u8]) {
    let Ok(mut request) = v1::SetSecretRequest::decode(bytes) else { return };
    if let Err(problem) = SecretName::new(&request.name) {
        refusal(&problem);
    }
    let before = request.value.clone();
    match solo_api::secret_value(&mut request) {
        Ok(value) => {
            assert!((1..=bounds::SECRET_BYTES_MAX).contains(&value.len()) && value == before);
            assert!(request.value.is_empty(), "it was taken out");
        }
        Err(problem) => refusal(&problem),
    }
    // A value of some length is not in what is printed by chance.
    if before.len() > 32 && !request.name.as_bytes().windows(32).any(|part| part == &before[..32]) {
        let shown = format!("{request:?}");
        assert!(!shown.as_bytes().windows(32).any(|part| part == &before[..32]), "{shown}");
    }
}

/// Requests that are hardly more than a name or an id.
fn names(bytes: &[u8]) {
    if let Ok(request) = v1::KillRequest::decode(bytes) {
        match ServiceName::new(&request.name) {
            Ok(known) => name(known.as_str()),
            Err(problem) => refusal(&problem),
        }
    }
    if let Ok(request) = v1::RevokeCapabilityRequest::decode(bytes)
        && let Ok(id) = GrantId::new(&request.id)
    {
        assert!(plain(id.as_str()) && id.as_str().len() <= 128);
    }
    if let Ok(request) = v1::ExplainCapabilityRequest::decode(bytes)
        && let Ok(object) = request.object.parse::<Object>()
    {
        assert_eq!(object.to_string().parse(), Ok(object));
    }
    if let Ok(request) = v1::StatusRequest::decode(bytes)
        && let Ok(id) = request.name.parse::<ServiceId>()
    {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

fn list(bytes: &[u8]) {
    let Ok(request) = v1::ListRequest::decode(bytes) else { return };
    for state in &request.states {
        if let Some(known) = solo_api::service_state_from_message(*state) {
            assert_eq!(i32::from(solo_api::service_state_message(known)), *state);
        }
    }
    // A pattern with many stars against a long name must end soon.
    for name in [&*request.page_token, "default", &"a".repeat(63)] {
        let _either = solo_types::glob_matches(&request.name, name);
    }
}

fn call(bytes: &[u8]) {
    let Ok(request) = v1::CallRequest::decode(bytes) else { return };
    if let Ok(id) = TraceId::parse(&request.trace_id) {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

fn cell_snapshot(bytes: &[u8]) {
    let Ok(told) = cell::v1::SnapshotResponse::decode(bytes) else { return };
    for instance in told.instances {
        for violation in &instance.violations {
            let message = solo_api::violation_message(violation);
            assert_eq!(message.count, violation.count);
        }
        if let Some(exit) = instance.last_exit {
            let exit = solo_api::cell_exit(exit);
            let message = solo_api::exit_message(&instance.id, &exit);
            assert_eq!(message.reason, exit.reason.as_str());
        }
    }
}

fn cell_compile(bytes: &[u8]) {
    let Ok(told) = cell::v1::CompileResponse::decode(bytes) else { return };
    for export in told.exports {
        let name = export.name.clone();
        let export = solo_api::export_message(&solo_api::export_from_cell(export));
        assert_eq!(export.name, name);
    }
}

fn cell_failure(bytes: &[u8]) {
    let Ok(failure) = cell::v1::Failure::decode(bytes) else { return };
    let problem = solo_api::cell_failure_problem("counter", failure);
    assert!(!problem.remedy.is_empty());
    fits(&problem);
}

fn cell_reports(bytes: &[u8]) {
    let Ok(told) = cell::v1::ReportsResponse::decode(bytes) else { return };
    if let Some(cell::v1::reports_response::Report::State(state)) = told.report {
        let exits = state.exit.into_iter().map(solo_api::cell_exit);
        exits.for_each(|exit| drop(solo_api::exit_message("counter-1", &exit)));
    }
}

/// What a server answers that is no Solo.
fn status(bytes: &[u8]) {
    let Some((code, details)) = bytes.split_first() else { return };
    let code = tonic::Code::from(i32::from(*code));
    let text = String::from_utf8_lossy(details).into_owned();
    let status = tonic::Status::with_details(code, text, details.to_vec().into());
    let problem = solo_api::problem_from_status(&status);
    fits(&problem);
}

fn name(name: &str) {
    assert!((1..=63).contains(&name.len()));
    assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
}

/// A name that can stand in a log and a path.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

fn code(code: &CodeSource) {
    let format = match code {
        CodeSource::Inline { bytes, format } => {
            assert!((1..=bounds::INLINE_CODE_BYTES_MAX).contains(&bytes.len()));
            format
        }
        CodeSource::Stored { digest, format } => {
            assert_eq!(digest.to_string().parse().as_ref(), Ok(digest));
            format
        }
        // A path that says where it leads, and goes into a string of C.
        CodeSource::Host { path } => {
            assert!(path.starts_with('/') && path.len() <= HOST_PATH_BYTES_MAX);
            assert!(path[1..].split('/').all(|part| !["", ".", ".."].contains(&part)), "{path:?}");
            assert!(!path.contains('\0'));
            &PROGRAM_FORMAT
        }
    };
    assert!(["", "wasm", "wat", PROGRAM_FORMAT].contains(format));
}

/// What is given to programs: never in place of what is Solo's, nor of each other.
fn mounts(mounts: &[Mount]) {
    assert_eq!(Mount::validate(mounts), Ok(()));
    let read = solo_api::mounts(solo_api::mount_messages(mounts));
    assert_eq!(read.as_deref(), Ok(mounts));
    let volumes = mounts.iter().filter_map(|mount| match mount {
        Mount::Volume { at, .. } => Some(at),
        Mount::Device { .. } => None,
    });
    for at in volumes {
        assert!(at.starts_with('/') && !at.contains('\0'), "{at:?}");
        assert!(at[1..].split('/').all(|part| !["", ".", ".."].contains(&part)), "{at:?}");
        let first = at[1..].split('/').next();
        assert!(!["app", "dev", "proc", "sys", "tmp"].map(Some).contains(&first), "{at:?}");
    }
}

/// What is said of a program reaches its cell as it was said.
fn program(program: &Program) {
    assert_eq!(program.validate(), Ok(()));
    let read = solo_api::program_from_cell(solo_api::cell_program(program));
    assert_eq!(read, Some(Program { host_path: None, ..program.clone() }));
}

fn config(config: &BTreeMap<String, String>) {
    assert!(config.len() <= bounds::CONFIG_ENTRIES_MAX);
    for (key, value) in config {
        assert!((1..=bounds::CONFIG_KEY_BYTES_MAX).contains(&key.len()));
        assert!(value.len() <= bounds::CONFIG_VALUE_BYTES_MAX);
    }
}

fn secrets(secrets: &[SecretReference]) {
    assert!(secrets.len() <= bounds::SECRETS_PER_SERVICE_MAX);
    for (at, reference) in secrets.iter().enumerate() {
        name(reference.secret.as_str());
        assert!((1..=bounds::CONFIG_KEY_BYTES_MAX).contains(&reference.key.len()));
        assert!(secrets[..at].iter().all(|other| other.key != reference.key));
    }
}

fn refusal(problem: &Problem) {
    assert!(!problem.reason.is_empty() && !problem.cause.is_empty(), "{problem:?}");
    fits(problem);
    let status = solo_api::status_from_problem(problem);
    let read = solo_api::problem_from_status(&status);
    assert_eq!((read.kind, &read.reason), (problem.kind, &problem.reason));
}

fn fits(problem: &Problem) {
    let status = solo_api::status_from_problem(problem);
    let bytes = status.message().len() + status.details().len();
    assert!(bytes <= STATUS_BYTES_MAX, "{bytes} bytes: {problem:?}");
}
