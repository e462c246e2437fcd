//! A Solo of toys: the real heart over roles that do next to nothing. The integration tests drive it.
//!
//! `toy up HOME API_ADDRESS` runs the heart; the other roles are started by it. The toy kernel
//! writes all that it sees to `HOME/kernel.log` and sends whatever it finds in `HOME/orders`.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use solo_heart::protocol::descriptors;
use solo_heart::{HeartOptions, bind_to_parent, run, take_descriptor};
use solo_sandbox::Layer;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match play(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn play(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["up", home, api] => up(home, api),
        ["kernel", "--home", home, ..] => kernel(Path::new(home)),
        ["gateway", "--home", _, ..] => gateway(),
        ["cell", _, "--id", id, "--socket", socket, rest @ ..] => cell(id, socket, rest),
        _ => Err(format!("no such role: {words:?}").into()),
    }
}

fn up(home: &str, api: &str) -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let any = "127.0.0.1:0".parse()?;
    let program = std::env::current_exe()?;
    let groupless = Path::new(home).join("groupless").exists();
    run(HeartOptions {
        without: groupless.then_some(Layer::ControlGroup).into_iter().collect(),
        home: home.into(),
        api: api.parse()?,
        gateway: any,
        metrics: any,
        program,
        tls: None,
    })?;
    Ok(())
}

fn kernel(home: &Path) -> Result<(), Failure> {
    bind_to_parent()?;
    let log = Log(home.join("kernel.log"));
    let control = UnixStream::from(take_descriptor(descriptors::KERNEL_CONTROL)?);
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    log.line(&format!("start {}", names.join(",")));
    for descriptor in [descriptors::KERNEL_API_UNIX, descriptors::KERNEL_METRICS] {
        let link = fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
        log.line(&format!("descriptor {descriptor} {}", link.display()));
    }
    serve(take_descriptor(descriptors::KERNEL_API_TCP)?, "kernel");
    let mut orders = control.try_clone()?;
    orders.write_all(b"ready\n")?;
    let (orders_file, taken) = (home.join("orders"), home.join("orders.taken"));
    thread::spawn(move || {
        loop {
            if fs::rename(&orders_file, &taken).is_ok() {
                let text = fs::read(&taken).unwrap_or_default();
                let _ = orders.write_all(&text);
            }
            thread::sleep(Duration::from_millis(2));
        }
    });
    if home.join("deaf").exists() {
        loop {
            thread::park();
        }
    }
    for line in BufReader::new(control.try_clone()?).lines() {
        let line = line?;
        log.line(&line);
        if line == "terminate" && home.join("polite").exists() {
            thread::sleep(Duration::from_millis(100));
            log.line(&format!("gateway {}", home.join("run/gateway.pid").exists()));
            (&control).write_all(b"stop\n")?;
        }
    }
    Ok(())
}

fn gateway() -> Result<(), Failure> {
    bind_to_parent()?;
    serve(take_descriptor(descriptors::GATEWAY_HTTP)?, "gateway");
    loop {
        thread::park();
    }
}

fn cell(id: &str, socket: &str, rest: &[&str]) -> Result<(), Failure> {
    bind_to_parent()?;
    for pair in rest.windows(2).filter(|pair| pair[0] == "--group") {
        fs::write(Path::new(pair[1]).join("cgroup.procs"), "0")?;
    }
    fs::write(socket, "")?;
    if id == "stubborn" {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.thread_block()?;
    }
    loop {
        thread::park();
    }
}

/// Answers each connection with the role and the process id.
fn serve(listener: OwnedFd, role: &'static str) {
    let listener = TcpListener::from(listener);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = writeln!(&stream, "{role} {}", std::process::id());
        }
    });
}

/// Lines of all lives of the kernel, each with its process id.
struct Log(PathBuf);

impl Log {
    fn line(&self, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(&self.0);
        let line = format!("{} {text}\n", std::process::id());
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
