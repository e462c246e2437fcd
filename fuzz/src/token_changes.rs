//! Real tokens, changed by whoever holds them: text and bytes flipped, put in and left out; blocks
//! dropped, repeated, exchanged and taken from another token; signatures in another form; blocks that
//! claim more appended, and blocks that are no capabilities.
//!
//! The promise: what is taken for a token goes on from a token that the attacker was given. It begins
//! with all links of that one, so that what it was narrowed to and what revokes it stay, and it allows
//! nothing that this one does not.

use arbitrary::Arbitrary;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use biscuit_auth::builder::{BlockBuilder, fact, string};
use biscuit_auth::format::schema;
use biscuit_auth::{KeyPair, UnverifiedBiscuit};
use prost_of_biscuit::Message as _;
use solo_capability::{Capability, attenuate};

use crate::samples::{AUTHORITY, Drawn, assert_never_wider, chain};

/// Attenuations of a token before it is attacked.
const BLOCKS_MAX: usize = 3;

/// Capabilities of a block.
const CAPABILITIES_MAX: usize = 3;

/// Steps of an attack.
const CHANGES_MAX: usize = 6;

/// The order of the group that Ed25519 signs in, least byte first. A signature with it added to its
/// second half fits the same text for who does not look closely, and would be another id.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// What a holder can write with any library for Biscuits.
const CODE: [&str; 8] = [
    r#"check if right("call")"#,
    "check if true",
    "reject if true",
    r#"capability("read,call,kill,grant service:*/*") <- capability($x)"#,
    r#"capability("read,call,kill,grant service:*/*"); capability("read,execute kernel:*")"#,
    r#"capability("call service:a/x", "kill")"#,
    r#"granted_right("kill"); granted_service("0000beef-1")"#,
    "trusting authority, previous; check if true",
];

/// What the attacker was given, and what they do with it.
#[derive(Debug, Arbitrary)]
pub struct Attack {
    first: Given,
    second: Given,
    changes: Vec<Change>,
}

/// A token as its holder got it. They do not have the ones that it was made from.
#[derive(Debug, Arbitrary)]
struct Given {
    minted: Vec<Drawn>,
    attenuations: Vec<Vec<Drawn>>,
}

/// One step. Blocks are counted from the first one, which Solo signed; what is out of range wraps.
#[derive(Debug, Arbitrary)]
enum Change {
    /// Of the text.
    SetCharacter {
        at: u16,
        to: u8,
    },
    InsertCharacter {
        at: u16,
        character: u8,
    },
    /// Of the bytes under the text.
    FlipBits {
        at: u16,
        bits: u8,
    },
    InsertByte {
        at: u16,
        byte: u8,
    },
    RemoveBytes {
        at: u16,
        count: u8,
    },
    /// Of the envelope.
    DropBlock {
        at: u8,
    },
    RepeatBlock {
        at: u8,
    },
    SwapBlocks {
        one: u8,
        other: u8,
    },
    TakeBlock {
        from: u8,
        to: u8,
    },
    TakeProof,
    TakeKey {
        from: u8,
        to: u8,
    },
    TakeSignature {
        from: u8,
        to: u8,
    },
    OtherFormOfSignature {
        at: u8,
    },
    SetVersion {
        at: u8,
        version: Option<u32>,
    },
    SetAlgorithm {
        at: u8,
        algorithm: i8,
    },
    SetRootKey {
        id: Option<u32>,
    },
    Seal,
    /// Signed with the key that every holder has.
    Attenuate {
        capabilities: Vec<Drawn>,
    },
    AppendTexts {
        texts: Vec<String>,
    },
    AppendCode {
        which: u8,
    },
    AppendOfThirdParty {
        capabilities: Vec<Drawn>,
    },
}

impl Change {
    fn takes_from_another(&self) -> bool {
        matches!(
            self,
            Self::TakeBlock { .. }
                | Self::TakeProof
                | Self::TakeKey { .. }
                | Self::TakeSignature { .. }
        )
    }
}

