//! The form of the report. Names and states are stable: scripts read them.

use serde::{Deserialize, Serialize};

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There, and as Solo wants it.
    Available,
    /// Not there.
    Missing,
    /// There, but less than Solo could use.
    Limited,
    /// This process cannot find out.
    Unknown,
}

/// One thing that the machine offers or lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Stable name: `landlock`.
    pub name: String,
    /// Whether it is there.
    pub state: State,
    /// What was found, for people.
    pub detail: String,
    /// What an operator can do; `None` for what is available.
    pub remedy: Option<String>,
}

/// All items, in the order of a top-down reading: machine, isolation, resources, tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Each name once.
    pub items: Vec<Item>,
}

impl Report {
    /// Finds an item by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.name == name)
    }
}

impl State {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Missing => "missing",
            Self::Limited => "limited",
            Self::Unknown => "unknown",
        }
    }
}

impl Item {
    pub(crate) fn available(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state: State::Available, detail: detail.into(), remedy: None }
    }

    pub(crate) fn missing(name: &str, detail: impl Into<String>, remedy: &str) -> Self {
        Self::other(name, State::Missing, detail, remedy)
    }

    pub(crate) fn limited(name: &str, detail: impl Into<String>, remedy: &str) -> Self {
        Self::other(name, State::Limited, detail, remedy)
    }

    pub(crate) fn unknown(name: &str, detail: impl Into<String>, remedy: &str) -> Self {
        Self::other(name, State::Unknown, detail, remedy)
    }

    fn other(name: &str, state: State, detail: impl Into<String>, remedy: &str) -> Self {
        Self {
            name: name.to_owned(),
            state,
            detail: detail.into(),
            remedy: Some(remedy.to_owned()),
        }
    }
}
