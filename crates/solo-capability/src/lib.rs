//! solo-capability.
