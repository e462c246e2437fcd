//! The policies there are, and putting them in force.

use std::sync::OnceLock;

use seccompiler::{BpfProgram, apply_filter, apply_filter_all_threads};

use super::bpf;
use super::names::Arch;
use super::policy::{RuleError, Rules, Source};

/// Who is filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Any program of somebody else in a sandbox.
    Program,
    /// A process of Solo that hosts or compiles guest code: no programs, processes or network.
    Cell,
    /// Kernel and gateway.
    Role,
}

/// A filter that cannot be had. The process must end: it would run with more than it should.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Policies know x86_64 and aarch64.
    #[error("failed to filter system calls: no policy knows this architecture")]
    Architecture,
    /// A policy that is wrong; tests read all of them.
    #[error("failed to read a policy of system calls")]
    Policy(#[source] RuleError),
    /// The kernel refused; it has no seccomp, or a filter forbids further ones.
    #[error("failed to put a filter of system calls in force")]
    Install(#[source] seccompiler::Error),
}

/// A policy, compiled for this machine.
#[derive(Debug)]
pub struct Filter {
    program: BpfProgram,
}

impl Policy {
    /// The filter of this policy, compiled when it is first asked for.
    ///
    /// # Errors
    /// [`FilterError::Architecture`]; [`FilterError::Policy`] never, as far as tests can tell.
    pub fn filter(self) -> Result<&'static Filter, FilterError> {
        static PROGRAM: OnceLock<Filter> = OnceLock::new();
        static CELL: OnceLock<Filter> = OnceLock::new();
        static ROLE: OnceLock<Filter> = OnceLock::new();
        let compiled = match self {
            Self::Program => &PROGRAM,
            Self::Cell => &CELL,
            Self::Role => &ROLE,
        };
        if let Some(filter) = compiled.get() {
            return Ok(filter);
        }
        let arch = Arch::of_this_machine().ok_or(FilterError::Architecture)?;
        let rules = Rules::read(self.source(), arch).map_err(FilterError::Policy)?;
        Ok(compiled.get_or_init(|| Filter { program: bpf::compile(&rules, arch) }))
    }

    pub(super) fn source(self) -> Source {
        match self {
            Self::Program => Source::PROGRAM,
            Self::Cell => Source::CELL,
            Self::Role => Source::ROLE,
        }
    }
}

impl Filter {
    /// Puts it in force for the calling thread and all that this thread starts from now on.
    ///
    /// Also sets no_new_privs, without which the kernel takes no filter. Where several filters are
    /// in force each of them must allow a call.
    ///
    /// # Errors
    /// [`FilterError::Install`]. no_new_privs may be set then, nothing else is.
    pub fn install(&self) -> Result<(), FilterError> {
        apply_filter(&self.program).map_err(FilterError::Install)
    }

    /// Puts it in force for all threads of the process.
    ///
    /// # Errors
    /// [`FilterError::Install`], also if a thread has taken a filter of its own before. It is in
    /// force nowhere then.
    pub fn install_everywhere(&self) -> Result<(), FilterError> {
        apply_filter_all_threads(&self.program).map_err(FilterError::Install)
    }
}
