//! Requests that state a service: checked field by field, defaults filled in.

use std::collections::{BTreeMap, HashMap};

use solo_types::{
    Grant, HealthCheck, LimitAction, Limits, Mount, PROGRAM_STARTUP_TIMEOUT_MS, Problem, Program,
    RestartMode, RestartPolicy, Right, SecretReference, ServiceName, Tier, bounds,
};

use crate::{
    code::{CodeSource, code_source, missing_code},
    convert::rights_from_messages,
    mount::mounts,
    program::{program, program_of},
    secret::secret_references,
    v1,
};

/// A deployment, checked. What the compiler finds out (kind, exports) is not in it.
#[derive(Debug, Clone)]
pub struct DeploySpec {
    /// Name of the service.
    pub name: ServiceName,
    /// Its code.
    pub code: CodeSource,
    /// Instances.
    pub replicas: u32,
    /// What it asks for.
    pub grants: Vec<Grant>,
    /// Defaults filled in.
    pub limits: Limits,
    /// Defaults filled in, but for the mode.
    pub restart: RestartPolicy,
    /// None: by the kind of the code.
    pub restart_mode: Option<RestartMode>,
    /// None: no checks.
    pub health_check: Option<HealthCheck>,
    /// For `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// Secrets that it may read.
    pub secrets: Vec<SecretReference>,
    /// For filters.
    pub labels: BTreeMap<String, String>,
    /// Scheduling.
    pub tier: Tier,
    /// Of a program.
    pub arguments: Vec<String>,
    /// Of a program.
    pub environment: BTreeMap<String, String>,
    /// What was said of a program.
    pub program: Option<Program>,
    /// What a program is to be given beside its code.
    pub mounts: Vec<Mount>,
    /// Nothing is to be started.
    pub dry_run: bool,
    /// Empty: none.
    pub idempotency_key: String,
}

/// An update, checked. `None` leaves things as they are.
#[derive(Debug, Clone)]
pub struct UpdateSpec {
    /// Name of the service.
    pub name: ServiceName,
    /// New code.
    pub code: Option<CodeSource>,
    /// New number of instances.
    pub replicas: Option<u32>,
    /// Changed limits: absent fields keep their value.
    pub limits: Option<v1::Limits>,
    /// Changed policy: absent fields keep their value.
    pub restart: Option<v1::RestartPolicy>,
    /// New configuration.
    pub config: Option<BTreeMap<String, String>>,
    /// Other secrets.
    pub secrets: Option<Vec<SecretReference>>,
    /// Said anew of a program.
    pub program: Option<Program>,
    /// Other volumes and devices.
    pub mounts: Option<Vec<Mount>>,
    /// Empty: none.
    pub idempotency_key: String,
}

impl UpdateSpec {
    /// The limits after the update.
    ///
    /// # Errors
    /// Reason `INVALID_LIMIT`.
    pub fn limits_after(&self, current: &Limits) -> Result<Limits, Problem> {
        self.limits.as_ref().map_or(Ok(current.clone()), |change| limits(change, current))
    }

    /// The restart policy after the update.
    ///
    /// # Errors
    /// Reason `INVALID_RESTART_POLICY`.
    pub fn restart_after(&self, current: &RestartPolicy) -> Result<RestartPolicy, Problem> {
        let Some(change) = &self.restart else { return Ok(*current) };
        let (mut policy, mode) = restart(change, current)?;
        policy.mode = mode.unwrap_or(current.mode);
        Ok(policy)
    }
}

