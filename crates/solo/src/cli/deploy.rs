//! `solo deploy`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use solo_api::v1;
use solo_gateway::json::DeployJson;

use super::Failure;
use super::code::CodeFlags;
use super::context::{Context, answer};
use super::mounts::MountFlags;
use super::program::ProgramFlags;
use super::settings::{HealthFlags, LimitFlags, RestartFlags};
use super::values::{capability, check_unique, milliseconds, number, pair, secret_reference};
use crate::output::{Spinner, deploy_text};

/// Arguments of `solo deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Name of the new service
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    code: CodeFlags,
    /// Instances that serve side by side [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number::<u32>("replicas"))]
    replicas: Option<u32>,
    /// Let the service use another one, like call,send=service:NAME, or start children from its
    /// code, like execute=service:NAME (can be repeated)
    #[arg(long, value_name = "RIGHT[,RIGHT]=OBJECT", value_parser = capability)]
    allow: Vec<v1::CapabilityRequest>,
    /// Configuration that the service can read (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair("config"))]
    config: Vec<(String, String)>,
    /// Secret that the service can read, under its own name or under KEY (can be repeated)
    #[arg(long, value_name = "[KEY=]NAME", value_parser = secret_reference)]
    secret: Vec<v1::SecretReference>,
    /// Label for people and filters (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair("labels"))]
    label: Vec<(String, String)>,
    /// Environment variable of a program (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair("environment"))]
    env: Vec<(String, String)>,
    /// Command-line argument of a program (can be repeated)
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    arg: Vec<String>,
    /// Who may end the service and how it is scheduled [default: user]
    #[arg(long, value_name = "TIER")]
    tier: Option<TierName>,
    /// Check and compile only
    #[arg(long)]
    dry_run: bool,
    /// Key under which the same request is done once only
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Time to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = milliseconds("timeout"))]
    timeout: u64,
    #[command(flatten)]
    program: ProgramFlags,
    #[command(flatten)]
    mounts: MountFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    restart: RestartFlags,
    #[command(flatten)]
    health: HealthFlags,
}

/// Who may end a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TierName {
    User,
    System,
}

impl Deploy {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        check_unique("--config", &self.config)?;
        check_unique("--label", &self.label)?;
        check_unique("--env", &self.env)?;
        let deadline = Duration::from_millis(self.timeout);
        let client = context.client().await?;
        let spinner = Spinner::start(context.output, format!("deploying {}", self.name));
        let code = self.code.message(&client, &self.name).await?.ok_or_else(|| {
            Failure::usage(
                "no code was named",
                "give a FILE, `-` for standard input, --digest or --host-path",
            )
        })?;
        let request = client.request(self.message(code), deadline);
        let response = answer(deadline, client.grpc().deploy(request)).await?;
        drop(spinner);
        let style = context.output.style();
        context.output.show(&DeployJson::from(response), |deploy| deploy_text(deploy, style))
    }

    fn message(self, code: v1::Code) -> v1::DeployRequest {
        let tier = match self.tier {
            None => v1::Tier::Unspecified,
            Some(TierName::User) => v1::Tier::User,
            Some(TierName::System) => v1::Tier::System,
        };
        v1::DeployRequest {
            name: self.name,
            code: Some(code),
            replicas: self.replicas,
            capabilities: self.allow,
            limits: self.limits.message(),
            restart: self.restart.message(),
            health_check: self.health.message(),
            config: self.config.into_iter().collect(),
            secrets: self.secret,
            labels: self.label.into_iter().collect(),
            tier: tier as i32,
            arguments: self.arg,
            environment: self.env.into_iter().collect(),
            dry_run: self.dry_run,
            idempotency_key: self.idempotency_key.unwrap_or_default(),
            program: self.program.message(),
            mounts: self.mounts.messages(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Command, parse};
    use super::*;

    fn message(line: &str) -> v1::DeployRequest {
        match parse(line).command {
            Command::Deploy(deploy) => deploy.message(v1::Code::default()),
            other => panic!("not a deployment: {other:?}"),
        }
    }

    #[test]
    fn what_is_not_given_is_not_sent() {
        let expected = v1::DeployRequest {
            name: "calc".into(),
            code: Some(v1::Code::default()),
            ..Default::default()
        };
        assert_eq!(message("solo deploy calc calc.wasm"), expected);
    }

    #[test]
    fn every_field_has_its_flag() {
        let request = message(
            "solo deploy calc calc.wasm --replicas 3 --max-memory 64MiB --cpu-shares 7 --queue 5 \
             --cpu-quota 50 --queue-max 9 \
             --startup-timeout 5s --shutdown-timeout 100ms --max-processes 2 --on-limit warn \
             --restart transient --max-restarts 0 --restart-window 1m --backoff-initial 10 \
             --backoff-max 1h --health check --health-interval 1s --health-timeout 10ms \
             --health-failures 9 --allow call,send,execute=service:counter --config a=b --label c=d \
             --secret password=db \
             --env E=F --arg -x --tier system --dry-run --idempotency-key k \
             --interface http --port 80 --ready-http /up --volume db:/data:ro --device gpu",
        );
        let limits = v1::Limits {
            max_processes: Some(2),
            max_memory_bytes: Some(64 << 20),
            cpu_shares: Some(7),
            message_queue_limit: Some(5),
            startup_timeout_ms: Some(5_000),
            shutdown_timeout_ms: Some(100),
            limit_exceeded_action: v1::LimitAction::Warn as i32,
            cpu_quota_percent: Some(50),
            message_queue_max: Some(9),
        };
        let restart = v1::RestartPolicy {
            mode: v1::RestartMode::Transient as i32,
            max_restarts: Some(0),
            window_ms: Some(60_000),
            backoff_initial_ms: Some(10),
            backoff_max_ms: Some(3_600_000),
        };
        let health_check = v1::HealthCheck {
            function: "check".into(),
            interval_ms: Some(1_000),
            timeout_ms: Some(10),
            failures_max: Some(9),
        };
        let capability = v1::CapabilityRequest {
            object: "service:counter".into(),
            rights: [v1::Right::Call, v1::Right::Send, v1::Right::Execute].map(|r| r as i32).into(),
        };
        let pair = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let expected = v1::DeployRequest {
            name: "calc".into(),
            code: Some(v1::Code::default()),
            replicas: Some(3),
            capabilities: vec![capability],
            limits: Some(limits),
            restart: Some(restart),
            health_check: Some(health_check),
            config: pair("a", "b"),
            secrets: vec![v1::SecretReference { secret: "db".into(), key: "password".into() }],
            labels: pair("c", "d"),
            tier: v1::Tier::System as i32,
            arguments: vec!["-x".into()],
            environment: pair("E", "F"),
            dry_run: true,
            idempotency_key: "k".into(),
            program: Some(v1::Program {
                interface: v1::ProgramInterface::Http as i32,
                port: Some(80),
                ready: Some(v1::ProgramReadiness {
                    when: Some(v1::program_readiness::When::HttpPath("/up".into())),
                }),
            }),
            mounts: [
                v1::mount::What::Volume(v1::VolumeMount {
                    volume: "db".into(),
                    at: "/data".into(),
                    read_only: true,
                }),
                v1::mount::What::Device("gpu".into()),
            ]
            .map(|what| v1::Mount { what: Some(what) })
            .into(),
        };
        assert_eq!(request, expected);
    }
}
