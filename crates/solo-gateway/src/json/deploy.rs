//! Answers to Deploy and Update.

use serde::Serialize;
use solo_api::v1;

use super::service::ExportJson;
use super::words;

/// Where the time of a deployment went, in milliseconds with fractions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimingJson {
    /// Storing the artifact.
    pub store: f64,
    /// Validating and compiling; 0 when it had been compiled before.
    pub compile: f64,
    /// Until the last `init` had ended.
    pub start: f64,
    /// All of it, as the kernel saw it.
    pub total: f64,
}

/// A service that is ready.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeployJson {
    /// Its name.
    pub service: String,
    /// Its revision; none of a dry run, which makes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Its state; none of a dry run, which starts nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What its code is.
    pub kind: String,
    /// What it offers.
    pub exports: Vec<ExportJson>,
    /// Where the time went.
    pub timing_ms: Option<TimingJson>,
    /// Digest of its code.
    pub digest: String,
    /// True: nothing was started, as asked.
    pub dry_run: bool,
}

/// A service whose new revision serves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UpdateJson {
    /// Its name.
    pub service: String,
    /// The revision that serves now.
    pub revision: u64,
    /// The one before.
    pub previous_revision: u64,
    /// Its state.
    pub state: String,
    /// What it offers.
    pub exports: Vec<ExportJson>,
    /// Where the time went.
    pub timing_ms: Option<TimingJson>,
    /// Digest of its code.
    pub digest: String,
}

impl From<v1::Timing> for TimingJson {
    fn from(timing: v1::Timing) -> Self {
        Self {
            store: timing.store_ms,
            compile: timing.compile_ms,
            start: timing.start_ms,
            total: timing.total_ms,
        }
    }
}

impl From<v1::DeployResponse> for DeployJson {
    fn from(response: v1::DeployResponse) -> Self {
        let is_real = !response.dry_run;
        Self {
            service: response.service,
            revision: is_real.then_some(response.revision),
            state: is_real.then(|| words::state(response.state)),
            kind: words::kind(response.kind),
            exports: response.exports.into_iter().map(Into::into).collect(),
            timing_ms: response.timing.map(Into::into),
            digest: response.digest,
            dry_run: response.dry_run,
        }
    }
}

impl From<v1::UpdateResponse> for UpdateJson {
    fn from(response: v1::UpdateResponse) -> Self {
        Self {
            service: response.service,
            revision: response.revision,
            previous_revision: response.previous_revision,
            state: words::state(response.state),
            exports: response.exports.into_iter().map(Into::into).collect(),
            timing_ms: response.timing.map(Into::into),
            digest: response.digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_has_no_revision_and_no_state() {
        let keys = |dry_run| {
            let response = v1::DeployResponse { revision: 1, dry_run, ..Default::default() };
            let json = serde_json::to_value(DeployJson::from(response)).expect("serializes");
            (json.get("revision").is_some(), json.get("state").is_some())
        };
        assert_eq!(keys(false), (true, true));
        assert_eq!(keys(true), (false, false));
    }
}
