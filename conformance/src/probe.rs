// SPDX-License-Identifier: Apache-2.0
//! The program in the container, and the program that hooks run: a copy of this binary that was started as `probe`.
//!
//! Runs inside: it needs no other file, no shell and no /proc (what it cannot read is absent from its report).
//! `probe STEP…` performs the steps in order:
//!
//! | step | does |
//! |---|---|
//! | `report` | prints what it sees, and how the steps before ended, as one line of JSON |
//! | `wait` | says that it waits, in a line of its own, and sleeps for five minutes |
//! | `answer` | reads a line of its stdin |
//! | `until:FILE=TEXT` | waits until the file holds the text, for twenty seconds |
//! | `exit:N` | ends with that status |
//! | `read:PATH` `write:PATH` `append:PATH=TEXT` `open:PATH` `mkdir:PATH` `list:PATH` `stat:PATH` `exec:PATH` | tries it |
//! | `chmod:PATH` `getcwd` `mknod:PATH` `hostname:NAME` `socket:FAMILY` `bind:FROM=TO` | tries the system call |
//! | `diary:FILE=TAG` | appends one line about itself, with its stdin, to the diary of hooks |

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::facts::{Act, Facts, Node};

/// Under this name the binary is a probe.
pub(crate) const NAME: &str = "probe";

/// The line by which a probe says that it will not end by itself.
pub(crate) const WAITS: &str = "waits";

/// What every report shows, when it can be read.
const FILES: &[&str] = &[
    "/proc/self/status",
    "/proc/self/limits",
    "/proc/self/environ",
    "/proc/self/cmdline",
    "/proc/self/mountinfo",
    "/proc/self/uid_map",
    "/proc/self/gid_map",
    "/proc/self/setgroups",
    "/proc/self/oom_score_adj",
    "/proc/self/cgroup",
    "/proc/self/stat",
    "/proc/self/timens_offsets",
    "/proc/self/personality",
    "/proc/self/numa_maps",
    "/proc/self/attr/current",
    "/proc/net/dev",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/net/ipv4/ip_forward",
];

const NAMESPACES: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

const DEVICES: &[&str] = &[
    "null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue", "fd", "stdin",
    "stdout", "stderr", "made", "fifo",
];

pub(crate) fn main(steps: impl Iterator<Item = String>) -> ExitCode {
    let mut acts = Vec::new();
    for step in steps {
        let (verb, rest) = step.split_once(':').unwrap_or((&step, ""));
        match verb {
            "report" => {
                if report(&acts).is_err() {
                    return ExitCode::from(99);
                }
            }
            "wait" => wait(),
            "exit" => return ExitCode::from(rest.parse().unwrap_or(98)),
            _ => acts.push(outcome(&step, act(verb, rest))),
        }
    }
    ExitCode::SUCCESS
}

/// Whether anybody reads what it says does not matter: hooks wait too.
fn wait() {
    let mut out = io::stdout();
    drop(writeln!(out, "{WAITS}").and_then(|()| out.flush()));
    sleep(Duration::from_secs(300));
}

fn outcome(step: &str, ended: io::Result<String>) -> Act {
    let (errno, text) = match ended {
        Ok(text) => (0, text),
        Err(e) => (e.raw_os_error().unwrap_or(-1), String::new()),
    };
    Act { act: step.to_owned(), errno, text }
}

fn nothing(done: io::Result<()>) -> io::Result<String> {
    done.map(|()| String::new())
}

fn errno(e: rustix::io::Errno) -> io::Error {
    io::Error::from_raw_os_error(e.raw_os_error())
}

fn act(verb: &str, rest: &str) -> io::Result<String> {
    let (left, right) = rest.split_once('=').unwrap_or((rest, ""));
    match verb {
        "read" => fs::read(rest).map(|b| String::from_utf8_lossy(&b).into_owned()),
        "write" => nothing(OpenOptions::new().write(true).create(true).truncate(false).open(rest).map(drop)),
        "append" => nothing(append(Path::new(left), right.as_bytes())),
        "open" => nothing(File::open(rest).map(drop)),
        "mkdir" => nothing(fs::create_dir(rest)),
        "list" => fs::read_dir(rest).map(|all| {
            let mut names: Vec<_> = all.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names.join(",")
        }),
        "stat" => fs::symlink_metadata(rest).map(|m| format!("{:?}", node(&m))),
        "chmod" => nothing(fs::set_permissions(rest, fs::Permissions::from_mode(0o600))),
        "getcwd" => rustix::process::getcwd(Vec::new()).map(|p| p.to_string_lossy().into_owned()).map_err(errno),
        "exec" => Command::new(rest).arg("exit:0").status().map(|s| s.to_string()),
        "hostname" => nothing(rustix::system::sethostname(rest.as_bytes()).map_err(errno)),
        "mknod" => nothing(mknod(rest)),
        "socket" => nothing(socket(rest)),
        "bind" => nothing(rustix::mount::mount_bind(left, right).map_err(errno)),
        "diary" => nothing(diary(left, right)),
        "answer" => io::stdin().read_line(&mut String::new()).map(|n| n.to_string()),
        "until" => nothing(until(Path::new(left), right)),
        _ => Err(io::Error::from_raw_os_error(22)),
    }
}

