// SPDX-License-Identifier: Apache-2.0
//! Sets of cgroup controllers, as `cgroup.controllers` and `cgroup.subtree_control` list them.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// The kernel's names; a controller's place here is its bit.
const NAMES: [&str; 9] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc", "dmem"];

/// A set of cgroup v2 controllers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controllers(u16);

impl Controllers {
    /// No controller.
    pub const NONE: Self = Self(0);

    /// Enabled for a container where it costs no refusal, asked for or not: without them there are no statistics, and
    /// no `update` later. It is what systemd hands to a user's manager.
    pub const WORTH_HAVING: Self = Self(0b10_1111);

    /// What systemd can enable: systemd.resource-control(5), `Delegate=`.
    pub const OF_SYSTEMD: Self = Self(0b10_1111);

    /// The controller called `name`, where the kernel has one that we know.
    #[must_use]
    pub fn named(name: &str) -> Self {
        NAMES.iter().position(|known| *known == name).map_or(Self::NONE, |bit| Self(1 << bit))
    }

    /// The controller that a file such as `memory.max` belongs to; none for `cgroup.*`.
    #[must_use]
    pub fn of_file(file: &str) -> Self {
        file.split_once('.').map_or(Self::NONE, |(name, _)| Self::named(name))
    }

    /// Reads a list as the kernel writes it: names between blanks (or commas, as in the options of a v1 mount).
    #[must_use]
    pub fn parse(list: &[u8]) -> Self {
        let names = list.split(|byte| byte.is_ascii_whitespace() || *byte == b',');
        names.filter_map(|name| std::str::from_utf8(name).ok()).fold(Self::NONE, |all, name| all | Self::named(name))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `others` are among these.
    #[must_use]
    pub fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// The names, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name)
    }
}

impl BitOr for Controllers {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Controllers {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Controllers {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Controllers {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, name) in self.names().enumerate() {
            let gap = if nth == 0 { "" } else { " " };
            write!(f, "{gap}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_in_the_kernels_words() {
        let all = Controllers::parse(b"cpuset cpu io memory hugetlb pids rdma misc\n");
        assert_eq!(all.to_string(), "cpuset cpu io memory hugetlb pids rdma misc");
        assert_eq!(Controllers::parse(b"rw,cpu,cpuacct").to_string(), "cpu");
        assert_eq!(Controllers::WORTH_HAVING.to_string(), "cpuset cpu io memory pids");
        assert!(all.contains(Controllers::WORTH_HAVING));
    }

    #[test]
    fn a_file_names_its_controller() {
        assert_eq!(Controllers::of_file("memory.swap.max").to_string(), "memory");
        assert!(Controllers::of_file("cgroup.freeze").is_empty());
    }
}
