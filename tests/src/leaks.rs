// SPDX-License-Identifier: Apache-2.0
//! Finds what a test has left behind: processes, mounts, cgroups, state folders, journals.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::cgroup;
use crate::world::World;

/// Everything of `world` that is still there, in words.
pub(crate) fn of(world: &World) -> Vec<String> {
    let mut leaks = processes(world);
    leaks.extend(mounts(world));
    leaks.extend(cgroups(world));
    leaks.extend(state(world));
    leaks
}

/// The processes of the test, and only those: they may be killed.
///
/// A mere mention of the test's folder is not enough. When a mount of the test escapes, every process of the machine
/// has it in its mountinfo; so only the environment, the executable and the root filesystem speak for a process, and
/// never for one that is older than the test.
fn pids(world: &World) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).expect("a pid fits");
    let born = start_of(own).expect("our own stat can be read");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid > 1 && *pid != own && start_of(*pid) >= Some(born) && belongs(*pid, world)).collect()
}

fn belongs(pid: i32, world: &World) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let mark = format!("KELP_TEST={}", world.token());
    let environment = fs::read(proc.join("environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        || fs::read_link(proc.join("exe")).is_ok_and(|exe| exe.starts_with(world.dir()))
        || is_contained(pid, world)
}

/// Whether a process has another root than we, and it is of the test's folder.
fn is_contained(pid: i32, world: &World) -> bool {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = i32::try_from(std::process::id()).expect("a pid fits");
    namespace(pid).is_some_and(|theirs| Some(theirs) != namespace(own)) && lives_in(&mountinfo_of(pid), world.token())
}

/// Whether the mount at `/` is of the test's folder: a bind of it, or an overlay with layers in it.
fn lives_in(mountinfo: &str, token: &str) -> bool {
    let root = mountinfo.lines().filter(|line| line.split(' ').nth(4) == Some("/"));
    root.into_iter().any(|line| names(line.as_bytes(), token.as_bytes()))
}

/// When a process started, in clock ticks since the machine did. See proc_pid_stat(5), field 22.
fn start_of(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(19)?.parse().ok()
}

/// Whether `content` has this token, ending where it ends: kt.1.1 is not in kt.1.12.
pub(crate) fn names(content: &[u8], token: &[u8]) -> bool {
    let mut windows = content.windows(token.len()).enumerate();
    windows.any(|(at, window)| window == token && !content.get(at + token.len()).is_some_and(u8::is_ascii_digit))
}

fn processes(world: &World) -> Vec<String> {
    let describe = |pid: &i32| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let state =
            stat.rsplit(") ").next().unwrap_or_default().split(' ').take(2).collect::<Vec<_>>().join(" parent ");
        format!("process {pid} ({state}): {command}")
    };
    pids(world).iter().map(describe).collect()
}

fn mounts(world: &World) -> Vec<String> {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let ours = |line: &&[u8]| names(line, world.token().as_bytes());
    mounts
        .split(|byte| *byte == b'\n')
        .filter(ours)
        .map(|line| format!("mount {}", String::from_utf8_lossy(line)))
        .collect()
}

/// Cgroups named by the test's token (the runtime's ids carry it) or by a container that is, or was, in the store.
fn cgroups(world: &World) -> Vec<String> {
    let delegated = cgroup::root().map(|root| root.join(world.token()));
    let mine =
        |dir: &PathBuf| Some(dir) != delegated.as_ref() && !dir.ends_with(Path::new(world.token()).join("caller"));
    cgroup::containing(world.token()).into_iter().filter(mine).map(|dir| format!("cgroup {}", dir.display())).collect()
}

/// Containers in the store, and anything in the run folder but empty folders.
fn state(world: &World) -> Vec<String> {
    let containers = fs::read_dir(world.store().join("containers")).into_iter().flatten().flatten();
    let mut left: Vec<String> = containers.map(|entry| format!("container {}", entry.path().display())).collect();
    collect_state(&world.run_dir(), &mut left);
    collect_state(&world.runtime_root(), &mut left);
    left.sort();
    left.dedup();
    left
}

/// Folders named like a container, and journals. A lock file or an empty folder of the house is no leak.
fn collect_state(dir: &Path, left: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let container = name.contains("kt.") || (name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()));
        if container || name.contains("journal") {
            left.push(format!("state {}", path.display()));
        }
    }
}

/// Ends every process of the test: only what carries its token is found.
pub(crate) fn kill_processes(world: &World) {
    crate::within(std::time::Duration::from_secs(20), || {
        let pids = pids(world);
        for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // ESRCH: it ended between the look and the kill. Anything else shows as a leak in the next look.
            kill_process(pid, Signal::KILL).ok();
        }
        pids.is_empty()
    });
}

/// Unmounts what escaped into our own mount namespace below the test's folder; false when something is left.
pub(crate) fn unmount_all(world: &World) -> bool {
    let below = || -> Vec<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("our own mounts can be read");
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        points.filter(|point| point.starts_with(world.dir())).collect()
    };
    for point in below().iter().rev() {
        // What cannot be unmounted is found by the second look.
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).ok();
    }
    below().is_empty()
}

/// Whether a process with this id is there and not a zombie.
pub fn is_alive(pid: i32) -> bool {
    process_state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// `None` when there is no such process, `Some(true)` for a zombie.
pub fn is_gone_or_zombie(pid: i32) -> Option<bool> {
    process_state(pid).map(|state| state == 'Z')
}

fn process_state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// The mounts that a process sees.
pub fn mountinfo_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default()
}

/// The names of the variables in a process's environment.
pub fn environment_names(pid: i32) -> Vec<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let names = environ.split(|byte| *byte == 0).filter_map(|pair| pair.split(|byte| *byte == b'=').next());
    names.map(|name| String::from_utf8_lossy(name).into_owned()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_found_in_a_longer_one() {
        assert!(names(b"/tmp/kt.1.1/b", b"kt.1.1"));
        assert!(names(b"/tmp/kt.1.12 /tmp/kt.1.1", b"kt.1.1"));
        assert!(!names(b"/tmp/kt.1.12/b", b"kt.1.1"));
    }

    #[test]
    fn a_mount_of_the_test_elsewhere_than_at_the_root_convicts_nobody() {
        let host =
            "27 1 254:0 / / rw - ext4 /dev/vda rw\n42 27 254:0 /tmp/kt.1.1/s /tmp/kt.1.1/s rw - ext4 /dev/vda rw";
        assert!(!lives_in(host, "kt.1.1"));
        assert!(lives_in("90 80 254:0 /tmp/kt.1.1/b/rootfs / ro - ext4 /dev/vda rw", "kt.1.1"));
        assert!(lives_in("90 80 0:50 / / rw - overlay overlay rw,lowerdir=/tmp/kt.1.1/store/layers", "kt.1.1"));
    }
}
