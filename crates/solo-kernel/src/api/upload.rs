//! UploadArtifact: a header, then chunks. A stream that breaks leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use solo_api::v1;
use solo_api::v1::upload_artifact_request::Part;
use solo_types::{Digest, Problem, ProblemKind, bounds};
use tonic::Streaming;

use super::access::Principal;
use crate::kernel::Kernel;

/// A client that sends nothing for so long has gone, or holds a place for nothing.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole upload: 128 MiB at a quarter of a megabyte per second.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

pub(super) async fn upload(
    kernel: Arc<Kernel>,
    principal: Principal,
    stream: Streaming<v1::UploadArtifactRequest>,
) -> Result<v1::UploadArtifactResponse, Problem> {
    match tokio::time::timeout(UPLOAD_TIMEOUT, receive(kernel, principal, stream)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Problem::new(
            ProblemKind::DeadlineExceeded,
            "UPLOAD_STALLED",
            format!("the upload took more than {} s", UPLOAD_TIMEOUT.as_secs()),
        )
        .remedy("send it again over a faster way")),
    }
}

async fn receive(
    kernel: Arc<Kernel>,
    principal: Principal,
    mut stream: Streaming<v1::UploadArtifactRequest>,
) -> Result<v1::UploadArtifactResponse, Problem> {
    kernel.check_open()?;
    let Some(Part::Header(header)) = next(&mut stream).await? else {
        return Err(Problem::invalid(
            "MISSING_HEADER",
            "part",
            "the first message of an upload is its header",
        )
        .remedy("send `header` with size_bytes first, then the chunks"));
    };
    let expected: Option<Digest> =
        if header.digest.is_empty() { None } else { Some(header.digest.parse()?) };
    let named = (!header.tenant.is_empty()).then_some(header.tenant.as_str());
    let tenant = named.unwrap_or(principal.tenant());
    principal.may_bring_code(&kernel, tenant)?;
    principal.pay(&kernel).await?;
    let tenant = kernel.tenants.named(tenant)?;
    let mut upload = tenant.artifacts.begin(header.size_bytes).await?;
    while let Some(part) = next(&mut stream).await? {
        let Part::Chunk(chunk) = part else {
            let rule = "there is one header, and it comes first";
            return Err(Problem::invalid("SECOND_HEADER", "part", rule));
        };
        if chunk.is_empty() {
            let rule = "a chunk has at least one byte";
            return Err(Problem::invalid("EMPTY_PART", "chunk", rule));
        }
        if chunk.len() > bounds::CHUNK_BYTES_MAX {
            let rule = format!("the chunk has {} bytes, the limit is 4 MiB", chunk.len());
            return Err(
                Problem::invalid("CHUNK_TOO_LARGE", "chunk", &rule).remedy("send smaller chunks")
            );
        }
        upload.write(&chunk).await?;
    }
    let stored = upload.finish(expected).await?;
    Ok(v1::UploadArtifactResponse {
        digest: stored.digest.to_string(),
        size_bytes: stored.size_bytes,
        existed: stored.existed,
    })
}

/// The next part; `None` at the end of the stream.
async fn next(stream: &mut Streaming<v1::UploadArtifactRequest>) -> Result<Option<Part>, Problem> {
    let message = match tokio::time::timeout(CHUNK_TIMEOUT, stream.message()).await {
        Ok(Ok(message)) => message,
        Ok(Err(status)) => {
            return Err(Problem::new(
                ProblemKind::Aborted,
                "UPLOAD_BROKEN",
                format!("the upload broke off: {}", status.message()),
            )
            .remedy("send it again from the start"));
        }
        Err(_) => {
            return Err(Problem::new(
                ProblemKind::DeadlineExceeded,
                "UPLOAD_STALLED",
                format!("no chunk came for {} s", CHUNK_TIMEOUT.as_secs()),
            )
            .remedy("send it again from the start"));
        }
    };
    let Some(message) = message else { return Ok(None) };
    message.part.map(Some).ok_or_else(|| {
        Problem::invalid("EMPTY_PART", "part", "a message of an upload is a header or a chunk")
    })
}
