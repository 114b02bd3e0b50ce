// SPDX-License-Identifier: Apache-2.0
//! Text for people: aligned, wrapped at 80 columns, coloured where a terminal shows it.

/// As wide as every terminal is.
const WIDTH: usize = 80;
/// Where values begin.
const INDENT: usize = 18;

const BOLD: &str = "\x1b[1m";
const LABEL: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// A page that grows downwards.
pub(crate) struct Page {
    text: String,
    colour: bool,
}

impl Page {
    /// An empty page.
    pub(crate) fn new(colour: bool) -> Self {
        Page { text: String::new(), colour }
    }

    /// What was written so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A line of its own that stands out.
    pub(crate) fn heading(&mut self, line: &str) {
        self.text.push('\n');
        self.painted(BOLD, line);
        self.text.push('\n');
    }

    /// Plain words, wrapped.
    pub(crate) fn sentence(&mut self, words: &str) {
        self.wrap(words, 0);
    }

    /// The title of the rows that follow, with a note where their values are.
    pub(crate) fn section(&mut self, title: &str, note: &str) {
        self.text.push('\n');
        self.painted(BOLD, title);
        if !note.is_empty() {
            self.pad(title.len());
            self.text.push_str(note);
        }
        self.text.push('\n');
    }

    /// A label, and its value; a value too long for the line goes on below itself.
    pub(crate) fn row(&mut self, label: &str, value: &str) {
        self.text.push_str("  ");
        self.painted(LABEL, label);
        self.pad(2 + label.len());
        if value.len() <= WIDTH - INDENT {
            // As it is: its columns are aligned with blanks.
            self.text.push_str(value);
            self.text.push('\n');
        } else {
            self.wrap(value, INDENT);
        }
    }

    fn painted(&mut self, paint: &str, words: &str) {
        if self.colour {
            self.text.extend([paint, words, PLAIN]);
        } else {
            self.text.push_str(words);
        }
    }

    /// Blanks up to where values begin.
    fn pad(&mut self, from: usize) {
        self.blanks(INDENT.saturating_sub(from).max(1));
    }

    fn blanks(&mut self, count: usize) {
        self.text.extend(std::iter::repeat_n(' ', count));
    }

    /// Words, broken before `WIDTH`; the cursor already is at column `indent`.
    fn wrap(&mut self, words: &str, indent: usize) {
        let mut column = indent;
        for word in words.split_whitespace() {
            if column > indent && column + 1 + word.len() > WIDTH {
                self.text.push('\n');
                self.blanks(indent);
                column = indent;
            } else if column > indent {
                self.text.push(' ');
                column += 1;
            }
            self.text.push_str(word);
            column += word.len();
        }
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned_and_wrapped_below_themselves() {
        let mut page = Page::new(false);
        page.section("FILES", "");
        page.row("hidden", &["/proc/some-file"; 6].join(" "));
        page.row("/", "overlay, writable");
        assert_eq!(
            page.text(),
            "\nFILES\n  hidden          /proc/some-file /proc/some-file /proc/some-file\n                  \
             /proc/some-file /proc/some-file /proc/some-file\n  /               overlay, writable\n"
        );
        assert!(page.text().lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_pipe_gets_no_escape_sequences() {
        let painted = |colour| {
            let mut page = Page::new(colour);
            page.heading("Hello");
            page.row("label", "value");
            page.text().contains('\x1b')
        };
        assert_eq!((painted(false), painted(true)), (false, true));
    }
}
