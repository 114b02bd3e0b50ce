// SPDX-License-Identifier: Apache-2.0
//! The OCI runtime that has a container: Kelp's own, called as a library, or another program, called by its command line.

use super::record::Record;
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use kelp_runtime::cgroup::{Cgroup, Statistics};
use kelp_sys::rustix::fs::{Access, access};
use oci_spec::runtime::LinuxResources;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A container, by its runtime.
#[derive(Debug)]
pub struct Runtime<'a> {
    caller: &'a Caller,
    record: &'a Record,
}

/// Where the runtime keeps the container's state: that of another program has another format, and a place of its own.
pub fn root(caller: &Caller, record: &Record) -> PathBuf {
    match record.runtime.as_ref().and_then(|path| path.file_name()) {
        Some(name) => caller.places.run.join(format!("runtime-{}", name.to_string_lossy())),
        None => caller.places.runtime(),
    }
}

/// The runtime that has a container whose record is lost: which of the folders knows it. `None`: our own, or none.
pub fn trace(caller: &Caller, id: &str) -> Option<PathBuf> {
    let others = std::fs::read_dir(&caller.places.run).ok()?;
    others.filter_map(|entry| entry.ok()).filter(|entry| entry.path().join(id).exists()).find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(PathBuf::from(name.strip_prefix("runtime-")?))
    })
}

/// The program of `--runtime`: a path, or a name that is looked for as a shell does.
pub fn find(caller: &Caller, program: &Path) -> Result<PathBuf> {
    let doing = || format!("cannot use the runtime {}", program.display());
    let runs = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.components().count() > 1 || program.is_absolute() {
        let file = std::path::absolute(program).doing(doing)?;
        let because = if file.exists() { "it is no program that you may execute" } else { "there is no such file" };
        return Some(file).filter(runs).ok_or_else(|| unknown(doing(), program, because));
    }
    let found = caller.environment.in_path(program).find(runs);
    found.ok_or_else(|| unknown(doing(), program, "no folder of PATH has it"))
}

fn unknown(doing: String, program: &Path, because: &str) -> Error {
    let because = format!("unknown or invalid runtime name: {}; {because}", program.display());
    Error::new(Kind::NotFound, doing, because).hint("--runtime takes a program: runc, crun, /usr/bin/crun")
}

impl<'a> Runtime<'a> {
    /// The runtime of this container.
    pub fn of(caller: &'a Caller, record: &'a Record) -> Self {
        Self { caller, record }
    }

    /// Stops all its processes where they are.
    pub fn pause(&self) -> Result<()> {
        match &self.record.runtime {
            None => Ok(self.caller.runtime().pause(&self.record.id)?),
            Some(_) => self.call("pause", &[], "").map(drop),
        }
    }

    /// Lets them go on.
    pub fn resume(&self) -> Result<()> {
        match &self.record.runtime {
            None => Ok(self.caller.runtime().resume(&self.record.id)?),
            Some(_) => self.call("resume", &[], "").map(drop),
        }
    }

    /// Sends its first process a signal.
    pub fn kill(&self, signal: i32) -> Result<()> {
        match &self.record.runtime {
            None => Ok(self.caller.runtime().kill(&self.record.id, signal, false)?),
            Some(_) => self.call_with("kill", &[], &[&signal.to_string()], "").map(drop),
        }
    }

    /// Kills what still runs of it, and removes all that the runtime keeps. What the runtime does not know is gone.
    pub fn delete(&self) -> Result<()> {
        if !root(self.caller, self.record).join(&self.record.id).exists() {
            return Ok(());
        }
        match &self.record.runtime {
            None => match self.caller.runtime().delete(&self.record.id, true) {
                Err(error) if error.kind() != kelp_runtime::Kind::NoSuchContainer => Err(error.into()),
                _ => Ok(()),
            },
            Some(_) => self.call("delete", &["--force"], "").map(drop),
        }
    }

    /// The pids of its processes, as the host sees them.
    pub fn processes(&self) -> Result<Vec<i32>> {
        match &self.record.runtime {
            None => Ok(self.caller.runtime().processes(&self.record.id)?),
            Some(_) => self.ask("ps", &["--format", "json"]),
        }
    }

    /// Other limits. Returns what of them cgroup v2 has nothing for.
    pub fn update(&self, resources: &LinuxResources) -> Result<Vec<&'static str>> {
        if self.record.runtime.is_none() {
            return Ok(self.caller.runtime().update(&self.record.id, resources)?);
        }
        let json = serde_json::to_string(resources)
            .map_err(|error| Error::new(Kind::Other, "cannot write the limits as JSON", error))?;
        self.call("update", &["--resources", "-"], &json).map(|_| Vec::new())
    }

    /// What it has used. `pid`: its program, which another runtime has put into a cgroup that we must find.
    pub fn statistics(&self, pid: i32) -> Result<Statistics> {
        if self.record.runtime.is_none() {
            return Ok(self.caller.runtime().statistics(&self.record.id)?);
        }
        let doing = || format!("cannot read the statistics of container {}", self.record.name);
        let cgroup = Cgroup::of_process(pid)?;
        let cgroup = cgroup.ok_or_else(|| Error::new(Kind::WrongState, doing(), "it has no cgroup of its own"))?;
        Ok(cgroup.statistics()?)
    }

    /// Its status and its program's pid, as another program says.
    pub fn state(&self) -> Result<(String, i32)> {
        let state: Value = self.ask("state", &[])?;
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        Ok((state["status"].as_str().unwrap_or_default().to_owned(), pid))
    }

    fn ask<T: DeserializeOwned>(&self, verb: &str, options: &[&str]) -> Result<T> {
        let said = self.call(verb, options, "")?;
        let doing = || format!("cannot understand what {verb} of container {} says", self.record.name);
        serde_json::from_str(&said).map_err(|error| Error::new(Kind::Other, doing(), error))
    }

    /// `RUNTIME --root ROOT VERB OPTIONS ID`
    fn call(&self, verb: &str, options: &[&str], input: &str) -> Result<String> {
        self.call_with(verb, options, &[], input)
    }

    /// `RUNTIME --root ROOT VERB OPTIONS ID OPERANDS`
    fn call_with(&self, verb: &str, options: &[&str], operands: &[&str], input: &str) -> Result<String> {
        let path = self.record.runtime.as_deref().unwrap_or(std::path::Path::new("kelp-runtime"));
        let doing = || format!("cannot {verb} container {} with {}", self.record.name, path.display());
        let mut command = Command::new(path);
        command.arg("--root").arg(root(self.caller, self.record)).arg(verb).args(options).arg(&self.record.id);
        command.args(operands);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().doing(doing)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).doing(doing)?;
        }
        let output = child.wait_with_output().doing(doing)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::new(Kind::Other, doing(), if said.is_empty() { output.status.to_string() } else { said }))
    }
}
