// SPDX-License-Identifier: Apache-2.0
//! Sysctls that belong to a namespace of the container; all others would change the host.
//!
//! Spec: config-linux.md "Sysctl". Kernel: ipc_namespaces(7), network_namespaces(7), proc(5).

use super::{Joined, text_of};
use crate::error::{Error, Result};
use kelp_sys::clone::Namespaces;
use std::collections::HashMap;
use std::ffi::CString;

const IPC: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.msg_next_id",
];

pub(super) fn plan(
    sysctls: Option<&HashMap<String, String>>,
    new: Namespaces,
    joins: &[Joined],
) -> Result<Vec<(CString, CString)>> {
    let own = |kind: Namespaces| new.has(kind) || joins.iter().any(|joined| joined.namespace == kind);
    let mut names: Vec<_> = sysctls.into_iter().flatten().collect();
    names.sort();
    names
        .into_iter()
        .map(|(name, value)| {
            check(name, &own)?;
            Ok((path_of(name)?, text_of("", value)?))
        })
        .collect()
}

fn check(name: &str, own: &dyn Fn(Namespaces) -> bool) -> Result<()> {
    let dotted = name.replace('/', ".");
    let (kind, word) = if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        (Namespaces::IPC, "ipc")
    } else if dotted.starts_with("net.") {
        (Namespaces::NETWORK, "network")
    } else if dotted == "kernel.domainname" {
        (Namespaces::UTS, "uts")
    } else if dotted == "kernel.hostname" {
        // As in runc: two fields that could say different names are one too many.
        return Err(Error::bad_input(format!("cannot set sysctl {name}"))
            .because(format!("sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"))
            .hint("set hostname in config.json"));
    } else {
        return Err(Error::bad_input(format!("cannot set sysctl {name}")).because(format!(
            "sysctl {name:?} is not in a separate kernel namespace: setting it would change the host"
        )));
    };
    if own(kind) {
        return Ok(());
    }
    let because = match word {
        "ipc" => format!("sysctl {name:?} is not allowed in the hosts ipc namespace: it would change the host"),
        _ => format!("sysctl {name:?} not allowed in host {word} namespace: it would change the host"),
    };
    Err(Error::bad_input(format!("cannot set sysctl {name}")).because(because))
}

/// As sysctl(8) reads names: the separator is whichever of `.` and `/` comes first; the other is part of a name.
fn path_of(name: &str) -> Result<CString> {
    let swap = |byte: char| match byte {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let dots_first = name.find(['.', '/']).is_some_and(|first| name[first..].starts_with('.'));
    let path: String = if dots_first { name.chars().map(swap).collect() } else { name.into() };
    if path.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(Error::bad_input(format!("cannot set sysctl {name}")).because("it is no name of a sysctl"));
    }
    text_of("sys/", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_an_interface_name_is_written_with_a_slash() {
        assert_eq!(
            path_of("net.ipv4.conf.eth0/1.forwarding").unwrap().to_str().unwrap(),
            "sys/net/ipv4/conf/eth0.1/forwarding"
        );
        assert_eq!(path_of("net/ipv4/ip_forward").unwrap().to_str().unwrap(), "sys/net/ipv4/ip_forward");
    }

    #[test]
    fn a_sysctl_that_would_change_the_host_is_refused() {
        let all = |_: Namespaces| true;
        assert!(check("kernel.panic", &all).is_err());
        assert!(check("net.ipv4.ip_forward", &all).is_ok());
        assert!(check("kernel.domainname", &all).is_ok() && check("kernel.hostname", &all).is_err());
        assert!(check("net.ipv4.ip_forward", &|kind| kind != Namespaces::NETWORK).is_err());
        assert!(path_of("net/../kernel/panic").is_err());
    }
}
