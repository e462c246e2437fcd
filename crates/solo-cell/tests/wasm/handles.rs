//! C1, C2: references that a service passes to another with a message, and what is left of them when
//! who passed them loses what they came from.

use solo_api::cell::v1 as wire;
use wire::ServiceKind as Kind;

use super::cell::{TestCell, ids, spec};
use super::grant;

/// A vault (a counter), a giver who may reach it and the taker, a taker who may reach nobody, and
/// somebody weak who may reach the two in between; all but the vault are pingers.
async fn household() -> TestCell {
    let mut cell = TestCell::start(16).await;
    let (counter, pinger) = (cell.guest("counter"), cell.guest("pinger"));
    let mut specs = vec![spec(1, "vault", Kind::Handler, counter)];
    for (number, name, grants) in [
        (2, "giver", vec!["vault", "taker"]),
        (3, "taker", vec![]),
        (4, "weak", vec!["giver", "taker"]),
    ] {
        let grants = grants.into_iter().map(grant).collect();
        let spec = spec(number, name, Kind::Handler, pinger.clone());
        specs.push(wire::ServiceSpec { grants, ..spec });
    }
    for spec in &specs {
        assert!(cell.deploy(spec, 1).await.is_none());
    }
    cell
}

const VAULT: &str = "0000beef-1";
const GIVER: &str = "0000beef-2";
const TAKER: &str = "0000beef-3";
const WEAK: &str = "0000beef-4";

/// What a pinger says, or why it does not.
async fn ask(cell: &TestCell, service: &str, message: &str) -> String {
    match cell.ask(service, message.as_bytes()).await {
        Ok(answer) => answer,
        Err(failure) => failure.message,
    }
}

async fn set_grants(cell: &TestCell, service: &str, grants: &[&str]) {
    let grants = grants.iter().copied().map(grant).collect();
    let request = wire::SetGrantsRequest { service: service.to_owned(), grants };
    cell.client.clone().set_grants(request).await.expect("an answer");
}

#[tokio::test]
async fn a_reference_is_passed_and_nothing_else_makes_one() {
    let cell = household().await;
    assert_eq!(ask(&cell, TAKER, "ask vault get").await, "denied");
    assert_eq!(ask(&cell, TAKER, "use get").await, "nothing was passed");
    // Who may not reach it has nothing to pass, and cannot have a deputy take its own for theirs: it
    // uses what came with the message, and nothing came.
    assert_eq!(ask(&cell, WEAK, "pass taker vault use get").await, "denied");
    assert!(ask(&cell, WEAK, "ask giver use get").await.contains("nothing was passed"));
    // Unless the deputy chooses to use its own right, which is its own affair.
    assert_eq!(ask(&cell, WEAK, "ask giver ask vault get").await, "0");
    assert_eq!(ask(&cell, GIVER, "pass taker vault use add 5").await, "5");
    // It is the taker's now, beyond the message, but for this instance alone.
    assert_eq!(ask(&cell, TAKER, "kept get").await, "5");
    assert_eq!(ask(&cell, TAKER, "ask vault get").await, "denied");
    // Each message hands out what came with it, once, and no later one does.
    assert!(ask(&cell, GIVER, "pass taker vault stats").await.contains("\"ok\""));
    assert_eq!(ask(&cell, TAKER, "use get").await, "nothing was passed");
    // Narrowed: to send, not to call.
    assert_eq!(ask(&cell, GIVER, "pass-send taker vault keep").await, "kept");
    assert_eq!(ask(&cell, TAKER, "kept get").await, "denied");
    assert_eq!(ask(&cell, TAKER, "kept-send add 1").await, "sent");
    assert_eq!(ask(&cell, GIVER, "ask vault get").await, "6");
    // With a message that nobody waits for.
    assert_eq!(ask(&cell, GIVER, "tell-pass taker vault keep").await, "sent");
    assert_eq!(ask(&cell, TAKER, "kept get").await, "6");
    assert_eq!(
        cell.call(VAULT, "handle-call", "[[103,101,116]]").await.as_deref(),
        Ok("{\"ok\":[54]}")
    );
}

#[tokio::test]
async fn a_reference_dies_with_what_it_came_from() {
    let mut cell = household().await;
    let kept = "kept get";
    assert_eq!(ask(&cell, GIVER, "pass taker vault use get").await, "0");
    // The giver loses its grant: whoever has something from it loses that too, at once.
    set_grants(&cell, GIVER, &["taker"]).await;
    assert_eq!(ask(&cell, TAKER, kept).await, "denied");
    assert_eq!(ask(&cell, GIVER, "ask vault get").await, "denied");
    set_grants(&cell, GIVER, &["taker", "vault"]).await;
    assert_eq!(ask(&cell, GIVER, "pass taker vault use get").await, "0");
    // A crash of the giver takes nothing away, its end does.
    let pass = "pass taker vault use get";
    assert_eq!(ask(&cell, GIVER, pass).await, "0");
    let request = wire::RouteRequest { service: GIVER.to_owned(), ..Default::default() };
    cell.client.clone().route(request).await.expect("no route");
    assert_eq!(ask(&cell, TAKER, kept).await, "0", "it still handles what waits");
    let giver = spec(2, "giver", Kind::Handler, std::path::PathBuf::new());
    cell.stop(ids(&giver, 1), false, None).await;
    assert_eq!(ask(&cell, TAKER, kept).await, "denied");
    // What is there anew under its name has nothing to do with it.
    let giver = spec(2, "giver", Kind::Handler, cell.guest("pinger"));
    let grants = vec![grant("vault"), grant("taker")];
    assert!(cell.deploy(&wire::ServiceSpec { grants, ..giver }, 1).await.is_none());
    assert_eq!(ask(&cell, TAKER, kept).await, "denied");
    assert_eq!(ask(&cell, GIVER, pass).await, "0");
    assert_eq!(ask(&cell, TAKER, kept).await, "0");
}
