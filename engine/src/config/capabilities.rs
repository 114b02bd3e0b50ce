// SPDX-License-Identifier: Apache-2.0
//! Which capabilities a container has: Docker's fourteen, plus `--cap-add`, minus `--cap-drop`.

use crate::error::{Error, Kind, Result};
use oci_spec::runtime::{Capabilities, Capability};

/// What Docker gives: enough for package managers and servers, nothing that reaches the host.
const DEFAULT: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// All that Linux has: 0 (CHOWN) to 40 (CHECKPOINT_RESTORE).
const ALL: [Capability; 41] = [
    Capability::AuditControl,
    Capability::AuditRead,
    Capability::AuditWrite,
    Capability::BlockSuspend,
    Capability::Bpf,
    Capability::CheckpointRestore,
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::Kill,
    Capability::Lease,
    Capability::LinuxImmutable,
    Capability::MacAdmin,
    Capability::MacOverride,
    Capability::Mknod,
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetRaw,
    Capability::Perfmon,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysModule,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Syslog,
    Capability::WakeAlarm,
];

/// The container's set. ALL is added or dropped first, then the others one by one, as in Docker.
pub(crate) fn decide(privileged: bool, add: &[String], drop: &[String]) -> Result<Capabilities> {
    let has_all = |names: &[String]| names.iter().any(|name| is_all(name));
    let (add_all, drop_all) = (has_all(add), has_all(drop));
    let mut set: Capabilities = match (privileged || add_all, drop_all) {
        (true, false) => ALL.into_iter().collect(),
        (false, false) => DEFAULT.into_iter().collect(),
        (_, true) => Capabilities::new(),
    };
    for name in drop.iter().filter(|name| !is_all(name)) {
        set.remove(&read(name, "--cap-drop")?);
    }
    for name in add.iter().filter(|name| !is_all(name)) {
        set.insert(read(name, "--cap-add")?);
    }
    Ok(set)
}

/// Whether there is a capability of this name; ALL means each of them.
pub(super) fn is_known(name: &str) -> bool {
    is_all(name) || read(name, "--cap-add").is_ok()
}

fn is_all(name: &str) -> bool {
    matches!(name.to_ascii_uppercase().as_str(), "ALL" | "CAP_ALL")
}

/// Every capability.
pub(super) fn all() -> Capabilities {
    ALL.into_iter().collect()
}

fn read(name: &str, flag: &str) -> Result<Capability> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    ALL.into_iter().find(|known| known.to_string() == bare).ok_or_else(|| {
        Error::new(Kind::BadInput, format!("cannot use {flag} {name}"), format!("{name} is not a capability"))
            .hint("names are those of capabilities(7), as NET_ADMIN, or ALL")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut names: Vec<_> =
            decide(false, &owned(add), &owned(drop)).unwrap().iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn names_have_any_case_and_prefix() {
        assert_eq!(names(&["net_admin", "CAP_SYS_TIME"], &["all"]), ["NET_ADMIN", "SYS_TIME"]);
    }

    #[test]
    fn all_minus_one_and_default_minus_one() {
        assert_eq!(names(&["ALL"], &["chown"]).len(), 40);
        assert_eq!(names(&[], &["chown"]).len(), 13);
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        assert!(decide(false, &["FLY".to_owned()], &[]).is_err());
    }
}
