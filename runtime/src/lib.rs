// SPDX-License-Identifier: Apache-2.0
//! The OCI runtime as a library: what `kelp-runtime` does and what `kelp-shim` does without executing it.
//!
//! ```text
//! let runtime = Runtime::new(root);
//! let created = runtime.create(CreateRequest::new("web", bundle))?;   // its init is a child of the caller
//! runtime.start("web")?;
//! runtime.state("web")?;  runtime.kill("web", 15, false)?;  runtime.delete("web", false)?;
//! ```
//!
//! No async, no threads (but one for an instant, where network devices move), no network. May be called from a program with threads: what runs after the clone does not allocate.
//! Spec: <https://github.com/opencontainers/runtime-spec> 1.3, for Linux with cgroup v2.

mod border;
pub mod bundle;
pub mod cgroup;
mod channel;
pub mod criu;
pub mod duration;
pub mod error;
mod explain;
#[doc(hidden)]
pub mod foreign;
mod hooks;
pub mod host;
mod idmap;
pub mod journal;
mod limit;
mod net_device;
mod netlink;
pub mod own_binary;
pub mod pidfile;
pub mod plan;
mod prepare;
pub mod process;
mod resctrl;
mod script;
pub mod seccomp;
pub mod state;
mod stdio;
pub mod trace;
mod undo;
mod verb;
pub mod visible;

pub use error::{Error, Kind, Result};
pub use kelp_init::Step;
pub use plan::Options;
pub use state::{State, Status};
pub use verb::checkpoint::Dump;
pub use verb::create::{CreateRequest, Created, Gate, OnBirth, Remains, Stdio};
pub use verb::events::Event;
pub use verb::exec::{Changes, ExecProcess, ExecRequest};

use std::path::PathBuf;

/// Where containers' states are, and how their cgroups are made.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// `--root`: one directory for each container.
    pub root: PathBuf,
    /// Who makes cgroups.
    pub cgroups: cgroup::Manager,
    /// Tests: the step that shall fail. Set from `KELP_FAIL_AT`.
    pub fail_at: Option<Step>,
}

impl Runtime {
    /// A runtime with its states below `root`, and cgroups made in cgroupfs.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let wanted = std::env::var_os("KELP_FAIL_AT");
        let fail_at = Step::ALL.iter().copied().find(|step| wanted.as_deref() == Some(step.name().as_ref()));
        Self { root: root.into(), cgroups: cgroup::Manager::default(), fail_at }
    }

    /// Where states are by default: `/run/kelp` for root, `$XDG_RUNTIME_DIR/kelp` or `/tmp/kelp-UID` for others.
    ///
    /// Who is root only of a user namespace, as below a rootless podman, is an ordinary user here, as for runc.
    #[must_use]
    pub fn default_root() -> PathBuf {
        let uid = kelp_sys::rustix::process::geteuid().as_raw();
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        match runtime_dir {
            // Where our id map cannot be read we are what we seem.
            Some(dir) if uid != 0 || host::in_user_namespace().unwrap_or(false) => dir.join("kelp"),
            None if uid != 0 => PathBuf::from(format!("/tmp/kelp-{uid}")),
            _ => PathBuf::from("/run/kelp"),
        }
    }

    /// Begins a step: marks it in the trace, fails it where a test wants it to fail.
    fn begin(&self, step: Step) -> Result<()> {
        kelp_sys::trace::mark(u32::from(step as u8));
        if self.fail_at != Some(step) {
            return Ok(());
        }
        Err(Error::new(format!("cannot {}", step.doing())).because("a test wanted it to fail here"))
    }
}
