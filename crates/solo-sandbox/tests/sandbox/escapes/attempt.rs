//! What an attempt is, and how it is tried: with all layers, with each of those that stop it alone, and
//! with none of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::unistd::geteuid;
use solo_sandbox::Layer;
use tempfile::TempDir;

use crate::inside::{Inside, OUTSIDE, text};

/// All that keeps a process from the privileges of root. Each does so alone.
pub(super) const PRIVILEGES: [Layer; 3] = [Layer::User, Layer::UserNamespace, Layer::Capabilities];

/// What there is outside: a directory that everybody may look into, and in it what was tried.
pub(super) struct Outside {
    directory: TempDir,
}

impl Outside {
    pub(super) fn new() -> Self {
        // Not below `/tmp`, which a sandbox has one of its own of.
        let directory = tempfile::Builder::new().prefix("solo-test").tempdir_in("/var/tmp");
        let directory = directory.expect("a directory");
        let everybody = Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), everybody).expect("opened");
        fs::create_dir(directory.path().join("inside")).expect("made");
        Self { directory }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A directory that everybody may change.
    pub(super) fn open_directory(&self, name: &str) -> PathBuf {
        let open = self.path(name);
        fs::create_dir(&open).expect("made");
        fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("opened");
        open
    }

    /// A file that everybody may read.
    pub(super) fn canary(&self) -> PathBuf {
        let canary = self.path("canary");
        fs::write(&canary, "canary").expect("written");
        canary
    }

    /// Compiles an attempt to where the sandbox has it.
    pub(super) fn build(&self, name: &str) -> PathBuf {
        // Where the tests are run from; else, as for a copy of this program, where it was built.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
        let manifest = manifest.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let source = Path::new(&manifest).join("tests/sandbox/escapes");
        let program = self.path("inside").join(name);
        let built = Command::new("cc")
            .args(["-Wall", "-static", "-o"])
            .arg(&program)
            .arg(source.join(format!("{name}.c")))
            .output()
            .expect("a compiler");
        assert!(built.status.success(), "{}", text(&built.stderr));
        program
    }

    /// An attempt by the program `name`, which `layers` stop.
    pub(super) fn attempt(&self, name: &'static str, layers: &[Layer]) -> Attempt<'_> {
        // Who is not root becomes no other user: there the layer does nothing, on or off.
        let root = geteuid().is_root();
        let layers = layers.iter().copied().filter(|layer| root || *layer != Layer::User);
        Attempt {
            outside: self,
            name,
            layers: layers.collect(),
            arguments: Vec::new(),
            inside: Inside::default(),
            shown: Shown::Everywhere,
            trace: None,
            script: None,
        }
    }
}

/// Where an attempt can be seen to work without the layers that stop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// On every machine.
    Everywhere,
    /// To root: nobody else could do it in the first place, or do without the layers that stop it.
    ToRoot,
    /// Where the machine lets this user do it, which is tried outside of any sandbox.
    WhereThere,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was refused.
    Held,
    /// It got what it wanted.
    Out,
    /// The machine has no such thing: it was not refused, and not done.
    Lacking,
}

/// A way out that is tried.
pub(super) struct Attempt<'a> {
    outside: &'a Outside,
    name: &'static str,
    layers: Vec<Layer>,
    arguments: Vec<String>,
    inside: Inside,
    shown: Shown,
    trace: Option<PathBuf>,
    /// What is run instead of a program compiled for it.
    script: Option<PathBuf>,
}

