// SPDX-License-Identifier: Apache-2.0
//! Fields of the spec that few specs have: how each is planned, and what of it is refused.

use super::tests::{lines, plan, root, smallest};
use crate::Kind;
use serde_json::{Value, json};
use std::path::Path;

/// The smallest spec with one more member.
pub(super) fn with(pointer: &str, value: Value) -> Value {
    let mut spec = smallest();
    let mut place = &mut spec;
    for part in pointer.split('/').skip(1) {
        place = &mut place[part];
    }
    *place = value;
    spec
}

/// Each member is refused as wrong, with words that name it.
#[track_caller]
pub(super) fn are_refused(cases: &[(&str, Value, &str)]) {
    for (pointer, value, named) in cases {
        let error = plan(with(pointer, value.clone()), &root()).unwrap_err();
        assert!(matches!(error.kind(), Kind::BadInput | Kind::Unsupported), "{pointer}: {error:#}");
        assert!(format!("{error:#}").contains(named), "{pointer} {value}: {error:#}");
    }
}

#[test]
fn scheduler_and_io_priority_are_planned_in_the_kernels_numbers() {
    let deadline = json!({ "policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3,
        "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_KEEP_PARAMS"] });
    let planned = plan(with("/process/scheduler", deadline), &root()).unwrap();
    let expected = "schedule    policy 6 flags 0x12 nice 0 priority 0 runtime 1 deadline 2 period 3";
    assert_eq!(lines(&planned, "schedule"), [expected]);
    for (number, policy) in ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"].iter().enumerate() {
        let spec = with("/process/scheduler", json!({ "policy": format!("SCHED_{policy}") }));
        let planned = plan(spec, &root()).unwrap();
        assert_eq!(planned.process.priorities.scheduling.unwrap().policy, number as u32, "{policy}");
    }
    let io = with("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 7 }));
    assert_eq!(lines(&plan(io, &root()).unwrap(), "io"), ["io          class 3 level 7"]);
    are_refused(&[
        ("/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": 20 }), "nice 20"),
        ("/process/scheduler", json!({ "policy": "SCHED_OTHER", "priority": 1 }), "SCHED_FIFO"),
        ("/process/scheduler", json!({ "policy": "SCHED_FIFO", "priority": -1 }), "below 0"),
        ("/process/scheduler", json!({ "policy": "SCHED_BATCH", "period": 1 }), "SCHED_DEADLINE"),
        ("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "ioPriority"),
        ("/process/execCPUAffinity", json!({ "initial": "99999" }), "execCPUAffinity.initial"),
    ]);
}

#[test]
fn a_spec_without_the_part_linux_asks_for_no_namespace_and_no_mask() {
    let mut spec = with("/mounts", json!([]));
    for linux in [Some(Value::Null), None] {
        match linux {
            Some(null) => spec["linux"] = null,
            None => drop(spec.as_object_mut().unwrap().remove("linux")),
        }
        let planned = plan(spec.clone(), &root()).unwrap();
        assert!(planned.namespaces.is_empty() && planned.joins.is_empty(), "{planned}");
        assert!(planned.masked_paths.is_empty() && planned.readonly_paths.is_empty(), "{planned}");
    }
}

#[test]
fn memory_policy_and_personality_are_planned_in_the_kernels_numbers() {
    let policy = json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0,2", "flags": ["MPOL_F_STATIC_NODES"] });
    let planned = plan(with("/linux/memoryPolicy", policy), &root()).unwrap();
    assert_eq!(lines(&planned, "memory"), ["memory      policy 0x8003 nodes [5]"]);
    let planned = plan(with("/linux/personality", json!({ "domain": "LINUX32" })), &root()).unwrap();
    assert_eq!(lines(&planned, "personality"), ["personality 0x8"]);
    are_refused(&[
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND" }), "needs nodes"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_LOCAL", "nodes": "0" }), "take no nodes"),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0-" }), "linux.memoryPolicy.nodes"),
        ("/linux/personality", json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }), "personality.flags"),
    ]);
}

#[test]
fn clocks_are_planned_for_a_new_time_namespace_only() {
    let offsets = json!({ "monotonic": { "secs": -5 }, "boottime": { "secs": 3, "nanosecs": 7 } });
    let mut spec = with("/linux/timeOffsets", offsets);
    let error = plan(spec.clone(), &root()).unwrap_err();
    assert!(format!("{error:#}").contains("no time namespace"), "{error:#}");
    spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "time" }]);
    let planned = plan(spec.clone(), &root()).unwrap();
    assert_eq!(lines(&planned, "clocks"), ["clocks      boottime 3 7, monotonic -5 0"]);
    assert!(!planned.cloned_namespaces().has(kelp_sys::clone::Namespaces::TIME));
    spec["linux"]["timeOffsets"] = json!({ "realtime": { "secs": 1 } });
    assert!(format!("{:#}", plan(spec.clone(), &root()).unwrap_err()).contains("realtime"));
    spec["linux"]["timeOffsets"] = json!({ "boottime": { "nanosecs": 1_000_000_000 } });
    assert!(format!("{:#}", plan(spec.clone(), &root()).unwrap_err()).contains("more than a second"));
    spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "time", "path": "/proc/1/ns/time" }]);
    assert!(format!("{:#}", plan(spec, &root()).unwrap_err()).contains("joined by path"));
}

