// SPDX-License-Identifier: Apache-2.0
//! Which namespaces are new and which are joined.
//!
//! Spec: config-linux.md "Namespaces".

use super::path_text;
use crate::error::{Error, Result};
use kelp_sys::clone::Namespaces;
use oci_spec::runtime::{Linux, LinuxNamespaceType};
use std::ffi::CString;

/// A namespace that exists already.
#[derive(Debug)]
pub struct Joined {
    /// Its kind.
    pub namespace: Namespaces,
    /// Where it can be opened.
    pub path: CString,
}

pub(super) fn plan(linux: &Linux) -> Result<(Namespaces, Vec<Joined>)> {
    let mut new = Namespaces::NONE;
    let mut seen = Namespaces::NONE;
    let mut joins = Vec::new();
    for namespace in linux.namespaces().iter().flatten() {
        let kind = kind_of(namespace.typ());
        if seen.has(kind) {
            return Err(Error::bad_input("cannot use linux.namespaces").because(format!(
                "malformed spec file: duplicated ns {}: two are of that type",
                word(namespace.typ())
            )));
        }
        seen = seen.with(kind);
        match namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty()) {
            None => new = new.with(kind),
            Some(path) if path.is_absolute() => joins.push(Joined { namespace: kind, path: path_text(path)? }),
            Some(path) => {
                return Err(Error::bad_input(format!("cannot join the namespace {}", path.display()))
                    .because("its path must be absolute"));
            }
        }
    }
    // A user namespace is entered first: it gives the right to enter the others. The mounts come last: paths change with them.
    joins.sort_by_key(|joined| match joined.namespace {
        Namespaces::USER => 0,
        Namespaces::MOUNT => 2,
        _ => 1,
    });
    Ok((new, joins))
}

/// The specification's word for it.
fn word(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}

fn kind_of(kind: LinuxNamespaceType) -> Namespaces {
    match kind {
        LinuxNamespaceType::Mount => Namespaces::MOUNT,
        LinuxNamespaceType::Cgroup => Namespaces::CGROUP,
        LinuxNamespaceType::Uts => Namespaces::UTS,
        LinuxNamespaceType::Ipc => Namespaces::IPC,
        LinuxNamespaceType::User => Namespaces::USER,
        LinuxNamespaceType::Pid => Namespaces::PID,
        LinuxNamespaceType::Network => Namespaces::NETWORK,
        LinuxNamespaceType::Time => Namespaces::TIME,
    }
}
