// SPDX-License-Identifier: Apache-2.0
//! On the real cgroup2 of the machine, which may have few controllers or none: what needs more is tested in a guest.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use kelp_sys::rustix::fs::{Mode, OFlags, mkdirat, openat};
use oci_spec::runtime::Spec;

use super::super::{Facts, Manager, plan};
use super::*;

/// A plan for a cgroup of this test alone, `linux` being JSON for the linux part of the spec. None, with the reason
/// printed, where this machine lets us make no cgroup.
fn planned(linux: &str) -> Option<CgroupPlan> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let facts = Facts::read().unwrap();
    if facts.top.is_none() && facts.delegated.is_empty() {
        println!("skipped: no cgroup2 is writable here");
        return None;
    }
    let spec: Spec = serde_json::from_str(&format!(r#"{{"ociVersion": "1.2.0", "linux": {linux}}}"#)).unwrap();
    let id = format!("kelp-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let rootless = facts.top.is_none();
    match plan(&spec, &id, &facts, Manager::Cgroupfs, rootless) {
        Ok(plan) => Some(plan),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

fn made(plan: &CgroupPlan) -> Cgroup {
    Cgroup::make(plan).unwrap().unwrap()
}

/// A shell that enters the cgroup first.
fn shell(cgroup: &Cgroup, script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("echo $$ > {}/cgroup.procs && {script}", cgroup.dir().display())]).stdin(Stdio::null());
    shell
}

/// A shell in the cgroup, killed when the test ends by whatever way.
struct Inmate(Child);

impl Inmate {
    fn put_into(cgroup: &Cgroup, script: &str) -> Self {
        let mut inmate = Self(shell(cgroup, script).spawn().unwrap());
        let pid = i32::try_from(inmate.0.id()).unwrap();
        while !cgroup.processes().unwrap().contains(&pid) {
            assert!(inmate.0.try_wait().unwrap().is_none(), "the shell never entered");
            std::thread::yield_now();
        }
        inmate
    }

    fn gone(&mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Inmate {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_cgroup_is_made_and_removed_and_found_again_in_between() {
    let Some(plan) = planned("{}") else { return };
    let directory = plan.directory().unwrap().to_owned();
    let cgroup = made(&plan);
    assert_eq!(cgroup.dir(), directory);
    let record = serde_json::from_str(&serde_json::to_string(cgroup.record()).unwrap()).unwrap();
    Cgroup::open(&record).unwrap().unwrap().remove().unwrap();
    assert!(!directory.exists());
    assert!(Cgroup::open(&record).unwrap().is_none());
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
}

#[test]
fn a_directory_above_is_removed_only_when_nobody_uses_it() {
    let Some(plan) = planned("{}") else { return };
    let above = made(&plan);
    let below = above.dir().join("other");
    std::fs::create_dir(&below).unwrap();
    remove_if_unused(above.dir()).unwrap();
    assert!(below.exists());
    std::fs::remove_dir(&below).unwrap();
    remove_if_unused(above.dir()).unwrap();
    assert!(!above.dir().exists());
    remove_if_unused(above.dir()).unwrap();
}

#[test]
fn an_empty_cgroup_is_taken_and_one_in_use_is_not() {
    let Some(plan) = planned("{}") else { return };
    let first = made(&plan);
    let second = made(&plan);
    let _inmate = Inmate::put_into(&first, "exec sleep 60");
    let error = Cgroup::make(&plan).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    second.kill().unwrap();
    second.remove().unwrap();
}

#[test]
fn kill_ends_all_descendants_and_remove_waits_for_them() {
    let Some(plan) = planned("{}") else { return };
    let cgroup = made(&plan);
    let below = cgroup.dir().join("a");
    let script = format!("mkdir -p {0}/b && (echo $BASHPID; sleep 60) & sleep 60 & wait", below.display());
    let mut inmate = Inmate::put_into(&cgroup, &script);
    assert!(!cgroup.processes().unwrap().is_empty());
    cgroup.kill().unwrap();
    let directory = cgroup.dir().to_owned();
    cgroup.remove().unwrap();
    assert!(!inmate.gone().success());
    assert!(!directory.exists());
}

#[test]
fn processes_of_inner_cgroups_are_listed_and_the_deepest_tree_is_removed() {
    let Some(plan) = planned("{}") else { return };
    let cgroup = made(&plan);
    // Deeper than PATH_MAX has room for, by names as long as they may be.
    let name = "d".repeat(200);
    let mut deepest = open_directory(cgroup.dir()).unwrap();
    for _ in 0..40 {
        mkdirat(&deepest, &name, Mode::from_raw_mode(0o755)).unwrap();
        deepest = openat(&deepest, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    let inmate = Inmate::put_into(&cgroup, "exec sleep 60");
    write_file(&deepest, "cgroup.procs", inmate.0.id().to_string().as_bytes()).unwrap();
    assert_eq!(cgroup.processes().unwrap(), [i32::try_from(inmate.0.id()).unwrap()]);
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
}

#[test]
fn a_frozen_cgroup_stands_still_and_can_be_killed() {
    let Some(plan) = planned("{}") else { return };
    let cgroup = made(&plan);
    let mut inmate = Inmate::put_into(&cgroup, "while :; do :; done");
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    let ticks = || std::fs::read_to_string(format!("/proc/{}/stat", inmate.0.id())).unwrap();
    let cpu = |stat: &str| stat.split(' ').skip(13).take(2).map(str::to_owned).collect::<Vec<_>>();
    let before = cpu(&ticks());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(cpu(&ticks()), before, "it used the CPU while frozen");
    cgroup.thaw().unwrap();
    assert!(!Event::Frozen.wait(cgroup.fd(), Some(false), PATIENCE).unwrap());
    cgroup.freeze().unwrap();
    cgroup.kill().unwrap();
    assert!(!inmate.gone().success());
    cgroup.remove().unwrap();
}

#[test]
fn a_container_that_was_left_alive_is_named_by_remove() {
    let Some(plan) = planned("{}") else { return };
    let cgroup = made(&plan);
    let inmate = Inmate::put_into(&cgroup, "exec sleep 60");
    let populated = Event::Populated.wait(cgroup.fd(), Some(false), Duration::from_millis(20)).unwrap();
    assert!(populated, "a wait ends when patience does");
    drop(inmate);
    cgroup.remove().unwrap();
}

#[test]
fn a_file_that_is_not_there_stops_and_one_that_may_be_absent_does_not() {
    let Some(plan) = planned(r#"{"resources": {"unified": {"cgroup.nonsense": "1"}}}"#) else { return };
    let cgroup = made(&plan);
    let error = apply::write_limits(cgroup.fd(), &plan.limits).unwrap_err();
    assert!(error.to_string().contains("cgroup.nonsense"), "{error}");
    cgroup.remove().unwrap();
    let Some(mut plan) = planned(r#"{"resources": {"unified": {"cgroup.max.depth": "5"}}}"#) else { return };
    let cgroup = made(&plan);
    plan.limits.writes.push(super::super::Write {
        file: "memory.nonsense".into(),
        value: "1".into(),
        absent: super::super::Absent::Skip,
    });
    apply::write_limits(cgroup.fd(), &plan.limits).unwrap();
    assert_eq!(std::fs::read_to_string(cgroup.dir().join("cgroup.max.depth")).unwrap(), "5\n");
    cgroup.remove().unwrap();
}

#[test]
fn the_device_program_loads_and_decides_and_an_update_replaces_it() {
    let deny = r#"{"allow": false, "access": "rwm"}"#;
    let tun = r#"{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}"#;
    let Some(plan) = planned(&format!(r#"{{"resources": {{"devices": [{deny}]}}}}"#)) else { return };
    if plan.devices.is_none() {
        println!("skipped: {plan}");
        return;
    }
    let cgroup = made(&plan);
    if let Err(error) = cgroup.apply(&plan) {
        cgroup.remove().unwrap();
        assert!(!kelp_sys::rustix::process::geteuid().is_root(), "{error:#}");
        println!("skipped: {error}");
        return;
    }
    let can_read = |device: &str| shell(&cgroup, &format!("exec 3<{device} 2>&-")).status().unwrap().success();
    assert!(can_read("/dev/null"));
    if std::fs::File::open("/dev/fuse").is_err() {
        println!("skipped: the second half, for want of /dev/fuse");
    } else {
        assert!(!can_read("/dev/fuse"));
        cgroup.update(&serde_json::from_str(r#"{"pids": {}}"#).unwrap()).unwrap();
        assert!(!can_read("/dev/fuse"), "an update without rules changed them");
        cgroup.update(&serde_json::from_str(&format!(r#"{{"devices": [{deny}, {tun}]}}"#)).unwrap()).unwrap();
        assert!(can_read("/dev/fuse"));
        assert!(can_read("/dev/null"));
        let mut ids = [0; 8];
        assert_eq!(kelp_sys::bpf::device_programs(cgroup.fd(), &mut ids).unwrap(), 1);
    }
    cgroup.remove().unwrap();
}

#[test]
fn statistics_of_whatever_is_there_are_read() {
    let Some(plan) = planned("{}") else { return };
    let cgroup = made(&plan);
    let statistics = cgroup.statistics().unwrap();
    assert!(statistics.cpu.contains_key("usage_usec"), "{statistics:?}");
    assert_eq!(cgroup.oom_kills().unwrap(), 0);
    cgroup.remove().unwrap();
}

#[test]
fn limits_arrive_in_the_kernel_and_updates_change_only_what_they_name() {
    let linux = r#"{"resources": {"memory": {"limit": 67108864, "swap": 100663296, "reservation": 1048576},
        "cpu": {"shares": 2048, "quota": 50000, "period": 200000, "burst": 1000}, "pids": {"limit": 77}}}"#;
    let Some(plan) = planned(linux) else { return };
    let cgroup = made(&plan);
    cgroup.apply(&plan).unwrap();
    let reads = |file: &str| std::fs::read_to_string(cgroup.dir().join(file)).unwrap().trim().to_owned();
    let expected = [
        ("memory.max", "67108864"),
        ("memory.low", "1048576"),
        ("cpu.weight", "174"),
        ("cpu.max", "50000 200000"),
        ("cpu.max.burst", "1000"),
        ("pids.max", "77"),
    ];
    for (file, value) in expected {
        assert_eq!(reads(file), value, "{file}");
    }
    // The new burst is above the old quota, the new quota below the old burst: either order fails in one write.
    for cpu in [r#"{"quota": 80000, "burst": 60000}"#, r#"{"quota": 20000, "burst": 500}"#] {
        cgroup
            .update(&serde_json::from_str(&format!(r#"{{"cpu": {cpu}, "pids": {{"limit": -1}}}}"#)).unwrap())
            .unwrap();
    }
    assert_eq!([reads("cpu.max"), reads("pids.max"), reads("memory.max")], ["20000 200000", "max", "67108864"]);
    let _inmate = Inmate::put_into(&cgroup, "x=$(head -c 1000000 /dev/zero | tr '\\0' x) && sleep 60");
    while cgroup.statistics().unwrap().memory.current < Some(1_000_000) {
        std::thread::yield_now();
    }
    let tight = r#"{"memory": {"limit": 4096, "checkBeforeUpdate": true}}"#;
    let error = cgroup.update(&serde_json::from_str(tight).unwrap()).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    assert!(cgroup.statistics().unwrap().pids.current >= Some(1));
    assert_eq!(cgroup.statistics().unwrap().memory.max, Some(67_108_864));
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
}

#[test]
fn the_oom_killer_is_counted() {
    let Some(plan) = planned(r#"{"resources": {"memory": {"limit": 16777216, "swap": 16777216}}}"#) else { return };
    let cgroup = made(&plan);
    cgroup.apply(&plan).unwrap();
    let mut inmate = Inmate::put_into(&cgroup, "exec tail /dev/zero");
    assert!(!inmate.gone().success());
    assert_eq!(cgroup.oom_kills().unwrap(), 1);
    cgroup.remove().unwrap();
}

/// A plan for a scope of this test alone. None, with the reason printed, without systemd.
fn planned_scope(name: &str, resources: &str) -> Option<CgroupPlan> {
    if !Path::new("/run/systemd/system").exists() {
        println!("skipped: systemd does not run here");
        return None;
    }
    let facts = Facts::read().unwrap();
    let linux = format!(r#"{{"cgroupsPath": ":kelp-test-{}:{name}", "resources": {resources}}}"#, std::process::id());
    let annotations = r#"{"org.systemd.property.TimeoutStopUSec": "uint64 7000000"}"#;
    let spec = format!(r#"{{"ociVersion": "1.2.0", "annotations": {annotations}, "linux": {linux}}}"#);
    let rootless = !kelp_sys::rustix::process::geteuid().is_root();
    Some(plan(&serde_json::from_str(&spec).unwrap(), "c1", &facts, Manager::Systemd, rootless).unwrap())
}

/// What systemd says of a property of a scope.
fn shown(cgroup: &Cgroup, property: &str) -> String {
    let scope = cgroup.record().scope.as_ref().unwrap();
    let mut systemctl = Command::new("systemctl");
    if scope.bus == super::super::Bus::User {
        systemctl.arg("--user");
    }
    let output = systemctl.args(["show", "--value", "-p", property, &scope.unit]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_scope_is_made_limited_changed_and_stopped_by_systemd() {
    let resources =
        r#"{"memory": {"limit": 67108864}, "pids": {"limit": 77}, "cpu": {"shares": 2048, "quota": 12345}}"#;
    let Some(plan) = planned_scope("whole", resources) else { return };
    let cgroup = made(&plan);
    cgroup.apply(&plan).unwrap();
    let reads = |file: &str| std::fs::read_to_string(cgroup.dir().join(file)).unwrap().trim().to_owned();
    assert_eq!([reads("memory.max"), reads("pids.max")], ["67108864", "77"]);
    assert_eq!([reads("cpu.weight"), reads("cpu.max")], ["174", "12345 100000"]);
    assert_eq!([shown(&cgroup, "MemoryMax"), shown(&cgroup, "TasksMax")], ["67108864", "77"]);
    assert_eq!([shown(&cgroup, "Delegate"), shown(&cgroup, "TimeoutStopUSec")], ["yes", "7s"]);
    cgroup.update(&serde_json::from_str(r#"{"memory": {"limit": 134217728}}"#).unwrap()).unwrap();
    assert_eq!([reads("memory.max"), shown(&cgroup, "MemoryMax")], ["134217728", "134217728"]);
    let inmate = Inmate::put_into(&cgroup, "exec sleep 60");
    let record = cgroup.record().clone();
    // The helper goes with it, the scope stays: somebody is in it.
    drop(cgroup);
    let cgroup = Cgroup::open(&record).unwrap().unwrap();
    assert_eq!(cgroup.processes().unwrap(), [i32::try_from(inmate.0.id()).unwrap()]);
    let error = Cgroup::make(&plan).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error:#}");
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
    assert!(!record.dir.exists());
    // Its name is free at once.
    for _ in 0..5 {
        made(&plan).remove_after_its_keeper();
    }
}

impl Cgroup {
    /// Removes a scope in which there is only the helper.
    fn remove_after_its_keeper(self) {
        let record = self.record().clone();
        drop(self);
        if let Some(cgroup) = Cgroup::open(&record).unwrap() {
            cgroup.remove().unwrap();
        }
        record.scope.unwrap().stop().unwrap();
    }
}

#[test]
fn one_task_is_room_enough_for_init() {
    let Some(plan) = planned_scope("tight", r#"{"pids": {"limit": 1}}"#) else { return };
    let cgroup = made(&plan);
    let inmate = Inmate::put_into(&cgroup, "exec sleep 60");
    cgroup.apply(&plan).unwrap();
    assert_eq!(std::fs::read_to_string(cgroup.dir().join("pids.max")).unwrap(), "1\n");
    cgroup.kill().unwrap();
    drop(inmate);
    cgroup.remove_after_its_keeper();
}

#[test]
fn a_process_from_anywhere_is_attached() {
    let Some(plan) = planned_scope("attach", "{}") else { return };
    let cgroup = made(&plan);
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = i32::try_from(sleeper.id()).unwrap();
    cgroup.record().scope.as_ref().unwrap().put(sleeper.id()).unwrap();
    assert!(cgroup.processes().unwrap().contains(&pid));
    cgroup.attach(pid).unwrap();
    cgroup.kill().unwrap();
    sleeper.wait().unwrap();
    cgroup.remove_after_its_keeper();
}

#[test]
fn a_property_that_systemd_does_not_know_is_explained() {
    let Some(mut plan) = planned_scope("odd", "{}") else { return };
    if let Place::Scope(scope) = &mut plan.place {
        scope.properties.push(("NoSuchThing".into(), super::super::Value::Bool(true)));
    }
    let error = format!("{:#}", Cgroup::make(&plan).unwrap_err());
    assert!(error.contains("NoSuchThing") && error.contains("hint"), "{error}");
}

/// Where a process that enters the container is born, below the container's cgroup.
fn birthplace(cgroup: &Cgroup, init: i32) -> String {
    use kelp_sys::clone::Cloned;
    let now = Cgroup::of_init(Some(cgroup.record()), init).unwrap();
    match super::super::clone_into(now.as_ref()).unwrap() {
        Cloned::Child => loop {
            kelp_sys::rustix::event::pause();
        },
        Cloned::Parent { pid, pidfd } => {
            let place = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            kelp_sys::process::signal_process(pidfd.as_fd(), 9).unwrap();
            let id = kelp_sys::rustix::process::Pid::from_raw(pid).unwrap();
            kelp_sys::rustix::process::waitpid(Some(id), kelp_sys::rustix::process::WaitOptions::empty()).unwrap();
            let name = cgroup.dir().file_name().unwrap().to_string_lossy().into_owned();
            let v2 = place.lines().find(|line| line.starts_with("0::")).unwrap();
            v2.split_once(&name).unwrap().1.to_owned()
        }
    }
}

#[test]
fn who_enters_is_born_where_init_is_now() {
    let Some(plan) = planned("{}") else { return };
    let cgroup = made(&plan);
    let inmate = Inmate::put_into(&cgroup, "exec sleep 60");
    let init = i32::try_from(inmate.0.id()).unwrap();
    assert_eq!(birthplace(&cgroup, init), "");
    std::fs::create_dir(cgroup.dir().join("inner")).unwrap();
    std::fs::write(cgroup.dir().join("inner/cgroup.procs"), init.to_string()).unwrap();
    assert_eq!(birthplace(&cgroup, init), "/inner");
    let controllers = std::fs::read_to_string(cgroup.dir().join("cgroup.controllers")).unwrap();
    // Controllers for threads leave a cgroup able to take processes.
    if let Some(name) = controllers.split_whitespace().find(|name| matches!(*name, "memory" | "io" | "hugetlb")) {
        std::fs::write(cgroup.dir().join("cgroup.subtree_control"), format!("+{name}")).unwrap();
        assert_eq!(birthplace(&cgroup, init), "/inner");
    } else {
        println!("skipped: a cgroup that takes no process, for want of a controller in {controllers:?}");
    }
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
}
