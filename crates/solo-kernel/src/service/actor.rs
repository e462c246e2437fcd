//! The actor of one service: does one operation at a time, and keeps what is in step with what
//! should be. When it fails its supervisor starts it again; it begins by looking at what is there.

use std::sync::Arc;
use std::time::Duration;

use solo_supervisor::{ChildContext, ExitKind, RestartTracker, Verdict};
use solo_types::{Problem, ServiceState};
use tokio::time::Instant;

use super::{Operation, Service};
use crate::cells::CellState;
use crate::clock;
use crate::kernel::Kernel;
use crate::secrets::{SECRET_MISSING, SECRET_UNREADABLE};

/// Before the next look at a cell that was lost.
const LOST_PAUSE: Duration = Duration::from_millis(50);

/// Before the next try of a compilation that there was no room for.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Runs the actor until the service has ended or its supervisor wants it to stop.
pub(crate) async fn run(
    kernel: Arc<Kernel>,
    service: Arc<Service>,
    context: ChildContext,
) -> Result<(), String> {
    let mut actor = Actor::new(&kernel, &service);
    tokio::select! {
        () = actor.serve() => Ok(()),
        () = context.stop_requested() => Ok(()),
    }
}

struct Actor<'a> {
    kernel: &'a Kernel,
    service: &'a Service,
    /// The cell that the service was brought in step with.
    incarnation: Option<String>,
    /// Starts that failed as a whole (in the cell each instance has a tracker of its own).
    tracker: RestartTracker,
    origin: Instant,
    retry_at: Option<Instant>,
}

impl<'a> Actor<'a> {
    fn new(kernel: &'a Kernel, service: &'a Service) -> Self {
        let policy = service.state.lock().spec.restart;
        Self {
            kernel,
            service,
            incarnation: None,
            tracker: RestartTracker::new(policy, service.id.number),
            origin: Instant::now(),
            retry_at: None,
        }
    }

