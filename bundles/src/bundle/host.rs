// SPDX-License-Identifier: Apache-2.0
//! The part of a runtime configuration that no image says: namespaces, the kernel's filesystems, what is hidden of them.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    LinuxBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace,
    LinuxNamespaceType, LinuxResourcesBuilder, Mount, Root, Spec,
};

use super::Options;
use crate::error::{Error, Kind, Result};
use crate::idmap::{IdMap, Range};

/// The version in which everything we write was there, so that older runtimes take it too.
const OCI_VERSION: &str = "1.0.2";
/// What of /proc and /sys tells too much: Docker's list, and powercap with it (a side channel, CVE-2020-8694).
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// What of /proc changes too much.
pub const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// The group tty of nearly all images.
const TTY: u32 = 5;

/// A configuration without a process.
pub(super) fn base(map: &IdMap, options: &Options) -> Result<Spec> {
    let error = |e| Error::new(Kind::Other, "writing config.json", e);
    let linux = LinuxBuilder::default()
        .namespaces(namespaces(map))
        .masked_paths(MASKED_PATHS.map(str::to_owned).to_vec())
        .readonly_paths(READONLY_PATHS.map(str::to_owned).to_vec());
    let mut linux = linux.build().map_err(error)?;
    linux.set_seccomp(options.seccomp.clone()).set_resources(None).set_devices(None);
    match map {
        IdMap::Host => {
            let resources = LinuxResourcesBuilder::default().devices(vec![no_devices()?]).build().map_err(error)?;
            linux.set_resources(Some(resources));
        }
        // The kernel lets a user's container have no other devices anyway.
        _ => {
            linux.set_uid_mappings(Some(mappings(&map.uids())?)).set_gid_mappings(Some(mappings(&map.gids())?));
        }
    }
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs")).set_readonly(Some(false));
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_mounts(Some(mounts(map)))
        .set_process(None)
        .set_hostname(None)
        .set_annotations(None)
        .set_linux(Some(linux));
    Ok(spec)
}

fn namespaces(map: &IdMap) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let kinds = [Pid, Network, Ipc, Uts, Mount, Cgroup];
    let user = (*map != IdMap::Host).then_some(User);
    let namespace = |kind| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    };
    user.into_iter().chain(kinds).map(namespace).collect()
}

/// All devices are refused; the ones every container has, runtimes allow by themselves.
fn no_devices() -> Result<LinuxDeviceCgroup> {
    let rule = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build();
    rule.map_err(|e| Error::new(Kind::Other, "writing config.json", e))
}

fn mappings(ranges: &[Range]) -> Result<Vec<LinuxIdMapping>> {
    let mapping = |range: &Range| {
        let builder = LinuxIdMappingBuilder::default();
        builder.container_id(range.inside).host_id(range.outside).size(range.count).build()
    };
    let mappings: Result<Vec<_>, _> = ranges.iter().map(mapping).collect();
    mappings.map_err(|e| Error::new(Kind::Other, "writing the id maps", e))
}

fn mounts(map: &IdMap) -> Vec<Mount> {
    let has_tty = *map == IdMap::Host || map.gids().iter().any(|r| (r.inside..r.inside + r.count).contains(&TTY));
    let tty = if has_tty { ",gid=5" } else { "" };
    vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", &format!("nosuid,noexec,newinstance,ptmxmode=0666,mode=0620{tty}")),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
    ]
}

/// The first mount of all, over the empty root folder.
pub(super) fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, map: &IdMap) -> Mount {
    // The kernel wants the uppermost layer first.
    let layers: Vec<String> = lower.iter().rev().map(|layer| escaped(layer)).collect();
    let mut options = vec![
        format!("lowerdir={}", layers.join(":")),
        format!("upperdir={}", escaped(upper)),
        format!("workdir={}", escaped(work)),
    ];
    if *map != IdMap::Host {
        // trusted.* attributes need CAP_SYS_ADMIN in the first user namespace; user.* do not. Since Linux 5.11.
        options.push("userxattr".to_owned());
    }
    let mut mount = mount("/", "overlay", "overlay", "");
    mount.set_options(Some(options));
    mount
}

/// overlayfs separates layers with `:` and options with `,`; a backslash quotes both.
fn escaped(path: &Path) -> String {
    let quoted = |c: char| if matches!(c, ':' | ',' | '\\') { vec!['\\', c] } else { vec![c] };
    path.to_string_lossy().chars().flat_map(quoted).collect()
}

/// A folder of the bundle at a path of the container.
pub(super) fn bind(source: &Path, target: &str) -> Mount {
    mount(target, "bind", &source.to_string_lossy(), "rbind,rprivate,rw")
}

fn mount(destination: &str, kind: &str, source: &str, options: &str) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(destination))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_options(Some(options.split(',').map(str::to_owned).collect()));
    mount
}
