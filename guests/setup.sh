#!/bin/sh
# Installs what building the guests needs: guests/setup.sh [rust] [js]   (no word: both)
#
# Changes nothing where the tools are there already. Packages come from Debian or Ubuntu (root or
# sudo is used when something is missing), from rustup, and from npm into guests/js/node_modules.
set -eu
cd "$(dirname "$0")"

TARGET=wasm32-unknown-unknown
NODE_MAJOR_MIN=20

say() { echo "guests/setup.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

install_packages() {
    command -v apt-get >/dev/null || fail "no apt-get here; install by hand: $*"
    if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root=sudo; fi
    say "installing: $*"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

update_packages() {
    command -v apt-get >/dev/null || return 0
    if [ "$(id -u)" -eq 0 ]; then apt-get update; else sudo apt-get update; fi
}

# True when the compiler $1 has the target's standard library.
has_target() {
    command -v "$1" >/dev/null && [ -d "$("$1" --print sysroot)/lib/rustlib/$TARGET/lib" ]
}

# True when Debian's compiler can build the target's standard library and link.
has_debian_toolchain() {
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] &&
        [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ] &&
        ls /usr/bin/wasm-ld* >/dev/null 2>&1
}

setup_rust() {
    if has_target rustc || has_target /usr/bin/rustc || has_debian_toolchain; then
        say "Rust for WebAssembly is there"
        return
    fi
    # The quickest way, where its server can be reached.
    if command -v rustup >/dev/null && timeout 120 rustup target add "$TARGET"; then
        return
    fi
    update_packages
    # Debian moves the version in the linker's name: take the newest.
    lld=$(apt-cache search --names-only '^lld-[0-9]+$' | cut -d' ' -f1 | sort -V | tail -n 1)
    [ -n "$lld" ] || fail "no package lld-N; install rustup and run: rustup target add $TARGET"
    install_packages rustc-web cargo-web rust-web-src rust-web-llvm "$lld"
}

node_is_new_enough() {
    command -v node >/dev/null || return 1
    major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
    [ "$major" -ge "$NODE_MAJOR_MIN" ]
}

setup_js() {
    if ! node_is_new_enough || ! command -v npm >/dev/null; then
        update_packages
        install_packages nodejs npm
        node_is_new_enough || fail "Node.js $(node --version) is too old; $NODE_MAJOR_MIN or newer is needed"
    fi
    wanted=$(node -p 'require("./js/package.json").dependencies["@bytecodealliance/componentize-js"]')
    installed=$(cd js && node -p 'JSON.parse(require("fs").readFileSync(
        "node_modules/@bytecodealliance/componentize-js/package.json")).version' 2>/dev/null || true)
    if [ "$installed" = "$wanted" ]; then
        say "componentize-js $wanted is there"
    else
        (cd js && npm ci)
    fi
    # What services of source text import in examples and tests. npm notes beside them which lock they are of.
    packages=../examples/source/packages
    if [ ! "$packages/node_modules/.package-lock.json" -nt "$packages/package-lock.json" ]; then
        (cd "$packages" && npm ci --ignore-scripts)
    fi
}

[ $# -gt 0 ] || set -- rust js
for language in "$@"; do
    case $language in
        rust) setup_rust ;;
        js) setup_js ;;
        *) fail "unknown word $language; usage: guests/setup.sh [rust] [js]" ;;
    esac
done
