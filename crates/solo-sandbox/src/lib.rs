//! solo-sandbox.
