;; The smallest typed component: one function, written by hand.
;;
;;   solo deploy adder examples/adder.wat
;;   solo call adder add 2 3
(component
  (core module $code
    (func (export "add") (param i32 i32) (result i32)
      local.get 0
      local.get 1
      i32.add))
  (core instance $code (instantiate $code))
  ;; Wraps where 32 bits end.
  (func (export "add") (param "a" s32) (param "b" s32) (result s32)
    (canon lift (core func $code "add"))))
