//! The functions of a module, with their types as they were written.

use oxc_ast::ast::{
    AssignmentTarget, BindingPattern, Declaration, ExportDefaultDeclarationKind, Expression,
    FormalParameters, Function, ModuleExportName, ObjectPropertyKind, Program, Statement,
    TSTypeAnnotation,
};
use oxc_span::{GetSpan, Span};

use crate::Export;

/// Functions with a meaning of their own: Solo calls them.
const CONVENTIONS: [&str; 6] =
    ["init", "handle", "onDown", "terminate", "exportState", "importState"];

/// What `export default` is called by.
const DEFAULT: &str = "default";

/// Longest text of a type.
const TYPE_BYTES_MAX: usize = 200;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// To be called.
    pub(crate) exports: Vec<Export>,
    /// There is something that Solo calls, or that cannot be told from here.
    pub(crate) others: bool,
}

pub(crate) fn find(program: &Program<'_>, text: &str) -> Found {
    let mut found = Found::default();
    for statement in &program.body {
        match statement {
            Statement::ExportDeclaration(export) => found.declaration(&export.declaration, text),
            Statement::ExportNamedDeclaration(export) => {
                for specifier in &export.specifiers {
                    let local = name(&specifier.local);
                    let exported = name(&specifier.exported);
                    match declared(program, &local, text) {
                        Declared::Function(export) => {
                            let signature = export.signature.replacen(&local, &exported, 1);
                            found.add(Export { name: exported, signature, ..export });
                        }
                        Declared::Unknown => found.add(unknown(exported)),
                        Declared::Value => {}
                    }
                }
            }
            Statement::ExportFromDeclaration(export) => {
                for specifier in &export.specifiers {
                    found.add(unknown(name(&specifier.exported)));
                }
            }
            Statement::ExportDefaultDeclaration(export) => {
                match default(program, &export.declaration, text) {
                    Declared::Function(export) => found.add(export),
                    Declared::Unknown => found.add(unknown(DEFAULT.to_owned())),
                    Declared::Value => {}
                }
            }
            Statement::ExportAllDeclaration(_) => found.others = true,
            _ => {}
        }
    }
    found
}

/// Of CommonJS: what is assigned to `exports.name`, `module.exports.name` or `module.exports = { name }`.
pub(crate) fn find_assigned(program: &Program<'_>) -> Found {
    let mut found = Found::default();
    for statement in &program.body {
        let Statement::ExpressionStatement(statement) = statement else { continue };
        let Expression::AssignmentExpression(assignment) = &statement.expression else { continue };
        let AssignmentTarget::StaticMemberExpression(target) = &assignment.left else { continue };
        let name = target.property.name.as_str();
        let is_exports = |object: &Expression<'_>| {
            object.is_specific_id("exports")
                || object.is_specific_member_access("module", "exports")
        };
        if is_exports(&target.object) {
            found.add(unknown(name.to_owned()));
        } else if target.object.is_specific_id("module") && name == "exports" {
            // It may be anything; what can be told is said.
            found.others = true;
            let Expression::ObjectExpression(object) = &assignment.right else { continue };
            for property in &object.properties {
                if let ObjectPropertyKind::ObjectProperty(property) = property
                    && let Some(name) = property.key.static_name()
                {
                    found.add(unknown(name.into_owned()));
                }
            }
        }
    }
    found
}

impl Found {
    fn add(&mut self, export: Export) {
        if CONVENTIONS.contains(&export.name.as_str()) {
            self.others = true;
        } else {
            self.exports.push(export);
        }
    }

    fn declaration(&mut self, declaration: &Declaration<'_>, text: &str) {
        for (_, declared) in of_declaration(declaration, text) {
            match declared {
                Declared::Function(export) => self.add(export),
                Declared::Unknown | Declared::Value => {}
            }
        }
    }
}

/// What a name stands for.
enum Declared {
    Function(Export),
    /// It cannot be told without running it.
    Unknown,
    Value,
}

fn default(
    program: &Program<'_>,
    declaration: &ExportDefaultDeclarationKind<'_>,
    text: &str,
) -> Declared {
    let name = || DEFAULT.to_owned();
    match declaration {
        ExportDefaultDeclarationKind::FunctionDeclaration(function) => {
            Declared::Function(of_function(name(), function, text))
        }
        ExportDefaultDeclarationKind::Identifier(id) => match declared(program, &id.name, text) {
            Declared::Function(export) => {
                let signature = export.signature.replacen(id.name.as_str(), DEFAULT, 1);
                Declared::Function(Export { name: name(), signature, ..export })
            }
            other => other,
        },
        other => {
            other.as_expression().map_or(Declared::Value, |value| of_value(name(), value, text))
        }
    }
}

