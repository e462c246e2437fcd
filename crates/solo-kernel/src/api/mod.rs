//! The edge: `solo.v1` over gRPC, with reflection and health. Turns messages into checked requests,
//! asks who is asking, has the kernel do it, and turns what comes of it into messages.
//!
//! Operations that change something run in tasks of their own: a client that goes away does not
//! stop them half-way.

mod access;
mod call;
mod chain;
mod children;
pub(crate) mod connections;
mod explain;
mod figures;
mod grant;
mod intake;
mod list;
pub(crate) mod metrics;
mod naming;
mod operations;
mod secret;
mod status;
mod strangers;
mod tenant;
mod tree;
mod upload;
mod volume;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use solo_api::v1;
use solo_api::v1::solo_service_server::{SoloService, SoloServiceServer};
use solo_types::{Problem, ProblemKind};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::audit::Entry;
use crate::kernel::Kernel;
use access::Principal;
pub(crate) use figures::FiguresCache;
pub(crate) use intake::Intake;
pub(crate) use strangers::Strangers;

/// Requests under way on one connection; more wait in the client.
const REQUESTS_PER_CONNECTION_MAX: usize = 256;

/// HTTP/2 streams of one connection, watches included.
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;

/// A connection that says nothing for so long is asked whether it lives, and after as long is closed.
const KEEPALIVE: std::time::Duration = std::time::Duration::from_secs(10);

/// Operations that change something audit whatever they refuse, with their objects.
const AUDIT_THEMSELVES: [&str; 10] = [
    "Deploy",
    "Update",
    "Kill",
    "GrantCapability",
    "RevokeCapability",
    "SetSecret",
    "RemoveSecret",
    "RemoveVolume",
    "SetTenant",
    "RemoveTenant",
];

/// The service over the kernel. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    kernel: Arc<Kernel>,
}

/// Makes the router of one listener.
pub(crate) async fn router(
    kernel: Arc<Kernel>,
) -> tonic::transport::server::Router<
    tower::layer::util::Stack<intake::Intake, tower::layer::util::Identity>,
> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<SoloServiceServer<Api>>().await;
    let intake = kernel.intake.clone();
    let service = SoloServiceServer::new(Api { kernel })
        .max_decoding_message_size(solo_api::WIRE_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(solo_api::WIRE_MESSAGE_BYTES_MAX);
    let mut server = tonic::transport::Server::builder()
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .layer(intake);
    let mut router = server.add_service(health).add_service(service);
    // The descriptors were made by this build; were they damaged, the API would still serve.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(solo_api::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("solo.v1.SoloService")
            .with_service_name("grpc.health.v1.Health")
    };
    // Common clients still ask in the older version of the protocol.
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(now), Ok(older)) => router = router.add_service(now).add_service(older),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "Failed to set reflection up");
        }
    }
    router
}

impl Api {
    /// Does one request: measures it, and turns its problem into a status.
    async fn answer<T, R, W>(
        &self,
        method: &'static str,
        request: Request<T>,
        work: impl FnOnce(Arc<Kernel>, Principal, T) -> W,
    ) -> Result<Response<R>, Status>
    where
        W: Future<Output = Result<R, Problem>>,
    {
        let began = Instant::now();
        let outcome = match access::principal(&self.kernel, request.metadata()) {
            Ok(principal) => {
                let asking = principal.clone();
                let kernel = Arc::clone(&self.kernel);
                let mut outcome = work(kernel, principal, request.into_inner()).await;
                // What was only read has not been paid for yet.
                if outcome.as_ref().err().is_none_or(|problem| !is_kept_out(problem))
                    && let Err(problem) = asking.pay(&self.kernel).await
                {
                    outcome = Err(problem);
                }
                if let Err(problem) = &outcome
                    && is_refusal(problem)
                    && !AUDIT_THEMSELVES.contains(&method)
                {
                    let object = problem.details.iter().find(|(key, _)| key == "expected");
                    let object = object.map_or("", |(_, expected)| expected.as_str());
                    self.audit(asking.entry(method, object), problem).await;
                }
                outcome
            }
            Err(problem) => {
                stranger(&self.kernel, method, &problem).await;
                Err(problem)
            }
        };
        self.kernel.metrics.request(method, began.elapsed());
        outcome.map(Response::new).map_err(|problem| self.refuse(method, &problem))
    }

    /// Writes a refusal down. It stands whether or not that succeeds.
    async fn audit(&self, entry: Entry, problem: &Problem) {
        if let Err(error) = self.kernel.audit.append(entry.refused(&problem.reason)).await {
            tracing::error!(%error, "Failed to audit a refusal");
        }
    }

    fn refuse(&self, method: &'static str, problem: &Problem) -> Status {
        self.kernel.metrics.refused.with_label_values(&[problem.reason.as_str()]).inc();
        tracing::debug!(method, reason = problem.reason, cause = problem.cause, "Refused");
        solo_api::status_from_problem(problem)
    }
}

/// Writes the refusal of somebody down whom nobody knows.
async fn stranger(kernel: &Kernel, operation: &str, problem: &Problem) {
    let Some(untold) = kernel.strangers.lock().refused(Instant::now()) else { return };
    let entry = Entry::new("unknown", operation, "").refused(&problem.reason);
    let entry = if untold > 0 { entry.detail("not_recorded", untold) } else { entry };
    if let Err(error) = kernel.audit.append(entry).await {
        tracing::error!(%error, "Failed to audit a refusal");
    }
}

/// Whether somebody was not let through.
fn is_refusal(problem: &Problem) -> bool {
    matches!(problem.kind, ProblemKind::Unauthenticated | ProblemKind::PermissionDenied)
}

