//! One run: warms up, lets the drivers play, quietens them now and then to look at what is there, kills
//! the kernel, and ends with an empty Solo.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use solo_api::cell::v1 as cell;
use solo_api::cell::v1::cell_service_client::CellServiceClient;
use solo_api::{Endpoint, v1};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::api::DEADLINE;
use super::driver::drive;
use super::growth::{self, Change};
use super::household::Household;
use super::model::{Expected, Model, differences, observed};
use super::plan::{Event, Plan};
use super::plays::count_nodes;
use super::process::{self, Samples};
use super::random::Random;
use super::services::{Codes, FRESH_MAX};
use super::shared::{Link, Shared, Trouble};
use crate::endings::say;
use crate::solo::Solo;

/// The longest that plays under way may take to end.
const QUIET_MAX: Duration = Duration::from_secs(180);

/// After the last play: what goes on behind it ends meanwhile.
const SETTLE: Duration = Duration::from_millis(500);

/// After all services were killed: threads that wait for work end after ten seconds.
const EMPTY_SETTLE: Duration = Duration::from_secs(12);

/// Milliseconds between two calls of the pinger.
const PING_MS: u32 = 10;

/// The two services that call each other all the time, also while the kernel is away.
const PINGER: &str = "pinger";
const PINGED: &str = "pinged";

/// The process that hosts the services.
const CELL: &str = "wasm-default";

/// Processes that must never be replaced.
const LASTING: [&str; 3] = ["heart", "gateway", CELL];

/// Who plays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crew {
    pub(crate) drivers: u32,
    /// Decides what they do.
    pub(crate) seed: u64,
    /// With so many faults the run ends.
    pub(crate) faults_max: usize,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Report {
    /// From after the warm-up to the end. Empty: the run was too short.
    pub(crate) changes: Vec<Change>,
    /// From before the first deployment to after the last kill.
    pub(crate) emptied: Vec<Change>,
    pub(crate) peaks: Samples,
    pub(crate) failures: Vec<String>,
    pub(crate) totals: String,
}

/// A run under way.
struct Conductor<'a> {
    solo: &'a Solo,
    shared: Rc<Shared>,
    link: Link,
    /// The cell itself: it knows also what the kernel does not.
    cell: CellServiceClient<Channel>,
    /// By role, as they were at first.
    processes: BTreeMap<String, u32>,
    plateaus: Vec<Samples>,
    peaks: Samples,
    own_model: Rc<RefCell<Model>>,
}

/// Runs everything.
///
/// # Errors
/// Solo does not start, or does not get over a fault.
pub(crate) async fn conduct(solo: &Solo, plan: &Plan, crew: Crew) -> anyhow::Result<Report> {
    let (mut conductor, empty) = Conductor::begin(solo, crew.faults_max).await?;
    let mut households = conductor.start_drivers(crew).await?;
    let mut emptied = Vec::new();
    let mut outcome = conductor.play(plan, &mut households).await;
    if outcome.is_ok() {
        outcome = conductor.end(&mut households, &empty).await.map(|changes| emptied = changes);
    }
    if let Err(error) = outcome {
        conductor.shared.failed(format!("{error:#}"));
    }
    Ok(conductor.report(emptied))
}

impl<'a> Conductor<'a> {
    /// Stores the code, and looks at the empty Solo.
    async fn begin(solo: &'a Solo, faults_max: usize) -> anyhow::Result<(Self, Samples)> {
        let client = solo.client().await?;
        let codes = Codes::store(&client).await?;
        let addresses = std::fs::read_to_string(solo.home().join("run/addresses.json"))?;
        let addresses: serde_json::Value = serde_json::from_str(&addresses)?;
        let gateway = addresses["gateway"].as_str().context("no address of the gateway")?;
        let log = solo.home().join("bench.log");
        let token = solo_api::admin_token(solo.home())?;
        let shared = Rc::new(Shared::new(codes, gateway.to_owned(), token, log, faults_max));
        let socket = solo.home().join("run/cells").join(format!("{CELL}.sock"));
        let channel = solo_api::connect_channel(&Endpoint::Unix(socket)).await?;
        let processes = process::processes(solo.home());
        for role in LASTING.iter().chain(&["kernel"]) {
            ensure!(processes.contains_key(*role), "there is no process of the {role}");
        }
        // What is kept of code that nobody uses is there from the beginning.
        for number in 0..FRESH_MAX {
            let request = shared.codes.fresh("fresh", number);
            crate::requests::deploy(&client, request).await?;
            crate::requests::kill(&client, "fresh").await?;
        }
        tokio::time::sleep(SETTLE).await;
        let empty = process::sample(&processes);
        let own_model = Rc::new(RefCell::new(Model::new()));
        shared.models.borrow_mut().push(Rc::clone(&own_model));
        let conductor = Self {
            solo,
            link: Link::new(client, Rc::clone(&shared)),
            shared,
            cell: CellServiceClient::new(channel),
            processes,
            plateaus: Vec::new(),
            peaks: Samples::new(),
            own_model,
        };
        Ok((conductor, empty))
    }