/// Checks a deployment.
///
/// # Errors
/// The first field that breaks a rule of `solo.v1.DeployRequest`; nothing was read beyond it.
pub fn deploy_spec(request: v1::DeployRequest) -> Result<DeploySpec, Problem> {
    let name = ServiceName::new(&request.name)?;
    let code = code_source(request.code)?.ok_or_else(missing_code)?;
    let program = program_of(&code, request.program)?;
    let mut current = Limits::default();
    if program.is_some() {
        current.startup_timeout_ms = PROGRAM_STARTUP_TIMEOUT_MS;
    }
    let limits = limits(&request.limits.unwrap_or_default(), &current)?;
    let (restart, restart_mode) =
        restart(&request.restart.unwrap_or_default(), &RestartPolicy::default())?;
    let tier = match v1::Tier::try_from(request.tier) {
        Ok(v1::Tier::Unspecified | v1::Tier::User) => Tier::User,
        Ok(v1::Tier::System) => Tier::System,
        Err(_) => return Err(Problem::invalid("INVALID_TIER", "tier", "there is no such tier")),
    };
    Ok(DeploySpec {
        name,
        replicas: replicas(request.replicas)?.unwrap_or(1),
        grants: grants(&request.capabilities)?,
        limits,
        restart,
        restart_mode,
        health_check: request.health_check.map(health_check).transpose()?,
        config: config(request.config)?,
        secrets: secret_references(request.secrets)?,
        labels: labels(request.labels)?,
        tier,
        arguments: arguments(request.arguments)?,
        environment: environment(request.environment)?,
        dry_run: request.dry_run,
        idempotency_key: idempotency_key(request.idempotency_key)?,
        mounts: mounts(request.mounts)?,
        code,
        program,
    })
}

/// Checks an update.
///
/// # Errors
/// The first field that breaks a rule; a strategy is the caller's to check.
pub fn update_spec(request: v1::UpdateRequest) -> Result<UpdateSpec, Problem> {
    let code = code_source(request.code)?;
    // What is not said anew stays as it was, also when the code is another program.
    let is_said = request.program.is_some();
    let program = match &code {
        Some(code) => program_of(code, request.program)?.filter(|_| is_said),
        None => request.program.map(|message| program(message, None)).transpose()?,
    };
    Ok(UpdateSpec {
        name: ServiceName::new(&request.name)?,
        code,
        program,
        replicas: replicas(request.replicas)?,
        limits: request.limits,
        restart: request.restart,
        config: if request.config.is_empty() { None } else { Some(config(request.config)?) },
        secrets: request.secrets.map(|all| secret_references(all.references)).transpose()?,
        mounts: request.mounts.map(|all| mounts(all.mounts)).transpose()?,
        idempotency_key: idempotency_key(request.idempotency_key)?,
    })
}

fn replicas(replicas: Option<u32>) -> Result<Option<u32>, Problem> {
    match replicas {
        Some(n) if n == 0 || n > bounds::REPLICAS_MAX => Err(Problem::invalid(
            "INVALID_REPLICAS",
            "replicas",
            &format!("replicas is {n}, not within 1 to {}", bounds::REPLICAS_MAX),
        )
        .remedy("choose 1 to 1,000; to stop a service use kill")),
        other => Ok(other),
    }
}

fn limits(message: &v1::Limits, current: &Limits) -> Result<Limits, Problem> {
    let action = match v1::LimitAction::try_from(message.limit_exceeded_action) {
        Ok(v1::LimitAction::Unspecified) => current.limit_exceeded_action,
        Ok(v1::LimitAction::Kill) => LimitAction::Kill,
        Ok(v1::LimitAction::Throttle) => LimitAction::Throttle,
        Ok(v1::LimitAction::Warn) => LimitAction::Warn,
        Err(_) => {
            return Err(Problem::invalid(
                "INVALID_LIMIT",
                "limits.limit_exceeded_action",
                "there is no such action",
            ));
        }
    };
    let limits = Limits {
        max_processes: message.max_processes.unwrap_or(current.max_processes),
        max_memory_bytes: message.max_memory_bytes.unwrap_or(current.max_memory_bytes),
        cpu_shares: message.cpu_shares.unwrap_or(current.cpu_shares),
        message_queue_limit: message.message_queue_limit.unwrap_or(current.message_queue_limit),
        startup_timeout_ms: message.startup_timeout_ms.unwrap_or(current.startup_timeout_ms),
        shutdown_timeout_ms: message.shutdown_timeout_ms.unwrap_or(current.shutdown_timeout_ms),
        limit_exceeded_action: action,
        cpu_quota_percent: match message.cpu_quota_percent {
            None => current.cpu_quota_percent,
            // The one way to take a quota away again.
            Some(0) => None,
            quota => quota,
        },
        message_queue_max: message.message_queue_max.or(current.message_queue_max),
    };
    limits.validate()?;
    Ok(limits)
}

