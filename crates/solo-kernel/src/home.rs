//! Where things are under `$SOLO_HOME`. Names paths, makes the directories, reads nothing.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use solo_types::{DEFAULT_TENANT, Digest, TenantName};

use crate::audit::{AuditPaths, SinkPaths};
use crate::files::remove_tree;

/// The home of one installation.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// Makes the directories of the kernel, for its owner alone.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let home = Self(root.to_owned());
        for directory in [
            home.0.clone(),
            home.run(),
            home.run().join("cells"),
            home.0.join("tenants"),
            home.0.join("keys"),
            home.0.join("audit"),
            home.0.join("logs"),
        ] {
            make(&directory)?;
        }
        Ok(home)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    pub(crate) fn cell_socket(&self, cell: &str) -> PathBuf {
        self.run().join("cells").join(format!("{cell}.sock"))
    }

    /// What a compiler cell and the kernel share; the heart makes it with each cell.
    pub(crate) fn cell_work(&self, cell: &str) -> PathBuf {
        self.run().join("cells").join(format!("{cell}.work"))
    }

    /// Sockets of the programs of the tenant whose cell is `cell`; the heart makes it with that cell.
    pub(crate) fn program_sockets(&self, cell: &str) -> PathBuf {
        self.all_program_sockets().join(cell)
    }

    /// One directory for each cell that hosts programs.
    pub(crate) fn all_program_sockets(&self) -> PathBuf {
        self.run().join("programs")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("solo.db")
    }

    /// Makes the directories of a tenant.
    pub(crate) fn open_tenant(&self, tenant: &TenantName) -> io::Result<TenantHome> {
        let own = TenantHome(self.0.join("tenants").join(tenant.as_str()));
        let old = self.0.join("artifacts");
        if tenant.as_str() == DEFAULT_TENANT && old.is_dir() {
            // Of a version that had one tenant.
            make(&own.0)?;
            std::fs::rename(&old, own.artifacts())?;
            std::fs::remove_dir_all(self.0.join("compiled"))?;
        }
        for directory in [own.artifacts(), own.uploads(), own.compiled()] {
            make(&directory)?;
        }
        // Shown to the tenant's cell, which is another user. Nobody else gets through `tenants/`.
        std::fs::set_permissions(own.compiled(), Permissions::from_mode(0o755))?;
        Ok(own)
    }

    /// Removes what tenants have left that are gone.
    pub(crate) fn remove_tenants_but(&self, is_there: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in std::fs::read_dir(self.0.join("tenants"))? {
            let entry = entry?;
            if !is_there(&entry.file_name().to_string_lossy()) {
                remove_tree(&entry.path())?;
            }
        }
        for entry in std::fs::read_dir(self.0.join("keys"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let tenant = name.strip_prefix("secrets.").and_then(|name| name.strip_suffix(".key"));
            if tenant.is_some_and(|tenant| !is_there(tenant)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.0.join("keys").join("root.key")
    }

    /// The owner's token.
    pub(crate) fn admin_token(&self) -> PathBuf {
        self.0.join("keys").join("admin.token")
    }

    /// What seals the secrets of a tenant, which are in the database: who has a copy of that alone has
    /// none of them.
    pub(crate) fn secrets_key(&self, tenant: &str) -> PathBuf {
        let name = match tenant {
            DEFAULT_TENANT => "secrets.key".to_owned(),
            // Names of tenants have no dots: this is no other key's.
            tenant => format!("secrets.{tenant}.key"),
        };
        self.0.join("keys").join(name)
    }

    /// The audit log, and its key, which is kept apart from it.
    pub(crate) fn audit(&self) -> AuditPaths {
        let keys = self.0.join("keys");
        AuditPaths {
            log: self.0.join("audit"),
            key: keys.join("audit.key"),
            public_key: keys.join("audit.pub"),
            checkpoint: keys.join("audit.checkpoint"),
        }
    }

    /// What the sinks of the audit log were given, and how they are.
    pub(crate) fn audit_sinks(&self) -> SinkPaths {
        let cursors = self.0.join("audit").join("sinks");
        SinkPaths { cursors, report: audit_sinks_report(&self.0) }
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.0.join("logs").join("records.jsonl")
    }

    pub(crate) fn addresses(&self) -> PathBuf {
        self.run().join("addresses.json")
    }
}

/// What is one tenant's.
#[derive(Debug, Clone)]
pub(crate) struct TenantHome(PathBuf);

impl TenantHome {
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts")
    }

    /// Unfinished uploads; emptied at each start.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.artifacts().join("tmp")
    }

    pub(crate) fn artifact(&self, digest: &Digest) -> PathBuf {
        self.artifacts().join(digest.to_string())
    }

    pub(crate) fn compiled(&self) -> PathBuf {
        self.0.join("compiled")
    }

    /// The directories that its programs are given, each by its name.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    /// What its services keep. The files are its cell's, who may have written anything to them: nobody else
    /// opens them.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// What the compiler made of an artifact for one engine.
    pub(crate) fn compiled_artifact(&self, digest: &Digest, engine: &str) -> PathBuf {
        self.compiled().join(format!("{digest}-{engine}.cwasm"))
    }

    /// Removes all of it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_tree(&self.0)
    }
}

fn make(directory: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Where the kernel of `home` tells how the sinks are.
pub(crate) fn audit_sinks_report(home: &Path) -> PathBuf {
    home.join("run").join("audit-sinks.json")
}
