//! solo-supervisor.
