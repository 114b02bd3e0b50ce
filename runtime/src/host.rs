// SPDX-License-Identifier: Apache-2.0
//! What the machine and our own rights allow: looked at once, before anything is planned. Touches nothing.

use crate::error::{Doing, Result};
use kelp_sys::rustix::process::{getegid, geteuid};
use kelp_sys::rustix::thread::{CapabilitySet, capabilities};
use std::path::PathBuf;

/// Facts that a plan depends on.
#[derive(Clone, Debug)]
pub struct Host {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Whether we hold `CAP_SYS_ADMIN`: may make namespaces without a user namespace.
    pub may_administer: bool,
    /// Whether we hold `CAP_SETUID` and `CAP_SETGID`: may write any id map.
    pub may_map_ids: bool,
    /// Whether we are in another user namespace than the machine's first: no device can be made there.
    pub nested: bool,
    /// The current directory, against which relative paths are resolved.
    pub cwd: PathBuf,
}

impl Host {
    /// Looks.
    ///
    /// # Errors
    /// Where /proc cannot be read.
    pub fn look() -> Result<Self> {
        let held = capabilities(None).doing(|| "cannot read our capabilities".into())?.effective;
        let cwd = std::env::current_dir().doing(|| "cannot find the current directory".into())?;
        let may_administer = held.contains(CapabilitySet::SYS_ADMIN);
        Ok(Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            may_administer,
            may_map_ids: held.contains(CapabilitySet::SETUID | CapabilitySet::SETGID),
            // Without the right to administer a new user namespace is needed anyway.
            nested: !may_administer || in_user_namespace()?,
            cwd,
        })
    }
}

/// The first user namespace maps all ids onto themselves: user_namespaces(7).
pub(crate) fn in_user_namespace() -> Result<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map").doing(|| "cannot read our id map".into())?;
    Ok(!map.split_whitespace().eq(["0", "0", "4294967295"]))
}
