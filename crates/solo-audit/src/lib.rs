//! solo-audit.
