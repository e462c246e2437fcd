//! What is made of source text, and what is refused, with its place.

use super::*;

fn file(path: &str, content: &str) -> File {
    File { path: path.to_owned(), content: content.as_bytes().to_vec() }
}

fn one(path: &str, content: &str) -> Result<Program, SourceError> {
    compile(path, vec![file(path, content)])
}

fn refused(path: &str, content: &str) -> SourceError {
    one(path, content).expect_err("refused")
}

fn signatures(path: &str, content: &str) -> Vec<String> {
    let program = one(path, content).expect("a service");
    program.exports.into_iter().map(|export| export.signature).collect()
}

#[test]
fn functions_are_found_however_they_are_exported() {
    let text = "export function a(x, y = 1, ...rest) {}\n\
        export async function b() {}\n\
        export const c = (x) => x, d = function () {}, e = 5;\n\
        function f(x) {}\nclass G {}\nexport { f as g, G, unknown as h };\n\
        export function init() {}\nexport const wrapped = wrap(a);\n\
        export default (x) => x;\nfunction wrap(f) { return f; }\nvar unknown;\nexport class K {}\n";
    let expected = [
        "a: func(x: any, y?: any, ...rest: any) -> any",
        "b: func() -> any",
        "c: func(x: any) -> any",
        "d: func() -> any",
        "g: func(x: any) -> any",
        "wrapped: func(...) -> any",
        "default: func(x: any) -> any",
    ];
    assert_eq!(signatures("a.js", text), expected);
    let default = "function hello(name) {}\nexport default hello;";
    assert_eq!(signatures("a.js", default), ["default: func(name: any) -> any"]);
}

#[test]
fn types_are_told_and_taken_out() {
    let text = "interface Point { x: number }\n\
        enum Color { Red = 'red' }\n\
        export async function f(p: Point, c?: Color, n: number = 2): Promise<{ ok: boolean }> {\n\
        \treturn { ok: p.x! > n && c === Color.Red } as { ok: boolean };\n}\n";
    let program = one("f.ts", text).expect("a service");
    let export = &program.exports[0];
    let expected = "f: func(p: Point, c?: Color, n?: number) -> { ok: boolean }";
    assert_eq!(export.signature, expected);
    assert_eq!(export.parameters[2], ("n".to_owned(), "number".to_owned()));
    let module = &program.modules[0];
    assert!(!module.text.contains("interface") && !module.text.contains(": Point"));
    // Each place of what is run has one in what was sent.
    let line = module.text.lines().position(|line| line.contains("p.x")).expect("it is there");
    let line = u32::try_from(line).expect("few") + 1;
    let map = module.map.as_deref().expect("a map");
    assert_eq!(original(map, line, 9).map(|(line, _)| line), Some(4));
}

#[test]
fn errors_of_syntax_have_their_place() {
    let error = refused("a.js", "export function f() {\n  return 1 +;\n}\n");
    assert_eq!((error.reason, error.file.as_str()), ("SYNTAX_ERROR", "a.js"));
    assert_eq!((error.line, error.column), (2, 13));
    assert!(error.excerpt.contains("2 |   return 1 +;\n  |             ^"), "{}", error.excerpt);
    let error = refused("a.ts", "let x: number = 1;\nlet x = 2;\nexport function f() {}");
    assert_eq!((error.reason, error.line), ("SYNTAX_ERROR", 1), "{error:?}");
    // Columns are counted in characters.
    let error = refused("a.js", "export const π = 'ö', ä = ;");
    assert_eq!((error.line, error.column), (1, 27), "{error:?}");
    for text in ["export", "\u{0}", "<<<<<<< HEAD", "return 1", "with (a) {}", "/*", "`${"] {
        assert_eq!(refused("a.js", text).reason, "SYNTAX_ERROR", "{text:?}");
    }
    assert_eq!(refused("a.js", "export function f(a: number) {}").reason, "SYNTAX_ERROR");
}

#[test]
fn json_is_checked() {
    let files = |json: &str| {
        let text = "import data from './data.json';\nexport const f = () => data;";
        compile("a.js", vec![file("a.js", text), file("data.json", json)])
    };
    assert!(files("\u{feff}{\"a\": [1, null]}").is_ok());
    let error = files("{\n  \"a\": 1,\n}").expect_err("a comma too many");
    assert_eq!((error.reason, error.file.as_str(), error.line), ("SYNTAX_ERROR", "data.json", 3));
    assert!(files(&"[".repeat(100_000)).is_err());
}

