//! One Erlang node that runs scripts, one after the other.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::script::Script;

/// For one script: they take a millisecond, so that only a node that hangs needs so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Compiles the witness in memory and runs it.
const BOOT: &str = "case compile:file(os:getenv(\"WITNESS\"), [binary, return]) of \
    {ok, Module, Code, _} -> \
        {module, _} = code:load_binary(Module, \"witness.erl\", Code), witness:main(); \
    Error -> io:format(standard_error, \"~tp~n\", [Error]), halt(1) \
    end.";

/// Ends with its owner: the node stops when its input is closed, and is killed besides.
pub(crate) struct Erlang {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<Vec<u8>>,
}

impl Erlang {
    pub(crate) fn start() -> Self {
        // One scheduler: what has an order in the script has one in the trace.
        let started = Command::new("erl")
            .args(["+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "-noinput", "-boot", "start_clean"])
            .args(["-eval", BOOT])
            .env("WITNESS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otp/witness.erl"))
            // Killed in the midst of something it would leave a dump in the tree.
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = started.unwrap_or_else(|error| {
            panic!(
                "this test compares with Erlang's own supervisor and cannot start `erl`: {error}. \
                 Install it with scripts/setup.sh, or with `apt-get install erlang-base` \
                 (OTP 24 or newer)."
            )
        });
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = child.stdout.take().expect("piped");
        let (sender, answers) = sync_channel(1);
        std::thread::spawn(move || {
            while let Some(packet) = read_packet(&mut stdout) {
                if sender.send(packet).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, answers }
    }

    /// Answers the trace.
    pub(crate) fn run(&mut self, script: &Script) -> String {
        let packet = script.term().encode();
        let length = u32::try_from(packet.len()).expect("a short script").to_be_bytes();
        let sent = self.stdin.write_all(&length).and_then(|()| self.stdin.write_all(&packet));
        match (sent, self.answers.recv_timeout(ANSWER_TIMEOUT)) {
            (Ok(()), Ok(trace)) => String::from_utf8(trace).expect("the trace is text"),
            (_, Err(RecvTimeoutError::Timeout)) => panic!("`erl` did not answer:\n{script}"),
            (sent, _) => panic!("`erl` ended ({sent:?}); what it wrote above says why"),
        }
    }
}

impl Drop for Erlang {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_packet(stdout: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stdout.read_exact(&mut length).ok()?;
    let mut packet = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    stdout.read_exact(&mut packet).ok()?;
    Some(packet)
}
