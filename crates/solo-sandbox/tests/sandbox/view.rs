//! What a program inside sees.

use crate::inside::Inside;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("it_sees_its_own_processes_and_no_others", it_sees_its_own_processes_and_no_others),
    ("it_is_a_user_without_rights", it_is_a_user_without_rights),
    ("its_root_has_what_was_granted", its_root_has_what_was_granted),
    ("its_network_is_a_loopback", its_network_is_a_loopback),
];

fn it_sees_its_own_processes_and_no_others() {
    let seen = Inside::default().sh("for p in /proc/[0-9]*; do echo ${p#/proc/}; done");
    assert_eq!(seen, "1\n");
    assert_eq!(
        Inside::default().sh("test -e /proc/sys || test -e /proc/meminfo || echo gone"),
        "gone\n"
    );
}

fn it_is_a_user_without_rights() {
    let seen = Inside::default()
        .sh("id -u; id -g; grep -E '^(Cap|NoNewPrivs|Groups)' /proc/self/status; hostname; pwd");
    assert_eq!(
        seen.replace('\t', " "),
        "1000\n1000\nGroups:  \nCapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\n\
         CapBnd: 0000000000000000\nCapAmb: 0000000000000000\nNoNewPrivs: 1\nsolo\n/\n"
    );
}

fn its_root_has_what_was_granted() {
    let seen = Inside::default().sh("ls -A /; ls -A /dev /etc");
    assert_eq!(
        seen,
        "bin\ndev\netc\nlib\nlib64\nproc\nsbin\ntmp\nusr\n/dev:\nfd\nfull\nnull\nrandom\nshm\nstderr\nstdin\nstdout\nurandom\nzero\n\
         \n/etc:\ngroup\nhosts\nnsswitch.conf\npasswd\n"
    );
}

fn its_network_is_a_loopback() {
    let seen = Inside::default().sh("cat /proc/self/net/dev | tail -n +3 | cut -d: -f1");
    assert_eq!(seen.trim(), "lo");
    let script = "import socket; s=socket.create_server(('127.0.0.1',0)); \
                  socket.create_connection(s.getsockname()); print('connected')";
    let output = Inside::default().run(&["/usr/bin/python3", "-c", script]);
    assert!(crate::inside::text(&output.stdout).contains("connected"), "{output:?}");
}
