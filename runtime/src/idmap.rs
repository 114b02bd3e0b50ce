// SPDX-License-Identifier: Apache-2.0
//! Writes the id maps of a new user namespace, ourselves or through newuidmap and newgidmap.
//!
//! Runs in the runtime while init waits. Kernel: user_namespaces(7); newuidmap(1), newgidmap(1).

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::{MapLine, Maps};
use std::process::{Command, Output};

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
            help("newuidmap", "/etc/subuid", pid, uid)?;
            help("newgidmap", "/etc/subgid", pid, gid)
        }
    }
}

fn put(pid: i32, file: &str, lines: &[MapLine]) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, crate::plan::map_text(lines)).doing(|| format!("cannot write {path}"))
}

/// The setuid helper checks the lines against the ranges that root has granted the user.
fn help(program: &str, ranges: &str, pid: i32, lines: &[MapLine]) -> Result<()> {
    let numbers =
        lines.iter().flat_map(|line| [line.inside, line.outside, line.count]).map(|number| number.to_string());
    let output = Command::new(program).arg(pid.to_string()).args(numbers).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(refused(program, ranges, &output)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new("cannot map the ids of the user namespace")
                .because(format!("{program} is not installed"))
                .hint("install it (Debian: apt install uidmap), or map your own id only: one id in linux.uidMappings and gidMappings")
                .of_kind(Kind::Permission))
        }
        Err(error) => Err(error).doing(|| format!("cannot run {program}")),
    }
}

fn refused(program: &str, ranges: &str, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    Error::new("cannot map the ids of the user namespace")
        .because(format!("{program}: {} ({})", said.trim(), output.status))
        .hint(format!("{ranges} must grant you the ids that config.json maps: ask root for `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`"))
        .of_kind(Kind::Permission)
}
