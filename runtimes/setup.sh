#!/bin/sh
# Installs what building the runtimes of languages needs beside Rust for WebAssembly (guests/setup.sh): clang
# with its runtime for WebAssembly, of the newest version that Debian or Ubuntu has all of.
# Changes nothing where it is there already.
set -eu

say() { echo "runtimes/setup.sh: $*" >&2; }

for clang in /usr/bin/clang-[0-9]*; do
    version=${clang##*-}
    if [ -x "$clang" ] && [ -x "/usr/bin/llvm-ar-$version" ] &&
        ls "/usr/lib/llvm-$version/lib/clang/"*/lib/wasi/* >/dev/null 2>&1; then
        say "clang $version for WebAssembly is there"
        exit 0
    fi
done
command -v apt-get >/dev/null || { say "no apt-get here; install clang, llvm and libclang-rt for wasm32"; exit 1; }
if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root=sudo; fi
$as_root apt-get update -qq
version=$(apt-cache search --names-only '^libclang-rt-[0-9]+-dev-wasm32$' | sed 's/^libclang-rt-\([0-9]*\)-.*/\1/' | sort -n | tail -n 1)
[ -n "$version" ] || { say "no package libclang-rt-N-dev-wasm32 here"; exit 1; }
say "installing clang-$version"
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "clang-$version" "llvm-$version" "libclang-rt-$version-dev-wasm32" >/dev/null
