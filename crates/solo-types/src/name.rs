//! Names of services, secrets and tenants.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Problem;

/// Longest name, in characters: the length of a DNS label, because names become host names.
const NAME_CHARS_MAX: usize = 63;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `name`.
            ///
            /// # Errors
            /// A [`Problem`] with reason `INVALID_NAME`, field `name` and the rule that it breaks.
            pub fn new(name: &str) -> Result<Self, Problem> {
                check(name).map(|()| Self(name.to_owned()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Problem;

            fn try_from(name: String) -> Result<Self, Problem> {
                Self::new(&name)
            }
        }
    )+};
}

names! {
    /// A legal service name: 1 to 63 of `a-z`, `0-9` and `-`, first a letter, last not `-`.
    ///
    /// Case, Unicode forms, dots and slashes do not exist in names, so that two names that look alike
    /// are the same name, and a name is safe as part of a path or a host name.
    ServiceName

    /// A legal name of a secret. The rules are those of [`ServiceName`].
    SecretName

    /// A legal name of a volume. The rules are those of [`ServiceName`].
    VolumeName

    /// A legal name of a tenant. The rules are those of [`ServiceName`].
    TenantName
}

fn check(name: &str) -> Result<(), Problem> {
    let rule = if name.is_empty() {
        "it is empty"
    } else if name.chars().count() > NAME_CHARS_MAX {
        "it has more than 63 characters"
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "its first character is not a lower-case letter"
    } else if let Some(c) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(refuse(&format!("it contains {c:?}")));
    } else if name.ends_with('-') {
        "its last character is `-`"
    } else {
        return Ok(());
    };
    Err(refuse(rule))
}

fn refuse(rule: &str) -> Problem {
    Problem::invalid("INVALID_NAME", "name", &format!("the name is not legal: {rule}"))
        .remedy("use 1 to 63 lower-case letters, digits and `-`, first a letter, last not `-`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_legal_names() {
        for name in ["a", "counter", "a-1", "a--b", &"x".repeat(63)] {
            assert!(ServiceName::new(name).is_ok() && SecretName::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for name in
            ["", "../x", "A", "1a", "-a", "a-", "a b", "a/b", "ä", "a\n", "a.b", &"x".repeat(300)]
        {
            let problem = ServiceName::new(name).expect_err(name);
            assert_eq!(SecretName::new(name).expect_err(name), problem);
            assert_eq!(TenantName::new(name).expect_err(name), problem);
            assert_eq!(problem.reason, "INVALID_NAME");
            assert_eq!(problem.fields[0].field, "name");
        }
    }
}
