// SPDX-License-Identifier: Apache-2.0
//! The container's output on disk: Docker's json-file format, in files of bounded size.
//!
//! The holder writes it: one `write` per piece of output, whole lines only, so that a reader never sees half of one.

use crate::launch::LogLimits;
use crate::protocol::Stream;
use crate::time::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// One line of `log`. What a program wrote without a line end is one `Line` too, once it is 16 KiB long or the
/// program has ended: a line is over only where `log` ends in `\n`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Line<'a> {
    /// The text; bytes that are not UTF-8 have become U+FFFD.
    #[serde(borrow)]
    pub log: Cow<'a, str>,
    /// `stdout` or `stderr`.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// RFC 3339 with nanoseconds.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
}

/// A line without end is written out at this length.
const LINE_MAX: usize = 16 << 10;
/// Buffers that a long line has made larger than this are given back.
const KEPT_CAPACITY: usize = 4 << 10;

/// Writes `log` and puts it aside when it is full.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    limits: LogLimits,
    file: Option<File>,
    size: u64,
    /// What each stream has written since its last line end.
    begun: [Vec<u8>; 2],
    lines: Vec<u8>,
}

impl Writer {
    /// Continues the log of the container in this folder.
    pub fn open(container: &Path, limits: LogLimits) -> io::Result<Writer> {
        let path = container.join("log");
        let mut writer = Writer { path, limits, file: None, size: 0, begun: Default::default(), lines: Vec::new() };
        if limits.max_size > 0 {
            writer.reopen()?;
        }
        Ok(writer)
    }

    /// Takes output as it comes.
    ///
    /// # Errors
    /// Those of the file system; the lines concerned are lost, later ones are tried again.
    pub fn write(&mut self, stream: Stream, mut bytes: &[u8]) -> io::Result<()> {
        if self.limits.max_size == 0 {
            return Ok(());
        }
        // Once for all lines of a piece: they came together.
        let time = &Timestamp::now().to_string();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            self.take(stream, line, time);
            self.end_line(stream, time);
            bytes = rest;
        }
        self.take(stream, bytes, time);
        self.publish()
    }

    /// Writes out lines that have no end yet: nothing more will come.
    pub fn flush(&mut self) -> io::Result<()> {
        let time = &Timestamp::now().to_string();
        self.end_line(Stream::Stdout, time);
        self.end_line(Stream::Stderr, time);
        self.publish()
    }

    fn take(&mut self, stream: Stream, mut bytes: &[u8], time: &str) {
        while !bytes.is_empty() {
            let room = LINE_MAX - self.begun[slot(stream)].len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.begun[slot(stream)].extend_from_slice(now);
            if self.begun[slot(stream)].len() == LINE_MAX {
                self.break_line(stream, time);
            }
            bytes = later;
        }
    }

    /// A full buffer becomes a `Line`, except for the beginning of a character whose rest has not come.
    fn break_line(&mut self, stream: Stream, time: &str) {
        let line = &self.begun[slot(stream)];
        let incomplete = match std::str::from_utf8(line) {
            Err(error) if error.error_len().is_none() => line.len() - error.valid_up_to(),
            _ => 0,
        };
        let rest = line[line.len() - incomplete..].to_vec();
        self.begun[slot(stream)].truncate(LINE_MAX - incomplete);
        self.end_line(stream, time);
        self.begun[slot(stream)].extend(rest);
    }

    fn end_line(&mut self, stream: Stream, time: &str) {
        let line = std::mem::take(&mut self.begun[slot(stream)]);
        if !line.is_empty() {
            put_line(&mut self.lines, stream, &line, time);
        }
        self.begun[slot(stream)] = reuse(line);
    }

    fn publish(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        let written = self.append(&lines);
        self.lines = reuse(lines);
        written
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.size > 0 && self.size.saturating_add(lines.len() as u64) > self.limits.max_size {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        if let Some(file) = &mut self.file {
            if let Err(error) = file.write_all(lines) {
                // Whole lines only: the part that fitted a full disk goes again.
                file.set_len(self.size).ok();
                return Err(error);
            }
            self.size += lines.len() as u64;
        }
        Ok(())
    }

    /// `log.1` → `log.2`, `log` → `log.1`, as far as there may be files; then a new `log`.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let numbered = |number: u32| self.path.with_extension(number.to_string());
        for number in (1..self.limits.files.saturating_sub(1)).rev() {
            missing_is_fine(fs::rename(numbered(number), numbered(number + 1)))?;
        }
        match self.limits.files {
            0 | 1 => missing_is_fine(fs::remove_file(&self.path))?,
            _ => missing_is_fine(fs::rename(&self.path, numbered(1)))?,
        }
        self.reopen()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn slot(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

/// The same buffer, empty; or none, if it has grown.
fn reuse(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.shrink_to(KEPT_CAPACITY);
    buffer
}

fn put_line(out: &mut Vec<u8>, stream: Stream, line: &[u8], time: &str) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    out.extend_from_slice(b"{\"log\":\"");
    for piece in line.utf8_chunks() {
        put_text(out, piece.valid());
        if !piece.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    // A Vec takes everything that is written to it.
    writeln!(out, "\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}").unwrap_or_default();
}

/// JSON's escapes and no others.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => write!(out, "\\u{byte:04x}").unwrap_or_default(),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<(String, String)> {
        let text = fs::read_to_string(path).unwrap();
        let read = |line| serde_json::from_str::<Line<'_>>(line).unwrap();
        text.lines().map(read).map(|line| (line.stream.into_owned(), line.log.into_owned())).collect()
    }

    fn writer(folder: &Path, max_size: u64, files: u32) -> Writer {
        Writer::open(folder, LogLimits { max_size, files }).unwrap()
    }

    #[test]
    fn pieces_become_lines_each_stream_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), 1 << 20, 2);
        log.write(Stream::Stdout, b"one\ntw").unwrap();
        log.write(Stream::Stderr, b"oops \"\\\x01\n").unwrap();
        log.write(Stream::Stdout, b"o\r\nthree").unwrap();
        log.flush().unwrap();
        let all = lines(&folder.path().join("log"));
        let all: Vec<(&str, &str)> = all.iter().map(|(stream, text)| (stream.as_str(), text.as_str())).collect();
        let expected =
            [("stdout", "one\n"), ("stderr", "oops \"\\\u{1}\n"), ("stdout", "two\r\n"), ("stdout", "three")];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_character_cut_by_the_line_limit_survives_and_bad_bytes_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), 1 << 20, 2);
        let long = "x".repeat(LINE_MAX - 1) + "é!\n";
        log.write(Stream::Stdout, long.as_bytes()).unwrap();
        log.write(Stream::Stdout, b"a\xffb\n").unwrap();
        let all = lines(&folder.path().join("log"));
        assert_eq!(all.iter().map(|(_, text)| text.as_str()).collect::<String>(), long + "a\u{fffd}b\n");
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), 1000, 3);
        for number in 0..1000 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        let mut kept = Vec::new();
        for name in ["log.2", "log.1", "log"] {
            let path = folder.path().join(name);
            assert!(fs::metadata(&path).unwrap().len() <= 1000);
            kept.extend(lines(&path).into_iter().map(|(_, text)| text));
        }
        let expected: Vec<String> = (1000 - kept.len()..1000).map(|number| format!("line {number}\n")).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn no_log_means_no_file() {
        let folder = tempfile::tempdir().unwrap();
        writer(folder.path(), 0, 2).write(Stream::Stdout, b"x\n").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
