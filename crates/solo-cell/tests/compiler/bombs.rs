//! Code that is made to hurt: each piece ends in success or a clear error, and the cell goes on.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::Cell;

/// Generous: other builds share the machine. The kernel's own limit is what protects it.
const JOB_MAX: Duration = Duration::from_secs(120);

/// A module of `count` functions that all compute something.
pub(crate) fn many_functions(count: u32) -> Vec<u8> {
    let mut text = String::from(r#"(module (func (export "f") (result i32) (call 1))"#);
    for n in 1..count {
        write!(text, "(func (result i32) (i32.add (i32.const {n}) (i32.const 7)))").unwrap();
    }
    text.push(')');
    wat::parse_str(text).unwrap()
}

/// Compiles `code`; returns the reason of its refusal, if any. The cell must answer afterwards.
async fn survives(code: Vec<u8>) -> Option<String> {
    let cell = Cell::start().await;
    let started = Instant::now();
    let answer = tokio::time::timeout(JOB_MAX, cell.compile(code)).await.expect("too slow");
    assert!(started.elapsed() < JOB_MAX);
    if let Some(failure) = &answer.failure {
        assert!(!failure.message.is_empty() && failure.message.len() < 4096);
    }
    let next = cell.compile(r#"(module (func (export "f")))"#).await;
    assert_eq!(next.failure, None);
    answer.failure.map(|failure| failure.reason)
}

#[tokio::test]
async fn deep_blocks() {
    // Written as bytes: the text format has a limit of its own.
    let deep = 10_000;
    let mut body = vec![0]; // no locals
    body.extend(std::iter::repeat_n([0x02, 0x40], deep).flatten());
    body.extend(std::iter::repeat_n(0x0b, deep + 1));
    let reason = survives(one_function(&body)).await;
    assert_eq!(reason, None);
}

#[tokio::test]
async fn deep_loops_and_conditions() {
    let deep = 3_000;
    let mut body = vec![0];
    for _ in 0..deep {
        body.extend([0x03, 0x40, 0x41, 0x01, 0x04, 0x40]); // loop, i32.const 1, if
    }
    body.extend(std::iter::repeat_n(0x0b, 2 * deep + 1));
    assert_eq!(survives(one_function(&body)).await, None);
}

#[tokio::test]
async fn a_hundred_thousand_functions() {
    assert_eq!(survives(many_functions(100_000)).await, None);
}

#[tokio::test]
async fn half_a_million_functions() {
    let mut code = header();
    let count = 500_000;
    section(&mut code, 1, &[1, 0x60, 0, 0]);
    let mut functions = leb(count);
    functions.extend(std::iter::repeat_n(0, count));
    section(&mut code, 3, &functions);
    section(&mut code, 7, &[1, 1, b'f', 0, 0]);
    let mut bodies = leb(count);
    bodies.extend(std::iter::repeat_n([2, 0, 0x0b], count).flatten());
    section(&mut code, 10, &bodies);
    assert_eq!(survives(code).await.as_deref(), Some("TOO_LARGE"));
}

#[tokio::test]
async fn sixty_four_mebibytes_of_data() {
    let size = 64 << 20;
    let mut code = header();
    section(&mut code, 1, &[1, 0x60, 0, 0]);
    section(&mut code, 3, &[1, 0]);
    section(&mut code, 5, &[&[1, 0][..], &leb(2048)].concat());
    section(&mut code, 7, &[1, 1, b'f', 0, 0]);
    section(&mut code, 10, &[1, 2, 0, 0x0b]);
    let mut data = vec![1, 0, 0x41, 0, 0x0b];
    data.extend(leb(size));
    data.resize(data.len() + size, 0x5a);
    section(&mut code, 11, &data);
    assert_eq!(survives(code).await, None);
}

#[tokio::test]
async fn data_at_both_ends_of_a_gibibyte() {
    let text = r#"(module (memory 65536) (data (i32.const 0) "a") (data (i32.const 0x3fffffff) "z")
      (func (export "f")))"#;
    assert_eq!(survives(text.into()).await, None);
}

#[tokio::test]
async fn more_than_an_artifact_may_have() {
    let mut code = header();
    code.resize((128 << 20) + 1, 0);
    assert_eq!(survives(code).await.as_deref(), Some("TOO_LARGE"));
}

#[tokio::test]
async fn text_that_nests() {
    let text = format!("(module {}", "(func (block ".repeat(100_000));
    assert_eq!(survives(text.into()).await.as_deref(), Some("INVALID_TEXT"));
}

#[tokio::test]
async fn types_that_nest() {
    let mut types = String::from("(type $t0 u8)");
    for level in 1..5_000 {
        write!(types, "(type $t{level} (option $t{}))", level - 1).unwrap();
    }
    let text = format!(
        r#"(component {types} (core module $m (func (export "f") (param i32)))
          (core instance $m (instantiate $m))
          (func (export "f") (param "t" $t4999) (canon lift (core func $m "f"))))"#
    );
    assert!(survives(text.into()).await.is_some());
}

#[tokio::test]
async fn components_that_nest() {
    let text = format!("{}{}", "(component ".repeat(90), ")".repeat(90));
    assert!(survives(text.into()).await.is_some());
}

fn header() -> Vec<u8> {
    b"\0asm\x01\0\0\0".to_vec()
}

/// A module with one exported function of the given body.
fn one_function(body: &[u8]) -> Vec<u8> {
    let mut code = header();
    section(&mut code, 1, &[1, 0x60, 0, 0]);
    section(&mut code, 3, &[1, 0]);
    section(&mut code, 7, &[1, 1, b'f', 0, 0]);
    section(&mut code, 10, &[&[1][..], &leb(body.len()), body].concat());
    code
}

fn section(code: &mut Vec<u8>, id: u8, content: &[u8]) {
    code.push(id);
    code.extend(leb(content.len()));
    code.extend(content);
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
