//! Tokens that carry capabilities: minting, attenuating offline, verifying.
//!
//! A token is a Biscuit. Each of its blocks says `capability("TEXT");`, once for each of its
//! capabilities, and nothing else; the first block is signed by the node's [`Authority`], further ones
//! by whoever held the token. A block is a [`Link`], and a block's signature is its id. Each block is
//! read by itself and can only narrow what those before it allow. No Datalog is evaluated: what is
//! not a capability (rules, checks, blocks of third parties) makes the whole token refused, rather
//! than ignored by somebody who thinks that it narrows.
//!
//! Reads no clock and knows of no revocations: [`crate::decide`] asks for both, each time.

use std::sync::Arc;

use biscuit_auth::builder::{BlockBuilder, Fact, Term, fact, string};
use biscuit_auth::{Biscuit, UnverifiedBiscuit, error};
use solo_types::{Problem, ProblemKind};

use crate::authority::{contain_panic, hex};
use crate::bounds::{BLOCKS_MAX, TOKEN_CHARS_MAX};
use crate::chain::CAPABILITIES_MAX;
use crate::{Authority, Capability, Denial, GrantId, Link, Minted};

/// Name of the facts.
const FACT: &str = "capability";

/// Bytes of an id, which is an Ed25519 signature. There is one signature of a block by a key. Other
/// algorithms let whoever holds a token change a signature and with it the id, away from revocations
/// and from what is counted.
const ID_BYTES: usize = 64;

/// A token that a node signed, as it is written. Says nothing about now: it may be expired or
/// revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// At least one.
    links: Vec<Arc<Link>>,
}

impl Token {
    /// Its links: the grant that Solo issued, then the attenuations.
    #[must_use]
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }
}

/// Why a token was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// None, or too many.
    #[error("a block has 1 to {CAPABILITIES_MAX} capabilities")]
    Capabilities,
    /// One without an expiry.
    #[error("a capability of the token does not expire")]
    NoExpiry,
    /// It would be too large, or have too many blocks.
    #[error("the token would be longer than {TOKEN_CHARS_MAX} characters or {BLOCKS_MAX} blocks")]
    TooLong,
    /// What is to be attenuated is no such token, or is sealed.
    #[error("the token cannot be attenuated")]
    NotAttenuable(#[source] Denial),
    /// The library failed.
    #[error("failed to sign the token")]
    Sign(#[source] error::Token),
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let remedy = match &error {
            TokenError::Sign(_) => return Self::internal(error.to_string()),
            TokenError::NotAttenuable(denial) => return denial.clone().into_problem(),
            TokenError::TooLong => {
                return Self::new(
                    ProblemKind::FailedPrecondition,
                    "TOKEN_TOO_LONG",
                    error.to_string(),
                )
                .remedy("attenuate an earlier token, or ask for a grant of its own");
            }
            TokenError::Capabilities => "make more than one token",
            TokenError::NoExpiry => "add an expiry",
        };
        Self::invalid("INVALID_CAPABILITY", "capabilities", &error.to_string()).remedy(remedy)
    }
}

impl Authority {
    /// Signs a token for some capabilities. Whether they may be granted is the caller's business:
    /// see [`crate::Grants::derive`].
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn mint_token(&self, capabilities: &[Capability]) -> Result<Minted, TokenError> {
        if !capabilities.iter().all(|c| c.constraints().expires_at_unix_s().is_some()) {
            return Err(TokenError::NoExpiry);
        }
        let block = block(capabilities)?;
        let token = Biscuit::builder().merge(block).build(self.key()).map_err(TokenError::Sign)?;
        minted(token.to_base64(), &token.revocation_identifiers())
    }

    /// Reads a token and checks its signatures. The answer stays true for ever, so that it can be
    /// kept; whether the token is in force is decided with each request.
    ///
    /// # Errors
    /// [`Denial`]: it is not a token of this node, or not one that carries capabilities.
    pub fn verify_token(&self, token: &str) -> Result<Token, Denial> {
        check_length(token)?;
        contain_panic(|| {
            let biscuit = self.read(token)?;
            let source = |index| biscuit.print_block_source(index);
            read_links(&biscuit.revocation_identifiers(), source)
        })
    }
}

