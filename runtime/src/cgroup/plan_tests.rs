// SPDX-License-Identifier: Apache-2.0
use super::super::{Level, Mount};
use super::*;

fn root() -> Facts {
    let available = Controllers::parse(b"cpuset cpu io memory hugetlb pids rdma misc");
    let top = Level { dir: "/cg".into(), available, ..Level::default() };
    Facts { mount: Some(Mount { at: "/cg".into(), root: "/".into() }), top: Some(top), ..Facts::default() }
}

/// The plan for a spec whose linux part is `linux`, as text.
fn text(linux: &str, facts: &Facts, manager: Manager, rootless: bool) -> String {
    let cgroup = r#"{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}"#;
    let spec = format!(
        r#"{{"ociVersion": "1.2.0", "mounts": [{cgroup}], "linux": {linux},
            "process": {{"cwd": "/", "args": ["x"], "user": {{"uid": 5, "gid": 0}}}}}}"#
    );
    let spec: Spec = serde_json::from_str(&spec).unwrap();
    match plan(&spec, "c1", facts, manager, rootless) {
        Ok(plan) => plan.to_string(),
        Err(error) => format!("error: {error:#}"),
    }
}

#[test]
fn a_container_of_root_gets_directory_limits_and_device_rules() {
    let linux = r#"{"cgroupsPath": "/docker/c1",
        "resources": {"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 7},
                      "memory": {"limit": 1048576, "swappiness": 3}, "blockIO": {"weight": 100}}}"#;
    let expected = "\
cgroup /cg/docker/c1
  made in /cg
  needs io memory pids
  write pids.max 7
  write memory.max 1048576
  write io.bfq.weight 100 (or io.weight 910)
  devices deny a *:* rwm
  devices allow c *:* m
  devices allow b *:* m
  devices allow c 1:3 rwm
  devices allow c 1:8 rwm
  devices allow c 1:7 rwm
  devices allow c 1:5 rwm
  devices allow c 1:9 rwm
  devices allow c 5:0 rwm
  devices allow c 5:2 rwm
  devices allow c 136:* rwm
  ignored memory.swappiness: cgroup v2 has vm.swappiness for the host only
";
    assert_eq!(text(linux, &root(), Manager::Cgroupfs, false), expected);
}

#[test]
fn a_privileged_container_needs_no_device_program() {
    let linux = r#"{"resources": {"devices": [{"allow": true, "type": "a", "access": "rwm"}]}}"#;
    assert_eq!(text(linux, &root(), Manager::Cgroupfs, false), "cgroup /cg/c1\n  made in /cg\n");
}

#[test]
fn a_user_gets_no_device_program_and_no_delegation() {
    let delegated = vec![Level { dir: "/cg/user".into(), ..Level::default() }];
    let facts = Facts { mount: root().mount, delegated, ..Facts::default() };
    let linux = r#"{"namespaces": [{"type": "cgroup"}], "resources": {"devices": [{"allow": false}]}}"#;
    let expected = "\
cgroup /cg/user/c1
  made in /cg/user
  ignored devices: the kernel lets no user load a device program; nodes are bound from the host's /dev instead
";
    assert_eq!(text(linux, &facts, Manager::Cgroupfs, true), expected);
}

#[test]
fn the_files_of_a_writable_cgroup_mount_go_to_the_hosts_id_of_the_process() {
    let owned = |linux: &str| text(linux, &root(), Manager::Cgroupfs, false).contains("delegated to uid 100005");
    let maps = r#""uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]"#;
    assert!(owned(&format!(r#"{{"namespaces": [{{"type": "cgroup"}}, {{"type": "user"}}], {maps}}}"#)));
    assert!(!owned(&format!(r#"{{"namespaces": [{{"type": "user"}}], {maps}}}"#)));
    assert!(!owned(&format!(r#"{{"namespaces": [{{"type": "cgroup", "path": "/x"}}, {{"type": "user"}}], {maps}}}"#)));
}

#[test]
fn cgroups_can_be_switched_off() {
    let text = text(r#"{"resources": {"pids": {"limit": 7}}}"#, &root(), Manager::Disabled, false);
    assert!(text.starts_with("no cgroup: cgroups are switched off\n"), "{text}");
}

#[test]
fn directories_are_listed_outermost_first() {
    let spec: Spec = serde_json::from_str(r#"{"ociVersion": "1.2.0", "linux": {"cgroupsPath": "/a/b/c"}}"#).unwrap();
    let plan = plan(&spec, "c1", &root(), Manager::Cgroupfs, false).unwrap();
    let directories = ["/cg/a", "/cg/a/b", "/cg/a/b/c"].map(PathBuf::from);
    assert_eq!(plan.directories(), directories);
    let [a, b, c] = directories;
    assert_eq!(plan.will_be_made(), [Made::CgroupParent(a), Made::CgroupParent(b), Made::Cgroup(c)]);
}
