//! solo-cell.
