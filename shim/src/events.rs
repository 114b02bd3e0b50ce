// SPDX-License-Identifier: Apache-2.0
//! The journal of what happened to a user's containers, images and volumes: Docker's events without a daemon.
//!
//! Whoever makes a change appends one line: the command line for what it does, kelp-shim for what happens to its container.
//! A line is the JSON object that Docker's `GET /events` sends, so that a reader need not translate it.
//!
//! Each record is one write(2) with O_APPEND, which the kernel performs under the file's lock: records of two writers never
//! mix. It begins with a line feed of its own, so that a record that a full disk or a kill cut short damages no later one.
//! The journal is bounded: at [`FILE_MAX`] bytes it is put aside as `journal.1`, in the place of the one before.

use crate::time::Timestamp;
use kelp_sys::rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open, rename, stat};
use kelp_sys::rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes at which a journal is put aside: about ten thousand events.
pub const FILE_MAX: u64 = 4 << 20;

/// The newest records.
pub const JOURNAL: &str = "journal";

/// The records before them.
pub const OLD: &str = "journal.1";

/// One event, as Docker's Engine API has it (`EventMessage`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The action again, as clients of the first API read it; of containers and images alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The object's id again, for the same clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The container's image, for the same clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `container`, `image`, `volume`, `network`, `builder` or `daemon`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened: `start`, `die`, `exec_create: sh`.
    #[serde(rename = "Action")]
    pub action: String,
    /// The object that it happened to.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`: there is no swarm.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// The object of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A container's id, an image's id or name, a volume's or network's name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name, labels and what belongs to the action.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// Something that happens now. `kind` and `action` are Docker's words.
    pub fn now(kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) -> Event {
        let Timestamp { seconds, nanoseconds } = Timestamp::now();
        let legacy = matches!(kind, "container" | "image");
        Event {
            status: legacy.then(|| action.to_owned()),
            id: legacy.then(|| id.to_owned()),
            from: if kind == "container" { attributes.get("image").cloned() } else { None },
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: "local".to_owned(),
            time: seconds,
            time_nano: seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into()),
        }
    }
}

/// The folder of the journal in a store.
pub fn folder(store: &Path) -> PathBuf {
    store.join("events")
}

/// Appends a record. The folder is made if it is not there.
///
/// # Errors
/// Those of the file system. The change itself has happened: its maker says that it could not be recorded, and goes on.
pub fn append(folder: &Path, event: &Event) -> io::Result<()> {
    let mut record = vec![b'\n'];
    serde_json::to_writer(&mut record, event)?;
    record.push(b'\n');
    let path = folder.join(JOURNAL);
    let mut file = match open_journal(&path) {
        Err(Errno::NOENT) => {
            make_folder(folder)?;
            open_journal(&path)?
        }
        opened => opened?,
    };
    file.write_all(&record)?;
    put_aside_if_full(&file, folder, &path)
}

fn open_journal(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    open(path, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// For its owner alone: events tell which programs a user runs.
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The lock keeps two writers from both renaming; the one who does not get it need not. A writer that has opened the file
/// before appends to the one put aside, where readers find its record.
fn put_aside_if_full(file: &File, folder: &Path, path: &Path) -> io::Result<()> {
    let ours = fstat(file)?;
    if u64::try_from(ours.st_size).unwrap_or(0) < FILE_MAX {
        return Ok(());
    }
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        locked => locked?,
    }
    match stat(path) {
        Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => Ok(rename(path, folder.join(OLD))?),
        // Another writer was faster.
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// What of a container's record goes into its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its labels, with its name and its image.
    pub attributes: BTreeMap<String, String>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
}

/// A volume of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where it is mounted inside.
    pub destination: String,
    /// Whether the container may write it.
    pub writable: bool,
}

impl Container {
    /// Reads the record in a container's folder as it is now: a shim outlives a rename. A record that cannot be read gives
    /// nothing, since an event without a name is better than none.
    pub fn read(folder: &Path) -> Container {
        let read = std::fs::read(folder.join("container.json")).ok();
        let Some(record) = read.and_then(|json| serde_json::from_slice::<Record>(&json).ok()) else {
            return Container::default();
        };
        let mut attributes = record.labels;
        attributes.insert("image".to_owned(), record.image);
        attributes.insert("name".to_owned(), record.name);
        let volume = |Mount { name, destination, writable }| Some(Volume { name: name?, destination, writable });
        Container { attributes, volumes: record.mounts.into_iter().filter_map(volume).collect() }
    }
}

/// The part of `container.json` that is read here.
#[derive(Deserialize)]
struct Record {
    name: String,
    image: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    mounts: Vec<Mount>,
}

/// One of its mounts; volumes have a name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(default)]
    name: Option<String>,
    destination: String,
    #[serde(rename = "RW")]
    writable: bool,
}

#[cfg(test)]
mod tests;