/// Whether somebody was not let through, or not any more.
fn is_kept_out(problem: &Problem) -> bool {
    let by_uses = |rule: &str| ["USES_EXCEEDED", "TOO_MANY_COUNTERS"].contains(&rule);
    is_refusal(problem) || by_uses(&problem.reason)
}

/// Runs an operation to its end in a task of its own.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "An operation failed inside");
            Err(Problem::internal("the operation failed inside; nothing was acknowledged"))
        }
    }
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl SoloService for Api {
    async fn deploy(
        &self,
        request: Request<v1::DeployRequest>,
    ) -> Result<Response<v1::DeployResponse>, Status> {
        self.answer("Deploy", request, operations::deploy).await
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        self.answer("Status", request, status::status).await
    }

    async fn kill(
        &self,
        request: Request<v1::KillRequest>,
    ) -> Result<Response<v1::KillResponse>, Status> {
        self.answer("Kill", request, operations::kill).await
    }

    type WatchStream = WatchStream;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<WatchStream>, Status> {
        self.answer("Watch", request, watch::watch).await
    }

    async fn grant_capability(
        &self,
        request: Request<v1::GrantCapabilityRequest>,
    ) -> Result<Response<v1::GrantCapabilityResponse>, Status> {
        self.answer("GrantCapability", request, grant::grant).await
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        self.answer("List", request, list::list).await
    }

    async fn update(
        &self,
        request: Request<v1::UpdateRequest>,
    ) -> Result<Response<v1::UpdateResponse>, Status> {
        self.answer("Update", request, operations::update).await
    }

    async fn shutdown(
        &self,
        request: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        self.answer("Shutdown", request, operations::shutdown).await
    }

    async fn call(
        &self,
        request: Request<v1::CallRequest>,
    ) -> Result<Response<v1::CallResponse>, Status> {
        let carried = chain::Carried::read(request.metadata());
        let work = |kernel, principal, message| call::call(kernel, principal, message, carried);
        self.answer("Call", request, work).await
    }

    async fn send(
        &self,
        request: Request<v1::SendRequest>,
    ) -> Result<Response<v1::SendResponse>, Status> {
        let carried = chain::Carried::read(request.metadata());
        let work = |kernel, principal, message| call::send(kernel, principal, message, carried);
        self.answer("Send", request, work).await
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::UploadArtifactResponse>, Status> {
        self.answer("UploadArtifact", request, upload::upload).await
    }

    async fn tree(
        &self,
        request: Request<v1::TreeRequest>,
    ) -> Result<Response<v1::TreeResponse>, Status> {
        self.answer("Tree", request, tree::tree).await
    }

    async fn revoke_capability(
        &self,
        request: Request<v1::RevokeCapabilityRequest>,
    ) -> Result<Response<v1::RevokeCapabilityResponse>, Status> {
        self.answer("RevokeCapability", request, grant::revoke).await
    }

    async fn list_capabilities(
        &self,
        request: Request<v1::ListCapabilitiesRequest>,
    ) -> Result<Response<v1::ListCapabilitiesResponse>, Status> {
        self.answer("ListCapabilities", request, grant::list).await
    }

    async fn explain_capability(
        &self,
        request: Request<v1::ExplainCapabilityRequest>,
    ) -> Result<Response<v1::ExplainCapabilityResponse>, Status> {
        self.answer("ExplainCapability", request, explain::explain).await
    }

    async fn set_secret(
        &self,
        request: Request<v1::SetSecretRequest>,
    ) -> Result<Response<v1::SetSecretResponse>, Status> {
        self.answer("SetSecret", request, secret::set).await
    }

    async fn list_secrets(
        &self,
        request: Request<v1::ListSecretsRequest>,
    ) -> Result<Response<v1::ListSecretsResponse>, Status> {
        self.answer("ListSecrets", request, secret::list).await
    }

    async fn remove_secret(
        &self,
        request: Request<v1::RemoveSecretRequest>,
    ) -> Result<Response<v1::RemoveSecretResponse>, Status> {
        self.answer("RemoveSecret", request, secret::remove).await
    }

    async fn list_volumes(
        &self,
        request: Request<v1::ListVolumesRequest>,
    ) -> Result<Response<v1::ListVolumesResponse>, Status> {
        self.answer("ListVolumes", request, volume::list).await
    }

    async fn remove_volume(
        &self,
        request: Request<v1::RemoveVolumeRequest>,
    ) -> Result<Response<v1::RemoveVolumeResponse>, Status> {
        self.answer("RemoveVolume", request, volume::remove).await
    }

    async fn set_tenant(
        &self,
        request: Request<v1::SetTenantRequest>,
    ) -> Result<Response<v1::SetTenantResponse>, Status> {
        self.answer("SetTenant", request, tenant::set).await
    }

    async fn list_tenants(
        &self,
        request: Request<v1::ListTenantsRequest>,
    ) -> Result<Response<v1::ListTenantsResponse>, Status> {
        self.answer("ListTenants", request, tenant::list).await
    }

    async fn remove_tenant(
        &self,
        request: Request<v1::RemoveTenantRequest>,
    ) -> Result<Response<v1::RemoveTenantResponse>, Status> {
        self.answer("RemoveTenant", request, tenant::remove).await
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackRequest>,
    ) -> Result<Response<v1::RollbackResponse>, Status> {
        self.answer("Rollback", request, |_, _, _| async {
            Err(Problem::unimplemented("rolling back to an earlier revision on request")
                .remedy("update the service with the code of the earlier revision"))
        })
        .await
    }
}
