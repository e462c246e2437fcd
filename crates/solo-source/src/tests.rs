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
        ("'lodash'", "no package"),
        ("'node:fs'", "node"),
        ("'fs'", "node"),
        ("''", "no package"),
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

#[test]
fn commonjs_is_told_by_what_it_says() {
    let text =
        "const { a } = require('./a');\nexports.f = () => a;\nmodule.exports.g = 1;\nreturn;";
    let files = vec![file("main.js", text), file("a.js", "module.exports = { a: 1, 'b-c': 2 };")];
    let program = compile("main.js", files).expect("a service");
    assert!(program.modules.iter().all(|module| module.is_commonjs));
    let names: Vec<_> = program.exports.iter().map(|export| export.name.as_str()).collect();
    assert_eq!(names, ["f", "g"]);
    let program = one("a.cjs", "module.exports = { a, b: () => 1 }").expect("a service");
    assert_eq!((program.exports.len(), program.modules[0].is_commonjs), (2, true));
    // What says neither is a module, and so is what says both.
    for text in ["await 1; export const f = () => 1;", "export const f = () => require('x');"] {
        assert!(!one("a.js", text).expect("a service").modules[0].is_commonjs);
    }
    assert_eq!(refused("a.js", "const f = 1;").reason, "NO_EXPORTS");
    assert_eq!(refused("a.mjs", "with (a) { exports.f = 1; }").reason, "SYNTAX_ERROR");
}

/// A package as npm packs it.
fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gz);
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        let path = format!("package/{path}");
        // As hostile archives have it, not as the library would write it.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_bytes()).expect("it fits");
    }
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("it fits")
}

fn with_package(text: &str, files: &[(&str, &str)]) -> Result<Program, SourceError> {
    let package = File { path: "some.tgz".to_owned(), content: tarball(files) };
    compile("main.js", vec![file("main.js", text), package])
}

