//! The secrets of one revision of a service, opened. Wiped when its last instance is gone.
//!
//! Shows nothing: neither a key nor a value is in any text that this type makes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use solo_api::cell::v1 as wire;
use zeroize::Zeroize as _;

/// By key.
#[derive(Default)]
pub(crate) struct Secrets(HashMap<String, Value>);

struct Value(Arc<[u8]>);

impl Secrets {
    /// Takes what the kernel sent; of two with one key (a bug of the kernel) the last one.
    pub(crate) fn new(secrets: Vec<wire::Secret>) -> Self {
        // The messages wipe theirs when they are dropped.
        let value = |secret: wire::Secret| (secret.key.clone(), Value(Arc::from(&*secret.value)));
        Self(secrets.into_iter().map(value).collect())
    }

    /// Those that are text, for the environment of a program.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.iter().filter_map(|(key, Value(bytes))| {
            Some((key.clone(), std::str::from_utf8(bytes).ok()?.to_owned()))
        })
    }

    /// The value under `key`. Who asks is an instance of the service, and drops it before the instance
    /// ends: no copy is made that would have to be wiped.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<[u8]>> {
        self.0.get(key).map(|value| Arc::clone(&value.0))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        if let Some(bytes) = Arc::get_mut(&mut self.0) {
            bytes.zeroize();
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_key_and_not_shown() {
        let secret =
            |key: &str, value: &[u8]| wire::Secret { key: key.into(), value: value.into() };
        let secrets = Secrets::new(vec![secret("a", b"hunter2"), secret("b", b"\0\xff")]);
        assert_eq!(secrets.get("a").as_deref(), Some(&b"hunter2"[..]));
        assert_eq!(secrets.get("b").as_deref(), Some(&b"\0\xff"[..]));
        assert_eq!((secrets.get("c"), secrets.get("A"), secrets.get("")), (None, None, None));
        assert_eq!(format!("{secrets:?}"), "Secrets(..)");
    }
}
