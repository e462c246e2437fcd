//! The node's signing key, and reading what it signed. What a token says is in [`crate::token`].

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use biscuit_auth::builder::Algorithm;
use biscuit_auth::{Biscuit, KeyPair, PrivateKey, UnverifiedBiscuit, error};

use crate::Denial;
use crate::bounds::BLOCKS_MAX;

const NOT_CANONICAL: Denial = Denial::Malformed { what: "it is not written as Biscuits are" };

/// A new token.
#[derive(Clone, PartialEq, Eq)]
pub struct Minted {
    /// Biscuit, URL-safe base64. A secret: whoever has it may use it.
    pub token: String,
    /// Revocation id, hexadecimal. No secret.
    pub id: String,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no Ed25519 private key")]
pub struct KeyError;

/// The signing key of a node.
pub struct Authority {
    key: KeyPair,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("public", &self.key.public().print()).finish()
    }
}

impl Authority {
    /// Draws a new key from the operating system.
    #[must_use]
    pub fn generate() -> Self {
        Self { key: KeyPair::new_with_algorithm(Algorithm::Ed25519) }
    }

    /// Takes a key that [`Self::private_key_bytes`] gave out.
    ///
    /// # Errors
    /// [`KeyError`] for anything but 32 bytes.
    pub fn from_private_key_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = PrivateKey::from_bytes(bytes, Algorithm::Ed25519).map_err(|_| KeyError)?;
        Ok(Self { key: KeyPair::from(&key) })
    }

    /// The key as 32 bytes, to be stored where only the kernel reads.
    #[must_use]
    pub fn private_key_bytes(&self) -> Vec<u8> {
        self.key.private().to_bytes().to_vec()
    }

    pub(crate) fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Reads a token whose length was checked, and checks its signatures and its form.
    pub(crate) fn read(&self, token: &str) -> Result<Biscuit, Denial> {
        let unverified = UnverifiedBiscuit::from_base64(token)
            .map_err(|_| Denial::Malformed { what: "it is no Biscuit" })?;
        if unverified.block_count() > BLOCKS_MAX {
            return Err(Denial::TooComplex { what: "it has more than 32 blocks" });
        }
        // A block signed by a third party can be trusted by other blocks; Solo trusts no third party.
        if unverified.external_public_keys().iter().any(Option::is_some) {
            return Err(Denial::TooComplex { what: "it contains a block of a third party" });
        }
        let biscuit = unverified.verify(self.key.public()).map_err(|error| match error {
            error::Format::Signature(_)
            | error::Format::SealedSignature
            | error::Format::UnknownPublicKey => Denial::Forged,
            _ => Denial::Malformed { what: "it is no complete Biscuit" },
        })?;
        // The envelope around the signed blocks is Protocol Buffers, which can say the same in many
        // ways (an unknown algorithm is read as the default). One token has one text.
        let canonical = biscuit.to_base64().map_err(|_| NOT_CANONICAL)?;
        if canonical.trim_end_matches('=') != token.trim_end_matches('=') {
            return Err(NOT_CANONICAL);
        }
        Ok(biscuit)
    }
}

/// A panic of the library on hostile input must deny the request, not end the task.
pub(crate) fn contain_panic<T>(read: impl FnOnce() -> Result<T, Denial>) -> Result<T, Denial> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or(Err(Denial::Malformed { what: "it cannot be read" }))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS[usize::from(nibble & 15)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
