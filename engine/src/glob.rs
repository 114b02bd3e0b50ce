// SPDX-License-Identifier: Apache-2.0
//! Patterns of names, as Go's `path.Match` has them: `*` and `?` stop at a slash, `[a-c]`, `[^x]`, `\\` before what is meant
//! as it stands.

/// Refuses a pattern whose class is not closed, or that ends with the backslash of nothing.
pub fn check(pattern: &str) -> Result<(), String> {
    let pattern: Vec<char> = pattern.chars().collect();
    match is_well_formed(&pattern) {
        true => Ok(()),
        false => Err("syntax error in pattern: a [ without ], or a \\ at its end".to_owned()),
    }
}

fn is_well_formed(pattern: &[char]) -> bool {
    match pattern {
        [] => true,
        ['[', rest @ ..] => class(rest, '\0').is_some_and(|(_, rest)| is_well_formed(rest)),
        ['\\', rest @ ..] => rest.split_first().is_some_and(|(_, rest)| is_well_formed(rest)),
        [_, rest @ ..] => is_well_formed(rest),
    }
}

/// Whether the pattern fits the whole text. One that is malformed fits nothing.
pub fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    matches(&pattern, &text)
}

fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            matches(rest, text) || text.split_first().is_some_and(|(c, text)| *c != '/' && matches(pattern, text))
        }
        (['?', rest @ ..], [c, text @ ..]) => *c != '/' && matches(rest, text),
        (['[', rest @ ..], [c, text @ ..]) => {
            class(rest, *c).is_some_and(|(fits, rest)| fits && *c != '/' && matches(rest, text))
        }
        (['\\', p, rest @ ..] | [p, rest @ ..], [c, text @ ..]) => p == c && matches(rest, text),
        _ => false,
    }
}

/// Whether the character is in the class, and what follows its bracket.
fn class(pattern: &[char], wanted: char) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut found, mut empty) = (false, true);
    loop {
        let low;
        (low, rest) = match rest {
            [']', after @ ..] if !empty => return Some((found != negated, after)),
            ['\\', c, after @ ..] | [c, after @ ..] => (*c, after),
            [] => return None,
        };
        let high;
        (high, rest) = match rest {
            ['-', '\\', c, after @ ..] | ['-', c, after @ ..] if *c != ']' => (*c, after),
            after => (low, after),
        };
        found |= (low..=high).contains(&wanted);
        empty = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_go_s() {
        for (pattern, text, expected) in [
            ("bus*", "busybox:1", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("b?x", "box", true),
            ("b", "bb", false),
            ("app:v[12]", "app:v2", true),
            ("app:v[1-3]", "app:v4", false),
            ("app:v[^1]", "app:v1", false),
            ("f\\oo", "foo", true),
            ("f\\*", "foo", false),
            ("[]]", "]", true),
            ("[a", "a", false),
            ("a[/]b", "a/b", false),
            ("**", "foo", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
            assert_eq!(check(pattern).is_ok(), pattern != "[a", "{pattern}");
        }
        assert!(check("a\\").is_err() && check("[").is_err() && check("[]").is_err());
    }
}
