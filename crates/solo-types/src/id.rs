//! Ids. They carry the node that made them, so that they stay unique when nodes join.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct IdError {
    /// What was given.
    pub text: String,
    /// What would have been right.
    pub expected: &'static str,
}

/// A node: drawn at random when its home is made, written as 8 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NodeId(pub u32);

/// A service on the node that made it. Never used again, also after the service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ServiceId {
    /// Where it was made.
    pub node: NodeId,
    /// Counts up from 1.
    pub number: u64,
}

/// An instance of a service. Stays the same over restarts; an update makes new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct InstanceId {
    /// Whose instance it is.
    pub service: ServiceId,
    /// Counts up from 1 within the service.
    pub number: u64,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.node, self.number)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.number)
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError { text: text.to_owned(), expected: "a node id (8 hex digits)" };
        if text.len() != 8 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        u32::from_str_radix(text, 16).map(NodeId).map_err(|_| wrong())
    }
}

impl FromStr for ServiceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError { text: text.to_owned(), expected: "a service id (NODE-SERVICE)" };
        let (node, number) = text.split_once('-').ok_or_else(wrong)?;
        Ok(ServiceId {
            node: node.parse().map_err(|_| wrong())?,
            number: number.parse().map_err(|_| wrong())?,
        })
    }
}

impl FromStr for InstanceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong =
            || IdError { text: text.to_owned(), expected: "an instance id (NODE-SERVICE-NUMBER)" };
        let (service, number) = text.rsplit_once('-').ok_or_else(wrong)?;
        Ok(InstanceId {
            service: service.parse().map_err(|_| wrong())?,
            number: number.parse().map_err(|_| wrong())?,
        })
    }
}

macro_rules! string_form {
    ($($id:ty),*) => {$(
        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.to_string()
            }
        }
        impl TryFrom<String> for $id {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
    )*};
}
string_form!(NodeId, ServiceId, InstanceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let service = ServiceId { node: NodeId(0xbeef), number: 7 };
        let instance = InstanceId { service, number: 12 };
        assert_eq!(instance.to_string(), "0000beef-7-12");
        assert_eq!(instance.to_string().parse(), Ok(instance));
        assert_eq!(service.to_string().parse(), Ok(service));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "-", "1-2-3", "0000beef", "0000beef-x", "0000BEEF-1-1", "0000beef-1-1-1"] {
            assert!(text.parse::<InstanceId>().is_err(), "{text}");
        }
    }
}
