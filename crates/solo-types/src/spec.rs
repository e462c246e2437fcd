//! Specifications: what a service should be.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Limits, Mount, Problem, Program, RestartPolicy, SecretName, ServiceName};

/// BLAKE3 digest of an artifact, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || {
            Problem::invalid("INVALID_DIGEST", "digest", "a digest is 64 lower-case hex digits")
                .remedy("use the digest that UploadArtifact or Deploy answered with")
        };
        let bytes = text.as_bytes();
        if bytes.len() != 64 || !bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

/// What kind of interface the code has; the compiler cell finds it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// Exports `solo:service/handler`.
    Handler,
    /// A component with typed functions.
    Typed,
    /// Runs to completion.
    Command,
    /// A core module with numeric functions.
    Core,
    /// An external program: any executable, in a cell of its own.
    Process,
    /// Source text that the runtime of its language runs.
    Source,
}

/// How a service is scheduled and who may end it (SPEC S1). Ordered by what it takes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Best effort.
    #[default]
    User,
    /// Only the owner deploys, updates and ends it.
    System,
}

impl Tier {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// One right on one object. Which rights an object has is the business of `solo-capability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Status and watch.
    Read,
    /// Call functions.
    Call,
    /// Send messages.
    Send,
    /// End it.
    Kill,
    /// Start children from its code; carry out an operation of the kernel.
    Execute,
    /// Change what it holds: a volume, a secret, the store of artifacts.
    Write,
    /// Make it: a service under this name.
    Deploy,
    /// Replace its code or its settings.
    Update,
    /// Pass on the other rights that one has on it.
    Grant,
    /// Open connections to it.
    Connect,
}

impl Right {
    /// All rights that exist so far.
    pub const ALL: [Right; 10] = [
        Right::Read,
        Right::Call,
        Right::Send,
        Right::Kill,
        Right::Execute,
        Right::Write,
        Right::Deploy,
        Right::Update,
        Right::Grant,
        Right::Connect,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Call => "call",
            Self::Send => "send",
            Self::Kill => "kill",
            Self::Execute => "execute",
            Self::Write => "write",
            Self::Deploy => "deploy",
            Self::Update => "update",
            Self::Grant => "grant",
            Self::Connect => "connect",
        }
    }
}

/// A set of rights, sorted and without repetition.
pub type Rights = std::collections::BTreeSet<Right>;

/// What a service may do to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The object.
    pub service: ServiceName,
    /// `call`, `send` and `execute`.
    pub rights: Rights,
}

/// A secret that a service is given: which, and under what key it finds it. Never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretReference {
    /// Name of the secret.
    pub secret: SecretName,
    /// What the service asks for.
    pub key: String,
}

/// A question put to each instance at intervals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Exported function; empty for `handle-call` with an empty payload.
    pub function: String,
    /// Between two checks.
    pub interval_ms: u64,
    /// For an answer.
    pub timeout_ms: u64,
    /// Failures in a row that end the instance.
    pub failures_max: u32,
}

/// One parameter of an exported function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its WIT type.
    pub type_: String,
}

/// One exported function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Full name, `INTERFACE#FUNCTION` or `FUNCTION`.
    pub name: String,
    /// In WIT syntax.
    pub signature: String,
    /// In order.
    pub parameters: Vec<Parameter>,
    /// WIT type; empty for none.
    pub result: String,
}

/// One revision of a service: everything that a cell must know to run it, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// Whose it is.
    pub tenant: String,
    /// Its code.
    pub digest: Digest,
    /// What the code is.
    pub kind: ServiceKind,
    /// A core module rather than a component.
    pub core_module: bool,
    /// Instances side by side.
    pub replicas: u32,
    /// Per instance.
    pub limits: Limits,
    /// When an instance ends.
    pub restart: RestartPolicy,
    /// None: no checks.
    pub health_check: Option<HealthCheck>,
    /// For `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Scheduling and protection.
    pub tier: Tier,
    /// Of a program.
    pub arguments: Vec<String>,
    /// Of a program.
    pub environment: BTreeMap<String, String>,
    /// What it may reach.
    pub grants: Vec<Grant>,
    /// Secrets that it may read. Older specifications have none.
    #[serde(default)]
    pub secrets: Vec<SecretReference>,
    /// What it offers.
    pub exports: Vec<Export>,
    /// Of an external program. Older specifications have none.
    #[serde(default)]
    pub program: Option<Program>,
    /// What a program is given beside its code. Older specifications have none.
    #[serde(default)]
    pub mounts: Vec<Mount>,
}
