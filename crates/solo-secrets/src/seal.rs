//! Sealing and opening: XChaCha20-Poly1305 under a random nonce, with the place as associated data.
//!
//! Layout of a sealed value: nonce (24 bytes), ciphertext (as long as the value), tag (16 bytes). The
//! nonce is long enough to be drawn at random for every seal without ever meeting the same one twice.

use std::fmt;

use chacha20poly1305::{AeadInOut as _, Key, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::Secret;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Bytes of a nonce of XChaCha20.
const NONCE_BYTES: usize = 24;

/// Bytes of a tag of Poly1305.
const TAG_BYTES: usize = 16;

/// A sealed value has so many bytes more than the value.
pub const SEALED_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// What the associated data begins with: another use of the key, or another layout, has another word.
const DOMAIN: &[u8] = b"solo secret 1\0";

/// Why a value was not sealed or opened. Says nothing of the value or the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// That is no key.
    #[error("a key has {KEY_BYTES} bytes, this has {found}")]
    KeyLength {
        /// How many it has.
        found: usize,
    },
    /// The system has no random bytes to give.
    #[error("failed to draw random bytes: {0}")]
    Random(String),
    /// More than the cipher takes at a time (256 GiB).
    #[error("the value is too long to be sealed")]
    TooLong,
    /// Changed, sealed for another place, or with another key: which of them cannot be told.
    #[error("it was changed, belongs elsewhere, or was sealed with another key")]
    Refused,
}

/// Where a value belongs. It opens there and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// Name of the secret.
    pub name: &'a str,
    /// Counts up with each new value.
    pub version: u64,
}

impl Place<'_> {
    /// Unambiguous: texts go with their lengths.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = DOMAIN.to_vec();
        for text in [self.tenant, self.name] {
            data.extend((text.len() as u64).to_le_bytes());
            data.extend(text.as_bytes());
        }
        data.extend(self.version.to_le_bytes());
        data
    }
}

/// The key that seals. Wiped from memory when dropped.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; KEY_BYTES]>);

impl SealingKey {
    /// Makes a key of the system's random bytes.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn generate() -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill(key.as_mut_slice())?;
        Ok(Self(key))
    }

    /// Takes a key that [`Self::to_bytes`] gave.
    ///
    /// # Errors
    /// [`SealError::KeyLength`]; any other 32 bytes are a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        if bytes.len() != KEY_BYTES {
            return Err(SealError::KeyLength { found: bytes.len() });
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// The secret bytes, to be kept where the sealed values are not.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_vec())
    }

    /// Seals `value` for `place`, each time differently.
    ///
    /// # Errors
    /// [`SealError::Random`], [`SealError::TooLong`].
    pub fn seal(&self, place: Place<'_>, value: &Secret) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        fill(&mut nonce)?;
        // At its full size from the start: a buffer that grows leaves copies behind.
        let mut sealed = Vec::with_capacity(value.len() + SEALED_OVERHEAD_BYTES);
        sealed.extend(nonce);
        sealed.extend(value.expose());
        let tag = self.cipher().encrypt_inout_detached(
            &XNonce::from(nonce),
            &place.associated_data(),
            (&mut sealed[NONCE_BYTES..]).into(),
        );
        let Ok(tag) = tag else {
            sealed.fill(0);
            return Err(SealError::TooLong);
        };
        sealed.extend(tag);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] made for the same place.
    ///
    /// # Errors
    /// [`SealError::Refused`].
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Secret, SealError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Refused)?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(SealError::Refused)?;
        let mut value = Zeroizing::new(text.to_vec());
        self.cipher()
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                &place.associated_data(),
                value.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| SealError::Refused)?;
        Ok(Secret::new(std::mem::take(&mut *value)))
    }

    /// Wipes its copy of the key when dropped.
    fn cipher(&self) -> XChaCha20Poly1305 {
        let key: &Key = (&*self.0).into();
        XChaCha20Poly1305::new(key)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), SealError> {
    getrandom::fill(bytes).map_err(|error| SealError::Random(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place<'static> = Place { tenant: "default", name: "db", version: 3 };

    fn key(byte: u8) -> SealingKey {
        SealingKey::from_bytes(&[byte; KEY_BYTES]).expect("a key")
    }

    fn sealed(value: &[u8]) -> Vec<u8> {
        key(1).seal(PLACE, &Secret::new(value.to_vec())).expect("sealed")
    }

    fn refused(key: &SealingKey, place: Place<'_>, sealed: &[u8]) {
        assert_eq!(key.open(place, sealed).expect_err("refused"), SealError::Refused);
    }

    #[test]
    fn what_is_sealed_opens_and_is_never_the_same_twice() {
        let (one, two) = (sealed(b"hunter2"), sealed(b"hunter2"));
        assert_ne!(one, two);
        assert_eq!(one.len(), b"hunter2".len() + SEALED_OVERHEAD_BYTES);
        for sealed in [one, two] {
            assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
            assert_eq!(key(1).open(PLACE, &sealed).expect("opened").expose(), b"hunter2");
        }
    }

    #[test]
    fn every_changed_missing_or_added_byte_is_noticed() {
        let whole = sealed(b"value");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            refused(&key(1), PLACE, &changed);
            refused(&key(1), PLACE, &whole[..at]);
        }
        refused(&key(1), PLACE, &[&whole[..], &[0]].concat());
    }

    #[test]
    fn a_value_opens_in_its_place_only() {
        let whole = sealed(b"value");
        for other in [
            Place { version: 2, ..PLACE },
            Place { version: 4, ..PLACE },
            Place { name: "db2", ..PLACE },
            Place { tenant: "other", ..PLACE },
            // The same letters, cut elsewhere.
            Place { tenant: "defaultd", name: "b", version: 3 },
            Place { tenant: "", name: "defaultdb", version: 3 },
        ] {
            refused(&key(1), other, &whole);
        }
    }

    #[test]
    fn another_key_opens_nothing() {
        refused(&key(2), PLACE, &sealed(b"value"));
        refused(&SealingKey::generate().expect("a key"), PLACE, &sealed(b""));
    }

    #[test]
    fn a_key_has_its_length_and_is_not_shown() {
        for length in [0, 31, 33, 64] {
            let error = SealingKey::from_bytes(&vec![7; length]).expect_err("no key");
            assert_eq!(error, SealError::KeyLength { found: length });
        }
        let made = SealingKey::generate().expect("a key");
        let again = SealingKey::from_bytes(&made.to_bytes()).expect("the same");
        let sealed = made.seal(PLACE, &Secret::new(vec![1])).expect("sealed");
        assert_eq!(again.open(PLACE, &sealed).expect("opened").expose(), [1]);
        assert_eq!(format!("{made:?}"), "SealingKey(..)");
    }

    proptest! {
        #[test]
        fn any_value_comes_back(value in prop::collection::vec(any::<u8>(), 0..2_000), version: u64) {
            let place = Place { version, ..PLACE };
            let sealed = key(9).seal(place, &Secret::new(value.clone())).expect("sealed");
            let opened = key(9).open(place, &sealed).expect("opened");
            prop_assert_eq!(opened.expose(), value.as_slice());
        }

        #[test]
        fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(key(9).open(PLACE, &noise).is_err());
        }
    }
}
