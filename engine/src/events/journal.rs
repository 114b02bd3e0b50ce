// SPDX-License-Identifier: Apache-2.0
//! Reads the journal of events: all of it, and then what is appended.
//!
//! A record that was cut short is no JSON, and is passed over. The file may be put aside at any moment: its reader goes on
//! to its end, then to the new one, and still looks at the old one once more for a writer that had opened it before.

use crate::caller::Caller;
use crate::error::{Doing, Result};
use crate::places::make_private;
use kelp_shim::events::{self, Event, JOURNAL, OLD};
use kelp_sys::rustix::fs::inotify;
use kelp_sys::rustix::io::{Errno, read};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The journal, and what tells when there is more in it.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    /// Readable when something was appended, or a file put aside.
    changes: OwnedFd,
    /// The files that may still grow, the newest last.
    tails: Vec<Tail>,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the oldest event there is.
    Oldest,
    /// With what happens from now on.
    Now,
}

impl Journal {
    /// Opens it; an empty one if nothing ever happened.
    pub fn open(caller: &Caller, from: From) -> Result<Self> {
        let folder = events::folder(&caller.places.store);
        make_private(&folder)?;
        let doing = || format!("cannot watch {}", folder.display());
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).doing(doing)?;
        let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_FROM;
        inotify::add_watch(&changes, &folder, what).doing(doing)?;
        let mut tails = Vec::new();
        for name in [OLD, JOURNAL] {
            tails.extend(Tail::open(&folder.join(name), from)?);
        }
        Ok(Self { folder, changes, tails })
    }

    /// What was appended since the last call, in the order of time.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        // Before the files: what is appended while they are read is news again.
        self.forget_changes()?;
        let mut events = Vec::new();
        loop {
            for tail in &mut self.tails {
                tail.read(&mut events)?;
            }
            let path = self.folder.join(JOURNAL);
            match Tail::open(&path, From::Oldest)? {
                Some(tail) if self.tails.last().is_none_or(|last| last.inode != tail.inode) => self.tails.push(tail),
                _ => break,
            }
        }
        let old = self.tails.len().saturating_sub(2);
        self.tails.drain(..old);
        events.sort_by_key(|event| event.time_nano);
        Ok(events)
    }

    /// Readable when something may have been appended since [`Journal::events`] was called last.
    pub fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// How many changes there were does not matter.
    fn forget_changes(&self) -> Result<()> {
        match read(&self.changes, &mut [0; 4096]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(errno).doing(|| "cannot wait for events"),
        }
    }
}

/// One file of the journal, read as it grows.
#[derive(Debug)]
struct Tail {
    file: BufReader<File>,
    inode: u64,
    /// A line whose end has not been written yet.
    begun: Vec<u8>,
}

impl Tail {
    fn open(path: &Path, from: From) -> Result<Option<Self>> {
        let doing = || format!("cannot read {}", path.display());
        let mut file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.doing(doing)?,
        };
        let inode = file.metadata().doing(doing)?.ino();
        if from == From::Now {
            file.seek(SeekFrom::End(0)).doing(doing)?;
        }
        Ok(Some(Self { file: BufReader::with_capacity(64 << 10, file), inode, begun: Vec::new() }))
    }

    fn read(&mut self, events: &mut Vec<Event>) -> Result<()> {
        while self.file.read_until(b'\n', &mut self.begun).doing(|| "cannot read the journal of events")? > 0 {
            if self.begun.last() != Some(&b'\n') {
                break;
            }
            // An empty line, or a record that was cut short.
            events.extend(serde_json::from_slice::<Event>(&self.begun));
            self.begun.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::collections::BTreeMap;
    use std::fs;

    fn append(folder: &Path, action: &str) {
        events::append(folder, &Event::now("volume", action, "v", BTreeMap::new())).unwrap();
    }

    fn actions(journal: &mut Journal) -> Vec<String> {
        journal.events().unwrap().into_iter().map(|event| event.action).collect()
    }

    #[test]
    fn a_follower_sees_each_event_once_across_files_that_are_put_aside() {
        let store = std::env::temp_dir().join(format!("kelp-journal-{}", std::process::id()));
        let caller = Caller::in_folder(store.clone());
        let folder = events::folder(&store);
        append(&folder, "before");
        let mut journal = Journal::open(&caller, From::Now).unwrap();
        assert_eq!(actions(&mut journal), Vec::<String>::new());
        append(&folder, "one");
        let mut fds = [PollFd::from_borrowed_fd(journal.changes(), PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })), Ok(1));
        assert_eq!(actions(&mut journal), ["one"]);
        let mut late = fs::OpenOptions::new().append(true).open(folder.join(JOURNAL)).unwrap();
        append(&folder, "two");
        fs::rename(folder.join(JOURNAL), folder.join(OLD)).unwrap();
        append(&folder, "three");
        assert_eq!(actions(&mut journal), ["two", "three"]);
        let record = serde_json::to_vec(&Event::now("volume", "late", "v", BTreeMap::new())).unwrap();
        std::io::Write::write_all(&mut late, &[b"\n{\"torn\n", &record[..], b"\n"].concat()).unwrap();
        assert_eq!(actions(&mut journal), ["late"]);
        assert_eq!(actions(&mut Journal::open(&caller, From::Oldest).unwrap()).len(), 5);
        fs::remove_dir_all(store).unwrap();
    }
}