#[test]
fn home_is_found_only_where_the_environment_does_not_say_it() {
    let planned = plan(with("/process/env", json!(["HOME=", "A=1"])), &root()).unwrap();
    assert_eq!(lines(&planned, "env"), ["env         A=1", "env         HOME= of uid 0 in /etc/passwd"]);
    let planned = plan(with("/process/env", json!(["HOME=/x"])), &root()).unwrap();
    assert_eq!(lines(&planned, "env"), ["env         HOME=/x"]);
}

#[test]
fn network_devices_are_planned_for_a_network_namespace_only() {
    let mut spec = with("/linux/netDevices", json!({ "eth1": {}, "eth0": { "name": "net%d" } }));
    assert!(format!("{:#}", plan(spec.clone(), &root()).unwrap_err()).contains("no network namespace"));
    spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "network" }]);
    let planned = plan(spec.clone(), &root()).unwrap();
    assert_eq!(lines(&planned, "netdevice"), ["netdevice   eth0 as net%d", "netdevice   eth1 as eth1"]);
    for name in ["a/b", "a:b", "a b", "..", "sixteen-letters-", "a%db%d", "%s"] {
        spec["linux"]["netDevices"] = json!({ "eth0": { "name": name } });
        assert!(plan(spec.clone(), &root()).is_err(), "{name}");
    }
    spec["linux"]["netDevices"] = json!({ "eth0": { "name": "x" }, "eth1": { "name": "x" } });
    assert!(format!("{:#}", plan(spec, &root()).unwrap_err()).contains("another device"));
}

/// The plan of one mount, in a container without a user namespace.
fn mount(mount: Value) -> String {
    lines(&plan(with("/mounts", json!([mount])), &root()).unwrap(), "mount").remove(0)
}

#[test]
fn a_read_only_tmpfs_is_writable_until_all_is_in_it() {
    let tmpfs = |at: &str, options: &[&str]| json!({ "destination": at, "type": "tmpfs", "options": options });
    let devpts = json!({ "destination": "/dev/pts", "type": "devpts" });
    let mounts = json!([
        tmpfs("/dev", &["ro", "mode=755", ""]),
        devpts,
        tmpfs("/a", &["ro"]),
        tmpfs("/a/b", &[]),
        tmpfs("/ab", &["ro"]),
    ]);
    let planned = lines(&plan(with("/mounts", mounts), &root()).unwrap(), "mount");
    assert_eq!(planned[0], "mount       /dev tmpfs from tmpfs flags 0x0 mode=755 read-only at last");
    assert_eq!(planned[2], "mount       /a tmpfs with the mode of what it covers source=tmpfs read-only at last");
    assert!(planned[4].ends_with("source=tmpfs set +0x1 -0x0"), "{planned:?}");
}

#[test]
fn mapped_mounts_are_taken_by_the_runtime() {
    let ids = json!([{ "containerID": 0, "hostID": 1000, "size": 5 }]);
    let bind =
        json!({ "destination": "/a", "source": "/s", "options": ["rbind"], "uidMappings": ids, "gidMappings": ids });
    assert_eq!(
        mount(bind.clone()),
        "mount       /a rbind /s taken by the runtime uid 0 1000 5 gid 0 1000 5 on the mount"
    );
    let mut tree = bind.clone();
    tree["options"] = json!(["rbind", "ridmap"]);
    assert!(mount(tree).ends_with("on the tree"));

    let alone = json!([{ "destination": "/a", "source": "/s", "options": ["bind", "idmap"] }]);
    let mut spec = with("/mounts", alone.clone());
    spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "user" }]);
    spec["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 7, "size": 1 }]);
    spec["linux"]["gidMappings"] = spec["linux"]["uidMappings"].clone();
    let expected = "mount       /a bind /s taken by the runtime uid 0 7 1 gid 0 7 1 on the mount";
    assert_eq!(lines(&plan(spec.clone(), &root()).unwrap(), "mount"), [expected]);
    spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "user", "path": "/proc/9/ns/user" }]);
    let planned = plan(spec, &root()).unwrap();
    assert_eq!(
        lines(&planned, "mount"),
        ["mount       /a bind /s taken by the runtime ids of /proc/9/ns/user on the mount"]
    );

    let (mut half, mut tmpfs) = (bind.clone(), bind);
    half.as_object_mut().unwrap().remove("gidMappings");
    tmpfs["type"] = json!("tmpfs");
    tmpfs["options"] = json!([]);
    are_refused(&[
        ("/mounts", alone, "no user namespace"),
        ("/mounts", json!([half]), "must both"),
        ("/mounts", json!([tmpfs]), "bind mount"),
    ]);
}

