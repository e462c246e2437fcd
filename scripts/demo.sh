#!/usr/bin/env bash
# Shows Solo at work, in a home of its own: start, deploy, call, crash, kill the kernel.
# DEMO_KEEP=1 leaves it running. Exits with 0 only if everything that it claims was seen.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-$PWD/target}"
guests="$target/guests"
solo="$target/release/solo"
SOLO_HOME="$(mktemp -d -t solo-demo.XXXXXX)"
export SOLO_HOME

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '  $ solo %s\n' "$*"; "$solo" "$@" | sed -e 's/^/    /' -e '$a\'; }
json() { "$solo" --output json "$@"; }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
now_ms() { date +%s%3N; }

finish() {
  status=$?
  if [ -n "${DEMO_KEEP:-}" ] && [ "$status" -eq 0 ]; then return; fi
  "$solo" shutdown --timeout 5s >/dev/null 2>&1 || true
  rm -rf "$SOLO_HOME"
}
trap finish EXIT

measured=()
measure() { measured+=("$(printf '%-46s %10s' "$1" "$2")"); }

# Runs a command of its own until it succeeds; gives up after $1 milliseconds. Prints how long it took.
until_ok() {
  local limit=$1 began
  shift
  began=$(now_ms)
  until "$@" >/dev/null 2>&1; do
    [ $(($(now_ms) - began)) -lt "$limit" ] || fail "not within $limit ms: $*"
    sleep 0.01
  done
  echo $(($(now_ms) - began))
}

bold '1. Start'
began=$(now_ms)
show up --detach --api 127.0.0.1:0 --gateway 127.0.0.1:0 --metrics 127.0.0.1:0
measure 'start of Solo until its API answers' "$(($(now_ms) - began)) ms"

bold '2. Deploy: real components, in Rust and JavaScript'
# JavaScript brings an engine of 10 MB along: it starts in more than the default 100 ms.
for guest in counter calculator logger crasher pinger counter-js calculator-js; do
  options=(--startup-timeout 5s)
  [ "$guest" = pinger ] && options+=(--allow call,send=service:counter)
  result=$(json deploy "$guest" "$guests/$guest.wasm" "${options[@]}")
  printf '    %-14s %s\n' "$guest" "$(jq -r '.timing_ms | "stored in \(.store*10|round/10) ms, compiled in \(.compile*10|round/10) ms, started in \(.start*10|round/10) ms"' <<<"$result")"
done
result=$(json deploy counter-two "$guests/counter.wasm")
measure 'deploy of a known component until ready' "$(jq -r '.timing_ms.total*100|round/100' <<<"$result") ms"

bold '3. Call: typed functions with JSON, actors with bytes'
show call calculator add 2 40
show call calculator-js divide 1 0
show call counter 'add 41'
show call counter 'add 1'
[ "$("$solo" call counter get)" = 42 ] || fail 'the counter does not say 42'
show call pinger 'ask counter get'
printf '  $ solo call calculator add 2 forty\n'
if "$solo" call calculator add 2 forty 2>&1 | sed 's/^/    /'; then :; fi

bold '4. Crash one: it comes back, and its neighbours do not notice'
show call crasher ok
printf '  $ solo call crasher unreachable\n'
("$solo" call crasher unreachable 2>&1 || true) | head -n 4 | sed 's/^/    /'
back=$(until_ok 5000 "$solo" call crasher ok)
measure 'crash until it answers again (CLI included)' "$back ms"
printf '    restarts: %s, state: %s\n' $(json status crasher | jq -r '.restarts, .state')
[ "$(json status crasher | jq .restarts)" -ge 1 ] || fail 'no restart was counted'
[ "$("$solo" call counter get)" = 42 ] || fail 'the counter noticed the crash of another'

bold '5. Kill the kernel: nothing else notices'
"$solo" call pinger 'start counter 5 get' >/dev/null
sleep 0.5
kernel=$(cat "$SOLO_HOME/run/kernel.pid")
kill -9 "$kernel"
away=$(until_ok 5000 "$solo" call counter get)
measure 'kernel killed until its API answers again' "$away ms"
sleep 0.5
stats=$("$solo" call pinger stats)
printf '    kernel %s was killed; a new one is %s\n' "$kernel" "$(cat "$SOLO_HOME/run/kernel.pid")"
printf '    calls between two services meanwhile: %s\n' "$stats"
[ "$(jq .failed <<<"$stats")" = 0 ] || fail 'a call between services failed'
[ "$(json status counter | jq .restarts)" = 0 ] || fail 'a service was restarted'
[ "$("$solo" call counter get)" = 42 ] || fail 'the counter lost its state'

bold '6. The tree, as it lives'
show tree

bold 'Measured here and now'
printf '    %s\n' "${measured[@]}"

if [ -n "${DEMO_KEEP:-}" ]; then
  bold 'It keeps running. Go on with'
  cat <<END
    export SOLO_HOME=$SOLO_HOME PATH=$target/release:\$PATH
    solo list
    solo logs counter -f
    solo deploy mine examples/adder.wat && solo call mine add 1 2
    solo shutdown
END
else
  bold 'Go on with'
  cat <<END
    DEMO_KEEP=1 make demo          the same, and leave it running
    $solo up                       start Solo for good
    $solo deploy NAME FILE         deploy a component of yours; docs/guests.md says how to make one
END
fi
