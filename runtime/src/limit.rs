// SPDX-License-Identifier: Apache-2.0
//! Resource limits of a process, set from outside: prlimit(2).

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::Limit;
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Pid, prlimit};

/// Sets them all.
///
/// # Errors
/// A hard limit above ours without `CAP_SYS_RESOURCE`.
pub(crate) fn apply(pid: i32, limits: &[Limit]) -> Result<()> {
    for limit in limits {
        match prlimit(Pid::from_raw(pid), limit.resource, limit.value) {
            Ok(_) => {}
            Err(Errno::PERM) => {
                let ours = kelp_sys::rustix::process::getrlimit(limit.resource).maximum;
                return Err(Error::new(format!("cannot set {}", limit.name))
                    .because(format!("its hard value {} is above ours, {}", show(limit.value.maximum), show(ours)))
                    .hint("lower it, or have root raise yours: /etc/security/limits.conf, LimitNOFILE= and the like in systemd")
                    .of_kind(Kind::Permission));
            }
            Err(errno) => return Err(errno).doing(|| format!("cannot set {}", limit.name)),
        }
    }
    Ok(())
}

fn show(value: Option<u64>) -> String {
    value.map_or_else(|| "unlimited".into(), |value| value.to_string())
}
