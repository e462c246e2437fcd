#!/usr/bin/env bash
# Installs what building and testing Solo needs, where it is missing. Changes nothing else.
#
# Debian and Ubuntu packages with apt-get (root, or sudo); cargo-nextest from crates.io and buf from
# npm into ~/.cache/solo-tools. The guests' toolchains are guests/setup.sh's.
set -euo pipefail

tools="$HOME/.cache/solo-tools"
export PATH="$tools/bin:$tools/node_modules/.bin:$HOME/.cargo/bin:$PATH"
rust_wanted=1.95
buf_wanted=1.75.0

say() { printf 'setup: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
has cc || packages+=(build-essential)
has jq || packages+=(jq)
has promtool || packages+=(prometheus)
has curl || packages+=(curl)
# Erlang's own supervisor, which ours is compared with.
has erl || packages+=(erlang-base)
has node || packages+=(nodejs)
has npm || packages+=(npm)
# Programs that nobody here wrote, which run as services in the tests.
has python3 || packages+=(python3)
has nginx || packages+=(nginx)
has redis-server || packages+=(redis-server)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || packages+=(postgresql)

# The installed compiler, if it is new enough; Debian's own (`rustc-web` follows Rust closely) else.
rust_is_new_enough() {
  has cargo && has rustc &&
    [ "$(printf '%s\n%s\n' "$rust_wanted" "$(rustc --version | cut -d' ' -f2)" | sort -V | head -n1)" = "$rust_wanted" ]
}
rust_is_new_enough || packages+=(rustc-web cargo-web)

if [ ${#packages[@]} -gt 0 ]; then
  has apt-get || { say "no apt-get here; install by hand: ${packages[*]}"; exit 1; }
  say "installing ${packages[*]}"
  as_root apt-get update -qq
  # What these packages start by themselves stays off: the tests start their own.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
if ! rust_is_new_enough; then
  say "Rust $rust_wanted or newer is needed; with rustup: rustup toolchain install stable"
  exit 1
fi
if ! has cargo-nextest; then
  say 'building cargo-nextest (once, some minutes)'
  cargo install --quiet --locked --root "$tools" cargo-nextest
fi
if ! has buf || [ "$(buf --version 2>&1)" != "$buf_wanted" ]; then
  say "installing buf $buf_wanted"
  npm install --loglevel error --no-audit --no-fund --prefix "$tools" "@bufbuild/buf@$buf_wanted"
fi
