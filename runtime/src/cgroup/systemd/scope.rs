// SPDX-License-Identifier: Apache-2.0
//! A container's transient scope: how it is called, started, changed and stopped.
//!
//! Properties and methods: org.freedesktop.systemd1(5).

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{Error, Kind, Mount, error, mountinfo};
use super::bus::{Bus, Connection, Refusal, refused};
use super::keeper::Keeper;
use super::properties::Property;
use super::wire::{Body, Callee, Value};

const SERVICE: &str = "org.freedesktop.systemd1";

/// A scope, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// `kelp-ID.scope`
    pub unit: String,
    /// Whose systemd has it.
    pub bus: Bus,
}

/// Where a scope goes and what it is called, by linux.cgroupsPath: `SLICE:PREFIX:NAME`, any of which may be empty.
pub(super) fn name(id: &str, path: Option<&Path>, bus: Bus) -> Result<(Scope, String), Error> {
    let refuse = |because: String| {
        error(Kind::BadInput, "cannot name the container's scope", because)
            .hint("with --systemd-cgroup linux.cgroupsPath is SLICE:PREFIX:NAME, such as system.slice:kelp:web")
    };
    let path = path.map(Path::to_string_lossy).unwrap_or_default();
    let (slice, prefix, name) = match path.split(':').collect::<Vec<_>>().as_slice() {
        [""] => ("", "kelp", id),
        [slice, prefix, name] => (*slice, *prefix, if name.is_empty() { id } else { *name }),
        _ => return Err(refuse(format!("linux.cgroupsPath is {path:?}"))),
    };
    let slice = match (slice, bus) {
        ("", Bus::System) => "system.slice",
        ("", Bus::User) => "user.slice",
        (slice, _) if slice.ends_with(".slice") && !slice.contains('/') => slice,
        (slice, _) => return Err(refuse(format!("{slice:?} in linux.cgroupsPath is not a slice"))),
    };
    if name.ends_with(".slice") {
        return Err(refuse(format!("{name:?} in linux.cgroupsPath is a slice, and a container is not")));
    }
    let dash = if prefix.is_empty() { "" } else { "-" };
    let unit = format!("{}{dash}{}.scope", escape(prefix), escape(name));
    if unit.len() > 255 {
        return Err(refuse(format!("{unit} is longer than the name of a unit may be (255)")));
    }
    Ok((Scope { unit, bus }, slice.to_owned()))
}

/// What a unit's name may not have, as systemd-escape writes it.
fn escape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'-' | b'_' | b'.' => plain.push(byte.into()),
            _ => plain.push_str(&format!("\\x{byte:02x}")),
        }
    }
    plain
}

impl Scope {
    /// Starts it around a helper, and waits until it is there. Says where its cgroup is.
    pub(super) fn start(&self, properties: &[Property], mount: &Mount) -> Result<(Keeper, PathBuf), Error> {
        let keeper = Keeper::new().map_err(|errno| super::super::kernel(self.doing("start"), "clone3", errno))?;
        let mut properties = properties.to_vec();
        properties.push(("PIDs".to_owned(), Value::Numbers(vec![keeper.pid()])));
        let mut manager = Manager::open(self)?;
        manager.listen()?;
        let body = || Body::default().text(&self.unit).text("fail").properties(&properties).no_units();
        let mut started = manager.call("StartTransientUnit", &body())?;
        if started.as_ref().is_err_and(|refusal| refusal.name.ends_with(".UnitExists")) {
            // A scope that failed keeps its name until it is reset.
            let reset = manager.call("ResetFailedUnit", &Body::default().text(&self.unit))?;
            if reset.is_ok() {
                started = manager.call("StartTransientUnit", &body())?;
            }
        }
        let job = started.map_err(|refusal| self.explain(refused(&self.doing("start"), &refusal), &refusal))?;
        let result = manager.finished(&job)?;
        if result != "done" {
            return Err(error(Kind::Other, self.doing("start"), format!("systemd ended the job as {result:?}"))
                .hint(format!("journalctl {}-u {}", self.option(), self.unit)));
        }
        let dir = directory_of(keeper.pid(), mount).ok_or_else(|| {
            let because = format!("the cgroup of its process is not below {}", mount.at.display());
            error(Kind::Other, self.doing("find"), because)
        })?;
        Ok((keeper, dir))
    }

    /// Changes its properties until it ends.
    pub(super) fn change(&self, properties: &[Property]) -> Result<(), Error> {
        if properties.is_empty() {
            return Ok(());
        }
        let body = Body::default().text(&self.unit).bool(true).properties(properties);
        let changed = Manager::open(self)?.call("SetUnitProperties", &body)?;
        changed.map(drop).map_err(|refusal| refused(&self.doing("change"), &refusal))
    }

    /// Puts a process into it, or into a cgroup below it: for who may not write `cgroup.procs` from where he is.
    pub(super) fn attach(&self, pid: u32, below: &str) -> Result<(), Error> {
        let body = Body::default().text(&self.unit).text(below).numbers(&[pid]);
        let attached = Manager::open(self)?.call("AttachProcessesToUnit", &body)?;
        attached.map(drop).map_err(|refusal| refused(&self.doing("put a process into"), &refusal))
    }

