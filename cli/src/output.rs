// SPDX-License-Identifier: Apache-2.0
//! What people and scripts read: lines, tables, JSON, notes.
//!
//! stdout carries results, stderr carries notes and errors. A reader that left (`kelp ps | head -1`) is not an error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the module that prints for the others")]

use crate::error::{Doing, Error, Kind, Result};
use kelp_runtime::visible;
use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fs::fstat;
use kelp_sys::rustix::stdio::{stderr, stdout};
use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Writes one line to stdout. What a terminal would obey is shown instead, wherever it comes from, also to a pipe: people look
/// at what scripts have kept.
pub(crate) fn line(text: impl Display) -> Result<()> {
    raw(format!("{}\n", visible::text(&text.to_string())).as_bytes())
}

/// Writes text to stdout without an end of line, harmless as what `line` writes.
pub(crate) fn text(text: &str) -> Result<()> {
    raw(visible::text(text).as_bytes())
}

/// Writes text to stderr: a question, a warning that is Docker's whole line.
pub(crate) fn complaint(text: &str) -> Result<()> {
    raw_error(visible::text(text).as_bytes())
}

/// Whether somebody who read our results has left: a pipe took no more.
static READER_LEFT: AtomicBool = AtomicBool::new(false);

/// Why waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The descriptor can be read.
    Readable,
    /// The time is over.
    TimeOver,
    /// Nobody reads our output any more.
    ReaderGone,
}

/// Waits for something to read, as long as the reader of stdout stays: nobody needs what comes after he has left. For commands
/// that go on until they are interrupted.
pub(crate) fn wait_for(news: Option<BorrowedFd<'_>>, time: Option<Duration>) -> Woken {
    if READER_LEFT.load(Ordering::Relaxed) {
        return Woken::ReaderGone;
    }
    let time = time.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    // No event is asked for stdout: poll reports hang-ups and errors alone.
    let mut fds = vec![PollFd::from_borrowed_fd(stdout(), PollFlags::empty())];
    fds.extend(news.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    match poll(&mut fds, time.as_ref()) {
        Ok(0) => Woken::TimeOver,
        Ok(_) if !fds[0].revents().is_empty() => Woken::ReaderGone,
        // What interrupts us may be news.
        Ok(_) | Err(_) => Woken::Readable,
    }
}

/// Whether the reader of stdout has left, as a write has shown: the rest need not even be made.
pub(crate) fn reader_left() -> bool {
    READER_LEFT.load(Ordering::Relaxed)
}

/// Waits, and tells whether the reader of stdout has stayed.
pub(crate) fn reader_stays(pause: Duration) -> bool {
    wait_for(None, Some(pause)) != Woken::ReaderGone
}

/// Whether stdout and stderr are one file, as a terminal's are and `2>&1` makes them.
pub(crate) fn is_joined() -> bool {
    let file = |fd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    file(stdout()).is_some_and(|out| file(stderr()) == Some(out))
}

/// Writes bytes to stdout as they are: what a program in a container wrote, and our own escapes.
pub(crate) fn raw(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    tolerate_leaving(written).doing(|| "cannot write to stdout")
}

/// Writes bytes to stderr as they are: what a program in a container wrote.
pub(crate) fn raw_error(bytes: &[u8]) -> Result<()> {
    tolerate_leaving(std::io::stderr().lock().write_all(bytes)).doing(|| "cannot write to stderr")
}

fn tolerate_leaving(written: std::io::Result<()>) -> std::io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            READER_LEFT.store(true, Ordering::Relaxed);
            Ok(())
        }
        written => written,
    }
}

/// Says something about what is being done, on stderr. Best effort: stderr may be closed.
pub(crate) fn note(text: impl Display) {
    let mut err = std::io::stderr().lock();
    // A note that cannot be written has nobody to tell it to.
    writeln!(err, "{}{}", paint("kelp: ", "36"), visible::text(&text.to_string())).ok();
}

/// Prints the error of a command, in the three-line form.
pub(crate) fn error(error: &Error) {
    let text = error.to_string();
    let text = visible::text(&text);
    let painted = match text.strip_prefix("error: ") {
        Some(rest) => format!("{}{rest}", paint("error: ", "1;31")),
        None => text.into_owned(),
    };
    writeln!(std::io::stderr().lock(), "{painted}").ok();
}

/// What a child of ours tells its parent through stderr: the bare cause.
pub(crate) fn plain_error(because: &str) {
    writeln!(std::io::stderr().lock(), "{}", visible::text(because)).ok();
}

/// Prints a value as indented JSON, as `inspect` does.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Kind::Other, "cannot print the result as JSON", error))?;
    line(text)
}

/// Prints a value as one line of JSON, as `--format json` does for each row.
pub(crate) fn json_line(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::new(Kind::Other, "cannot print the result as JSON", error))?;
    line(text)
}

/// `text` in the SGR colour `code`, where stderr is a terminal and NO_COLOR is unset.
fn paint(text: &str, code: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
        || !std::io::stderr().is_terminal();
    if plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}

/// Rows under headings, aligned with at least three spaces between columns of seven characters or more, as Docker's tables.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn with_headings(headings: Vec<String>) -> Self {
        Self { rows: vec![headings] }
    }

    /// Appends a row, one cell per heading.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| visible::cell(&cell).into_owned()).collect());
    }

    /// Prints the headings and all rows.
    pub(crate) fn print(&self) -> Result<()> {
        raw(self.render().as_bytes())
    }

    fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(7)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let mut table = Table::with_headings(["NAME", "TAG", "SIZE"].map(str::to_owned).to_vec());
        table.row(["a-long-name", "v1", "1"].map(str::to_owned));
        table.row(["b", "", ""].map(str::to_owned));
        assert_eq!(table.render(), "NAME          TAG       SIZE\na-long-name   v1        1\nb\n");
    }
}
