// SPDX-License-Identifier: Apache-2.0
//! Who answers the notifications of a filter, and how the listener gets there.
//!
//! Init loads the filter and sends the listener to the runtime, which sends it on, with the container's state, to the socket
//! that the profile names.
//! Spec: config-linux.md "Seccomp", "The Container Process State". Kernel: seccomp_unotify(2).

use super::Refused;
use crate::error::{Doing, Error, Result};
use crate::state::State;
use kelp_sys::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where a listener goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// `listenerPath`: a socket on which somebody waits for listeners.
    pub path: PathBuf,
    /// `listenerMetadata`: for whoever that is.
    pub metadata: Option<String>,
}

/// The spec's container process state.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a State,
}

/// The agent that the profile needs; none, if it notifies nobody. A relative path begins at `from`.
///
/// # Errors
/// A profile that notifies, and does not say whom, or of what init itself must call.
pub fn agent(profile: &LinuxSeccomp, from: &Path) -> Result<Option<Agent>> {
    check(profile).map_err(|refused| refused.in_doing("cannot use linux.seccomp"))?;
    let path = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let path = path.filter(|_| rules(profile).any(notifies));
    Ok(path.map(|path| Agent { path: from.join(path), metadata: profile.listener_metadata().clone() }))
}

fn rules(profile: &LinuxSeccomp) -> impl Iterator<Item = &LinuxSyscall> {
    profile.syscalls().iter().flatten()
}

fn notifies(rule: &LinuxSyscall) -> bool {
    rule.action() == LinuxSeccompAction::ScmpActNotify
}

fn names(rule: &LinuxSyscall, call: &str) -> bool {
    rule.names().iter().any(|name| name == call)
}

