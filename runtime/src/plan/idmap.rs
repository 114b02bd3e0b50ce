// SPDX-License-Identifier: Apache-2.0
//! Who writes the id maps of a new user namespace, and what they say.
//!
//! Spec: config-linux.md "User namespace mappings". Kernel: user_namespaces(7), newuidmap(1).

use crate::error::{Error, Result};
use crate::host::Host;
use kelp_sys::clone::Namespaces;
use oci_spec::runtime::{Linux, LinuxIdMapping};
use std::ffi::CString;
use std::fmt::Write;

/// One line of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLine {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// How the ids come to mean what they shall.
#[derive(Debug, PartialEq, Eq)]
pub enum Maps {
    /// No new user namespace.
    None,
    /// Init maps the caller's own ids itself: one line each.
    Own {
        /// Line of uid_map.
        uid: CString,
        /// Line of gid_map.
        gid: CString,
        /// Whether uid 0 is in it.
        root: bool,
    },
    /// The runtime, which has the right, writes the maps.
    Write {
        /// uid_map
        uid: Vec<MapLine>,
        /// gid_map
        gid: Vec<MapLine>,
    },
    /// newuidmap and newgidmap write them, from the ranges of /etc/subuid and /etc/subgid.
    Helpers {
        /// uid_map
        uid: Vec<MapLine>,
        /// gid_map
        gid: Vec<MapLine>,
    },
}

impl Maps {
    pub(super) fn is_new(&self) -> bool {
        *self != Self::None
    }

    pub(super) fn maps_root(&self) -> bool {
        match self {
            Self::None => false,
            Self::Own { root, .. } => *root,
            Self::Write { uid, gid } | Self::Helpers { uid, gid } => {
                [uid, gid].iter().all(|lines| lines.iter().any(|line| line.inside == 0 && line.count > 0))
            }
        }
    }

    /// A user who maps his own ids must give up setgroups(2), lest he leaves a group that denies him something.
    pub(super) fn lets_set_groups(&self) -> bool {
        !matches!(self, Self::Own { .. })
    }
}

/// The lines as the kernel reads them.
#[must_use]
pub fn as_text(lines: &[MapLine]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String does not fail.
        writeln!(text, "{} {} {}", line.inside, line.outside, line.count).unwrap_or_default();
        text
    })
}

pub(super) fn plan(linux: &Linux, new: Namespaces, host: &Host) -> Result<Maps> {
    let uid = lines(linux.uid_mappings().as_deref(), "linux.uidMappings")?;
    let gid = lines(linux.gid_mappings().as_deref(), "linux.gidMappings")?;
    if !new.has(Namespaces::USER) {
        // Some callers always write them; without a new user namespace they say nothing.
        return Ok(Maps::None);
    }
    if uid.is_empty() || gid.is_empty() {
        let missing = if uid.is_empty() { "uid" } else { "gid" };
        return Err(Error::bad_input("cannot make a user namespace")
            .because(format!(
                "User namespaces enabled, but no {missing} mappings found: linux.{missing}Mappings is missing or empty"
            ))
            .hint("`kelp-runtime spec --rootless` writes them"));
    }
    if host.may_map_ids {
        return Ok(Maps::Write { uid, gid });
    }
    match (uid.as_slice(), gid.as_slice()) {
        ([user], [group]) if is_only(user, host.uid) && is_only(group, host.gid) => {
            Ok(Maps::Own { uid: line_text(user)?, gid: line_text(group)?, root: user.inside == 0 && group.inside == 0 })
        }
        _ => Ok(Maps::Helpers { uid, gid }),
    }
}

fn is_only(line: &MapLine, id: u32) -> bool {
    line.outside == id && line.count == 1
}

fn line_text(line: &MapLine) -> Result<CString> {
    super::text_of("", &format!("{} {} {}", line.inside, line.outside, line.count))
}

/// The kernel takes 340 lines, none of them empty or beyond the last id.
pub(super) fn lines(mappings: Option<&[LinuxIdMapping]>, field: &str) -> Result<Vec<MapLine>> {
    const MOST_LINES: usize = 340;
    let mappings = mappings.unwrap_or_default();
    if mappings.len() > MOST_LINES {
        let cause = format!("it has {} entries, and the kernel takes {MOST_LINES}", mappings.len());
        return Err(Error::bad_input(format!("cannot use {field}")).because(cause));
    }
    mappings
        .iter()
        .map(|mapping| {
            let line = MapLine { inside: mapping.container_id(), outside: mapping.host_id(), count: mapping.size() };
            let fits = |first: u32| line.count > 0 && first.checked_add(line.count - 1).is_some();
            if fits(line.inside) && fits(line.outside) {
                return Ok(line);
            }
            let cause = format!("{} ids from {} to {} are none", line.count, line.outside, line.inside);
            Err(Error::bad_input(format!("cannot use {field}")).because(cause))
        })
        .collect()
}
