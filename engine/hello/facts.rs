// SPDX-License-Identifier: Apache-2.0
//! What `/proc` says, understood: text in, words for people out. See proc(5), capabilities(7), user_namespaces(7).

/// The kernel's capabilities in the order of their numbers, up to Linux 6.18.
pub(crate) const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// `4026531836` of `pid:[4026531836]`.
pub(crate) fn namespace_id(link: &str) -> &str {
    link.split_once('[').map_or(link, |(_, id)| id.trim_end_matches(']'))
}

/// The caller's id of one namespace, from `mnt=4026531840,pid=4026531836`.
pub(crate) fn namespace_of<'a>(caller: &'a str, name: &str) -> Option<&'a str> {
    caller.split(',').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, id)| id)
}

/// The value of a line `Name:\tvalue` in `/proc/self/status`.
pub(crate) fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    status.lines().find_map(value).map_or("", str::trim)
}

/// The first of several words.
pub(crate) fn first_word(words: &str) -> &str {
    words.split_whitespace().next().unwrap_or("?")
}

/// The names of the capabilities in a hexadecimal mask; numbers for those younger than this program.
pub(crate) fn capabilities(mask: &str) -> Vec<String> {
    let mask = u64::from_str_radix(mask, 16).unwrap_or(0);
    let name = |bit: usize| CAPABILITIES.get(bit).map_or_else(|| bit.to_string(), |name| (*name).to_owned());
    (0..64).filter(|bit| (mask >> bit) & 1 == 1).map(name).collect()
}

/// What `Seccomp` and `Seccomp_filters` of `/proc/self/status` mean.
pub(crate) fn seccomp(status: &str) -> String {
    match (field(status, "Seccomp"), field(status, "Seccomp_filters")) {
        ("2", "1") => "every system call passes a filter".into(),
        ("2", count) => format!("every system call passes {count} filters"),
        ("1", _) => "strict: read, write and exit only".into(),
        ("0", _) => "off: every system call is allowed".into(),
        _ => "unknown: this kernel has none".into(),
    }
}

/// An id map as a sentence: `0 is 1000 outside; 1–65535 are 100000–165534 outside`.
pub(crate) fn id_map(map: &str) -> String {
    let ranges: Vec<String> = map.lines().filter_map(id_range).collect();
    match ranges.is_empty() {
        true => "unknown".into(),
        false => ranges.join("; "),
    }
}

fn id_range(line: &str) -> Option<String> {
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    let (inside, outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(match count {
        _ if inside == outside && count >= u64::from(u32::MAX) => "all the same as outside".into(),
        1 => format!("{inside} here is {outside} outside"),
        _ => format!("{inside}-{} are {outside}-{}", inside + count - 1, outside + count - 1),
    })
}

/// The path in the unified hierarchy.
pub(crate) fn cgroup(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("unknown")
}

/// A line of mountinfo.
pub(crate) struct Mount<'a> {
    root: &'a str,
    /// The mount point.
    pub(crate) at: &'a str,
    options: &'a str,
    kind: &'a str,
    super_options: &'a str,
}

/// The mounts in the order in which they were made.
pub(crate) fn mounts(text: &str) -> Vec<Mount<'_>> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount<'_>> {
    let (place, source) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let mut source = source.split(' ');
    let (root, at, options) = (place.next()?, place.next()?, place.next()?);
    let kind = source.next()?;
    Some(Mount { root, at, options, kind, super_options: source.nth(1).unwrap_or_default() })
}

impl Mount<'_> {
    /// `proc, nosuid nodev noexec`.
    pub(crate) fn describe(&self) -> String {
        let limits: Vec<&str> =
            self.options.split(',').filter(|it| ["nosuid", "nodev", "noexec"].contains(it)).collect();
        let writable = if self.is_read_only() { "read-only" } else { "writable" };
        match limits.is_empty() {
            true => format!("{}, {writable}", self.kind),
            false => format!("{}, {writable}, {}", self.kind, limits.join(" ")),
        }
    }

    fn is_read_only(&self) -> bool {
        [self.options, self.super_options].iter().any(|options| options.split(',').any(|it| it == "ro"))
    }

    fn is_of_the_kernel(&self) -> bool {
        self.at.starts_with("/proc/") || self.at.starts_with("/sys/")
    }

    /// Something that the kernel would show, covered by an empty folder or by /dev/null.
    pub(crate) fn is_mask(&self) -> bool {
        let empty = self.root == "/null" || (self.kind == "tmpfs" && self.is_read_only());
        empty && self.is_of_the_kernel()
    }

    /// Something that the kernel would let a process change, made read-only.
    pub(crate) fn is_frozen(&self) -> bool {
        let cgroups = self.at.starts_with("/sys/fs/cgroup");
        self.is_of_the_kernel() && !cgroups && !self.is_mask() && self.is_read_only()
    }

    /// A file or folder that lives outside the container.
    pub(crate) fn is_from_host(&self) -> bool {
        let ours = self.at == "/" || ["/proc", "/sys", "/dev"].iter().any(|top| self.at.starts_with(top));
        !ours && self.kind != "tmpfs"
    }
}

