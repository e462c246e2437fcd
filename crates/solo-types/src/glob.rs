//! Names with `*` and `?`.

/// Tells whether `text` matches `pattern`: `*` is any run of characters, `?` any one.
///
/// An empty pattern matches everything. Takes at most `pattern x text` steps, whatever the pattern.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    if pattern.is_empty() {
        return true;
    }
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to take up again when a run after the last `*` does not match.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::glob_matches;

    #[test]
    fn matches_as_a_shell_would() {
        for (pattern, text, expected) in [
            ("", "anything", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*b*d*", "abcde", true),
        ] {
            assert_eq!(glob_matches(pattern, text), expected, "{pattern} against {text}");
        }
    }
}
