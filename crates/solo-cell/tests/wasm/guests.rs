//! Guests as text: small, hand-written, one per thing that can go wrong.

/// Typed functions, good and bad.
pub(crate) const TYPED: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (global $count (mut i32) (i32.const 0))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "count") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.get $count))
    (func $inner unreachable)
    (func (export "trap") (call $inner))
    (func (export "spin") (loop $l (br $l)))
    (func (export "hog") (loop $l (drop (memory.grow (i32.const 16))) (br $l)))
    (func (export "sick") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" s32) (param "b" s32) (result s32) (canon lift (core func $i "add")))
  (func (export "count") (result u32) (canon lift (core func $i "count")))
  (func (export "trap") (canon lift (core func $i "trap")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "hog") (canon lift (core func $i "hog")))
  (func (export "sick") (result bool) (canon lift (core func $i "sick"))))"#;

/// Answers as many zeros as it is told to, and counts its calls.
pub(crate) const LARGE: &str = r#"(component
  (core module $m
    (memory (export "memory") 2)
    (global $count (mut i32) (i32.const 0))
    (func (export "zeros") (param $n i32) (result i32)
      (drop (memory.grow (i32.div_u (local.get $n) (i32.const 65536))))
      (i32.store (i32.const 0) (i32.const 16))
      (i32.store (i32.const 4) (local.get $n))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (i32.const 0))
    (func (export "count") (result i32) (global.get $count)))
  (core instance $i (instantiate $m))
  (func (export "zeros") (param "n" u32) (result (list u8))
    (canon lift (core func $i "zeros") (memory (core memory $i "memory"))))
  (func (export "count") (result u32) (canon lift (core func $i "count"))))"#;

/// A component whose start function is `body`, with `pages` of initial memory.
pub(crate) fn starting_with(pages: u32, body: &str) -> String {
    format!(
        r#"(component
  (core module $m (memory {pages}) (func $start {body}) (start $start)
    (func (export "ping")))
  (core instance $i (instantiate $m))
  (func (export "ping") (canon lift (core func $i "ping"))))"#
    )
}

/// A `wasi:cli/command` that returns ok (0) or an error (1).
pub(crate) fn command(result: u32) -> String {
    format!(
        r#"(component
  (core module $m (func (export "run") (result i32) (i32.const {result})))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $out (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $out)))"#
    )
}

/// A program that never ends.
pub(crate) const ENDLESS_COMMAND: &str = r#"(module
  (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))"#;

/// A preview 1 program that writes two lines, one of them unfinished, and ends with code 3.
pub(crate) const CORE_COMMAND: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "first\nsecond\1b")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 13))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
    (call $exit (i32.const 3))))"#;

/// Functions of numbers.
pub(crate) const CORE: &str = r#"(module
  (func (export "double") (param i64) (result i64) (i64.mul (local.get 0) (i64.const 2)))
  (func (export "boom") unreachable))"#;

/// Imports what nobody has.
pub(crate) const UNKNOWN_IMPORT: &str = r#"(component
  (import "acme:rocket/launch@1.0.0" (instance (export "go" (func))))
  (core module $m (func (export "ping")))
  (core instance $i (instantiate $m))
  (func (export "ping") (canon lift (core func $i "ping"))))"#;

/// `init` answers ok.
pub(crate) const INIT_OK: &str = "(i32.store8 (i32.const 1040) (i32.const 0))";

/// `init` answers `permanent("nope")`.
pub(crate) const INIT_PERMANENT: &str = "(i32.store8 (i32.const 1040) (i32.const 1))
  (i32.store8 (i32.const 1044) (i32.const 1))
  (i32.store (i32.const 1048) (i32.const 2048)) (i32.store (i32.const 1052) (i32.const 4))";

/// A `solo:service` handler that does what the first byte of a message says:
/// `e` echo, `n` count up and answer the count, `f` answer an error, `t` trap, `l` loop,
/// `c`/`s` LENGTH NAME MESSAGE: call/send MESSAGE to the service NAME, an error as `E` and its case,
/// `p` log the rest, `T` set a timer of 10 ms with the rest, `g` read configuration of that key.
/// A cast of `n` counts up, one of `t` traps. `terminate` logs its reason.
pub(crate) fn handler(init: &str) -> String {
    HANDLER.replace("(;INIT;)", init)
}

