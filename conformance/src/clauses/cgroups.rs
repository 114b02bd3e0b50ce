// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, Control groups. Judged from outside, in the files of the container's cgroup.

use serde_json::{Value, json};

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, Need, ensure, same};
use crate::config::{add_mount, add_namespace, mount, remap, remove, steps};
use crate::place::{CGROUP, own_cgroup};
use crate::trial::{Container, Trial};

const PATH: Chapter = Chapter::new(Document::ConfigLinux, "Cgroups Path");
const OWNERSHIP: Chapter = Chapter::new(Document::ConfigLinux, "Cgroup ownership");
const DEVICES: Chapter = Chapter::new(Document::ConfigLinux, "Allowed Device list");
const MEMORY: Chapter = Chapter::new(Document::ConfigLinux, "Memory");
const CPU: Chapter = Chapter::new(Document::ConfigLinux, "CPU");
const HUGEPAGES: Chapter = Chapter::new(Document::ConfigLinux, "Huge page limits");
const PIDS: Chapter = Chapter::new(Document::ConfigLinux, "PIDs");
const UNIFIED: Chapter = Chapter::new(Document::ConfigLinux, "Unified");

const NO_RESOURCES: Mutation = Mutation::Config(|c| remove(&mut c["linux"], "resources"));
const OUTSIDE: Mutation = Mutation::Outside(|x| *x = "0::/elsewhere\n".into());

