// SPDX-License-Identifier: Apache-2.0
//! The programs that take part: ours, the peers on this machine, and the C files of this folder, compiled afresh.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Doing, Error, Result};
use crate::timing::{Line, output};

/// An OCI runtime with runc's command line.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Everything that was found. Absent peers are left out of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) floor: PathBuf,
    pub(crate) meter: PathBuf,
    pub(crate) busybox: PathBuf,
    /// kelp-runtime first, then the peers.
    pub(crate) runtimes: Vec<Runtime>,
    pub(crate) kelp: Option<PathBuf>,
    pub(crate) shim: Option<PathBuf>,
    pub(crate) podman: Option<PathBuf>,
    pub(crate) bwrap: Option<PathBuf>,
}

/// In the folder of the bench itself (`target/release`) or in `also`, else in PATH.
fn ours(name: &str, also: Option<&Path>) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|e| Some(e.parent()?.join(name)));
    let also = also.map(|d| d.join(name));
    also.into_iter().chain(beside).find(|p| p.is_file()).or_else(|| in_path(name))
}

pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).map(|d| d.join(name)).find(|p| p.is_file())
}

impl Tools {
    /// Compiles into `work`; `programs`: where ours are, when not beside the bench.
    pub(crate) fn find(work: &Path, programs: Option<&Path>) -> Result<Self> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|p| p.is_file());
        let busybox = busybox.ok_or_else(|| {
            Error::new("cannot make a root filesystem", "there is no busybox").hint("apt-get install busybox-static")
        })?;
        let mut runtimes = Vec::new();
        for name in ["kelp-runtime", "crun", "runc", "youki"] {
            let path = if name == "kelp-runtime" { ours(name, programs) } else { in_path(name) };
            runtimes.extend(path.map(|path| Runtime { name: name.into(), path }));
        }
        Ok(Self {
            floor: compile("floor", include_str!("../floor.c"), work)?,
            meter: compile("meter", include_str!("../meter.c"), work)?,
            busybox,
            runtimes,
            kelp: ours("kelp", programs),
            shim: ours("kelp-shim", programs),
            podman: in_path("podman"),
            bwrap: in_path("bwrap"),
        })
    }

    /// One line per program: its name and the first line of `--version`.
    pub(crate) fn versions(&self) -> Vec<String> {
        let mut all: Vec<(&str, &Path)> = self.runtimes.iter().map(|r| (r.name.as_str(), r.path.as_path())).collect();
        all.extend(
            [("kelp", &self.kelp), ("podman", &self.podman), ("bwrap", &self.bwrap)]
                .into_iter()
                .filter_map(|(name, path)| Some((name, path.as_deref()?))),
        );
        let errors = self.floor.with_file_name("version");
        all.into_iter().map(|(name, path)| version(name, path, &errors)).collect()
    }
}

fn version(name: &str, path: &Path, errors: &Path) -> String {
    let line = Line::new(Path::new("/"), [path.as_os_str(), "--version".as_ref()]);
    // A program that cannot say its version is shown without one.
    let said = output(&line, errors).unwrap_or_default();
    let line = said.lines().next().unwrap_or("(no --version)").trim().to_owned();
    if line.starts_with(name) { line } else { format!("{name} {line}") }
}

fn compile(name: &str, source: &str, work: &Path) -> Result<PathBuf> {
    let c = work.join(format!("{name}.c"));
    let program = work.join(name);
    std::fs::write(&c, source).doing(|| format!("cannot write {}", c.display()))?;
    let out = Command::new("cc").args(["-O2", "-static", "-o"]).args([&program, &c]).output();
    let out = out.map_err(|e| {
        Error::new(format!("cannot compile {name}.c"), e)
            .hint("apt-get install gcc libc6-dev (any C compiler named cc)")
    })?;
    match out.status.success() {
        true => Ok(program),
        false => Err(Error::new(format!("cannot compile {name}.c"), String::from_utf8_lossy(&out.stderr))),
    }
}
