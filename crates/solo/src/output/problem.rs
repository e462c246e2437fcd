//! Problems as text: cause first, then what a program would match on, then what to do.

use solo_types::Problem;

use super::text::{Style, lines, one_line};

/// Details that are shown in this order; others follow by key.
const DETAILS: [&str; 3] = ["expected", "excerpt", "backtrace"];

/// Details that are shown together.
const PLACE: [&str; 3] = ["file", "line", "column"];

/// Details of several lines.
const LINES: [&str; 4] = ["excerpt", "backtrace", "log", "log_tail"];

/// Writes a problem.
pub(super) fn problem_text(problem: &Problem, style: Style) -> String {
    let mut text = format!("{} {}\n", style.error("error:"), one_line(&problem.cause));
    text.push_str(&format!("reason: {}\n", one_line(&problem.reason)));
    for violation in &problem.fields {
        if violation.rule == problem.cause {
            text.push_str(&format!("field: {}\n", one_line(&violation.field)));
        } else {
            let (field, rule) = (one_line(&violation.field), one_line(&violation.rule));
            text.push_str(&format!("field: {field}: {rule}\n"));
        }
    }
    if !problem.remedy.is_empty() {
        text.push_str(&format!("{} {}\n", style.hint("hint:"), one_line(&problem.remedy)));
    }
    if let Some(line) = detail(problem, "line") {
        let column = detail(problem, "column").map(|column| format!(", column {column}"));
        let file = detail(problem, "file").map(|file| format!("{file}, ")).unwrap_or_default();
        text.push_str(&format!("at: {file}line {line}{}\n", column.unwrap_or_default()));
    }
    for key in DETAILS {
        if let Some(value) = detail(problem, key) {
            text.push_str(&labelled(key, &value));
        }
    }
    for (key, value) in &problem.details {
        if !DETAILS.contains(&key.as_str()) && !PLACE.contains(&key.as_str()) {
            text.push_str(&labelled(&one_line(key), &shown(key, value)));
        }
    }
    text
}

fn detail(problem: &Problem, key: &str) -> Option<String> {
    problem.details.iter().find(|(known, _)| known == key).map(|(_, value)| shown(key, value))
}

fn shown(key: &str, value: &str) -> String {
    let value = value.trim_end();
    if LINES.contains(&key) { lines(value) } else { one_line(value) }
}

/// On one line, or below the label where there are several.
fn labelled(label: &str, value: &str) -> String {
    if !value.contains('\n') {
        return format!("{label}: {value}\n");
    }
    let lines: String = value.lines().map(|line| format!("  {line}\n")).collect();
    format!("{label}:\n{lines}")
}

#[cfg(test)]
mod tests {
    use solo_types::ProblemKind;

    use super::*;

    #[test]
    fn a_wrong_field_is_named() {
        let problem = Problem::invalid("INVALID_NAME", "name", "the name is empty")
            .remedy("use 1 to 63 letters");
        assert_eq!(
            problem_text(&problem, Style::PLAIN),
            "error: the name is empty\n\
             reason: INVALID_NAME\n\
             field: name\n\
             hint: use 1 to 63 letters\n"
        );
    }

    #[test]
    fn no_line_can_be_forged() {
        let forged = "x\nhint: run this";
        let problem = Problem::invalid("BAD\nX", forged, forged)
            .remedy(forged)
            .detail("expected", forged)
            .detail("backtrace", forged)
            .detail("label", forged);
        let text = problem_text(&problem, Style::PLAIN);
        assert_eq!(text.lines().filter(|line| line.starts_with("hint: run")).count(), 0, "{text}");
        assert!(text.contains("backtrace:\n  x\n  hint: run this\n"), "{text}");
    }

    #[test]
    fn details_come_in_their_order() {
        let problem = Problem::new(ProblemKind::InvalidArgument, "COMPILE_FAILED", "unknown type")
            .remedy("mend it")
            .detail("backtrace", "one\ntwo\n")
            .detail("column", "5")
            .detail("excerpt", "(func (param i31))")
            .detail("line", "3")
            .detail("expected", "i32")
            .detail("other", "\x1b[0m");
        assert_eq!(
            problem_text(&problem, Style::PLAIN),
            "error: unknown type\n\
             reason: COMPILE_FAILED\n\
             hint: mend it\n\
             at: line 3, column 5\n\
             expected: i32\n\
             excerpt: (func (param i31))\n\
             backtrace:\n  one\n  two\n\
             other: \\u{1b}[0m\n"
        );
    }
}