#[test]
fn what_is_imported_must_be_there() {
    let with = |import: &str| {
        let entry = format!("// first\nimport {import};\nexport function f() {{}}\n");
        let others = ["lib/words.ts", "lib/index.js", "data.json", "deep/er/x.mjs"].map(|path| {
            file(path, if path.ends_with("json") { "{}" } else { "export const a = 1" })
        });
        let files = std::iter::once(file("main.ts", &entry)).chain(others).collect();
        compile("main.ts", files)
    };
    for there in [
        "'./lib/words'",
        "'./lib/words.js'",
        "'./lib/words.ts'",
        "'./lib'",
        "'./lib/'",
        "'/lib/words'",
        "'./lib/../data.json'",
        "'./data'",
        "'./deep/er/x'",
        "'solo'",
        "type { A } from './nowhere'",
        "{ OnlyAType } from './nowhere'",
    ] {
        with(there).unwrap_or_else(|error| panic!("{there}: {error:?}"));
    }
    for (missing, why) in [
        ("'./nowhere'", "no such file"),
        ("'../main'", "no such file"),
        ("'./../../../etc/passwd'", "no such file"),
        ("'lodash'", "packages"),
        ("'node:fs'", "node"),
        ("'fs'", "node"),
        ("''", "packages"),
    ] {
        let error = with(missing).expect_err(missing);
        assert_eq!((error.reason, error.line, error.column), ("IMPORT_NOT_FOUND", 2, 8));
        assert!(error.message.contains(why), "{missing}: {}", error.message);
        assert!(error.excerpt.contains('^') && !error.hint.is_empty());
    }
    let error =
        compile("a.js", vec![file("a.js", "export * from './b.js'")]).expect_err("not there");
    assert_eq!(error.reason, "IMPORT_NOT_FOUND");
}

#[test]
fn a_service_offers_something() {
    for text in ["", "const a = 1;", "export const a = 1;", "export class A {}", "export {}"] {
        let error = refused("a.js", text);
        assert_eq!(error.reason, "NO_EXPORTS", "{text:?}");
        assert!(error.hint.contains("export function"));
    }
    for text in ["export function handle(bytes) {}", "export const init = () => {}"] {
        assert!(one("a.js", text).expect("a service").exports.is_empty());
    }
}

#[test]
fn paths_lead_nowhere_else() {
    for path in
        ["", "/a.js", "../a.js", "a/../b.js", "./a.js", "a//b.js", "a\\b.js", "a\nb.js", "a/", "\0"]
    {
        let error = compile(path, vec![file(path, "export function f() {}")]).expect_err(path);
        assert_eq!(error.reason, "BAD_PATH", "{path:?}");
        assert!(!error.message.contains(['\n', '\0']));
    }
    let long = format!("{}.js", "a".repeat(PATH_BYTES_MAX));
    assert_eq!(refused(&long, "").reason, "BAD_PATH");
    let twice = vec![file("a.js", "export function f() {}"), file("a.js", "")];
    assert_eq!(compile("a.js", twice).expect_err("twice").reason, "BAD_PATH");
    assert_eq!(compile("a.js", vec![]).expect_err("nothing").reason, "BAD_PATH");
    let json = compile("a.json", vec![file("a.json", "{}")]).expect_err("no code");
    assert_eq!(json.reason, "BAD_PATH");
    assert_eq!(refused("a.py", "").reason, "UNSUPPORTED");
}

#[test]
fn what_is_no_text_is_refused() {
    let bytes = |content: Vec<u8>| {
        compile("a.js", vec![File { path: "a.js".to_owned(), content }]).expect_err("refused")
    };
    let error = bytes(b"export\xff".to_vec());
    assert_eq!((error.reason, error.message.contains("offset 6")), ("NOT_UTF8", true));
    assert_eq!(bytes(vec![b' '; TEXT_BYTES_MAX + 1]).reason, "TOO_LARGE");
}

#[test]
fn long_lines_and_maps_of_others_are_bounded() {
    let text = format!("export function f() {{ {} 1 +; }}", "x;".repeat(100_000));
    let error = refused("a.js", &text);
    assert_eq!(error.reason, "SYNTAX_ERROR");
    assert!(error.excerpt.len() < 1_000);
    let types = "A".repeat(10_000);
    let long = signatures("a.ts", &format!("export function f(a: {types}) {{}}"));
    assert!(long[0].len() < 400);
    for map in ["", "{}", "nonsense", r#"{"version":3,"sources":[],"names":[],"mappings":"AAAA"}"#]
    {
        for (line, column) in [(0, 0), (1, 1), (u32::MAX, u32::MAX)] {
            let _ = original(map, line, column);
        }
    }
}

#[test]
fn syntax_that_is_deep_is_read_or_refused() {
    // Deeper than people write; what is deeper still ends the process that reads it, and no other.
    let deep = |open: &str, close: &str, depth: usize| {
        format!("export const f = () => {}1{};", open.repeat(depth), close.repeat(depth))
    };
    for (open, close) in [("(", ")"), ("[", "]"), ("- ", ""), ("a=>", ""), ("a?b:", "")] {
        let text = deep(open, close, 10_000);
        let read = one("a.js", &text).map(drop);
        assert!(read.is_ok(), "{open}: {read:?}");
    }
}