/// Carries an attack out and looks at what it came to.
pub fn check(attack: &Attack) {
    let changes = || attack.changes.iter().take(CHANGES_MAX);
    let first = given(&attack.first);
    // Signing takes most of the time: no second one where nothing is taken from it.
    let second = match changes().any(Change::takes_from_another) {
        true => given(&attack.second),
        false => first.clone(),
    };
    let mut text = first.clone();
    for change in changes() {
        if let Some(changed) = carry_out(change, &text, &second) {
            text = changed;
        }
    }
    let Ok(token) = AUTHORITY.verify_token(&text) else {
        assert_ne!(text, first, "what was not changed is refused");
        return;
    };
    let token = chain(&token);
    let given = [first, second].map(|text| AUTHORITY.verify_token(&text).expect("as it was made"));
    let given = given.each_ref().map(chain);
    let from = given.iter().find(|given| token.links().starts_with(given.links()));
    let Some(from) = from else { panic!("it goes on from nothing that was given: {token:?}") };
    assert_never_wider(&token, &[from]);
}

fn given(given: &Given) -> String {
    let draw = |drawn: &[Drawn], with_expiry| -> Vec<Capability> {
        let drawn = drawn.iter().take(CAPABILITIES_MAX);
        let mut all: Vec<Capability> = drawn.map(|drawn| drawn.capability(with_expiry)).collect();
        if all.is_empty() {
            all.push("read service:a/x until=1800000020".parse().expect("legal"));
        }
        all
    };
    let minted = AUTHORITY.mint_token(&draw(&given.minted, true)).expect("can be minted");
    let blocks = given.attenuations.iter().take(BLOCKS_MAX);
    blocks.fold(minted.token, |text, block| {
        attenuate(&text, &draw(block, false)).expect("can be attenuated").token
    })
}

/// The text after a step; none where it makes no sense for what is left of the token.
fn carry_out(change: &Change, text: &str, other: &str) -> Option<String> {
    match change {
        Change::SetCharacter { .. } | Change::InsertCharacter { .. } => {
            Some(change_text(change, text))
        }
        Change::FlipBits { .. } | Change::InsertByte { .. } | Change::RemoveBytes { .. } => {
            let mut bytes = URL_SAFE.decode(text).ok()?;
            change_bytes(change, &mut bytes)?;
            Some(URL_SAFE.encode(bytes))
        }
        Change::Seal
        | Change::Attenuate { .. }
        | Change::AppendTexts { .. }
        | Change::AppendCode { .. }
        | Change::AppendOfThirdParty { .. } => append(change, text),
        _ => {
            let read = |text: &str| schema::Biscuit::decode(&*URL_SAFE.decode(text).ok()?).ok();
            let (mut token, other) = (read(text)?, read(other)?);
            change_envelope(change, &mut token, &other)?;
            Some(URL_SAFE.encode(token.encode_to_vec()))
        }
    }
}

fn change_text(change: &Change, text: &str) -> String {
    const CHARACTERS: &[u8] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ";
    let character = |number: &u8| char::from(CHARACTERS[usize::from(*number) % CHARACTERS.len()]);
    let mut characters: Vec<char> = text.chars().collect();
    let place = |at: &u16, places: usize| usize::from(*at) % places.max(1);
    match change {
        Change::SetCharacter { at, to } => {
            let at = place(at, characters.len());
            characters.splice(at..at + 1, [character(to)]);
        }
        Change::InsertCharacter { at, character: number } => {
            characters.insert(place(at, characters.len() + 1), character(number));
        }
        _ => {}
    }
    characters.into_iter().collect()
}

