//! The keys of checkpoints: Ed25519, one secret key per log, a public one for who verifies.
//!
//! Nothing here reads or writes a file: the caller keeps the secret key apart from the log. Who can
//! read both can rewrite the log so that it verifies. A key must sign one log only; else one log of
//! it could be put in the place of another.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::{AuditError, hex};

/// What a public key begins with in text, so that no other kind of digits is taken for one.
const PREFIX: &str = "ed25519:";

/// Signs checkpoints. Wiped from memory when dropped.
#[derive(Clone)]
pub struct CheckpointKey(SigningKey);

impl CheckpointKey {
    /// Makes a new key of the system's random bytes.
    ///
    /// # Errors
    /// [`AuditError::Random`] if the system has none to give.
    pub fn generate() -> Result<Self, AuditError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| AuditError::Random(error.to_string()))?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Takes a key that [`Self::to_bytes`] gave. Any 32 bytes are a key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// The secret bytes, to be kept where the log is not.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// What verifies the signatures of this key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Shows the public half only.
impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointKey({})", self.public())
    }
}

/// Verifies checkpoints. In text `ed25519:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Takes the 32 bytes of a public key.
    ///
    /// # Errors
    /// [`AuditError::PublicKey`] if they are no key, or one for which anybody can sign.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, AuditError> {
        match VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(AuditError::PublicKey),
        }
    }

    /// The bytes of the key.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        // Strict: one signature per message and key, so that a checkpoint cannot be varied.
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let digits = text.strip_prefix(PREFIX).ok_or(AuditError::PublicKey)?;
        Self::from_bytes(&hex::decode(digits).ok_or(AuditError::PublicKey)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_as_it_was_written() {
        let key = CheckpointKey::generate().expect("random bytes");
        let public: PublicKey = key.public().to_string().parse().expect("reads");
        assert_eq!(public, key.public());
        assert_eq!(CheckpointKey::from_bytes(&key.to_bytes()).public(), public);
        let secret = hex::encode(&key.to_bytes());
        assert!(!format!("{key:?}").contains(&secret), "the secret is not shown");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        // The neutral element of the curve: a signature of it is valid for every message.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(matches!(PublicKey::from_bytes(&weak), Err(AuditError::PublicKey)));
        let text = CheckpointKey::from_bytes(&[7; 32]).public().to_string();
        for wrong in [&text[8..], &text[..70], &text.to_uppercase(), ""] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}
