//! The heart with real processes: the toys of `examples/toy.rs` play the roles.

mod groups;
mod node;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use node::{Node, alive};

#[test]
fn addresses_descriptors_and_environment_are_as_promised() {
    let node = Node::start();
    let addresses = node.addresses();
    let text = |key: &str| addresses[key].as_str().expect(key).to_owned();
    assert_eq!(addresses["heart_pid"].as_u64(), Some(u64::from(node.heart())));
    assert_eq!(text("version"), env!("CARGO_PKG_VERSION"));
    let socket = fs::metadata(text("api_socket")).expect("the API socket");
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    assert_eq!(node.ask(&text("api")), format!("kernel {}", node.pid("kernel")));
    assert_eq!(node.ask(&text("gateway")), format!("gateway {}", node.pid("gateway")));
    assert_ne!(text("metrics"), text("gateway"));

    let log = node.wait_for_log("listed");
    let mut variables: Vec<&str> = log
        .lines()
        .find_map(|line| line.split_once(" start ")?.1.into())
        .expect("a start")
        .split(',')
        .collect();
    variables.retain(|name| !["PATH", "RUST_BACKTRACE"].contains(name));
    assert_eq!(
        variables,
        ["MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "SOLO_HEART_PID"],
        "SOLO_LOG is not set here, all else stays out"
    );
    assert_eq!(log.matches("socket:").count(), 2, "{log}");
}

#[test]
fn a_killed_kernel_comes_back_and_no_connection_is_refused() {
    let node = Node::start();
    node.order("spawn a wasm\n");
    node.wait_for_log(&format!("spawned a {}", node.wait_for_pid("cells/a")));
    let (api, cell) =
        (node.addresses()["api"].as_str().expect("api").to_owned(), node.pid("cells/a"));
    for _ in 0..5 {
        let old = node.pid("kernel");
        node.signal(old, Signal::SIGKILL);
        let start = Instant::now();
        // At once, while nobody accepts; connections of the dying kernel are not answered.
        let answer = loop {
            let answer = node.ask(&api);
            if !answer.is_empty() && answer != format!("kernel {old}") {
                break answer;
            }
        };
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        let new = answer.strip_prefix("kernel ").expect("a kernel").to_owned();
        node.wait_for_log(&format!("{new} cell a wasm {cell}\n{new} listed"));
    }
    assert!(alive(cell), "the cell noticed nothing");
}

#[test]
fn a_killed_gateway_comes_back() {
    let node = Node::start();
    let old = node.pid("gateway");
    node.signal(old, Signal::SIGKILL);
    node.wait_until("another gateway", || node.find_pid("gateway").is_some_and(|pid| pid != old));
}

#[test]
fn cells_come_and_go_as_the_kernel_asks() {
    let node = Node::start();
    node.order("spawn a wasm\nspawn b compiler\nspawn a wasm\nkill nobody\n");
    node.wait_for_log("spawn-failed a exists");
    node.wait_for_log("exited nobody absent");
    let (a, b) = (node.wait_for_pid("cells/a"), node.wait_for_pid("cells/b"));
    node.wait_until("the sockets", || node.exists("run/cells/a.sock"));
    let line = fs::read_to_string(format!("/proc/{b}/cmdline")).expect("lives");
    let socket = node.path("run/cells/b.sock");
    assert!(line.contains("\0cell\0compiler\0--id\0b\0--socket\0"), "{line:?}");
    assert!(line.contains(&format!("\0{}\0", socket.display())), "{line:?}");
    assert!(node.exists("run/cells/b.work"), "a place of its own");
    node.wait_until("its name", || node.comm(b) == "solo-compiler");

    node.order("kill a\n");
    node.wait_for_log("exited a signal:9");
    assert!(!alive(a) && !node.exists("run/cells/a.pid") && !node.exists("run/cells/a.sock"));
    // The first process of a pid namespace: what it does not handle does not end it.
    node.signal(b, Signal::SIGTERM);
    node.signal(b, Signal::SIGKILL);
    node.wait_for_log("exited b signal:9");
    assert!(!node.exists("run/cells/b.work"));
    // A signal that has no name must be noticed too.
    let gateway = node.pid("gateway");
    node.signal_number(gateway, 40);
    node.wait_until("another gateway", || {
        node.find_pid("gateway").is_some_and(|pid| pid != gateway)
    });
}

#[test]
fn a_kernel_that_talks_nonsense_is_replaced() {
    let node = Node::start();
    for nonsense in ["spawn ../x sh\n".to_owned(), "x".repeat(5_000)] {
        let old = node.pid("kernel");
        node.order(&nonsense);
        node.wait_until("another kernel", || {
            node.find_pid("kernel").is_some_and(|pid| pid != old && !alive(old))
        });
    }
}

#[test]
fn a_kernel_that_does_not_read_is_replaced() {
    let node = Node::start_with(&["deaf"]);
    let old = node.pid("kernel");
    node.order(&"kill nobody\n".repeat(50_000));
    node.wait_until("another kernel", || node.find_pid("kernel").is_some_and(|pid| pid != old));
}

#[test]
fn a_second_heart_and_foreign_addresses_are_refused() {
    let node = Node::start();
    let second = Node::try_up(node.home(), "127.0.0.1:0");
    assert!(second.contains(&format!("as process {}", node.heart())), "{second}");
    assert!(node.addresses()["heart_pid"] == node.heart(), "the first one goes on");
    let free = tempfile::tempdir().expect("a directory");
    let open = Node::try_up(free.path(), "0.0.0.0:0");
    assert!(open.contains("not a loopback address, and there is no TLS"), "{open}");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let twice = Node::try_up(free.path(), &address);
    assert!(twice.contains(&format!("failed to listen on {address}")), "{twice}");
    assert!(!free.path().join("run/addresses.json").exists());
}

#[test]
fn the_end_is_orderly_and_leaves_nothing() {
    let mut node = Node::start_with(&["polite"]);
    node.order("spawn a wasm\n");
    let pids = [node.pid("kernel"), node.pid("gateway"), node.wait_for_pid("cells/a")];
    node.signal(node.heart(), Signal::SIGTERM);
    assert_eq!(node.wait_for_end(Duration::from_secs(2)), Some(0));
    let log = node.log();
    assert!(log.contains("terminate") && log.contains("gateway false"), "gateway first: {log}");
    assert!(!pids.into_iter().any(alive));
    let mut left = node.files("run");
    left.extend(node.files("run/cells"));
    assert_eq!(left, ["cells", "heart.lock"]);
}

#[test]
fn a_second_signal_and_stubborn_processes_end_too() {
    let mut node = Node::start();
    node.order("spawn stubborn wasm\n");
    let cell = node.wait_for_pid("cells/stubborn");
    node.wait_until("the cell is deaf", || node.exists("run/cells/stubborn.sock"));
    node.signal(node.heart(), Signal::SIGINT);
    node.wait_for_log("terminate");
    assert!(node.wait_for_end(Duration::from_millis(200)).is_none(), "it waits for the kernel");
    node.signal(node.heart(), Signal::SIGINT);
    assert_eq!(node.wait_for_end(Duration::from_secs(4)), Some(0));
    assert!(!alive(cell));
}

#[test]
fn the_kernel_can_end_everything() {
    let mut node = Node::start();
    node.order("stop\n");
    assert_eq!(node.wait_for_end(Duration::from_secs(2)), Some(0));
}

#[test]
fn hangup_restarts_the_kernel_only() {
    let node = Node::start();
    let (kernel, gateway) = (node.pid("kernel"), node.pid("gateway"));
    node.signal(node.heart(), Signal::SIGHUP);
    node.wait_until("another kernel", || node.find_pid("kernel").is_some_and(|pid| pid != kernel));
    assert_eq!(node.pid("gateway"), gateway);
}

#[test]
fn nothing_outlives_a_killed_heart_and_the_next_one_takes_over() {
    let mut node = Node::start();
    node.order("spawn a wasm\nspawn stubborn wasm\n");
    let pids = [
        node.pid("kernel"),
        node.pid("gateway"),
        node.wait_for_pid("cells/a"),
        node.wait_for_pid("cells/stubborn"),
    ];
    node.wait_until("the cells run", || node.exists("run/cells/stubborn.sock"));
    let api = node.addresses()["api"].as_str().expect("api").to_owned();
    node.signal(node.heart(), Signal::SIGKILL);
    node.wait_for_end(Duration::from_secs(1));
    // The same port at once, although the old kernel may hold it for a moment.
    node.restart(&api);
    assert!(!pids.into_iter().any(alive), "no orphans");
    assert!(!node.exists("run/cells/a.pid"));
    assert_eq!(node.ask(&api), format!("kernel {}", node.pid("kernel")));
}
