//! What a module imports by name: as statements, while it runs, by `require`.

use oxc_ast::ast::{CallExpression, Expression, ImportExpression, Program, Statement};
use oxc_ast_visit::{Visit, walk};
use oxc_span::Span;

/// One import.
#[derive(Debug)]
pub(crate) struct Import {
    /// As it is written.
    pub(crate) name: String,
    /// Where.
    pub(crate) span: Span,
    /// By a statement: without it the module cannot run.
    pub(crate) is_needed: bool,
    /// By `require`.
    pub(crate) is_required: bool,
}

/// Finds them, and whether the module speaks of what CommonJS gives it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) imports: Vec<Import>,
    /// `require("...")`, `module.exports`, `exports.name`.
    pub(crate) is_commonjs: bool,
}

pub(crate) fn find(program: &Program<'_>) -> Found {
    let mut found = Found::default();
    for statement in &program.body {
        let source = match statement {
            Statement::ImportDeclaration(import) => &import.source,
            Statement::ExportFromDeclaration(export) => &export.source,
            Statement::ExportAllDeclaration(export) => &export.source,
            _ => continue,
        };
        let (name, span) = (source.value.to_string(), source.span);
        found.imports.push(Import { name, span, is_needed: true, is_required: false });
    }
    found.visit_program(program);
    found
}

impl<'a> Visit<'a> for Found {
    fn visit_import_expression(&mut self, import: &ImportExpression<'a>) {
        if let Expression::StringLiteral(source) = &import.source {
            let (name, span) = (source.value.to_string(), source.span);
            self.imports.push(Import { name, span, is_needed: false, is_required: false });
        }
        walk::walk_import_expression(self, import);
    }

    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        if let Some(source) = call.common_js_require() {
            let (name, span) = (source.value.to_string(), source.span);
            self.imports.push(Import { name, span, is_needed: false, is_required: true });
            self.is_commonjs = true;
        }
        walk::walk_call_expression(self, call);
    }

    fn visit_static_member_expression(
        &mut self,
        member: &oxc_ast::ast::StaticMemberExpression<'a>,
    ) {
        if let Expression::Identifier(object) = &member.object {
            let name = (object.name.as_str(), member.property.name.as_str());
            self.is_commonjs |= matches!(name, ("module", "exports") | ("exports", _));
        }
        walk::walk_static_member_expression(self, member);
    }
}
