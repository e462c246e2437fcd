//! The attack suite: one file per attack, with what it tries. Nothing of it may work, and each refusal
//! is on record.

mod database;
mod foreign_token;
mod guessed_names;
mod huge_token;
mod injection;
mod look_alike_names;
mod quota_races;
mod revoked_grandparent;
mod widened_token;
mod wider_grant;

use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::{Problem, ProblemKind};

use crate::harness::Solo;

const PATIENCE: Duration = Duration::from_secs(20);

/// Whoever bears this token.
async fn bearing(solo: &Solo, token: &str) -> Client {
    solo.answering().await.with_token(token).expect("a token")
}

/// A token for these capabilities, and its id.
fn mint(solo: &Solo, capabilities: &[&str]) -> (String, String) {
    let mut arguments = vec!["token", "mint", "--ttl", "30m"];
    for capability in capabilities {
        arguments.extend(["--capability", capability]);
    }
    let made = solo.json(&arguments);
    let text = |key: &str| made[key].as_str().expect(key).to_owned();
    (text("token"), text("id"))
}

/// Asks for a grant of these capabilities, for ten minutes.
async fn ask(client: &Client, capabilities: &[&str]) -> Result<String, Problem> {
    ask_for(client, capabilities, 600).await
}

async fn ask_for(client: &Client, capabilities: &[&str], ttl: u64) -> Result<String, Problem> {
    let capabilities = capabilities.iter().map(|text| (*text).to_owned()).collect();
    let ttl_seconds = Some(ttl);
    let message = v1::GrantCapabilityRequest { capabilities, ttl_seconds, ..Default::default() };
    let answer = client.grpc().grant_capability(client.request(message, PATIENCE)).await;
    answer.map(|a| a.into_inner().token).map_err(|s| solo_api::problem_from_status(&s))
}

/// It was refused for who asks, and says what to do; the reason.
fn refused<T: std::fmt::Debug>(answer: Result<T, Problem>) -> String {
    let problem = answer.expect_err("must be refused");
    let kinds = [ProblemKind::PermissionDenied, ProblemKind::Unauthenticated];
    assert!(kinds.contains(&problem.kind), "{problem:?}");
    assert!(!problem.remedy.is_empty(), "{problem:?}");
    problem.reason
}

/// Records of the audit log that refuse for this reason.
fn on_record(solo: &Solo, reason: &str) -> usize {
    let refused = format!("\"refused: {reason}\"");
    solo.audit_log().lines().filter(|line| line.contains(&refused)).count()
}