pub(super) const CASES: &[Case] = &[
    PATH.says("cgroupsPath-absolute", "In the case of an absolute path (starting with /), the runtime MUST take the path to be relative to the cgroups mount point.",
        |t| {
            let wanted = format!("{}/kc-path/below", own_cgroup());
            let container = at(t, &wanted)?;
            same("the container's cgroup", cgroup_of(t, container.pid)?, format!("{CGROUP}{wanted}"))
        },
        &[Mutation::Config(|c| c["linux"]["cgroupsPath"] = json!("/kc-elsewhere")), OUTSIDE]).needs(&[Need::Root]),
    PATH.says("cgroupsPath-consistent", "If the value is specified, the runtime MUST consistently attach to the same place in the cgroups hierarchy given the same value of cgroupsPath.",
        |t| {
            let first = at(t, "kc-consistent")?;
            let place = cgroup_of(t, first.pid)?;
            t.finish(&first)?;
            let second = at(t, "kc-consistent")?;
            same("the second container's cgroup", cgroup_of(t, second.pid)?, place)
        },
        &[Mutation::Config(|c| c["linux"]["cgroupsPath"] = json!(format!("kc-{}", std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos()))), Mutation::Skip("start")])
        .needs(&[Need::Root]),
    PATH.says("cgroupsPath-created", "The cgroups will be created if they don't exist.",
        |t| {
            let path = format!("{}/kc-created", own_cgroup());
            ensure(!std::path::Path::new(&format!("{CGROUP}{path}")).exists(), || format!("{path} exists already"))?;
            let container = at(t, &path)?;
            let procs = t.read(&format!("{CGROUP}{path}/cgroup.procs"))?;
            ensure(procs.lines().any(|l| l == container.pid.to_string()), || format!("{} is not in it: {procs:?}", container.pid))?;
            t.finish(&container).map(drop)
        },
        &[Mutation::Outside(|x| *x = "1\n".into()), Mutation::Config(|c| remove(&mut c["linux"], "cgroupsPath"))]).needs(&[Need::Root]),
    OWNERSHIP.says("cgroup-chown-when-writable", "Runtimes SHOULD change the cgroup ownership if and only if the cgroup filesystem is to be mounted read/write",
        |t| {
            let owners = owners(t, &["nosuid", "noexec", "nodev"])?;
            same("owners of the folder, cgroup.procs, cgroup.subtree_control, cgroup.threads", owners, vec![200_000; 4])
        },
        &[Mutation::Config(|c| crate::config::set_options(c, "/sys/fs/cgroup", &["ro"]))]).should().needs(&[Need::Root]),
    OWNERSHIP.says("cgroup-no-chown-when-readonly", "If the configuration does not specify such a mount, the runtime SHOULD NOT change the cgroup ownership.",
        |t| same("owners", owners(t, &["nosuid", "noexec", "nodev", "ro"])?, vec![0; 4]),
        &[Mutation::Config(|c| crate::config::set_options(c, "/sys/fs/cgroup", &["nosuid", "noexec", "nodev"])), Mutation::Outside(|x| *x = "200000".into())]).should().needs(&[Need::Root]),
    OWNERSHIP.says("cgroup-other-files-stay", "The runtime SHOULD NOT change the ownership of any other files.",
        |t| {
            let container = t.create(|c| with_cgroup_mount(c, &["nosuid", "noexec", "nodev"]))?;
            let cgroup = cgroup_of(t, container.pid)?;
            for file in ["cgroup.freeze", "cgroup.max.depth"] {
                same(&format!("owner of {file}"), t.lied(owner(&format!("{cgroup}/{file}"))?.to_string()).as_str(), "0")?;
            }
            Ok(())
        },
        &[Mutation::Outside(|x| if x.parse::<u32>().is_ok() { *x = "200000".into() })]).should().needs(&[Need::Root]),
    DEVICES.says("devices-denied", "devices (array of objects, OPTIONAL) configures the allowed device list.",
        |t| {
            let facts = rules(t, json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}]))?;
            same("errno of opening /dev/null", facts.errno("open:/dev/null")?, 0)?;
            // The default devices stay allowed in every runtime; FUSE is not one of them.
            same("errno of opening a device that was not allowed", facts.errno("open:/dev/made")?, 1)
        },
        &[Mutation::Config(|c| c["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}])), Mutation::Facts(|f| f.set_errnos(0))]).needs(&[Need::Root, Need::Path("/dev/fuse")]),
    DEVICES.says("devices-rules-in-order", "The runtime MUST apply entries in the listed order.",
        |t| {
            let fuse = |allow: bool| json!({"allow": allow, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
            let denied = json!({"allow": false, "access": "rwm"});
            let facts = rules(t, json!([denied, fuse(true), fuse(false)]))?;
            same("errno after allow, deny", facts.errno("open:/dev/made")?, 1)?;
            let facts = rules(t, json!([denied, fuse(false), fuse(true)]))?;
            same("errno after deny, allow", facts.errno("open:/dev/made")?, 0)
        },
        &[Mutation::Config(|c| if let Some(r) = c["linux"]["resources"]["devices"].as_array_mut() { r.reverse() }), Mutation::Facts(|f| f.set_errnos(0))]).needs(&[Need::Root, Need::Path("/dev/fuse")]),
    DEVICES.says("devices-access-bits", "access (string, OPTIONAL) - cgroup permissions for device. A composition of r (read), w (write), and m (mknod).",
        |t| {
            let facts = rules(t, json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "w"}]))?;
            same("errno of reading what may only be written", facts.errno("open:/dev/made")?, 1)?;
            same("errno of writing it", facts.errno("append:/dev/made=")?, 0)
        },
        &[Mutation::Config(|c| c["linux"]["resources"]["devices"][1]["access"] = json!("rw")), Mutation::Facts(|f| f.set_errnos(0))]).needs(&[Need::Root, Need::Path("/dev/fuse")]),
    MEMORY.says("memory-limit", "limit (int64, OPTIONAL) - sets limit of memory usage",
        |t| file(t, json!({"memory": {"limit": 104_857_600}}), "memory.max", "104857600"), &[NO_RESOURCES]).needs(&[Need::Controller("memory")]),
    MEMORY.says("memory-unlimited", "Values for memory specify the limit in bytes, or -1 for unlimited memory.",
        |t| file(t, json!({"memory": {"limit": -1}}), "memory.max", "max"), &[Mutation::Config(|c| c["linux"]["resources"]["memory"]["limit"] = json!(104_857_600))]).needs(&[Need::Controller("memory")]),
    MEMORY.says("memory-reservation", "reservation (int64, OPTIONAL) - sets soft limit of memory usage",
        |t| file(t, json!({"memory": {"reservation": 52_428_800}}), "memory.low", "52428800"), &[NO_RESOURCES]).needs(&[Need::Controller("memory")]),
    MEMORY.says("memory-swap", "swap (int64, OPTIONAL) - sets limit of memory+Swap usage",
        |t| file(t, json!({"memory": {"limit": 104_857_600, "swap": 157_286_400}}), "memory.swap.max", "52428800"), &[NO_RESOURCES]).needs(&[Need::Controller("memory")]),
    CPU.says("cpu-quota-and-period", "quota (int64, OPTIONAL) - specifies the total amount of time in microseconds for which all tasks in a cgroup can run during one period",
        |t| file(t, json!({"cpu": {"quota": 25_000, "period": 50_000}}), "cpu.max", "25000 50000"), &[NO_RESOURCES]).needs(&[Need::Controller("cpu")]),
    CPU.says("cpu-shares", "shares (uint64, OPTIONAL) - specifies a relative share of CPU time available to the tasks in a cgroup",
        |t| {
            let weight = |t: &mut Trial<'_>, shares: u32| {
                let (_, text) = limited(t, json!({"cpu": {"shares": shares}}), "cpu.weight")?;
                Ok(text.trim().parse::<u32>().unwrap_or(0))
            };
            let (small, large) = (weight(t, 512)?, weight(t, 4096)?);
            ensure(small > 0 && small < large, || format!("512 shares gave the weight {small}, 4096 gave {large}"))
        },
        &[NO_RESOURCES]).needs(&[Need::Controller("cpu")]),
    CPU.says("cpu-idle", "idle (int64, OPTIONAL) - cgroups are configured with minimum weight, 0: default behavior, 1: SCHED_IDLE.",
        |t| file(t, json!({"cpu": {"idle": 1}}), "cpu.idle", "1"), &[NO_RESOURCES]).needs(&[Need::Controller("cpu")]),
    CPU.says("cpu-burst", "burst (uint64, OPTIONAL) - specifies the maximum amount of accumulated time in microseconds for which all tasks in a cgroup can run additionally",
        |t| file(t, json!({"cpu": {"quota": 25_000, "period": 50_000, "burst": 10_000}}), "cpu.max.burst", "10000"), &[NO_RESOURCES]).needs(&[Need::Controller("cpu")]),
    CPU.says("cpuset-cpus", "cpus (string, OPTIONAL) - list of CPUs the container will run in",
        |t| file(t, json!({"cpu": {"cpus": "0"}}), "cpuset.cpus", "0"), &[NO_RESOURCES]).needs(&[Need::Controller("cpuset")]),
    CPU.says("cpuset-mems", "mems (string, OPTIONAL) - list of Memory Nodes the container will run in",
        |t| file(t, json!({"cpu": {"mems": "0"}}), "cpuset.mems", "0"), &[NO_RESOURCES]).needs(&[Need::Controller("cpuset")]),
    HUGEPAGES.says("hugepageLimits", "limit (uint64, REQUIRED) - limit in bytes of hugepagesize HugeTLB reservations (if supported) or usage.",
        |t| {
            let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
            let (_, reserved) = limited(t, resources.clone(), "hugetlb.2MB.rsvd.max")?;
            let (_, used) = limited(t, resources, "hugetlb.2MB.max")?;
            ensure(reserved.trim() == "4194304" || used.trim() == "4194304", || format!("rsvd.max is {reserved:?}, max is {used:?}"))
        },
        &[NO_RESOURCES]).needs(&[Need::Controller("hugetlb")]),
    HUGEPAGES.says("hugepageLimits-unknown-size", "The value has the format <size><unit-prefix>B (64KB, 2MB, 1GB), and must match the <hugepagesize> of the corresponding control file",
        |t| t.refuses(|c| c["linux"]["resources"] = json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 4_194_304}]})).map(drop),
        &[NO_RESOURCES, CREATE_ACCEPTS]).needs(&[Need::Controller("hugetlb")]),
    PIDS.says("pids-limit", "limit (int64, REQUIRED) - specifies the maximum number of tasks in the cgroup",
        |t| file(t, json!({"pids": {"limit": 77}}), "pids.max", "77"), &[NO_RESOURCES]).needs(&[Need::Controller("pids")]),
    UNIFIED.says("unified-written", "unified (object, OPTIONAL) allows cgroup v2 parameters to be to be set and modified for the container.",
        |t| file(t, json!({"unified": {"hugetlb.2MB.max": "2097152"}}), "hugetlb.2MB.max", "2097152"), &[NO_RESOURCES]).needs(&[Need::Controller("hugetlb")]),
    UNIFIED.says("unified-unknown-written", "Configuration unknown to the runtime MUST still be written to the relevant file.",
        |t| file(t, json!({"unified": {"cgroup.max.descendants": "7"}}), "cgroup.max.descendants", "7"), &[NO_RESOURCES]).needs(&[Need::Root]),
    UNIFIED.says("unified-unknown-controller", "The runtime MUST generate an error when the configuration refers to a cgroup controller that is not present or that cannot be enabled.",
        |t| t.refuses(|c| c["linux"]["resources"] = json!({"unified": {"nosuchcontroller.max": "1"}})).map(drop),
        &[NO_RESOURCES, CREATE_ACCEPTS]).needs(&[Need::Root]),
    UNIFIED.says("resources-not-convertible", "If the conversion is not possible the runtime MUST generate an error.",
        |t| t.refuses(|c| c["linux"]["resources"] = json!({"unified": {"hugetlb.3MB.max": "1"}})).map(drop),
        &[NO_RESOURCES, CREATE_ACCEPTS]).needs(&[Need::Controller("hugetlb")]),
];

