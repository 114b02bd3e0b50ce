// SPDX-License-Identifier: Apache-2.0
//! The commonest failures of a first day: each says what stopped it and what to try.
//!
//! Runs `kelp` and `kelp-runtime` where something is missing, malformed or taken.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kelp_tests::{Entry, Kind, World, busybox_image, claims, layer};
use serde_json::json;

claims!(as_root, as_user:
    a_bundle_without_config_json_hints_at_spec,
    malformed_json_is_located_by_line_and_column,
    a_missing_image_hints_at_what_can_be_loaded_or_pulled,
    a_program_not_found_says_where_it_was_looked_for,
    a_program_not_executable_says_so,
    a_missing_interpreter_is_named,
    a_name_in_use_hints_at_rm_or_another_name,
    a_missing_root_filesystem_is_named,
    an_unknown_flag_hints_at_help,
    a_field_that_is_not_honoured_is_refused,
    a_label_of_a_module_that_is_not_there_is_refused_by_name,
    an_error_is_said_once_in_our_form,
    a_broken_archive_is_named,
    an_oci_version_of_the_future_is_refused,
);
claims!(as_user:
    without_newuidmap_the_hint_names_the_package,
    user_namespaces_switched_off_are_explained,
    slirp4netns_asked_for_but_missing_names_the_package,
);
claims!(as_stranger:
    without_a_subordinate_range_containers_run_with_one_id_and_say_so,
    a_user_outside_a_single_id_map_is_explained,
);

fn run(w: &World, args: &[&str]) -> kelp_tests::Output {
    w.kelp(["run", "--rm", "--network", "none"]).args(args).output()
}

fn a_bundle_without_config_json_hints_at_spec(w: &World) {
    let empty = w.dir().join("empty");
    w.make_dir(&empty);
    let dir = empty.display().to_string();
    let failed = w.runtime(["create", "--bundle", &dir, "id"]).output().explains(&["config.json", &dir]);
    failed.hints("kelp-runtime spec");
    w.runtime(["run", "--bundle", "/no/such/bundle", "id"]).output().explains(&["/no/such/bundle"]);
    w.runtime(["plan", &dir]).output().explains(&["config.json"]);
}

fn malformed_json_is_located_by_line_and_column(w: &World) {
    let bundle = w.bundle("b");
    for (text, at) in [
        ("{\n  \"ociVersion\": \"1.0.2\",\n  oops\n}", "line 3 column 3"),
        ("{\n  \"ociVersion\": 7\n}", "line 2 column"),
        ("{\"ociVersion\": \"1.0.2\", \"mounts\": [{}]}", "line 1 column"),
        ("", "line 1 column 0"),
    ] {
        fs::write(bundle.dir().join("config.json"), text).unwrap();
        bundle.create().output().explains(&["config.json", at]);
    }
}

fn a_missing_image_hints_at_what_can_be_loaded_or_pulled(w: &World) {
    let failed = w.kelp(["run", "--rm", "--pull", "never", "no-such-image"]).output().code(125);
    failed.explains(&["no-such-image"]).hints("pull");
    // A registry that cannot be reached is something else than an image that is not there.
    let failed = w.kelp(["run", "--rm", "localhost:1/nothing:here"]).output().code(125);
    failed.explains(&["localhost:1"]);
    w.kelp(["pull", "UPPER/case"]).output().code(1).explains(&["UPPER/case"]);
}

fn a_program_not_found_says_where_it_was_looked_for(w: &World) {
    w.load_busybox();
    let failed = run(w, &["busybox", "vim"]).code(127).explains(&["vim"]);
    assert!(failed.stderr.contains("PATH"), "{failed}");
    run(w, &["busybox", "/usr/bin/vim"]).code(127).explains(&["/usr/bin/vim"]);
}

fn a_program_not_executable_says_so(w: &World) {
    w.load_busybox();
    run(w, &["busybox", "/etc/passwd"]).code(126).explains(&["/etc/passwd"]).hints("");
}

