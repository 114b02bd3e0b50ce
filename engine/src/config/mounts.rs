// SPDX-License-Identifier: Apache-2.0
//! `mounts`: the root overlay, the kernel's filesystems, our files in /etc, then what the user wants.

use super::{Attachment, Input, RootFilesystem, devices, namespaces, text};
use oci_spec::runtime::Mount;
use std::path::{Path, PathBuf};

/// Docker's size of /dev/shm.
const SHM_SIZE: i64 = 64 << 20;

/// All mounts in the order they are performed.
pub(super) fn all(input: &Input<'_>) -> Vec<Mount> {
    let mut wanted = input.attachments.to_vec();
    wanted.extend(devices::bound(input));
    // What the user mounts replaces ours there and below: `-v /dev:/dev` is the host's /dev, not ours on top.
    let ours = kernel(input).into_iter();
    let kept: Vec<Mount> =
        ours.filter(|mount| !wanted.iter().any(|wish| mount.destination().starts_with(&wish.target))).collect();
    // But /etc of the user's still gets the names of this container, if he does not mount those files himself.
    let files = input.files.iter().filter(|file| has_place(file, &wanted));
    let files: Vec<Attachment> = files.cloned().collect();
    wanted.extend(files);
    // Outer folders first: a mount over /data would hide one at /data/cache made before it.
    wanted.sort_by_key(|attachment| attachment.target.components().count());
    overlay(input).into_iter().chain(kept).chain(wanted.iter().map(attached)).collect()
}

/// Whether a file of ours can be bound: nothing else is mounted there, and what is mounted around it has it or lets us make it.
fn has_place(file: &Attachment, wanted: &[Attachment]) -> bool {
    let around = wanted.iter().filter(|wish| file.target.starts_with(&wish.target));
    let inner = around.max_by_key(|wish| wish.target.components().count());
    let Some(inner) = inner else { return true };
    let Ok(rest) = file.target.strip_prefix(&inner.target) else { return false };
    let there = inner.source.as_ref().is_none_or(|source| source.join(rest).exists());
    !rest.as_os_str().is_empty() && (there || !inner.read_only)
}

/// The first mount, at `/`: the container's init performs it inside the container's namespaces.
fn overlay(input: &Input<'_>) -> Option<Mount> {
    let RootFilesystem::Overlay { lower, upper, work } = input.root else { return None };
    // The kernel wants the uppermost layer first.
    let layers: Vec<String> = lower.iter().rev().map(|layer| escaped(layer)).collect();
    let mut options = vec![
        format!("lowerdir={}", layers.join(":")),
        format!("upperdir={}", escaped(upper)),
        format!("workdir={}", escaped(work)),
    ];
    if input.maps.is_some() {
        // trusted.* attributes need CAP_SYS_ADMIN in the first user namespace; user.* do not. Since Linux 5.11.
        options.push("userxattr".to_owned());
    }
    if input.options.rm {
        // What `--rm` removes at its end need not reach the disk first: without this the unmount, and so the end of the
        // container, waits for a sync of the whole filesystem below. Since Linux 5.10.
        options.push("volatile".to_owned());
    }
    Some(mount("/", "overlay", "overlay", options))
}

