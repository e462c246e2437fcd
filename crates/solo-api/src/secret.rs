//! Secrets on the wire: what may be asked for, and messages that show no value and wipe it at their end.
//!
//! What the transport holds of a message on its way (buffers of gRPC and of the sockets) is freed
//! without being wiped: that is not ours to reach.

use std::collections::BTreeSet;
use std::fmt;

use solo_types::{Problem, SecretName, SecretReference, bounds};
use zeroize::Zeroize as _;

use crate::{cell, v1};

impl fmt::Debug for v1::SetSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetSecretRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for v1::SetSecretRequest {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl fmt::Debug for cell::v1::Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for cell::v1::Secret {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// Takes the value out of a request that sets it; the caller sees to it that it is wiped.
///
/// # Errors
/// Reasons `INVALID_SECRET` (it is empty) and `SECRET_TOO_LARGE`.
pub fn secret_value(request: &mut v1::SetSecretRequest) -> Result<Vec<u8>, Problem> {
    let (bytes, max) = (request.value.len(), bounds::SECRET_BYTES_MAX);
    if bytes == 0 {
        return Err(Problem::invalid("INVALID_SECRET", "value", "the value is empty")
            .remedy("send the value; to forget a secret, remove it"));
    }
    if bytes > max {
        let rule = format!("the value has {bytes} bytes, the limit is {max}");
        return Err(Problem::invalid("SECRET_TOO_LARGE", "value", &rule)
            .remedy("keep a key in the secret, and what it encrypts elsewhere"));
    }
    Ok(std::mem::take(&mut request.value))
}

/// Checks the secrets that a service asks for.
///
/// # Errors
/// Reasons `TOO_MANY_SECRETS`, `INVALID_NAME` and `INVALID_SECRET_KEY`, with the field.
pub fn secret_references(
    messages: Vec<v1::SecretReference>,
) -> Result<Vec<SecretReference>, Problem> {
    if messages.len() > bounds::SECRETS_PER_SERVICE_MAX {
        let rule =
            format!("a service is given at most {} secrets", bounds::SECRETS_PER_SERVICE_MAX);
        return Err(Problem::invalid("TOO_MANY_SECRETS", "secrets", &rule));
    }
    let mut keys = BTreeSet::new();
    let mut references = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        let secret = SecretName::new(&message.secret).map_err(|mut problem| {
            problem.fields[0].field = format!("secrets[{index}].secret");
            problem
        })?;
        let key = if message.key.is_empty() { secret.to_string() } else { message.key };
        let field = format!("secrets[{index}].key");
        let wrong = |rule: &str| Err(Problem::invalid("INVALID_SECRET_KEY", &field, rule));
        if key.len() > bounds::CONFIG_KEY_BYTES_MAX || key.chars().any(char::is_control) {
            return wrong("the key of a secret has at most 128 bytes and no control characters");
        }
        if !keys.insert(key.clone()) {
            return wrong("two secrets have this key");
        }
        references.push(SecretReference { secret, key });
    }
    Ok(references)
}

/// The secrets that a service is given, on the wire.
#[must_use]
pub fn secret_references_messages(references: &[SecretReference]) -> Vec<v1::SecretReference> {
    let message = |reference: &SecretReference| v1::SecretReference {
        secret: reference.secret.to_string(),
        key: reference.key.clone(),
    };
    references.iter().map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(secret: &str, key: &str) -> v1::SecretReference {
        v1::SecretReference { secret: secret.into(), key: key.into() }
    }

    #[test]
    fn references_are_checked_one_by_one() {
        let read = secret_references(vec![reference("db", ""), reference("db", "Old Key")]);
        let read = read.expect("legal");
        assert_eq!((read[0].key.as_str(), read[1].key.as_str()), ("db", "Old Key"));
        assert_eq!(secret_references_messages(&read)[0], reference("db", "db"));
        let many = vec![reference("db", ""); bounds::SECRETS_PER_SERVICE_MAX + 1];
        for (messages, reason, field) in [
            (many, "TOO_MANY_SECRETS", "secrets"),
            (vec![reference("../x", "")], "INVALID_NAME", "secrets[0].secret"),
            (vec![reference("", "key")], "INVALID_NAME", "secrets[0].secret"),
            (vec![reference("a", "b"), reference("b", "")], "INVALID_SECRET_KEY", "secrets[1].key"),
            (vec![reference("a", "x\n")], "INVALID_SECRET_KEY", "secrets[0].key"),
            (vec![reference("a", &"x".repeat(129))], "INVALID_SECRET_KEY", "secrets[0].key"),
        ] {
            let problem = secret_references(messages).expect_err(reason);
            assert_eq!(
                (problem.reason.as_str(), problem.fields[0].field.as_str()),
                (reason, field)
            );
        }
    }

    #[test]
    fn values_have_their_size_and_leave_the_request() {
        let request = |bytes| v1::SetSecretRequest { name: "db".into(), value: vec![7; bytes] };
        let mut largest = request(bounds::SECRET_BYTES_MAX);
        assert_eq!(secret_value(&mut largest).expect("legal").len(), bounds::SECRET_BYTES_MAX);
        assert!(largest.value.is_empty());
        for (bytes, reason) in
            [(0, "INVALID_SECRET"), (bounds::SECRET_BYTES_MAX + 1, "SECRET_TOO_LARGE")]
        {
            assert_eq!(secret_value(&mut request(bytes)).expect_err(reason).reason, reason);
        }
    }

    #[test]
    fn messages_show_no_value() {
        let request = v1::SetSecretRequest { name: "db".into(), value: b"hunter2".to_vec() };
        let secret = cell::v1::Secret { key: "key".into(), value: b"hunter2".to_vec() };
        let spec = cell::v1::ServiceSpec { secrets: vec![secret], ..Default::default() };
        let shown = format!("{request:?} {spec:?}");
        assert!(shown.contains("db") && shown.contains("\"key\""), "{shown}");
        // As text, and as Rust shows bytes.
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }
}
