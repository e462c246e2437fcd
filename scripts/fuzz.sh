#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/ one after the other, FUZZ_SECONDS in total (600), or those that are
# named. Stops at the first that finds something.
#
# Needs no nightly compiler: RUSTC_BOOTSTRAP lets the installed one take the flags of the sanitizer.
# Builds below $CARGO_TARGET_DIR/fuzz, where the inputs that were worth keeping (corpus) and those that
# broke something (artifacts) are, too.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${FUZZ_SECONDS:-600}"
tools="$HOME/.cache/solo-tools"
export PATH="$tools/bin:$HOME/.cargo/bin:$PATH"
work="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"

if [ "$#" -gt 0 ]; then
  targets=("$@")
else
  targets=(token_text token_changes capability_text requests)
fi

if ! command -v cargo-fuzz >/dev/null; then
  echo 'fuzz: building cargo-fuzz (once, a minute or two)' >&2
  cargo install --quiet --locked --root "$tools" cargo-fuzz
fi

# Compilers of distributions come without the run time of the sanitizer. Most is found without it, as
# Solo itself is safe Rust.
sanitizer=address
host="$(rustc -vV | sed -n 's/^host: //p')"
compgen -G "$(rustc --print sysroot)/lib/rustlib/$host/lib/librustc-*_rt.asan.a" >/dev/null || sanitizer=none
# cargo-fuzz takes no lock file; what it builds is what was looked at, or nothing.
cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
export RUSTC_BOOTSTRAP=1
options=(--sanitizer "$sanitizer" --target-dir "$work/target")
cargo fuzz build "${options[@]}"

# Signing takes its time, so that the target that signs gets as much as three others.
share_of() { if [ "$1" = token_changes ]; then echo 3; else echo 1; fi; }
shares=0
for target in "${targets[@]}"; do
  shares=$((shares + $(share_of "$target")))
done
for target in "${targets[@]}"; do
  each=$((seconds * $(share_of "$target") / shares))
  [ "$each" -gt 0 ] || each=1
  corpus="$work/corpus/$target"
  artifacts="$work/artifacts/$target/"
  mkdir -p "$corpus" "$artifacts"
  run=(-max_total_time="$each" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$artifacts")
  run+=(-print_final_stats=1 -verbosity=0)
  case $target in
    # The largest value that has a bound is 64 KiB.
    requests) run+=(-max_len=70000) ;;
    # The longest token has 16 KiB.
    token_text) run+=(-max_len=17000) ;;
    # Steps of an attack, from the beginning.
    token_changes) run+=(-max_len=600 -len_control=0) ;;
    capability_text) run+=(-dict=fuzz/dictionary.txt) ;;
  esac
  seeds=()
  [ ! -d "fuzz/seeds/$target" ] || seeds=("fuzz/seeds/$target")
  echo "== fuzz: $target, $each s" >&2
  log="$work/$target.log"
  if ! cargo fuzz run "${options[@]}" "$target" "$corpus" "${seeds[@]}" -- "${run[@]}" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    echo "fuzz: $target found something; all of it: $log" >&2
    exit 1
  fi
  grep -E 'executed_units|peak_rss' "$log" >&2
done
