//! solo-kernel.
