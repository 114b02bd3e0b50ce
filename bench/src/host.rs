// SPDX-License-Identifier: Apache-2.0
//! The machine: its facts, the place where cgroup2 is, and the unprivileged user to measure as.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Result};

/// What a reader must know to compare figures of two runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
    pub(crate) load: String,
    /// Versions of everything that took part.
    pub(crate) programs: Vec<String>,
}

fn line_of(file: &str, key: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().find_map(|l| l.strip_prefix(key));
    found.map(|v| v.trim_matches([' ', '\t', ':', '=', '"']).to_owned()).unwrap_or_else(|| "unknown".into())
}

impl Machine {
    pub(crate) fn look() -> Self {
        let memory = line_of("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        Self {
            cpu: line_of("/proc/cpuinfo", "model name"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (kib + (1 << 19)) >> 20,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            system: line_of("/etc/os-release", "PRETTY_NAME"),
            load: fs::read_to_string("/proc/loadavg")
                .unwrap_or_default()
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            programs: Vec::new(),
        }
    }
}

/// A tmpfs that we may write to: /run, as where systemd runs, else /dev/shm.
pub(crate) fn tmpfs() -> Option<PathBuf> {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    let is_tmpfs = |path: &Path| rustix::fs::statfs(path).is_ok_and(|at| u64::try_from(at.f_type) == Ok(TMPFS_MAGIC));
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    ["/run", "/dev/shm"].into_iter().map(PathBuf::from).find(|path| is_tmpfs(path) && writable(path))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a hybrid machine has its cgroup2, when that is not /sys/fs/cgroup.
fn hybrid_cgroup2() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let at = |l: &str| {
        let mut words = l.split(' ');
        (words.nth(1).map(str::to_owned), words.next().map(str::to_owned))
    };
    let cgroup2: Vec<_> =
        mounts.lines().map(at).filter(|m| m.1.as_deref() == Some("cgroup2")).filter_map(|m| m.0).collect();
    if cgroup2.iter().any(|m| m == "/sys/fs/cgroup") {
        return None;
    }
    cgroup2.into_iter().next()
}

/// On a machine with hybrid cgroups: starts this program again in a mount namespace that shows cgroup2 at
/// /sys/fs/cgroup, where crun, runc, podman and the floor look for it. Returns at once where that is not needed.
pub(crate) fn settle_cgroups() -> Result<()> {
    let Some(cgroup2) = hybrid_cgroup2() else { return Ok(()) };
    if !is_root() {
        return Err(Error::new("cannot measure here", format!("cgroup2 is at {cgroup2}, not at /sys/fs/cgroup"))
            .hint("start the bench as root: it makes a private mount namespace and drops to the user by itself"));
    }
    let script = "mount --make-rprivate / && mount --bind \"$0\" /sys/fs/cgroup && exec \"$@\"";
    let me = std::env::current_exe().doing(|| "cannot find myself".into())?;
    let failed = Command::new("unshare")
        .args(["-m", "sh", "-c", script, &cgroup2])
        .arg(me)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(Error::new("cannot make a mount namespace", failed).hint("install util-linux (unshare)"))
}

/// The user for whatever is measured without privilege.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// From /etc/passwd.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        passwd
            .lines()
            .map(|l| l.split(':').collect::<Vec<_>>())
            .find(|f| f.first() == Some(&name))
            .and_then(|f| Some(Self { name: name.into(), uid: f.get(2)?.parse().ok()?, gid: f.get(3)?.parse().ok()? }))
    }

    /// Whoever runs this.
    pub(crate) fn myself() -> Option<Self> {
        let uid = rustix::process::getuid().as_raw().to_string();
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        let mine = passwd.lines().find(|l| l.split(':').nth(2) == Some(&uid))?;
        Self::named(mine.split(':').next()?)
    }

    /// Whoever called sudo, else the first user who owns a range of subordinate ids.
    pub(crate) fn likely() -> Option<Self> {
        let sudo = std::env::var("SUDO_USER").ok().and_then(|n| Self::named(&n)).filter(|u| u.uid != 0);
        let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
        sudo.or_else(|| subuid.lines().filter_map(|l| l.split(':').next()).find_map(Self::named).filter(|u| u.uid != 0))
    }

    /// Command words that turn root into this user, inside `cgroup`.
    pub(crate) fn become_words(&self, cgroup: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            ["sh", "-c", "echo $$ >\"$0\"/cgroup.procs && exec \"$@\""].map(OsString::from).into();
        words.push(cgroup.into());
        words.push("setpriv".into());
        words.push(format!("--reuid={}", self.uid).into());
        words.push(format!("--regid={}", self.gid).into());
        words.extend(["--init-groups", "--inh-caps=-all", "--"].map(OsString::from));
        words
    }
}

/// A cgroup below which `user` may make his own: what a login session under systemd would have.
pub(crate) struct Delegated {
    path: PathBuf,
}

impl Delegated {
    pub(crate) fn make(user: &User) -> Result<Self> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/kelp-bench-{}", std::process::id()));
        let made = Self { path };
        fs::create_dir_all(made.session()).doing(|| format!("cannot make the cgroup {}", made.path.display()))?;
        let status = Command::new("chown").arg("-R").arg(format!("{}:{}", user.uid, user.gid)).arg(&made.path).status();
        let status = status.doing(|| format!("cannot give {} to {}", made.path.display(), user.name))?;
        match status.success() {
            true => Ok(made),
            false => Err(Error::new(format!("cannot give {} to {}", made.path.display(), user.name), status)),
        }
    }

    /// Where the user's processes begin.
    pub(crate) fn session(&self) -> PathBuf {
        self.path.join("session")
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        // What the user's engines left running (podman's pause process) goes with its cgroup. A cgroup is busy until
        // the last of them is reaped.
        drop(fs::write(self.path.join("cgroup.kill"), "1"));
        for _ in 0..50 {
            remove_cgroups(&self.path);
            if !self.path.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Best effort: a cgroup that still has a process in it stays.
fn remove_cgroups(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    drop(fs::remove_dir(dir));
}

/// The date in UTC, as `date` prints it: std has no calendar.
pub(crate) fn today() -> String {
    let said = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    said.map_or_else(|_| "unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}
