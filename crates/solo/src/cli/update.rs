//! `solo update`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use solo_api::v1;
use solo_gateway::json::UpdateJson;

use super::Failure;
use super::code::CodeFlags;
use super::context::{Context, answer};
use super::mounts::MountFlags;
use super::program::ProgramFlags;
use super::settings::{LimitFlags, RestartFlags};
use super::values::{check_unique, milliseconds, number, pair, secret_reference};
use crate::output::{Spinner, update_text};

/// Arguments of `solo update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Name of the service
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    code: CodeFlags,
    /// How the new revision takes over [default: rolling]
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<StrategyName>,
    /// Instances that serve side by side
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number::<u32>("replicas"))]
    replicas: Option<u32>,
    /// Configuration; replaces all of the old one (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair("config"))]
    config: Vec<(String, String)>,
    /// Secret that the service can read, under its own name or under KEY; replaces all of the old ones
    /// (can be repeated)
    #[arg(long, value_name = "[KEY=]NAME", value_parser = secret_reference)]
    secret: Vec<v1::SecretReference>,
    /// Take all secrets away
    #[arg(long, conflicts_with = "secret")]
    no_secrets: bool,
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
    /// Take all volumes and devices away
    #[arg(long, conflicts_with_all = ["volume", "device"])]
    no_mounts: bool,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    restart: RestartFlags,
}

/// How a new revision takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StrategyName {
    /// Instances are replaced one by one
    Rolling,
    /// All old instances end, then the new ones start
    Recreate,
    /// Not built yet
    Canary,
    /// Not built yet
    BlueGreen,
}

impl Update {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        check_unique("--config", &self.config)?;
        let deadline = Duration::from_millis(self.timeout);
        let client = context.client().await?;
        let spinner = Spinner::start(context.output, format!("updating {}", self.name));
        let code = self.code.message(&client, &self.name).await?;
        let request = client.request(self.message(code), deadline);
        let response = answer(deadline, client.grpc().update(request)).await?;
        drop(spinner);
        let style = context.output.style();
        context.output.show(&UpdateJson::from(response), |update| update_text(update, style))
    }

    fn message(self, code: Option<v1::Code>) -> v1::UpdateRequest {
        let strategy = match self.strategy {
            None => v1::UpdateStrategy::Unspecified,
            Some(StrategyName::Rolling) => v1::UpdateStrategy::Rolling,
            Some(StrategyName::Recreate) => v1::UpdateStrategy::Recreate,
            Some(StrategyName::Canary) => v1::UpdateStrategy::Canary,
            Some(StrategyName::BlueGreen) => v1::UpdateStrategy::BlueGreen,
        };
        let mounts = self.mounts.messages();
        let replaces_mounts = self.no_mounts || !mounts.is_empty();
        let replaces_secrets = self.no_secrets || !self.secret.is_empty();
        v1::UpdateRequest {
            name: self.name,
            code,
            strategy: strategy as i32,
            replicas: self.replicas,
            limits: self.limits.message(),
            restart: self.restart.message(),
            config: self.config.into_iter().collect(),
            secrets: replaces_secrets.then_some(v1::SecretReferences { references: self.secret }),
            idempotency_key: self.idempotency_key.unwrap_or_default(),
            program: self.program.message(),
            mounts: replaces_mounts.then_some(v1::Mounts { mounts }),
        }
    }
}
