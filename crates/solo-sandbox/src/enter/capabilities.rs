//! Capabilities (those of Linux, not Solo's): asks for them, and gives all of them up.

use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

use super::{EnterError, Layer};

/// Whether this process may make namespaces and mounts without a user namespace.
pub(crate) fn can_administer() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Lets the programs that this thread starts keep its capabilities, which only root's do otherwise.
pub(crate) fn pass_on() -> Result<(), rustix::io::Errno> {
    let mut sets = capabilities(None)?;
    sets.inheritable = sets.permitted;
    set_capabilities(None, sets)?;
    sets.permitted.iter().try_for_each(|one| configure_capability_in_ambient_set(one, true))
}

/// Gives up all capabilities of this thread, and every way by which a program could get some: the
/// bounding set, the ambient set, and what user 0 means.
pub(super) fn drop_all() -> Result<(), EnterError> {
    let failed = |verb| Layer::Capabilities.failed::<rustix::io::Errno>(verb);
    clear_ambient_capability_set().map_err(failed("clear the ambient set"))?;
    let held = capabilities(None).map_err(failed("read the own capabilities"))?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter() {
            match remove_capability_from_bounding_set(capability) {
                // This kernel is older than the capability.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(failed("clear the bounding set")(error)),
            }
        }
        let locked = CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
        set_capabilities_secure_bits(locked).map_err(failed("lock the secure bits"))?;
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(failed("give up capabilities"))
}

/// Makes effective what is permitted.
pub(super) fn raise() -> Result<(), rustix::io::Errno> {
    let mut sets = capabilities(None)?;
    sets.effective = sets.permitted;
    set_capabilities(None, sets)
}