#[test]
fn packages_are_found_by_their_manifests() {
    let resolved = |import: &str, manifest: &str| {
        let text = format!("import {import:?};\nexport const f = () => 1;");
        let manifest = format!("{{\"name\": \"@a/p\", {manifest}}}");
        let others =
            ["index.js", "lib/main.js", "lib/esm.mjs", "lib/browser.js", "lib/node.js", "x/y.js"];
        let mut files: Vec<_> = others.iter().map(|path| (*path, "module.exports = 1;")).collect();
        files[2].1 = "export default 1;";
        files.push(("package.json", &manifest));
        files.push(("README.md", "not kept"));
        let program = with_package(&text, &files)?;
        let path = program.modules.last().map(|module| module.path.clone()).unwrap_or_default();
        Ok::<_, SourceError>(path.replacen("node_modules/@a/p/", "", 1))
    };
    for (import, manifest, expected) in [
        ("@a/p", r#""version": "1""#, "index.js"),
        ("@a/p", r#""main": "lib/main""#, "lib/main.js"),
        ("@a/p", r#""main": "./lib/main.js", "module": "lib/esm.mjs""#, "lib/esm.mjs"),
        ("@a/p/x/y", r#""main": 7"#, "x/y.js"),
        ("@a/p", r#""exports": "./lib/main.js""#, "lib/main.js"),
        (
            "@a/p",
            r#""exports": {"node": "./lib/node.js", "default": "./lib/main.js"}"#,
            "lib/main.js",
        ),
        (
            "@a/p",
            r#""exports": {".": {"import": "./lib/esm.mjs", "require": "./lib/main.js"}}"#,
            "lib/esm.mjs",
        ),
        (
            "@a/p",
            r#""exports": {".": [{"browser": "./lib/browser.js"}, "./lib/main.js"]}"#,
            "lib/browser.js",
        ),
        ("@a/p/b/y", r#""exports": {"./b/*": "./x/*.js", "./b/no": null}"#, "x/y.js"),
    ] {
        assert_eq!(resolved(import, manifest).as_deref(), Ok(expected), "{import} {manifest}");
    }
    for (import, manifest) in [
        ("@a/p/lib/main.js", r#""exports": "./index.js""#),
        ("@a/p/no", r#""exports": {"./*": "./x/*.js", "./no": null}"#),
        ("@a/p", r#""exports": "../../main.js""#),
        ("@a/p", r#""exports": "./nowhere.js""#),
        ("@a/q", r#""main": "index.js""#),
        ("@a", r#""main": "index.js""#),
    ] {
        let error = resolved(import, manifest).expect_err(import);
        assert_eq!(error.reason, "IMPORT_NOT_FOUND", "{import} {manifest}");
    }
}

#[test]
fn of_packages_only_what_is_imported_is_kept() {
    let files = [
        ("package.json", r##"{"name": "p", "main": "a.js", "imports": {"#own": "./b.js"}}"##),
        (
            "a.js",
            "require('#own'); require('./c'); require('nowhere'); import('./d.js'); exports.a = 1;",
        ),
        ("b.js", ""),
        ("c/index.js", "require('../data.json')"),
        ("d.js", "export const d = require;"),
        ("data.json", "{}"),
        ("unused.js", "this is no code"),
        ("types.d.ts", "declare const a: 1;"),
    ];
    let program =
        with_package("import p from 'p'; export const f = () => p;", &files).expect("a service");
    let mut paths: Vec<_> = program.modules.iter().map(|module| module.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "main.js",
        "node_modules/p/a.js",
        "node_modules/p/b.js",
        "node_modules/p/c/index.js",
        "node_modules/p/d.js",
        "node_modules/p/data.json",
    ];
    assert_eq!(paths, expected);
    let module =
        |path: &str| program.modules.iter().find(|module| module.path == path).expect("there");
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(module("main.js").imports, [pair("p", "node_modules/p/a.js")]);
    assert_eq!(module("node_modules/p/a.js").imports, [pair("#own", "node_modules/p/b.js")]);
    assert!(!module("node_modules/p/d.js").is_commonjs);
    // The nearest is meant, as npm installs them.
    let files = [
        ("main.js", "import 'p'; export const f = () => 1;"),
        ("node_modules/p/index.js", "require('q')"),
        ("node_modules/q/index.js", "'outer'"),
        ("node_modules/p/node_modules/q/index.js", "'inner'"),
    ];
    let files = files.iter().map(|(path, text)| file(path, text)).collect();
    let program = compile("main.js", files).expect("a service");
    assert!(program.modules.iter().any(|module| module.text == "'inner'"));
    assert!(!program.modules.iter().any(|module| module.text == "'outer'"));
}

#[test]
fn hostile_tarballs_are_refused() {
    let refused = |content: Vec<u8>| {
        let package = File { path: "x.tgz".to_owned(), content };
        let main = file("main.js", "export const f = () => 1;");
        compile("main.js", vec![main, package]).expect_err("refused")
    };
    let whole = tarball(&[("package.json", r#"{"name": "p"}"#), ("a.js", "")]);
    assert_eq!(refused(b"no tarball".to_vec()).reason, "BAD_PACKAGE");
    assert_eq!(refused(whole[..whole.len() / 2].to_vec()).reason, "BAD_PACKAGE");
    assert_eq!(refused(tarball(&[("a.js", "")])).reason, "BAD_PACKAGE");
    for name in ["..", "../x", "a/b", ".hidden", "/etc", "", "@a", "@/b", "a\\b"] {
        let manifest = format!("{{\"name\": \"{name}\"}}");
        assert_eq!(
            refused(tarball(&[("package.json", &manifest)])).reason,
            "BAD_PACKAGE",
            "{name}"
        );
    }
    let manifest = ("package.json", r#"{"name": "p"}"#);
    for path in ["../../main.js", "x/../../../a.js", "a\\b.js", "/abs.js"] {
        assert_eq!(refused(tarball(&[manifest, (path, "")])).reason, "BAD_PATH", "{path}");
    }
    let large = "x".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(refused(tarball(&[manifest, ("a.js", &large)])).reason, "TOO_LARGE");
    // A bomb: little to send, much to read.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut header = tar::Header::new_gnu();
    header.set_path("package/x.bin").expect("a path");
    header.set_size(257 << 20);
    header.set_cksum();
    std::io::Write::write_all(&mut gz, header.as_bytes()).expect("written");
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 257 << 20), &mut gz)
        .expect("written");
    let bomb = gz.finish().expect("written");
    assert!(bomb.len() < 2 << 20);
    assert_eq!(refused(bomb).reason, "BAD_PACKAGE");
}
