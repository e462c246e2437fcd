#!/bin/sh
# Installs what building the runtimes of languages needs: runtimes/setup.sh [javascript|python]   (no word: all)
#
# JavaScript: beside Rust for WebAssembly (guests/setup.sh) clang with its runtime for WebAssembly, of the newest
# version that Debian or Ubuntu has all of. Python: componentize-py from PyPI, in an environment of its own.
# Changes nothing where it is there already.
set -eu
cd "$(dirname "$0")"

say() { echo "runtimes/setup.sh: $*" >&2; }

install_packages() {
    command -v apt-get >/dev/null || { say "no apt-get here; install by hand: $*"; return 1; }
    if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root=sudo; fi
    say "installing: $*"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

update_packages() {
    command -v apt-get >/dev/null || return 0
    if [ "$(id -u)" -eq 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
}

setup_javascript() {
    for clang in /usr/bin/clang-[0-9]*; do
        version=${clang##*-}
        if [ -x "$clang" ] && [ -x "/usr/bin/llvm-ar-$version" ] &&
            ls "/usr/lib/llvm-$version/lib/clang/"*/lib/wasi/* >/dev/null 2>&1; then
            say "clang $version for WebAssembly is there"
            return
        fi
    done
    update_packages
    version=$(apt-cache search --names-only '^libclang-rt-[0-9]+-dev-wasm32$' | sed 's/^libclang-rt-\([0-9]*\)-.*/\1/' | sort -n | tail -n 1)
    [ -n "$version" ] || { say "no package libclang-rt-N-dev-wasm32 here"; return 1; }
    install_packages "clang-$version" "llvm-$version" "libclang-rt-$version-dev-wasm32"
}

setup_python() {
    environment="$HOME/.cache/solo-tools/python"
    wanted="$environment/requirements.txt"
    if [ -x "$environment/bin/componentize-py" ] && cmp -s python/requirements.txt "$wanted"; then
        say "componentize-py is there"
        fetch_wheels
        return
    fi
    rm -rf "$environment"
    mkdir -p "$(dirname "$environment")"
    if ! python3 -m venv "$environment" >/dev/null 2>&1; then
        update_packages
        install_packages python3 python3-venv
        python3 -m venv --clear "$environment"
    fi
    say "installing componentize-py"
    "$environment/bin/python3" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary :all: -r python/requirements.txt
    cp python/requirements.txt "$wanted"
    fetch_wheels
}

# What services in examples and tests import. The same for all machines: what is native in them is left out.
fetch_wheels() {
    wheels=../examples/source/wheels
    if ! cmp -s "$wheels.txt" "$wheels/wheels.txt"; then
        rm -rf "$wheels"
        "$environment/bin/python3" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
            --only-binary :all: --platform manylinux2014_x86_64 --python-version 3.13 -d "$wheels" -r "$wheels.txt"
        cp "$wheels.txt" "$wheels/wheels.txt"
    fi
}

case ${1:-} in
javascript) setup_javascript ;;
python) setup_python ;;
"")
    # One that cannot be had leaves the others.
    failed=0
    for language in javascript python; do sh ./setup.sh "$language" || failed=1; done
    exit "$failed"
    ;;
*)
    say "there is no language $1"
    exit 2
    ;;
esac