/// overlayfs separates layers with `:` and options with `,`; a backslash quotes both.
fn escaped(path: &Path) -> String {
    let mut escaped = String::new();
    for c in text(path).chars() {
        if matches!(c, ':' | ',' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// /proc, /dev, /sys and what is below them.
fn kernel(input: &Input<'_>) -> Vec<Mount> {
    let mounts = [
        Some(proc(input)),
        Some(mount("/dev", "tmpfs", "tmpfs", words("nosuid strictatime mode=755 size=65536k"))),
        Some(devpts(input)),
        Some(sysfs(input)),
        Some(cgroup(input)),
        mqueue(input),
        Some(shm(input)),
    ];
    mounts.into_iter().flatten().collect()
}

fn proc(input: &Input<'_>) -> Mount {
    match namespaces::has_own_pid(input) || input.maps.is_none() {
        true => mount("/proc", "proc", "proc", words("nosuid noexec nodev")),
        // A user namespace may not mount the /proc of a pid namespace that is not its own: show the host's.
        false => bind("/proc", "/proc", words("rbind nosuid noexec nodev")),
    }
}

fn devpts(input: &Input<'_>) -> Mount {
    let mut options = words("nosuid noexec newinstance ptmxmode=0666 mode=0620");
    // The group tty of nearly all images. A map without it would make the mount fail.
    if input.maps.is_none_or(|maps| maps.has_gid(5)) {
        options.push("gid=5".to_owned());
    }
    mount("/dev/pts", "devpts", "devpts", options)
}

fn sysfs(input: &Input<'_>) -> Mount {
    match namespaces::has_own_network(input) || input.maps.is_none() {
        true => mount("/sys", "sysfs", "sysfs", writable(input, "nosuid noexec nodev")),
        // A user namespace without its own network namespace may not mount sysfs: show the host's.
        false => bind("/sys", "/sys", words("rbind nosuid noexec nodev ro rro")),
    }
}

fn cgroup(input: &Input<'_>) -> Mount {
    match namespaces::has_own_cgroup(input) || input.maps.is_none() {
        true => mount("/sys/fs/cgroup", "cgroup", "cgroup", writable(input, "nosuid noexec nodev")),
        // As with sysfs: not its cgroup namespace, so it may not mount it.
        false => bind("/sys/fs/cgroup", "/sys/fs/cgroup", words("rbind nosuid noexec nodev ro rro")),
    }
}

/// Queues work where they are not shown, too: a host without the mount shares them all the same.
fn mqueue(input: &Input<'_>) -> Option<Mount> {
    let shown = || (input.host_has)(Path::new("/dev/mqueue"));
    match namespaces::has_own_ipc(input) || input.maps.is_none() {
        true => Some(mount("/dev/mqueue", "mqueue", "mqueue", words("nosuid noexec nodev"))),
        false => shown().then(|| bind("/dev/mqueue", "/dev/mqueue", words("rbind nosuid noexec nodev"))),
    }
}

fn shm(input: &Input<'_>) -> Mount {
    if !namespaces::has_own_ipc(input) {
        return bind("/dev/shm", "/dev/shm", words("rbind nosuid noexec nodev"));
    }
    // As in Docker, 0 is the usual size; to the kernel it would be no limit.
    let size = input.options.files.shm_size.filter(|size| *size > 0).unwrap_or(SHM_SIZE);
    let mut options = words("nosuid noexec nodev mode=1777");
    options.push(format!("size={size}"));
    mount("/dev/shm", "tmpfs", "shm", options)
}

/// `options`, read-only unless the container is privileged.
fn writable(input: &Input<'_>, options: &str) -> Vec<String> {
    let mut options = words(options);
    if !input.privileged() {
        options.push("ro".to_owned());
    }
    options
}

/// A mount of the user's or of a file of ours.
fn attached(attachment: &Attachment) -> Mount {
    let propagation =
        |option: &String| option.ends_with("shared") || option.ends_with("slave") || option.ends_with("private");
    let mut options = attachment.options.clone();
    let access = if attachment.read_only { "ro" } else { "rw" };
    match &attachment.source {
        Some(source) => {
            if !options.iter().any(propagation) {
                options.insert(0, "rprivate".to_owned());
            }
            options.insert(0, "rbind".to_owned());
            options.push(access.to_owned());
            bind(&text(&attachment.target), &text(source), options)
        }
        None => {
            let mut all = words("nosuid nodev noexec");
            // The user's word is the later one, and wins.
            all.extend(options);
            if attachment.read_only {
                all.push(access.to_owned());
            }
            mount(&text(&attachment.target), "tmpfs", "tmpfs", all)
        }
    }
}

fn bind(destination: &str, source: &str, options: Vec<String>) -> Mount {
    mount(destination, "bind", source, options)
}

fn mount(destination: &str, kind: &str, source: &str, options: Vec<String>) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(destination))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_options(Some(options));
    mount
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