impl Attempt<'_> {
    /// With one more word to its command.
    pub(super) fn word(mut self, word: impl Into<String>) -> Self {
        self.arguments.push(word.into());
        self
    }

    /// With one more word to its command, a path.
    pub(super) fn path(self, path: &Path) -> Self {
        self.word(path.to_str().expect("text"))
    }

    /// In a sandbox that is this, but for its layers and the directory of the attempt.
    pub(super) fn within(mut self, inside: Inside) -> Self {
        self.inside = inside;
        self
    }

    /// By a script, which may also be refused to be run at all.
    pub(super) fn script(mut self, script: PathBuf) -> Self {
        self.script = Some(script);
        self
    }

    /// Nobody but root could do it in the first place, or do without the layers that stop it.
    pub(super) fn shown_to_root(mut self) -> Self {
        self.shown = Shown::ToRoot;
        self
    }

    /// Not every kernel has it, or has it for everybody.
    pub(super) fn shown_where_there(mut self) -> Self {
        self.shown = Shown::WhereThere;
        self
    }

    /// What it makes is here, and nothing if it is refused.
    pub(super) fn trace(mut self, trace: PathBuf) -> Self {
        self.trace = Some(trace);
        self
    }

    /// Tries it with all layers, with each of its layers alone, and with none of them.
    pub(super) fn check(self) {
        self.check_on(|| Some(Nothing));
    }

    /// Tries it as [`Self::check`] does, on something that is new each time. Its word is the first one.
    #[expect(clippy::print_stderr, reason = "tells what this machine cannot show")]
    pub(super) fn check_on<T: Target>(self, target: impl Fn() -> Option<T>) {
        let program = self.script.clone().unwrap_or_else(|| self.outside.build(self.name));
        let name = format!("{} {:?}", self.name, self.arguments);
        let ended = |run: &dyn Fn(&[&str]) -> Output, how: &str| {
            let mut target = target().expect("something to try it on");
            let own = target.word();
            let words = [program.to_str()].into_iter().flatten().chain(own.as_deref());
            let words: Vec<_> = words.chain(self.arguments.iter().map(String::as_str)).collect();
            let output = run(&words);
            let how = format!("{name}, {how}");
            let ended =
                if self.cannot_be(&output) { Ended::Held } else { self.judge(&output, &how) };
            if ended != Ended::Out {
                assert!(target.is_unharmed(), "{how}: it was refused, and done");
            }
            ended
        };
        let attempt = |without: &[Layer], how: &str| {
            let own = self.outside.path("inside");
            let mut inside = self.inside.clone();
            inside.binds.push((own.clone(), own, false));
            inside.without.extend(without);
            ended(&|words| inside.run(words), how)
        };
        assert_eq!(attempt(&[], "all layers"), Ended::Held, "{name}, all layers");
        for layer in &self.layers {
            let others: Vec<_> = self.layers.iter().copied().filter(|l| l != layer).collect();
            let alone = attempt(&others, &format!("only {layer}"));
            assert_ne!(alone, Ended::Out, "{name}, only {layer}");
        }
        let none = attempt(&self.layers, "none of its layers");
        if none == Ended::Out {
            return;
        }
        let why = match self.shown {
            Shown::Everywhere => panic!("{name} shows nothing: {none:?} without {:?}", self.layers),
            Shown::ToRoot => {
                let root = geteuid().is_root();
                assert!(!root || none == Ended::Lacking, "{name} shows nothing: {none:?}");
                if root { "this machine has no such thing" } else { "only root can be shown it" }
            }
            Shown::WhereThere if none == Ended::Lacking => "this machine has no such thing",
            Shown::WhereThere => {
                let as_root = self.layers.contains(&Layer::User);
                let bare = ended(&|words| run_bare(words, as_root), "no sandbox");
                assert_ne!(bare, Ended::Out, "{name} shows nothing: {none:?}");
                "it does not work outside of a sandbox either"
            }
        };
        eprintln!("{name} is refused, but no layer is shown to do it: {why}");
    }

    /// Whether there is no such sandbox: in a user namespace nobody shows the processes of the machine, so
    /// only root has one in which they are not its own.
    fn cannot_be(&self, output: &Output) -> bool {
        let told = text(&output.stderr);
        !geteuid().is_root()
            && self.layers.contains(&Layer::PidNamespace)
            && output.status.code() == Some(125)
            && told.starts_with("failed to make /proc (root)")
    }

    fn judge(&self, output: &Output, how: &str) -> Ended {
        let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
        let ended = match output.status.code() {
            Some(10) => Ended::Held,
            // What `become_command` says.
            Some(126) if self.script.is_some() => Ended::Held,
            Some(11) => Ended::Out,
            Some(12) => Ended::Lacking,
            code => panic!("{how}: {code:?} {told}"),
        };
        if let Some(trace) = &self.trace {
            let there = fs::symlink_metadata(trace).is_ok();
            assert_eq!(there, ended == Ended::Out, "{how}: {} {told}", trace.display());
            if there {
                fs::remove_file(trace).expect("removed");
            }
        }
        ended
    }
}

/// Runs a command in no sandbox, as root or as the user that those inside are.
fn run_bare(words: &[&str], as_root: bool) -> Output {
    let mut command = Command::new(words.first().expect("a command"));
    command.args(words.get(1..).unwrap_or_default()).env_clear().stdin(Stdio::null());
    if !as_root && geteuid().is_root() {
        command.uid(OUTSIDE).gid(OUTSIDE);
    }
    command.output().expect("started")
}

/// What an attempt is on: something outside that is there while it runs.
pub(super) trait Target {
    /// What names it.
    fn word(&self) -> Option<String>;

    /// Whether it is as it was.
    fn is_unharmed(&mut self) -> bool {
        true
    }
}

struct Nothing;

impl Target for Nothing {
    fn word(&self) -> Option<String> {
        None
    }
}

/// A process outside, of the user that those inside are.
pub(super) struct Victim(Child);

impl Victim {
    pub(super) fn new() -> Option<Self> {
        let mut command = Command::new("/bin/sleep");
        command.arg("60").stdin(Stdio::null());
        if geteuid().is_root() {
            command.uid(OUTSIDE).gid(OUTSIDE);
        }
        Some(Self(command.spawn().expect("started")))
    }
}

impl Target for Victim {
    fn word(&self) -> Option<String> {
        Some(self.0.id().to_string())
    }

    fn is_unharmed(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have been ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
