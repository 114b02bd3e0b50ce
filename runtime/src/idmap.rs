// SPDX-License-Identifier: Apache-2.0
//! Writes the id maps of a new user namespace, ourselves or through newuidmap and newgidmap.
//!
//! Runs in the runtime while init waits. Kernel: user_namespaces(7); newuidmap(1), newgidmap(1).

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::{MapLine, Maps};
use std::process::{Child, Command, Output, Stdio};

/// Writes the maps of the process. Nothing to do where init does it.
///
/// # Errors
/// The kernel or a helper refuses.
pub(crate) fn write(pid: i32, maps: &Maps) -> Result<()> {
    match maps {
        Maps::None | Maps::Own { .. } => Ok(()),
        Maps::Write { uid, gid } => {
            put(pid, "uid_map", uid)?;
            put(pid, "gid_map", gid)
        }
        Maps::Helpers { uid, gid } => {
            // Both at once: each takes longer than all that we do ourselves.
            let (uids, gids) = (Helper::start(pid, &UIDS, uid), Helper::start(pid, &GIDS, gid));
            let (uids, gids) = (uids.and_then(Helper::finish), gids.and_then(Helper::finish));
            uids.and(gids)
        }
    }
}

/// A setuid program that maps ids, and where root grants them.
struct Granted {
    program: &'static str,
    ranges: &'static str,
}

const UIDS: Granted = Granted { program: "newuidmap", ranges: "/etc/subuid" };
const GIDS: Granted = Granted { program: "newgidmap", ranges: "/etc/subgid" };

fn put(pid: i32, file: &str, lines: &[MapLine]) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, crate::plan::map_text(lines)).doing(|| format!("cannot write {path}"))
}

/// A setuid program at work, which checks the lines against the ranges that root has granted the user.
struct Helper {
    of: &'static Granted,
    child: Child,
}

impl Helper {
    fn start(pid: i32, of: &'static Granted, lines: &[MapLine]) -> Result<Self> {
        let numbers =
            lines.iter().flat_map(|line| [line.inside, line.outside, line.count]).map(|number| number.to_string());
        let mut command = Command::new(of.program);
        command.arg(pid.to_string()).args(numbers).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => Ok(Self { of, child }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::new("cannot map the ids of the user namespace")
                    .because(format!("{} is not installed", of.program))
                    .hint("install it (Debian: apt install uidmap), or map your own id only: one id in linux.uidMappings and gidMappings")
                    .of_kind(Kind::Permission))
            }
            Err(error) => Err(error).doing(|| format!("cannot run {}", of.program)),
        }
    }

    fn finish(self) -> Result<()> {
        let output = self.child.wait_with_output().doing(|| format!("cannot wait for {}", self.of.program))?;
        if output.status.success() { Ok(()) } else { Err(refused(self.of, &output)) }
    }
}

fn refused(Granted { program, ranges }: &Granted, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    Error::new("cannot map the ids of the user namespace")
        .because(format!("{program}: {} ({})", said.trim(), output.status))
        .hint(format!("{ranges} must grant you the ids that config.json maps: ask root for `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`"))
        .of_kind(Kind::Permission)
}
