//! STUB for wiring: replaced by branch `source`.
#[derive(Debug)] pub struct File { pub path: String, pub content: Vec<u8> }
#[derive(Debug)] pub struct Program { pub entry: String, pub modules: Vec<Module>, pub exports: Vec<Export> }
#[derive(Debug)] pub struct Module { pub path: String, pub text: String, pub map: Option<String> }
#[derive(Debug)] pub struct Export { pub name: String, pub parameters: Vec<(String, String)>, pub result: String, pub signature: String }
#[derive(Debug)] pub struct SourceError { pub reason: &'static str, pub message: String, pub file: String, pub line: u32, pub column: u32, pub excerpt: String, pub hint: String }
pub fn compile(entry: &str, files: Vec<File>) -> Result<Program, SourceError> {
    let modules = files.into_iter().map(|f| Module { path: f.path, text: String::from_utf8_lossy(&f.content).into_owned(), map: None }).collect();
    Ok(Program { entry: entry.to_owned(), modules, exports: vec![] })
}
pub fn original(_map: &str, _line: u32, _column: u32) -> Option<(u32, u32)> { None }
