// SPDX-License-Identifier: Apache-2.0
//! What the probe saw inside of a container, and questions to it. Written by `probe`, read by the judge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::case::{Judged, Stop};

/// One look around.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Files of /proc, by path; absent where they could not be read.
    pub(crate) files: BTreeMap<String, String>,
    /// Targets of symbolic links, by path.
    pub(crate) links: BTreeMap<String, String>,
    /// What lies at some paths of /dev and at those that were asked for.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// File descriptors and what they are.
    pub(crate) fds: BTreeMap<i32, String>,
    /// Steps that were tried, in order.
    pub(crate) acts: Vec<Act>,
    /// Which of stdin, stdout and stderr are terminals.
    pub(crate) terminals: Vec<i32>,
    /// Rows and columns of the terminal at stdin.
    pub(crate) size: Option<(u16, u16)>,
    /// `uname -m`.
    pub(crate) machine: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// `c`, `b`, `p`, `-`, `d`, `l`, `s`.
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// A step and its end: `write:/etc/x` and 30 (EROFS).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) act: String,
    /// 0: it worked.
    pub(crate) errno: i32,
    /// What was read.
    pub(crate) text: String,
}

/// A line of mountinfo.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mount {
    pub(crate) at: String,
    pub(crate) options: Vec<String>,
    /// `shared:1`, `master:2`, `unbindable`.
    pub(crate) propagation: Vec<String>,
    pub(crate) kind: String,
    pub(crate) super_options: Vec<String>,
}

impl Mount {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    pub(crate) fn has_super(&self, option: &str) -> bool {
        self.super_options.iter().any(|o| o == option)
    }

    pub(crate) fn propagates(&self, word: &str) -> bool {
        self.propagation.iter().any(|p| p.split(':').next() == Some(word))
    }
}

/// All mounts of a mount table, in its order.
pub(crate) fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let words = |text: &str| text.split(',').map(str::to_owned).collect();
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(Mount {
        at: (*left.get(4)?).to_owned(),
        options: words(left.get(5)?),
        propagation: left.get(6..)?.iter().map(|s| (*s).to_owned()).collect(),
        kind: (*right.first()?).to_owned(),
        super_options: words(right.get(2).unwrap_or(&"")),
    })
}

/// The value of `key:` in a file like /proc/self/status, without spaces around it.
pub(crate) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

fn unseen(what: &str) -> Stop {
    Stop::Red(format!("the probe could not see {what}"))
}

impl Facts {
    pub(crate) fn file(&self, path: &str) -> Judged<&str> {
        self.files.get(path).map(String::as_str).ok_or_else(|| unseen(path))
    }

    pub(crate) fn link(&self, path: &str) -> Judged<&str> {
        self.links.get(path).map(String::as_str).ok_or_else(|| unseen(path))
    }

    pub(crate) fn node(&self, path: &str) -> Judged<&Node> {
        self.nodes.get(path).ok_or_else(|| Stop::Red(format!("there is no {path}")))
    }

    /// A line of /proc/self/status.
    pub(crate) fn status(&self, key: &str) -> Judged<&str> {
        field(self.file("/proc/self/status")?, key).ok_or_else(|| unseen(key))
    }

    /// `kernel.shmmax` and the like: what /proc/sys says, without the newline.
    pub(crate) fn sysctl(&self, path: &str) -> Judged<&str> {
        self.file(&format!("/proc/sys/{path}")).map(str::trim_end)
    }

    /// The inode of a namespace: `pid:[4026531836]`.
    pub(crate) fn namespace(&self, file: &str) -> Judged<&str> {
        self.link(&format!("/proc/self/ns/{file}"))
    }

    pub(crate) fn mounts(&self) -> Judged<Vec<Mount>> {
        Ok(mounts(self.file("/proc/self/mountinfo")?))
    }

    /// The topmost mount at `path`.
    pub(crate) fn mount(&self, path: &str) -> Judged<Mount> {
        let found = self.mounts()?.into_iter().rev().find(|m| m.at == path);
        found.ok_or_else(|| Stop::Red(format!("nothing is mounted at {path}")))
    }

    /// How a step ended.
    pub(crate) fn act(&self, act: &str) -> Judged<&Act> {
        self.acts.iter().find(|a| a.act == act).ok_or_else(|| Stop::Red(format!("the probe did not come to {act}")))
    }

    pub(crate) fn errno(&self, act: &str) -> Judged<i32> {
        self.act(act).map(|a| a.errno)
    }

    /// Soft and hard limit, as /proc/self/limits prints them (`Max open files`).
    pub(crate) fn limit(&self, name: &str) -> Judged<(String, String)> {
        let line =
            self.file("/proc/self/limits")?.lines().find_map(|l| l.strip_prefix(name)).ok_or_else(|| unseen(name))?;
        let mut words = line.split_whitespace().map(str::to_owned);
        Ok((words.next().unwrap_or_default(), words.next().unwrap_or_default()))
    }

    /// A set of capabilities (`CapEff`), as bits.
    pub(crate) fn capabilities(&self, set: &str) -> Judged<u64> {
        u64::from_str_radix(self.status(set)?, 16).map_err(|e| Stop::Red(format!("{set}: {e}")))
    }

    /// Strings of a file that separates them with NUL (environ, cmdline).
    pub(crate) fn strings(&self, path: &str) -> Judged<Vec<&str>> {
        Ok(self.file(path)?.split_terminator('\0').collect())
    }

    /// For lies: replaces a line of /proc/self/status.
    pub(crate) fn set_status(&mut self, key: &str, value: &str) {
        if let Some(text) = self.files.get_mut("/proc/self/status") {
            let lines = text.lines().map(|l| match l.starts_with(&format!("{key}:")) {
                true => format!("{key}:\t{value}"),
                false => l.to_owned(),
            });
            *text = lines.collect::<Vec<_>>().join("\n");
        }
    }

    /// For lies: every act ends with this errno.
    pub(crate) fn set_errnos(&mut self, errno: i32) {
        self.acts.iter_mut().for_each(|a| a.errno = errno);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue";
        let m = mounts(line).remove(0);
        assert_eq!((m.at.as_str(), m.kind.as_str()), ("/mnt2", "ext3"));
        assert!(m.has("noatime") && m.has_super("errors=continue") && m.propagates("master"));
    }
}