    async fn serve(&mut self) {
        let mut queue = self.service.queue.lock().await;
        let mut cell = self.service.host.subscribe();
        cell.mark_changed();
        let mut end_wish = self.service.end_wish.subscribe();
        loop {
            let retry = async {
                match self.retry_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let wake = tokio::select! {
                operation = queue.recv() => match operation {
                    Some(operation) => Wake::Operation(operation),
                    None => return,
                },
                changed = cell.changed() => match changed {
                    Ok(()) => Wake::Cell,
                    Err(_) => return,
                },
                () = retry => Wake::Cell,
                () = self.service.changed.notified() => Wake::Changed,
            };
            if let Wake::Operation(operation @ Operation::Kill { .. }) = wake {
                if Box::pin(self.operate(operation)).await {
                    answer_late(&mut queue);
                    return;
                }
                continue;
            }
            // Boxed, as what an operation needs is large: thousands of actors only wait.
            let stepping = Box::pin(async {
                match wake {
                    Wake::Operation(operation) => return self.operate(operation).await,
                    Wake::Cell => self.cell_changed().await,
                    Wake::Changed => self.service.note_outcome(self.kernel).await,
                }
                false
            });
            // A wish to end it cuts short whatever else is under way.
            let ended = tokio::select! {
                ended = stepping => ended,
                _ = clock::until(&mut end_wish, |wish| *wish > 0) => false,
            };
            if ended {
                answer_late(&mut queue);
                return;
            }
            if *self.service.end_wish.borrow() > 0 {
                // The kill is in the queue; nothing else matters any more.
                while let Some(operation) = queue.recv().await {
                    match operation {
                        Operation::Kill { .. } => {
                            if Box::pin(self.operate(operation)).await {
                                answer_late(&mut queue);
                                return;
                            }
                        }
                        other => refuse(other),
                    }
                }
                return;
            }
        }
    }

    /// Does one operation. True: the service has ended.
    async fn operate(&mut self, operation: Operation) -> bool {
        match operation {
            Operation::Update { spec, strategy, fingerprint, reply } => {
                let outcome =
                    self.service.do_update(self.kernel, *spec, strategy, &fingerprint).await;
                // The client may have gone; the update stays.
                let _gone = reply.send(outcome);
                false
            }
            Operation::Kill { force, reply } => {
                let outcome = self.service.end(self.kernel, force).await;
                let ended = outcome.is_ok();
                if !ended {
                    self.service.end_wish.send_replace(0);
                }
                let _gone = reply.send(outcome);
                ended
            }
            Operation::Quiesce { timeout_ms, reply } => {
                self.service.stop_for_shutdown(timeout_ms).await;
                let _gone = reply.send(());
                true
            }
        }
    }

    async fn cell_changed(&mut self) {
        self.retry_at = None;
        let now = self.service.host.subscribe().borrow().clone();
        match now {
            CellState::Down(why) => {
                if self.incarnation.take().is_some() {
                    let why = why.unwrap_or_else(|| "the cell ended".to_owned());
                    self.service.with_state(|state| {
                        state.cell_lost(&why, clock::unix_ms(), |n| self.service.instance_id(n));
                    });
                }
            }
            CellState::Up(cell) => {
                if self.incarnation.as_ref() == Some(&cell.incarnation) {
                    return;
                }
                if self.is_settled_in(&cell.incarnation) {
                    self.incarnation = Some(cell.incarnation.clone());
                    self.service.note_outcome(self.kernel).await;
                    return;
                }
                let resumed = self.service.resume_rollout(self.kernel).await;
                let converged = match resumed {
                    Ok(()) => self.service.converge(self.kernel, &cell).await,
                    Err(problem) => Err(problem),
                };
                match converged {
                    Ok(()) => {
                        self.incarnation = Some(cell.incarnation.clone());
                        self.service.note_outcome(self.kernel).await;
                    }
                    Err(problem) => self.start_failed(&problem).await,
                }
            }
        }
    }

    /// Whether the kernel took this cell over with all as it should be: thousands of services that
    /// ask their cell one by one would keep it from its work.
    fn is_settled_in(&self, incarnation: &str) -> bool {
        let state = self.service.state.lock();
        state.adopted_in.as_deref() == Some(incarnation) && state.is_settled()
    }

    async fn start_failed(&mut self, problem: &Problem) {
        let passing = match problem.reason.as_str() {
            // That is the cell's failure, not the service's. Look again soon: the next cell may
            // have come up before this was noticed.
            "CELL_LOST" | "CELL_DOWN" => Some(LOST_PAUSE),
            // After an upgrade all services want to be compiled anew.
            "COMPILERS_BUSY" => Some(BUSY_PAUSE),
            _ => None,
        };
        if let Some(pause) = passing {
            self.retry_at = Some(Instant::now() + pause);
            return;
        }
        tracing::warn!(%problem, service = %self.service.id, "Failed to start a service");
        self.service.note_failed_start(problem);
        let now_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Code that is gone or cannot be compiled does not mend itself, nor does a secret come back.
        let gone = ["ARTIFACT_MISSING", SECRET_MISSING, SECRET_UNREADABLE];
        let hopeless = problem.kind == solo_types::ProblemKind::InvalidArgument
            || gone.contains(&problem.reason.as_str());
        let exit = if hopeless { ExitKind::Permanent } else { ExitKind::Abnormal };
        match self.tracker.on_exit(now_ms, exit) {
            Verdict::Restart { delay_ms } => {
                self.retry_at = Some(Instant::now() + Duration::from_millis(delay_ms.max(1)));
            }
            Verdict::Stay | Verdict::GiveUp => {
                self.service.give_up(self.kernel, ServiceState::Failed).await;
            }
        }
    }
}

enum Wake {
    Operation(Operation),
    Cell,
    Changed,
}

fn refuse(operation: Operation) {
    match operation {
        Operation::Update { reply, .. } => {
            let _gone = reply.send(Err(super::ended_meanwhile()));
        }
        Operation::Kill { reply, .. } => {
            let _gone = reply.send(Ok(false));
        }
        Operation::Quiesce { reply, .. } => {
            let _gone = reply.send(());
        }
    }
}

/// Answers what still waits after the end.
fn answer_late(queue: &mut tokio::sync::mpsc::Receiver<Operation>) {
    queue.close();
    while let Ok(operation) = queue.try_recv() {
        refuse(operation);
    }
}