#[test]
fn every_option_of_the_spec_has_a_meaning_and_those_of_other_runtimes_are_refused_by_name() {
    let of_the_spec = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime \
        noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime \
        relatime rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate \
        rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid \
        symfollow sync unbindable";
    let words: Vec<&str> = of_the_spec.split_whitespace().collect();
    // A `bind` beside it does not take the recursion back.
    let words = [words.as_slice(), &["bind"]].concat();
    let planned = mount(json!({ "destination": "/a", "source": "/s", "options": words }));
    assert!(planned.starts_with("mount       /a rbind /s set +"), "{planned}");
    // None was taken for an option of the file system.
    let data = mount(json!({ "destination": "/a", "type": "tmpfs", "options": ["tmpcopyup", "ro", "size=1k"] }));
    assert_eq!(data, "mount       /a tmpfs with the copy of what it covers source=tmpfs size=1k set +0x1 -0x0");
    assert_eq!(
        mount(json!({ "destination": "/a", "options": ["bind", "remount", "ro"] })),
        "mount       /a remount set +0x1 -0x0"
    );
    let whole = mount(json!({ "destination": "/a", "options": ["remount", "ro", "size=2k"] }));
    assert_eq!(whole, "mount       /a remount flags 0x1 size=2k");
    let flags =
        json!({ "destination": "/a", "type": "tmpfs", "options": ["sync", "lazytime", "nosuid", "nr_inodes=5"] });
    let expected =
        "mount       /a tmpfs with the mode of what it covers source=tmpfs sync lazytime nr_inodes=5 set +0x2 -0x0";
    assert_eq!(mount(flags), expected);
    let options =
        |options: &[&str]| json!([{ "destination": "/a", "type": "bind", "source": "/s", "options": options }]);
    are_refused(&[
        ("/mounts", options(&["copy-symlink"]), "copy-symlink"),
        ("/mounts", options(&["idmap=uids=0-1-10"]), "idmap=uids"),
        ("/mounts", options(&["tmpcopyup"]), "tmpcopyup"),
        ("/mounts", json!([{ "destination": "/", "type": "overlay", "options": ["tmpcopyup"] }]), "root"),
    ]);
}

#[test]
fn a_source_that_only_the_runtime_can_name_is_taken_by_it() {
    let planned = mount(json!({ "destination": "/a", "source": "/proc/self/fd/9", "options": ["bind"] }));
    assert_eq!(planned, "mount       /a bind /proc/self/fd/9 taken by the runtime");
}

#[test]
fn shares_of_caches_are_planned_in_the_order_of_the_spec() {
    let rdt = |value: Value| lines(&plan(with("/linux/intelRdt", value), &root()).unwrap(), "resctrl").remove(0);
    let all = json!({ "l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20", "schemata": ["L2:0=1", "MB:0=30"],
        "enableMonitoring": true });
    assert_eq!(rdt(all), "resctrl     class /web L3:0=f MB:0=20 L2:0=1 MB:0=30 monitored as web");
    assert_eq!(rdt(json!({ "closID": "gold" })), "resctrl     class /gold ");
    assert_eq!(rdt(json!({ "closID": "/" })), "resctrl     class / ");
    are_refused(&[
        ("/linux/intelRdt", json!({ "closID": "../x" }), "closID"),
        ("/linux/intelRdt", json!({ "closID": "info" }), "closID"),
        ("/linux/intelRdt", json!({ "memBwSchema": "L3:0=1" }), "memBwSchema"),
    ]);
}

#[test]
fn a_process_may_have_a_label_of_each_module() {
    let mut spec = with("/process/apparmorProfile", json!("docker-default"));
    spec["process"]["selinuxLabel"] = json!("u:r:t:s0");
    let expected = [
        "label       thread-self/attr/apparmor/exec exec docker-default",
        "label       thread-self/attr/exec u:r:t:s0",
    ];
    assert_eq!(lines(&plan(spec, &root()).unwrap(), "label"), expected);
}

/// Its network classes are cgroup v1's, its version is older than 1.0.
#[test]
fn the_specifications_own_example_is_planned_but_for_what_cgroup_v2_has_not() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/oci/runtime/schema/test/config/good");
    let text = match std::fs::read(examples.join("spec-example.json")) {
        Ok(text) => text,
        Err(error) => return eprintln!("skipped: {}: {error}", examples.display()),
    };
    let mut spec: Value = serde_json::from_slice(&text).unwrap();
    spec["ociVersion"] = json!("1.3.0");
    let planned = plan(spec, &root()).unwrap();
    assert_eq!(lines(&planned, "new"), ["new         user mount pid network ipc uts cgroup time"]);
    assert_eq!(lines(&planned, "label").len(), 2);
    assert_eq!(lines(&planned, "sysctl").len(), 2);
}
