//! The node's signing key: mints tokens, and decides what a token allows.
//!
//! Rights, service and expiry are read from the block that this node signed and compared here. The
//! Datalog of the library only decides whether the checks that holders appended agree. They see
//! three facts: `service("NODE-NUMBER")`, `right("call")` and `time(2026-01-01T00:00:00Z)`.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use biscuit_auth::builder::{
    Algorithm, Binary, CheckKind, Expression, Op, Term, constrained_rule, fact, pred, string, var,
};
use biscuit_auth::{
    Authorizer, AuthorizerBuilder, AuthorizerLimits, Biscuit, KeyPair, PrivateKey,
    UnverifiedBiscuit, builder, error,
};
use solo_types::{Right, Rights, ServiceId};

use crate::Denial;
use crate::bounds::{BLOCKS_MAX, FACTS_MAX, TOKEN_CHARS_MAX, check_shape};

/// Facts of the first block. Other names than those of a request, else a check such as
/// `check if right("kill")` would be met by the grant instead of the request.
const FACT_SERVICE: &str = "granted_service";
const FACT_RIGHT: &str = "granted_right";
const FACT_EXPIRES: &str = "granted_until";

/// For one evaluation. By its shape it takes microseconds; this only has to be longer than a pause
/// of the thread on a busy machine.
const EVALUATION_TIME_MAX: Duration = Duration::from_millis(500);

/// Latest expiry: the year 9999, where text forms of times end.
const EXPIRES_AT_MAX: u64 = 253_402_300_799;

const NOT_CANONICAL: Denial = Denial::Malformed { what: "it is not written as Biscuits are" };

/// What a token is to allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenGrant {
    /// The object.
    pub service: ServiceId,
    /// At least one.
    pub rights: Rights,
    /// First second in which it is not valid any more.
    pub expires_at_unix_s: u64,
}

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

/// A grant that no token can express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// No rights.
    #[error("a token needs at least one right")]
    NoRights,
    /// Later than the year 9999.
    #[error("the expiry is later than the year 9999")]
    ExpiryTooLate,
    /// The library failed.
    #[error("failed to sign the token")]
    Sign(#[source] error::Token),
}

impl From<MintError> for solo_types::Problem {
    fn from(error: MintError) -> Self {
        match error {
            MintError::NoRights => Self::invalid("INVALID_RIGHTS", "rights", &error.to_string())
                .remedy("name at least one of read, call, send and kill"),
            MintError::ExpiryTooLate => {
                Self::invalid("INVALID_TTL", "ttl_seconds", &error.to_string())
                    .remedy("choose a shorter life")
            }
            MintError::Sign(_) => Self::internal(error.to_string()),
        }
    }
}

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

    /// Signs a token.
    ///
    /// # Errors
    /// [`MintError`]: no rights, or an expiry that cannot be written.
    pub fn mint(&self, grant: &TokenGrant) -> Result<Minted, MintError> {
        if grant.rights.is_empty() {
            return Err(MintError::NoRights);
        }
        if grant.expires_at_unix_s > EXPIRES_AT_MAX {
            return Err(MintError::ExpiryTooLate);
        }
        let token = self.sign(grant).map_err(MintError::Sign)?;
        let text = token.to_base64().map_err(MintError::Sign)?;
        let id = token.revocation_identifiers().first().map(|id| hex(id)).unwrap_or_default();
        Ok(Minted { token: text, id })
    }

    fn sign(&self, grant: &TokenGrant) -> Result<Biscuit, error::Token> {
        let expires = Term::Date(grant.expires_at_unix_s);
        let mut biscuit = Biscuit::builder()
            .fact(fact(FACT_SERVICE, &[string(&grant.service.to_string())]))?
            .fact(fact(FACT_EXPIRES, std::slice::from_ref(&expires)))?;
        for right in &grant.rights {
            biscuit = biscuit.fact(fact(FACT_RIGHT, &[string(right.as_str())]))?;
        }
        // Solo compares the fact; the check says the same to other readers of Biscuits.
        let ops = vec![Op::Value(var("time")), Op::Value(expires), Op::Binary(Binary::LessThan)];
        let no_terms: [Term; 0] = [];
        let query = constrained_rule(
            "query",
            &no_terms,
            &[pred("time", &[var("time")])],
            &[Expression { ops }],
        );
        biscuit
            .check(builder::Check { queries: vec![query], kind: CheckKind::One })?
            .build(&self.key)
    }

    /// Reads a token and checks signature and expiry. Does not know of revocations.
    ///
    /// `now_unix_s`: the answer is for that moment; verify again for a later one.
    ///
    /// # Errors
    /// [`Denial`]; anything that is not certain is denied.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Access, Denial> {
        self.verify_not_revoked(token, now_unix_s, &BTreeSet::new())
    }

    /// As [`Self::verify`], and denies what was revoked: the token itself or one it was made from.
    ///
    /// `revoked`: ids as in [`Minted::id`].
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_not_revoked(
        &self,
        token: &str,
        now_unix_s: u64,
        revoked: &BTreeSet<String>,
    ) -> Result<Access, Denial> {
        if token.len() > TOKEN_CHARS_MAX {
            return Err(Denial::Malformed { what: "it has more than 16,384 characters" });
        }
        let biscuit = contain_panic(|| self.read(token))?;
        let ids: Vec<String> = biscuit.revocation_identifiers().iter().map(|id| hex(id)).collect();
        if let Some(id) = ids.iter().find(|id| revoked.contains(*id)) {
            return Err(Denial::Revoked { id: id.clone() });
        }
        let grant = contain_panic(|| read_grant(&biscuit))?;
        if now_unix_s >= grant.expires_at_unix_s {
            return Err(Denial::Expired { seconds: now_unix_s - grant.expires_at_unix_s });
        }
        Ok(Access { biscuit, grant, ids, now_unix_s })
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

/// What a token that is valid now allows.
pub struct Access {
    biscuit: Biscuit,
    grant: TokenGrant,
    ids: Vec<String>,
    now_unix_s: u64,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("grant", &self.grant)
            .field("id", &self.id())
            .field("now_unix_s", &self.now_unix_s)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Decides one operation.
    ///
    /// # Errors
    /// [`Denial`]; anything that is not certain is denied.
    pub fn allows(&self, service: ServiceId, right: Right) -> Result<(), Denial> {
        if self.grant.service != service {
            return Err(Denial::WrongService { granted: self.grant.service });
        }
        if !self.grant.rights.contains(&right) {
            return Err(Denial::RightMissing { right });
        }
        contain_panic(|| self.holders_agree(service, right))
    }

    /// What its issuer granted. Holders may have narrowed it: [`Self::allows`] decides.
    #[must_use]
    pub fn grant(&self) -> &TokenGrant {
        &self.grant
    }

    /// Revocation id of the token as it was issued, for audit records.
    #[must_use]
    pub fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }

    /// Runs the checks of all blocks against this request.
    fn holders_agree(&self, service: ServiceId, right: Right) -> Result<(), Denial> {
        let authorize = || -> Result<(), error::Token> {
            let mut authorizer = AuthorizerBuilder::new()
                .set_limits(limits())
                .fact(fact("service", &[string(&service.to_string())]))?
                .fact(fact("right", &[string(right.as_str())]))?
                .fact(fact("time", &[Term::Date(self.now_unix_s)]))?
                .policy("allow if true")?
                .build(&self.biscuit)?;
            authorizer.authorize()?;
            Ok(())
        };
        match authorize() {
            Ok(()) => Ok(()),
            Err(error::Token::RunLimit(_)) => {
                Err(Denial::TooComplex { what: "its checks took too long" })
            }
            // Failed checks, and checks that cannot be evaluated.
            Err(_) => Err(Denial::Narrowed),
        }
    }
}

