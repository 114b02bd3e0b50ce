// SPDX-License-Identifier: Apache-2.0
//! Prints as JSON what a process in a container sees, and tries what it should not be able to do.
//!
//! Runs inside the containers of the tests, statically linked, in root filesystems that hold nothing else.
//!
//! ```text
//! probe see                     ids, capabilities, limits, mounts, descriptors, namespaces …
//! probe try OPERATION PATH…     performs one operation and prints `ok` or the errno's name
//! probe exit N | signal N       ends in that way
//! probe echo PORT               sends every UDP packet back
//! ```

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::UdpSocket;
use std::process::ExitCode;

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["see"] => say(&see().to_string()),
        ["try", operation, rest @ ..] => say(&attempt(operation, rest)),
        ["exit", code] => return ExitCode::from(code.parse::<u8>().unwrap_or(255)),
        ["signal", number] => raise(number),
        ["echo", port] => return echo(port),
        _ => {
            say("usage: probe see | try OPERATION PATH… | exit N | signal N | echo PORT");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn say(line: &str) {
    // Nobody is left to be told when standard output is closed.
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Sends every UDP packet back to where it came from, until something goes wrong.
fn echo(port: &str) -> ExitCode {
    let Ok(socket) = UdpSocket::bind(("0.0.0.0", port.parse().unwrap_or(0))) else { return ExitCode::FAILURE };
    let mut packet = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        if socket.send_to(&packet[..length], from).is_err() {
            break;
        }
    }
    ExitCode::FAILURE
}

/// Everything at once: a test picks what it is about.
fn see() -> Value {
    let status = keyed("/proc/self/status");
    let stat = read("/proc/self/stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.trim().parse::<i64>().ok());
    json!({
        "args": std::env::args().collect::<Vec<_>>(),
        "pid": std::process::id(), "parent": field(1), "group": field(2), "session": field(3), "tty": field(4), "nice": field(16),
        "rt_priority": field(37), "policy": field(38), "cpus": status.get("Cpus_allowed_list"),
        "cwd": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "env": environment(),
        "uid": ids(&status, "Uid"), "gid": ids(&status, "Gid"), "groups": groups(&status),
        "umask": status.get("Umask"), "nnp": status.get("NoNewPrivs"), "seccomp": status.get("Seccomp"),
        "caps": {
            "inheritable": status.get("CapInh"), "permitted": status.get("CapPrm"), "effective": status.get("CapEff"),
            "bounding": status.get("CapBnd"), "ambient": status.get("CapAmb"),
        },
        "signals": {"blocked": status.get("SigBlk"), "ignored": status.get("SigIgn")},
        "limits": limits(), "oom_score_adj": read("/proc/self/oom_score_adj").trim(),
        "uid_map": table("/proc/self/uid_map"), "gid_map": table("/proc/self/gid_map"),
        "setgroups": read("/proc/self/setgroups").trim(),
        "hostname": read("/proc/sys/kernel/hostname").trim(), "domainname": read("/proc/sys/kernel/domainname").trim(),
        "namespaces": namespaces(), "fds": descriptors(), "mounts": mounts(), "cgroup": read("/proc/self/cgroup").trim(),
        "interfaces": names("/sys/class/net"), "dev": names("/dev"), "root": names("/"),
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn keyed(path: &str) -> Map<String, Value> {
    let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), json!(value.trim())));
    read(path).lines().filter_map(pair).collect()
}

/// Real, effective, saved and filesystem id.
fn ids(status: &Map<String, Value>, name: &str) -> Vec<u32> {
    let text = status.get(name).and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn groups(status: &Map<String, Value>) -> Vec<u32> {
    let mut groups = ids(status, "Groups");
    groups.sort_unstable();
    groups
}

/// In order and with duplicates: both matter.
fn environment() -> Vec<String> {
    let block = fs::read("/proc/self/environ").unwrap_or_default();
    let text = |entry: &[u8]| String::from_utf8_lossy(entry).into_owned();
    block.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(text).collect()
}

/// `Max open files  1024  4096  files` becomes `"Max open files": ["1024", "4096"]`.
fn limits() -> Map<String, Value> {
    let limits = read("/proc/self/limits");
    let row = |line: &str| {
        let (name, values) = line.split_at_checked(26)?;
        let values: Vec<&str> = values.split_whitespace().take(2).collect();
        Some((name.trim().to_owned(), json!(values)))
    };
    limits.lines().skip(1).filter_map(row).collect()
}

fn table(path: &str) -> Vec<Vec<u32>> {
    read(path).lines().map(|line| line.split_whitespace().filter_map(|n| n.parse().ok()).collect()).collect()
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn namespaces() -> Map<String, Value> {
    let target = |name: String| {
        let path = fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
        Some((name, json!(path.display().to_string())))
    };
    names("/proc/self/ns").into_iter().filter_map(target).collect()
}

/// Number → what it is open on. The one that lists them is no longer open when its link is read.
fn descriptors() -> Map<String, Value> {
    let target = |name: String| {
        let path = fs::read_link(format!("/proc/self/fd/{name}")).ok()?;
        Some((name, json!(path.display().to_string())))
    };
    names("/proc/self/fd").into_iter().filter_map(target).collect()
}

/// The fields of mountinfo that the tests ask for, in the order of the mounts.
fn mounts() -> Vec<Value> {
    let row = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        Some(json!({
            "root": before.get(3), "at": before.get(4), "options": before.get(5), "propagation": before.get(6..),
            "type": after.first(), "source": after.get(1), "super": after.get(2),
        }))
    };
    read("/proc/self/mountinfo").lines().filter_map(row).collect()
}

/// Performs one operation and names its outcome.
fn attempt(operation: &str, args: &[&str]) -> String {
    let path = args.first().copied().unwrap_or(".");
    let outcome = match operation {
        "mkdir" => rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)),
        "mknod" => rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3)),
        "chroot" => rustix::process::chroot(path),
        "chmod" => rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(0o700), rustix::fs::AtFlags::empty()),
        "sethostname" => rustix::system::sethostname(path.as_bytes()),
        "mount" => rustix::mount::mount("none", path, "tmpfs", rustix::mount::MountFlags::empty(), None),
        "umount" => rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH),
        "remount-rw" => rustix::mount::mount_remount(path, rustix::mount::MountFlags::BIND, c""),
        "read" => from_io(fs::read(path).map(drop)),
        "write" => from_io(OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"x"))),
        "append" => from_io(OpenOptions::new().append(true).create(true).open(path).map(drop)),
        "run" => from_io(std::process::Command::new(path).output().map(drop)),
        "socket" => rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::RAW, None).map(drop),
        "setuid" => from_io(std::process::Command::new("/bin/setuid-id").output().map(drop)),
        _ => return format!("no operation {operation}"),
    };
    match outcome {
        Ok(()) => "ok".into(),
        Err(errno) => name_of(errno),
    }
}

fn from_io(result: std::io::Result<()>) -> Result<(), Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn name_of(errno: Errno) -> String {
    let name = match errno {
        Errno::PERM => "EPERM",
        Errno::ACCESS => "EACCES",
        Errno::ROFS => "EROFS",
        Errno::NOENT => "ENOENT",
        Errno::NOSYS => "ENOSYS",
        Errno::INVAL => "EINVAL",
        Errno::BUSY => "EBUSY",
        Errno::NXIO => "ENXIO",
        Errno::NODEV => "ENODEV",
        Errno::EXIST => "EEXIST",
        Errno::ISDIR => "EISDIR",
        Errno::IO => "EIO",
        other => return format!("errno {}", other.raw_os_error()),
    };
    name.into()
}

/// Ends this process by a signal, through the shell's `kill`, which is a builtin of every shell.
fn raise(number: &str) {
    let kill = format!("kill -{number} {}", std::process::id());
    let sent = std::process::Command::new("/bin/sh").args(["-c", &kill]).status();
    say(&format!("still here: {sent:?}"));
}
