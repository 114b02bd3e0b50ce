// SPDX-License-Identifier: Apache-2.0
//! Namespaces: new, shared with the host, and joined by path.
//!
//! Runs `kelp-runtime`. Spec: config-linux.md "Namespaces", "User namespace mappings".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{Bundle, Who, World, claims};
use serde_json::{Value, json};

claims!(as_root, as_user:
    namespaces_of_the_spec_are_new_and_others_are_the_hosts,
    a_second_container_joins_the_first_ones_namespaces_by_path,
    duplicate_namespaces_are_refused,
    a_namespace_of_another_kind_is_refused,
    loopback_is_up_in_a_new_network_namespace,
    the_program_is_the_first_in_a_new_pid_namespace,
);
claims!(as_root:
    root_maps_many_ranges_without_newuidmap,
    a_user_namespace_gives_unmapped_files_to_nobody,
    exec_is_in_the_root_of_a_container_that_has_no_mount_namespace,
    exec_is_in_the_root_of_a_container_that_joined_a_mount_namespace,
    exec_is_in_the_root_that_was_moved_into_place,
);
claims!(as_root, as_user: nothing_is_mounted_on_the_host_where_mounts_are_shared);
claims!(as_root: a_root_that_only_the_hosts_root_may_enter_is_explained);
claims!(as_root: network_devices_move_in_with_their_addresses);
claims!(as_user: a_range_that_is_not_granted_is_explained);

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string()
}

/// The kernel's names of the files against the specification's names.
const NAMES: [(&str, &str); 7] = [
    ("mnt", "mount"),
    ("uts", "uts"),
    ("ipc", "ipc"),
    ("pid", "pid"),
    ("net", "network"),
    ("cgroup", "cgroup"),
    ("user", "user"),
];

fn kinds(bundle: &Bundle<'_>) -> Vec<String> {
    let spec = bundle.spec();
    let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
    namespaces.iter().map(|namespace| namespace["type"].as_str().unwrap().to_owned()).collect()
}

fn namespaces_of_the_spec_are_new_and_others_are_the_hosts(w: &World) {
    let bundle = w.bundle("b");
    let check = |bundle: &Bundle<'_>| {
        let seen = bundle.sees();
        let kinds = kinds(bundle);
        for (file, kind) in NAMES {
            let new = kinds.iter().any(|name| name == kind);
            assert_eq!(seen["namespaces"][file] != own(file), new, "{kind}");
        }
    };
    check(&bundle);
    let mut all = vec!["mount", "uts", "ipc", "pid", "network", "cgroup"];
    if w.who() != Who::Root {
        all.push("user");
    }
    bundle.set("/linux/namespaces", all.iter().map(|kind| json!({"type": kind})).collect());
    check(&bundle);
}

fn a_second_container_joins_the_first_ones_namespaces_by_path(w: &World) {
    let (first, second) = (w.bundle("one"), w.bundle("two"));
    first.args(&["/bin/sleep", "1000"]).launch();
    let pid = first.pid();
    let joined =
        if w.who() == Who::Root { &["ipc", "uts", "network", "pid"][..] } else { &["user", "ipc", "uts", "pid"] };
    second.edit(|spec| {
        for namespace in spec["linux"]["namespaces"].as_array_mut().unwrap() {
            let kind = namespace["type"].as_str().unwrap().to_owned();
            let file = NAMES.iter().find(|(_, name)| *name == kind).unwrap().0;
            if joined.contains(&kind.as_str()) {
                namespace["path"] = json!(format!("/proc/{pid}/ns/{file}"));
            }
        }
        let linux = spec["linux"].as_object_mut().unwrap();
        if w.who() != Who::Root {
            linux.remove("uidMappings");
            linux.remove("gidMappings");
        }
        // The name belongs to the namespace that is joined.
        spec.as_object_mut().unwrap().remove("hostname");
    });
    let inner = first.exec(&[], &["/bin/probe", "see"]).ok().json();
    let seen = second.sees();
    for (file, kind) in NAMES {
        if joined.contains(&kind) {
            assert_eq!(seen["namespaces"][file], inner["namespaces"][file], "{kind}");
        }
    }
    assert_ne!(seen["namespaces"]["mnt"], inner["namespaces"]["mnt"]);
    assert_eq!(seen["hostname"], inner["hostname"]);
    assert_eq!(first.status(), "running");
    first.delete();
}

fn duplicate_namespaces_are_refused(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|spec| spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "ipc"})));
    bundle.run().output().explains(&["ipc"]);
}

fn a_namespace_of_another_kind_is_refused(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        let ipc = namespaces.iter_mut().find(|namespace| namespace["type"] == "ipc").unwrap();
        ipc["path"] = json!("/proc/self/ns/uts");
    });
    bundle.run().output().explains(&["/proc/self/ns/uts"]);
    bundle.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        let ipc = namespaces.iter_mut().find(|namespace| namespace["type"] == "ipc").unwrap();
        ipc["path"] = json!("/no/such/namespace");
    });
    bundle.run().output().explains(&["/no/such/namespace"]);
}

