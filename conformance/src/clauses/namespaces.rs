// SPDX-License-Identifier: Apache-2.0
//! config-linux.md: default file systems, namespaces, id mappings, time offsets.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, Need, Stop, ensure, same};
use crate::config::{add_namespace, drop_mount, drop_namespace, remap, remove};
use crate::trial::Trial;

const FILESYSTEMS: Chapter = Chapter::new(Document::ConfigLinux, "Default Filesystems");
const NAMESPACES: Chapter = Chapter::new(Document::ConfigLinux, "Namespaces");
const MAPPINGS: Chapter = Chapter::new(Document::ConfigLinux, "User namespace mappings");
const OFFSETS: Chapter = Chapter::new(Document::ConfigLinux, "Offset for Time Namespace");

const NEW: &str = "If path is not specified, the runtime MUST create a new container namespace of type type.";
const JOIN: &str = "The runtime MUST place the container process in the namespace associated with that path.";
const INHERIT: &str = "If a namespace type is not specified in the namespaces array, the container MUST inherit the runtime namespace of that type.";
const AVAILABLE: &str = "The following filesystems SHOULD be made available in each container's filesystem";

pub(super) const CASES: &[Case] = &[
    FILESYSTEMS.says("filesystem-proc", AVAILABLE, |t| filesystem(t, "/proc", "proc"), &[Mutation::Config(|c| drop_mount(c, "/proc"))]).should(),
    FILESYSTEMS.says("filesystem-sys", AVAILABLE, |t| filesystem(t, "/sys", "sysfs"), &[Mutation::Config(|c| drop_mount(c, "/sys"))]).should(),
    FILESYSTEMS.says("filesystem-devpts", AVAILABLE, |t| filesystem(t, "/dev/pts", "devpts"), &[Mutation::Config(|c| drop_mount(c, "/dev/pts"))]).should(),
    FILESYSTEMS.says("filesystem-shm", AVAILABLE, |t| filesystem(t, "/dev/shm", "tmpfs"), &[Mutation::Config(|c| drop_mount(c, "/dev/shm"))]).should(),
    NAMESPACES.says("namespace-pid-new", NEW, |t| new(t, "pid", "pid"), &[Mutation::Facts(|f| f.links.clear()), Mutation::Outside(|x| x.clear())]),
    NAMESPACES.says("namespace-pid-first", "pid processes inside the container will only be able to see other processes inside the same container or inside the same pid namespace.",
        |t| same("NSpid", t.look(|_| {})?.status("Pid")?, "1"), &[Mutation::Facts(|f| f.set_status("Pid", "4711"))]),
    NAMESPACES.says("namespace-network-new", NEW, |t| new(t, "network", "net"), &[Mutation::Config(|c| drop_namespace(c, "network"))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-network-empty", "network the container will have its own network stack.",
        |t| {
            let facts = t.look(|_| {})?;
            let table = facts.file("/proc/net/dev")?;
            let devices: Vec<&str> = table.lines().skip(2).filter_map(|l| l.split(':').next()).map(str::trim).collect();
            // The kernel's fallback tunnels appear in every namespace of some machines.
            let real: Vec<&&str> = devices.iter().filter(|d| !d.ends_with('0') || d.starts_with("eth")).collect();
            same("network devices", real, vec![&"lo"])
        },
        &[Mutation::Facts(|f| { f.files.insert("/proc/net/dev".into(), "a\nb\n lo: 0\n eth0: 0\n".into()); })]),
    NAMESPACES.says("namespace-mount-new", NEW, |t| new(t, "mount", "mnt"), &[Mutation::Facts(|f| f.links.clear()), Mutation::Outside(|x| x.clear())]),
    NAMESPACES.says("namespace-mount-isolated", "mount the container will have an isolated mount table.",
        |t| {
            let container = t.create(|c| crate::config::tmpfs(c, &["size=64k"]))?;
            let ours = crate::facts::mounts(&t.read("/proc/self/mountinfo")?);
            let leaked = ours.iter().find(|m| m.super_options.iter().any(|o| o == "size=64k"));
            ensure(leaked.is_none(), || "a mount of the container is in our table".into())?;
            t.finish(&container)?.mount("/m").map(drop)
        },
        &[Mutation::Outside(|x| x.push_str("9 1 0:9 / /m rw - tmpfs tmpfs rw,size=64k\n")), Mutation::Config(|c| drop_mount(c, "/m"))]),
    NAMESPACES.says("namespace-ipc-new", NEW, |t| new(t, "ipc", "ipc"), &[Mutation::Config(|c| drop_namespace(c, "ipc"))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-uts-new", NEW, |t| new(t, "uts", "uts"), &[Mutation::Config(|c| { drop_namespace(c, "uts"); remove(c, "hostname"); })]),
    NAMESPACES.says("namespace-user-new", NEW, |t| {
        let rootless = t.place.rootless;
        let ours = t.read_link("/proc/self/ns/user")?;
        let facts = t.look(|c| if !rootless { remap(c) })?;
        ensure(facts.namespace("user")? != ours, || format!("the user namespace is ours: {ours}"))
    }, &[Mutation::Facts(|f| { f.links.remove("/proc/self/ns/user"); })]),
    NAMESPACES.says("namespace-cgroup-new", NEW, |t| {
        let ours = t.read_link("/proc/self/ns/cgroup")?;
        let facts = t.look(|c| add_namespace(c, json!({"type": "cgroup"})))?;
        ensure(facts.namespace("cgroup")? != ours, || format!("the cgroup namespace is ours: {ours}"))?;
        let own = facts.file("/proc/self/cgroup")?.lines().find(|l| l.starts_with("0::")).unwrap_or("").to_owned();
        same("the cgroup as seen from inside", own.as_str(), "0::/")
    }, &[Mutation::Config(|c| drop_namespace(c, "cgroup"))]).needs(&[Need::Path("/proc/self/ns/cgroup")]),
    NAMESPACES.says("namespace-time-new", NEW, |t| {
        let ours = t.read_link("/proc/self/ns/time")?;
        let facts = t.look(|c| add_namespace(c, json!({"type": "time"})))?;
        ensure(facts.namespace("time")? != ours, || format!("the time namespace is ours: {ours}"))
    }, &[Mutation::Config(|c| drop_namespace(c, "time"))]).needs(&[Need::Path("/proc/self/ns/time")]),
    NAMESPACES.says("namespace-network-path", JOIN, |t| join(t, "network", "net", "--net"), &[Mutation::Config(|c| renew(c, "network"))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-ipc-path", JOIN, |t| join(t, "ipc", "ipc", "--ipc"), &[Mutation::Config(|c| renew(c, "ipc"))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-uts-path", JOIN, |t| join(t, "uts", "uts", "--uts"), &[Mutation::Config(|c| renew(c, "uts"))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-pid-path", JOIN, |t| join(t, "pid", "pid", "--pid"), &[Mutation::Config(|c| renew(c, "pid"))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-cgroup-path", JOIN, |t| join(t, "cgroup", "cgroup", "--cgroup"), &[Mutation::Config(|c| renew(c, "cgroup"))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-time-path", JOIN, |t| join(t, "time", "time", "--time"), &[Mutation::Config(|c| renew(c, "time"))]).needs(&[Need::Root, Need::Path("/proc/self/ns/time")]),
    NAMESPACES.says("namespace-path-absolute", "This value MUST be an absolute path in the runtime mount namespace.",
        |t| t.refuses(|c| { drop_namespace(c, "ipc"); add_namespace(c, json!({"type": "ipc", "path": "proc/self/ns/ipc"})); }).map(drop),
        &[Mutation::Config(|c| renew(c, "ipc")), CREATE_ACCEPTS]),
    NAMESPACES.says("namespace-path-of-wrong-type", "The runtime MUST generate an error if path is not associated with a namespace of type type.",
        |t| t.refuses(|c| { drop_namespace(c, "ipc"); add_namespace(c, json!({"type": "ipc", "path": "/proc/self/ns/net"})); }).map(drop),
        &[Mutation::Config(|c| renew(c, "ipc")), CREATE_ACCEPTS]),
    NAMESPACES.says("namespace-path-missing", "The runtime MUST generate an error if path is not associated with a namespace of type type.",
        |t| t.refuses(|c| { drop_namespace(c, "ipc"); add_namespace(c, json!({"type": "ipc", "path": "/nowhere/ipc"})); }).map(drop),
        &[Mutation::Config(|c| renew(c, "ipc")), CREATE_ACCEPTS]),
    NAMESPACES.says("namespace-network-inherited", INHERIT, |t| inherited(t, "network", "net"), &[Mutation::Config(|c| add_namespace(c, json!({"type": "network"})))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-ipc-inherited", INHERIT, |t| inherited(t, "ipc", "ipc"), &[Mutation::Config(|c| add_namespace(c, json!({"type": "ipc"})))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-uts-inherited", INHERIT, |t| inherited(t, "uts", "uts"), &[Mutation::Config(|c| add_namespace(c, json!({"type": "uts"})))]),
    NAMESPACES.says("namespace-pid-inherited", INHERIT, |t| inherited(t, "pid", "pid"), &[Mutation::Config(|c| add_namespace(c, json!({"type": "pid"})))]).needs(&[Need::Root]),
    NAMESPACES.says("namespace-cgroup-inherited", INHERIT, |t| inherited(t, "cgroup", "cgroup"), &[Mutation::Config(|c| add_namespace(c, json!({"type": "cgroup"})))]),
    NAMESPACES.says("namespace-user-inherited", INHERIT, |t| inherited(t, "user", "user"), &[Mutation::Config(remap)]).needs(&[Need::Root]),
    NAMESPACES.says("namespaces-twice", "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate an error.",
        |t| t.refuses(|c| add_namespace(c, json!({"type": "ipc"}))).map(drop),
        &[Mutation::Config(|c| renew(c, "ipc")), CREATE_ACCEPTS]),
    MAPPINGS.says("uidMappings", "uidMappings (array of objects, OPTIONAL) describes the user namespace uid mappings from the host to the container.",
        |t| mapping(t, "/proc/self/uid_map", t.place.uid), &[Mutation::Facts(|f| { f.files.insert("/proc/self/uid_map".into(), "0 0 4294967295".into()); })]),
    MAPPINGS.says("gidMappings", "gidMappings (array of objects, OPTIONAL) describes the user namespace gid mappings from the host to the container.",
        |t| mapping(t, "/proc/self/gid_map", t.place.gid), &[Mutation::Facts(|f| { f.files.insert("/proc/self/gid_map".into(), "0 0 4294967295".into()); })]),
    MAPPINGS.says("mappings-from-outside", "hostID (uint32, REQUIRED) - is the starting uid/gid on the host to be mapped to containerID.",
        |t| {
            let (rootless, uid) = (t.place.rootless, t.place.uid);
            let container = t.create(|c| if !rootless { remap(c) })?;
            let status = t.read(&format!("/proc/{}/status", container.pid))?;
            let seen = crate::facts::field(&status, "Uid").unwrap_or("").split_whitespace().next().unwrap_or("").to_owned();
            same("the host's uid of the container's root", seen, if rootless { uid } else { 200_000 }.to_string())
        },
        &[Mutation::Outside(|x| *x = "Uid:\t4294967294\n".into())]),
    MAPPINGS.says("mappings-leave-owners-alone", "The runtime SHOULD NOT modify the ownership of referenced filesystems to realize the mapping.",
        |t| {
            let rootless = t.place.rootless;
            let container = t.create(|c| if !rootless { remap(c) })?;
            let bundle = container.bundle.clone();
            t.start(&container)?;
            t.wait(&container)?;
            for path in ["rootfs", "rootfs/etc", "rootfs/etc/secret"] {
                let meta = std::fs::metadata(bundle.join(path)).map_err(|e| Stop::Red(format!("{path}: {e}")))?;
                let owner = t.lied(meta.uid().to_string());
                same(&format!("owner of {path}"), owner, t.place.uid.to_string())?;
            }
            Ok(())
        },
        &[Mutation::Outside(|x| *x = "200000".into())]).should(),
    OFFSETS.says("timeOffsets", "timeOffsets (object, OPTIONAL) sets the offset for Time Namespace.",
        |t| {
            let facts = t.look(|c| {
                add_namespace(c, json!({"type": "time"}));
                c["linux"]["timeOffsets"] = json!({"boottime": {"secs": 86400, "nanosecs": 5}, "monotonic": {"secs": 172_800}});
            })?;
            let seen: Vec<Vec<&str>> = facts.file("/proc/self/timens_offsets")?.lines().map(|l| l.split_whitespace().collect()).collect();
            same("offsets", seen, vec![vec!["monotonic", "172800", "0"], vec!["boottime", "86400", "5"]])
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "timeOffsets"))]).needs(&[Need::Path("/proc/self/ns/time")]),
];

fn filesystem(t: &mut Trial<'_>, path: &str, kind: &str) -> Judged<()> {
    same(&format!("type of the mount at {path}"), t.look(|_| {})?.mount(path)?.kind.as_str(), kind)
}

fn new(t: &mut Trial<'_>, kind: &str, file: &str) -> Judged<()> {
    let ours = t.read_link(&format!("/proc/self/ns/{file}"))?;
    ensure(ours.starts_with(file), || format!("we cannot see our own {kind} namespace"))?;
    let theirs = t.look(|c| {
        if kind == "uts" {
            remove(c, "hostname");
        }
    })?;
    let theirs = theirs.namespace(file)?;
    ensure(theirs != ours, || format!("the {kind} namespace is ours: {ours}"))
}

fn renew(config: &mut serde_json::Value, kind: &str) {
    drop_namespace(config, kind);
    add_namespace(config, json!({"type": kind}));
}

fn join(t: &mut Trial<'_>, kind: &str, file: &str, option: &str) -> Judged<()> {
    let holder = match option {
        "--pid" => t.holder(&[option, "--fork", "--kill-child"])?,
        "--time" => t.holder(&[option, "--fork", "--kill-child"])?,
        _ => t.holder(&[option])?,
    };
    let own = if matches!(option, "--pid" | "--time") { format!("{file}_for_children") } else { file.to_owned() };
    let path = format!("/proc/{holder}/ns/{own}");
    let wanted = t.read_link(&path)?;
    let facts = t.look(|c| {
        drop_namespace(c, kind);
        remove(c, "hostname");
        add_namespace(c, json!({"type": kind, "path": path}));
    })?;
    same(&format!("the {kind} namespace"), facts.namespace(file)?, wanted.as_str())
}

fn inherited(t: &mut Trial<'_>, kind: &str, file: &str) -> Judged<()> {
    let ours = t.read_link(&format!("/proc/self/ns/{file}"))?;
    let facts = t.look(|c| {
        drop_namespace(c, kind);
        match kind {
            "uts" => remove(c, "hostname"),
            "ipc" => drop_mount(c, "/dev/mqueue"),
            _ => {}
        }
    })?;
    same(&format!("the {kind} namespace"), facts.namespace(file)?, ours.as_str())
}

fn mapping(t: &mut Trial<'_>, file: &str, id: u32) -> Judged<()> {
    let (rootless, range) = (t.place.rootless, t.place.range);
    let facts = t.look(|c| {
        if !rootless {
            remap(c)
        }
    })?;
    let seen: Vec<Vec<&str>> = facts.file(file)?.lines().map(|l| l.split_whitespace().collect()).collect();
    let wanted = if rootless {
        let mut wanted = vec![["0".to_owned(), id.to_string(), "1".to_owned()]];
        wanted.extend(range.map(|(first, count)| ["1".to_owned(), first.to_string(), count.to_string()]));
        wanted
    } else {
        vec![["0", "200000", "65536"].map(str::to_owned)]
    };
    same(file, seen, wanted)
}
