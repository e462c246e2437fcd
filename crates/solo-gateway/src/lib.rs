//! solo-gateway.