fn loopback_is_up_in_a_new_network_namespace(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "network"}));
    });
    let printed = bundle.args(&["/bin/ip", "addr", "show", "lo"]).prints();
    assert!(printed.contains("LOOPBACK,UP") && printed.contains("127.0.0.1/8"), "{printed}");
    // Two lines of headings, then one per interface.
    assert_eq!(bundle.args(&["/bin/cat", "/proc/net/dev"]).prints().lines().count(), 3);
}

fn the_program_is_the_first_in_a_new_pid_namespace(w: &World) {
    let bundle = w.bundle("b");
    let seen = bundle.sees();
    assert_eq!(seen["pid"], 1);
    assert_eq!(seen["parent"], 0);
    bundle.edit(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
        // A fresh proc may only be mounted by the owner of the pid namespace: show the host's.
        let mounts = spec["mounts"].as_array_mut().unwrap();
        let proc = mounts.iter_mut().find(|mount| mount["destination"] == "/proc").unwrap();
        *proc = json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
    });
    assert_ne!(bundle.sees()["pid"], 1);
}

fn root_maps_many_ranges_without_newuidmap(w: &World) {
    let bundle = w.bundle("b");
    in_user_namespace(
        &bundle,
        json!([
            {"containerID": 0, "hostID": 700_000, "size": 10},
            {"containerID": 10, "hostID": 800_000, "size": 20},
        ]),
    );
    let seen = bundle.args(&["/bin/probe", "see"]).run().env("PATH", "/nowhere:/bin:/usr/bin").ok().json();
    assert_eq!(seen["uid_map"], json!([[0, 700_000, 10], [10, 800_000, 20]]));
    assert_eq!(seen["uid"], json!([0, 0, 0, 0]));
}

fn in_user_namespace(bundle: &Bundle<'_>, mappings: Value) {
    bundle.edit(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        spec["linux"]["uidMappings"] = mappings.clone();
        spec["linux"]["gidMappings"] = mappings;
    });
}

fn a_user_namespace_gives_unmapped_files_to_nobody(w: &World) {
    let bundle = w.bundle("b");
    in_user_namespace(&bundle, json!([{"containerID": 0, "hostID": 700_000, "size": 10}]));
    assert_eq!(bundle.args(&["/bin/stat", "-c", "%u:%g", "/bin/busybox"]).prints(), "65534:65534\n");
    assert_eq!(bundle.args(&["/bin/probe", "try", "append", "/etc/new"]).prints().trim(), "EROFS");
    bundle.set("/root/readonly", json!(false));
    assert_eq!(bundle.prints().trim(), "EACCES");
}

fn a_range_that_is_not_granted_is_explained(w: &World) {
    let bundle = w.bundle("b");
    let mappings = json!([
        {"containerID": 0, "hostID": w.uid(), "size": 1}, {"containerID": 1, "hostID": 4_000_000_000_u32, "size": 1000},
    ]);
    bundle.set("/linux/uidMappings", mappings.clone()).set("/linux/gidMappings", mappings);
    bundle.run().output().hints("subuid");
}

fn network_devices_move_in_with_their_addresses(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "network"}));
    });
    let runtime = w.program("kelp-runtime").display().to_string();
    let (root, dir) = (w.runtime_root().display().to_string(), bundle.dir().display().to_string());
    // The devices are made in a network namespace of their own, in which the runtime runs: the host's has none of them.
    let run = |devices: Value| {
        bundle.set("/linux/netDevices", devices);
        let script = "ip=\"/bin/busybox ip\"; $ip link add kelp0 type veth && $ip link add kelp1 type veth \\
            && $ip addr add 10.9.8.7/24 dev kelp0 && $ip addr add fd00::7/64 dev kelp0 || exit 90; exec \"$@\"";
        let run = [&runtime, "--root", &root, "run", "--bundle", &dir, bundle.id()];
        w.command("unshare").args(["--net", "sh", "-c", script, "sh"]).args(run)
    };
    bundle.shell("ip -o addr show dev inside; ip -o link show; ls /sys/class/net");
    let shown = run(json!({"kelp0": {"name": "inside"}, "kelp1": {"name": "kt%d"}})).ok().stdout;
    assert!(shown.contains("10.9.8.7/24") && shown.contains("fd00::7/64"), "addresses are lost: {shown}");
    assert!(shown.contains("kt0") && !shown.contains("kelp"), "names are not as asked for: {shown}");
    let up = shown
        .lines()
        .filter(|line| line.contains("inside") || line.contains("kt0"))
        .filter(|line| line.contains("UP,"));
    assert!(up.count() >= 2, "not up: {shown}");
    run(json!({"absent0": {}})).output().explains(&["absent0"]);
    run(json!({"kelp0": {"name": "lo"}})).output().explains(&["kelp0", "lo"]);
    run(json!({"kelp0": {"name": "a/b"}})).output().explains(&["a/b"]);
}

