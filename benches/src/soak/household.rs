//! One driver's services, what it knows of them, and how it gets them back after trouble.
//!
//! A driver alone touches its services, and does one play at a time. So it knows what each answer must
//! be: how often something was restarted, how far it counted, how many messages it got.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use solo_api::v1;

use super::api::{Answer, DEADLINE, Refusal};
use super::model::{Expected, Model};
use super::random::Random;
use super::services::Role;
use super::shared::{Link, Outcome, Trouble};

/// Services that plays deploy and kill again.
pub(crate) const PASSING: [&str; 3] = ["passing", "broken", "fresh"];

/// What the incarnations that live know, and lose at a restart.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The worker's counter.
    pub(crate) count: u64,
    /// Casts that the worker got.
    pub(crate) casts: u64,
    /// Casts that the small one got.
    pub(crate) small_casts: u64,
    /// Numbered messages that the receiver got.
    pub(crate) received: u64,
    /// Those that the sender got.
    pub(crate) returned: u64,
    /// Watches on the worker that wait for its end.
    pub(crate) watches: Vec<u64>,
    /// Downs that the watcher got.
    pub(crate) downs: u64,
    /// Groups that the parent made.
    pub(crate) groups: u64,
}

/// A driver with its services.
#[derive(Debug)]
pub(crate) struct Household {
    /// Begins the names of all its services.
    pub(crate) driver: String,
    pub(crate) link: Link,
    pub(crate) random: Random,
    pub(crate) known: Known,
    /// Updates so far: each says so in the configuration.
    pub(crate) updates: u64,
    /// What was distrusted when all was deployed last.
    distrusted: u64,
    model: Rc<RefCell<Model>>,
}

impl Household {
    /// Without services so far.
    pub(crate) fn new(driver: String, link: Link, random: Random) -> Self {
        let model = Rc::new(RefCell::new(Model::new()));
        link.shared.models.borrow_mut().push(Rc::clone(&model));
        Self { driver, link, random, known: Known::default(), updates: 0, distrusted: 0, model }
    }

    /// Whether there was something somewhere that should not have been.
    pub(crate) fn is_distrusted(&self) -> bool {
        self.distrusted != self.link.shared.distrusted.get()
    }

    /// The full name of a service.
    pub(crate) fn name(&self, role: Role) -> String {
        role.name(&self.driver)
    }

    /// The full name of a service that comes and goes.
    pub(crate) fn passing(&self, word: &str) -> String {
        format!("{}-{word}", self.driver)
    }

    /// This must not happen.
    pub(crate) fn broken(&self, role: Role, what: impl Into<String>) -> Trouble {
        self.link.broken(&self.name(role), what)
    }

    /// Ends whatever is left of its services and deploys them all.
    pub(crate) async fn rebuild(&mut self) -> Outcome {
        self.distrusted = self.link.shared.distrusted.get();
        self.clear().await?;
        for role in Role::ALL {
            self.deploy(role).await?;
        }
        Ok(())
    }

    /// Ends all its services, whatever became of them.
    pub(crate) async fn clear(&mut self) -> Outcome {
        let names = Role::ALL.map(|role| self.name(role)).into_iter();
        let names: Vec<_> = names.chain(PASSING.map(|word| self.passing(word))).collect();
        for name in names {
            let force = self.random.chance(50);
            // What was under way when trouble came may still be.
            self.link
                .until(&name, "an end", async || match self.link.kill(&name, force).await? {
                    Ok(_) => Ok(Some(())),
                    Err(refusal) if refusal.reason == "NO_SUCH_SERVICE" => Ok(Some(())),
                    Err(refusal) if is_passing(&refusal) => Ok(None),
                    Err(refusal) => Err(self.link.broken(&name, format!("kill: {refusal}"))),
                })
                .await?;
        }
        self.model.borrow_mut().clear();
        self.known = Known::default();
        Ok(())
    }

    /// Deploys one of its services.
    pub(crate) async fn deploy(&mut self, role: Role) -> Outcome {
        let request = role.deployment(&self.driver, &self.link.shared.codes);
        let answer = self.link.deploy(request).await?;
        let deployed = answer.map_err(|refusal| self.broken(role, format!("deploy: {refusal}")))?;
        if deployed.state() != v1::ServiceState::Running {
            return Err(self.broken(role, format!("deployed, and {:?}", deployed.state())));
        }
        self.replaced(role, role.replicas());
        Ok(())
    }

    /// Kills one of its services; true: an instance had to be forced.
    pub(crate) async fn kill(&mut self, role: Role, force: bool) -> Outcome<bool> {
        let answer = self.link.kill(&self.name(role), force).await?;
        let forced = answer.map_err(|refusal| self.broken(role, format!("kill: {refusal}")))?;
        self.model.borrow_mut().remove(&self.name(role));
        self.lost(role);
        Ok(forced)
    }

    /// New instances stand for the old ones.
    pub(crate) fn replaced(&mut self, role: Role, replicas: u32) {
        let expected = Expected { replicas, restarts: 0 };
        self.model.borrow_mut().insert(self.name(role), expected);
        self.lost(role);
    }

    /// An instance was started again.
    pub(crate) fn restarted(&mut self, role: Role) {
        self.link.count("restarts", 1);
        if let Some(expected) = self.model.borrow_mut().get_mut(&self.name(role)) {
            expected.restarts += 1;
        }
        self.lost(role);
    }

    /// How often its instances were started again.
    pub(crate) fn restarts(&self, role: Role) -> u64 {
        self.model.borrow().get(&self.name(role)).map_or(0, |expected| expected.restarts)
    }

