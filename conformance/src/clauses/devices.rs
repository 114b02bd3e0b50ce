// SPDX-License-Identifier: Apache-2.0
//! config-linux.md: devices, default devices, network devices.

use serde_json::json;

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, Need, ensure, same};
use crate::config::{remove, steps};
use crate::trial::Trial;

const DEVICES: Chapter = Chapter::new(Document::ConfigLinux, "Devices");
const DEFAULT: Chapter = Chapter::new(Document::ConfigLinux, "Default Devices");
const NETWORK: Chapter = Chapter::new(Document::ConfigLinux, "Network Devices");

const ALSO: &str = "In addition to any devices configured with this setting, the runtime MUST also supply";

const NO_DEVICES: Mutation = Mutation::Config(|c| remove(&mut c["linux"], "devices"));
const NO_NODES: Mutation = Mutation::Facts(|f| f.nodes.clear());

pub(super) const CASES: &[Case] = &[
    DEVICES.says("devices-char", "devices (array of objects, OPTIONAL) lists devices that MUST be available in the container.",
        |t| {
            let facts = t.look(|c| c["linux"]["devices"] = json!([{"path": "/dev/made", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 0, "gid": 0}]))?;
            let node = facts.node("/dev/made")?;
            same("type and numbers", (node.kind, node.major, node.minor), ('c', 1, 5))
        },
        &[NO_DEVICES, NO_NODES]).needs(&[Need::Root]),
    DEVICES.says("devices-mode-and-owner", "fileMode (uint32, OPTIONAL) - file mode for the device. uid (uint32, OPTIONAL) - id of device owner in the container namespace.",
        |t| {
            let facts = t.look(|c| c["linux"]["devices"] = json!([{"path": "/dev/made", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8}]))?;
            let node = facts.node("/dev/made")?;
            same("mode, uid and gid", (node.mode, node.uid, node.gid), (0o640, 7, 8))
        },
        &[Mutation::Config(|c| c["linux"]["devices"][0]["fileMode"] = json!(0o666)), Mutation::Config(|c| c["linux"]["devices"][0]["uid"] = json!(0))]).needs(&[Need::Root]),
    DEVICES.says("devices-fifo", "type (string, REQUIRED) - type of device: c, b, u or p.",
        |t| {
            let facts = t.look(|c| c["linux"]["devices"] = json!([{"path": "/dev/fifo", "type": "p", "fileMode": 0o644}]))?;
            same("type", facts.node("/dev/fifo")?.kind, 'p')
        },
        &[NO_DEVICES]).needs(&[Need::Root]),
    DEVICES.says("devices-block", "type (string, REQUIRED) - type of device: c, b, u or p.",
        |t| {
            let facts = t.look(|c| c["linux"]["devices"] = json!([{"path": "/dev/made", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600}]))?;
            let node = facts.node("/dev/made")?;
            same("type and numbers", (node.kind, node.major, node.minor), ('b', 7, 0))
        },
        &[NO_DEVICES]).needs(&[Need::Root]),
    DEVICES.says("devices-outside-of-dev", "The path MAY be anywhere in the container filesystem, notably outside of /dev.",
        |t| {
            let facts = t.look(|c| {
                c["linux"]["devices"] = json!([{"path": "/etc/new/device", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]);
                steps(c, &["stat:/etc/new/device", "report"]);
            })?;
            let seen = &facts.act("stat:/etc/new/device")?.text;
            ensure(seen.contains("kind: 'c'"), || format!("it is {seen}"))
        },
        &[NO_DEVICES]).needs(&[Need::Root]),
    DEVICES.says("devices-file-in-the-way", "If a file already exists at path that does not match the requested device, the runtime MUST generate an error.",
        |t| t.refuses(|c| c["linux"]["devices"] = json!([{"path": "/etc/secret", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}])).map(drop),
        &[NO_DEVICES, CREATE_ACCEPTS]).needs(&[Need::Root]),
    DEVICES.says("devices-type-unknown", "type (string, REQUIRED) - type of device: c, b, u or p.",
        |t| t.refuses(|c| c["linux"]["devices"] = json!([{"path": "/dev/made", "type": "x", "major": 1, "minor": 3}])).map(drop),
        &[NO_DEVICES, CREATE_ACCEPTS]),
    DEFAULT.says("default-null", ALSO, |t| character(t, "null", 1, 3), &[NO_NODES]),
    DEFAULT.says("default-zero", ALSO, |t| character(t, "zero", 1, 5), &[NO_NODES]),
    DEFAULT.says("default-full", ALSO, |t| character(t, "full", 1, 7), &[NO_NODES]),
    DEFAULT.says("default-random", ALSO, |t| character(t, "random", 1, 8), &[NO_NODES]),
    DEFAULT.says("default-urandom", ALSO, |t| character(t, "urandom", 1, 9), &[NO_NODES]),
    DEFAULT.says("default-tty", ALSO, |t| character(t, "tty", 5, 0), &[NO_NODES]),
    DEFAULT.says("default-null-works", ALSO,
        |t| {
            let facts = t.look(|c| steps(c, &["append:/dev/null=text", "read:/dev/null", "report"]))?;
            same("errno of a write to /dev/null", facts.errno("append:/dev/null=text")?, 0)?;
            same("what can be read from it", facts.act("read:/dev/null")?.text.as_str(), "")
        },
        &[Mutation::Facts(|f| f.set_errnos(13))]),
    DEFAULT.says("default-console", "/dev/console is set up if terminal is enabled in the config by bind mounting the pseudoterminal pty to /dev/console.",
        |t| {
            let facts = crate::contract::console::look(t, |_| {})?;
            let console = facts.node("/dev/console")?;
            same("type of /dev/console", console.kind, 'c')?;
            same("file system of the mount at /dev/console", facts.mount("/dev/console")?.kind.as_str(), "devpts")
        },
        &[Mutation::Config(|c| c["process"]["terminal"] = json!(false)), NO_NODES]),
    DEFAULT.says("default-ptmx", "/dev/ptmx. A bind-mount or symlink of the container's /dev/pts/ptmx.",
        |t| {
            let facts = t.look(|_| {})?;
            let node = facts.node("/dev/ptmx")?;
            let to = facts.links.get("/dev/ptmx").map(String::as_str);
            let linked = node.kind == 'l' && matches!(to, Some("pts/ptmx" | "/dev/pts/ptmx"));
            ensure(linked || (node.kind == 'c' && (node.major, node.minor) == (5, 2)), || format!("/dev/ptmx is {node:?} {to:?}"))
        },
        &[NO_NODES]),
    NETWORK.says("netDevices-moved", "netDevices (object, OPTIONAL) - A set of network devices that MUST be made available in the container.",
        |t| {
            let facts = with_dummy(t, "kcdummy0", json!({"kcdummy0": {}}))?;
            ensure(facts.file("/proc/net/dev")?.contains("kcdummy0:"), || "the device is not in the container".into())
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "netDevices"))]).needs(&[Need::Root, Need::Program("ip")]),
    NETWORK.says("netDevices-renamed", "name (string, OPTIONAL) - the name of the network device inside the container namespace.",
        |t| {
            let facts = with_dummy(t, "kcdummy1", json!({"kcdummy1": {"name": "inside"}}))?;
            let table = facts.file("/proc/net/dev")?;
            ensure(table.contains("inside:") && !table.contains("kcdummy1:"), || format!("devices: {table}"))
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "netDevices"))]).needs(&[Need::Root, Need::Program("ip")]),
    NETWORK.says("netDevices-name-taken", "If a network device with the specified name already exists in the container namespace, the runtime MUST generate an error",
        |t| {
            t.host("ip", &["link", "add", "kcdummy2", "type", "dummy"]).map_err(no_dummy)?;
            let ended = t.refuses(|c| c["linux"]["netDevices"] = json!({"kcdummy2": {"name": "lo"}})).map(drop);
            drop(t.host("ip", &["link", "delete", "kcdummy2"]));
            ended
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "netDevices")), CREATE_ACCEPTS]).needs(&[Need::Root, Need::Program("ip")]),
    NETWORK.says("netDevices-missing", "The runtime MUST check if moving the network interface to the container namespace is possible.",
        |t| t.refuses(|c| c["linux"]["netDevices"] = json!({"kcnosuchdev": {}})).map(drop),
        &[Mutation::Config(|c| remove(&mut c["linux"], "netDevices")), CREATE_ACCEPTS]).needs(&[Need::Root]),
];

fn character(t: &mut Trial<'_>, name: &str, major: u32, minor: u32) -> Judged<()> {
    let facts = t.look(|_| {})?;
    let node = facts.node(&format!("/dev/{name}"))?;
    same(&format!("type and numbers of /dev/{name}"), (node.kind, node.major, node.minor), ('c', major, minor))?;
    same(&format!("mode of /dev/{name}"), node.mode & 0o666, 0o666)
}

fn no_dummy(_: crate::case::Stop) -> crate::case::Stop {
    crate::case::Stop::Skip("the kernel has no dummy network devices".into())
}

/// What a container with this `netDevices` saw, when the host had a dummy device of that name.
fn with_dummy(t: &mut Trial<'_>, name: &str, devices: serde_json::Value) -> Judged<crate::facts::Facts> {
    t.host("ip", &["link", "add", name, "type", "dummy"]).map_err(no_dummy)?;
    let ended = t.look(|c| c["linux"]["netDevices"] = devices);
    // It ended with the container's network namespace; if it never got there, it ends here.
    drop(t.host("ip", &["link", "delete", name]));
    ended
}
