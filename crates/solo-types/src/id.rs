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
///
/// Children that an instance starts have ids of their own, `NODE-SERVICE-NUMBER.CHILD`, and theirs
/// `NODE-SERVICE-NUMBER.CHILD.CHILD`. They are no instances of this kind: only their parent and their
/// cell know them. [`InstanceId::of_tree`] finds whose they are.
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

impl InstanceId {
    /// The instance at the root of a tree of children: of an instance itself, of a child the one that
    /// all its ancestors were started by.
    ///
    /// # Errors
    /// [`IdError`]: it is neither.
    pub fn of_tree(text: &str) -> Result<Self, IdError> {
        let (root, children) = text.split_once('.').map_or((text, None), |(r, c)| (r, Some(c)));
        let is_number = |part: &str| part.parse::<u64>().is_ok();
        if children.is_some_and(|children| !children.split('.').all(is_number)) {
            let expected = "the id of an instance or of a child (NODE-SERVICE-NUMBER.CHILD)";
            return Err(IdError { text: text.to_owned(), expected });
        }
        root.parse()
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
    fn a_child_is_no_instance_but_belongs_to_one() {
        let root =
            InstanceId { service: ServiceId { node: NodeId(0xbeef), number: 7 }, number: 12 };
        for child in ["0000beef-7-12.1", "0000beef-7-12.3.20.1"] {
            assert!(child.parse::<InstanceId>().is_err(), "{child}");
            assert_eq!(InstanceId::of_tree(child), Ok(root));
        }
        assert_eq!(InstanceId::of_tree("0000beef-7-12"), Ok(root));
        for text in ["", "0000beef-7", "0000beef-7-12.", "0000beef-7-12.x", "0000beef-7-1..2", ".1"]
        {
            assert!(InstanceId::of_tree(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "-", "1-2-3", "0000beef", "0000beef-x", "0000BEEF-1-1", "0000beef-1-1-1"] {
            assert!(text.parse::<InstanceId>().is_err(), "{text}");
        }
    }
}