    /// How many instances it has.
    pub(crate) fn replicas(&self, role: Role) -> u32 {
        self.model.borrow().get(&self.name(role)).map_or(0, |expected| expected.replicas)
    }

    /// What an incarnation knew is gone with it.
    fn lost(&mut self, role: Role) {
        let known = &mut self.known;
        match role {
            Role::Worker => {
                (known.count, known.casts) = (0, 0);
                known.downs += u64::try_from(known.watches.len()).unwrap_or(u64::MAX);
                known.watches.clear();
            }
            Role::Small => known.small_casts = 0,
            Role::Receiver => known.received = 0,
            Role::Sender => known.returned = 0,
            Role::Watcher => {
                known.downs = 0;
                known.watches.clear();
            }
            Role::Parent => known.groups = 0,
            _ => {}
        }
    }

    /// Calls, and wants exactly this answer.
    pub(crate) async fn expect(&self, role: Role, payload: &str, expected: &str) -> Outcome {
        let answer = self.text(role, payload).await?;
        if answer == expected {
            return Ok(());
        }
        Err(self.broken(role, format!("{payload:?} was answered {answer:?}, not {expected:?}")))
    }

    /// Calls, and wants any answer.
    pub(crate) async fn text(&self, role: Role, payload: &str) -> Outcome<String> {
        let answer = self.link.call(&self.name(role), payload).await?;
        answer.map_err(|refusal| self.broken(role, format!("{payload:?} was answered {refusal}")))
    }

    /// Calls, and wants a number.
    pub(crate) async fn number(&self, role: Role, payload: &str) -> Outcome<u64> {
        let answer = self.text(role, payload).await?;
        let number = answer.parse().map_err(|_| {
            self.broken(role, format!("{payload:?} was answered {answer:?}, no number"))
        })?;
        Ok(number)
    }

    /// Calls, and wants JSON.
    pub(crate) async fn json(&self, role: Role, payload: &str) -> Outcome<serde_json::Value> {
        let answer = self.text(role, payload).await?;
        serde_json::from_str(&answer)
            .map_err(|_| self.broken(role, format!("{payload:?} was answered {answer:?}, no JSON")))
    }

    /// Wants a refusal for this reason, whose cause has these words in it.
    pub(crate) fn refused<T: std::fmt::Debug>(
        &self,
        role: Role,
        answer: Answer<T>,
        reason: &str,
        words: &str,
    ) -> Outcome {
        match answer {
            Err(refusal) if refusal.reason == reason && refusal.cause.contains(words) => Ok(()),
            Err(refusal) => {
                let what = format!("refused with {refusal}, not {reason} with {words:?}");
                Err(self.broken(role, what))
            }
            Ok(answer) => {
                let what = format!("answered {answer:?}, not {reason} with {words:?}");
                Err(self.broken(role, what))
            }
        }
    }

    /// Calls with what ends the instance.
    pub(crate) async fn crash(&mut self, role: Role, payload: &str, words: &str) -> Outcome {
        let answer = self.link.call(&self.name(role), payload).await?;
        self.refused(role, answer, "CRASHED", words)?;
        self.link.count("crashes", 1);
        self.restarted(role);
        Ok(())
    }

    /// Waits until Solo says that a service was restarted as often as the model has it.
    pub(crate) async fn settled(&self, role: Role) -> Outcome {
        let (name, wanted) = (self.name(role), self.restarts(role));
        self.link
            .until(&name, "its restart", async || {
                let Ok(status) = self.link.status(&name).await? else { return Ok(None) };
                let running = |one: &v1::InstanceStatus| one.state() == v1::ServiceState::Running;
                let restarts: u64 = status.instances.iter().map(|one| one.restarts).sum();
                let there = restarts == wanted && status.instances.iter().all(running);
                Ok(there.then_some(()))
            })
            .await
    }

    /// Waits for the API and deploys everything anew: what became of things is open.
    pub(crate) async fn recover(&mut self) -> Outcome {
        loop {
            self.reconnected().await?;
            match self.rebuild().await {
                Err(Trouble::Interrupted) => self.link.count("rebuilds interrupted", 1),
                outcome => return outcome,
            }
        }
    }

    /// Waits until the API is there and answers over this driver's connection.
    pub(crate) async fn reconnected(&self) -> Outcome {
        let began = std::time::Instant::now();
        loop {
            if !self.link.shared.is_out.get() {
                self.link.forget_outages();
                match self.link.list(&self.driver).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(_)) | Err(Trouble::Interrupted) => {}
                    Err(trouble) => return Err(trouble),
                }
            }
            if began.elapsed() > DEADLINE {
                self.link.forget_outages();
                return Err(self.link.broken("", "the API did not come back"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Wants what the kernel lists to be what should be there, all ready.
    pub(crate) async fn listed(link: &Link, model: &Model) -> Outcome {
        link.until("", "a list of what should be there", async || {
            let Ok(services) = link.list("").await? else { return Ok(None) };
            let running = |one: &&v1::ServiceSummary| one.state() == v1::ServiceState::Running;
            let ready: BTreeMap<_, _> =
                services.iter().filter(running).map(|one| (&one.name, one.ready)).collect();
            let wanted: BTreeMap<_, _> =
                model.iter().map(|(name, expected)| (name, expected.replicas)).collect();
            Ok((ready == wanted && services.len() == model.len()).then_some(()))
        })
        .await
    }
}

/// Whether the same may be tried again.
fn is_passing(refusal: &Refusal) -> bool {
    ["NAME_BUSY", "SERVICE_BUSY", "SERVICE_ENDED", "CELL_DOWN", "CELL_LOST", "NOT_READY"]
        .contains(&refusal.reason.as_str())
}