const HANDLER: &str = r#"(component
  (import "solo:service/messaging@0.1.0" (instance $messaging
    (type $e (variant (case "denied") (case "overloaded") (case "timeout") (case "crashed" string)
      (case "unavailable" string) (case "deadlock") (case "failed" string)))
    (export "message-error" (type $error (eq $e)))
    (export "service-ref" (type $ref (sub resource)))
    (export "lookup" (func (param "name" string) (result (result (own $ref) (error $error)))))
    (export "[method]service-ref.call" (func (param "self" (borrow $ref)) (param "payload" (list u8))
      (param "timeout-ms" (option u32)) (result (result (list u8) (error $error)))))
    (export "[method]service-ref.send" (func (param "self" (borrow $ref)) (param "payload" (list u8))
      (result (result (error $error)))))))
  (import "solo:service/log@0.1.0" (instance $log
    (type $l (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "message" string)))))
  (import "solo:service/timers@0.1.0" (instance $timers
    (export "send-after" (func (param "delay-ms" u64) (param "payload" (list u8))
      (result (result u64 (error string)))))))
  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $c (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $c)))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  (alias export $messaging "lookup" (func $lookup))
  (alias export $messaging "[method]service-ref.call" (func $call))
  (alias export $messaging "[method]service-ref.send" (func $send))
  (alias export $log "log" (func $log-line))
  (alias export $timers "send-after" (func $send-after))
  (alias export $config "get" (func $get))
  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (if (i32.gt_u (global.get $next) (i32.const 60000)) (then (global.set $next (i32.const 4096))))
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $lookup' (canon lower (func $lookup) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $call' (canon lower (func $call) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $send' (canon lower (func $send) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $log' (canon lower (func $log-line) (memory (core memory $libc "memory"))))
  (core func $after' (canon lower (func $send-after) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $get' (canon lower (func $get) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 2))
    (import "host" "lookup" (func $lookup (param i32 i32 i32)))
    (import "host" "call" (func $call (param i32 i32 i32 i32 i32 i32)))
    (import "host" "send" (func $send (param i32 i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "host" "after" (func $after (param i64 i32 i32 i32)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (data (i32.const 2048) "nope")
    (global $count (mut i32) (i32.const 0))
    (func $answer (param $case i32) (param $p i32) (param $n i32) (result i32)
      (i32.store8 (i32.const 1024) (local.get $case))
      (i32.store (i32.const 1028) (local.get $p))
      (i32.store (i32.const 1032) (local.get $n))
      (i32.const 1024))
    (func $error (param $case i32) (result i32)
      (i32.store8 (i32.const 1100) (i32.const 0x45))
      (i32.store8 (i32.const 1101) (i32.add (i32.const 0x30) (local.get $case)))
      (call $answer (i32.const 0) (i32.const 1100) (i32.const 2)))
    (func (export "init") (result i32) (;INIT;) (i32.const 1040))
    (func (export "handle-call") (param $p i32) (param $n i32) (result i32)
      (local $op i32) (local $name i32)
      (if (i32.eqz (local.get $n))
        (then (return (call $answer (i32.const 0) (local.get $p) (i32.const 0)))))
      (local.set $op (i32.load8_u (local.get $p)))
      (if (i32.eq (local.get $op) (i32.const 0x74)) (then unreachable))
      (if (i32.eq (local.get $op) (i32.const 0x6c)) (then (loop $l (br $l))))
      (if (i32.eq (local.get $op) (i32.const 0x66))
        (then (return (call $answer (i32.const 1) (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 0x6e)) (then
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store8 (i32.const 1100) (i32.add (i32.const 0x30) (global.get $count)))
        (return (call $answer (i32.const 0) (i32.const 1100) (i32.const 1)))))
      (if (i32.eq (local.get $op) (i32.const 0x70)) (then
        (call $log (i32.const 2) (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)))))
      (if (i32.eq (local.get $op) (i32.const 0x54)) (then
        (call $after (i64.const 10) (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)) (i32.const 1072))))
      (if (i32.eq (local.get $op) (i32.const 0x67)) (then
        (call $get (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $n) (i32.const 1)) (i32.const 1072))
        (return (call $answer (i32.const 0) (i32.load (i32.const 1080)) (i32.load (i32.const 1084))))))
      (if (i32.or (i32.eq (local.get $op) (i32.const 0x63)) (i32.eq (local.get $op) (i32.const 0x73))) (then
        (local.set $name (i32.load8_u offset=1 (local.get $p)))
        (call $lookup (i32.add (local.get $p) (i32.const 2)) (local.get $name) (i32.const 1056))
        (if (i32.load8_u (i32.const 1056)) (then (return (call $error (i32.load8_u (i32.const 1060))))))
        (local.set $p (i32.add (local.get $p) (i32.add (local.get $name) (i32.const 2))))
        (local.set $n (i32.sub (local.get $n) (i32.add (local.get $name) (i32.const 2))))
        (if (i32.eq (local.get $op) (i32.const 0x63))
          (then
            (call $call (i32.load (i32.const 1060)) (local.get $p) (local.get $n) (i32.const 0) (i32.const 0) (i32.const 1056))
            (if (i32.load8_u (i32.const 1056)) (then (return (call $error (i32.load8_u (i32.const 1060))))))
            (return (call $answer (i32.const 0) (i32.load (i32.const 1060)) (i32.load (i32.const 1064)))))
          (else
            (call $send (i32.load (i32.const 1060)) (local.get $p) (local.get $n) (i32.const 1056))
            (if (i32.load8_u (i32.const 1056)) (then (return (call $error (i32.load8_u (i32.const 1060))))))))))
      (call $answer (i32.const 0) (local.get $p) (local.get $n)))
    (func (export "handle-cast") (param $p i32) (param $n i32)
      (if (i32.eqz (local.get $n)) (then return))
      (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 0x74)) (then unreachable))
      (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 0x6e)) (then
        (global.set $count (i32.add (global.get $count) (i32.const 1))))))
    (func (export "terminate") (param i32 i32) (call $log (i32.const 2) (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "lookup" (func $lookup')) (export "call" (func $call')) (export "send" (func $send'))
      (export "log" (func $log')) (export "after" (func $after')) (export "get" (func $get'))))))
  (type $init-error (variant (case "retry" string) (case "permanent" string)))
  (func $init (result (result (error $init-error))) (canon lift (core func $i "init") (memory (core memory $libc "memory"))))
  (func $handle-call (param "payload" (list u8)) (result (result (list u8) (error string)))
    (canon lift (core func $i "handle-call") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (func $handle-cast (param "payload" (list u8))
    (canon lift (core func $i "handle-cast") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (func $terminate (param "reason" string)
    (canon lift (core func $i "terminate") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (component $shim
    (type $e (variant (case "retry" string) (case "permanent" string)))
    (import "import-type-init-error" (type $in (eq $e)))
    (import "import-func-init" (func $init (result (result (error $in)))))
    (import "import-func-call" (func $call (param "payload" (list u8)) (result (result (list u8) (error string)))))
    (import "import-func-cast" (func $cast (param "payload" (list u8))))
    (import "import-func-terminate" (func $terminate (param "reason" string)))
    (type $e2 (variant (case "retry" string) (case "permanent" string)))
    (export $out "init-error" (type $e2))
    (export "init" (func $init) (func (result (result (error $out)))))
    (export "handle-call" (func $call))
    (export "handle-cast" (func $cast))
    (export "terminate" (func $terminate)))
  (instance $handler (instantiate $shim
    (with "import-type-init-error" (type $init-error))
    (with "import-func-init" (func $init))
    (with "import-func-call" (func $handle-call))
    (with "import-func-cast" (func $handle-cast))
    (with "import-func-terminate" (func $terminate))))
  (export "solo:service/handler@0.1.0" (instance $handler)))"#;