/// Checks the shape of a token whose signature is right, and reads its first block.
fn read_grant(biscuit: &Biscuit) -> Result<TokenGrant, Denial> {
    let unreadable = |_| Denial::Malformed { what: "one of its blocks cannot be read" };
    let mut authorizer =
        AuthorizerBuilder::new().set_limits(limits()).build(biscuit).map_err(unreadable)?;
    // Before anything is evaluated.
    let (facts, rules, checks, _) = authorizer.dump();
    check_shape(&facts, &rules, &checks)?;

    let not_ours = Denial::Malformed { what: "its first block is not a grant" };
    let [Term::Str(service)] = &granted(&mut authorizer, FACT_SERVICE)?[..] else {
        return Err(not_ours);
    };
    let [Term::Date(expires_at_unix_s)] = granted(&mut authorizer, FACT_EXPIRES)?[..] else {
        return Err(not_ours);
    };
    let names = granted(&mut authorizer, FACT_RIGHT)?;
    // Facts of appended blocks count for nothing, but whoever appends them expects otherwise.
    if facts.len() != names.len() + 2 {
        return Err(Denial::TooComplex { what: "an appended block contains a fact" });
    }
    let mut rights = Rights::new();
    for name in &names {
        let Term::Str(name) = name else { return Err(not_ours) };
        // A right that this version does not know is none.
        rights.extend(Right::ALL.into_iter().find(|right| right.as_str() == name));
    }
    let Ok(service) = service.parse() else { return Err(not_ours) };
    Ok(TokenGrant { service, rights, expires_at_unix_s })
}

/// The values of a fact with one term in the first block, and nowhere else.
fn granted(authorizer: &mut Authorizer, name: &str) -> Result<Vec<Term>, Denial> {
    let rule = format!("value($value) <- {name}($value)");
    let facts: Vec<builder::Fact> = authorizer
        .query::<_, builder::Fact, Infallible>(rule.as_str())
        .map_err(|_| Denial::Malformed { what: "its first block is not a grant" })?;
    Ok(facts.into_iter().filter_map(|fact| fact.predicate.terms.into_iter().next()).collect())
}

fn limits() -> AuthorizerLimits {
    AuthorizerLimits {
        // The facts of a token and of a request, and room for none that are derived.
        max_facts: u64::try_from(FACTS_MAX).unwrap_or(u64::MAX) + 4,
        // Without rules the first round finds nothing new.
        max_iterations: 4,
        max_time: EVALUATION_TIME_MAX,
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
