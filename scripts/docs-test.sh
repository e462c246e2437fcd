#!/usr/bin/env bash
# Runs every `sh` block of docs/tour.md, docs/guests.md, docs/programs.md and docs/languages.md, line by line, each page in a home of its
# own. A line that begins with `!` must fail. Stops at the first line that does not do what the page says.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-$PWD/target}"
export GUESTS="$target/guests"
# Never the home of whoever runs this.
unset SOLO_HOME

solo() {
  # The tour shows `solo up` as it is typed; here the ports must be free ones.
  if [ "$1" = up ]; then
    shift
    case " $* " in *" --api "*) api=() ;; *) api=(--api 127.0.0.1:0) ;; esac
    "$target/release/solo" up "${api[@]}" --gateway 127.0.0.1:0 --metrics 127.0.0.1:0 "${@/:7747/:0}"
  else
    "$target/release/solo" "$@"
  fi
}

finish() {
  [ -n "${SOLO_HOME:-}" ] || return 0
  "$target/release/solo" shutdown --timeout 1s >/dev/null 2>&1 || true
  rm -rf "$SOLO_HOME"
  unset SOLO_HOME
}
trap finish EXIT

# Runs the page $1, which must have more than $2 lines to run.
check() {
  page=$1
  least=$2
  SOLO_HOME="$(mktemp -d -t solo-docs.XXXXXX)"
  export SOLO_HOME
  count=0
  in_block=no
  while IFS= read -r line <&3; do
    case $line in
      '```sh') in_block=yes; continue ;;
      '```'*) in_block=no; continue ;;
    esac
    [ "$in_block" = yes ] && [ -n "$line" ] || continue
    count=$((count + 1))
    if [ "${line#! }" != "$line" ]; then
      if eval "${line#! }" >"$SOLO_HOME/docs.out" 2>&1; then
        echo "$page: this should have failed: $line" >&2
        cat "$SOLO_HOME/docs.out" >&2
        exit 1
      fi
    elif ! eval "$line" >"$SOLO_HOME/docs.out" 2>&1; then
      echo "$page: this failed: $line" >&2
      cat "$SOLO_HOME/docs.out" >&2
      exit 1
    fi
  done 3<"$page"
  [ "$count" -gt "$least" ] || { echo "$page: hardly anything was run" >&2; exit 1; }
  echo "$page: $count lines passed"
  finish
}

check docs/tour.md 30
check docs/guests.md 15
check docs/programs.md 9
check docs/languages.md 14
