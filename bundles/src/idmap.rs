// SPDX-License-Identifier: Apache-2.0
//! Which ids the caller may give to files, and mapping a child that waits in its new user namespace.
//!
//! The same map serves unpacked layers and the containers upon them, or owners would not fit: id 0 is the caller, ids
//! from 1 on are the caller's ranges of /etc/subuid and /etc/subgid in their order.
//!
//! See user_namespaces(7), subuid(5), newuidmap(1).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kelp_sys::rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Kind, Result};

/// A full map has at least the ids that distributions hand out, `nobody` included.
const FULL: u64 = 65536;

/// `count` ids from `inside` on are those from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first id in the user namespace.
    pub inside: u32,
    /// The first id of the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The ids the caller may give to files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdMap {
    /// The caller is root with all ids: no user namespace is needed.
    Host,
    /// The caller and the ranges the system grants him, through newuidmap and newgidmap.
    Ranges {
        /// Users.
        uids: Vec<Range>,
        /// Groups.
        gids: Vec<Range>,
    },
    /// The caller alone.
    Single {
        /// His user id.
        uid: u32,
        /// His group id.
        gid: u32,
        /// Why there is no more.
        because: String,
    },
}

impl IdMap {
    /// The map of whoever runs this.
    ///
    /// # Errors
    /// A file of the system cannot be read.
    pub fn of_caller() -> Result<Self> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if uid == 0 && mapped_ids()? >= FULL {
            return Ok(Self::Host);
        }
        let names = user_names(uid)?;
        let uids = granted("/etc/subuid", &names)?;
        let gids = granted("/etc/subgid", &names)?;
        let single = |because: &str| Ok(Self::Single { uid, gid, because: because.to_owned() });
        if uids.is_empty() || gids.is_empty() {
            return single("/etc/subuid or /etc/subgid has no range for this user");
        }
        for program in ["newuidmap", "newgidmap"] {
            if find_program(program).is_none() {
                return single(&format!("{program} is not installed"));
            }
        }
        Ok(Self::Ranges { uids: with_caller(uid, &uids), gids: with_caller(gid, &gids) })
    }

    /// The map of users, for a spec's `uidMappings`; empty where no user namespace is needed.
    pub fn uids(&self) -> Vec<Range> {
        match self {
            Self::Host => Vec::new(),
            Self::Ranges { uids, .. } => uids.clone(),
            Self::Single { uid, .. } => vec![Range { inside: 0, outside: *uid, count: 1 }],
        }
    }

    /// The map of groups, for a spec's `gidMappings`.
    pub fn gids(&self) -> Vec<Range> {
        match self {
            Self::Host => Vec::new(),
            Self::Ranges { gids, .. } => gids.clone(),
            Self::Single { gid, .. } => vec![Range { inside: 0, outside: *gid, count: 1 }],
        }
    }

    /// Maps the process `pid`, which waits in a user namespace it just made.
    pub(crate) fn apply(&self, pid: u32) -> Result<()> {
        match self {
            Self::Host => Ok(()),
            Self::Ranges { uids, gids } => {
                ask_helper("newuidmap", "/etc/subuid", pid, uids)?;
                ask_helper("newgidmap", "/etc/subgid", pid, gids)
            }
            Self::Single { uid, gid, .. } => {
                let write = |file: &str, text: String| {
                    let path = format!("/proc/{pid}/{file}");
                    fs::write(&path, text).doing(|| format!("writing {path}"))
                };
                write("uid_map", format!("0 {uid} 1\n"))?;
                // Without this the kernel lets nobody map a group of his own (user_namespaces(7)).
                write("setgroups", "deny\n".to_owned())?;
                write("gid_map", format!("0 {gid} 1\n"))
            }
        }
    }
}

/// How many ids the namespace we are in has.
fn mapped_ids() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/uid_map").doing(|| "reading /proc/self/uid_map")?;
    Ok(text.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok()).sum())
}

