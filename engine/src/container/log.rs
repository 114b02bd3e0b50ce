// SPDX-License-Identifier: Apache-2.0
//! Reads a container's log: all files that are kept, in order, and what is added while they are read.
//!
//! The shim renames `log` to `log.1`, `log.1` to `log.2` …, and begins a new `log`. A reader knows its files by their inodes.

use crate::container::find::Container;
use crate::error::{Doing, Error, Kind, Result};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a look at the log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// All that was written has been read.
    None,
    /// Another file has begun meanwhile: read on.
    Rotated,
    /// The same, and files between them are gone already, which nobody can read any more.
    Lost,
}

/// The files that are still to be read, the oldest first. The last one grows.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    files: VecDeque<LogFile>,
    /// A line whose end has not been written yet.
    begun: Vec<u8>,
}

#[derive(Debug)]
struct LogFile {
    inode: u64,
    file: BufReader<File>,
}

/// How often the files are opened anew because the log was rotated meanwhile.
const TRIES: u32 = 100;
/// How much is read at once from the end.
const BLOCK: u64 = 64 << 10;

impl Log {
    /// The log of a container.
    ///
    /// # Errors
    /// None is kept of it, or it cannot be read.
    pub fn open(container: &Container) -> Result<Log> {
        if container.record.log.max_size == 0 {
            let doing = format!("cannot read the log of container {}", container.record.name);
            let because = "configured logging driver does not support reading";
            return Err(Error::new(Kind::Unsupported, doing, because)
                .hint("it was made with --log-driver none; kelp attach shows what it writes from now on"));
        }
        Log::in_folder(&container.folder)
    }

    fn in_folder(folder: &Path) -> Result<Log> {
        let files = files(folder).doing(|| format!("cannot read the log in {}", folder.display()))?;
        Ok(Log { folder: folder.to_owned(), files, begun: Vec::new() })
    }

    /// Goes to where the last `count` lines begin, reading from the end.
    pub fn skip_to_last(&mut self, count: usize) -> Result<()> {
        let doing = || "cannot read the log from its end";
        let mut wanted = count;
        for at in (0..self.files.len()).rev() {
            let file = self.files[at].file.get_ref();
            let (offset, found) = last_lines(file, wanted).doing(doing)?;
            wanted -= found;
            self.files[at].file.seek(SeekFrom::Start(offset)).doing(doing)?;
            if wanted == 0 {
                self.files.drain(..at);
                break;
            }
        }
        Ok(())
    }

    /// Calls `act` with each whole line that was written since the last look.
    pub fn each_line(&mut self, act: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while let Some(file) = self.files.front_mut() {
            loop {
                let read = file.file.read_until(b'\n', &mut self.begun).doing(|| "cannot read the log")?;
                if self.begun.ends_with(b"\n") {
                    act(&self.begun)?;
                    self.begun.clear();
                } else if read == 0 {
                    break;
                }
            }
            if self.files.len() == 1 {
                return Ok(());
            }
            // The writer is done with it. What it did not end there, a crash has torn.
            if !self.begun.is_empty() {
                act(&self.begun)?;
                self.begun.clear();
            }
            self.files.pop_front();
        }
        Ok(())
    }

    /// Looks for files that were begun since. The one that was read last is read once more, up to where it was put aside.
    pub fn look(&mut self) -> Result<News> {
        let last = self.files.back().map(|file| file.inode);
        let now = fs::metadata(self.folder.join(FILE)).map(|meta| meta.ino()).ok();
        if now == last || now.is_none() {
            return Ok(News::None);
        }
        let mut files = files(&self.folder).doing(|| format!("cannot read the log in {}", self.folder.display()))?;
        let known = files.iter().position(|file| Some(file.inode) == last);
        let news = if known.is_none() && last.is_some() { News::Lost } else { News::Rotated };
        files.drain(..known.map_or(0, |at| at + 1));
        self.files.append(&mut files);
        Ok(news)
    }
}

const FILE: &str = "log";