/// The names in `/proc/net/dev`.
pub(crate) fn interfaces(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect()
}

/// The IPv4 addresses of this network namespace: in fib_trie the line before each `/32 host LOCAL`.
pub(crate) fn addresses(fib_trie: &str) -> String {
    let mut found: Vec<&str> = Vec::new();
    let mut last = "";
    for line in fib_trie.lines().map(str::trim) {
        if line == "/32 host LOCAL" && !found.contains(&last) {
            found.push(last);
        }
        last = line.strip_prefix("|-- ").unwrap_or(last);
    }
    found.join(" ")
}

/// The gateway and interface of the line with destination and mask 0 in `/proc/net/route`.
pub(crate) fn default_route(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [interface, "00000000", gateway, _, _, _, _, "00000000", ..] => {
                // The kernel prints the address as a number in the machine's order.
                let [a, b, c, d] = u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes();
                Some(format!("through {interface}, by {a}.{b}.{c}.{d}"))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_compared_with_the_callers() {
        assert_eq!(namespace_id("pid:[4026531836]"), "4026531836");
        assert_eq!(namespace_of("mnt=1,pid=2", "pid"), Some("2"));
        assert_eq!(namespace_of("", "pid"), None);
    }

    #[test]
    fn capabilities_have_names() {
        assert_eq!(capabilities("00000000a80425fb").len(), 14);
        assert_eq!(capabilities("8000000000000001"), ["chown", "63"]);
        assert_eq!(capabilities("").len(), 0);
    }

    #[test]
    fn status_is_read_by_whole_names() {
        let status = "Seccomp:\t2\nSeccomp_filters:\t1\nUid:\t0\t0\t0\t0\n";
        assert_eq!(field(status, "Seccomp"), "2");
        assert_eq!(seccomp(status), "every system call passes a filter");
        assert_eq!(seccomp(""), "unknown: this kernel has none");
        assert_eq!(first_word(field(status, "Uid")), "0");
    }

    #[test]
    fn id_maps_are_sentences() {
        assert_eq!(id_map("         0       1000          1\n"), "0 here is 1000 outside");
        let two = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(id_map(two), "0 here is 1000 outside; 1-65536 are 100000-165535");
        assert_eq!(id_map("0 0 4294967295"), "all the same as outside");
        assert_eq!(id_map(""), "unknown");
    }

    #[test]
    fn mounts_are_told_apart() {
        let text = "\
            40 39 0:43 / / rw,relatime - overlay overlay rw,lowerdir=/a\n\
            41 40 0:44 / /proc rw,nosuid,nodev,noexec - proc proc rw\n\
            42 41 0:5 /null /proc/kcore rw - devtmpfs udev rw\n\
            43 41 0:44 /sys /proc/sys ro,nosuid - proc proc rw\n\
            44 40 0:50 / /sys/firmware ro - tmpfs tmpfs ro\n\
            45 40 8:1 /home/u/data /data rw - ext4 /dev/sda1 rw\n\
            46 40 0:51 / /dev rw,nosuid - tmpfs tmpfs rw\n";
        let found = mounts(text);
        let paths = |belongs: fn(&Mount<'_>) -> bool| -> Vec<&str> {
            found.iter().filter(|mount| belongs(mount)).map(|mount| mount.at).collect()
        };
        assert_eq!(found[1].describe(), "proc, writable, nosuid nodev noexec");
        assert_eq!(paths(|mount| mount.is_mask()), ["/proc/kcore", "/sys/firmware"]);
        assert_eq!(paths(|mount| mount.is_frozen()), ["/proc/sys"]);
        assert_eq!(paths(|mount| mount.is_from_host()), ["/data"]);
    }

    #[test]
    fn the_network_is_read_without_asking_the_kernel_more_than_proc() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\nLocal:\n\
                    \x20    |-- 10.0.2.100\n        /32 host LOCAL\n     |-- 10.0.2.255\n        /32 link BROADCAST\n\
                    \x20    |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(addresses(trie), "10.0.2.100 127.0.0.1");
        let gateway = u32::from_ne_bytes([10, 0, 2, 2]);
        let route = format!("Iface\tDestination\ntap0\t00000000\t{gateway:08X}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
        assert_eq!(default_route(&route).as_deref(), Some("through tap0, by 10.0.2.2"));
        assert_eq!(default_route(""), None);
        assert_eq!(interfaces("Inter-|\n face |bytes\n    lo: 0 0\n  tap0: 1 2\n"), ["lo", "tap0"]);
    }
}
