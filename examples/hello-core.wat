;; A core module: numeric functions, and state in a global.
;;
;;   solo deploy hello examples/hello-core.wat
;;   solo call hello answer
;;   solo call hello divide 7 2
(module
  (global $count (mut i64) (i64.const 0))

  ;; 42.
  (func (export "answer") (result i32)
    i32.const 42)

  ;; Adds `amount` to the count and answers the count; a restart sets it to 0.
  (func (export "count") (param $amount i64) (result i64)
    global.get $count
    local.get $amount
    i64.add
    global.set $count
    global.get $count)

  ;; Traps when `b` is 0, which ends the instance.
  (func (export "divide") (param $a i32) (param $b i32) (result i32)
    local.get $a
    local.get $b
    i32.div_s)

  ;; The length of the hypotenuse.
  (func (export "hypotenuse") (param $a f64) (param $b f64) (result f64)
    local.get $a
    local.get $a
    f64.mul
    local.get $b
    local.get $b
    f64.mul
    f64.add
    f64.sqrt))
