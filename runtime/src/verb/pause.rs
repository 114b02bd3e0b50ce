// SPDX-License-Identifier: Apache-2.0
//! `pause` and `resume`: the cgroup freezer.

use crate::Runtime;
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::state::{Folder, Status};

impl Runtime {
    /// Stops all processes of the container where they are.
    ///
    /// # Errors
    /// It does not run, or has no cgroup.
    pub fn pause(&self, id: &str) -> Result<()> {
        self.frozen(id, "pause", (&[Status::Running, Status::Created], "container not running"), Cgroup::freeze)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// It is not paused.
    pub fn resume(&self, id: &str) -> Result<()> {
        self.frozen(id, "resume", (&[Status::Paused], "container not paused"), Cgroup::thaw)
    }

    /// `from`: where it may come from, and runc's words for all else, which engines look for.
    fn frozen(
        &self,
        id: &str,
        verb: &str,
        (from, wrong): (&[Status], &str),
        act: impl Fn(&Cgroup) -> Result<()>,
    ) -> Result<()> {
        let (state, record) = Folder::open(&self.root, id)?.state()?;
        let cannot = || Error::new(format!("cannot {verb} container {id}"));
        if !from.contains(&state.status) {
            return Err(cannot().because(format!("{wrong}: it is {}", state.status)).of_kind(Kind::NotRunning));
        }
        match record.cgroup.as_ref().map(Cgroup::open).transpose()?.flatten() {
            Some(cgroup) => act(&cgroup),
            None => Err(cannot()
                .because("it has no cgroup of its own, and only a cgroup can be frozen")
                .hint("start it where a cgroup is delegated to you: `systemd-run --user --scope -p Delegate=yes …`")
                .of_kind(Kind::Permission)),
        }
    }
}
