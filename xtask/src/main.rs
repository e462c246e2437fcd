//! Chores of the repository: `cargo xtask CHORE`. Each lives in a module of its own.
//!
//! Not part of Solo: nothing here ships, and nothing that ships depends on it.

mod guests;
mod runtimes;
mod tidy;

use anyhow::bail;

const USAGE: &str = "usage: cargo xtask CHORE [OPTIONS]\n  \
     guests    build the guests under guests/ into components\n  \
     runtimes  build the runtimes of languages under runtimes/\n  \
     tidy      check what a machine can check of style and layering";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((chore, rest)) if chore == "guests" => guests::run(rest),
        Some((chore, rest)) if chore == "runtimes" => runtimes::run(rest),
        Some((chore, rest)) if chore == "tidy" => tidy::run(rest),
        Some((chore, _)) => bail!("there is no chore {chore}\n{USAGE}"),
        None => bail!(USAGE),
    }
}
