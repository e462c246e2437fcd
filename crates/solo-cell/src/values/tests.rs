//! Conversions in both directions, by example and at random.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Val};
use wasmtime::{Config, Engine, FuncType, ValType};

use super::*;

fn engine() -> Engine {
    let mut config = Config::new();
    // Off in the engines of Solo, but the conversion knows them.
    config.wasm_component_model_map(true).wasm_component_model_fixed_length_lists(true);
    Engine::new(&config).unwrap()
}

/// The type of a function; `types` declares what `function` names.
fn function(types: &str, function: &str) -> ComponentFunc {
    let engine = engine();
    let text =
        format!(r#"(component (import "i" (instance {types} (export "f" (func {function})))))"#);
    let component = Component::new(&engine, &text).unwrap();
    let ty = component.component_type();
    let Some(ComponentItem::ComponentInstance(instance)) =
        ty.get_import(&engine, "i").map(|import| import.ty)
    else {
        panic!("no instance")
    };
    match instance.get_export(&engine, "f").map(|export| export.ty) {
        Some(ComponentItem::ComponentFunc(function)) => function,
        _ => panic!("no function"),
    }
}

/// Reads `json` as the one argument of type `ty` and writes it back.
fn round(ty: &str, json: &Value) -> Result<Value, String> {
    let function = function("", &format!(r#"(param "a" {ty})"#));
    let arguments = arguments_from_json(&function, &json!([json]).to_string());
    let arguments = arguments.map_err(|error| error.message)?;
    let text = results_to_json(&arguments).map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&text).unwrap())
}

fn accepts(ty: &str, values: &[Value]) {
    for value in values {
        assert_eq!(round(ty, value).as_ref(), Ok(value), "{ty}");
    }
}

fn refuses(ty: &str, values: &[Value]) {
    for value in values {
        let message = round(ty, value).expect_err(ty);
        assert!(message.starts_with("argument 1 (a): expected "), "{message}");
    }
}

#[test]
fn integers_have_ranges() {
    accepts("u8", &[json!(0), json!(255)]);
    refuses("u8", &[json!(-1), json!(256), json!(1.0), json!("1"), json!(null), json!([1])]);
    accepts("s8", &[json!(-128), json!(127)]);
    refuses("s8", &[json!(-129), json!(128)]);
    accepts("u16", &[json!(65_535)]);
    accepts("s16", &[json!(-32_768)]);
    accepts("u32", &[json!(u32::MAX)]);
    accepts("s32", &[json!(i32::MIN)]);
    refuses("s32", &[json!(i64::from(i32::MAX) + 1)]);
    accepts("u64", &[json!(u64::MAX), json!(i64::MAX)]);
    refuses("u64", &[json!(-1), json!(1.8e19)]);
    accepts("s64", &[json!(i64::MIN), json!(i64::MAX)]);
    refuses("s64", &[json!(u64::MAX)]);
    assert_eq!(
        round("u8", &json!(300)).unwrap_err(),
        "argument 1 (a): expected u8 (0 to 255), got 300"
    );
}

#[test]
fn integers_of_64_bits_are_read_from_strings_too() {
    for (ty, text) in [
        ("s64", "9223372036854775807"),
        ("s64", "-9223372036854775808"),
        ("u64", "18446744073709551615"),
        ("u64", "0"),
    ] {
        let number: Value = serde_json::from_str(text).unwrap();
        assert_eq!(round(ty, &json!(text)), Ok(number), "{ty}");
    }
    refuses("s64", &[json!("9223372036854775808"), json!("1.0"), json!("+1"), json!(" 1")]);
    refuses("u64", &[json!("-1"), json!(""), json!("0x1"), json!("-"), json!("1".repeat(40))]);
    refuses("s32", &[json!("1")]);
    let core = FuncType::new(&engine(), [ValType::I64], []);
    assert!(core_arguments_from_json(&core, "[\"-5\"]").is_ok());
}

#[test]
fn floats_keep_their_value() {
    let special = [json!("NaN"), json!("Infinity"), json!("-Infinity")];
    accepts("f32", &special);
    accepts("f64", &special);
    accepts("f32", &[json!(0.1), json!(-0.0), json!(1.0), json!(3.402_823_5e38), json!(1e-45)]);
    accepts("f64", &[json!(0.1), json!(f64::MAX), json!(5e-324), json!(1.0)]);
    refuses("f32", &[json!(1e39), json!("nan"), json!(true)]);
    assert_eq!(round("f64", &json!(3)), Ok(json!(3.0)));
}

#[test]
fn text_and_bytes() {
    accepts("char", &[json!("x"), json!("🦀")]);
    refuses("char", &[json!(""), json!("xy"), json!(1)]);
    accepts("string", &[json!(""), json!("a\"\n\u{0}🦀")]);
    refuses("string", &[json!(1), json!(null)]);
    accepts("bool", &[json!(true), json!(false)]);
    refuses("bool", &[json!(1), json!("true")]);
    accepts("(list u8)", &[json!([]), json!([0, 255])]);
    assert_eq!(round("(list u8)", &json!({ "base64": "AAH/" })), Ok(json!([0, 1, 255])));
    let wrong = round("(list u8)", &json!({ "base64": "?" })).unwrap_err();
    assert!(wrong.contains("the base64 text is wrong"), "{wrong}");
    refuses("(list u8)", &[json!({ "base64": 1 }), json!({ "hex": "" }), json!("AAH/")]);
    refuses("(list u16)", &[json!({ "base64": "AAH/" })]);
}

#[test]
fn options_and_results() {
    accepts("(option u8)", &[json!(null), json!(1)]);
    accepts("(option (option u8))", &[json!(null), json!({"some": null}), json!({"some": 1})]);
    refuses("(option (option u8))", &[json!(1), json!({"none": null})]);
    accepts("(result u8 (error string))", &[json!({"ok": 1}), json!({"err": "x"})]);
    accepts("(result)", &[json!({"ok": null}), json!({"err": null})]);
    refuses("(result)", &[json!(null), json!({}), json!({"ok": null, "err": null}), json!("ok")]);
    accepts("(tuple u8 string)", &[json!([1, "x"])]);
    refuses("(tuple u8 string)", &[json!([1]), json!([1, "x", 2]), json!({})]);
    accepts("(list u8 2)", &[json!([1, 2])]);
    refuses("(list u8 2)", &[json!([1])]);
    accepts("(map string u8)", &[json!({}), json!({"a": 1, "b": 2})]);
    accepts("(map u32 string)", &[json!([[1, "x"], [2, "y"]])]);
    assert!(round("(map u32 string)", &json!([[1]])).unwrap_err().contains("[0]: expected [key"));
}

const SHAPES: &str = r#"
  (type $p' (record (field "x" s32) (field "name" (option string)))) (export "p" (type $p (eq $p')))
  (type $v' (variant (case "none") (case "some" u8))) (export "v" (type $v (eq $v')))
  (type $e' (enum "red" "green")) (export "e" (type $e (eq $e')))
  (type $f' (flags "r" "w" "x")) (export "fl" (type $f (eq $f')))"#;

