//! R1 as a property: random operations, the kernel killed at random moments, and a model of what
//! was acknowledged. Nothing acknowledged is lost, nothing half-done remains.
//!
//! `SOLO_TEST_SEED` repeats a run; the seed is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use solo_api::{Client, v1};
use solo_types::{Problem, ProblemKind};

use crate::harness::{ADDER, Requests, Solo, deploy, eventually};

/// Names that the operations are about: few, so that they get in each other's way.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Operations of one run.
const STEPS: usize = 120;

/// xorshift64*: repeatable, and good enough to choose operations.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).expect("31 bits") % bound
    }
}

/// Code of which `add(0, 0)` answers `variant`.
fn code(variant: usize) -> String {
    ADDER.replace("i32.add", &format!("i32.add i32.const {variant} i32.add"))
}

/// What one service may be: the variants of its code; `None` stands for no such service.
type Model = BTreeMap<&'static str, Vec<Option<usize>>>;

#[derive(Debug, Clone, Copy)]
enum Step {
    Deploy(usize),
    Update(usize, v1::UpdateStrategy),
    Kill(bool),
}

impl Step {
    /// What the service is after the step, if it happened.
    fn effect(self) -> Option<usize> {
        match self {
            Self::Deploy(variant) | Self::Update(variant, _) => Some(variant),
            Self::Kill(_) => None,
        }
    }

    async fn run(self, client: &Client, name: &str) -> Result<(), Problem> {
        match self {
            Self::Deploy(variant) => client.deploy(deploy(name, code(variant))).await.map(|_| ()),
            Self::Kill(force) => client.kill(name, force).await.map(|_| ()),
            Self::Update(variant, strategy) => {
                let code = v1::code::Source::Inline(code(variant).into_bytes());
                let request = v1::UpdateRequest {
                    name: name.to_owned(),
                    code: Some(v1::Code { source: Some(code), format: 0 }),
                    strategy: strategy.into(),
                    ..v1::UpdateRequest::default()
                };
                let request = client.request(request, Duration::from_secs(60));
                let answer = client.grpc().update(request).await;
                answer.map(|_| ()).map_err(|status| solo_api::problem_from_status(&status))
            }
        }
    }
}

/// A connection that broke leaves open whether the operation happened; any other answer does not.
fn is_unknown(problem: &Problem) -> bool {
    matches!(
        problem.kind,
        ProblemKind::Unavailable | ProblemKind::DeadlineExceeded | ProblemKind::Internal
    ) && !matches!(problem.reason.as_str(), "NO_SUCH_SERVICE" | "NAME_IN_USE")
}

async fn observe(client: &Client, name: &str) -> Option<usize> {
    if !client.names().await.contains(&name.to_owned()) {
        return None;
    }
    let answer =
        client.json_call(name, "add", "[0, 0]").await.expect("a service that is listed serves");
    Some(answer.parse().expect("a number"))
}

