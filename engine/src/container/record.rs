// SPDX-License-Identifier: Apache-2.0
//! `container.json`: what Kelp knows of a container besides its OCI configuration; and `started.json`, its latest start.
//!
//! Written whole and renamed into place: whoever sees a record sees all of it. A folder without one is not a container.

use crate::error::{Doing, Error, Kind, Result};
use crate::options::network::Network;
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
pub(crate) struct Record {
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// Unique among the living and the dead.
    pub(crate) name: String,
    /// RFC 3339.
    pub(crate) created: String,
    /// The image as the user wrote it.
    pub(crate) image: String,
    /// The image's id: `sha256:…` of its configuration.
    pub(crate) image_id: String,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// The image's labels and the user's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// What is mounted from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<MountRecord>,
    /// Volumes that go with the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) anonymous_volumes: Vec<String>,
    /// How it reaches the world.
    pub(crate) network: Network,
    /// Ports to publish at each start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<Port>,
    /// Ports the image and the user expose, as `80/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exposed: Vec<String>,
    /// Its hostname.
    pub(crate) hostname: String,
    /// Its folder on the host holds writes in `upper` (overlay) or everything in `rootfs` (copy).
    pub(crate) storage: Storage,
    /// When it is started again.
    pub(crate) restart: Restart,
    /// Removed when it exits.
    pub(crate) auto_remove: bool,
    /// It has a terminal.
    pub(crate) tty: bool,
    /// `-i`.
    pub(crate) interactive: bool,
    /// `--privileged`.
    pub(crate) privileged: bool,
    /// Asks the program to end.
    pub(crate) stop_signal: i32,
    /// Seconds from that to SIGKILL; negative: for ever.
    pub(crate) stop_timeout: i64,
    /// Another OCI runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runtime: Option<PathBuf>,
    /// How much of its output is kept.
    #[serde(default)]
    pub(crate) log: LogLimits,
    /// Its first process is ours (`--init`).
    #[serde(default)]
    pub(crate) init: bool,
    /// It has limits, which need a cgroup of its own.
    #[serde(default)]
    pub(crate) limited: bool,
    /// The user sets sysctls of its network, which must be there before its devices are.
    #[serde(default)]
    pub(crate) network_sysctls: bool,
    /// The program's environment, for `exec` and `inspect`.
    pub(crate) env: Vec<String>,
    /// Where the program starts.
    pub(crate) working_dir: PathBuf,
    /// The user as the image or the user wrote it.
    pub(crate) user: String,
}

/// Where a container's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Storage {
    /// Layers below, writes in `upper`.
    Overlay,
    /// A copy of the image.
    Copy,
}

/// One mount from outside, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MountRecord {
    /// bind, volume or tmpfs.
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    /// A volume's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The path on the host; empty for tmpfs.
    pub(crate) source: String,
    /// The path inside.
    pub(crate) destination: String,
    /// Propagation and other options.
    pub(crate) mode: String,
    /// Writable.
    #[serde(rename = "RW")]
    pub(crate) writable: bool,
}

/// The latest start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start {
    /// RFC 3339.
    pub(crate) started: String,
    /// The ports as they were published.
    #[serde(default)]
    pub(crate) published: Vec<Published>,
}

impl Record {
    /// The record in a container's folder; nothing if it is not one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Record>> {
        read(&folder.join(RECORD))
    }

    /// Publishes the record.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        write(folder, RECORD, self)
    }

    /// The program and its arguments on one line.
    pub(crate) fn command_line(&self) -> String {
        self.command.join(" ")
    }
}

impl Start {
    /// The latest start; nothing if it never was.
    pub(crate) fn read(folder: &Path) -> Result<Option<Start>> {
        read(&folder.join(START))
    }

    /// Publishes it.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        write(folder, START, self)
    }
}

/// Whether the folder is a container.
pub(crate) fn exists(folder: &Path) -> bool {
    folder.join(RECORD).exists()
}

/// Makes the folder no container any more: the first step of removal.
pub(crate) fn withdraw(folder: &Path) -> Result<()> {
    match fs::remove_file(folder.join(RECORD)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).doing(|| format!("cannot remove {}", folder.join(RECORD).display()))
        }
        _ => Ok(()),
    }
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
pub(crate) fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let doing = || format!("cannot write {}", folder.join(name).display());
    let json = serde_json::to_vec(value).map_err(|error| Error::new(Kind::Other, doing(), error))?;
    // Two may write the same at once: each its own, and the last one stays.
    let new = folder.join(format!(".{name}.{}.new", std::process::id()));
    fs::write(&new, json).doing(doing)?;
    fs::rename(&new, folder.join(name)).doing(doing)
}
