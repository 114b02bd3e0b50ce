// SPDX-License-Identifier: Apache-2.0
//! Makes text from images, containers and registries harmless for a terminal: what it would obey is shown instead.
//!
//! Used by every program of ours, in the one place where each writes for people. The escapes are JSON's, so that JSON that
//! passes through stays the same value. Unicode TR 36 “Bidirectional Text Spoofing”; ECMA-48 for the control characters.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with control and bidirectional characters as `\u001b`; line feeds and tabs stay.
pub fn text(text: &str) -> Cow<'_, str> {
    shown(text, |c| c != '\n' && c != '\t' && is_obeyed(c))
}

/// The same for one cell of a table or one name on a line: line feeds and tabs are shown too.
pub fn cell(text: &str) -> Cow<'_, str> {
    shown(text, is_obeyed)
}

/// Text that goes on one line of ours: its own further lines are quoted, so that none of them looks like one of ours.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches('\n');
    if text.contains('\n') { Cow::Owned(text.replace('\n', "\n    | ")) } else { Cow::Borrowed(text) }
}

/// C0, DEL and C1; marks, embeddings, overrides and isolates that change the direction of text.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn shown(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    // Nearly all text has none of them.
    if !text.chars().any(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match hidden(c) {
            // A String takes everything that is written to it.
            true => write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default(),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_the_rest_stays() {
        assert_eq!(
            text("a\x1b]0;x\x07\u{9b}\u{202e}\r\x7fé\n\t世"),
            r"a\u001b]0;x\u0007\u009b\u202e\u000d\u007fé".to_owned() + "\n\t世"
        );
        assert_eq!(cell("a\nb\tc"), r"a\u000ab\u0009c");
        assert!(matches!(text("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn json_that_passes_through_is_the_same_value() {
        let value = serde_json::json!({ "label": "\u{9b}31m\u{202e}\u{7f}\x1b" });
        let json = serde_json::to_string(&value).unwrap();
        let through = text(&json);
        assert!(through.is_ascii(), "{through}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&through).unwrap(), value);
    }

    #[test]
    fn further_lines_cannot_look_like_ours() {
        assert_eq!(quoted("denied\n  hint: run me\n"), "denied\n    |   hint: run me");
    }
}