/// Opens all files, the oldest first, as they stand at one moment.
fn files(folder: &Path) -> io::Result<VecDeque<LogFile>> {
    let mut tries = 0;
    loop {
        let before = names(folder)?;
        let mut files = VecDeque::new();
        for name in &before {
            match File::open(folder.join(name)) {
                Ok(file) => files.push_back(LogFile { inode: file.metadata()?.ino(), file: BufReader::new(file) }),
                // It is being renamed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut again = before.iter().map(|name| fs::metadata(folder.join(name)).map(|meta| meta.ino()).ok());
        let same = files.len() == before.len() && files.iter().all(|file| again.next() == Some(Some(file.inode)));
        tries += 1;
        if (same && names(folder)? == before) || tries == TRIES {
            return Ok(files);
        }
    }
}

/// `log.2`, `log.1`, `log`.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        match name.strip_prefix(FILE).map(|rest| rest.strip_prefix('.').map(str::parse::<u32>)) {
            Some(None) if name == FILE => numbers.push(0),
            Some(Some(Ok(number))) => numbers.push(number),
            _ => {}
        }
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let name = |number| if number == 0 { FILE.to_owned() } else { format!("{FILE}.{number}") };
    Ok(numbers.into_iter().map(name).collect())
}

/// Where the last `count` lines of a file begin, and how many there are, reading from its end.
fn last_lines(file: &File, count: usize) -> io::Result<(u64, usize)> {
    let mut end = file.metadata()?.len();
    let mut ends = 0;
    let mut block = vec![0; BLOCK as usize];
    while end > 0 {
        let length = end.min(BLOCK);
        let begin = end - length;
        let block = &mut block[..length as usize];
        file.read_exact_at(block, begin)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The line behind this end is one too many when `count` others have been seen.
            if ends == count {
                return Ok((begin + at as u64 + 1, count));
            }
            ends += 1;
        }
        end = begin;
    }
    Ok((0, ends))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn folder(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("kelp-log-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn lines(log: &mut Log) -> Vec<String> {
        let mut lines = Vec::new();
        log.each_line(&mut |line| {
            lines.push(String::from_utf8_lossy(line).trim_end().to_owned());
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn all_files_are_read_in_order_and_followed_across_rotations() {
        let folder = folder("rotated");
        let path = |name: &str| folder.join(name);
        for (name, text) in [("log.10", "1\n"), ("log.2", "2\n"), ("log.1", "3\n4\n"), ("log", "5\nsi")] {
            fs::write(path(name), text).unwrap();
        }
        fs::write(path("log.new"), "no").unwrap();
        let mut log = Log::in_folder(&folder).unwrap();
        assert_eq!(lines(&mut log), ["1", "2", "3", "4", "5"]);
        // Written to the file that is being read, which is put aside twice before the next look.
        File::options().append(true).open(path("log")).unwrap().write_all(b"x\n7\n").unwrap();
        fs::rename(path("log"), path("log.2")).unwrap();
        fs::write(path("log.1"), "8\n").unwrap();
        fs::write(path("log"), "9\n").unwrap();
        assert_eq!(log.look().unwrap(), News::Rotated);
        assert_eq!(lines(&mut log), ["six", "7", "8", "9"]);
        assert_eq!(log.look().unwrap(), News::None);
        for name in ["log", "log.1", "log.2", "log.10"] {
            fs::remove_file(path(name)).unwrap();
        }
        fs::write(path("log"), "20\n").unwrap();
        assert_eq!(log.look().unwrap(), News::Lost);
        assert_eq!(lines(&mut log), ["20"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_last_lines_are_found_from_the_end_over_files_and_blocks() {
        let folder = folder("tail");
        let many: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
        fs::write(folder.join("log.1"), &many).unwrap();
        fs::write(folder.join("log"), "a\nb\nunfinished").unwrap();
        for (count, expected) in [(0, vec![]), (1, vec!["b"]), (2, vec!["a", "b"]), (3, vec!["line 19999", "a", "b"])] {
            let mut log = Log::in_folder(&folder).unwrap();
            log.skip_to_last(count).unwrap();
            assert_eq!(lines(&mut log), expected);
        }
        let mut log = Log::in_folder(&folder).unwrap();
        log.skip_to_last(15_002).unwrap();
        assert_eq!(lines(&mut log).first().map(String::as_str), Some("line 5000"));
        let mut log = Log::in_folder(&folder).unwrap();
        log.skip_to_last(usize::MAX).unwrap();
        assert_eq!(lines(&mut log).len(), 20_002);
        fs::remove_dir_all(folder).unwrap();
    }
}
