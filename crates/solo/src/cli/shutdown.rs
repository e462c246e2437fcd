//! `solo shutdown`: asks Solo to end and waits until it has.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use solo_api::{Endpoint, v1};
use solo_types::{Problem, ProblemKind};

use super::Failure;
use super::context::{Context, answer, api_socket};
use super::doctor;
use super::node::{Addresses, Process};
use super::values::milliseconds;

/// Beyond the time that services get: the kernel, the cells and the heart end after them.
const END_GRACE: Duration = Duration::from_secs(5);

/// Pause between two looks.
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// Arguments of `solo shutdown`.
#[derive(Debug, Args)]
pub(crate) struct Shutdown {
    /// Time that all services together have to end gracefully
    #[arg(long, value_name = "TIME", default_value = "30s", allow_hyphen_values = true,
        value_parser = milliseconds("timeout_ms"))]
    timeout: u64,
}

#[derive(Debug, Serialize)]
struct ShutdownJson {
    /// None: the connection ended before the answer.
    services: Option<u32>,
    duration_ms: u64,
}

impl Shutdown {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let start = Instant::now();
        let client = context.client().await?;
        // Found before the order is given: afterwards it could be gone, and its id another's.
        let heart = heart_of(context);
        let deadline = Duration::from_millis(self.timeout).saturating_add(END_GRACE);
        let message = v1::ShutdownRequest { timeout_ms: Some(self.timeout) };
        let request = client.request(message, deadline);
        let services = match answer(deadline, client.grpc().shutdown(request)).await {
            Ok(response) => Some(response.services),
            // Whoever ends may not finish its answer; whether it does end is seen below.
            Err(failure) if failure.is_broken_connection() => None,
            Err(failure) => return Err(failure),
        };
        drop(client);
        while is_alive(heart, &context.endpoint).await {
            if start.elapsed() > deadline {
                return Err(still_there(start.elapsed()));
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
        let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let json = ShutdownJson { services, duration_ms };
        context.output.show(&json, |shutdown| match shutdown.services {
            Some(services) => format!("Solo has ended; {services} services were stopped\n"),
            None => "Solo has ended\n".to_owned(),
        })
    }
}

/// The heart, if the order goes to the node of this home.
fn heart_of(context: &Context) -> Option<Process> {
    let home = context.home().ok()?;
    let node = Addresses::read(home)?;
    let is_node = match &context.endpoint {
        Endpoint::Unix(path) => {
            *path == api_socket(home) || path.as_os_str() == node.api_socket.as_str()
        }
        Endpoint::Tcp(address) | Endpoint::Tls { address, .. } => *address == node.api,
    };
    Process::find(node.heart_pid).filter(|_| is_node)
}

/// Whether the heart lives; where it is not known, whether the API answers.
async fn is_alive(heart: Option<Process>, endpoint: &Endpoint) -> bool {
    match heart {
        Some(heart) => heart.is_alive(),
        None => doctor::is_serving(endpoint).await,
    }
}

fn still_there(after: Duration) -> Failure {
    let cause = format!("Solo has not ended after {} ms; it is still stopping", after.as_millis());
    Failure::Timeout(
        Problem::new(ProblemKind::DeadlineExceeded, "STILL_RUNNING", cause)
            .remedy("look with `solo doctor`; SIGKILL to the heart ends all of its processes"),
    )
}
