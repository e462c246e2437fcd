//! Fifty clients at once that want the last place of a quota: as many as one after the other could have,
//! and not one more.

use futures_util::future::join_all;
use solo_api::v1;
use solo_types::Problem;

use super::PATIENCE;
use crate::harness::{ADDER, Requests, Solo, deploy};
use crate::tenants::token_of;

const CLIENTS: usize = 50;

fn count<T>(outcomes: Vec<Result<T, Problem>>) -> usize {
    let reasons: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
    assert!(reasons.iter().all(|p| p.reason == "QUOTA_EXCEEDED"), "{reasons:?}");
    outcomes.len() - reasons.len()
}

#[tokio::test]
async fn the_last_place_is_given_once() {
    let solo = Solo::start().await;
    let bounds = ["--services", "4", "--deploys-per-minute", "none", "--tokens", "6"];
    let token = token_of(&solo, "acme", &bounds);
    let acme = super::bearing(&solo, &token).await;
    // Each over a connection of its own.
    let clients = join_all((0..CLIENTS).map(|_| super::bearing(&solo, &token))).await;
    let deploying = clients.iter().enumerate().map(|(number, client)| async move {
        client.deploy(deploy(&format!("service-{number}"), ADDER)).await
    });
    assert_eq!(count(join_all(deploying).await), 4);
    assert_eq!(acme.names().await.len(), 4);
    let name = acme.names().await[0].clone();
    let granting = clients.iter().map(|client| async {
        let (service, rights) = (name.clone(), vec![v1::Right::Call.into()]);
        let message = v1::GrantCapabilityRequest { service, rights, ..Default::default() };
        let answer = client.grpc().grant_capability(client.request(message, PATIENCE)).await;
        answer.map_err(|status| solo_api::problem_from_status(&status))
    });
    // One is the agent's own.
    assert_eq!(count(join_all(granting).await), 5);
    solo.json(&["tenant", "set", "acme", "--services", "none", "--deploys-per-minute", "7"]);
    let deploying = clients.iter().enumerate().map(|(number, client)| async move {
        client.deploy(deploy(&format!("later-{number}"), ADDER)).await
    });
    let deployed = count(join_all(deploying).await);
    // One more comes back every nine seconds.
    assert!((7..=9).contains(&deployed), "{deployed}");
    // The ones that were refused are on record.
    assert!(super::on_record(&solo, "QUOTA_EXCEEDED") >= 46 + 45 + 41);
    solo.down().await;
}