fn check(profile: &LinuxSeccomp) -> std::result::Result<(), Refused> {
    let nowhere = profile.listener_path().as_ref().is_none_or(|path| path.as_os_str().is_empty());
    let metadata = profile.listener_metadata().as_ref().is_some_and(|metadata| !metadata.is_empty());
    if nowhere && metadata {
        return Err(Refused::new("listenerMetadata is set, and listenerPath is not"));
    }
    if !rules(profile).any(notifies) {
        return Ok(());
    }
    if nowhere {
        return Err(Refused::new("an action is SCMP_ACT_NOTIFY, and listenerPath is not set")
            .hint("it names the socket of the program that answers the notifications"));
    }
    // As runc, with which such a profile never starts; a profile shall mean the same everywhere.
    if rules(profile).any(|rule| notifies(rule) && names(rule, "write")) {
        return Err(Refused::new("SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    }
    if lets_send(profile) {
        return Ok(());
    }
    Err(Refused::new("an action is SCMP_ACT_NOTIFY, and sendmsg is not allowed without condition")
        .hint("init sends the listener with it when the filter is in force already: allow sendmsg"))
}

/// Whether sendmsg(2) passes whatever its arguments are.
fn lets_send(profile: &LinuxSeccomp) -> bool {
    let passes = |action| matches!(action, LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog);
    let mut about = rules(profile).filter(|rule| names(rule, "sendmsg")).peekable();
    let all_pass = |rule: &LinuxSyscall| passes(rule.action());
    match about.peek() {
        None => passes(profile.default_action()),
        Some(_) if passes(profile.default_action()) => about.all(all_pass),
        Some(_) => {
            let mut unconditional = false;
            about.all(|rule| {
                unconditional |= rule.args().as_ref().is_none_or(Vec::is_empty);
                all_pass(rule)
            }) && unconditional
        }
    }
}

/// Gives a listener that init has sent to the agent.
pub(crate) fn hand_over(agent: Option<&Agent>, listener: &OwnedFd, pid: i32, state: &State) -> Result<()> {
    let nobody = || Error::new("cannot hand the seccomp listener over").because("the profile names no agent");
    agent.ok_or_else(nobody)?.give(listener, pid, state)
}

impl Agent {
    /// Sends the listener and the state: one message to a connection that then is closed.
    ///
    /// # Errors
    /// Nobody listens at the socket, or he goes away.
    fn give(&self, listener: &OwnedFd, pid: i32, state: &State) -> Result<()> {
        let doing = || format!("cannot hand the seccomp listener to {}", self.path.display());
        let message = ContainerProcessState {
            oci_version: &state.oci_version,
            fds: ["seccompFd"],
            pid,
            metadata: self.metadata.as_deref(),
            state,
        };
        let text = serde_json::to_vec(&message).map_err(|error| Error::new(doing()).because(error))?;
        let socket = self.connect().map_err(|errno| {
            let error = Error::new(doing()).because(format!(
                "failed to connect with seccomp agent specified in the seccomp profile: dial unix {}: connect: {}",
                self.path.display(),
                std::io::Error::from(errno)
            ));
            error.hint("linux.seccomp.listenerPath must name a stream socket on which the answering program listens")
        })?;
        let sent = kelp_sys::socket::send(socket.as_fd(), &text, &[listener.as_fd()]).doing(doing)?;
        // A stream takes what it has room for; the descriptor went with the first byte.
        std::fs::File::from(socket).write_all(text.get(sent..).unwrap_or_default()).doing(doing)
    }

    /// Through its folder's descriptor: an address has room for 107 bytes, and paths are longer.
    fn connect(&self) -> std::result::Result<OwnedFd, Errno> {
        let name = self.path.file_name().ok_or(Errno::INVAL)?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let folder = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new(&short)?)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn agent_of(profile: Value) -> Result<Option<Agent>> {
        agent(&serde_json::from_value(profile).unwrap(), Path::new("/here"))
    }

    fn notify(names: &[&str]) -> Value {
        json!({ "names": names, "action": "SCMP_ACT_NOTIFY" })
    }

    #[test]
    fn a_profile_that_notifies_says_whom() {
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "agent.sock", "listenerMetadata": "m",
            "syscalls": [notify(&["mkdir"])] });
        let expected = Agent { path: "/here/agent.sock".into(), metadata: Some("m".into()) };
        assert_eq!(agent_of(profile).unwrap(), Some(expected));
        let unused = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent" });
        assert_eq!(agent_of(unused).unwrap(), None);
    }

    #[test]
    fn a_listener_that_could_not_be_handed_over_is_refused_before_anything_is_made() {
        let sends = json!({ "names": ["sendmsg"], "action": "SCMP_ACT_ALLOW" });
        let only_some = json!({ "names": ["sendmsg"], "action": "SCMP_ACT_ALLOW", "args": [
            { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] });
        let cases = [
            ("SCMP_ACT_ALLOW", Some("/a"), json!([notify(&["write"])]), Some("write")),
            ("SCMP_ACT_ALLOW", Some("/a"), json!([notify(&["sendmsg"])]), Some("sendmsg")),
            ("SCMP_ACT_ERRNO", Some("/a"), json!([notify(&["mkdir"])]), Some("sendmsg")),
            ("SCMP_ACT_ERRNO", Some("/a"), json!([notify(&["mkdir"]), only_some]), Some("sendmsg")),
            ("SCMP_ACT_ERRNO", Some("/a"), json!([notify(&["mkdir"]), sends]), None),
            ("SCMP_ACT_ALLOW", None, json!([notify(&["mkdir"])]), Some("listenerPath")),
        ];
        for (default, path, rules, named) in cases {
            let profile = json!({ "defaultAction": default, "listenerPath": path, "syscalls": rules });
            match (agent_of(profile), named) {
                (Err(error), Some(named)) => assert!(format!("{error:#}").contains(named), "{error:#}"),
                (result, named) => assert_eq!(result.is_ok(), named.is_none(), "{default} {rules}"),
            }
        }
        let lost = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m" });
        assert!(agent_of(lost).unwrap_err().to_string().contains("listenerMetadata"));
    }
}
