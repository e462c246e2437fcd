//! Secrets at rest (SPEC C5): values sealed under one key, each bound to the place that it belongs to.
//!
//! A sealed value is opened only with the key that sealed it, unchanged, and for the tenant, name and
//! version that it was sealed for: one that was moved to another row is refused like one that was
//! changed. What cannot be told from the outside is that a whole row was put back as it once was.
//!
//! Pure: keeps nothing, reads no file, knows no rights. Keys and values are wiped when they are
//! dropped, and no form of them for people shows anything.

mod seal;
mod value;

pub use seal::{KEY_BYTES, Place, SEALED_OVERHEAD_BYTES, SealError, SealingKey};
pub use value::Secret;