async fn run(seed: u64) {
    eprintln!("SOLO_TEST_SEED={seed}");
    let mut random = Random(seed.max(1));
    let solo = Solo::start().await;
    let mut model: Model = NAMES.iter().map(|name| (*name, vec![None])).collect();
    for _ in 0..STEPS {
        let client = solo.answering().await;
        let name = NAMES[random.below(NAMES.len())];
        let variant = 1 + random.below(5);
        let step = match random.below(10) {
            0..=3 => Step::Deploy(variant),
            4..=5 => Step::Update(variant, v1::UpdateStrategy::Rolling),
            6 => Step::Update(variant, v1::UpdateStrategy::Recreate),
            7..=8 => Step::Kill(false),
            _ => Step::Kill(true),
        };
        let killer = (random.below(3) == 0).then(|| random.below(12));
        let operation = step.run(&client, name);
        let outcome = match killer {
            None => operation.await,
            Some(delay_ms) => {
                let pid = solo.pid("kernel").await;
                let kill = async {
                    tokio::time::sleep(Duration::from_millis(delay_ms as u64)).await;
                    crate::harness::kill(pid);
                };
                tokio::join!(operation, kill).0
            }
        };
        let possible = model.get_mut(name).expect("a known name");
        match outcome {
            // Acknowledged: from now on this is what it is.
            Ok(()) => *possible = vec![step.effect()],
            Err(problem) if is_unknown(&problem) => {
                if !possible.contains(&step.effect()) {
                    possible.push(step.effect());
                }
            }
            Err(_) => {}
        }
        if killer.is_some() {
            let client = solo.answering().await;
            settled(&solo).await;
            // What was open is decided now, and must be one of the possibilities.
            let seen = observe(&client, name).await;
            let possible = model.get_mut(name).expect("a known name");
            assert!(
                possible.contains(&seen),
                "{name} is {seen:?}, not one of {possible:?} after {step:?}"
            );
            *possible = vec![seen];
        }
    }
    let client = solo.answering().await;
    settled(&solo).await;
    for name in NAMES {
        let seen = observe(&client, name).await;
        assert_eq!(model[name], [seen], "{name}");
    }
    nothing_half_done(&solo, &client).await;
    solo.down().await;
}

/// Instances, rows, files and sockets are those of the services that are there, and no others.
async fn nothing_half_done(solo: &Solo, client: &Client) {
    let names = client.names().await;
    for name in &names {
        let status = client.status(name).await.expect("status");
        assert_eq!(status.instances.len(), 1, "{status:?}");
        assert_eq!(status.instances[0].revision, status.revision);
    }
    // The cell has no instance that no service claims; the sweep needs a moment for the last one.
    let endpoint = solo_api::Endpoint::Unix(solo.home().join("run/cells/wasm-default.sock"));
    let channel = solo_api::connect_channel(&endpoint).await.expect("cell");
    let cell = solo_api::cell::v1::cell_service_client::CellServiceClient::new(channel);
    eventually("no orphan is left in the cell", || async {
        let request = solo_api::cell::v1::SnapshotRequest::default();
        let snapshot = cell.clone().snapshot(request).await.expect("snapshot").into_inner();
        (snapshot.instances.len() == names.len() && snapshot.routes.len() == names.len())
            .then_some(())
    })
    .await;
    let uploads = std::fs::read_dir(solo.home().join("tenants/default/artifacts/tmp"))
        .expect("uploads")
        .count();
    assert_eq!(uploads, 0);
    let rows = count(solo, "SELECT count(*) FROM services WHERE killed = 0");
    assert_eq!(rows, names.len(), "rows of services that are not killed");
    for entry in
        std::fs::read_dir(solo.home().join("tenants/default/compiled")).expect("compiled").flatten()
    {
        assert!(entry.path().extension().is_some_and(|e| e == "cwasm"), "{entry:?}");
    }
}

/// Waits until no update is under way: a kernel goes on with those that the last one left.
async fn settled(solo: &Solo) {
    eventually("no update is under way", || async {
        (count(solo, "SELECT count(*) FROM services WHERE rollout IS NOT NULL") == 0).then_some(())
    })
    .await;
}

/// What a query counts in the database. SQLite's own shell would do too.
fn count(solo: &Solo, query: &str) -> usize {
    let database = rusqlite::Connection::open(solo.home().join("solo.db")).expect("open");
    let count: i64 = database.query_row(query, [], |row| row.get(0)).expect("query");
    usize::try_from(count).expect("a count")
}

/// The seed of this run: what the environment says, or another one each time.
pub(crate) fn seed() -> u64 {
    match std::env::var("SOLO_TEST_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(now.expect("a clock after 1970").subsec_nanos())
        }
    }
}

#[tokio::test]
async fn random_operations_and_deaths_of_the_kernel() {
    run(seed()).await;
}

#[tokio::test]
async fn the_same_with_a_known_seed() {
    run(20_261_122).await;
}