    /// Stops it and waits until its name is free again. Gone already is stopped, too: systemd collects empty scopes.
    pub fn stop(&self) -> Result<(), Error> {
        let mut manager = Manager::open(self)?;
        manager.listen()?;
        match manager.call("StopUnit", &Body::default().text(&self.unit).text("replace"))? {
            Ok(job) => manager.finished(&job).map(drop),
            Err(refusal) if refusal.name.ends_with(".NoSuchUnit") => Ok(()),
            Err(refusal) => Err(refused(&self.doing("stop"), &refusal)),
        }
    }

    fn doing(&self, verb: &str) -> String {
        let whose = match self.bus {
            Bus::System => "the system's",
            Bus::User => "the user's",
        };
        format!("cannot {verb} {} of {whose} systemd", self.unit)
    }

    fn option(&self) -> &'static str {
        match self.bus {
            Bus::System => "",
            Bus::User => "--user ",
        }
    }

    fn explain(&self, error: Error, refusal: &Refusal) -> Error {
        match refusal.name.rsplit('.').next() {
            Some("UnitExists") => error.hint(format!(
                "another container has it, or is just ending: choose another id or linux.cgroupsPath; systemctl {}status {}",
                self.option(),
                self.unit
            )),
            Some("PropertyReadOnly" | "InvalidArgs") => {
                error.hint("an annotation org.systemd.property.* may not fit; systemd before 252 knows no idle CPUs")
            }
            Some("AccessDenied" | "InteractiveAuthorizationRequired") => {
                error.hint("only root may ask the system's systemd")
            }
            _ => error,
        }
    }
}

/// The cgroup of a process, as a directory.
fn directory_of(pid: u32, mount: &Mount) -> Option<PathBuf> {
    let own = mountinfo::parse_own(&fs::read(format!("/proc/{pid}/cgroup")).ok()?)?;
    mount.directory_of(&own)
}

/// Systemd's manager object, at the other end of a connection.
struct Manager<'a> {
    connection: Connection,
    scope: &'a Scope,
}

impl<'a> Manager<'a> {
    fn open(scope: &'a Scope) -> Result<Self, Error> {
        Ok(Self { connection: Connection::open(scope.bus)?, scope })
    }

    /// Asks to be told when jobs of our unit end. Before the job is made, for it may end at once.
    fn listen(&mut self) -> Result<(), Error> {
        let rule = format!(
            "type='signal',sender='{SERVICE}',interface='{SERVICE}.Manager',member='JobRemoved',arg2='{}'",
            self.scope.unit.replace('\'', "")
        );
        let bus = Callee {
            service: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            method: "AddMatch",
        };
        // One wait for both answers.
        let matched = self.connection.send(bus, &Body::default().text(&rule))?;
        let subscribed = self.connection.send(callee("Subscribe"), &Body::default())?;
        self.connection.must(matched, "listen on the message bus")?;
        self.connection.must(subscribed, "listen to systemd")?;
        Ok(())
    }

    /// Calls a method; its answer is one string or object path, or nothing.
    fn call(&mut self, method: &str, body: &Body) -> Result<Result<String, Refusal>, Error> {
        let serial = self.connection.send(callee(method), body)?;
        Ok(self.connection.answer(serial)?.map(|message| message.arguments().text().unwrap_or_default()))
    }

    /// Waits until the job (an object path) has ended; says how: JobRemoved(id, job, unit, result).
    fn finished(&mut self, job: &str) -> Result<String, Error> {
        self.connection.signal("JobRemoved", |message| {
            let mut arguments = message.arguments();
            arguments.u32()?;
            (arguments.text()? == job).then_some(())?;
            arguments.text()?;
            arguments.text()
        })
    }
}

fn callee(method: &str) -> Callee<'_> {
    Callee {
        service: SERVICE,
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        method,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: Option<&str>, bus: Bus) -> String {
        match name("c1", path.map(Path::new), bus) {
            Ok((scope, slice)) => format!("{} in {slice}", scope.unit),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_scope_is_named_by_the_path_of_three_parts() {
        assert_eq!(text(None, Bus::System), "kelp-c1.scope in system.slice");
        assert_eq!(text(Some(""), Bus::User), "kelp-c1.scope in user.slice");
        assert_eq!(text(Some("machine.slice:libpod:web"), Bus::System), "libpod-web.scope in machine.slice");
        assert_eq!(text(Some(":cri-containerd:web"), Bus::System), "cri-containerd-web.scope in system.slice");
        assert_eq!(text(Some("user-a.slice::"), Bus::User), "c1.scope in user-a.slice");
        assert_eq!(text(Some("a.slice:p:b+c/d"), Bus::User), "p-b\\x2bc\\x2fd.scope in a.slice");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for path in ["/docker/c1", "a.slice:b", "a.service:b:c", "x/a.slice:b:c", "a.slice:b:c.slice"] {
            assert!(text(Some(path), Bus::System).starts_with("error"), "{path}");
        }
        let long = format!("a.slice:b:{}", "x".repeat(255));
        assert!(text(Some(&long), Bus::System).contains("255"));
    }
}