fn a_missing_interpreter_is_named(w: &World) {
    let script = Entry::new("script", Kind::File(b"#!/usr/bin/python3\nprint()\n".to_vec())).mode(0o755);
    w.load(&busybox_image(w).with(layer(&[script])), "busybox:latest");
    let failed = run(w, &["busybox", "/script"]).code(127);
    failed.explains(&["/script"]).hints("/usr/bin/python3");
    let dynamic = fs::read("/bin/true").unwrap();
    let program = Entry::new("dynamic", Kind::File(dynamic)).mode(0o755);
    w.load(&busybox_image(w).with(layer(&[program])), "dynamic:latest");
    run(w, &["dynamic", "/dynamic"]).code(127).explains(&["/dynamic"]).hints("ld-linux");
}

fn a_name_in_use_hints_at_rm_or_another_name(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-d", "--network", "none", "--name", "web", "busybox", "sleep", "1000"]).ok();
    run(w, &["--name", "web", "busybox"]).code(125).explains(&["web"]).hints("rm");
    w.kelp(["rm", "-f", "web"]).ok();
    run(w, &["--name", "a/b", "busybox"]).code(125).explains(&["a/b"]);
}

fn a_missing_root_filesystem_is_named(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/root/path", json!("not-there"));
    bundle.create().output().explains(&["not-there"]);
    let file = w.write("b/a-file", "x");
    bundle.set("/root/path", json!(file));
    bundle.create().output().explains(&["a-file"]);
}

fn an_unknown_flag_hints_at_help(w: &World) {
    let failed = w.kelp(["run", "--nmae", "x", "busybox"]).output().code(125);
    assert!(failed.stderr.contains("--nmae") && failed.stderr.contains("--name"), "{failed}");
    let failed = w.kelp(["rnu"]).output().fails();
    assert!(failed.stderr.contains("rnu") && failed.stderr.contains("run"), "{failed}");
    w.runtime(["create", "--bundel", "x", "id"]).output().explains(&["--bundel"]);
    w.runtime(["craete"]).output().explains(&["craete"]);
    w.runtime(["create"]).output().fails();
}

fn a_field_that_is_not_honoured_is_refused(w: &World) {
    let bundle = w.bundle("b");
    let good = bundle.spec();
    for (pointer, value) in [
        ("/linux/intelRdt", json!({"closID": "x"})),
        ("/process/apparmorProfile", json!("no-such-profile")),
        ("/linux/mountLabel", json!("system_u:object_r:x_t:s0")),
        ("/process/commandLine", json!("cmd /c dir")),
        ("/process/user/username", json!("bob")),
        ("/vm", json!({"kernel": {"path": "/vmlinuz"}})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_OF_THE_FUTURE"})),
    ] {
        bundle.edit(|spec| *spec = good.clone());
        bundle.set(pointer, value);
        let name = pointer.rsplit('/').next().unwrap();
        let output = bundle.run().output();
        // Where the kernel has no AppArmor a name is all that can be checked: refusing is all that is right.
        output.explains(&[if name == "seccomp" { "SCMP_ACT_OF_THE_FUTURE" } else { name }]);
    }
}

fn a_label_of_a_module_that_is_not_there_is_refused_by_name(w: &World) {
    let bundle = w.bundle("b");
    let switched_on = |files: &[&str]| files.iter().any(|file| Path::new(file).exists());
    for (field, label, module, files) in [
        ("apparmorProfile", "docker-default", "AppArmor", &["/sys/module/apparmor", "/proc/self/attr/apparmor"][..]),
        ("selinuxLabel", "system_u:system_r:container_t:s0", "SELinux", &["/sys/fs/selinux/enforce"][..]),
    ] {
        if switched_on(files) {
            continue;
        }
        bundle.set(&format!("/process/{field}"), json!(label));
        bundle.run().output().explains(&[field, module, label]);
        bundle.edit(|spec| drop(spec["process"].as_object_mut().unwrap().remove(field)));
    }
}

fn an_error_is_said_once_in_our_form(w: &World) {
    let failed = w.kelp(["run", "--rm", "--pull", "never", "no-such-image"]).output().code(125);
    let lines: Vec<&str> = failed.stderr.lines().collect();
    assert!(lines[0].starts_with("error: "), "{failed}");
    assert!(lines[1].starts_with("  because: "), "{failed}");
    assert_eq!(failed.stderr.matches("error: ").count(), 1, "{failed}");
    assert!(!failed.stderr.contains("failed to"), "{failed}");
}

fn a_broken_archive_is_named(w: &World) {
    for (name, content) in [("empty.tar", &b""[..]), ("text.tar", b"this is no archive"), ("zero.tar", &[0; 10_240])] {
        let file = w.write(name, content).display().to_string();
        w.kelp(["load", "-i", &file]).output().code(1).explains(&[name]);
    }
    w.kelp(["load", "-i", "/no/such/file.tar"]).output().code(1).explains(&["/no/such/file.tar"]);
    w.kelp(["load", "/no/such/folder"]).output().code(1).explains(&["/no/such/folder"]);
}

fn an_oci_version_of_the_future_is_refused(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/ociVersion", json!("2.0.0"));
    bundle.create().output().explains(&["2.0.0"]);
    bundle.set("/ociVersion", json!("1.3.0"));
    bundle.run().ok();
}

/// A PATH with everything of /usr/bin but some.
fn path_without(w: &World, missing: &[&str]) -> String {
    let dir = w.dir().join("path");
    w.make_dir(&dir);
    for folder in ["/usr/bin", "/usr/sbin"] {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name();
            if !missing.iter().any(|absent| name == *absent) && !dir.join(&name).exists() {
                symlink(entry.path(), dir.join(&name)).ok();
            }
        }
    }
    dir.display().to_string()
}

