//! Objects: the things that rights are on, each named by its kind and its parts.
//!
//! An object is what a request is about, with no wildcard in it. It is plain data: nothing here
//! knows whether it exists. What is a value of these types has been checked, so that one thing has
//! one name: paths are in normal form, hosts in lower case, numbers without leading zeros.

use std::fmt;
use std::str::FromStr;

use solo_types::{Digest, Right, Rights, ServiceId, Tier};

use crate::ModelError;
use crate::part::{Field, Syntax};

/// Characters of an object's text: a host and a path of the greatest length, and what is between.
pub(crate) const OBJECT_CHARS_MAX: usize = 2_048;

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// `service:TENANT/NAME[/ID]`.
    Service,
    /// `tenant:NAME`.
    Tenant,
    /// `artifact:DIGEST`.
    Artifact,
    /// `volume:TENANT/NAME`.
    Volume,
    /// `network:HOST/PORT[/METHOD/PATH]`, the path without its leading `/`.
    Network,
    /// `device:NAME`.
    Device,
    /// `secret:TENANT/NAME`.
    Secret,
    /// An operation of the kernel itself: `kernel:OPERATION`.
    Kernel,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Service,
        Self::Tenant,
        Self::Artifact,
        Self::Volume,
        Self::Network,
        Self::Device,
        Self::Secret,
        Self::Kernel,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Tenant => "tenant",
            Self::Artifact => "artifact",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Device => "device",
            Self::Secret => "secret",
            Self::Kernel => "kernel",
        }
    }

    /// The rights that mean something on objects of this kind. All of them can be passed on.
    #[must_use]
    pub fn rights(self) -> Rights {
        let own: &[Right] = match self {
            Self::Service => &[
                Right::Read,
                Right::Call,
                Right::Send,
                Right::Kill,
                Right::Execute,
                Right::Deploy,
                Right::Update,
            ],
            Self::Tenant => &[Right::Read, Right::Deploy, Right::Update, Right::Kill],
            Self::Artifact => &[Right::Read, Right::Write, Right::Execute],
            Self::Volume | Self::Device | Self::Secret => &[Right::Read, Right::Write],
            Self::Network => &[Right::Connect],
            Self::Kernel => &[Right::Read, Right::Execute],
        };
        own.iter().copied().chain([Right::Grant]).collect()
    }

    /// The parts of an object of this kind, in order; required ones first.
    pub(crate) fn fields(self) -> &'static [Field] {
        const TENANT: Field = Field::required("tenant", Syntax::Name);
        const NAME: Field = Field::required("name", Syntax::Name);
        const SERVICE: [Field; 3] = [TENANT, NAME, Field::optional("id", Syntax::ServiceId)];
        const ONE_NAME: [Field; 1] = [NAME];
        const ARTIFACT: [Field; 1] = [Field::required("digest", Syntax::Digest)];
        const OF_TENANT: [Field; 2] = [TENANT, NAME];
        const NETWORK: [Field; 4] = [
            Field::required("host", Syntax::Host),
            Field::required("port", Syntax::Port),
            Field::optional("method", Syntax::Method),
            Field::optional("path", Syntax::Path),
        ];
        const DEVICE: [Field; 1] = [Field::required("name", Syntax::Device)];
        match self {
            Self::Service => &SERVICE,
            Self::Tenant | Self::Kernel => &ONE_NAME,
            Self::Artifact => &ARTIFACT,
            Self::Volume | Self::Secret => &OF_TENANT,
            Self::Network => &NETWORK,
            Self::Device => &DEVICE,
        }
    }

    pub(crate) fn form(self) -> &'static str {
        match self {
            Self::Service => "service:TENANT/NAME[/ID]",
            Self::Tenant => "tenant:NAME",
            Self::Artifact => "artifact:DIGEST",
            Self::Volume => "volume:TENANT/NAME",
            Self::Network => "network:HOST/PORT[/METHOD/PATH]",
            Self::Device => "device:NAME",
            Self::Secret => "secret:TENANT/NAME",
            Self::Kernel => "kernel:OPERATION",
        }
    }

    /// Takes a text apart: its kind, and its parts as they are written.
    pub(crate) fn split(text: &str) -> Result<(Self, Vec<&str>), ModelError> {
        // Bytes are at least as many as characters.
        if text.len() > OBJECT_CHARS_MAX {
            return Err(ModelError::TooLong { chars_max: OBJECT_CHARS_MAX });
        }
        let (kind, rest) = text.split_once(':').ok_or(ModelError::NoKind)?;
        let kind =
            Self::ALL.into_iter().find(|known| known.as_str() == kind).ok_or(ModelError::NoKind)?;
        // The last part takes what is left, as a path contains `/`.
        let parts: Vec<&str> = rest.splitn(kind.fields().len(), '/').collect();
        let required = kind.fields().iter().filter(|field| field.required).count();
        if parts.len() < required {
            return Err(ModelError::Parts { expected: kind.form() });
        }
        Ok((kind, parts))
    }
}

/// One thing that a request is about.
///
/// Optional parts may be absent: a service that is yet to be deployed has no id, a raw connection
/// has no method. Only `*` matches what is absent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    kind: ObjectKind,
    /// As many as are present, legal by the syntax of their fields.
    parts: Vec<String>,
    tier: Tier,
}