/// Narrows a token: the answer allows what the token allows and one of `capabilities` allows too.
/// Needs no key and nobody's consent. The id of the answer can be revoked by itself.
///
/// # Errors
/// [`TokenError`].
pub fn attenuate(token: &str, capabilities: &[Capability]) -> Result<Minted, TokenError> {
    let block = block(capabilities)?;
    let token = contain_panic(|| read_unverified(token)).map_err(TokenError::NotAttenuable)?;
    if token.block_count() >= BLOCKS_MAX {
        return Err(TokenError::TooLong);
    }
    let token = token.append(block).map_err(|_| {
        TokenError::NotAttenuable(Denial::Malformed { what: "it is sealed or incomplete" })
    })?;
    minted(token.to_base64(), &token.revocation_identifiers())
}

/// Tells what a token says, without checking that anybody vouches for it. For people to look at,
/// never to decide on.
///
/// # Errors
/// [`Denial`]: it cannot be read.
pub fn inspect(token: &str) -> Result<Token, Denial> {
    contain_panic(|| {
        let token = read_unverified(token)?;
        read_links(&token.revocation_identifiers(), |index| token.print_block_source(index))
    })
}

fn check_length(token: &str) -> Result<(), Denial> {
    if token.len() > TOKEN_CHARS_MAX {
        return Err(Denial::Malformed { what: "it has more than 16,384 characters" });
    }
    Ok(())
}

fn read_unverified(token: &str) -> Result<UnverifiedBiscuit, Denial> {
    check_length(token)?;
    let token = UnverifiedBiscuit::from_base64(token)
        .map_err(|_| Denial::Malformed { what: "it is no Biscuit" })?;
    if token.block_count() > BLOCKS_MAX {
        return Err(Denial::TooComplex { what: "it has more than 32 blocks" });
    }
    Ok(token)
}

fn minted(token: Result<String, error::Token>, ids: &[Vec<u8>]) -> Result<Minted, TokenError> {
    let token = token.map_err(TokenError::Sign)?;
    if token.len() > TOKEN_CHARS_MAX {
        return Err(TokenError::TooLong);
    }
    Ok(Minted { token, id: ids.last().map(|id| hex(id)).unwrap_or_default() })
}

fn block(capabilities: &[Capability]) -> Result<BlockBuilder, TokenError> {
    if !(1..=CAPABILITIES_MAX).contains(&capabilities.len()) {
        return Err(TokenError::Capabilities);
    }
    let says = |capability: &Capability| -> Fact {
        let text: Term = string(&capability.to_string());
        fact(FACT, &[text])
    };
    let add = |block: BlockBuilder, capability| block.fact(says(capability));
    capabilities.iter().try_fold(BlockBuilder::new(), add).map_err(TokenError::Sign)
}

/// Reads all blocks. `source`: the text of a block, as the library writes it.
fn read_links(
    ids: &[Vec<u8>],
    source: impl Fn(usize) -> Result<String, error::Token>,
) -> Result<Token, Denial> {
    let unreadable = Denial::Malformed { what: "one of its blocks cannot be read" };
    let mut links: Vec<Arc<Link>> = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        if id.len() != ID_BYTES {
            return Err(Denial::NotCapabilities { what: "a block is not signed with Ed25519" });
        }
        let text = source(index).map_err(|_| unreadable.clone())?;
        let capabilities = read_block(&text)?;
        let id = GrantId::new(&hex(id)).map_err(|_| unreadable.clone())?;
        let account = links.first().map_or_else(|| id.clone(), |first| first.id().clone());
        let link = Link::attenuation(id, account, capabilities).map_err(|_| unreadable.clone())?;
        links.push(Arc::new(link));
    }
    if links.is_empty() {
        return Err(unreadable);
    }
    Ok(Token { links })
}

/// Reads the text of a block: lines `capability("TEXT");`.
///
/// The library does not escape what stands between the quotes. No legal capability contains a quote
/// or a line's end, so that what does is refused, and whoever wrote the block can at most say in two
/// ways what they could have said in one. A text may stand for many facts, so that the longest legal
/// token can take a few milliseconds, and not more.
fn read_block(text: &str) -> Result<Vec<Capability>, Denial> {
    let mut capabilities = Vec::new();
    for line in text.lines() {
        let capability = line
            .strip_prefix("capability(\"")
            .and_then(|rest| rest.strip_suffix("\");"))
            .ok_or(Denial::NotCapabilities { what: "a block contains something else" })?;
        if capabilities.len() >= CAPABILITIES_MAX {
            return Err(Denial::NotCapabilities { what: "a block has more than 16 of them" });
        }
        let capability = capability
            .parse()
            .map_err(|_| Denial::NotCapabilities { what: "one of them is not legal" })?;
        capabilities.push(capability);
    }
    if capabilities.is_empty() {
        return Err(Denial::NotCapabilities { what: "a block has none" });
    }
    Ok(capabilities)
}
