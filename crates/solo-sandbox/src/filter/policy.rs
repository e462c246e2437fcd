//! Reads policies: what is answered to each call. The format: `policies/base.policy`.
//!
//! Pure. Strict: a name that it does not know, or a call with two answers, is an error; a call that
//! only the other architecture has is skipped.

use std::collections::BTreeMap;

use super::names::{Arch, call_numbers, errno, value};

/// Includes of includes; more means that a file includes itself.
const INCLUDES_MAX: usize = 4;

/// A text and its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) file: &'static str,
    pub(super) text: &'static str,
}

macro_rules! source {
    ($file:literal) => {
        Source { file: $file, text: include_str!(concat!("../../policies/", $file)) }
    };
}

impl Source {
    pub(super) const PROGRAM: Self = source!("program.policy");
    pub(super) const CELL: Self = source!("cell.policy");
    pub(super) const ROLE: Self = source!("role.policy");
    const SHARED: [Self; 3] =
        [source!("base.policy"), source!("children.policy"), source!("network.policy")];
}

/// What is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of {file}: {problem}")]
pub struct RuleError {
    file: &'static str,
    line: usize,
    problem: String,
}

/// A policy for one architecture. Calls that are not here are refused.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) calls: BTreeMap<u32, Rule>,
    /// Higher numbers are of calls newer than the policy.
    pub(super) highest_known: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    Allow,
    Errno(u16),
    /// Allowed if all terms of any of these hold.
    If(Vec<Vec<Term>>),
}

/// The low 32 bits of an argument, masked, are among the values, or they are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) argument: u8,
    pub(super) mask: u32,
    pub(super) values: Vec<u32>,
    pub(super) among: bool,
}

impl Rules {
    /// Reads a policy with what it includes.
    ///
    /// # Errors
    /// [`RuleError`] for the first line that is wrong.
    pub(super) fn read(source: Source, arch: Arch) -> Result<Self, RuleError> {
        let numbers = call_numbers(arch);
        let highest_known = numbers.values().flatten().max().copied().unwrap_or_default();
        let mut rules = Self { calls: BTreeMap::new(), highest_known };
        rules.include(source, &numbers, INCLUDES_MAX)?;
        Ok(rules)
    }

    fn include(
        &mut self,
        source: Source,
        numbers: &BTreeMap<&str, Option<u32>>,
        depth: usize,
    ) -> Result<(), RuleError> {
        for (line, statement) in statements(source.text) {
            let failed = |problem| RuleError { file: source.file, line, problem };
            if let Some(file) = statement.strip_prefix("include ") {
                let shared = Source::SHARED.into_iter().find(|shared| shared.file == file.trim());
                let shared = shared.filter(|_| depth > 0);
                let shared = shared.ok_or_else(|| failed(format!("cannot include {file}")))?;
                self.include(shared, numbers, depth - 1)?;
                continue;
            }
            let (names, rule) = parse(&statement).map_err(failed)?;
            for name in names {
                let number = numbers.get(name).ok_or_else(|| failed(format!("no call {name}")))?;
                let Some(number) = *number else { continue };
                self.add(number, rule.clone()).map_err(|()| failed(format!("{name} again")))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, number: u32, rule: Rule) -> Result<(), ()> {
        match (self.calls.get_mut(&number), rule) {
            (None, rule) => {
                self.calls.insert(number, rule);
                Ok(())
            }
            (Some(Rule::If(known)), Rule::If(more)) => {
                known.extend(more);
                Ok(())
            }
            _ => Err(()),
        }
    }
}

/// Lines without comments, joined with those that continue them, and where they start.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        match statements.last_mut() {
            _ if line.is_empty() => {}
            Some((_, statement)) if line.starts_with(' ') => statement.push_str(line),
            _ => statements.push((index + 1, line.to_owned())),
        }
    }
    statements
}

fn parse(statement: &str) -> Result<(Vec<&str>, Rule), String> {
    let (what, reason) = statement.split_once(':').ok_or("no reason")?;
    if reason.trim().is_empty() {
        return Err("no reason".to_owned());
    }
    let (names, rule) = if let Some((names, terms)) = what.split_once(" if ") {
        let terms = terms.split(" and ").map(term).collect::<Result<_, _>>()?;
        (names, Rule::If(vec![terms]))
    } else if let Some((names, error)) = what.split_once(" = ") {
        (
            names,
            Rule::Errno(errno(error.trim()).ok_or_else(|| format!("no error {}", error.trim()))?),
        )
    } else {
        (what, Rule::Allow)
    };
    let names: Vec<_> = names.split_whitespace().collect();
    if names.is_empty() { Err("no call".to_owned()) } else { Ok((names, rule)) }
}

fn term(text: &str) -> Result<Term, String> {
    let wrong = || format!("`{}` is no term", text.trim());
    let words: Vec<_> = text.split_whitespace().collect();
    let (argument, mask, test) = match words.as_slice() {
        [argument, "&", mask, test @ ..] => (argument, one(mask)?, test),
        [argument, test @ ..] => (argument, u32::MAX, test),
        [] => return Err(wrong()),
    };
    let argument = argument.strip_prefix("arg").and_then(|number| number.parse().ok());
    let argument = argument.filter(|argument| *argument < 6).ok_or_else(wrong)?;
    let (among, values) = match test {
        ["==", value] => (true, vec![one(value)?]),
        ["in", list] => (true, list.split(',').map(one).collect::<Result<_, _>>()?),
        ["not", "in", list] => (false, list.split(',').map(one).collect::<Result<_, _>>()?),
        _ => return Err(wrong()),
    };
    match values.iter().find(|value| *value & !mask != 0) {
        Some(value) => Err(format!("{value:#x} has bits that its mask lacks")),
        None => Ok(Term { argument, mask, values, among }),
    }
}

fn one(text: &str) -> Result<u32, String> {
    text.split('|').try_fold(0, |bits, part| {
        value(part).map(|value| bits | value).ok_or_else(|| format!("no value {part}"))
    })
}
