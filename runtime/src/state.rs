// SPDX-License-Identifier: Apache-2.0
//! Containers on disk: one directory each below `--root`, and what is in it.
//!
//! ```text
//! ROOT/ID/journal         what was made, in order
//! ROOT/ID/state.new       the record while it is being written
//! ROOT/ID/state.creating  the record while the container is being created
//! ROOT/ID/state.json      the record, from the moment it is created: a rename
//! ROOT/ID/exec.json       what `exec` needs of config.json
//! ROOT/ID/seccomp.bpf     the compiled filter, for `exec`
//! ROOT/ID/gate            the socket on which init waits for `start`, which removes it
//! ```
//! Spec: runtime.md "State".

use crate::cgroup;
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::Nature;
use crate::process::{Identity, Life};
use crate::seccomp::Agent;
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{
    Access, AtFlags, CWD, Mode, OFlags, Stat, accessat, fstat, lstat, mkdirat, openat, renameat, stat, unlinkat,
};
use kelp_sys::rustix::io::Errno;
use oci_spec::runtime::{Hook, Process};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where a container is in its life: runtime.md "State", and `paused` as runc has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` has not ended.
    Creating,
    /// Waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The program's cgroup is frozen.
    Paused,
    /// The program has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// What `state` and `list` tell. Serialises as the spec's state, with runc's additions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the runtime-spec that the bundle follows.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Where it is in its life.
    pub status: Status,
    /// The program's pid as the caller sees it; 0 when stopped.
    pub pid: i32,
    /// The bundle's folder.
    pub bundle: PathBuf,
    /// The root file system's folder.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// Name of the user who created it.
    pub owner: String,
    /// The spec's annotations.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
}

/// What later verbs need to know, and no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// ociVersion
    pub oci_version: String,
    /// Id.
    pub id: String,
    /// Bundle's folder.
    pub bundle: PathBuf,
    /// Root file system's folder.
    pub rootfs: PathBuf,
    /// When, RFC 3339.
    pub created: String,
    /// By whom.
    pub owner: u32,
    /// annotations
    pub annotations: HashMap<String, String>,
    /// The container's init.
    pub init: Identity,
    /// Its cgroup.
    pub cgroup: Option<cgroup::Record>,
    /// `CLONE_NEW*` bits in which the container differs from the runtime.
    pub namespaces: u64,
    /// Whether others are in its pid namespace, so that the end of init does not end all.
    #[serde(default)]
    pub shares_pids: bool,
    /// Whether its root is one by chroot(2), into which a process that joins must follow.
    #[serde(default)]
    pub is_chroot: bool,
    /// Whether processes of the container become uid 0 of a user namespace first.
    pub become_root: bool,
    /// Whether they may set groups.
    pub may_set_groups: bool,
    /// The first of process.args, for error texts.
    pub program: String,
    /// Files of resctrl into which the pids of its processes go.
    #[serde(default)]
    pub resctrl: Vec<PathBuf>,
    /// startContainer hooks, which init runs: for error texts
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_hooks: Vec<Hook>,
    /// poststart hooks
    pub poststart: Vec<Hook>,
    /// poststop hooks
    pub poststop: Vec<Hook>,
}

impl Record {
    /// Whether its processes keep the groups of the caller.
    pub(crate) fn keeps_groups(&self) -> bool {
        crate::plan::keeps_groups(Some(&self.annotations))
    }
}

/// What `exec` needs of config.json.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecDefaults {
    /// The container's process, whose values hold where exec is not told otherwise.
    pub process: Process,
    /// Flags for the filter in seccomp.bpf, if there is one.
    pub seccomp_flags: Option<u32>,
    /// Who answers the filter's notifications.
    pub seccomp_agent: Option<Agent>,
    /// What all processes of the container have in common.
    #[serde(default)]
    pub nature: Nature,
}

/// A container's directory.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const RECORD: &str = "state.json";
const RECORD_CREATING: &str = "state.creating";
const RECORD_NEW: &str = "state.new";
const EXEC: &str = "exec.json";
const FILTER: &str = "seccomp.bpf";
const JOURNAL: &str = crate::journal::NAME;
/// The gate's file name.
pub(crate) const GATE: &str = "gate";

/// Ids as runc takes them: letters, digits and `_+-.`, no path.
///
/// # Errors
/// Any other id.
pub fn check_id(id: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    let because = match id {
        "" => "container id cannot be empty",
        "." | ".." => "it is the name of another folder",
        // NAME_MAX: it is the name of a folder.
        _ if id.len() > 255 => "it is longer than 255 bytes",
        _ if !id.bytes().all(good) => "an id has letters, digits and the characters _ + - . only",
        _ => return Ok(()),
    };
    Err(Error::bad_input(format!("cannot use the container id {id:?}"))
        .because(format!("invalid container ID format: {because}")))
}

fn no_such_container(id: &str) -> Error {
    Error::new(format!("cannot find container {id}")).because("container does not exist").of_kind(Kind::NoSuchContainer)
}

impl Folder {
    /// Makes the directory: who succeeds has the id.
    pub(crate) fn claim(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        let within = match open_directory(root) {
            Err(Errno::NOENT) => {
                make_root(root)?;
                open_directory(root)
            }
            other => other,
        }
        .doing(|| format!("cannot open the state directory {}", root.display()))?;
        check_root(&within, root)?;
        mkdirat(&within, id, Mode::from_raw_mode(0o700)).map_err(|errno| match errno {
            Errno::EXIST => Error::new(format!("cannot create container {id}"))
                .because("container with given ID already exists")
                .hint(format!("choose another id, or `kelp-runtime delete {id}` first"))
                .of_kind(Kind::AlreadyExists),
            errno => Error::new(format!("cannot make {}", path.display())).because(std::io::Error::from(errno)),
        })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&within, id, flags, Mode::empty()).doing(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path, fd })
    }

    /// Opens the directory of a container that exists.
    ///
    /// # Errors
    /// There is none of this id; or another user made it, who could have us signal or remove what he names in it.
    pub fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        match open_directory(&path) {
            Ok(fd) => {
                check_owner(&fd, &path)?;
                Ok(Self { path, fd })
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Err(no_such_container(id)
                .hint(format!("`kelp-runtime --root {} list` shows those there are", root.display()))),
            Err(errno) => Err(errno).doing(|| format!("cannot open {}", path.display())),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor's place in /proc: a short path to what is in the directory, for sockets.
    pub(crate) fn short(&self, name: &str) -> String {
        use kelp_sys::rustix::fd::AsRawFd;
        format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd())
    }

    /// Whether the directory is still where it was made.
    pub(crate) fn is_in_place(&self) -> bool {
        let same = |ours: Stat, there: Stat| (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino);
        matches!((fstat(&self.fd), stat(&self.path)), (Ok(ours), Ok(there)) if same(ours, there))
    }

    pub(crate) fn owned_fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Writes the record of a container that is being created. It has its name only when it is whole: others may look.
    pub(crate) fn write_record(&self, record: &Record) -> Result<()> {
        self.write_json(RECORD_NEW, record)?;
        renameat(&self.fd, RECORD_NEW, &self.fd, RECORD_CREATING)
            .doing(|| format!("cannot name the state in {}", self.path.display()))
    }

    /// The container is created: its record gets its name.
    pub(crate) fn publish(&self) -> Result<()> {
        renameat(&self.fd, RECORD_CREATING, &self.fd, RECORD)
            .doing(|| format!("cannot publish the state in {}", self.path.display()))
    }

    pub(crate) fn write_exec(&self, exec: &ExecDefaults, filter: &[u8]) -> Result<()> {
        self.write_json(EXEC, exec)?;
        if exec.seccomp_flags.is_some() { self.write(FILTER, filter) } else { Ok(()) }
    }

    pub(crate) fn read_exec(&self) -> Result<(ExecDefaults, Vec<u8>)> {
        let exec: ExecDefaults = self.read_json(EXEC)?;
        let filter = match exec.seccomp_flags {
            Some(_) => self.read(FILTER)?,
            None => Vec::new(),
        };
        Ok((exec, filter))
    }

    /// The record, and whether the container is still being created.
    ///
    /// # Errors
    /// There is none yet, or any more: there is no container then. Or it cannot be understood.
    pub fn record(&self) -> Result<(Record, bool)> {
        if let Some(record) = self.find_json(RECORD)? {
            return Ok((record, false));
        }
        if let Some(record) = self.find_json(RECORD_CREATING)? {
            return Ok((record, true));
        }
        // Created between the two looks; or its creator has not got that far, or died before it did.
        let record = self.find_json(RECORD)?.ok_or_else(|| {
            let id = self.path.file_name().unwrap_or_default().to_string_lossy();
            no_such_container(&id).hint(format!(
                "it is being created or deleted at this moment; or its creator died: `kelp-runtime delete --force {id}`"
            ))
        })?;
        Ok((record, false))
    }

    /// The file, if it is there.
    fn find_json<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        match std::fs::read(self.path.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read
                .doing(|| format!("cannot read {}", self.path.join(name).display()))
                .and_then(|text| self.understand(name, &text))
                .map(Some),
        }
    }

    /// Whether the container is half made: no whole record at all.
    #[must_use]
    pub fn is_torso(&self) -> bool {
        !self.has(RECORD) && self.read_json::<Record>(RECORD_CREATING).is_err()
    }

    /// Whether `create` has ended well.
    pub(crate) fn is_made(&self) -> bool {
        self.has(RECORD)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        accessat(&self.fd, name, Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Removes the files of a container that was made; says whether all of them are gone. The record is the last of them.
    pub(crate) fn remove_files(&self) -> bool {
        [FILTER, EXEC, JOURNAL, RECORD]
            .iter()
            .all(|name| matches!(unlinkat(&self.fd, *name, AtFlags::empty()), Ok(()) | Err(Errno::NOENT)))
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::new(format!("cannot write {}", self.path.join(name).display())).because(error))?;
        self.write(name, &text)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))
            .map_err(std::io::Error::from)
            .and_then(|fd| std::fs::File::from(fd).write_all(bytes))
            .doing(|| format!("cannot write {}", self.path.join(name).display()))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))
    }

    fn read_json<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<T> {
        self.understand(name, &self.read(name)?)
    }

    fn understand<T: for<'de> Deserialize<'de>>(&self, name: &str, text: &[u8]) -> Result<T> {
        serde_json::from_slice(text).map_err(|error| {
            Error::bad_input(format!("cannot understand {}", self.path.join(name).display())).because(error)
        })
    }

    /// The container's state now.
    ///
    /// # Errors
    /// Where there is no record.
    pub fn state(&self) -> Result<(State, Record)> {
        let (record, creating) = self.record()?;
        let status = self.status(&record, creating)?;
        Ok((State::of(&record, status), record))
    }

    fn status(&self, record: &Record, creating: bool) -> Result<Status> {
        if record.init.life() == Life::Ended {
            return Ok(Status::Stopped);
        }
        if creating {
            return Ok(Status::Creating);
        }
        // As in runc, whoever stands still is paused, be it before or after start: so that it can be resumed.
        let frozen = match record.cgroup.as_ref().map(cgroup::Cgroup::open).transpose()?.flatten() {
            Some(cgroup) => cgroup.is_frozen()?,
            None => false,
        };
        Ok(match frozen {
            true => Status::Paused,
            false if self.has(GATE) => Status::Created,
            false => Status::Running,
        })
    }
}

impl State {
    pub(crate) fn of(record: &Record, status: Status) -> Self {
        Self {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            status,
            pid: if status == Status::Stopped { 0 } else { record.init.pid },
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            owner: record.owner.to_string(),
            annotations: record.annotations.clone(),
        }
    }
}

/// Whether this is the directory of a container, and ours.
pub(crate) fn is_there(directory: &Path) -> bool {
    let us = kelp_sys::rustix::process::geteuid().as_raw();
    let has = |name| accessat(CWD, directory.join(name), Access::EXISTS, AtFlags::empty()).is_ok();
    lstat(directory).is_ok_and(|it| it.st_uid == us) && (has(RECORD) || has(RECORD_CREATING))
}

fn open_directory(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes the state root, 0700. Sticky, so that nobody cleans old files out of it while containers run: XDG Base Directory
/// Specification, XDG_RUNTIME_DIR.
fn make_root(root: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o1700)
        .create(root)
        .doing(|| format!("cannot make the state directory {}", root.display()))
}

/// Nobody else may be able to exchange a container's directory for one of his making: the root is ours, or the system's, and
/// where all may write it is sticky, as /tmp is.
fn check_root(opened: &OwnedFd, root: &Path) -> Result<()> {
    let stat = fstat(opened).doing(|| format!("cannot look at {}", root.display()))?;
    if stat.st_uid != 0 {
        check_owner(opened, root)?;
    }
    if stat.st_mode & 0o002 == 0 || stat.st_mode & 0o1000 != 0 {
        return Ok(());
    }
    Err(not_ours(root, "anybody may write it".to_owned()))
}

fn check_owner(opened: &OwnedFd, path: &Path) -> Result<()> {
    let owner = fstat(opened).doing(|| format!("cannot look at {}", path.display()))?.st_uid;
    let us = kelp_sys::rustix::process::geteuid().as_raw();
    if owner == us { Ok(()) } else { Err(not_ours(path, format!("it belongs to user {owner}, not to {us}"))) }
}

fn not_ours(path: &Path, because: String) -> Error {
    Error::new(format!("cannot use the state directory {}", path.display()))
        .because(because)
        .hint("name another with --root, or run this as its owner")
        .of_kind(Kind::Permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_never_a_path() {
        for good in ["a", "web-1", "a.b_c+d", &"x".repeat(255)] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "a\n", "ä", &"x".repeat(256)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }
}
