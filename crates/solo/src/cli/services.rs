//! Commands that are one question or one order: status, list, kill, grant and tree.

use std::pin::pin;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use solo_api::v1;
use solo_gateway::json::{ListJson, StatusJson, TreeJson};
use solo_types::bounds;

use super::Failure;
use super::context::{Context, DEADLINE, answer};
use super::values::{check_unique, milliseconds, pair};
use crate::output::{Spinner, list_text, one_line, status_text, tree_text};

/// Arguments of `solo status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Name of the service
    #[arg(value_name = "NAME")]
    name: String,
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let request = client.request(v1::StatusRequest { name: self.name }, DEADLINE);
        let response = answer(DEADLINE, client.grpc().status(request)).await?;
        let style = context.output.style();
        context.output.show(&StatusJson::from(response), |status| status_text(status, style))
    }
}

/// Arguments of `solo list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Names to list, with `*` and `?` [default: all]
    #[arg(value_name = "GLOB")]
    glob: Option<String>,
    /// Only services with this label; KEY= for any value (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair("labels"))]
    label: Vec<(String, String)>,
    /// Only services in this state (can be repeated) [default: all but killed]
    #[arg(long, value_name = "STATE")]
    state: Vec<StateName>,
}

/// State of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateName {
    Starting,
    Running,
    Degraded,
    Restarting,
    Stopping,
    Completed,
    Failed,
    Killed,
}

impl StateName {
    fn number(self) -> i32 {
        let state = match self {
            Self::Starting => v1::ServiceState::Starting,
            Self::Running => v1::ServiceState::Running,
            Self::Degraded => v1::ServiceState::Degraded,
            Self::Restarting => v1::ServiceState::Restarting,
            Self::Stopping => v1::ServiceState::Stopping,
            Self::Completed => v1::ServiceState::Completed,
            Self::Failed => v1::ServiceState::Failed,
            Self::Killed => v1::ServiceState::Killed,
        };
        state as i32
    }
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        check_unique("--label", &self.label)?;
        let client = context.client().await?;
        let mut message = v1::ListRequest {
            name: self.glob.unwrap_or_default(),
            labels: self.label.into_iter().collect(),
            states: self.state.into_iter().map(StateName::number).collect(),
            page_size: Some(bounds::PAGE_SIZE_MAX),
            page_token: String::new(),
        };
        let mut services = Vec::new();
        loop {
            let request = client.request(message.clone(), DEADLINE);
            let page = answer(DEADLINE, client.grpc().list(request)).await?;
            services.extend(page.services.into_iter().map(Into::into));
            // A token that does not move would be asked for for ever.
            if page.next_page_token.is_empty() || page.next_page_token == message.page_token {
                break;
            }
            message.page_token = page.next_page_token;
        }
        context.output.show(&ListJson { services }, list_text)
    }
}

/// Whoever waits longer for an end than this may want to know of the other way.
const KILL_HINT_DELAY: Duration = Duration::from_secs(2);

/// Arguments of `solo kill`.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Name of the service
    #[arg(value_name = "NAME")]
    name: String,
    /// End it at once, also in the middle of an endless loop
    #[arg(long)]
    force: bool,
    /// Time to wait for its end; its own shutdown timeout and 10 s by default
    #[arg(long, value_name = "TIME", value_parser = milliseconds("timeout"))]
    timeout: Option<u64>,
}

#[derive(Debug, Serialize)]
struct KillJson {
    service: String,
    forced: bool,
}

impl Kill {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let deadline = match self.timeout {
            Some(timeout_ms) => Duration::from_millis(timeout_ms),
            None if self.force => DEADLINE,
            None => DEADLINE + shutdown_timeout(&client, &self.name).await,
        };
        let spinner = Spinner::start(context.output, format!("ending {}", self.name));
        let hint = format!("ending {}; `solo kill --force` ends it at once", self.name);
        let message = v1::KillRequest { name: self.name, force: self.force };
        let request = client.request(message, deadline);
        let mut grpc = client.grpc();
        let mut kill = pin!(answer(deadline, grpc.kill(request)));
        let response = match tokio::time::timeout(KILL_HINT_DELAY, &mut kill).await {
            Ok(response) => response?,
            Err(_) => {
                if !self.force {
                    spinner.say(hint);
                }
                kill.await?
            }
        };
        drop(spinner);
        let json = KillJson { service: response.service, forced: response.forced };
        context.output.show(&json, |kill| {
            let how = if kill.forced { " (it had to be forced)" } else { "" };
            format!("{} ended{how}\n", one_line(&kill.service))
        })
    }
}

/// How long the service may take to end. Whoever may not read it gets the default's.
async fn shutdown_timeout(client: &solo_api::Client, name: &str) -> Duration {
    let request = client.request(v1::StatusRequest { name: name.to_owned() }, DEADLINE);
    let status = answer(DEADLINE, client.grpc().status(request)).await.ok();
    let timeout_ms = status.and_then(|status| status.limits?.shutdown_timeout_ms);
    Duration::from_millis(
        timeout_ms.unwrap_or_else(|| solo_types::Limits::default().shutdown_timeout_ms),
    )
}

/// Arguments of `solo tree`.
#[derive(Debug, Args)]
pub(crate) struct Tree {}

impl Tree {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let request = client.request(v1::TreeRequest {}, DEADLINE);
        let response = answer(DEADLINE, client.grpc().tree(request)).await?;
        let root = TreeJson::from(response.root.unwrap_or_default());
        let style = context.output.style();
        context.output.show(&root, |root| tree_text(root, style))
    }
}
