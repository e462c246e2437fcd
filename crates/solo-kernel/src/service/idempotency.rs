//! Idempotency keys: the same request is answered once, and the same again.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use solo_api::CodeSource;
use solo_types::{Problem, ProblemKind};

use crate::clock;
use crate::kernel::Kernel;
use crate::store::{self, IdempotencyRow};
use crate::tenants::Tenant;

/// A key that is being worked on. Free again when dropped.
#[derive(Debug)]
pub(crate) struct KeyUnderWay {
    kernel: Arc<Kernel>,
    key: String,
}

impl Drop for KeyUnderWay {
    fn drop(&mut self) {
        self.kernel.keys_under_way.lock().remove(&self.key);
    }
}

/// What is known of an idempotency key.
pub(crate) enum Known<T> {
    /// The request was answered before, like this.
    Answered(T),
    /// It is new; hold on to this while it is worked on.
    New(Option<KeyUnderWay>),
}

/// What a request with an idempotency key asks for, as a hash; empty without a key, as nobody compares it
/// then. `rest` tells all but the bytes of inline code.
///
/// The checked form is taken, as maps are encoded in any order. The key may be part of it: it is the same
/// for the requests that are compared.
pub(crate) fn fingerprint(
    key: &str,
    code: Option<&CodeSource>,
    rest: fmt::Arguments<'_>,
) -> Result<String, Problem> {
    if key.is_empty() {
        return Ok(String::new());
    }
    let mut hasher = blake3::Hasher::new();
    if let Some(CodeSource::Inline { bytes, .. }) = code {
        hasher.update(bytes);
    }
    let hashed = hasher.write_fmt(rest);
    hashed.map_err(|error| Problem::internal(format!("a request cannot be hashed: {error}")))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Looks an idempotency key up. An empty one is always new.
pub(crate) async fn look_up_key<T: for<'a> Deserialize<'a>>(
    kernel: &Arc<Kernel>,
    key: &str,
    fingerprint: &str,
) -> Result<Known<T>, Problem> {
    if key.is_empty() {
        return Ok(Known::New(None));
    }
    if !kernel.keys_under_way.lock().insert(key.to_owned()) {
        return Err(Problem::new(
            ProblemKind::Aborted,
            "IDEMPOTENCY_KEY_BUSY",
            "a request with this idempotency key is under way",
        )
        .remedy("wait, then send the same request again to get its answer"));
    }
    let under_way = KeyUnderWay { kernel: Arc::clone(kernel), key: key.to_owned() };
    let (wanted, now) = (key.to_owned(), clock::unix_ms());
    let Some(row) = kernel.store.run(move |t| store::find_idempotent(t, &wanted, now)).await?
    else {
        return Ok(Known::New(Some(under_way)));
    };
    if row.fingerprint != fingerprint {
        return Err(Problem::new(
            ProblemKind::AlreadyExists,
            "IDEMPOTENCY_KEY_REUSED",
            "this idempotency key was used for another request",
        )
        .remedy("use a fresh key for each request")
        .field("idempotency_key"));
    }
    serde_json::from_slice(&row.response)
        .map(Known::Answered)
        .map_err(|error| Problem::internal(format!("a kept answer cannot be read: {error}")))
}

/// The row that remembers an answer; none without a key.
pub(crate) fn answer_row<T: Serialize>(
    key: &str,
    fingerprint: &str,
    answer: &T,
) -> Result<Option<IdempotencyRow>, Problem> {
    if key.is_empty() {
        return Ok(None);
    }
    let response =
        serde_json::to_vec(answer).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(Some(IdempotencyRow {
        key: key.to_owned(),
        fingerprint: fingerprint.to_owned(),
        response,
        at: clock::unix_ms(),
    }))
}

/// A key counts within its tenant only: what others have sent is nobody's business.
pub(crate) fn tenant_key(tenant: &Tenant, key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{}/{key}", tenant.name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_other_code_or_words_are_others() {
        let inline = |bytes: &[u8]| CodeSource::Inline { bytes: bytes.to_vec(), format: "wasm" };
        let print = |code: &CodeSource, words: &str| {
            fingerprint("key", Some(code), format_args!("{code:?} {words}")).expect("hashed")
        };
        let one = print(&inline(b"code"), "a");
        assert_eq!(one, print(&inline(b"code"), "a"));
        for (code, words) in [(inline(b"coda"), "a"), (inline(b"code"), "b"), (inline(b""), "a")] {
            assert_ne!(one, print(&code, words), "{code:?} {words}");
        }
        assert_eq!(fingerprint("", None, format_args!("a")).expect("none"), "");
    }
}
