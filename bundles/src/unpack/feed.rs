// SPDX-License-Identifier: Apache-2.0
//! Blobs that are unpacked while they arrive: how much of each may be read already, and whether it proved whole.
//!
//! Whoever brings them writes files and tells; whoever unpacks reads the files and waits. So nothing is read twice from
//! the network, kept in memory, or believed before its digest was checked: the end of a blob shows only when it is whole.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use kelp_sys::rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What is known of a blob.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum News {
    /// It is written to this file, which has so many bytes.
    Begun(Digest, PathBuf, u64),
    /// The file has so many bytes.
    Grown(Digest, u64),
    /// It is in the store, and is what its digest says.
    Whole(Digest),
    /// No more will come of any.
    Failed,
}

/// Someone who unpacks.
pub(crate) trait Listener: Sync {
    /// Takes note; `false` when nothing is unpacked any more, so that nothing need be brought.
    fn tell(&self, news: News) -> bool;
}

/// Nobody unpacks meanwhile.
pub(crate) struct Nobody;

impl Listener for Nobody {
    fn tell(&self, _: News) -> bool {
        true
    }
}

#[derive(Debug, Default, Clone)]
struct Growth {
    file: Option<PathBuf>,
    bytes: u64,
    whole: bool,
}

#[derive(Debug, Default)]
struct State {
    blobs: HashMap<Digest, Growth>,
    failed: bool,
}

/// All that was told.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
}

impl Listener for Feed {
    fn tell(&self, news: News) -> bool {
        let mut state = self.lock();
        match news {
            News::Begun(blob, file, bytes) => {
                state.blobs.insert(blob, Growth { file: Some(file), bytes, whole: false });
            }
            News::Grown(blob, bytes) => state.blobs.entry(blob).or_default().bytes = bytes,
            News::Whole(blob) => state.blobs.entry(blob).or_default().whole = true,
            News::Failed => state.failed = true,
        }
        self.changed.notify_all();
        !state.failed
    }
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment: a thread that panicked left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether either side gave up.
    pub(super) fn failed(&self) -> bool {
        self.lock().failed
    }

    /// Waits until there is something to read behind `position`, or the blob is whole.
    fn wait(&self, blob: &Digest, position: u64) -> io::Result<Growth> {
        let mut state = self.lock();
        loop {
            if state.failed {
                return Err(io::Error::other("not all of the image could be brought"));
            }
            match state.blobs.get(blob) {
                Some(growth) if growth.whole || growth.bytes > position => return Ok(growth.clone()),
                _ => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A blob, from its first byte to its last, however long that takes.
pub(super) struct Arriving<'f> {
    feed: &'f Feed,
    blob: &'f Digest,
    /// Where it is in the end.
    stored: &'f Path,
    file: Option<File>,
    position: u64,
    /// What may be read without asking again.
    known: u64,
}

impl<'f> Arriving<'f> {
    pub(super) fn new(feed: &'f Feed, blob: &'f Digest, stored: &'f Path) -> Self {
        Self { feed, blob, stored, file: None, position: 0, known: 0 }
    }

    /// Waits for more; `None` at the end of a whole blob.
    fn more(&mut self) -> io::Result<Option<&File>> {
        if self.known <= self.position {
            let growth = self.feed.wait(self.blob, self.position)?;
            self.open(growth.file.as_deref())?;
            self.known = growth.bytes;
            if growth.whole {
                self.known = self.file.as_ref().map_or(Ok(0), |file| file.metadata().map(|m| m.len()))?;
                if self.known <= self.position {
                    return Ok(None);
                }
            }
        }
        Ok(self.file.as_ref())
    }

    /// Opens the file it grows in, or the one it became.
    fn open(&mut self, growing: Option<&Path>) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let open = |path: &Path| OpenOptions::new().read(true).custom_flags(flags).open(path);
        self.file = Some(match growing.map(open) {
            Some(Err(e)) if e.kind() == io::ErrorKind::NotFound => open(self.stored)?,
            Some(opened) => opened?,
            None => open(self.stored)?,
        });
        Ok(())
    }
}

impl io::Read for Arriving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (position, known) = {
            if self.more()?.is_none() {
                return Ok(0);
            }
            (self.position, self.known)
        };
        let Some(file) = &self.file else { return Ok(0) };
        let may = usize::try_from(known - position).map_or(buffer.len(), |left| left.min(buffer.len()));
        match file.read_at(&mut buffer[..may], position)? {
            // It was begun anew: what was told no longer holds.
            0 if may > 0 => {
                self.known = 0;
                Err(io::ErrorKind::Interrupted.into())
            }
            n => {
                self.position += n as u64;
                Ok(n)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn the_end_shows_only_when_the_blob_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (growing, stored) = (dir.path().join("growing"), dir.path().join("stored"));
        let (feed, blob) = (Feed::default(), Digest::of(b"x"));
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut text = String::new();
                Arriving::new(&feed, &blob, &stored).read_to_string(&mut text).map(|_| text)
            });
            let mut file = File::create(&growing).unwrap();
            assert!(feed.tell(News::Begun(blob.clone(), growing.clone(), 0)));
            for n in 1..=5 {
                file.write_all(b"0123456789").unwrap();
                feed.tell(News::Grown(blob.clone(), n * 10));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!reading.is_finished(), "nobody said that it is whole");
            std::fs::rename(&growing, &stored).unwrap();
            feed.tell(News::Whole(blob.clone()));
            assert_eq!(reading.join().unwrap().unwrap(), "0123456789".repeat(5));
        });
    }

    #[test]
    fn who_waits_is_woken_by_failure() {
        let (feed, blob) = (Feed::default(), Digest::of(b"x"));
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| Arriving::new(&feed, &blob, Path::new("/nowhere")).read(&mut [0; 8]));
            assert!(!feed.tell(News::Failed));
            assert!(reading.join().unwrap().is_err());
        });
    }
}
