//! solo-rollout.
