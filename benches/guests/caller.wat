;; A service that sends, calls and looks up in a loop, so that one message between two services can be
;; timed from outside: a clock inside of the guest would cost as much as the message.
;;
;; handle-call takes 8 bytes: the letter of an operation, three bytes of padding, and how often, as a
;; little-endian u32. `c` calls the service `target`, `s` sends to it, `l` looks it up and drops the
;; reference; anything else only looks it up once. Answers nothing; the first operation that fails is
;; an error. Messages have 64 bytes.
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
  (alias export $messaging "service-ref" (type $service-ref))

  ;; Memory apart, as the host functions need it before the code that imports them is there.
  (core module $memory-module
    (memory (export "memory") 1)
    (global $next (export "next") (mut i32) (i32.const 4096))
    ;; Answers are at most some hundred bytes and are forgotten after each operation.
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
  (core func $drop (canon resource.drop $service-ref))

  (core module $code
    (import "memory" "memory" (memory 1))
    (import "memory" "next" (global $next (mut i32)))
    (import "host" "lookup" (func $lookup (param i32 i32 i32)))
    (import "host" "send" (func $send (param i32 i32 i32 i32)))
    (import "host" "call" (func $call (param i32 i32 i32 i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32)))
    (data (i32.const 0) "target")
    (data (i32.const 64) "get                                                             ")
    (data (i32.const 128) "add 1                                                           ")
    (data (i32.const 192) "an operation failed")
    ;; Results: of a host function at 256, of handle-call at 288, of init (ok) at 320.

    ;; Whether the host function that wrote its result at 256 failed.
    (func $failed (result i32) (i32.load8_u (i32.const 256)))
    ;; Looks `target` up; the reference is at 260 unless it failed.
    (func $look (call $lookup (i32.const 0) (i32.const 6) (i32.const 256)))
    ;; One operation. True: it failed.
    (func $operate (param $letter i32) (param $target i32) (result i32)
      (if (i32.eq (local.get $letter) (i32.const 0x63)) ;; c
        (then (call $call (local.get $target) (i32.const 64) (i32.const 64)
          (i32.const 0) (i32.const 0) (i32.const 256))))
      (if (i32.eq (local.get $letter) (i32.const 0x73)) ;; s
        (then (call $send (local.get $target) (i32.const 128) (i32.const 64) (i32.const 256))))
      (if (i32.eq (local.get $letter) (i32.const 0x6c)) ;; l
        (then
          (call $look)
          (if (i32.eqz (call $failed)) (then (call $drop (i32.load (i32.const 260)))))))
      (call $failed))
    (func $answer (param $is-error i32) (param $at i32) (param $bytes i32) (result i32)
      (i32.store8 (i32.const 288) (local.get $is-error))
      (i32.store (i32.const 292) (local.get $at))
      (i32.store (i32.const 296) (local.get $bytes))
      (i32.const 288))

    (func (export "init") (result i32) (i32.const 320))
    (func (export "handle-call") (param $payload i32) (param $bytes i32) (result i32)
      (local $letter i32) (local $count i32) (local $target i32) (local $failed i32)
      (if (i32.lt_u (local.get $bytes) (i32.const 8))
        (then (return (call $answer (i32.const 1) (i32.const 192) (i32.const 19)))))
      (local.set $letter (i32.load8_u (local.get $payload)))
      (local.set $count (i32.load offset=4 (local.get $payload)))
      (global.set $next (i32.const 4096))
      (call $look)
      (if (call $failed) (then (return (call $answer (i32.const 1) (i32.const 192) (i32.const 19)))))
      (local.set $target (i32.load (i32.const 260)))
      (block $done
        (loop $again
          (br_if $done (i32.eqz (local.get $count)))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (global.set $next (i32.const 4096))
          (local.set $failed (call $operate (local.get $letter) (local.get $target)))
          (br_if $again (i32.eqz (local.get $failed)))))
      (call $drop (local.get $target))
      (global.set $next (i32.const 4096))
      (if (local.get $failed)
        (then (return (call $answer (i32.const 1) (i32.const 192) (i32.const 19)))))
      (call $answer (i32.const 0) (i32.const 0) (i32.const 0)))
    (func (export "handle-cast") (param i32 i32) (global.set $next (i32.const 4096)))
    (func (export "terminate") (param i32 i32)))
  (core instance $instance (instantiate $code
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "lookup" (func $lookup)) (export "send" (func $send))
      (export "call" (func $call)) (export "drop" (func $drop))))))

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
