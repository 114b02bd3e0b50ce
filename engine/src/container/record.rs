// SPDX-License-Identifier: Apache-2.0
//! `container.json`: what Kelp knows of a container besides its OCI configuration; and `started.json`, its latest start.
//!
//! Written whole and renamed into place: whoever sees a record sees all of it. A folder without one is not a container.

use crate::error::{Doing, Error, Kind, Result};
use crate::request::Create;
use crate::request::network::Network;
use kelp_network::{Port, Published};
use kelp_shim::{LogLimits, Restart};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const RECORD: &str = "container.json";
const START: &str = "started.json";

/// A container as it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique among the living and the dead.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// The image as the user wrote it.
    pub image: String,
    /// The image's id: `sha256:…` of its configuration.
    pub image_id: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The part of them that is the entrypoint; null if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The part after the entrypoint. Records of an older Kelp lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// What was asked for. Records of an older Kelp lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<Create>>,
    /// The image's labels and the user's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What is mounted from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountRecord>,
    /// Volumes that go with the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anonymous_volumes: Vec<String>,
    /// How it reaches the world.
    pub network: Network,
    /// Ports to publish at each start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Ports the image and the user expose, as `80/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<String>,
    /// Its hostname.
    pub hostname: String,
    /// Its folder on the host holds writes in `upper` (overlay) or everything in `rootfs` (copy).
    pub storage: Storage,
    /// When it is started again.
    pub restart: Restart,
    /// Removed when it exits.
    pub auto_remove: bool,
    /// It has a terminal.
    pub tty: bool,
    /// `-i`.
    pub interactive: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// Asks the program to end.
    pub stop_signal: i32,
    /// Seconds from that to SIGKILL; negative: for ever.
    pub stop_timeout: i64,
    /// Another OCI runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<PathBuf>,
    /// How much of its output is kept.
    #[serde(default)]
    pub log: LogLimits,
    /// Its first process is ours (`--init`).
    #[serde(default)]
    pub init: bool,
    /// It has limits, which need a cgroup of its own.
    #[serde(default)]
    pub limited: bool,
    /// The user sets sysctls of its network, which must be there before its devices are.
    #[serde(default)]
    pub network_sysctls: bool,
    /// The program's environment, for `exec` and `inspect`.
    pub env: Vec<String>,
    /// Where the program starts.
    pub working_dir: PathBuf,
    /// The user as the image or the user wrote it.
    pub user: String,
}

/// Where a container's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Layers below, writes in `upper`.
    Overlay,
    /// A copy of the image.
    Copy,
}

/// One mount from outside, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountRecord {
    /// bind, volume or tmpfs.
    #[serde(rename = "Type")]
    pub kind: String,
    /// A volume's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The path on the host; empty for tmpfs.
    pub source: String,
    /// The path inside.
    pub destination: String,
    /// Propagation and other options.
    pub mode: String,
    /// Writable.
    #[serde(rename = "RW")]
    pub writable: bool,
}

/// The latest start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// RFC 3339.
    pub started: String,
    /// The ports as they were published.
    #[serde(default)]
    pub published: Vec<Published>,
    /// How often the policy has started it again since it was told to start.
    #[serde(default)]
    pub restarts: u32,
}

impl Record {
    /// The record in a container's folder; nothing if it is not one.
    pub fn read(folder: &Path) -> Result<Option<Record>> {
        read(&folder.join(RECORD))
    }

    /// Publishes the record.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write(folder, RECORD, self)
    }

    /// The program and its arguments on one line.
    pub fn command_line(&self) -> String {
        self.command.join(" ")
    }
}

impl Start {
    /// What the file's own date says of a start whose record is damaged.
    pub fn substitute(folder: &Path) -> Start {
        Start { started: modified(&folder.join(START)).unwrap_or_default(), ..Start::default() }
    }

    /// The latest start; nothing if it never was.
    pub fn read(folder: &Path) -> Result<Option<Start>> {
        read(&folder.join(START))
    }

    /// Publishes it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write(folder, START, self)
    }
}

/// No start is on record any more.
pub fn forget_start(folder: &Path) -> Result<()> {
    match fs::remove_file(folder.join(START)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).doing(|| format!("cannot remove {}", folder.join(START).display()))
        }
        _ => Ok(()),
    }
}

/// Whether the folder is a container: it has a record, or lost it after a shim had held it. A maker that was killed leaves a
/// folder that has neither.
pub fn is_container(folder: &Path) -> bool {
    folder.join(RECORD).exists() || folder.join("lock").exists()
}

/// What is left to know of a container whose record is damaged or lost.
pub fn substitute(folder: &Path, id: &str, name: Option<String>, runtime: Option<PathBuf>) -> Record {
    let created = [RECORD, "config.json", "."].iter().find_map(|file| modified(&folder.join(file)));
    Record {
        id: id.to_owned(),
        name: name.unwrap_or_else(|| super::id::short(id).to_owned()),
        created: created.unwrap_or_default(),
        image: String::new(),
        image_id: String::new(),
        command: Vec::new(),
        cmd: Default::default(),
        entrypoint: Default::default(),
        request: Default::default(),
        labels: BTreeMap::new(),
        mounts: Vec::new(),
        anonymous_volumes: Vec::new(),
        network: Network::None,
        ports: Vec::new(),
        exposed: Vec::new(),
        hostname: String::new(),
        storage: if folder.join("upper").exists() { Storage::Overlay } else { Storage::Copy },
        restart: Restart::No,
        auto_remove: false,
        tty: false,
        interactive: false,
        privileged: false,
        stop_signal: crate::request::signal::TERM,
        stop_timeout: super::create::STOP_TIMEOUT,
        runtime,
        log: LogLimits::default(),
        init: false,
        limited: false,
        network_sysctls: false,
        env: Vec::new(),
        working_dir: PathBuf::new(),
        user: String::new(),
    }
}

/// When a file was written, as records have it.
pub(crate) fn modified(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok()?;
    let nanoseconds = u32::try_from(meta.mtime_nsec()).ok()?;
    Some(kelp_shim::time::Timestamp { seconds: meta.mtime(), nanoseconds }.to_string())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let doing = || format!("cannot read {}", path.display());
    let json = match fs::read(path) {
        Ok(json) => json,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).doing(doing),
    };
    serde_json::from_slice(&json).map(Some).map_err(|error| Error::new(Kind::BadInput, doing(), error))
}

/// Writes a file of a container's folder so that nobody ever sees half of it.
pub fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let doing = || format!("cannot write {}", folder.join(name).display());
    let json = serde_json::to_vec(value).map_err(|error| Error::new(Kind::Other, doing(), error))?;
    // Two may write the same at once: each its own, and the last one stays.
    let new = folder.join(format!(".{name}.{}.new", std::process::id()));
    fs::write(&new, json).doing(doing)?;
    fs::rename(&new, folder.join(name)).doing(doing)
}