impl Object {
    /// A service. `id`: `None` for one that is yet to be deployed. `tier`: what it has, or what a
    /// deployment asks for, and of an update the higher one; see [`Object::is_protected_from`].
    ///
    /// # Errors
    /// [`ModelError::Part`]: a name is not legal.
    pub fn service(
        tenant: &str,
        name: &str,
        id: Option<ServiceId>,
        tier: Tier,
    ) -> Result<Self, ModelError> {
        let mut parts = vec![tenant.to_owned(), name.to_owned()];
        parts.extend(id.map(|id| id.to_string()));
        Ok(Self { tier, ..Self::checked(ObjectKind::Service, parts)? })
    }

    /// A tenant.
    ///
    /// # Errors
    /// [`ModelError::Part`]: the name is not legal.
    pub fn tenant(name: &str) -> Result<Self, ModelError> {
        Self::checked(ObjectKind::Tenant, vec![name.to_owned()])
    }

    /// An artifact.
    ///
    /// # Errors
    /// None that a digest can cause.
    pub fn artifact(digest: &Digest) -> Result<Self, ModelError> {
        Self::checked(ObjectKind::Artifact, vec![digest.to_string()])
    }

    /// A volume.
    ///
    /// # Errors
    /// [`ModelError::Part`]: a name is not legal.
    pub fn volume(tenant: &str, name: &str) -> Result<Self, ModelError> {
        Self::checked(ObjectKind::Volume, vec![tenant.to_owned(), name.to_owned()])
    }

    /// A secret.
    ///
    /// # Errors
    /// [`ModelError::Part`]: a name is not legal.
    pub fn secret(tenant: &str, name: &str) -> Result<Self, ModelError> {
        Self::checked(ObjectKind::Secret, vec![tenant.to_owned(), name.to_owned()])
    }

    /// A connection that is not known to be HTTP. A capability that names a method or a path does
    /// not allow it, as nobody could hold the caller to them.
    ///
    /// # Errors
    /// [`ModelError::Part`]: the host is not in lower case, the port is 0.
    pub fn network(host: &str, port: u16) -> Result<Self, ModelError> {
        Self::checked(ObjectKind::Network, vec![host.to_owned(), port.to_string()])
    }

    /// An HTTP request. `path`: with its leading `/`, in normal form, without query.
    ///
    /// # Errors
    /// [`ModelError::Part`]: as [`Self::network`], or a path with `..`, `//`, a query, or such
    /// things percent-encoded, which the server could read as another path.
    pub fn http(host: &str, port: u16, method: &str, path: &str) -> Result<Self, ModelError> {
        let path = path
            .strip_prefix('/')
            .ok_or(ModelError::Part { field: "path", rule: "it does not begin with `/`" })?;
        let parts = [host, &port.to_string(), method, path].map(str::to_owned);
        Self::checked(ObjectKind::Network, parts.into())
    }

    /// A device, by the name that the operator gave it.
    ///
    /// # Errors
    /// [`ModelError::Part`]: the name is not legal.
    pub fn device(name: &str) -> Result<Self, ModelError> {
        Self::checked(ObjectKind::Device, vec![name.to_owned()])
    }

    /// An operation of the kernel, such as `shutdown` or `audit`. It is of the system tier.
    ///
    /// # Errors
    /// [`ModelError::Part`]: the name is not legal.
    pub fn kernel(operation: &str) -> Result<Self, ModelError> {
        Self::checked(ObjectKind::Kernel, vec![operation.to_owned()])
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// Its tier. Only services and operations of the kernel can be of the system tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Of a service that was deployed: its id as text.
    #[must_use]
    pub fn service_id(&self) -> Option<&str> {
        (self.kind == ObjectKind::Service).then(|| self.part(2)).flatten()
    }

    /// Tells whether its tier keeps a right from who holds capabilities of `tier`: what is of the
    /// system tier is made, changed, ended and run by capabilities of the system tier alone. It may
    /// be read and talked to, and those rights may be passed on.
    #[must_use]
    pub fn is_protected_from(&self, tier: Tier, right: Right) -> bool {
        let changes = match right {
            Right::Read | Right::Call | Right::Send | Right::Connect | Right::Grant => false,
            Right::Kill | Right::Execute | Right::Write | Right::Deploy | Right::Update => true,
        };
        changes && self.tier == Tier::System && tier == Tier::User
    }

    pub(crate) fn part(&self, index: usize) -> Option<&str> {
        self.parts.get(index).map(String::as_str)
    }

    fn checked(kind: ObjectKind, parts: Vec<String>) -> Result<Self, ModelError> {
        for (part, field) in parts.iter().zip(kind.fields()) {
            field.check(part)?;
        }
        // A method without a path is no request.
        if kind == ObjectKind::Network && parts.len() == 3 {
            return Err(ModelError::Parts { expected: kind.form() });
        }
        let tier = if kind == ObjectKind::Kernel { Tier::System } else { Tier::User };
        Ok(Self { kind, parts, tier })
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.parts.join("/"))
    }
}

impl FromStr for Object {
    type Err = ModelError;

    /// Reads what [`fmt::Display`] writes. The text does not tell the tier of a service: who reads
    /// one that exists looks it up and uses [`Object::service`].
    fn from_str(text: &str) -> Result<Self, ModelError> {
        let (kind, parts) = ObjectKind::split(text)?;
        Self::checked(kind, parts.into_iter().map(str::to_owned).collect())
    }
}