fn restart(
    message: &v1::RestartPolicy,
    current: &RestartPolicy,
) -> Result<(RestartPolicy, Option<RestartMode>), Problem> {
    let mode = match v1::RestartMode::try_from(message.mode) {
        Ok(v1::RestartMode::Unspecified) => None,
        Ok(v1::RestartMode::Permanent) => Some(RestartMode::Permanent),
        Ok(v1::RestartMode::Transient) => Some(RestartMode::Transient),
        Ok(v1::RestartMode::Temporary) => Some(RestartMode::Temporary),
        Err(_) => {
            return Err(Problem::invalid(
                "INVALID_RESTART_POLICY",
                "restart.mode",
                "there is no such mode",
            ));
        }
    };
    let backoff_initial_ms = message.backoff_initial_ms.unwrap_or(current.backoff_initial_ms);
    let policy = RestartPolicy {
        mode: current.mode,
        max_restarts: message.max_restarts.unwrap_or(current.max_restarts),
        window_ms: message.window_ms.unwrap_or(current.window_ms),
        backoff_initial_ms,
        // A default never contradicts what was asked for.
        backoff_max_ms: message
            .backoff_max_ms
            .unwrap_or_else(|| current.backoff_max_ms.max(backoff_initial_ms)),
    };
    policy.validate()?;
    Ok((policy, mode))
}

fn health_check(message: v1::HealthCheck) -> Result<HealthCheck, Problem> {
    let check = HealthCheck {
        function: message.function,
        interval_ms: message.interval_ms.unwrap_or(10_000),
        timeout_ms: message.timeout_ms.unwrap_or(1_000),
        failures_max: message.failures_max.unwrap_or(3),
    };
    let range = |field: &str, value: u64, min: u64, max: u64| {
        if (min..=max).contains(&value) {
            return Ok(());
        }
        let rule = format!("it is {value}, not within {min} to {max}");
        Err(Problem::invalid("INVALID_HEALTH_CHECK", &format!("health_check.{field}"), &rule))
    };
    range("interval_ms", check.interval_ms, 10, 3_600_000)?;
    range("timeout_ms", check.timeout_ms, 1, 600_000)?;
    range("failures_max", u64::from(check.failures_max), 1, 100)?;
    if check.function.len() > 512 {
        let rule = "a function name has at most 512 bytes";
        return Err(Problem::invalid("INVALID_HEALTH_CHECK", "health_check.function", rule));
    }
    Ok(check)
}

fn grants(requests: &[v1::CapabilityRequest]) -> Result<Vec<Grant>, Problem> {
    if requests.len() > bounds::CAPABILITIES_MAX {
        return Err(Problem::invalid(
            "TOO_MANY_CAPABILITIES",
            "capabilities",
            "a service asks for at most 64 capabilities",
        ));
    }
    requests
        .iter()
        .enumerate()
        .map(|(index, request)| {
            let field = format!("capabilities[{index}]");
            let Some(name) = request.object.strip_prefix("service:") else {
                return Err(Problem::unimplemented(&format!(
                    "a capability on {:?}",
                    request.object.chars().take(100).collect::<String>()
                ))
                .remedy("objects are written `service:NAME` so far")
                .field(&format!("{field}.object")));
            };
            let rights = rights_from_messages(&request.rights, &format!("{field}.rights"))?;
            let known =
                |right: &&Right| matches!(right, Right::Call | Right::Send | Right::Execute);
            if let Some(right) = rights.iter().find(|right| !known(right)) {
                return Err(Problem::unimplemented(&format!(
                    "the right `{}` of one service on another",
                    right.as_str()
                ))
                .field(&format!("{field}.rights")));
            }
            let service = ServiceName::new(name).map_err(|mut problem| {
                problem.fields[0].field = format!("{field}.object");
                problem
            })?;
            Ok(Grant { service, rights })
        })
        .collect()
}

