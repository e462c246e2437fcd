//! solo-api.