    async fn start_drivers(
        &self,
        crew: Crew,
    ) -> anyhow::Result<JoinSet<anyhow::Result<Household>>> {
        self.start_pinger().await?;
        let mut households = JoinSet::new();
        for number in 0..crew.drivers {
            // Both ways in are used.
            let client = match number % 2 {
                0 => self.solo.client().await?,
                _ => self.solo.tcp_client().await?,
            };
            let link = Link::new(client, Rc::clone(&self.shared));
            let random = Random::new(crew.seed.wrapping_add(u64::from(number)));
            let household = Household::new(format!("d{number}"), link, random);
            households.spawn_local(drive(household));
        }
        Ok(households)
    }

    async fn start_pinger(&self) -> anyhow::Result<()> {
        let pinged = self.shared.codes.worker(PINGED, &[]);
        let pinger = v1::DeployRequest {
            capabilities: vec![v1::CapabilityRequest {
                object: format!("service:{PINGED}"),
                rights: vec![v1::Right::Call.into()],
            }],
            ..crate::requests::deployment_by_digest(PINGER, self.shared.codes.digest(PINGER))
        };
        for request in [pinged, pinger] {
            let name = request.name.clone();
            crate::requests::deploy(&self.link.client, request).await?;
            self.own_model.borrow_mut().insert(name, Expected { replicas: 1, restarts: 0 });
        }
        let order = format!("start {PINGED} {PING_MS} echo x");
        crate::requests::call(&self.link.client, PINGER, order.as_bytes()).await?;
        Ok(())
    }

    /// Lets the drivers play, and does what the plan says meanwhile.
    async fn play(
        &mut self,
        plan: &Plan,
        households: &mut JoinSet<anyhow::Result<Household>>,
    ) -> anyhow::Result<()> {
        for (at, event) in plan.events() {
            let left = at.saturating_sub(self.shared.elapsed());
            tokio::select! {
                Some(ended) = households.join_next() => {
                    ended.context("a driver failed")??;
                    bail!("a driver ended by itself");
                }
                () = tokio::time::sleep(left) => {}
            }
            match event {
                Event::Sample => drop(self.look().await?),
                Event::Quiet { is_measured } => {
                    let samples = self.quiet().await?;
                    if is_measured {
                        self.plateaus.push(samples);
                    }
                    self.tell_progress(plan);
                }
                Event::KillKernel => self.kill_kernel().await?,
            }
            if self.shared.has_failed() {
                bail!("there were too many faults");
            }
        }
        Ok(())
    }

    /// Samples under load, and checks that the processes are those of before.
    async fn look(&mut self) -> anyhow::Result<Samples> {
        let now = process::processes(self.solo.home());
        for role in LASTING {
            let (old, new) = (self.processes.get(role), now.get(role));
            ensure!(old == new, "the process of {role} ended: it was {old:?}, now {new:?}");
        }
        let mut samples = process::sample(&now);
        // What it remembers of logs and events is bounded (64 MiB) and takes an hour to get there.
        if let Some(kernel) = samples.get_mut("kernel") {
            match self.solo.metric("solo_record_bytes").await {
                Ok(bytes) => kernel.pss_bytes = kernel.pss_bytes.saturating_sub(bytes),
                // It was killed a moment ago: without that figure it cannot be compared.
                Err(_) => drop(samples.remove("kernel")),
            }
        }
        growth::peaks(&mut self.peaks, &samples);
        Ok(samples)
    }

    /// Waits until nothing is under way, and compares what is there with what should be.
    async fn quiet(&mut self) -> anyhow::Result<Samples> {
        let shared = Rc::clone(&self.shared);
        let gate = tokio::time::timeout(QUIET_MAX, shared.gate.write()).await;
        let _alone = gate.context("plays under way do not end")?;
        shared.totals.add("quiet moments", 1);
        self.link.forget_outages();
        let model = shared.model();
        self.settle(&model).await?;
        if let Err(Trouble::Broken(broken)) = self.agree(&model).await {
            shared.failed(format!("when all was quiet: {}: {}", broken.service, broken.what));
            shared.distrusted.set(shared.distrusted.get() + 1);
        }
        tokio::time::sleep(SETTLE).await;
        self.look().await
    }