fn labels(labels: HashMap<String, String>) -> Result<BTreeMap<String, String>, Problem> {
    let refuse = |rule: &str| Err(Problem::invalid("INVALID_LABEL", "labels", rule));
    if labels.len() > bounds::LABELS_MAX {
        return refuse("a service has at most 64 labels");
    }
    for (key, value) in &labels {
        if key.is_empty() || key.len() > bounds::LABEL_KEY_BYTES_MAX {
            return refuse("the key of a label has 1 to 63 bytes");
        }
        if value.len() > bounds::LABEL_VALUE_BYTES_MAX {
            return refuse("the value of a label has at most 255 bytes");
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return refuse("a label has no control characters");
        }
    }
    Ok(labels.into_iter().collect())
}

fn config(config: HashMap<String, String>) -> Result<BTreeMap<String, String>, Problem> {
    let refuse = |rule: &str| Err(Problem::invalid("INVALID_CONFIG", "config", rule));
    if config.len() > bounds::CONFIG_ENTRIES_MAX {
        return refuse("a configuration has at most 256 entries");
    }
    for (key, value) in &config {
        if key.is_empty() || key.len() > bounds::CONFIG_KEY_BYTES_MAX {
            return refuse("the key of a configuration entry has 1 to 128 bytes");
        }
        if value.len() > bounds::CONFIG_VALUE_BYTES_MAX {
            return refuse("the value of a configuration entry has at most 64 KiB");
        }
    }
    Ok(config.into_iter().collect())
}

fn arguments(arguments: Vec<String>) -> Result<Vec<String>, Problem> {
    let bytes: usize = arguments.iter().map(String::len).sum();
    if arguments.len() > bounds::ARGUMENTS_MAX || bytes > bounds::ARGUMENTS_BYTES_MAX {
        let rule = "a program has at most 256 arguments of 64 KiB together";
        return Err(Problem::invalid("INVALID_ARGUMENTS", "arguments", rule));
    }
    if arguments.iter().any(|a| a.contains('\0')) {
        let rule = "an argument has no zero byte";
        return Err(Problem::invalid("INVALID_ARGUMENTS", "arguments", rule));
    }
    Ok(arguments)
}

fn environment(environment: HashMap<String, String>) -> Result<BTreeMap<String, String>, Problem> {
    let refuse = |rule: &str| Err(Problem::invalid("INVALID_ENVIRONMENT", "environment", rule));
    let bytes: usize = environment.iter().map(|(k, v)| k.len() + v.len()).sum();
    if environment.len() > bounds::ARGUMENTS_MAX || bytes > bounds::ARGUMENTS_BYTES_MAX {
        return refuse("an environment has at most 256 entries of 64 KiB together");
    }
    if environment.keys().any(|k| k.is_empty() || k.contains(['=', '\0'])) {
        return refuse("a variable's name is not empty and has no `=` and no zero byte");
    }
    if environment.values().any(|v| v.contains('\0')) {
        return refuse("a variable's value has no zero byte");
    }
    Ok(environment.into_iter().collect())
}

