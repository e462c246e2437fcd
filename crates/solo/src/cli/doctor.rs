//! `solo doctor`: what the machine offers, and whether Solo runs. Works without a running Solo.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use solo_api::Endpoint;
use solo_sandbox::{Holding, Holds, Layer, Report, State};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Failure;
use super::context::Context;
use super::node::{Addresses, NodeProcess, Process, processes};
use crate::output::{one_line, size, table};

/// The kernel answers this question from memory, on this machine.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Arguments of `solo doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

/// Who a cell on trial becomes if root asks: nobody else.
const TRIAL_USER: &str = "1900000000";

/// What was found.
#[derive(Debug, Serialize)]
struct DoctorJson {
    /// Of the command line; the node has its own in `addresses`.
    version: &'static str,
    home: PathBuf,
    /// Whether the heart of this home lives.
    running: bool,
    /// Whether the API answers.
    serving: bool,
    addresses: Option<Addresses>,
    processes: Vec<NodeProcess>,
    machine: Report,
    /// What holds around each kind of cell, as a trial of each showed.
    cells: Vec<CellJson>,
}

/// One kind of cell.
#[derive(Debug, Serialize)]
struct CellJson {
    kind: &'static str,
    /// Each layer of the sandbox, in the order in which they are put on. None if it cannot be shut in.
    layers: Vec<LayerJson>,
    /// Why it cannot be shut in; such a cell does not start.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct LayerJson {
    name: Layer,
    state: Holding,
}

impl Doctor {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let home = context.home()?;
        let addresses = Addresses::read(home);
        let heart = addresses.as_ref().map(|node| node.heart_pid);
        let running = heart.and_then(Process::find).is_some();
        let json = DoctorJson {
            version: env!("CARGO_PKG_VERSION"),
            home: home.to_owned(),
            running,
            serving: is_serving(&context.endpoint).await,
            addresses: addresses.filter(|_| running),
            processes: heart.filter(|_| running).map(processes).unwrap_or_default(),
            machine: solo_sandbox::detect(),
            cells: ["wasm", "compiler", "process"].map(try_cell).into(),
        };
        context.output.show(&json, doctor_text)
    }
}

/// Shuts a cell of this kind in, in processes of their own that end with the answer.
fn try_cell(kind: &'static str) -> CellJson {
    let try_it = || -> Result<Holds, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["trial", kind]).env("SOLO_LOG", "error").stdin(Stdio::null());
        if nix::unistd::geteuid().is_root() {
            command.arg("--user").arg(TRIAL_USER);
        }
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).map_err(|error| error.to_string());
        }
        let told = String::from_utf8_lossy(&output.stderr);
        // Its last words; what follows is only that it ended.
        let cause = told.lines().find_map(|line| Some(line.split_once("cause=\"")?.1));
        Err(one_line(&cause.unwrap_or(&told).trim_end_matches('"').replace("\\\"", "\"")))
    };
    match try_it() {
        Ok(holds) => {
            let layer = |(name, state)| LayerJson { name, state };
            CellJson { kind, layers: holds.layers.into_iter().map(layer).collect(), error: None }
        }
        Err(error) => CellJson { kind, layers: Vec::new(), error: Some(error) },
    }
}

/// Asks the API for its health. False for whatever is not the answer that it serves.
pub(crate) async fn is_serving(endpoint: &Endpoint) -> bool {
    let ask = async {
        let channel = solo_api::connect_channel(endpoint).await.ok()?;
        let request = HealthCheckRequest { service: String::new() };
        let response = HealthClient::new(channel).check(request).await.ok()?;
        Some(response.into_inner().status == ServingStatus::Serving as i32)
    };
    matches!(tokio::time::timeout(HEALTH_TIMEOUT, ask).await, Ok(Some(true)))
}

fn doctor_text(doctor: &DoctorJson) -> String {
    let state = match (doctor.running, doctor.serving) {
        (true, true) => "runs and answers",
        (true, false) => "runs, but its API does not answer",
        (false, true) => "does not run at this home, but another one answers",
        (false, false) => "does not run; `solo up` starts it",
    };
    let home = one_line(&doctor.home.display().to_string());
    let mut text = format!("Solo {} at {home} {state}\n", doctor.version);
    if let Some(node) = &doctor.addresses {
        text.push_str(&format!(
            "  api {}, gateway {}, metrics {}\n",
            one_line(&node.api),
            one_line(&node.gateway),
            one_line(&node.metrics)
        ));
    }
    if !doctor.processes.is_empty() {
        let rows = doctor
            .processes
            .iter()
            .map(|process| {
                let memory = process.memory_bytes.map(size).unwrap_or_default();
                vec![process.pid.to_string(), process.role.clone(), memory]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&["PID", "PROCESS", "MEMORY"], &[0, 2], rows));
    }
    text.push('\n');
    for cell in &doctor.cells {
        text.push_str(&match &cell.error {
            Some(error) => format!("a {} cell cannot be shut in: {error}\n", cell.kind),
            None => cell_text(cell),
        });
    }
    if !doctor.cells.is_empty() {
        text.push('\n');
    }
    let rows = doctor
        .machine
        .items
        .iter()
        .map(|item| vec![item.name.clone(), item.state.as_str().to_owned(), item.detail.clone()])
        .collect();
    text.push_str(&table(&["MACHINE", "STATE", "DETAIL"], &[], rows));
    let wanting = doctor.machine.items.iter().filter(|item| item.state != State::Available);
    for item in wanting {
        if let Some(remedy) = &item.remedy {
            text.push_str(&format!("hint: {}: {}\n", one_line(&item.name), one_line(remedy)));
        }
    }
    text
}

fn cell_text(cell: &CellJson) -> String {
    let names = |state| {
        let layers = cell.layers.iter().filter(|layer| layer.state == state);
        layers.map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("a {} cell is shut in by {}\n", cell.kind, names(Holding::Holds));
    for (state, what) in [(Holding::NotUsed, "not used"), (Holding::SwitchedOff, "switched off")] {
        if cell.layers.iter().any(|layer| layer.state == state) {
            text.push_str(&format!("  {what}: {}\n", names(state)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_solo_is_described() {
        let item = |state, remedy: Option<&str>| solo_sandbox::Item {
            name: "landlock".into(),
            state,
            detail: "ABI 4".into(),
            remedy: remedy.map(str::to_owned),
        };
        let doctor = |item| DoctorJson {
            version: "1",
            home: "/h".into(),
            running: false,
            serving: false,
            addresses: None,
            processes: Vec::new(),
            machine: Report { items: vec![item] },
            cells: Vec::new(),
        };
        assert_eq!(
            doctor_text(&doctor(item(State::Available, None))),
            "Solo 1 at /h does not run; `solo up` starts it\n\n\
             MACHINE   STATE      DETAIL\n\
             landlock  available  ABI 4\n"
        );
        let text = doctor_text(&doctor(item(State::Missing, Some("use a newer kernel"))));
        assert!(text.ends_with("hint: landlock: use a newer kernel\n"), "{text}");
    }
}
