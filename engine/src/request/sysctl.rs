// SPDX-License-Identifier: Apache-2.0
//! `--sysctl KEY=VALUE`: which kernel parameters are of a namespace, by name.

/// The namespace that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The network's.
    Network,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// The names of the machine.
    Uts,
}

/// Reads `KEY=VALUE`, the key with dots or slashes.
pub fn parse(text: &str) -> Result<(String, String), String> {
    let not_allowed = || format!("sysctl '{text}' is not allowed");
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{}; expected KEY=VALUE", not_allowed()))?;
    if key == "kernel.hostname" || key == "kernel/hostname" {
        return Err(format!("{}: --hostname sets the name of the container", not_allowed()));
    }
    match owner(key).is_some() && is_path(key) && !value.trim().is_empty() {
        true => Ok((key.to_owned(), value.to_owned())),
        false if value.trim().is_empty() => Err(format!("{}: it has no value", not_allowed())),
        false => Err(format!("{}: {key} belongs to the whole machine, not to a namespace", not_allowed())),
    }
}

/// The owner of a parameter, if that is a namespace; any other would change the host.
pub fn owner(key: &str) -> Option<Owner> {
    let key = key.replace('/', ".");
    let ipc = ["fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm"];
    match key.as_str() {
        "kernel.domainname" => Some(Owner::Uts),
        _ if key.starts_with("net.") => Some(Owner::Network),
        _ if ipc.iter().any(|start| key.starts_with(start)) => Some(Owner::Ipc),
        _ => None,
    }
}

/// Whether it names a file below /proc/sys: no part of it is empty, and so none is `..`.
fn is_path(key: &str) -> bool {
    let good = |c: char| c.is_ascii_graphic() && c != '\\';
    key.chars().all(good) && !key.split(['.', '/']).any(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_of_a_namespace_are_taken() {
        for good in ["net.ipv4.ip_forward=1", "net/core/somaxconn=9", "kernel.shmmax=1", "kernel.domainname=x"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for wrong in ["net.ipv4.ip_forward", "net.ipv4.ip_forward=", "foo", "foo=1", "vm.swappiness=1", "=1"] {
            assert!(parse(wrong).unwrap_err().contains("is not allowed"), "{wrong}");
        }
        assert!(parse("net/ipv4/../../kernel/hostname=x").is_err() && parse("net..x=1").is_err());
        assert!(parse("kernel.hostname=x").unwrap_err().contains("--hostname"));
    }
}
