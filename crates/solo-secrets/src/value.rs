//! The value of a secret on its way: wiped when it is dropped, never shown.

use std::fmt;

use zeroize::Zeroizing;

/// A value that must not be seen. Whoever needs the bytes asks for them by [`Secret::expose`], so that
/// each such place can be found.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes a value; from here on it is wiped when it goes.
    #[must_use]
    pub fn new(value: Vec<u8>) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_shown() {
        let value = Secret::new(b"hunter2".to_vec());
        assert_eq!(
            format!("{value:?} {:#?}", Some(&value)),
            "Secret(..) Some(\n    Secret(..),\n)"
        );
        assert_eq!((value.expose(), value.len(), value.is_empty()), (&b"hunter2"[..], 7, false));
    }
}