    /// Waits until the cell hosts what it should; tells what differs if it never does.
    async fn settle(&mut self, model: &Model) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let answer = self.cell.snapshot(cell::SnapshotRequest::default());
            let snapshot = tokio::time::timeout(DEADLINE, answer).await;
            let snapshot = snapshot.context("the cell does not answer")??.into_inner();
            let mut found = differences(model, &observed(&snapshot));
            let routes = snapshot.routes.iter().map(|route| &route.name);
            let left = routes.filter(|name| !model.contains_key(*name));
            found.extend(left.map(|name| format!("the route of {name} should be gone")));
            if found.is_empty() {
                return Ok(());
            }
            if began.elapsed() > DEADLINE {
                let found = found.join("; ");
                self.shared.failed(format!("when all was quiet the cell differs: {found}"));
                // So that the same is not found again.
                self.shared.distrusted.set(self.shared.distrusted.get() + 1);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The kernel, too, says that there is what should be, and the pinger that it missed nothing.
    async fn agree(&self, model: &Model) -> Result<(), Trouble> {
        Household::listed(&self.link, model).await?;
        let instances: u32 = model.values().map(|expected| expected.replicas).sum();
        self.link
            .until("", "a tree of what should be there", async || {
                let Ok(tree) = self.link.tree().await? else { return Ok(None) };
                let counts =
                    ["service", "instance", "group", "child"].map(|kind| count_nodes(&tree, kind));
                let wanted = [model.len(), instances as usize, 0, 0];
                Ok((counts == wanted).then_some(()))
            })
            .await?;
        if !model.contains_key(PINGER) {
            return Ok(());
        }
        let stats = match self.link.call(PINGER, "stats").await? {
            Ok(stats) => stats,
            Err(refusal) => return Err(self.link.broken(PINGER, format!("stats: {refusal}"))),
        };
        if !stats.contains(r#""failed":0,"#) {
            return Err(self
                .link
                .broken(PINGER, format!("calls between services failed: {stats}")));
        }
        Ok(())
    }

    /// Kills the kernel in the midst of everything, and waits for the next one.
    async fn kill_kernel(&mut self) -> anyhow::Result<()> {
        let shared = Rc::clone(&self.shared);
        shared.outages.set(shared.outages.get() + 1);
        shared.is_out.set(true);
        self.solo.kill_kernel()?;
        let back = tokio::time::timeout(DEADLINE, self.solo.answering()).await;
        let client = back.context("the API did not come back after a kill of the kernel")?;
        self.link = Link::new(client, Rc::clone(&shared));
        shared.is_out.set(false);
        shared.totals.add("kills of the kernel", 1);
        Ok(())
    }

    fn tell_progress(&self, plan: &Plan) {
        let totals = &self.shared.totals;
        let [calls, crashes, kills] =
            ["calls", "crashes", "kills"].map(|name| totals.get(name).to_string());
        let pss = self.plateaus.last().and_then(|samples| samples.get(CELL)).map_or_else(
            || "warming up".to_owned(),
            |sample| format!("cell {} MiB", sample.pss_bytes >> 20),
        );
        let (now, total) = (self.shared.elapsed().as_secs(), plan.total().as_secs());
        say(&format!(
            "soak: {now} of {total} s, {calls} calls, {crashes} crashes, {kills} kills; {pss}"
        ));
    }

    /// Ends the drivers and all services, and looks at the empty Solo again.
    async fn end(
        &mut self,
        households: &mut JoinSet<anyhow::Result<Household>>,
        empty: &Samples,
    ) -> anyhow::Result<Vec<Change>> {
        self.shared.stopping.set(true);
        while let Some(ended) = households.join_next().await {
            let mut household = ended.context("a driver failed")??;
            household.link.forget_outages();
            if let Err(Trouble::Broken(broken)) = household.clear().await {
                self.shared.failed(format!("at the end: {}: {}", broken.service, broken.what));
            }
        }
        for name in [PINGER, PINGED] {
            crate::requests::kill(&self.link.client, name).await?;
        }
        self.own_model.borrow_mut().clear();
        let model = self.shared.model();
        self.settle(&model).await?;
        if let Err(Trouble::Broken(broken)) = self.agree(&model).await {
            self.shared.failed(format!("after the last kill: {}", broken.what));
        }
        tokio::time::sleep(EMPTY_SETTLE).await;
        let after = self.look().await?;
        Ok(growth::emptied(empty, &after))
    }

    fn report(self, emptied: Vec<Change>) -> Report {
        Report {
            changes: growth::over_time(&self.plateaus).unwrap_or_default(),
            emptied,
            peaks: self.peaks,
            failures: self.shared.failures.borrow().clone(),
            totals: self.shared.totals.text(),
        }
    }
}