fn idempotency_key(key: String) -> Result<String, Problem> {
    if key.len() > bounds::IDEMPOTENCY_KEY_BYTES_MAX {
        let rule = "an idempotency key has at most 128 bytes";
        return Err(Problem::invalid("INVALID_IDEMPOTENCY_KEY", "idempotency_key", rule));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use solo_types::{Digest, Interface, NodeId, ServiceId, ServiceKind, ServiceSpec};

    use super::*;
    use crate::code::PROGRAM_FORMAT;

    fn request() -> v1::DeployRequest {
        v1::DeployRequest {
            name: "counter".into(),
            code: Some(v1::Code {
                source: Some(v1::code::Source::Inline(b"\0asm".to_vec())),
                format: 0,
            }),
            ..Default::default()
        }
    }

    fn refused(change: impl FnOnce(&mut v1::DeployRequest)) -> Problem {
        let mut request = request();
        change(&mut request);
        deploy_spec(request).expect_err("must be refused")
    }

    /// D4: programs are told by what they begin with, and have defaults of their own.
    #[test]
    fn programs_are_told_by_their_first_bytes() {
        let with = |source: v1::code::Source, program: Option<v1::Program>| {
            let code = Some(v1::Code { source: Some(source), format: 0 });
            deploy_spec(v1::DeployRequest { code, program, ..request() })
        };
        let inline = |bytes: &[u8]| v1::code::Source::Inline(bytes.to_vec());
        let script = with(inline(b"#!/bin/sh\n"), None).expect("a program");
        assert_eq!(script.program, Some(Program::new(Interface::None)));
        assert_eq!(script.limits.startup_timeout_ms, PROGRAM_STARTUP_TIMEOUT_MS);
        assert!(matches!(script.code, CodeSource::Inline { format: PROGRAM_FORMAT, .. }));
        let http =
            v1::Program { interface: v1::ProgramInterface::Http.into(), ..v1::Program::default() };
        let binary = with(inline(b"\x7fELF\x02"), Some(http.clone())).expect("a program");
        assert_eq!(binary.program, Some(Program::new(Interface::Http)));
        let host = v1::code::Source::HostPath("/usr/bin/env".into());
        let host = with(host, None).expect("a program").program.expect("a program");
        assert_eq!(host.host_path.as_deref(), Some("/usr/bin/env"));
        for path in ["env", "/usr/../etc/shadow"] {
            let host = v1::code::Source::HostPath(path.into());
            assert_eq!(with(host, None).expect_err(path).reason, "INVALID_PROGRAM");
        }
        assert_eq!(with(inline(b"\0asm"), Some(http)).expect_err("wasm").reason, "NOT_A_PROGRAM");
        assert_eq!(with(inline(b"\0asm"), None).expect("wasm").program, None);
    }

    #[test]
    fn defaults_are_filled_in() {
        let spec = deploy_spec(request()).expect("legal");
        assert_eq!((spec.replicas, spec.limits, spec.tier), (1, Limits::default(), Tier::User));
        assert_eq!(spec.restart_mode, None);
    }

    #[test]
    fn bad_fields_are_named() {
        for (problem, reason, field) in [
            (refused(|r| r.name = String::new()), "INVALID_NAME", "name"),
            (refused(|r| r.name = "../x".into()), "INVALID_NAME", "name"),
            (refused(|r| r.code = None), "MISSING_CODE", "code"),
            (refused(|r| r.replicas = Some(0)), "INVALID_REPLICAS", "replicas"),
            (refused(|r| r.replicas = Some(u32::MAX)), "INVALID_REPLICAS", "replicas"),
            (
                refused(|r| {
                    r.limits =
                        Some(v1::Limits { max_memory_bytes: Some(u64::MAX), ..Default::default() });
                }),
                "INVALID_LIMIT",
                "limits.max_memory_bytes",
            ),
            (refused(|r| r.tier = 99), "INVALID_TIER", "tier"),
            (
                refused(|r| {
                    r.capabilities = vec![v1::CapabilityRequest {
                        object: "service:../x".into(),
                        rights: vec![v1::Right::Call.into()],
                    }];
                }),
                "INVALID_NAME",
                "capabilities[0].object",
            ),
            (
                refused(|r| {
                    r.labels.insert("a\nb".into(), String::new());
                }),
                "INVALID_LABEL",
                "labels",
            ),
        ] {
            assert_eq!(
                (problem.reason.as_str(), problem.fields[0].field.as_str()),
                (reason, field)
            );
        }
    }

    #[test]
    fn what_is_not_built_yet_says_so() {
        let capability = |right: v1::Right| v1::CapabilityRequest {
            object: "service:other".into(),
            rights: vec![right.into()],
        };
        let problem = refused(|r| r.capabilities = vec![capability(v1::Right::Kill)]);
        assert_eq!(problem.kind, solo_types::ProblemKind::Unimplemented);
    }

    /// SPEC section 5 and C2: what a deployment states reaches its cell.
    #[test]
    fn limits_tier_and_rights_reach_the_cell() {
        let mut request = request();
        request.tier = v1::Tier::System.into();
        request.limits = Some(v1::Limits {
            limit_exceeded_action: v1::LimitAction::Throttle.into(),
            cpu_quota_percent: Some(50),
            message_queue_limit: Some(10),
            ..Default::default()
        });
        request.capabilities = vec![v1::CapabilityRequest {
            object: "service:worker".into(),
            rights: vec![v1::Right::Execute.into()],
        }];
        let deploy = deploy_spec(request).expect("legal");
        let spec = ServiceSpec {
            name: deploy.name,
            tenant: "default".into(),
            digest: Digest([0; 32]),
            kind: ServiceKind::Handler,
            core_module: false,
            replicas: deploy.replicas,
            limits: deploy.limits,
            restart: deploy.restart,
            health_check: None,
            config: deploy.config,
            labels: deploy.labels,
            tier: deploy.tier,
            arguments: Vec::new(),
            environment: deploy.environment,
            grants: deploy.grants,
            secrets: deploy.secrets,
            exports: Vec::new(),
            program: None,
            mounts: deploy.mounts,
        };
        let id = ServiceId { node: NodeId(1), number: 1 };
        let wire = crate::cell_spec(id, 1, &spec, String::new());
        assert_eq!((wire.tier.as_str(), wire.limit_action.as_str()), ("system", "throttle"));
        assert_eq!((wire.cpu_quota_percent, wire.message_queue_max), (50, 20));
        let grant = &wire.grants[0];
        assert_eq!((grant.call, grant.send, grant.execute), (false, false, true));
    }

    fn after(change: v1::Limits, current: &Limits) -> Limits {
        limits(&change, current).expect("legal")
    }

    #[test]
    fn an_update_keeps_the_limits_that_it_does_not_name() {
        let current = Limits {
            limit_exceeded_action: LimitAction::Warn,
            cpu_quota_percent: Some(25),
            message_queue_max: Some(30_000),
            ..Limits::default()
        };
        assert_eq!(after(v1::Limits::default(), &current), current);
        let no_quota = v1::Limits { cpu_quota_percent: Some(0), ..Default::default() };
        assert_eq!(after(no_quota, &current).cpu_quota_percent, None);
        let killed = v1::Limits {
            limit_exceeded_action: v1::LimitAction::Kill.into(),
            ..Default::default()
        };
        assert_eq!(after(killed, &current).limit_exceeded_action, LimitAction::Kill);
        // A bound that follows from the alert goes with it, a stated one does not.
        let alert = v1::Limits { message_queue_limit: Some(20_000), ..Default::default() };
        assert_eq!(after(alert, &Limits::default()).message_queue_bound(), 40_000);
        assert_eq!(after(alert, &current).message_queue_bound(), 30_000);
        let above = v1::Limits { message_queue_limit: Some(30_001), ..Default::default() };
        let problem = limits(&above, &current).expect_err("above the bound");
        assert_eq!(problem.fields[0].field, "limits.message_queue_max");
    }
}
