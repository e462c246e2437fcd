;; An actor of every kind that the benchmarks need; which one it is depends on the messages it gets.
;;
;; Talks to the services `target` and `driver` and to no others. Payloads have 64 bytes: a letter, three
;; bytes of padding, a count as a little-endian u32, and filling. Times are nanoseconds of
;; `wasi:clocks/monotonic-clock`, little-endian.
;;
;; handle-call:
;;   c  calls `target` COUNT times. Answers u64: the time of all.
;;   C  the same, at most 16,000 times. Answers u32 per call: its time.
;;   s  sends to `target` COUNT times, then calls it once, which is answered when all have been handled.
;;      Answers u64: the time of the sends; u64: the time until the answer.
;;   x  calls `target` so that it crashes, then again until it answers. Answers u64: the time; u64: calls.
;;   r  answers u64: the time of the last round of hops; 0 while there is none.
;;   t  traps.
;;   Anything else is answered with itself.
;; handle-cast:
;;   R  starts a round: sends a hop with COUNT to `target`.
;;   h  a hop: sends it on to `target` with COUNT less one; with none left sends `d` to `driver`.
;;   d  the round is over.
;;   S  spins without end.
;;   Anything else is dropped.
(component
  (import "solo:service/messaging@0.1.0" (instance $messaging
    (export "service-ref" (type $service-ref (sub resource)))
    (type $error' (variant
      (case "denied") (case "overloaded") (case "timeout") (case "crashed" string)
      (case "unavailable" string) (case "deadlock") (case "failed" string)))
    (export "message-error" (type $error (eq $error')))
    (export "lookup" (func (param "name" string) (result (result (own $service-ref) (error $error)))))
    (export "[method]service-ref.send"
      (func (param "self" (borrow $service-ref)) (param "payload" (list u8))
        (result (result (error $error)))))
    (export "[method]service-ref.call"
      (func (param "self" (borrow $service-ref)) (param "payload" (list u8))
        (param "timeout-ms" (option u32)) (result (result (list u8) (error $error)))))))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "now" (func (result u64)))))

  ;; Memory apart, as the host functions need it before the code that imports them is there.
  (core module $memory-module
    ;; One page for constants, results and payloads, one for times.
    (memory (export "memory") 2)
    (global $next (export "next") (mut i32) (i32.const 4096))
    ;; Payloads and answers are short and forgotten after each operation.
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $next))
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 15)) (i32.const -16)))
      (if (i32.gt_u (global.get $next) (i32.const 65536)) (then unreachable))
      (local.get $at)))
  (core instance $memory (instantiate $memory-module))

  (core func $lookup (canon lower (func $messaging "lookup")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $send (canon lower (func $messaging "[method]service-ref.send")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $call (canon lower (func $messaging "[method]service-ref.call")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $now (canon lower (func $clock "now")))

  (core module $code
    (import "memory" "memory" (memory 2))
    (import "memory" "next" (global $next (mut i32)))
    (import "host" "lookup" (func $lookup (param i32 i32 i32)))
    (import "host" "send" (func $send (param i32 i32 i32 i32)))
    (import "host" "call" (func $call (param i32 i32 i32 i32 i32 i32)))
    (import "host" "now" (func $now (result i64)))
    (data (i32.const 0) "target")
    (data (i32.const 16) "driver")
    ;; Messages of 64 bytes: to be answered, to crash, a hop (count at 196), the end of a round, one
    ;; to be dropped.
    (data (i32.const 64) "g                                                               ")
    (data (i32.const 128) "t                                                               ")
    (data (i32.const 192) "h                                                               ")
    (data (i32.const 512) "d                                                               ")
    (data (i32.const 576) "n                                                               ")
    (data (i32.const 640) "an operation failed")
    ;; Results: of a host function at 256, of handle-call at 288, of init (ok) at 320; short answers
    ;; at 352.

    ;; References to `target` and `driver`; -1: not looked up yet.
    (global $target (mut i32) (i32.const -1))
    (global $driver (mut i32) (i32.const -1))
    ;; When the round began; how long it took, 0 while it goes on.
    (global $began (mut i64) (i64.const 0))
    (global $round (mut i64) (i64.const 0))

    ;; Whether the host function that wrote its result at 256 failed.
    (func $failed (result i32) (i32.load8_u (i32.const 256)))
    ;; Looks the name of six bytes at `name` up.
    (func $look (param $name i32) (result i32)
      (call $lookup (local.get $name) (i32.const 6) (i32.const 256))
      (if (call $failed) (then unreachable))
      (i32.load (i32.const 260)))
    (func $to-target (result i32)
      (if (i32.lt_s (global.get $target) (i32.const 0))
        (then (global.set $target (call $look (i32.const 0)))))
      (global.get $target))
    (func $to-driver (result i32)
      (if (i32.lt_s (global.get $driver) (i32.const 0))
        (then (global.set $driver (call $look (i32.const 16)))))
      (global.get $driver))
    ;; Sends 64 bytes. True: it failed.
    (func $tell (param $to i32) (param $message i32) (result i32)
      (call $send (local.get $to) (local.get $message) (i32.const 64) (i32.const 256))
      (global.set $next (i32.const 4096))
      (call $failed))
    ;; Calls `target` with 64 bytes and forgets the answer. True: it failed.
    (func $ask (param $message i32) (result i32)
      (call $call (call $to-target) (local.get $message) (i32.const 64)
        (i32.const 0) (i32.const 0) (i32.const 256))
      (global.set $next (i32.const 4096))
      (call $failed))

    (func $answer (param $is-error i32) (param $at i32) (param $bytes i32) (result i32)
      (i32.store8 (i32.const 288) (local.get $is-error))
      (i32.store (i32.const 292) (local.get $at))
      (i32.store (i32.const 296) (local.get $bytes))
      (i32.const 288))
    (func $fail (result i32) (call $answer (i32.const 1) (i32.const 640) (i32.const 19)))

    (func $calls (param $count i32) (result i32)
      (local $began i64)
      (drop (call $to-target))
      (local.set $began (call $now))
      (block $done
        (loop $again
          (br_if $done (i32.eqz (local.get $count)))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br_if $again (i32.eqz (call $ask (i32.const 64))))
          (return (call $fail))))
      (i64.store (i32.const 352) (i64.sub (call $now) (local.get $began)))
      (call $answer (i32.const 0) (i32.const 352) (i32.const 8)))

    (func $timed-calls (param $count i32) (result i32)
      (local $began i64) (local $time i64) (local $at i32) (local $end i32)
      (if (i32.gt_u (local.get $count) (i32.const 16000)) (then (return (call $fail))))
      (drop (call $to-target))
      (local.set $at (i32.const 65536))
      (local.set $end (i32.add (local.get $at) (i32.mul (local.get $count) (i32.const 4))))
      (block $done
        (loop $again
          (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
          (local.set $began (call $now))
          (if (call $ask (i32.const 64)) (then (return (call $fail))))
          (local.set $time (i64.sub (call $now) (local.get $began)))
          (if (i64.gt_u (local.get $time) (i64.const 0xffffffff))
            (then (local.set $time (i64.const 0xffffffff))))
          (i32.store (local.get $at) (i32.wrap_i64 (local.get $time)))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (br $again)))
      (call $answer (i32.const 0) (i32.const 65536) (i32.sub (local.get $at) (i32.const 65536))))

    (func $sends (param $count i32) (result i32)
      (local $began i64) (local $target i32)
      (local.set $target (call $to-target))
      (local.set $began (call $now))
      (block $done
        (loop $again
          (br_if $done (i32.eqz (local.get $count)))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br_if $again (i32.eqz (call $tell (local.get $target) (i32.const 576))))
          (return (call $fail))))
      (i64.store (i32.const 352) (i64.sub (call $now) (local.get $began)))
      (if (call $ask (i32.const 64)) (then (return (call $fail))))
      (i64.store (i32.const 360) (i64.sub (call $now) (local.get $began)))
      (call $answer (i32.const 0) (i32.const 352) (i32.const 16)))

    (func $crash (result i32)
      (local $began i64) (local $calls i64)
      (drop (call $to-target))
      (local.set $began (call $now))
      ;; It must not answer.
      (if (i32.eqz (call $ask (i32.const 128))) (then (return (call $fail))))
      (block $done
        (loop $again
          (local.set $calls (i64.add (local.get $calls) (i64.const 1)))
          (if (i64.gt_u (local.get $calls) (i64.const 1000000)) (then (return (call $fail))))
          (br_if $again (call $ask (i32.const 64)))))
      (i64.store (i32.const 352) (i64.sub (call $now) (local.get $began)))
      (i64.store (i32.const 360) (local.get $calls))
      (call $answer (i32.const 0) (i32.const 352) (i32.const 16)))

    (func $hop (param $left i32)
      (if (i32.eqz (local.get $left))
        (then
          (if (call $tell (call $to-driver) (i32.const 512)) (then unreachable))
          (return)))
      (i32.store (i32.const 196) (i32.sub (local.get $left) (i32.const 1)))
      (if (call $tell (call $to-target) (i32.const 192)) (then unreachable)))

    (func $spin
      (local $x i64)
      (loop $again
        (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1)))
        (br $again)))

    (func (export "init") (result i32) (i32.const 320))
    (func (export "handle-call") (param $payload i32) (param $bytes i32) (result i32)
      (local $letter i32) (local $count i32)
      (global.set $next (i32.const 4096))
      (if (i32.lt_u (local.get $bytes) (i32.const 8)) (then (return (call $fail))))
      (local.set $letter (i32.load8_u (local.get $payload)))
      (local.set $count (i32.load offset=4 (local.get $payload)))
      (if (i32.eq (local.get $letter) (i32.const 0x67)) ;; g
        (then (return (call $answer (i32.const 0) (local.get $payload) (local.get $bytes)))))
      (if (i32.eq (local.get $letter) (i32.const 0x63)) (then (return (call $calls (local.get $count))))) ;; c
      (if (i32.eq (local.get $letter) (i32.const 0x43)) (then (return (call $timed-calls (local.get $count))))) ;; C
      (if (i32.eq (local.get $letter) (i32.const 0x73)) (then (return (call $sends (local.get $count))))) ;; s
      (if (i32.eq (local.get $letter) (i32.const 0x78)) (then (return (call $crash)))) ;; x
      (if (i32.eq (local.get $letter) (i32.const 0x72)) ;; r
        (then
          (i64.store (i32.const 352) (global.get $round))
          (return (call $answer (i32.const 0) (i32.const 352) (i32.const 8)))))
      (if (i32.eq (local.get $letter) (i32.const 0x74)) (then unreachable)) ;; t
      (call $answer (i32.const 0) (local.get $payload) (local.get $bytes)))

    (func (export "handle-cast") (param $payload i32) (param $bytes i32)
      (local $letter i32) (local $count i32)
      (global.set $next (i32.const 4096))
      (if (i32.lt_u (local.get $bytes) (i32.const 8)) (then (return)))
      (local.set $letter (i32.load8_u (local.get $payload)))
      (local.set $count (i32.load offset=4 (local.get $payload)))
      (if (i32.eq (local.get $letter) (i32.const 0x6e)) (then (return))) ;; n
      (if (i32.eq (local.get $letter) (i32.const 0x68)) (then (call $hop (local.get $count)))) ;; h
      (if (i32.eq (local.get $letter) (i32.const 0x64)) ;; d
        (then (global.set $round (i64.sub (call $now) (global.get $began)))))
      (if (i32.eq (local.get $letter) (i32.const 0x52)) ;; R
        (then
          (global.set $round (i64.const 0))
          (global.set $began (call $now))
          (i32.store (i32.const 196) (local.get $count))
          (if (call $tell (call $to-target) (i32.const 192)) (then unreachable))))
      (if (i32.eq (local.get $letter) (i32.const 0x53)) (then (call $spin)))) ;; S
    (func (export "terminate") (param i32 i32)))
  (core instance $instance (instantiate $code
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "lookup" (func $lookup)) (export "send" (func $send))
      (export "call" (func $call)) (export "now" (func $now))))))

  (type $init-error (variant (case "retry" string) (case "permanent" string)))
  (func $init (result (result (error $init-error)))
    (canon lift (core func $instance "init") (memory (core memory $memory "memory"))))
  (func $handle-call (param "payload" (list u8)) (result (result (list u8) (error string)))
    (canon lift (core func $instance "handle-call")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $handle-cast (param "payload" (list u8))
    (canon lift (core func $instance "handle-cast")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $terminate (param "reason" string)
    (canon lift (core func $instance "terminate")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))

  ;; An exported function may only name types that its instance exports.
  (component $handler-component
    (type $e (variant (case "retry" string) (case "permanent" string)))
    (import "import-type-init-error" (type $in (eq $e)))
    (import "import-func-init" (func $init (result (result (error $in)))))
    (import "import-func-call"
      (func $call (param "payload" (list u8)) (result (result (list u8) (error string)))))
    (import "import-func-cast" (func $cast (param "payload" (list u8))))
    (import "import-func-terminate" (func $terminate (param "reason" string)))
    (type $e2 (variant (case "retry" string) (case "permanent" string)))
    (export $out "init-error" (type $e2))
    (export "init" (func $init) (func (result (result (error $out)))))
    (export "handle-call" (func $call))
    (export "handle-cast" (func $cast))
    (export "terminate" (func $terminate)))
  (instance $handler (instantiate $handler-component
    (with "import-type-init-error" (type $init-error))
    (with "import-func-init" (func $init))
    (with "import-func-call" (func $handle-call))
    (with "import-func-cast" (func $handle-cast))
    (with "import-func-terminate" (func $terminate))))
  (export "solo:service/handler@0.1.0" (instance $handler)))
