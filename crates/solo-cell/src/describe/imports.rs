//! What Solo provides to guests. The runtime links these and nothing else.
//!
//! That an interface is here does not mean that it gives access to anything: files, sockets and
//! HTTP requests without a grant are answered with an error at the call.

/// Solo's own interfaces, at 0.1.
const SOLO: [&str; 7] = [
    "solo:service/messaging",
    "solo:service/context",
    "solo:service/functions",
    "solo:service/log",
    "solo:service/timers",
    "solo:service/children",
    "solo:service/secrets",
];

/// WASI 0.2 as wasmtime-wasi and wasmtime-wasi-http implement it.
const WASI: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Configuration, of which only drafts of 0.2.0 exist.
const CONFIG: &str = "wasi:config/store";

/// What services keep, of which only drafts of 0.2.0 exist. They differ.
const KEYVALUE: &str = "wasi:keyvalue/";

/// Interfaces of it.
const KEYVALUE_INTERFACES: [&str; 3] = ["store", "atomics", "batch"];

/// The interface of `wasi:keyvalue` that has this name, and whether it is of the second draft; `None`: it is
/// none that Solo provides.
pub(crate) fn keyvalue_interface(name: &str) -> Option<(&'static str, bool)> {
    let (interface, version) = name.strip_prefix(KEYVALUE)?.split_once('@')?;
    let is_second = match version {
        "0.2.0-draft" => false,
        "0.2.0-draft2" => true,
        _ => return None,
    };
    KEYVALUE_INTERFACES.into_iter().find(|own| *own == interface).map(|own| (own, is_second))
}

/// Tells whether Solo provides the component interface `name`, `PACKAGE:NAMESPACE/NAME@VERSION`.
///
/// Patch versions do not matter: within 0.1 and 0.2 interfaces only grow. Release candidates of
/// 0.2.0 were different and do not count.
pub(crate) fn provides_interface(name: &str) -> bool {
    let Some((interface, version)) = name.split_once('@') else { return false };
    if SOLO.contains(&interface) {
        is_patch_of(version, "0.1")
    } else if WASI.contains(&interface) {
        is_patch_of(version, "0.2")
    } else {
        keyvalue_interface(name).is_some()
            || interface == CONFIG && (version == "0.2.0" || version.starts_with("0.2.0-"))
    }
}

/// Tells whether `name` is a version of `interface`, which ends in `@MAJOR.MINOR`.
pub(super) fn is_interface(name: &str, interface: &str) -> bool {
    match (name.split_once('@'), interface.split_once('@')) {
        (Some((name, version)), Some((wanted, minor))) => {
            name == wanted && is_patch_of(version, minor)
        }
        _ => false,
    }
}

/// `0.2.6` is a patch of `0.2`; `0.2.0-rc-2023-12-05` and `0.20.1` are not.
fn is_patch_of(version: &str, minor: &str) -> bool {
    version
        .strip_prefix(minor)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
}

/// The module that core modules may import from.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The functions of [`PREVIEW1`].
const PREVIEW1_FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Tells whether Solo provides the function `name` of `module` to core modules.
pub(crate) fn provides_module(module: &str, name: &str) -> bool {
    module == PREVIEW1 && PREVIEW1_FUNCTIONS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_match_within_the_minor() {
        for name in [
            "wasi:cli/stdout@0.2.0",
            "wasi:io/streams@0.2.12",
            "wasi:config/store@0.2.0-draft",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:http/types@0.2.3",
            "solo:service/messaging@0.1.0",
            "solo:service/log@0.1.7",
            "solo:service/secrets@0.1.0",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "wasi:keyvalue/batch@0.2.0-draft2",
        ] {
            assert!(provides_interface(name), "{name}");
        }
        for name in [
            "wasi:cli/stdout",
            "wasi:cli/stdout@0.2",
            "wasi:cli/stdout@0.3.0",
            "wasi:cli/stdout@0.20.0",
            "wasi:cli/stdout@0.2.0-rc-2023-12-05",
            "wasi:config/store@0.3.0",
            "wasi:keyvalue/store@0.2.0",
            "wasi:keyvalue/store@0.2.0-draft3",
            "wasi:keyvalue/watcher@0.2.0-draft2",
            "wasi:keyvalue/store",
            "solo:service/messaging@1.0.0",
            "stdout",
            "",
        ] {
            assert!(!provides_interface(name), "{name}");
        }
    }

    #[test]
    fn core_modules_get_preview1_only() {
        assert!(provides_module("wasi_snapshot_preview1", "fd_write"));
        assert!(!provides_module("wasi_snapshot_preview1", "fd_launch_rocket"));
        assert!(!provides_module("env", "fd_write"));
    }
}
