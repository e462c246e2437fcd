//! `solo explain`: whether somebody may do something, and why.

use clap::Args;
use serde::Serialize;
use solo_api::v1;

use super::Failure;
use super::context::{Context, DEADLINE, answer};
use crate::output::one_line;

/// Arguments of `solo explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Holder, as `solo token list` names it, id of a grant, or service:NAME
    #[arg(value_name = "PRINCIPAL")]
    principal: String,
    /// Right: read, call, send, kill, execute, write, deploy, update, grant, connect
    #[arg(value_name = "RIGHT")]
    right: String,
    /// Object: service:default/NAME, kernel:OPERATION
    #[arg(value_name = "OBJECT")]
    object: String,
}

#[derive(Debug, Serialize)]
struct ExplainJson {
    allowed: bool,
    because: String,
    needed: Option<String>,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let message = v1::ExplainCapabilityRequest {
            principal: self.principal,
            right: self.right,
            object: self.object,
        };
        let request = client.request(message, DEADLINE);
        let response = answer(DEADLINE, client.grpc().explain_capability(request)).await?;
        let json = ExplainJson {
            allowed: response.allowed,
            because: response.because,
            needed: Some(response.needed).filter(|needed| !needed.is_empty()),
        };
        context.output.show(&json, |explained| {
            let because = one_line(&explained.because);
            match &explained.needed {
                None => format!("yes: {because}\n"),
                Some(needed) => format!("no: {because}\nit takes {}\n", one_line(needed)),
            }
        })
    }
}
