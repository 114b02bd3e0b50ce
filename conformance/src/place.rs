// SPDX-License-Identifier: Apache-2.0
//! Where and as whom the judging happens: the runtime, the work folder, the ids, the cgroups; and what a case needs.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::Need;
use crate::error::{Doing, Error, Result};

/// Where cgroup2 is, for us and for every runtime judged here.
pub(crate) const CGROUP: &str = "/sys/fs/cgroup";

/// Everything that is the same for all cases.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) runtime: PathBuf,
    /// Not root: containers get a user namespace.
    pub(crate) rootless: bool,
    pub(crate) work: PathBuf,
    /// The statically linked file that is the probe.
    pub(crate) probe: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// First and number of the subordinate ids, when the user has any.
    pub(crate) range: Option<(u32, u32)>,
    /// What `RUNTIME --help` and `RUNTIME features` said.
    help: String,
    pub(crate) features: Option<serde_json::Value>,
}

impl Place {
    pub(crate) fn open(runtime: &Path) -> Result<Self> {
        let uid = rustix::process::getuid().as_raw();
        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
        let work = std::env::temp_dir().join(format!("kc-{}-{name}", std::process::id()));
        for folder in ["state", "x"] {
            let dir = work.join(folder);
            fs::create_dir_all(&dir).doing(|| format!("cannot make {}", dir.display()))?;
        }
        let said = |arg: &str| Command::new(runtime).arg(arg).env("XDG_RUNTIME_DIR", work.join("x")).output();
        let help = said("--help").doing(|| format!("cannot run {}", runtime.display()))?;
        let features = said("features").ok().filter(|o| o.status.success());
        Ok(Self {
            runtime: runtime.to_owned(),
            rootless: uid != 0,
            probe: probe(&work)?,
            uid,
            gid: rustix::process::getgid().as_raw(),
            range: subordinate(uid),
            help: String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned(),
            features: features.and_then(|o| serde_json::from_slice(&o.stdout).ok()),
            work,
        })
    }

    /// Why a case with this need cannot run here; `None`: it can.
    pub(crate) fn lacks(&self, need: Need) -> Option<String> {
        let unless = |ok: bool, why: String| (!ok).then_some(why);
        match need {
            Need::Root => unless(!self.rootless, "needs root".into()),
            Need::Ids => unless(
                !self.rootless || self.range.is_some(),
                "needs a range in /etc/subuid and /etc/subgid, and newuidmap".into(),
            ),
            Need::Controller(name) => unless(
                self.controllers().split_whitespace().any(|c| c == name),
                format!("the {name} controller is not available to us in cgroup2"),
            ),
            Need::Path(path) => unless(Path::new(path).exists(), format!("there is no {path} here")),
            Need::Program(name) => unless(in_path(name).is_some(), format!("there is no {name} in PATH")),
            Need::Features => unless(self.features.is_some(), "the runtime has no `features` (it MAY)".into()),
            Need::Verb(verb) => unless(self.has_verb(verb), format!("the runtime has no `{verb}`")),
        }
    }

    fn has_verb(&self, verb: &str) -> bool {
        self.help.lines().any(|l| l.split([' ', '\t', ',']).find(|w| !w.is_empty()) == Some(verb))
    }

    /// Those that a container may get. Root's is made at the top of the tree, whichever of its controllers the unit has
    /// that root is in: systemd hands hugetlb to none.
    fn controllers(&self) -> String {
        let from = if self.rootless { own_cgroup() } else { String::new() };
        fs::read_to_string(format!("{CGROUP}{from}/cgroup.controllers")).unwrap_or_default()
    }

    /// The first line of `--version`.
    pub(crate) fn version(&self) -> String {
        let said = Command::new(&self.runtime).arg("--version").output();
        let said = said.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        let name = self.name();
        let line = said.lines().next().unwrap_or("").trim().replace(" version ", " ").replace(" version: ", " ");
        if line.starts_with(&name) { line } else { format!("{name} {line}") }
    }

    pub(crate) fn name(&self) -> String {
        self.runtime.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Best effort: what is left behind is a folder in /tmp.
        drop(fs::remove_dir_all(&self.work));
    }
}

/// Our own path in the cgroup2 tree, without the last slash.
pub(crate) fn own_cgroup() -> String {
    let all = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = all.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("");
    own.trim_end_matches('/').to_owned()
}

/// Cgroups below our own (or, for root, anywhere near the top) whose name has `word` in it.
pub(crate) fn cgroups_named(word: &str) -> Vec<PathBuf> {
    fn below(dir: &Path, depth: u32, word: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().contains(word) {
                found.push(entry.path());
            } else if depth > 0 {
                below(&entry.path(), depth - 1, word, found);
            }
        }
    }
    let mut found = Vec::new();
    let own = PathBuf::from(format!("{CGROUP}{}", own_cgroup()));
    below(own.parent().filter(|p| p.starts_with(CGROUP)).unwrap_or(&own), 3, word, &mut found);
    found
}

pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).map(|d| d.join(name)).find(|p| p.is_file())
}

/// A copy of this program: root filesystems have hard links to it.
fn probe(work: &Path) -> Result<PathBuf> {
    let me = std::env::current_exe().doing(|| "cannot find myself".into())?;
    let file = work.join("probe");
    fs::copy(&me, &file).doing(|| format!("cannot copy {}", me.display()))?;
    let program = fs::read(&file).doing(|| format!("cannot read {}", file.display()))?;
    if has_interpreter(&program) {
        return Err(Error::new("cannot use this program inside of containers", "it is not linked statically")
            .hint("build it in the project's folder, whose .cargo/config.toml links it so"));
    }
    Ok(file)
}