/// Without a mount namespace: what is left when all that would be mounted on the host is taken out.
fn shares_mounts(bundle: &Bundle<'_>) {
    bundle.edit(|spec| {
        spec["mounts"] = json!([]);
        spec["root"]["readonly"] = json!(false);
        let linux = spec["linux"].as_object_mut().unwrap();
        linux.retain(|field, _| field != "maskedPaths" && field != "readonlyPaths");
        linux["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "mount");
    });
}

/// What can be seen of the host from there: nothing of it but the container's root.
fn assert_in_own_root(bundle: &Bundle<'_>, mark: &str) {
    let look = "ls /; cat /mark; cat /../../../mark; cd ..; pwd; test -e /boot && echo of the host; true";
    for cwd in ["/", "/tmp", "/.."] {
        let seen = bundle.exec(&["--cwd", cwd], &["/bin/sh", "-c", look]).ok().stdout;
        assert!(seen.matches(mark).count() == 2 && !seen.contains("of the host"), "{cwd}: {seen}");
    }
    // HOME is the one of the container's own account file.
    assert_eq!(bundle.exec(&["--user", "1000"], &["/bin/sh", "-c", "echo $HOME"]).ok().text(), "/home/alice");
}

fn exec_is_in_the_root_of_a_container_that_has_no_mount_namespace(w: &World) {
    let bundle = w.bundle("b");
    shares_mounts(&bundle);
    w.write("b/rootfs/mark", "mark of b\n");
    bundle.args(&["/bin/sleep", "1000"]).create().ok();
    assert_in_own_root(&bundle, "mark of b");
    bundle.verb("start", &[]).ok();
    assert_in_own_root(&bundle, "mark of b");
    bundle.delete();
}

fn exec_is_in_the_root_of_a_container_that_joined_a_mount_namespace(w: &World) {
    let (first, second) = (w.bundle("one"), w.bundle("two"));
    w.write("one/rootfs/mark", "mark of one\n");
    w.write("two/rootfs/mark", "mark of two\n");
    // The second one's root, where the first one's mounts have it.
    first.mount(json!({"destination": second.dir(), "source": second.dir(), "options": ["rbind"]}));
    first.set("/root/readonly", json!(false)).args(&["/bin/sleep", "1000"]).launch();
    shares_mounts(&second);
    let path = format!("/proc/{}/ns/mnt", first.pid());
    second.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "mount", "path": path}));
    });
    second.args(&["/bin/sleep", "1000"]).launch();
    assert_in_own_root(&second, "mark of two");
    assert_in_own_root(&first, "mark of one");
    second.delete();
    first.delete();
}

fn exec_is_in_the_root_that_was_moved_into_place(w: &World) {
    let bundle = w.bundle("b");
    w.write("b/rootfs/mark", "mark of b\n");
    let dir = bundle.dir().to_string_lossy().into_owned();
    bundle.args(&["/bin/sleep", "1000"]).verb("create", &["--no-pivot", "--bundle", &dir]).ok();
    assert_in_own_root(&bundle, "mark of b");
    bundle.verb("start", &[]).ok();
    assert_in_own_root(&bundle, "mark of b");
    bundle.delete();
}

fn nothing_is_mounted_on_the_host_where_mounts_are_shared(w: &World) {
    let bundle = w.bundle("b");
    shares_mounts(&bundle);
    let plain = bundle.spec();
    let refused = [
        ("/mounts", json!([{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]), "mounts"),
        ("/root/readonly", json!(true), "root.readonly"),
        ("/linux/maskedPaths", json!(["/tmp"]), "linux.maskedPaths"),
        ("/linux/readonlyPaths", json!(["/tmp"]), "linux.readonlyPaths"),
        ("/process/terminal", json!(true), "process.terminal"),
    ];
    for (field, value, name) in refused {
        bundle.set(field, value).run().output().explains(&[name, "mount namespace"]);
        bundle.edit(|spec| *spec = plain.clone());
    }
    let run = bundle.shell("cat /proc/self/mountinfo; echo ran").run().output();
    if w.who() == Who::Root {
        run.ok().says("ran");
    } else {
        // Its devices could only be bound.
        run.explains(&["linux.devices", "mount namespace"]);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(w.token()), "mounted on the host:\n{mounts}");
}

/// As runc 1.1 fails too: the container's root, who mounts, is another user, and may not pass. A bind mount may come from there.
fn a_root_that_only_the_hosts_root_may_enter_is_explained(w: &World) {
    let bundle = w.bundle("b");
    let maps = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
    bundle.edit(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        spec["linux"]["uidMappings"] = maps.clone();
        spec["linux"]["gidMappings"] = maps.clone();
    });
    let private = w.dir().join("private");
    bundle
        .mount(json!({"destination": "/mnt", "type": "bind", "source": private.join("source"), "options": ["rbind"]}));
    w.write("private/source/file", "inside");
    fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    w.make_dir(&bundle.rootfs().join("mnt"));
    bundle.args(&["/bin/cat", "/mnt/file"]);
    assert_eq!(bundle.run().ok().text(), "inside");
    fs::set_permissions(bundle.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bundle.run().output().explains(&["invalid rootfs", "permission denied"]).hints("chmod o+x");
}
