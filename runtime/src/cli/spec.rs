// SPDX-License-Identifier: Apache-2.0
//! `spec`: writes a config.json to begin with, as runc's.

use super::arguments::{Arguments, unknown_option};
use kelp_runtime::error::Doing;
use kelp_runtime::{Error, Result};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

/// The options of `spec`.
#[derive(Debug, Default)]
pub(crate) struct Write {
    bundle: Option<PathBuf>,
    rootless: bool,
}

pub(super) fn parse(arguments: &mut Arguments) -> Result<Write> {
    let mut write = Write::default();
    while let Some(option) = arguments.next_option()? {
        match option.as_str() {
            "bundle" | "b" => write.bundle = Some(arguments.path()?),
            "rootless" => write.rootless = arguments.switch()?,
            other => return Err(unknown_option(other, "spec")),
        }
    }
    arguments.end("spec")?;
    Ok(write)
}

pub(crate) fn write(write: &Write) -> Result<u8> {
    let path = write.bundle.clone().unwrap_or_default().join("config.json");
    let mut spec = example();
    if write.rootless {
        make_rootless(&mut spec);
    }
    let text = serde_json::to_string_pretty(&spec).map_err(|error| Error::new("cannot write JSON").because(error))?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| {
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        let cannot = Error::new(format!("cannot write {}", path.display()));
        match exists {
            true => cannot
                .because("File config.json exists. Remove it first")
                .hint("it is not overwritten: remove it, or name another bundle with --bundle"),
            false => cannot.because(error),
        }
    })?;
    writeln!(file, "{text}").doing(|| format!("cannot write {}", path.display()))?;
    Ok(0)
}

/// What an unprivileged user can have: his own ids, the host's network, no cgroup, /sys as it is.
fn make_rootless(spec: &mut Value) {
    use kelp_sys::rustix::process::{getegid, geteuid};
    let own = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    let linux = &mut spec["linux"];
    linux["uidMappings"] = own(geteuid().as_raw());
    linux["gidMappings"] = own(getegid().as_raw());
    linux["namespaces"] = kinds(&["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    let Some(mounts) = spec["mounts"].as_array_mut() else { return };
    for mount in mounts {
        if mount["destination"] == "/sys" {
            // With all below it read-only: the user's cgroups are there too, which he may write.
            *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro", "rro"] });
        }
        // Group 5, tty, is not mapped.
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|option| option != "gid=5");
        }
    }
}

fn kinds(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "type": name })).collect()
}

fn example() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "kelp",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": kinds(&["pid", "network", "ipc", "uts", "mount", "cgroup"]),
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
          "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
    ])
}
