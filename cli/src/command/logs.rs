// SPDX-License-Identifier: Apache-2.0
//! `kelp logs`: what a container's program has written.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::log::{Log, News};
use crate::container::status;
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::time;
use clap::Args;
use kelp_shim::log::Line;
use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

/// Show what a container's program has written
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on until it ends
    #[arg(short, long)]
    follow: bool,
    /// Begin so many lines before the end; all: at the beginning
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", allow_hyphen_values = true, value_parser = tail)]
    tail: usize,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Only what was written since: 2026-01-31T12:00:00Z, or 10m
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    since: Option<i64>,
    /// Only what was written before
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    until: Option<i64>,
    /// Name or id
    container: String,
}

/// How often a followed log is looked at.
const PAUSE: Duration = Duration::from_millis(50);

fn tail(text: &str) -> Result<usize, String> {
    match text {
        "all" => Ok(usize::MAX),
        // As in Docker, -1 is all.
        number => match number.parse::<i64>() {
            Ok(lines) => Ok(usize::try_from(lines).unwrap_or(usize::MAX)),
            Err(_) => Err("expected a number or all".to_owned()),
        },
    }
}

/// Performs the command.
pub(crate) fn run(args: &Logs, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, &args.container)?;
    let mut log = Log::open(&container)?;
    match args.print(caller, &container, &mut log) {
        Err(_) if output::reader_left() => Ok(ExitCode::SUCCESS),
        printed => printed.map(|()| ExitCode::SUCCESS),
    }
}

fn follow(args: &Logs, caller: &Caller, container: &Container, log: &mut Log) -> Result<()> {
    loop {
        // Looked at before the log: what was written until it ended is then in the log.
        let alive = status::of(caller, container)?.state.is_alive();
        let news = log.look()?;
        log.each_line(&mut |line| args.show(line))?;
        match news {
            News::Lost => output::note("lines may be missing here: the log was cut faster than it was read"),
            News::Rotated if output::reader_stays(Duration::ZERO) => {}
            News::None if alive && output::reader_stays(PAUSE) => {}
            News::Rotated | News::None => return Ok(()),
        }
    }
}

impl Logs {
    fn print(&self, caller: &Caller, container: &Container, log: &mut Log) -> Result<()> {
        match self.since.is_some() || self.until.is_some() {
            false if self.tail == usize::MAX => {}
            false => log.skip_to_last(self.tail)?,
            // Only reading tells which lines are of that time.
            true => self.show_last(log)?,
        }
        log.each_line(&mut |line| self.show(line))?;
        if self.follow { follow(self, caller, container, log) } else { Ok(()) }
    }

    /// The last lines of the time that was asked for.
    fn show_last(&self, log: &mut Log) -> Result<()> {
        let mut last = VecDeque::new();
        log.each_line(&mut |line| {
            match parse(line) {
                Some(parsed) if !self.wants(&parsed) => return Ok(()),
                _ => last.push_back(line.to_owned()),
            }
            if last.len() > self.tail {
                last.pop_front();
            }
            Ok(())
        })?;
        last.iter().try_for_each(|line| self.show(line))
    }

    fn wants(&self, line: &Line<'_>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let at = time::seconds(&line.time).unwrap_or(0);
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    fn show(&self, line: &[u8]) -> Result<()> {
        if output::reader_left() {
            return Err(Error::new(Kind::Other, "cannot go on with the log", "its reader has left"));
        }
        let whole = parse(line);
        if whole.is_none() {
            output::note("a line of the log is torn, and left out");
        }
        // What was written behind a torn line is whole.
        let Some(line) = whole.or_else(|| parse(last_begun(line)?)).filter(|line| self.wants(line)) else {
            return Ok(());
        };
        let text = if self.timestamps { format!("{} {}", line.time, line.log) } else { line.log.into_owned() };
        match line.stream.as_ref() {
            "stderr" => output::raw_error(text.as_bytes()),
            _ => output::raw(text.as_bytes()),
        }
    }
}

/// The line, unless a crash has torn it.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    serde_json::from_slice(line).ok()
}

/// From where the last line begins in what a crash has joined.
fn last_begun(joined: &[u8]) -> Option<&[u8]> {
    let begin = b"{\"log\":\"";
    let at = joined.windows(begin.len()).rposition(|part| part == begin)?;
    joined.get(at..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_to_a_torn_line_is_read() {
        let whole = r#"{"log":"three\n","stream":"stdout","time":"2026-01-31T12:00:00Z"}"#;
        let joined = format!(r#"{{"log":"tw{whole}"#);
        assert!(parse(joined.as_bytes()).is_none());
        let line = last_begun(joined.as_bytes()).and_then(parse).unwrap();
        assert_eq!(line.log, "three\n");
        assert!(last_begun(b"junk").is_none());
    }
}
