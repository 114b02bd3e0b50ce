// SPDX-License-Identifier: Apache-2.0
//! The container's side of `kelp cp`: a child of ours in the container's user namespace, with its root in hand.
//!
//! It joins no other namespace of the container: no path of it ever means anything to this process, all are resolved below the
//! root by the kernel, and /proc is the host's. Nothing of the container can see it.

use crate::container::inside::Inside;
use crate::error::{Doing, Error, Kind, Result};
use kelp_bundles::copy::{self, Into, Origin, Owner};
use kelp_sys::rustix::fd::{AsRawFd, BorrowedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::{FdFlags, fcntl_setfd};
use kelp_sys::rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use kelp_sys::rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use kelp_sys::rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{BufReader, BufWriter, stdin, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The hidden first argument; the task follows.
const ARGUMENT: &str = "kelp-copy";

/// The status of a child whose pipe was closed by us: what went wrong, we know ourselves.
pub const CUT_OFF: u8 = 2;

/// What the child does in the container's files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Task {
    /// Packs what the path names, to standard output.
    Pack {
        /// The path.
        path: PathBuf,
        /// Whether a link stands for what it leads to.
        follow: bool,
    },
    /// Makes what comes from standard input at the path.
    Unpack {
        /// The path.
        path: PathBuf,
        /// Names as they are.
        as_is: bool,
        /// The contents alone.
        contents: bool,
        /// Owners as they were.
        keep_owner: bool,
    },
}

/// Starts the child. Standard input or output is a pipe, whichever its task needs, or `file`.
pub fn start(inside: &Inside, task: &Task, file: Option<Stdio>) -> Result<Child> {
    let doing = || "cannot start a helper to copy files";
    let text = serde_json::to_string(task).map_err(|error| Error::new(Kind::Other, doing(), error))?;
    let number = |fd: BorrowedFd<'_>| -> Result<OsString> {
        // Inherited; we start nothing else.
        fcntl_setfd(fd, FdFlags::empty()).doing(doing)?;
        Ok(fd.as_raw_fd().to_string().into())
    };
    let mut command = Command::new("/proc/self/exe");
    command.arg(ARGUMENT).arg(text).arg(number(inside.root.as_fd())?);
    if let Some(user) = &inside.user {
        command.arg(number(user.as_fd())?);
    }
    let file = file.unwrap_or_else(Stdio::piped);
    match task {
        Task::Pack { .. } => command.stdin(Stdio::null()).stdout(file),
        Task::Unpack { .. } => command.stdin(file).stdout(Stdio::null()),
    };
    command.spawn().doing(doing)
}

/// Does the task if this process was started for one. For `main`, while there is one thread.
pub fn run_if_asked() -> Option<Result<()>> {
    let mut words = std::env::args().skip(1);
    if words.next()? != ARGUMENT {
        return None;
    }
    Some(perform(&words.collect::<Vec<_>>()))
}

fn perform(words: &[String]) -> Result<()> {
    let doing = || "cannot copy files";
    let wrong = || Error::new(Kind::BadInput, doing(), "this is started by kelp cp");
    let [task, root, user @ ..] = words else { return Err(wrong()) };
    let task: Task = serde_json::from_str(task).map_err(|_| wrong())?;
    let root = copy::root(&PathBuf::from(format!("/proc/self/fd/{root}/.")))?;
    if let [user] = user {
        let user = openat(CWD, format!("/proc/self/fd/{user}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        set_dumpable_behavior(DumpableBehavior::NotDumpable).doing(doing)?;
        move_into_link_name_space(user.doing(doing)?.as_fd(), Some(LinkNameSpaceType::User)).doing(doing)?;
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).doing(doing)?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).doing(doing)?;
    }
    match task {
        Task::Pack { path, follow } => copy::pack(&root, &path, follow, BufWriter::new(stdout()))?,
        Task::Unpack { path, as_is, contents, keep_owner } => {
            let owner = if keep_owner || as_is { Owner::Kept } else { Owner::Ours };
            let how = Into { as_is, contents, owner, origin: Origin::Caller };
            copy::unpack(&root, &path, how, BufReader::new(stdin()))?;
        }
    }
    Ok(())
}