/// The folder of the process's cgroup, below the mount point.
pub(super) fn cgroup_of(t: &Trial<'_>, pid: i32) -> Judged<String> {
    let text = t.read(&format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("");
    ensure(!path.contains(".."), || format!("the process is outside of what we can see: {path}"))?;
    Ok(format!("{CGROUP}{path}"))
}

fn at(t: &mut Trial<'_>, path: &str) -> Judged<Container> {
    t.create(|c| c["linux"]["cgroupsPath"] = json!(path))
}

fn limited(t: &mut Trial<'_>, resources: Value, file: &str) -> Judged<(Container, String)> {
    let container = t.create(|c| c["linux"]["resources"] = resources)?;
    let cgroup = cgroup_of(t, container.pid)?;
    let text = t.read(&format!("{cgroup}/{file}"))?;
    Ok((container, text))
}

fn file(t: &mut Trial<'_>, resources: Value, name: &str, wanted: &str) -> Judged<()> {
    let (_, text) = limited(t, resources, name)?;
    same(name, text.trim(), wanted)
}

fn owner(path: &str) -> Judged<u32> {
    use std::os::unix::fs::MetadataExt;
    crate::trial::broken(std::fs::metadata(path), path).map(|m| m.uid())
}

fn with_cgroup_mount(config: &mut Value, options: &[&str]) {
    remap(config);
    add_namespace(config, json!({"type": "cgroup"}));
    add_mount(config, mount("/sys/fs/cgroup", "cgroup", "cgroup", options));
}

/// Owners of the container's cgroup and of the files that make a delegation.
fn owners(t: &mut Trial<'_>, options: &[&str]) -> Judged<Vec<u32>> {
    let container = t.create(|c| with_cgroup_mount(c, options))?;
    let cgroup = cgroup_of(t, container.pid)?;
    let files = ["", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads"];
    let owners = files.iter().map(|f| {
        let seen = t.lied(owner(&format!("{cgroup}{f}"))?.to_string());
        Ok(seen.parse().unwrap_or(u32::MAX))
    });
    owners.collect()
}

/// What the probe could do with /dev/null and with /dev/made (FUSE, 10:229) under these rules.
fn rules(t: &mut Trial<'_>, rules: Value) -> Judged<crate::facts::Facts> {
    t.look(|c| {
        c["linux"]["devices"] = json!([{"path": "/dev/made", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}]);
        c["linux"]["resources"] = json!({"devices": rules});
        steps(c, &["open:/dev/null", "open:/dev/made", "append:/dev/made=", "report"]);
    })
}