/// Whether an ELF file has a program header of type `PT_INTERP`.
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: usize = 3;
    let number = |at: usize, size: usize| {
        let bytes = elf.get(at..at + size).unwrap_or_default();
        bytes.iter().rev().fold(0_usize, |n, b| (n << 8) | usize::from(*b))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|n| number(start + n * size, 4) == PT_INTERP)
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mine = passwd.lines().find(|l| l.split(':').nth(2) == Some(&uid.to_string()))?;
    mine.split(':').next().map(str::to_owned)
}

/// The user's first range, when groups have the same one (as useradd makes it) and newuidmap is there.
fn subordinate(uid: u32) -> Option<(u32, u32)> {
    in_path("newuidmap")?;
    let mine = format!("{}:", user_name(uid)?);
    let range = |file: &str| {
        let all = fs::read_to_string(file).ok()?;
        let (first, count) = all.lines().find_map(|l| l.strip_prefix(&mine))?.split_once(':')?;
        Some((first.parse().ok()?, count.parse().ok()?))
    };
    range("/etc/subuid").filter(|r| range("/etc/subgid") == Some(*r))
}

/// Where a hybrid machine has its cgroup2, when that is not /sys/fs/cgroup.
fn hybrid_cgroup2() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let cgroup2 = mounts.lines().filter_map(|l| {
        let words: Vec<&str> = l.split(' ').collect();
        (words.get(2) == Some(&"cgroup2")).then(|| words.get(1).copied().unwrap_or("").to_owned())
    });
    let cgroup2: Vec<String> = cgroup2.collect();
    if cgroup2.iter().any(|m| m == CGROUP) { None } else { cgroup2.into_iter().next() }
}

/// Starts this program again where it must be: in a mount namespace with cgroup2 at /sys/fs/cgroup (hybrid machines),
/// and, when root asks for `--rootless`, as an unprivileged user in a cgroup of his own. Returns when all is right.
pub(crate) fn settle(rootless: bool, user: Option<&str>) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    if let Some(cgroup2) = hybrid_cgroup2() {
        if !root {
            return Err(Error::new("cannot judge here", format!("cgroup2 is at {cgroup2}, not at {CGROUP}"))
                .hint("start as root: it makes a private mount namespace, and drops to a user with --rootless"));
        }
        let script = "mount --make-rprivate / && mount --bind \"$0\" /sys/fs/cgroup && exec \"$@\"";
        return Err(again(["unshare", "-m", "sh", "-c", script, &cgroup2].map(OsString::from).to_vec()));
    }
    if root && rootless {
        return Err(again(become_user(user)?));
    }
    Ok(())
}

fn again(before: Vec<OsString>) -> Error {
    let me = match std::env::current_exe() {
        Ok(me) => me,
        Err(e) => return Error::new("cannot find myself", e),
    };
    let mut words = before.into_iter();
    let program = words.next().unwrap_or_default();
    let failed = Command::new(&program).args(words).arg(me).args(std::env::args_os().skip(1)).exec();
    Error::new(format!("cannot start {}", program.display()), failed).hint("install util-linux (unshare, setpriv)")
}

/// Turns root into the user, in a delegated cgroup such as a login session under systemd has; the shell stays root
/// outside of it and removes it afterwards.
const AS_USER: &str = "c=$0
(echo 0 >$c/session/cgroup.procs; exec \"$@\")
s=$?
echo 1 >$c/cgroup.kill
i=0
while grep -q 'populated 1' $c/cgroup.events && [ $((i += 1)) -lt 1000 ]; do sleep 0.01; done
find $c -depth -type d -exec rmdir {} +
exit $s";

fn become_user(user: Option<&str>) -> Result<Vec<OsString>> {
    let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let first = subuid.lines().filter_map(|l| l.split(':').next()).find(|n| *n != "root");
    let name = user.or(first).ok_or_else(|| {
        Error::new("cannot judge rootless", "no user has a range in /etc/subuid").hint("name one: --user NAME")
    })?;
    let passwd = fs::read_to_string("/etc/passwd").doing(|| "cannot read /etc/passwd".into())?;
    let entry = passwd.lines().find(|l| l.split(':').next() == Some(name));
    let fields: Vec<&str> = entry.map(|l| l.split(':').collect()).unwrap_or_default();
    let [_, _, uid, gid, _, home, ..] = fields[..] else {
        return Err(Error::new(format!("cannot judge as {name}"), "no such user"));
    };
    let cgroup = format!("{CGROUP}/kelp-conformance-{}", std::process::id());
    let session = format!("{cgroup}/session");
    fs::create_dir_all(&session).doing(|| format!("cannot make the cgroup {cgroup}"))?;
    let owned = Command::new("chown").args(["-R", &format!("{uid}:{gid}"), &cgroup]).status();
    owned.doing(|| format!("cannot give {cgroup} to {name}"))?;
    let mut words = ["sh", "-c", AS_USER, &cgroup, "setpriv"].map(OsString::from).to_vec();
    words.extend([format!("--reuid={uid}"), format!("--regid={gid}")].map(OsString::from));
    words.extend(["--init-groups", "--inh-caps=-all", "--", "env"].map(OsString::from));
    words.push(format!("HOME={home}").into());
    Ok(words)
}
