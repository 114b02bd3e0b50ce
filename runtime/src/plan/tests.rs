// SPDX-License-Identifier: Apache-2.0
//! Plans compared as text.

use super::{Options, Plan};
use crate::bundle::Bundle;
use crate::host::Host;
use crate::{Error, Kind};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(super) fn user() -> Host {
    Host {
        uid: 1000,
        gid: 1000,
        may_administer: false,
        may_map_ids: false,
        nested: true,
        cwd: PathBuf::from("/home/u"),
    }
}

pub(super) fn root() -> Host {
    Host { uid: 0, gid: 0, may_administer: true, may_map_ids: true, nested: false, cwd: PathBuf::from("/") }
}

pub(super) fn plan(json: Value, host: &Host) -> Result<Plan, Error> {
    let bundle = Bundle { spec: serde_json::from_value(json).unwrap(), warnings: Vec::new() };
    Plan::make(&bundle, Path::new("bundle/."), "web", host, Options::default())
}

pub(super) fn smallest() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["sh", "-c", "true"], "env": ["PATH=/bin:/sbin"] },
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] }
    })
}

/// The lines of the plan that begin with this word.
pub(super) fn lines(plan: &Plan, word: &str) -> Vec<String> {
    plan.to_string().lines().filter(|line| line.split(' ').next() == Some(word)).map(str::to_owned).collect()
}

#[test]
fn a_relative_bundle_is_found_from_the_current_directory() {
    let plan = plan(smallest(), &root()).unwrap();
    assert_eq!(lines(&plan, "bundle"), ["bundle      /bundle"]);
    assert_eq!(lines(&plan, "root"), ["root        /bundle/rootfs Slave Tree"]);
    assert_eq!(lines(&plan, "new"), ["new         mount pid"]);
}

#[test]
fn a_user_without_a_user_namespace_is_told_how_to_get_one() {
    let error = plan(smallest(), &user()).unwrap_err();
    assert!(error.advice().unwrap().contains("spec --rootless"), "{error:#}");
}

#[test]
fn a_user_who_maps_his_own_ids_lets_init_write_them_and_any_more_needs_newuidmap() {
    let mut spec = smallest();
    spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "user" }]);
    let own = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    spec["linux"]["uidMappings"] = own.clone();
    spec["linux"]["gidMappings"] = own;
    let planned = plan(spec.clone(), &user()).unwrap();
    assert_eq!(lines(&planned, "ids"), ["ids         own uid 0 1000 1 gid 0 1000 1"]);
    assert!(planned.become_root);
    assert!(lines(&planned, "user")[0].contains("groups not settable"));

    spec["linux"]["uidMappings"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "containerID": 1, "hostID": 100_000, "size": 65536 }));
    let planned = plan(spec.clone(), &user()).unwrap();
    assert!(lines(&planned, "ids").contains(&"ids         by newuidmap uid 1 100000 65536".to_owned()));
    let planned = plan(spec, &root()).unwrap();
    assert!(lines(&planned, "ids").contains(&"ids         written uid 1 100000 65536".to_owned()));
}

#[test]
fn devices_are_made_by_root_and_bound_for_users() {
    let made = plan(smallest(), &root()).unwrap();
    assert!(lines(&made, "device").contains(&"device      /dev/null CharacterDevice 1:3 666".to_owned()));
    let mut spec = smallest();
    spec["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "user" }]);
    spec["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 5, "size": 1 }]);
    spec["linux"]["gidMappings"] = spec["linux"]["uidMappings"].clone();
    let bound = plan(spec, &root()).unwrap();
    assert!(lines(&bound, "device").contains(&"device      /dev/null bind /dev/null".to_owned()));
}

#[test]
fn the_last_of_two_contrary_mount_options_counts_and_data_is_passed_on() {
    let mut spec = smallest();
    spec["mounts"] = json!([
        { "destination": "/a/../t", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "nosuid", "rw", "size=1m", "mode=700"] },
        { "destination": "/b", "type": "bind", "source": "data", "options": ["rbind", "rw", "ro", "rprivate", "rnoexec"] },
    ]);
    let planned = plan(spec, &root()).unwrap();
    assert_eq!(
        lines(&planned, "mount"),
        [
            "mount       /t tmpfs from tmpfs flags 0x2 size=1m,mode=700",
            "mount       /b rbind /bundle/data set +0x1 -0x0 tree +0x8 -0x0 Private Tree",
        ]
    );
}

#[test]
fn only_the_first_mount_can_be_the_root_and_only_as_an_overlay() {
    let overlay = json!({ "destination": "/", "type": "overlay", "source": "overlay", "options": ["lowerdir=/l2:/l1", "userxattr"] });
    let mut spec = smallest();
    spec["mounts"] = json!([overlay]);
    let planned = plan(spec.clone(), &root()).unwrap();
    assert_eq!(lines(&planned, "overlay"), ["overlay     lowerdir=/l2:/l1,userxattr"]);
    let options: Vec<_> =
        planned.root.overlay.as_ref().unwrap().options.iter().map(|(key, _)| key.to_str().unwrap()).collect();
    assert_eq!(options, ["lowerdir+", "lowerdir+", "userxattr"]);

    spec["mounts"] = json!([{ "destination": "/tmp", "type": "tmpfs" }, overlay]);
    assert_eq!(plan(spec.clone(), &root()).unwrap_err().kind(), Kind::BadInput);
    spec["mounts"] = json!([{ "destination": "/", "type": "tmpfs" }]);
    assert_eq!(plan(spec, &root()).unwrap_err().kind(), Kind::BadInput);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let cases = [
        ("/process/args", json!([]), "process.args"),
        ("/process/cwd", json!("tmp"), "process.cwd"),
        ("/process/oomScoreAdj", json!(2000), "oomScoreAdj"),
        ("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }]), "RLIMIT_CORE"),
        ("/linux/namespaces", json!([{ "type": "pid" }, { "type": "pid" }]), "namespaces"),
        ("/linux/namespaces", json!([{ "type": "pid", "path": "relative" }]), "relative"),
        ("/linux/rootfsPropagation", json!("sideways"), "sideways"),
        ("/linux/sysctl", json!({ "kernel.panic": "1" }), "kernel.panic"),
        ("/hostname", json!("renamed"), "hostname"),
        ("/mounts", json!([{ "destination": "/x", "source": "y" }]), "/x"),
        ("/mounts", json!([{ "destination": "/x", "type": "bind" }]), "/x"),
        ("/linux/devices", json!([{ "path": "/dev/x", "type": "c", "major": -1, "minor": 0 }]), "/dev/x"),
    ];
    for (pointer, value, named) in cases {
        let mut spec = smallest();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = if parent.is_empty() { &mut spec } else { spec.pointer_mut(parent).unwrap() };
        parent[key] = value;
        let error = plan(spec, &root()).unwrap_err();
        assert_eq!(error.kind(), Kind::BadInput, "{pointer}: {error:#}");
        assert!(format!("{error:#}").contains(named), "{pointer}: {error:#}");
    }
}
