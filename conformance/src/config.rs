// SPDX-License-Identifier: Apache-2.0
//! The config that every case begins with, and short words for altering it.

use serde_json::{Value, json};

use crate::place::Place;

/// The capabilities of the container's program unless a case asks for others.
const CAPABILITIES: [&str; 4] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"];

/// A config that every conforming runtime must be able to run: all namespaces, the default file systems, the probe.
pub(crate) fn base(place: &Place) -> Value {
    let caps = json!(CAPABILITIES);
    let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|t| json!({"type": t}));
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/probe", "report"],
            "env": ["PATH=/bin:/usr/bin", "HOME=/"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "conformance",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "namespaces": namespaces,
        },
    });
    if place.rootless {
        add_namespace(&mut config, json!({"type": "user"}));
        config["linux"]["uidMappings"] = mappings(place.uid, place.range);
        config["linux"]["gidMappings"] = mappings(place.gid, place.range);
    }
    config
}

/// Our own id as 0, and the subordinate ones from 1 on.
fn mappings(id: u32, range: Option<(u32, u32)>) -> Value {
    let mut all = vec![json!({"containerID": 0, "hostID": id, "size": 1})];
    all.extend(range.map(|(first, count)| json!({"containerID": 1, "hostID": first, "size": count})));
    Value::Array(all)
}

/// The mapping that cases for root use when they want a user namespace.
pub(crate) fn remap(config: &mut Value) {
    add_namespace(config, json!({"type": "user"}));
    for ids in ["uidMappings", "gidMappings"] {
        config["linux"][ids] = json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
    }
}

pub(crate) fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

fn array<'a>(value: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    if !value[key].is_array() {
        value[key] = json!([]);
    }
    match &mut value[key] {
        Value::Array(array) => array,
        _ => unreachable!("it was just made an array"),
    }
}

pub(crate) fn add_mount(config: &mut Value, mount: Value) {
    array(config, "mounts").push(mount);
}

/// A tmpfs at /m with these options.
pub(crate) fn tmpfs(config: &mut Value, options: &[&str]) {
    add_mount(config, mount("/m", "tmpfs", "tmpfs", options));
}

/// Replaces the options of the mount at `destination`.
pub(crate) fn set_options(config: &mut Value, destination: &str, options: &[&str]) {
    for m in array(config, "mounts") {
        if m["destination"] == destination {
            m["options"] = json!(options);
        }
    }
}

pub(crate) fn drop_mount(config: &mut Value, destination: &str) {
    array(config, "mounts").retain(|m| m["destination"] != destination);
}

pub(crate) fn add_namespace(config: &mut Value, namespace: Value) {
    array(&mut config["linux"], "namespaces").push(namespace);
}

pub(crate) fn drop_namespace(config: &mut Value, kind: &str) {
    array(&mut config["linux"], "namespaces").retain(|n| n["type"] != kind);
}

/// What the probe does: its steps.
pub(crate) fn steps(config: &mut Value, steps: &[&str]) {
    let args: Vec<&str> = std::iter::once("/probe").chain(steps.iter().copied()).collect();
    config["process"]["args"] = json!(args);
}

/// A container without a pid namespace: its program is an ordinary process, which signals
/// end as they end any other.
pub(crate) fn without_pid_namespace(config: &mut Value) {
    drop_namespace(config, "pid");
    // A user namespace without a pid namespace of its own may not mount proc: it gets the host's.
    for m in array(config, "mounts") {
        if m["destination"] == "/proc" {
            *m = mount("/proc", "bind", "/proc", &["rbind"]);
        }
    }
}

/// Removes a key of an object.
pub(crate) fn remove(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
}
