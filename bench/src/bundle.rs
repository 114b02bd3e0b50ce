// SPDX-License-Identifier: Apache-2.0
//! Bundles to measure with: a root filesystem of one static busybox and the config that `runc spec` would write.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Doing, Result};

/// Who starts the container, and so which ids it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Root on the host, no user namespace.
    Host,
    /// A user, with his own id as the only one.
    Single,
    /// A user, with the range that /etc/subuid grants him through newuidmap.
    Range { first: u32, count: u32 },
}

/// How large the config is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// As `spec` writes it.
    Default,
    /// With a seccomp profile of the size of Docker's and 40 mounts.
    Docker,
}

/// Where the masks and the missing mount points of the default `spec` are.
const FOLDERS: [&str; 9] = ["bin", "proc", "dev", "sys", "tmp", "etc", "mnt", "root", "share"];

/// Every system call a profile as permissive as Docker's allows, one a line.
const SYSCALLS: &str = include_str!("syscalls.txt");

/// Makes `dir/rootfs` and `dir/config.json` whose program is `args`.
pub(crate) fn make(dir: &Path, busybox: &Path, ids: Ids, size: Size, args: &[&str]) -> Result<PathBuf> {
    let root = dir.join("rootfs");
    make_rootfs(&root, busybox)?;
    for n in 0..33 {
        let file = root.join(format!("share/{n}"));
        fs::write(&file, "").doing(|| format!("cannot write {}", file.display()))?;
    }
    let config = serde_json::to_vec(&config(dir, ids, size, args)).doing(|| "cannot write config.json".into())?;
    fs::write(dir.join("config.json"), config).doing(|| format!("cannot write a bundle at {}", dir.display()))?;
    Ok(dir.to_owned())
}

/// A root filesystem with busybox as `true`, `sleep`, `sh` and `cat`.
pub(crate) fn make_rootfs(root: &Path, busybox: &Path) -> Result<()> {
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder)).doing(|| format!("cannot make {}", root.display()))?;
    }
    fs::copy(busybox, root.join("bin/busybox")).doing(|| format!("cannot copy {}", busybox.display()))?;
    for name in ["true", "sleep", "sh", "cat"] {
        symlink("busybox", root.join("bin").join(name)).doing(|| format!("cannot fill {}", root.display()))?;
    }
    let passwd = root.join("etc/passwd");
    fs::write(&passwd, "root:x:0:0:root:/root:/bin/sh\n").doing(|| format!("cannot write {}", passwd.display()))
}

fn config(dir: &Path, ids: Ids, size: Size, args: &[&str]) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut linux = json!({
        "namespaces": namespaces(ids),
        "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    match ids {
        // No device rules, unlike `spec`: the floor loads no program either, and older crun must raise RLIMIT_MEMLOCK
        // for one, which root in a container may not.
        Ids::Host => {}
        Ids::Single => {
            linux["uidMappings"] = map(rustix::process::getuid().as_raw(), 1);
            linux["gidMappings"] = map(rustix::process::getgid().as_raw(), 1);
        }
        Ids::Range { first, count } => {
            linux["uidMappings"] = own_id_and(rustix::process::getuid().as_raw(), first, count);
            linux["gidMappings"] = own_id_and(rustix::process::getgid().as_raw(), first, count);
        }
    }
    if size == Size::Docker {
        linux["seccomp"] = seccomp();
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "bench",
        "mounts": mounts(dir, ids, size),
        "linux": linux,
    })
}

fn map(host: u32, size: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": size}])
}

fn own_id_and(host: u32, first: u32, count: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": 1}, {"containerID": 1, "hostID": first, "size": count}])
}

/// The same namespaces as the floor's: all but user for root; all but cgroup for a user.
fn namespaces(ids: Ids) -> Value {
    let last = if ids == Ids::Host { "cgroup" } else { "user" };
    let all = ["pid", "network", "ipc", "uts", "mount", last];
    Value::Array(all.iter().map(|t| json!({"type": t})).collect())
}

fn mounts(dir: &Path, ids: Ids, size: Size) -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    let mut all = vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    if ids == Ids::Host {
        all.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    }
    if size == Size::Docker {
        for n in 0..40 - all.len() {
            let from = dir.join(format!("rootfs/share/{n}"));
            let at = format!("/share/{n}");
            all.push(mount(&at, "bind", &from.to_string_lossy(), &["rbind", "ro", "nosuid", "nodev", "rprivate"]));
        }
    }
    Value::Array(all)
}

/// A profile with the reach and the shape of Docker's default: one long list, and a few rules that look at arguments.
fn seccomp() -> Value {
    let allow = |names: &[&str], args: Value| json!({"names": names, "action": "SCMP_ACT_ALLOW", "args": args});
    let equal = |value: u64| json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
    let plain: Vec<&str> = SYSCALLS.lines().collect();
    let mut rules = vec![
        allow(&plain, json!([])),
        allow(&["socket"], json!([{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}])),
        allow(&["clone"], json!([{"index": 0, "value": 2_114_060_288_u64, "op": "SCMP_CMP_MASKED_EQ"}])),
        json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
    ];
    rules.extend([0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff].map(|persona| allow(&["personality"], equal(persona))));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn architectures() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_config_has_forty_mounts_and_a_profile() {
        let c = config(Path::new("/b"), Ids::Host, Size::Docker, &["/bin/true"]);
        assert_eq!(c["mounts"].as_array().unwrap().len(), 40);
        assert!(c["linux"]["seccomp"]["syscalls"][0]["names"].as_array().unwrap().len() > 300);
    }
}
