// SPDX-License-Identifier: Apache-2.0
use super::super::Mount;
use super::*;

fn level(dir: &str, available: &str, enabled: &str, populated: bool) -> Level {
    Level {
        dir: dir.into(),
        available: Controllers::parse(available.as_bytes()),
        enabled: Controllers::parse(enabled.as_bytes()),
        populated,
    }
}

fn facts(top: Option<Level>, delegated: Vec<Level>) -> Facts {
    let mount = Some(Mount { at: "/cg".into(), root: "/".into() });
    Facts { mount, top, delegated, v1: Controllers::named("cpu") }
}

fn root() -> Facts {
    facts(Some(level("/cg", "cpuset cpu io memory pids", "memory pids", false)), Vec::new())
}

/// A user in a terminal of a systemd session: its own scope holds processes, the slice above does not.
fn user() -> Facts {
    let slice = "/cg/user.slice/app.slice";
    let own = format!("{slice}/terminal.scope");
    let above = "/cg/user.slice";
    let delegated = vec![
        level(slice, "memory pids", "memory pids", false),
        level(above, "cpu memory pids", "memory pids", false),
        level(&own, "memory pids", "", true),
    ];
    facts(None, delegated)
}

fn needs(names: &str) -> Controllers {
    Controllers::parse(names.as_bytes())
}

/// Where the cgroup of container c1 goes, as text.
fn text(path: Option<&str>, facts: &Facts, needed: &str) -> String {
    match place("c1", path.map(Path::new), facts, needs(needed)) {
        Ok(Place::None { why }) => why.to_owned(),
        Ok(Place::Directory { base, dir }) => format!("{} in {}", dir.display(), base.dir.display()),
        Ok(Place::Scope(_)) => unreachable!("only the plan asks systemd"),
        Err(error) => format!("error: {error:#}"),
    }
}

#[test]
fn root_gets_a_cgroup_below_the_mount() {
    assert_eq!(text(None, &root(), ""), "/cg/c1 in /cg");
    assert_eq!(text(Some(""), &root(), "memory"), "/cg/c1 in /cg");
    assert_eq!(text(Some("/docker/c1"), &root(), "cpu"), "/cg/docker/c1 in /cg");
    assert_eq!(text(Some("pods/c1"), &root(), ""), "/cg/pods/c1 in /cg");
}

#[test]
fn a_path_never_leads_out_of_the_mount() {
    assert_eq!(text(Some("/../../etc/x"), &root(), ""), "/cg/etc/x in /cg");
    assert_eq!(text(Some("a/../../../b/./c"), &root(), ""), "/cg/b/c in /cg");
    assert!(text(Some("/a/.."), &root(), "").contains("is the root"));
}

#[test]
fn a_user_gets_one_beside_his_own() {
    assert_eq!(text(None, &user(), ""), "/cg/user.slice/app.slice/c1 in /cg/user.slice/app.slice");
    assert_eq!(text(None, &user(), "memory pids"), "/cg/user.slice/app.slice/c1 in /cg/user.slice/app.slice");
    assert_eq!(text(Some("x/y"), &user(), ""), "/cg/user.slice/app.slice/x/y in /cg/user.slice/app.slice");
}

#[test]
fn a_user_gets_one_further_up_if_only_there_the_controller_is() {
    assert_eq!(text(None, &user(), "cpu"), "/cg/user.slice/c1 in /cg/user.slice");
}

#[test]
fn a_controller_nowhere_delegated_is_named() {
    let said = text(None, &user(), "io");
    assert!(said.contains("controller io") && said.contains("Delegate=io"), "{said}");
    let said = text(None, &root(), "hugetlb");
    assert!(said.contains("/cg does not have it"), "{said}");
}

#[test]
fn a_controller_that_v1_holds_is_said_to_be_there() {
    let hybrid = facts(Some(level("/cg", "hugetlb", "", false)), Vec::new());
    let said = text(None, &hybrid, "cpu");
    assert!(said.contains("cgroup v1 holds it") && said.contains("unified_cgroup_hierarchy"), "{said}");
}

#[test]
fn a_cgroup_with_processes_can_have_a_child_but_give_it_nothing_new() {
    let service = facts(None, vec![level("/cg/service", "memory pids", "", true)]);
    assert_eq!(text(None, &service, ""), "/cg/service/c1 in /cg/service");
    let said = text(None, &service, "memory");
    assert!(said.contains("has processes of its own") && said.contains("systemd-run"), "{said}");
}

#[test]
fn without_delegation_there_is_none_or_a_hint() {
    let nothing = facts(None, Vec::new());
    assert_eq!(text(None, &nothing, ""), "no cgroup is delegated to this user and no limit is asked for");
    let said = text(None, &nothing, "memory pids");
    assert!(said.contains("controllers memory pids") && said.contains("Delegate=yes"), "{said}");
    assert!(text(Some("x"), &nothing, "").contains("linux.cgroupsPath is set"));
    // An absolute path is tried: the kernel knows who may.
    assert_eq!(text(Some("/x"), &nothing, ""), "/cg/x in /cg");
}

#[test]
fn an_absolute_path_inside_what_is_delegated_starts_there() {
    let said = text(Some("/user.slice/app.slice/k/c1"), &user(), "memory");
    assert_eq!(said, "/cg/user.slice/app.slice/k/c1 in /cg/user.slice/app.slice");
}

#[test]
fn without_cgroup2_there_is_none_or_a_hint() {
    let v1 = Facts { v1: needs("memory"), ..Facts::default() };
    assert_eq!(text(None, &v1, ""), "cgroup v2 is not mounted and no limit is asked for");
    assert!(text(None, &v1, "memory").contains("uses cgroup v1"));
    assert!(text(None, &Facts::default(), "memory").contains("mount -t cgroup2"));
}

#[test]
fn an_id_that_is_no_file_name_is_refused() {
    for id in ["", ".", "..", "a/b", "a\nb"] {
        let refused = place(id, None, &root(), Controllers::NONE);
        assert!(refused.is_err_and(|error| error.kind() == Kind::BadInput), "{id:?}");
    }
}
