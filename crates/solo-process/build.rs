//! Generates the messages of program cells, without a system `protoc`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let file = root.join("solo/process/v1/process.proto");
    println!("cargo:rerun-if-changed={}", file.display());
    let descriptors = protox::compile([&file], [&root])?;
    // What a program is started with may hold secrets: it is not shown.
    prost_build::Config::new()
        .skip_debug([".solo.process.v1.Variable"])
        .compile_fds(descriptors)?;
    Ok(())
}