/// What a name or `export default` is given.
fn of_value(name: String, value: &Expression<'_>, text: &str) -> Declared {
    match value {
        Expression::FunctionExpression(function) => {
            Declared::Function(of_function(name, function, text))
        }
        Expression::ArrowFunctionExpression(arrow) => {
            let result = result_of(arrow.return_type.as_deref(), arrow.r#async, text);
            Declared::Function(export(name, &arrow.params, result, text))
        }
        // It may be one.
        Expression::CallExpression(_)
        | Expression::Identifier(_)
        | Expression::StaticMemberExpression(_) => Declared::Function(unknown(name)),
        _ => Declared::Value,
    }
}

fn declared(program: &Program<'_>, wanted: &str, text: &str) -> Declared {
    for statement in &program.body {
        if let Some(declaration) = statement.as_declaration() {
            for (name, declared) in of_declaration(declaration, text) {
                if name == wanted {
                    return declared;
                }
            }
        }
    }
    Declared::Unknown
}

fn of_declaration(declaration: &Declaration<'_>, text: &str) -> Vec<(String, Declared)> {
    match declaration {
        Declaration::FunctionDeclaration(function) => {
            let name = function.id.as_ref().map(|id| id.name.to_string()).unwrap_or_default();
            vec![(name.clone(), Declared::Function(of_function(name, function, text)))]
        }
        Declaration::VariableDeclaration(variables) => {
            let mut all = Vec::new();
            for variable in &variables.declarations {
                let BindingPattern::BindingIdentifier(id) = &variable.id else { continue };
                let name = id.name.to_string();
                let declared = variable
                    .init
                    .as_ref()
                    .map_or(Declared::Value, |value| of_value(name.clone(), value, text));
                all.push((name, declared));
            }
            all
        }
        Declaration::ClassDeclaration(class) => {
            let name = class.id.as_ref().map(|id| id.name.to_string()).unwrap_or_default();
            vec![(name, Declared::Value)]
        }
        _ => Vec::new(),
    }
}

fn of_function(name: String, function: &Function<'_>, text: &str) -> Export {
    let result = result_of(function.return_type.as_deref(), function.r#async, text);
    export(name, &function.params, result, text)
}

fn export(name: String, parameters: &FormalParameters<'_>, result: String, text: &str) -> Export {
    let mut named = Vec::new();
    let mut shown = Vec::new();
    for parameter in &parameters.items {
        let ty = type_of(parameter.type_annotation.as_deref(), text);
        let optional = parameter.optional || parameter.initializer.is_some();
        let name = match &parameter.pattern {
            BindingPattern::BindingIdentifier(id) => id.name.to_string(),
            pattern => one_line(pattern.span(), text),
        };
        shown.push(format!("{name}{}: {ty}", if optional { "?" } else { "" }));
        named.push((name, ty));
    }
    if let Some(rest) = &parameters.rest {
        let ty = type_of(rest.type_annotation.as_deref(), text);
        let name = one_line(rest.rest.span, text);
        shown.push(format!("{name}: {ty}"));
        named.push((name, ty));
    }
    let signature = format!("{name}: func({}) -> {result}", shown.join(", "));
    Export { name, parameters: named, result, signature }
}

/// One of which nothing is known but its name.
fn unknown(name: String) -> Export {
    let signature = format!("{name}: func(...) -> any");
    Export { name, parameters: Vec::new(), result: "any".to_owned(), signature }
}

/// Of an async function: what is promised.
fn result_of(annotation: Option<&TSTypeAnnotation<'_>>, is_async: bool, text: &str) -> String {
    let ty = type_of(annotation, text);
    let inner = ty.strip_prefix("Promise<").and_then(|rest| rest.strip_suffix('>'));
    match inner {
        Some(inner) if is_async => inner.to_owned(),
        _ => ty,
    }
}

fn type_of(annotation: Option<&TSTypeAnnotation<'_>>, text: &str) -> String {
    annotation.map_or_else(
        || "any".to_owned(),
        |annotation| one_line(annotation.type_annotation.span(), text),
    )
}

fn one_line(span: Span, text: &str) -> String {
    let text = text.get(span.start as usize..span.end as usize).unwrap_or_default();
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > TYPE_BYTES_MAX {
        line.truncate(line.floor_char_boundary(TYPE_BYTES_MAX));
        line.push('…');
    }
    line
}

fn name(name: &ModuleExportName<'_>) -> String {
    match name {
        ModuleExportName::IdentifierName(name) => name.name.to_string(),
        ModuleExportName::IdentifierReference(name) => name.name.to_string(),
        ModuleExportName::StringLiteral(name) => name.value.to_string(),
    }
}
