//! `wasi:http` without a network: every outgoing request is denied, and the log says why.
//!
//! Grants for outgoing requests will be enforced by the gateway; until then there are none.

use std::sync::Arc;

use http::Request;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::super::output::Logger;

/// Denies.
pub(super) struct NoHttp {
    logger: Arc<Logger>,
}

/// What a sent request resolves to: the response, and a future that does its I/O.
type Sent =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl NoHttp {
    pub(super) fn new(logger: Arc<Logger>) -> Self {
        Self { logger }
    }
}

impl WasiHttpHooks for NoHttp {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _body_sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        self.logger.line(
            "warn",
            &format!("HTTP request to {host:?} denied: this service was granted no network"),
        );
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
