//! Generates the protobuf types and the gRPC stubs, without a system `protoc`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = [
        root.join("solo/v1/solo.proto"),
        root.join("solo/cell/v1/cell.proto"),
        root.join("solo/program/v1/program.proto"),
    ];
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("solo.descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    // What holds a value shows it to nobody: `src/secret.rs` says what it shows instead.
    tonic_prost_build::configure()
        .skip_debug([".solo.v1.SetSecretRequest", ".solo.cell.v1.Secret"])
        .compile_fds(descriptors)?;
    Ok(())
}
