//! `solo volume`: lists and removes volumes. They are made by `solo deploy --volume`.

use clap::{Args, Subcommand};
use serde::Serialize;
use solo_api::v1;

use super::Failure;
use super::context::{Context, DEADLINE, answer};
use crate::output::{one_line, size, table};

/// To remove many files takes a while.
const REMOVAL_DEADLINE: std::time::Duration = std::time::Duration::from_secs(600);

/// Arguments of `solo volume`.
#[derive(Debug, Args)]
pub(crate) struct Volume {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List names, sizes and who is given them
    List,
    /// Remove a volume that no service is given, with all that is in it
    Rm(Rm),
}

/// Arguments of `solo volume rm`.
#[derive(Debug, Args)]
struct Rm {
    /// Name of the volume
    #[arg(value_name = "NAME")]
    name: String,
}

impl Volume {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            Command::List => list(context).await,
            Command::Rm(rm) => rm.run(context).await,
        }
    }
}

#[derive(Debug, Serialize)]
struct VolumeJson {
    name: String,
    services: Vec<String>,
    of_machine: bool,
    used_bytes: u64,
    counted: bool,
}

#[derive(Debug, Serialize)]
struct ListJson {
    volumes: Vec<VolumeJson>,
}

async fn list(context: &Context) -> Result<(), Failure> {
    let client = context.client().await?;
    let request = client.request(v1::ListVolumesRequest {}, DEADLINE);
    let response = answer(DEADLINE, client.grpc().list_volumes(request)).await?;
    let volumes = response.volumes.into_iter().map(|volume| VolumeJson {
        name: volume.name,
        services: volume.services,
        of_machine: volume.of_machine,
        used_bytes: volume.used_bytes,
        counted: volume.counted,
    });
    context.output.show(&ListJson { volumes: volumes.collect() }, |list| {
        if list.volumes.is_empty() {
            return "no volumes\n".to_owned();
        }
        let rows = list.volumes.iter().map(|volume| {
            let used = match (volume.of_machine, volume.counted) {
                (true, _) => "the machine's".to_owned(),
                (false, true) => size(volume.used_bytes),
                (false, false) => format!("over {}", size(volume.used_bytes)),
            };
            vec![one_line(&volume.name), used, one_line(&volume.services.join(", "))]
        });
        table(&["NAME", "SIZE", "SERVICES"], &[1], rows.collect())
    })
}

#[derive(Debug, Serialize)]
struct RemovedJson {
    name: String,
}

impl Rm {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let message = v1::RemoveVolumeRequest { name: self.name.clone() };
        let request = client.request(message, REMOVAL_DEADLINE);
        answer(REMOVAL_DEADLINE, client.grpc().remove_volume(request)).await?;
        let json = RemovedJson { name: self.name };
        context.output.show(&json, |removed| format!("{} is removed\n", one_line(&removed.name)))
    }
}