fn without_newuidmap_the_hint_names_the_package(w: &World) {
    w.load_busybox();
    let path = path_without(w, &["newuidmap", "newgidmap"]);
    let output = w.kelp(["run", "--rm", "--network", "none", "busybox", "id", "-u"]).env("PATH", &path).output();
    // Kelp goes on with a single id and says why, once; a bundle that asks for a range cannot.
    assert_eq!(output.status(), 0, "{output}");
    assert!(output.stderr.contains("uidmap"), "{output}");
    let bundle = w.bundle("b");
    let map =
        json!([{"containerID": 0, "hostID": w.uid(), "size": 1}, {"containerID": 1, "hostID": 296_608, "size": 10}]);
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    bundle.run().env("PATH", &path).output().explains(&["newuidmap"]).hints("uidmap");
}

/// Runs a command where user namespaces are switched off: in one that may not have any below it.
fn user_namespaces_switched_off_are_explained(w: &World) {
    let bundle = w.bundle("b");
    let runtime = w.program("kelp-runtime").display().to_string();
    let root = w.runtime_root().display().to_string();
    let dir = bundle.dir().display().to_string();
    let inner = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
    let failed = w
        .command("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", inner, "sh"])
        .args([&runtime, "--root", &root, "run", "--bundle", &dir, bundle.id()])
        .output();
    failed.explains(&["user namespace"]).hints("max_user_namespaces");
}

fn slirp4netns_asked_for_but_missing_names_the_package(w: &World) {
    w.load_busybox();
    let path = path_without(w, &["slirp4netns"]);
    let output = w.kelp(["run", "--rm", "--network", "slirp4netns", "busybox", "true"]).env("PATH", &path).output();
    output.code(125).explains(&["slirp4netns"]).hints("install");
}

fn without_a_subordinate_range_containers_run_with_one_id_and_say_so(w: &World) {
    w.load_busybox();
    let output = w.kelp(["run", "--rm", "--network", "none", "busybox", "cat", "/proc/self/uid_map"]).ok();
    let map: Vec<&str> = output.stdout.split_whitespace().collect();
    assert_eq!(map, ["0", &w.uid().to_string(), "1"]);
    assert!(Path::new("/etc/subuid").exists());
}

fn a_user_outside_a_single_id_map_is_explained(w: &World) {
    w.load_busybox();
    let failed = run(w, &["-u", "1000", "busybox", "id"]).code(125);
    failed.explains(&["1000"]).hints("subuid");
}