/// What subuid(5) may call this user: the names of his uid, and the uid itself.
fn user_names(uid: u32) -> Result<Vec<String>> {
    let mut names = vec![uid.to_string()];
    let passwd = read_if_there("/etc/passwd")?;
    let of_uid = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    names.extend(of_uid);
    // A user whom only NSS knows has no line there; the environment names him. newuidmap has the last word.
    if names.len() == 1 {
        names.extend(std::env::var("USER"));
    }
    Ok(names)
}

fn granted(path: &str, names: &[String]) -> Result<Vec<(u32, u32)>> {
    Ok(parse_grants(&read_if_there(path)?, names))
}

/// The ranges of these names: `NAME:FIRST:COUNT`.
fn parse_grants(text: &str, names: &[String]) -> Vec<(u32, u32)> {
    let grant = |line: &str| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let fits = count > 0 && first.checked_add(count).is_some();
        (fits && names.iter().any(|n| n == name)).then_some((first, count))
    };
    let mut grants: Vec<(u32, u32)> = text.lines().filter_map(grant).collect();
    // A line by name and a line by number may grant the same range, which the kernel refuses to map twice.
    let mut seen: Vec<(u32, u32)> = Vec::new();
    grants.retain(|(first, count)| {
        let fresh = seen.iter().all(|(f, c)| first + count <= *f || f + c <= *first);
        seen.push((*first, *count));
        fresh
    });
    // The kernel takes 340 lines; one of them is the caller's.
    grants.truncate(339);
    grants
}

/// The caller as 0, then the ranges from 1 on.
fn with_caller(caller: u32, grants: &[(u32, u32)]) -> Vec<Range> {
    let mut ranges = vec![Range { inside: 0, outside: caller, count: 1 }];
    let mut inside = 1u32;
    for (first, count) in grants {
        let Some(next) = inside.checked_add(*count) else { break };
        ranges.push(Range { inside, outside: *first, count: *count });
        inside = next;
    }
    ranges
}

/// For the fuzz targets: the map of `caller`, whom `names` name in `subuid`.
pub(crate) fn read_foreign(subuid: &str, caller: u32, names: &[String]) -> Vec<Range> {
    with_caller(caller, &parse_grants(subuid, names))
}

fn read_if_there(path: &str) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e).doing(|| format!("reading {path}")),
    }
}

/// In PATH alone, as the runtime looks for it: a map that only one of the two could make would not fit.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn ask_helper(program: &str, grants: &str, pid: u32, ranges: &[Range]) -> Result<()> {
    let doing = || format!("mapping ids with {program}");
    let path = find_program(program).ok_or_else(|| {
        Error::new(Kind::NotFound, doing(), "it is not installed").hint("install the package uidmap (shadow-utils)")
    })?;
    let numbers = ranges.iter().flat_map(|r| [r.inside, r.outside, r.count]).map(|n| n.to_string());
    let output = Command::new(path).arg(pid.to_string()).args(numbers).stdin(Stdio::null()).output().doing(doing)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let error = Error::new(Kind::Other, doing(), format!("{} ({})", said, output.status));
    Err(error
        .hint(format!("{program} must be setuid root or have file capabilities, and {grants} must grant these ranges")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_found_by_name_and_by_number_once() {
        let names = ["1000".to_owned(), "ann".to_owned()];
        let text = "# comment\nbob:100000:65536\nann:200000:65536\n1000:200000:65536\n1000:300000:10\nann:x:1\nann:5\nann:4294967295:9\n";
        assert_eq!(parse_grants(text, &names), [(200_000, 65536), (300_000, 10)]);
    }

    #[test]
    fn the_caller_is_root_and_ranges_follow() {
        let range = |inside, outside, count| Range { inside, outside, count };
        assert_eq!(
            with_caller(1000, &[(200_000, 65536), (300_000, 10)]),
            [range(0, 1000, 1), range(1, 200_000, 65536), range(65537, 300_000, 10)]
        );
    }
}
