// SPDX-License-Identifier: Apache-2.0
//! Drives criu(8), which writes the processes of a container to files and makes them anew from files.
//!
//! As a service of one call (`criu swrk FD`, the way that its other users go): only there does it hand over a restored
//! terminal, and tells pids before the processes run on. The messages are those of criu's images/rpc.proto.

mod message;
mod service;

pub use message::CgroupMode;
pub(crate) use message::{Kind, Request};
pub(crate) use service::{Notice, Service, read_foreign};

use crate::error::{Error, Result};
use kelp_sys::rustix::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The oldest criu that freezes by cgroup v2 (3.14), keeps namespaces of others (3.15) and changes labels (3.16).
const OLDEST: (u64, u64) = (3, 16);

/// A descriptor's number.
pub(crate) fn number(fd: &OwnedFd) -> u64 {
    u64::try_from(fd.as_raw_fd()).unwrap_or_default()
}

/// Options of `checkpoint` and `restore` that criu gets as they are.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The program; `criu` in PATH by default.
    pub program: Option<PathBuf>,
    /// `--image-path`: the folder of the files.
    pub images: PathBuf,
    /// `--work-path`: the folder of logs; that of the files by default.
    pub work: Option<PathBuf>,
    /// `--parent-path`: the files of a dump before, relative to the folder of this one's.
    pub parent: Option<PathBuf>,
    /// `--tcp-established`
    pub tcp_established: bool,
    /// `--tcp-skip-in-flight`
    pub tcp_skip_in_flight: bool,
    /// `--link-remap`
    pub link_remap: bool,
    /// `--ext-unix-sk`
    pub external_unix_sockets: bool,
    /// `--shell-job`
    pub shell_job: bool,
    /// `--file-locks`
    pub file_locks: bool,
    /// `--auto-dedup`
    pub auto_dedup: bool,
    /// `--manage-cgroups-mode`
    pub cgroups: CgroupMode,
    /// `--page-server`: an address and a port.
    pub page_server: Option<(String, u16)>,
    /// `--lsm-profile`
    pub lsm_profile: Option<String>,
    /// `--lsm-mount-context`
    pub lsm_mount_context: Option<String>,
}

impl Options {
    fn program(&self) -> &Path {
        self.program.as_deref().unwrap_or(Path::new("criu"))
    }

    /// Where criu writes its log.
    pub(crate) fn log_folder(&self) -> &Path {
        self.work.as_deref().unwrap_or(&self.images)
    }

    /// Starts criu with these descriptors, under the numbers that they have here; when its version will do.
    pub(crate) fn start(&self, inherited: &[OwnedFd]) -> Result<Service> {
        let version = Service::start(self.program(), &[])?.version()?;
        if version < OLDEST {
            let because = format!("it is criu {}.{}", version.0, version.1);
            return Err(Error::new(format!("cannot use {}", self.program().display()))
                .because(because)
                .hint(format!("criu {}.{} or later is needed", OLDEST.0, OLDEST.1)));
        }
        Service::start(self.program(), inherited)
    }

    /// What both directions say.
    pub(crate) fn request(&self, log: &str, images: &OwnedFd, work: Option<&OwnedFd>) -> Request {
        let mut request = Request::default();
        // criu opens them in /proc, as descriptors of whoever made the channel.
        request.number(Request::IMAGES_DIR_FD, number(images));
        if let Some(work) = work {
            request.number(Request::WORK_DIR_FD, number(work));
        }
        request.text(Request::LOG_FILE, log);
        request.number(Request::LOG_LEVEL, 4);
        request.flag(Request::NOTIFY_SCRIPTS, true);
        request.flag(Request::MANAGE_CGROUPS, true);
        request.number(Request::MANAGE_CGROUPS_MODE, self.cgroups.number());
        request.flag(Request::ORPHAN_PTS_MASTER, true);
        request.flag(Request::TCP_ESTABLISHED, self.tcp_established);
        request.flag(Request::EXT_UNIX_SK, self.external_unix_sockets);
        request.flag(Request::SHELL_JOB, self.shell_job);
        request.flag(Request::FILE_LOCKS, self.file_locks);
        request.flag(Request::AUTO_DEDUP, self.auto_dedup);
        // Devices of a network belong to whoever made them, not to the runtime.
        request.number(Request::EMPTY_NS, kelp_sys::clone::Namespaces::NETWORK.bits());
        request
    }
}