fn change_bytes(change: &Change, bytes: &mut Vec<u8>) -> Option<()> {
    let place = |at: &u16, places: usize| usize::from(*at).checked_rem(places);
    match change {
        Change::FlipBits { at, bits } => {
            let at = place(at, bytes.len())?;
            bytes[at] ^= bits;
        }
        Change::InsertByte { at, byte } => bytes.insert(place(at, bytes.len() + 1)?, *byte),
        Change::RemoveBytes { at, count } => {
            let at = place(at, bytes.len())?;
            let end = bytes.len().min(at + usize::from(*count));
            bytes.drain(at..end);
        }
        _ => {}
    }
    Some(())
}

fn change_envelope(
    change: &Change,
    token: &mut schema::Biscuit,
    other: &schema::Biscuit,
) -> Option<()> {
    let mut blocks: Vec<schema::SignedBlock> =
        std::iter::once(token.authority.clone()).chain(token.blocks.clone()).collect();
    let others: Vec<&schema::SignedBlock> =
        std::iter::once(&other.authority).chain(&other.blocks).collect();
    let count = blocks.len();
    let own = |at: &u8| usize::from(*at) % count;
    let others = |at: &u8| others[usize::from(*at) % others.len()].clone();
    match change {
        Change::DropBlock { at } => drop(blocks.remove(own(at))),
        Change::RepeatBlock { at } => blocks.insert(own(at), blocks[own(at)].clone()),
        Change::SwapBlocks { one, other } => blocks.swap(own(one), own(other)),
        Change::TakeBlock { from, to } => blocks[own(to)] = others(from),
        Change::TakeProof => token.proof = other.proof.clone(),
        Change::TakeKey { from, to } => blocks[own(to)].next_key = others(from).next_key,
        Change::TakeSignature { from, to } => blocks[own(to)].signature = others(from).signature,
        Change::OtherFormOfSignature { at } => add_order(&mut blocks[own(at)].signature)?,
        Change::SetVersion { at, version } => blocks[own(at)].version = *version,
        Change::SetAlgorithm { at, algorithm } => {
            blocks[own(at)].next_key.algorithm = i32::from(*algorithm);
        }
        Change::SetRootKey { id } => token.root_key_id = *id,
        _ => {}
    }
    let mut blocks = blocks.into_iter();
    token.authority = blocks.next()?;
    token.blocks = blocks.collect();
    Some(())
}

/// Adds the order of the group to the number in the second half of a signature.
fn add_order(signature: &mut [u8]) -> Option<()> {
    let mut carry = 0;
    for (byte, add) in signature.get_mut(32..64)?.iter_mut().zip(GROUP_ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    Some(())
}

fn append(change: &Change, text: &str) -> Option<String> {
    let draw = |drawn: &[Drawn]| -> Vec<Capability> {
        drawn.iter().take(CAPABILITIES_MAX).map(|drawn| drawn.capability(false)).collect()
    };
    if let Change::Attenuate { capabilities } = change {
        return Some(attenuate(text, &draw(capabilities)).ok()?.token);
    }
    let token = UnverifiedBiscuit::from_base64(text).ok()?;
    let texts = |texts: &[String]| {
        let add =
            |block: BlockBuilder, text: &String| block.fact(fact("capability", &[string(text)]));
        texts.iter().take(CAPABILITIES_MAX).try_fold(BlockBuilder::new(), add).ok()
    };
    let token = match change {
        Change::AppendTexts { texts: said } => token.append(texts(said)?),
        Change::AppendCode { which } => {
            let code = CODE[usize::from(*which) % CODE.len()];
            token.append(BlockBuilder::new().code(code).ok()?)
        }
        Change::AppendOfThirdParty { capabilities } => {
            let said: Vec<String> = draw(capabilities).iter().map(ToString::to_string).collect();
            let request = token.third_party_request().ok()?;
            let block = request.create_block(&KeyPair::new().private(), texts(&said)?).ok()?;
            token.append_third_party(&block.serialize().ok()?)
        }
        _ => token.seal(),
    };
    token.ok()?.to_base64().ok()
}
