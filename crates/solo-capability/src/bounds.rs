//! Bounds on what a token may contain, checked before anything in it is evaluated.
//!
//! Any holder may append blocks, so their content is hostile input. The library limits the time of
//! an evaluation only between its steps; one step that joins many facts, or compiles a large regular
//! expression, could take minutes. Therefore what could be expensive is refused by its shape.

use biscuit_auth::builder::{Binary, Check, Fact, Op, Rule, Unary};

use crate::Denial;

/// Characters of a token: a plain one has about 400, each appended block about 250 more.
pub(crate) const TOKEN_CHARS_MAX: usize = 16 << 10;

/// Blocks of a token: hands that it went through. Each costs one signature check (50 us).
pub(crate) const BLOCKS_MAX: usize = 32;

/// Checks of all blocks together.
const CHECKS_MAX: usize = 128;

/// Alternatives (`or`) of one check.
const QUERIES_MAX: usize = 16;

/// Predicates of one query: service, right and time. More would only multiply the facts.
const PREDICATES_MAX: usize = 3;

/// Facts of the first block: service, expiry and each right once.
pub(crate) const FACTS_MAX: usize = 16;

/// Checks the parts of a token as [`biscuit_auth::Authorizer::dump`] answers them.
///
/// # Errors
/// [`Denial::TooComplex`] with the first thing that is too much.
pub(crate) fn check_shape(facts: &[Fact], rules: &[Rule], checks: &[Check]) -> Result<(), Denial> {
    if !rules.is_empty() {
        return Err(Denial::TooComplex { what: "it contains a rule" });
    }
    if facts.len() > FACTS_MAX {
        return Err(Denial::TooComplex { what: "it contains too many facts" });
    }
    if checks.len() > CHECKS_MAX {
        return Err(Denial::TooComplex { what: "it contains too many checks" });
    }
    for check in checks {
        if check.queries.len() > QUERIES_MAX {
            return Err(Denial::TooComplex { what: "a check has too many alternatives" });
        }
        for query in &check.queries {
            if query.body.len() > PREDICATES_MAX {
                return Err(Denial::TooComplex { what: "a check joins too many facts" });
            }
            if !query.expressions.iter().all(|expression| expression.ops.iter().all(is_cheap)) {
                return Err(Denial::TooComplex {
                    what: "a check uses an operation that is not allowed",
                });
            }
        }
    }
    Ok(())
}

/// Whether an operation costs no more than its own length, whatever it is applied to.
///
/// A list of what is allowed: what a later version of the library adds is refused.
fn is_cheap(op: &Op) -> bool {
    match op {
        Op::Value(_) => true,
        // `&&` and `||` keep their right side in a closure without parameters, evaluated once.
        // Closures with parameters run once per element, and nest.
        Op::Closure(parameters, ops) => parameters.is_empty() && ops.iter().all(is_cheap),
        Op::Unary(unary) => matches!(unary, Unary::Negate | Unary::Parens | Unary::Length),
        Op::Binary(binary) => matches!(
            binary,
            Binary::LessThan
                | Binary::GreaterThan
                | Binary::LessOrEqual
                | Binary::GreaterOrEqual
                | Binary::Equal
                | Binary::NotEqual
                | Binary::HeterogeneousEqual
                | Binary::HeterogeneousNotEqual
                | Binary::Contains
                | Binary::Prefix
                | Binary::Suffix
                | Binary::And
                | Binary::Or
                | Binary::LazyAnd
                | Binary::LazyOr
        ),
    }
}
