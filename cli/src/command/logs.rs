// SPDX-License-Identifier: Apache-2.0
//! `kelp logs`: what a container's program has written.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::status;
use crate::error::{Doing, Error, Kind, Result};
use crate::output;
use crate::time;
use clap::Args;
use kelp_shim::log::Line;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Show what a container's program has written
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on until it ends
    #[arg(short, long)]
    follow: bool,
    /// Begin so many lines before the end; all: at the beginning
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = tail)]
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
        digits => digits.parse().map_err(|_| "expected a number or all".to_owned()),
    }
}

/// Performs the command.
pub(crate) fn run(args: &Logs, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, &args.container)?;
    let mut log = Log::open(&container.folder)?;
    let mut last = VecDeque::new();
    // The older file first. It may not be there, and may be put aside while we look: then lines show once or not.
    for line in Log::open(&container.folder.join(OLD))?.lines()?.into_iter().chain(log.lines()?) {
        if args.wants(&line)? {
            last.push_back(line);
        }
        if last.len() > args.tail {
            last.pop_front();
        }
    }
    for line in &last {
        args.show(line)?;
    }
    if args.follow {
        follow(args, caller, &container, &mut log)?;
    }
    Ok(ExitCode::SUCCESS)
}

const OLD: &str = "log.1";

fn follow(args: &Logs, caller: &Caller, container: &Container, log: &mut Log) -> Result<()> {
    loop {
        // Looked at before the log: what was written until it ended is then in the log.
        let alive = status::of(caller, container)?.state.is_alive();
        for line in log.lines()? {
            if args.wants(&line)? {
                args.show(&line)?;
            }
        }
        if log.was_replaced() {
            *log = Log::open(&container.folder)?;
            continue;
        }
        if !alive {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

impl Logs {
    fn wants(&self, line: &str) -> Result<bool> {
        if self.since.is_none() && self.until.is_none() {
            return Ok(true);
        }
        let at = time::seconds(&parse(line)?.time).unwrap_or(0);
        Ok(self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until))
    }

    fn show(&self, line: &str) -> Result<()> {
        let line = parse(line)?;
        let text = if self.timestamps { format!("{} {}", line.time, line.log) } else { line.log.into_owned() };
        match line.stream.as_ref() {
            "stderr" => output::raw_error(text.as_bytes()),
            _ => output::raw(text.as_bytes()),
        }
    }
}

fn parse(line: &str) -> Result<Line<'_>> {
    serde_json::from_str(line).map_err(|error| Error::new(Kind::BadInput, "cannot read the log", error))
}

/// A file of the log, read as it grows.
struct Log {
    path: std::path::PathBuf,
    file: Option<BufReader<File>>,
    /// A line whose end has not been written yet.
    begun: String,
}

impl Log {
    /// `log` of a container's folder, or the file itself. One that is not there is empty.
    fn open(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join("log") } else { path.to_owned() };
        let file = match File::open(&path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).doing(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, file, begun: String::new() })
    }

    /// The whole lines that were written since the last look.
    fn lines(&mut self) -> Result<Vec<String>> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        loop {
            let read = file.read_line(&mut self.begun).doing(|| format!("cannot read {}", self.path.display()))?;
            if read == 0 {
                return Ok(lines);
            }
            if self.begun.ends_with('\n') {
                lines.push(std::mem::take(&mut self.begun));
            }
        }
    }

    /// Its place has another file now: it was put aside.
    fn was_replaced(&self) -> bool {
        let now = std::fs::metadata(&self.path).map(|meta| meta.ino()).ok();
        let ours = self.file.as_ref().and_then(|file| file.get_ref().metadata().ok()).map(|meta| meta.ino());
        now.is_some() && now != ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn half_a_line_is_kept_until_its_end() {
        let path = std::env::temp_dir().join(format!("kelp-log-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let mut log = Log::open(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(log.lines().unwrap(), ["one\n"]);
        file.write_all(b"o\n").unwrap();
        assert_eq!(log.lines().unwrap(), ["two\n"]);
        assert!(!log.was_replaced());
        std::fs::remove_file(&path).unwrap();
        File::create(&path).unwrap();
        assert!(log.was_replaced());
        std::fs::remove_file(path).unwrap();
    }
}
