//! Validates a finished guest and lists what it exports at its top level. Compiles and runs nothing.

use wasmparser::{Encoding, Parser, Payload, Validator};

/// What a guest is.
#[derive(Debug)]
pub(super) struct Inspection {
    /// False: a core module.
    pub(super) is_component: bool,
    /// Names of interfaces and functions, in the order of the binary.
    pub(super) exports: Vec<String>,
}

/// Validates the whole binary, then reads its outermost exports.
///
/// # Errors
/// The bytes are no valid module or component, with the offset of the fault.
pub(super) fn inspect(wasm: &[u8]) -> anyhow::Result<Inspection> {
    Validator::new().validate_all(wasm)?;
    let mut inspection = Inspection { is_component: false, exports: Vec::new() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { encoding, .. } => {
                depth += 1;
                if depth == 1 {
                    inspection.is_component = encoding == Encoding::Component;
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ExportSection(section) if depth == 1 => {
                for export in section {
                    inspection.exports.push(export?.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    inspection.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(inspection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_core_module_and_an_empty_component_are_told_apart() {
        let core = inspect(b"\0asm\x01\0\0\0").expect("an empty module is valid");
        assert!(!core.is_component && core.exports.is_empty());
        let component = inspect(b"\0asm\x0d\0\x01\0").expect("an empty component is valid");
        assert!(component.is_component);
    }

    #[test]
    fn garbage_and_a_truncated_module_are_refused() {
        assert!(inspect(b"no wasm at all").is_err());
        assert!(inspect(b"\0asm\x01\0\0\0\x01\x05").is_err());
    }
}
