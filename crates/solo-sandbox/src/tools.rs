//! Language runtimes and compilers in `PATH`, with their versions.
//!
//! Each is asked in a process of its own with a deadline; what hangs is killed and called unknown.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};

use crate::Item;

/// The slowest of them (Elixir on a busy small machine) takes half a second.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Versions take a line or two; the rest is not read.
const OUTPUT_BYTES_MAX: u64 = 2 << 10;

/// Longest version that a report shows.
const VERSION_CHARS_MAX: usize = 100;

/// How to ask a tool.
struct Tool {
    name: &'static str,
    /// Looked for in `PATH`, also with a version as in `clang-22`.
    program: &'static str,
    arguments: &'static [&'static str],
    /// The line of the answer that has the version starts so.
    prefix: &'static str,
    remedy: &'static str,
}

const TOOLS: [Tool; 5] = [
    Tool {
        name: "erlang",
        program: "erl",
        arguments: &[
            "-noshell",
            "-eval",
            "io:put_chars([\"OTP \", erlang:system_info(otp_release), 10]), halt().",
        ],
        prefix: "OTP",
        remedy: "for BEAM services: apt-get install erlang-nox",
    },
    Tool {
        name: "elixir",
        program: "elixir",
        arguments: &["--version"],
        prefix: "Elixir",
        remedy: "for Elixir services: apt-get install elixir",
    },
    Tool {
        name: "python",
        program: "python3",
        arguments: &["--version"],
        prefix: "Python",
        remedy: "for Python programs: apt-get install python3",
    },
    Tool {
        name: "node",
        program: "node",
        arguments: &["--version"],
        prefix: "v",
        remedy: "for Node programs and the JavaScript tools: apt-get install nodejs",
    },
    Tool {
        name: "clang",
        program: "clang",
        arguments: &["--version"],
        prefix: "",
        remedy: "to build some guests: apt-get install clang",
    },
];

pub(crate) fn detect() -> Vec<Item> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = env::split_paths(&path).collect();
    // All at once: each waits for its own process.
    thread::scope(|scope| {
        let threads: Vec<_> =
            TOOLS.iter().map(|tool| (tool, scope.spawn(|| look(tool, &directories)))).collect();
        threads
            .into_iter()
            .map(|(tool, thread)| {
                thread.join().unwrap_or_else(|_| {
                    Item::unknown(tool.name, "asking for it failed", tool.remedy)
                })
            })
            .collect()
    })
}

fn look(tool: &Tool, directories: &[PathBuf]) -> Item {
    let Some(program) = find(tool.program, directories) else {
        return Item::missing(tool.name, format!("no {} in PATH", tool.program), tool.remedy);
    };
    let at = program.display();
    match ask(&program, tool.arguments, ANSWER_WAIT) {
        Err(error) => Item::unknown(tool.name, format!("{at}: {error}"), tool.remedy),
        Ok(answer) => match answer.lines().find(|line| line.starts_with(tool.prefix)) {
            Some(line) => {
                let version: String = line.trim().chars().take(VERSION_CHARS_MAX).collect();
                Item::available(tool.name, format!("{version} ({at})"))
            }
            None => Item::unknown(tool.name, format!("{at} does not tell"), tool.remedy),
        },
    }
}

/// The program of that name, or the one with the highest version in its name.
fn find(program: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    let executable = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    let plain = directories.iter().map(|directory| directory.join(program)).find(executable);
    plain.or_else(|| {
        directories
            .iter()
            .filter_map(|directory| fs::read_dir(directory).ok())
            .flatten()
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let version: u32 = name.strip_prefix(program)?.strip_prefix('-')?.parse().ok()?;
                Some((version, name))
            })
            .max()
            .and_then(|(_, name)| {
                directories.iter().map(|directory| directory.join(&name)).find(executable)
            })
    })
}

/// Runs a program and returns the beginning of what it prints.
fn ask(program: &Path, arguments: &[&str], wait: Duration) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that its children can be ended with it.
        .process_group(0)
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if start.elapsed() < wait => thread::sleep(LOOK_EVERY),
            Ok(None) => break Err(io::Error::from(io::ErrorKind::TimedOut)),
            Err(error) => break Err(error),
        }
    };
    if status.is_err() {
        end(&mut child);
    }
    if !status?.success() {
        return Err(io::Error::other("it failed"));
    }
    let Some(output) = child.stdout.take() else { return Ok(String::new()) };
    // A child of the program may hold the pipe open: take what is there and do not wait.
    fcntl(output.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut bytes = Vec::new();
    match output.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn end(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // It was not reaped, so the id is still its own.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use std::os::unix::fs::PermissionsExt;

    fn script(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    }

    fn tool(program: &'static str) -> Tool {
        Tool { name: "t", program, arguments: &[], prefix: "Version", remedy: "install it" }
    }

    #[test]
    fn versions_are_read_and_failures_are_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        script(at, "good", "echo; echo Version 7; sleep 60 & exit 0");
        script(at, "bad", "echo Version 7; exit 1");
        script(at, "silent", "exit 0");
        let state = |name| {
            let item = look(&tool(name), &[at.to_owned()]);
            (item.state, item.detail.contains("Version 7"))
        };
        let start = Instant::now();
        assert_eq!(state("good"), (State::Available, true));
        assert!(start.elapsed() < Duration::from_secs(4), "a child of the tool holds nothing up");
        assert_eq!(state("bad"), (State::Unknown, false));
        assert_eq!(state("silent"), (State::Unknown, false));
        assert_eq!(state("absent"), (State::Missing, false));
    }

    #[test]
    fn a_tool_that_hangs_is_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        script(directory.path(), "hangs", "sleep 60");
        let start = Instant::now();
        let error = ask(&directory.path().join("hangs"), &[], Duration::from_millis(50));
        assert_eq!(error.expect_err("no answer").kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn the_highest_version_is_taken_where_there_is_no_plain_name() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["tool-9", "tool-22", "tool-format-30", "tool-x"] {
            script(directory.path(), name, "");
        }
        let directories = [directory.path().to_owned()];
        assert_eq!(find("tool", &directories), Some(directory.path().join("tool-22")));
        script(directory.path(), "tool", "");
        assert_eq!(find("tool", &directories), Some(directory.path().join("tool")));
    }
}