fn shape(ty: &str, json: &Value) -> Result<String, BadArguments> {
    let function = function(SHAPES, &format!(r#"(param "a" s32) (param "b" {ty})"#));
    let arguments = arguments_from_json(&function, &json!([1, json]).to_string())?;
    Ok(results_to_json(&arguments[1..]).unwrap())
}

#[test]
fn shapes_with_names() {
    assert_eq!(shape("$p", &json!({"x": 1})).unwrap(), r#"{"x":1,"name":null}"#);
    assert_eq!(shape("$v", &json!("none")).unwrap(), r#""none""#);
    assert_eq!(shape("$v", &json!({"some": 3})).unwrap(), r#"{"some":3}"#);
    assert_eq!(shape("$e", &json!("green")).unwrap(), r#""green""#);
    assert_eq!(shape("$f", &json!(["x", "r"])).unwrap(), r#"["r","x"]"#);
    for (ty, json, message) in [
        ("$p", json!({"x": 1, "y": 2}), "unknown key \"y\"; known: x, name"),
        ("$p", json!({"name": "n"}), "missing key \"x\""),
        ("$p", json!({"x": "1"}), ".x: expected s32, got \"1\""),
        ("$p", json!(3), "expected record { x: s32, name: option<string> }, got 3"),
        ("$v", json!({"none": null}), "case none has no payload: \"none\""),
        ("$v", json!("some"), "case some has a payload: {\"some\": ...}"),
        ("$v", json!({"some": -1}), ".some: expected u8 (0 to 255), got -1"),
        ("$v", json!({"other": 1}), "unknown case \"other\"; known: none, some"),
        ("$v", json!({}), "expected variant { none, some(u8) }, got an object"),
        ("$e", json!("blue"), "unknown case \"blue\"; known: red, green"),
        ("$e", json!(1), "expected enum { red, green }, got 1"),
        ("$f", json!(["r", "r"]), "flag \"r\" is named twice"),
        ("$f", json!(["q"]), "unknown flag \"q\"; known: r, w, x"),
        ("$f", json!([1]), "expected flags { r, w, x }, got an array"),
        ("(tuple u8 u8)", json!([1]), "expected 2 elements, got 1"),
        ("(option (option u8))", json!(1), "expected null or {\"some\": option<u8>}, got 1"),
        ("(list $p)", json!([{"x": 1}, {"x": 1, "name": 7}]), "[1].name: expected string, got 7"),
    ] {
        let error = shape(ty, &json).expect_err(message);
        assert_eq!(error.message, format!("argument 2 (b): {message}"));
        assert!(error.expected.starts_with("func(a: s32, b: "), "{}", error.expected);
    }
}

#[test]
fn the_list_of_arguments_itself() {
    let two = function("", r#"(param "a" s32) (param "b" s32) (result s32)"#);
    let refuse = |json: &str| arguments_from_json(&two, json).unwrap_err();
    assert_eq!(refuse("[1]").message, "expected 2 arguments, got 1");
    assert_eq!(refuse("[1]").expected, "func(a: s32, b: s32) -> s32");
    assert!(refuse("{\"a\":1}").message.starts_with("expected an array"));
    assert!(refuse("[1,").message.starts_with("the arguments are not JSON: "));
    assert!(refuse("").message.starts_with("the arguments are not JSON: "));
    assert!(refuse(&" ".repeat(5 << 20)).message.contains("bytes, at most"));
    assert!(refuse(&"[".repeat(100_000)).message.contains("recursion limit"));
    let twice = refuse("[1, {\"a\": 1, \"b\": [], \"a\": 2}]").message;
    assert!(twice.contains("the key \"a\" comes twice at line 1"), "{twice}");
    let none = function("", "");
    assert_eq!(arguments_from_json(&none, "[]").unwrap().len(), 0);
    assert_eq!(results_to_json(&[]).unwrap(), "null");
    let long = json!(["x".repeat(10_000)]).to_string();
    let one = function("", r#"(param "a" s32)"#);
    assert!(arguments_from_json(&one, &long).unwrap_err().message.len() < 200);
}

#[test]
fn bounds_hold() {
    let list = function("", r#"(param "a" (list (list u8)))"#);
    let many = format!("[[{}[]]]", "[],".repeat(1_000_000));
    let error = arguments_from_json(&list, &many).unwrap_err();
    assert!(error.message.contains("more than 1000000 values"), "{}", error.message);
    let large = Val::String("x".repeat(5 << 20));
    assert!(matches!(results_to_json(&[large]), Err(BadResult::TooLarge { .. })));
    let deep = format!("{}u8{}", "(option ".repeat(70), ")".repeat(70));
    let deep = function("", &format!(r#"(param "a" {deep})"#));
    let error = arguments_from_json(&deep, "[null]").unwrap_err();
    assert!(error.message.contains("nested deeper"), "{}", error.message);
}

#[test]
fn handles_are_refused_before_anything_runs() {
    let types = r#"(export "r" (type $r (sub resource)))"#;
    for ty in [r#"(param "a" (own $r))"#, r#"(param "a" (list (borrow $r)))"#, "(result (own $r))"]
    {
        let error = arguments_from_json(&function(types, ty), "[1]").unwrap_err();
        assert!(error.message.contains("has a resource in it"), "{}", error.message);
    }
}

#[test]
fn core_functions_take_numbers() {
    let engine = engine();
    let all = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
    let ty = FuncType::new(&engine, all.clone(), all);
    let json = "[-1,9223372036854775807,0.5,\"NaN\"]";
    let arguments = core_arguments_from_json(&ty, json).unwrap();
    assert_eq!(core_results_to_json(&arguments).unwrap(), json);
    assert_eq!(core_results_to_json(&arguments[..1]).unwrap(), "-1");
    assert_eq!(core_results_to_json(&[]).unwrap(), "null");
    let error = core_arguments_from_json(&ty, "[1,\"x\",1,1]").unwrap_err();
    assert_eq!(error.message, "argument 2 (p2): expected i64, got \"x\"");
    let vector = FuncType::new(&engine, [ValType::V128], []);
    let error = core_arguments_from_json(&vector, "[1]").unwrap_err();
    assert!(error.message.contains("v128"), "{}", error.message);
    let reference = FuncType::new(&engine, [], [ValType::FUNCREF]);
    assert!(core_arguments_from_json(&reference, "[]").is_err());
}

/// A type of the property test.
#[derive(Debug, Clone)]
enum Ty {
    Simple(&'static str),
    List(Box<Ty>),
    Option(Box<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Tuple(Vec<Ty>),
    Record(Vec<Ty>),
    Variant(Vec<Option<Ty>>),
    Enum(u8),
    Flags(u8),
}

fn any_type() -> impl Strategy<Value = Ty> {
    let simple = prop::sample::select(vec![
        "bool", "u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64", "char",
        "string",
    ]);
    let leaf = prop_oneof![
        4 => simple.prop_map(Ty::Simple),
        1 => (1_u8..6).prop_map(Ty::Enum),
        1 => (1_u8..6).prop_map(Ty::Flags),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let maybe = prop::option::of(boxed.clone());
        prop_oneof![
            boxed.clone().prop_map(Ty::List),
            boxed.prop_map(Ty::Option),
            (maybe.clone(), maybe).prop_map(|(ok, err)| Ty::Result(ok, err)),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Ty::Tuple),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Ty::Record),
            prop::collection::vec(prop::option::of(inner), 1..4).prop_map(Ty::Variant),
        ]
    })
}

/// Declares `ty` and what it needs in `out`; returns how to name it.
fn declare(ty: &Ty, out: &mut String, next: &mut u32) -> String {
    let mut one = |ty: &Ty| declare(ty, out, next);
    let (text, named) = match ty {
        Ty::Simple(name) => ((*name).to_owned(), false),
        Ty::List(inner) => (format!("(list {})", one(inner)), false),
        Ty::Option(inner) => (format!("(option {})", one(inner)), false),
        Ty::Result(ok, err) => {
            let ok = ok.as_ref().map(|ty| one(ty)).unwrap_or_default();
            let err = err.as_ref().map(|ty| format!("(error {})", one(ty))).unwrap_or_default();
            (format!("(result {ok} {err})"), false)
        }
        Ty::Tuple(types) => {
            let types: Vec<_> = types.iter().map(one).collect();
            (format!("(tuple {})", types.join(" ")), false)
        }
        Ty::Record(types) => {
            let fields = types.iter().enumerate();
            let fields: String =
                fields.map(|(n, ty)| format!("(field \"f{n}\" {})", one(ty))).collect();
            (format!("(record {fields})"), true)
        }
        Ty::Variant(types) => {
            let cases = types.iter().enumerate();
            let cases: String = cases
                .map(|(n, ty)| {
                    format!("(case \"c{n}\" {})", ty.as_ref().map(&mut one).unwrap_or_default())
                })
                .collect();
            (format!("(variant {cases})"), true)
        }
        Ty::Enum(count) => (format!("(enum {})", names(*count)), true),
        Ty::Flags(count) => (format!("(flags {})", names(*count)), true),
    };
    if !named {
        return text;
    }
    let id = *next;
    *next += 1;
    write!(out, "(type $t{id}' {text}) (export \"t{id}\" (type $t{id} (eq $t{id}')))").unwrap();
    format!("$t{id}")
}

fn names(count: u8) -> String {
    (0..count).map(|n| format!("\"n{n}\" ")).collect()
}

/// A small random generator: the value is drawn after the type, from one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "cut at random on purpose")]
fn draw(ty: &Ty, dice: &mut Dice) -> Value {
    let bits = dice.roll();
    match ty {
        Ty::Simple("bool") => json!(bits & 1 == 0),
        Ty::Simple("u8") => json!(bits as u8),
        Ty::Simple("s8") => json!(bits as i8),
        Ty::Simple("u16") => json!(bits as u16),
        Ty::Simple("s16") => json!(bits as i16),
        Ty::Simple("u32") => json!(bits as u32),
        Ty::Simple("s32") => json!(bits as i32),
        Ty::Simple("u64") => json!(bits),
        Ty::Simple("s64") => json!(bits.cast_signed()),
        Ty::Simple("f32") => match f32::from_bits(bits as u32) {
            // The shortest decimal text, as the conversion promises.
            finite if finite.is_finite() => json!(finite.to_string().parse::<f64>().unwrap()),
            _ => json!("NaN"),
        },
        Ty::Simple("f64") => match f64::from_bits(bits) {
            finite if finite.is_finite() => json!(finite),
            _ => json!("-Infinity"),
        },
        Ty::Simple("char") => json!(char::from_u32(bits as u32 % 0x11_0000).unwrap_or('\u{fffd}')),
        Ty::Simple(_) => {
            let chars = (0..dice.below(5)).map(|_| char::from_u32(dice.roll() as u32 % 0xd800));
            json!(chars.flatten().collect::<String>())
        }
        Ty::List(inner) => (0..dice.below(4)).map(|_| draw(inner, dice)).collect(),
        Ty::Option(_) if bits & 1 == 0 => Value::Null,
        Ty::Option(inner) => match &**inner {
            Ty::Option(_) => json!({ "some": draw(inner, dice) }),
            inner => draw(inner, dice),
        },
        Ty::Result(ok, err) => {
            let (name, ty) = if bits & 1 == 0 { ("ok", ok) } else { ("err", err) };
            json!({ name: ty.as_ref().map(|ty| draw(ty, dice)) })
        }
        Ty::Tuple(types) => types.iter().map(|ty| draw(ty, dice)).collect(),
        Ty::Record(types) => {
            let fields = types.iter().enumerate();
            fields
                .map(|(n, ty)| (format!("f{n}"), draw(ty, dice)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Ty::Variant(types) => {
            let n = dice.below(types.len());
            let name = format!("c{n}");
            match &types[n] {
                Some(ty) => json!({ name: draw(ty, dice) }),
                None => json!(name),
            }
        }
        Ty::Enum(count) => json!(format!("n{}", dice.below(usize::from(*count)))),
        Ty::Flags(count) => {
            (0..*count).filter(|n| bits >> n & 1 == 1).map(|n| json!(format!("n{n}"))).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_of_any_type_comes_back(ty in any_type(), seed in 1_u64..) {
        let mut types = String::new();
        let name = declare(&ty, &mut types, &mut 0);
        let function = function(&types, &format!(r#"(param "a" {name})"#));
        let mut dice = Dice(seed);
        for _ in 0..8 {
            let value = draw(&ty, &mut dice);
            let arguments = arguments_from_json(&function, &json!([value]).to_string());
            let arguments = arguments.map_err(|e| TestCaseError::fail(format!("{e}: {value}")))?;
            let text = results_to_json(&arguments).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
            prop_assert_eq!(arguments_from_json(&function, &format!("[{text}]")).unwrap(), arguments);
        }
    }

    #[test]
    fn no_json_makes_it_panic(ty in any_type(), text in ".{0,60}", other in any_type(), seed in 1_u64..) {
        let mut types = String::new();
        let name = declare(&ty, &mut types, &mut 0);
        let function = function(&types, &format!(r#"(param "a" {name})"#));
        let _ = arguments_from_json(&function, &text);
        let value = draw(&other, &mut Dice(seed));
        if let Ok(arguments) = arguments_from_json(&function, &json!([value]).to_string()) {
            prop_assert!(results_to_json(&arguments).is_ok());
        }
    }
}
