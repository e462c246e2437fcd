//! Checks descriptions of small components and modules.

#![expect(clippy::unwrap_used, reason = "tests")]

use wasmtime::Module;
use wasmtime::component::Component;

use super::*;
use crate::engine::compile_engine;

fn describe(text: &str) -> Result<Description, Refusal> {
    let engine = compile_engine().unwrap();
    if text.trim_start().starts_with("(module") {
        describe_module(&Module::new(&engine, text).unwrap())
    } else {
        describe_component(&engine, &Component::new(&engine, text).unwrap())
    }
}

/// A component that exports `body` and the parts that most tests need.
fn component(body: &str) -> String {
    format!(
        r#"(component
          (core module $m (func (export "f")) (func (export "g") (result i32) i32.const 0))
          (core instance $m (instantiate $m))
          (func $f (canon lift (core func $m "f")))
          (func $g (result (result)) (canon lift (core func $m "g")))
          {body})"#
    )
}

fn interface(name: &str, function: &str) -> String {
    format!(r#"(instance $i (export "{function}" (func $f))) (export "{name}" (instance $i))"#)
}

#[test]
fn functions_make_a_typed_service() {
    let text = r#"(component
      (core module $m
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
        (func (export "move") (param i32 i32 i32 i32) (result i32) i32.const 0))
      (core instance $m (instantiate $m))
      (type $point' (record (field "x" s32) (field "label" (option string))))
      (export $point "point" (type $point'))
      (type $error' (variant (case "gone") (case "far" u8)))
      (export $error "error" (type $error'))
      (func (export "move") (param "p" $point) (result (result $point (error $error)))
        (canon lift (core func $m "move") (memory (core memory $m "memory"))
          (realloc (core func $m "realloc")))))"#;
    let found = describe(text).unwrap();
    assert_eq!((found.kind, found.core_module), (Kind::Typed, false));
    let point = "record { x: s32, label: option<string> }";
    let result = format!("result<{point}, variant {{ gone, far(u8) }}>");
    assert_eq!(
        found.exports,
        [Export {
            name: "move".to_owned(),
            signature: format!("move: func(p: {point}) -> {result}"),
            parameters: vec![("p".to_owned(), point.to_owned())],
            result,
        }]
    );
}

#[test]
fn functions_of_interfaces_have_full_names() {
    let found = describe(&component(&interface("demo:tools/ops@1.2.3", "go"))).unwrap();
    assert_eq!(found.kind, Kind::Typed);
    assert_eq!(found.exports[0].name, "demo:tools/ops@1.2.3#go");
    assert_eq!(found.exports[0].signature, "go: func()");
}

#[test]
fn kinds_have_an_order() {
    let handler = interface("solo:service/handler@0.1.4", "terminate");
    let found = describe(&component(&format!(r#"{handler} (export "go" (func $f))"#))).unwrap();
    assert_eq!((found.kind, found.exports.len()), (Kind::Handler, 1));
    let program =
        r#"(instance $i (export "run" (func $g))) (export "wasi:cli/run@0.2.6" (instance $i))"#;
    let found = describe(&component(program)).unwrap();
    assert_eq!((found.kind, found.exports.len()), (Kind::Command, 0));
    let web = interface("wasi:http/incoming-handler@0.2.3", "handle");
    let refusal = describe(&component(&web)).unwrap_err();
    assert_eq!(refusal, Refusal::Unsupported("web services come with the gateway"));
    let both = format!(r#"{web} (export "go" (func $f))"#);
    let found = describe(&component(&both)).unwrap();
    assert_eq!((found.kind, found.exports.len()), (Kind::Typed, 1));
    assert_eq!(describe(&component("")).unwrap_err(), Refusal::NotAService);
    assert_eq!(describe("(component)").unwrap_err(), Refusal::NotAService);
}

#[test]
fn unknown_imports_are_all_named() {
    let text = r#"(component
      (import "acme:db/store@1.0.0" (instance (export "get" (func))))
      (import "launch" (func))
      (import "acme:db/types@1.0.0" (instance (type $u u8) (export "t" (type (eq $u)))))
      (import "wasi:cli/stdin@0.2.0" (instance (export "x" (func)))))"#;
    let Refusal::UnknownImport(names) = describe(text).unwrap_err() else { panic!("wrong kind") };
    assert_eq!(names, "acme:db/store@1.0.0, launch");
    let many: String = (0..50).map(|n| format!(r#"(import "f{n}" (func))"#)).collect();
    let refusal = describe(&format!("(component {many})")).unwrap_err().to_string();
    assert!(refusal.ends_with("f19 and 30 more"), "{refusal}");
}

#[test]
fn resources_have_their_names() {
    let text = r#"(component
      (import "wasi:io/error@0.2.0" (instance $e (export "error" (type (sub resource)))))
      (alias export $e "error" (type $error))
      (core module $m (func (export "f") (param i32)))
      (core instance $m (instantiate $m))
      (func (export "f") (param "e" (own $error)) (canon lift (core func $m "f")))
      (func (export "g") (param "e" (borrow $error)) (canon lift (core func $m "f"))))"#;
    let found = describe(text).unwrap();
    assert_eq!(found.exports[0].signature, "f: func(e: error)");
    assert_eq!(found.exports[1].signature, "g: func(e: borrow<error>)");
    assert_eq!(found.imports, ["wasi:io/error@0.2.0"]);
}

#[test]
fn core_modules_are_services_too() {
    let found = describe(
        r#"(module (memory (export "memory") 1) (func (export "_initialize"))
           (func (export "add") (param i32 i64) (result f32 f64) unreachable))"#,
    )
    .unwrap();
    assert_eq!((found.kind, found.core_module, found.exports.len()), (Kind::Core, true, 1));
    assert_eq!(found.exports[0].signature, "add: func(p1: i32, p2: i64) -> tuple<f32, f64>");
    let program = r#"(module
      (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
      (func (export "_start")))"#;
    let found = describe(program).unwrap();
    assert_eq!((found.kind, found.exports.len()), (Kind::Command, 0));
    assert_eq!(found.imports, ["wasi_snapshot_preview1#proc_exit"]);
    assert_eq!(describe("(module)").unwrap_err(), Refusal::NotAService);
    let refusal = describe(r#"(module (import "env" "memory" (memory 1)))"#).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownImport("env#memory".to_owned()));
}

#[test]
fn a_type_that_explodes_is_cut() {
    // Each level doubles the text: 2^17 names.
    let mut types = String::from("(type $t0 u8)");
    for level in 1..=17 {
        let below = level - 1;
        types.push_str(&format!("(type $t{level} (tuple $t{below} $t{below}))"));
    }
    let text = format!(
        r#"(component {types}
          (core module $m (memory (export "memory") 1) (func (export "f") (param i32))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
          (core instance $m (instantiate $m))
          (func (export "f") (param "t" $t17) (canon lift (core func $m "f")
            (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"#
    );
    let found = describe(&text).unwrap();
    assert!(found.exports[0].signature.ends_with("..."));
    assert!(found.exports[0].signature.len() < 9 << 10);
}

#[test]
fn too_many_functions_are_refused() {
    let exports: String =
        (0..30_000).map(|n| format!(r#"(export "function-{n}" (func 0))"#)).collect();
    let refusal = describe(&format!("(module (func) {exports})")).unwrap_err();
    assert_eq!(refusal, Refusal::TooLarge(1 << 20));
}