fn append(file: &Path, text: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(file)?.write_all(text)
}

fn until(file: &Path, text: &str) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(file).is_ok_and(|t| t.contains(text)) {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn mknod(path: &str) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(1, 3)).map_err(errno)
}

fn socket(family: &str) -> io::Result<()> {
    let family = rustix::net::AddressFamily::from_raw(family.parse().unwrap_or(0));
    rustix::net::socket(family, rustix::net::SocketType::STREAM, None).map(drop).map_err(errno)
}

fn report(acts: &[Act]) -> io::Result<()> {
    let facts = look(acts.to_vec());
    let mut line = serde_json::to_vec(&facts)?;
    line.push(b'\n');
    let mut out = io::stdout();
    out.write_all(&line)?;
    out.flush()
}

fn look(acts: Vec<Act>) -> Facts {
    let text = |path: &str| fs::read(path).ok().map(|b| String::from_utf8_lossy(&b).into_owned());
    let link = |path: &str| fs::read_link(path).ok().map(|p| p.to_string_lossy().into_owned());
    let mut links: Vec<String> = NAMESPACES.iter().map(|n| format!("/proc/self/ns/{n}")).collect();
    links.extend(["/proc/self/cwd", "/proc/self/root", "/proc/self/exe"].map(String::from));
    links.extend(DEVICES.iter().map(|d| format!("/dev/{d}")));
    let stdin = io::stdin();
    let size = rustix::termios::tcgetwinsize(&stdin).ok().map(|s| (s.ws_row, s.ws_col));
    let terminals = [stdin.is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
    Facts {
        files: FILES.iter().filter_map(|p| Some(((*p).to_owned(), text(p)?))).collect(),
        links: links.into_iter().filter_map(|p| link(&p).map(|to| (p, to))).collect(),
        nodes: DEVICES.iter().filter_map(|d| device(&format!("/dev/{d}"))).collect(),
        fds: descriptors(),
        acts,
        terminals: (0..).zip(terminals).filter(|t| t.1).map(|t| t.0).collect(),
        size,
        machine: rustix::system::uname().machine().to_string_lossy().into_owned(),
    }
}

fn device(path: &str) -> Option<(String, Node)> {
    Some((path.to_owned(), node(&fs::symlink_metadata(path).ok()?)))
}

fn node(meta: &fs::Metadata) -> Node {
    let t = meta.file_type();
    let kinds = [
        (t.is_char_device(), 'c'),
        (t.is_block_device(), 'b'),
        (t.is_fifo(), 'p'),
        (t.is_dir(), 'd'),
        (t.is_symlink(), 'l'),
        (t.is_socket(), 's'),
    ];
    Node {
        kind: kinds.into_iter().find(|k| k.0).map_or('-', |k| k.1),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        major: rustix::fs::major(meta.rdev()),
        minor: rustix::fs::minor(meta.rdev()),
    }
}

/// Open descriptors; the one that reads the folder is left out.
fn descriptors() -> BTreeMap<i32, String> {
    let Ok(all) = fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    let names: Vec<_> = all.flatten().map(|e| e.path()).collect();
    let still_open = names.iter().filter_map(|p| {
        let to = fs::read_link(p).ok()?;
        Some((p.file_name()?.to_str()?.parse().ok()?, to.to_string_lossy().into_owned()))
    });
    still_open.collect()
}

/// One line per hook: who it is, where it runs, and what it was given on stdin.
fn diary(file: &str, tag: &str) -> io::Result<()> {
    let mut stdin = String::new();
    io::stdin().read_to_string(&mut stdin)?;
    let link = |path: &str| fs::read_link(path).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    let namespaces: BTreeMap<_, _> = NAMESPACES.iter().map(|n| (*n, link(&format!("/proc/self/ns/{n}")))).collect();
    let line = json!({
        "tag": tag,
        "state": serde_json::from_str::<Value>(&stdin).unwrap_or(Value::Null),
        "namespaces": namespaces,
        "argv": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "sees_diary_of_host": Path::new(file).exists(),
        "root": link("/proc/self/root"),
        "cwd": link("/proc/self/cwd"),
        "mounts": fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
    });
    append(Path::new(file), format!("{line}\n").as_bytes())
}
