// SPDX-License-Identifier: Apache-2.0
//! Mounts of every kind and option, /dev, masked and read-only paths, the root itself.
//!
//! Runs `kelp-runtime run` with the probe as the program. Spec: config.md "Mounts", config-linux.md "Default Devices",
//! "Masked Paths", "Readonly Paths", "Rootfs Mount Propagation".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};

use kelp_tests::{Who, World, claims};
use serde_json::{Value, json};

claims!(as_root, as_user, as_stranger:
    the_mounts_that_spec_writes_are_there,
    the_default_devices_and_links_are_there,
    a_folder_and_a_file_can_be_bound,
);
claims!(as_root, as_user:
    a_read_only_root_cannot_be_written,
    bind_options_take_effect,
    rbind_takes_the_mounts_below_along,
    bind_beside_rbind_takes_nothing_back,
    ptmx_of_the_spec_is_the_link_to_the_containers_own,
    cgroups_of_the_host_are_read_only_in_what_spec_writes,
    recursive_read_only_reaches_the_mounts_below,
    tmpfs_takes_its_options,
    a_read_only_tmpfs_gets_what_belongs_into_it_first,
    tmpcopyup_copies_what_the_tmpfs_covers,
    a_tmpfs_without_a_mode_has_that_of_the_folder_it_covers,
    a_remount_changes_the_mount_or_its_file_system,
    a_source_that_is_a_link_is_followed_on_the_host,
    options_of_other_runtimes_are_refused_by_name,
    mounts_are_performed_in_order_and_may_cover_each_other,
    missing_mount_points_are_made,
    a_missing_bind_source_is_named,
    an_unknown_filesystem_is_named,
    propagation_options_take_effect,
    root_propagation_is_private_to_the_host,
    masked_paths_show_nothing,
    readonly_paths_are_read_only_and_nothing_else,
    the_console_is_the_terminal,
    a_first_mount_on_the_root_replaces_the_root_filesystem,
    no_pivot_works_too,
    a_relative_bind_source_is_relative_to_the_bundle,
);
claims!(as_root:
    ids_of_a_mount_are_mapped_by_its_own_maps_or_the_containers,
    a_mount_below_is_mapped_by_ridmap_only,
    a_descriptor_of_the_runtime_can_be_bound,
);
claims!(as_root:
    a_source_that_only_the_hosts_root_may_reach_is_bound,
    a_mount_that_is_locked_read_only_stays_so,
    no_pivot_leaves_no_proc_without_masks_to_mount,
);
claims!(as_user: mapped_ids_are_refused_to_an_ordinary_user_with_a_hint);
claims!(as_root: devices_of_the_spec_are_made, the_cgroup_mount_shows_the_containers_own_cgroup);

/// The mount at `path` that a path lookup would find: the last one.
fn mount_at(seen: &Value, path: &str) -> Value {
    let found = seen["mounts"].as_array().unwrap().iter().rfind(|mount| mount["at"] == path);
    found.unwrap_or_else(|| panic!("nothing is mounted at {path}: {:#}", seen["mounts"])).clone()
}

fn options(mount: &Value) -> Vec<String> {
    mount["options"].as_str().unwrap().split(',').map(str::to_owned).collect()
}

#[track_caller]
fn assert_options(mount: &Value, with: &[&str], without: &[&str]) {
    let options = options(mount);
    let has = |option: &&&str| options.iter().any(|o| o == **option);
    assert!(with.iter().all(|o| has(&o)), "{with:?} are not all in {mount}");
    assert!(!without.iter().any(|o| has(&o)), "one of {without:?} is in {mount}");
}

fn the_mounts_that_spec_writes_are_there(w: &World) {
    let seen = w.bundle("b").sees();
    for (path, kind, with) in [
        ("/proc", "proc", &[] as &[&str]),
        ("/dev", "tmpfs", &["nosuid"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ] {
        let mount = mount_at(&seen, path);
        assert_eq!(mount["type"], kind, "{path}");
        assert_options(&mount, with, &[]);
    }
}

fn the_default_devices_and_links_are_there(w: &World) {
    let bundle = w.bundle("b");
    let script = "for d in null zero full random urandom tty; do test -c /dev/$d || echo missing $d; done
        for l in fd stdin stdout stderr ptmx; do test -L /dev/$l || echo missing link $l; done
        test -z \"$(head -c 0 /dev/null)\" && head -c 4 /dev/zero | wc -c; echo x 2>/dev/null >/dev/full || echo full
        ls -l /dev/ptmx; exec 9<>/dev/ptmx && echo opened";
    let printed = bundle.shell(script).prints();
    assert!(!printed.contains("missing"), "{printed}");
    assert!(printed.contains('4') && printed.contains("full") && printed.contains("opened"), "{printed}");
    assert!(printed.contains("pts/ptmx"), "{printed}");
    let modes = "stat -c %a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty";
    assert_eq!(bundle.shell(modes).prints(), "666\n".repeat(6));
}

fn a_folder_and_a_file_can_be_bound(w: &World) {
    let bundle = w.bundle("b");
    let file = w.write("shared/file", "content");
    let folder = file.parent().unwrap().to_owned();
    bundle.mount(json!({"destination": "/folder", "type": "bind", "source": folder, "options": ["bind", "rw"]}));
    bundle.mount(json!({"destination": "/etc/file", "source": file, "options": ["rbind", "ro"]}));
    assert_eq!(bundle.shell("cat /folder/file /etc/file; echo new >/folder/new").prints(), "contentcontent");
    assert_eq!(fs::read_to_string(folder.join("new")).unwrap(), "new\n");
    assert_eq!(bundle.args(&["/bin/probe", "try", "write", "/etc/file"]).prints(), "EROFS\n");
}

fn a_read_only_root_cannot_be_written(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(true)).args(&["/bin/probe", "try", "append", "/new"]);
    assert_eq!(bundle.prints(), "EROFS\n");
    bundle.set("/root/readonly", json!(false));
    assert_eq!(bundle.prints(), "ok\n");
    assert!(bundle.rootfs().join("new").exists());
}

fn bind_options_take_effect(w: &World) {
    let bundle = w.bundle("b");
    let source = w.dir().join("source");
    w.make_dir(&source);
    let mut all = vec!["bind", "ro", "nosuid", "nodev", "noexec", "nosymfollow"];
    if w.who() == Who::Root {
        // Elsewhere the flags for access times of a mount from outside are locked: mount_namespaces(7).
        all.push("noatime");
    }
    bundle.mount(json!({"destination": "/all", "type": "none", "source": source, "options": all}));
    bundle.mount(json!({"destination": "/some", "type": "none", "source": source, "options": ["bind", "nosuid"]}));
    let seen = bundle.sees();
    assert_options(&mount_at(&seen, "/all"), &all[1..], &[]);
    assert_options(&mount_at(&seen, "/some"), &["rw", "nosuid"], &["noexec", "noatime"]);
}

fn rbind_takes_the_mounts_below_along(w: &World) {
    let bundle = w.bundle("b");
    // /dev/pts and others lie below /dev on the host: rbind shows them.
    bundle.mount(json!({"destination": "/all", "source": "/dev", "options": ["rbind"]}));
    let seen = bundle.sees();
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = host.lines().filter(|line| line.split(' ').nth(4).is_some_and(|at| at.starts_with("/dev/"))).count();
    let found = seen["mounts"].as_array().unwrap().iter();
    assert!(found.filter(|mount| mount["at"].as_str().unwrap().starts_with("/all/")).count() >= below);
}

fn recursive_read_only_reaches_the_mounts_below(w: &World) {
    let bundle = w.bundle("b");
    bundle.mount(json!({"destination": "/all", "source": "/dev", "options": ["rbind", "rro"]}));
    let seen = bundle.sees();
    for mount in seen["mounts"].as_array().unwrap() {
        if mount["at"].as_str().unwrap().starts_with("/all") {
            assert_options(mount, &["ro"], &["rw"]);
        }
    }
}

fn tmpfs_takes_its_options(w: &World) {
    let bundle = w.bundle("b");
    let options = ["nosuid", "noexec", "size=64k", "mode=0700"];
    bundle.mount(json!({"destination": "/small", "type": "tmpfs", "source": "tmpfs", "options": options}));
    let seen = bundle.sees();
    let mount = mount_at(&seen, "/small");
    assert_eq!(mount["type"], "tmpfs");
    assert_options(&mount, &["nosuid", "noexec"], &["nodev"]);
    assert!(mount["super"].as_str().unwrap().contains("size=64k"), "{mount}");
    let script = "stat -c %a /small; dd if=/dev/zero of=/small/f bs=1k count=100 2>/dev/null || echo full";
    assert_eq!(bundle.shell(script).prints(), "700\nfull\n");
}

/// podman writes such a /dev for pods of `kube play`, and an empty option where it has no size to say.
fn a_read_only_tmpfs_gets_what_belongs_into_it_first(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let dev = mounts.iter_mut().find(|mount| mount["destination"] == "/dev").unwrap();
        dev["options"] = json!(["ro", "nosuid", "mode=755"]);
    });
    let tmpfs =
        |at: &str, options: Value| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options});
    bundle.mount(tmpfs("/outer", json!(["ro", "nodev", ""])));
    bundle.mount(tmpfs("/outer/inner", json!(["tmpcopyup", ""])));
    let seen = bundle.sees();
    assert_options(&mount_at(&seen, "/dev"), &["ro", "nosuid"], &[]);
    assert_options(&mount_at(&seen, "/outer"), &["ro", "nodev"], &[]);
    assert_options(&mount_at(&seen, "/outer/inner"), &["rw"], &["ro"]);
    let script = "echo x >/dev/null && test -c /dev/pts/ptmx && ! touch /dev/new 2>/dev/null && touch /outer/inner/new && echo well";
    assert_eq!(bundle.shell(script).prints(), "well\n");
}

fn tmpcopyup_copies_what_the_tmpfs_covers(w: &World) {
    let bundle = w.bundle("b");
    w.write("b/rootfs/up/deep/er/file", "content");
    let script = w.script("b/rootfs/up/script", "echo run");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o4751)).unwrap();
    symlink("/etc/passwd", bundle.rootfs().join("up/link")).unwrap();
    fs::set_permissions(bundle.rootfs().join("up"), std::os::unix::fs::PermissionsExt::from_mode(0o751)).unwrap();
    let mount = |options: Value| json!({"destination": "/up", "type": "tmpfs", "source": "tmpfs", "options": options});
    bundle.mount(mount(json!(["tmpcopyup"])));
    let look = "cat /up/deep/er/file; /up/script; readlink /up/link; stat -c %a /up /up/script; echo new >/up/new && echo made";
    assert_eq!(bundle.shell(look).prints(), "contentrun\n/etc/passwd\n751\n4751\nmade\n");
    assert!(!bundle.rootfs().join("up/new").exists(), "it was written to the image");
    bundle.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        *mounts.last_mut().unwrap() = mount(json!(["tmpcopyup", "ro", "nosuid"]));
    });
    assert_eq!(bundle.shell("cat /up/deep/er/file; /bin/probe try append /up/new").prints(), "contentEROFS\n");
    bundle.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        *mounts.last_mut().unwrap() = mount(json!(["tmpcopyup", "size=4k"]));
    });
    w.write("b/rootfs/up/large", vec![b'x'; 100_000]);
    bundle.run().output().explains(&["/up", "size"]);
}

fn a_tmpfs_without_a_mode_has_that_of_the_folder_it_covers(w: &World) {
    let bundle = w.bundle("b");
    w.write("b/rootfs/there/file", "x");
    fs::set_permissions(bundle.rootfs().join("there"), std::os::unix::fs::PermissionsExt::from_mode(0o710)).unwrap();
    for (path, options) in [("/there", json!([])), ("/new", json!([])), ("/tmp", json!(["mode=700"]))] {
        bundle.mount(json!({"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options}));
    }
    assert_eq!(bundle.shell("stat -c %a /there /new /tmp; ls /there").prints(), "710\n1777\n700\n");
}

fn a_remount_changes_the_mount_or_its_file_system(w: &World) {
    let bundle = w.bundle("b");
    let source = w.write("source/file", "x");
    bundle.mount(json!({"destination": "/a", "source": source.parent(), "options": ["bind"]}));
    bundle.mount(json!({"destination": "/a", "source": "none", "options": ["bind", "remount", "ro", "nosuid"]}));
    bundle.mount(json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=8k"]}));
    bundle.mount(json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "size=64k"]}));
    let seen = bundle.sees();
    assert_options(&mount_at(&seen, "/a"), &["ro", "nosuid"], &["rw"]);
    assert!(mount_at(&seen, "/t")["super"].as_str().unwrap().contains("size=64k"), "{}", mount_at(&seen, "/t"));
    bundle.mount(json!({"destination": "/bin", "source": "none", "options": ["remount", "ro"]}));
    bundle.run().output().explains(&["/bin"]);
}

fn a_source_that_is_a_link_is_followed_on_the_host(w: &World) {
    let bundle = w.bundle("b");
    let file = w.write("source/file", "behind two links");
    symlink("source", w.dir().join("folder")).unwrap();
    symlink(&file, w.dir().join("link")).unwrap();
    bundle.mount(json!({"destination": "/etc/one", "source": w.dir().join("link"), "options": ["bind"]}));
    bundle.mount(json!({"destination": "/two", "source": w.dir().join("folder"), "options": ["bind"]}));
    assert_eq!(
        bundle.shell("cat /two/file; test -f /etc/one && cat /etc/one").prints(),
        "behind two linksbehind two links"
    );
}

fn options_of_other_runtimes_are_refused_by_name(w: &World) {
    let bundle = w.bundle("b");
    let options = json!(["bind", "copy-symlink"]);
    bundle.mount(json!({"destination": "/a", "source": "/etc/hostname", "options": options}));
    bundle.run().output().explains(&["copy-symlink", "/a"]);
}

/// Where files of root belong to 1234 through the mount: `idmap` on what the container sees.
fn owner_seen(bundle: &kelp_tests::Bundle<'_>) -> String {
    bundle.args(&["/bin/stat", "-c", "%u:%g", "/mapped/file"]).prints()
}

fn ids_of_a_mount_are_mapped_by_its_own_maps_or_the_containers(w: &World) {
    let bundle = w.bundle("b");
    let source = w.write("source/file", "x");
    let ids = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1000}]);
    let mut mount = json!({"destination": "/mapped", "source": source.parent(), "options": ["bind"],
        "uidMappings": ids(1234), "gidMappings": ids(2345)});
    bundle.mount(mount.clone());
    let output = bundle.args(&["/bin/stat", "-c", "%u:%g", "/mapped/file"]).run().output();
    if output.stderr.contains("knows no mapped ids") {
        return w.skip("the file system of /tmp knows no mapped ids");
    }
    assert_eq!(output.ok().stdout, "1234:2345\n");
    // The container's: files of root on the disk are files of root in there, though its root is another.
    bundle.set("/linux/uidMappings", ids(300_000)).set("/linux/gidMappings", ids(400_000));
    bundle.edit(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        let object = mount.as_object_mut().unwrap();
        object.remove("uidMappings");
        object.remove("gidMappings");
        mount["options"] = json!(["bind", "idmap", "rprivate"]);
        *spec["mounts"].as_array_mut().unwrap().last_mut().unwrap() = mount.clone();
    });
    std::os::unix::fs::chown(bundle.rootfs(), Some(300_000), Some(400_000)).unwrap();
    assert_eq!(owner_seen(&bundle), "0:0\n");
    bundle.shell("touch /mapped/new").prints();
    let metadata = fs::metadata(source.with_file_name("new")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (0, 0), "what the container wrote belongs to its root on the disk");
    bundle.edit(|spec| spec["mounts"].as_array_mut().unwrap().last_mut().unwrap()["source"] = json!("/proc"));
    bundle.run().output().explains(&["/proc", "mapped ids"]);
}

fn a_mount_below_is_mapped_by_ridmap_only(w: &World) {
    // A tree of two file systems, made in a mount namespace of its own, in which the runtime runs.
    let bundle = w.bundle("b");
    let tree = w.dir().join("tree");
    w.make_dir(&tree.join("below"));
    let ids = json!([{"containerID": 0, "hostID": 1234, "size": 1}]);
    for (option, seen) in [("idmap", "1234\n0\n"), ("ridmap", "1234\n1234\n")] {
        bundle.edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/mapped");
            mounts.push(json!({"destination": "/mapped", "source": tree, "options": ["rbind", option],
                "uidMappings": ids, "gidMappings": ids}));
        });
        bundle.args(&["/bin/stat", "-c", "%u", "/mapped", "/mapped/below"]);
        let script = "mount -t tmpfs none \"$1/below\" && shift && exec \"$@\"";
        let runtime = w.program("kelp-runtime").display().to_string();
        let (root, dir) = (w.runtime_root().display().to_string(), bundle.dir().display().to_string());
        let run = [&runtime, "--root", &root, "run", "--bundle", &dir, bundle.id()];
        let command =
            w.command("unshare").args(["--mount", "sh", "-c", script, "sh", &tree.to_string_lossy()]).args(run);
        let output = command.output();
        if output.stderr.contains("knows no mapped ids") {
            return w.skip("this kernel's tmpfs, or the file system of /tmp, knows no mapped ids");
        }
        assert_eq!(output.ok().stdout, seen, "{option}");
    }
}

fn a_descriptor_of_the_runtime_can_be_bound(w: &World) {
    let bundle = w.bundle("b");
    let file = w.write("passed/file", "by descriptor");
    bundle.mount(json!({"destination": "/x", "source": "/proc/self/fd/7", "options": ["bind"]}));
    bundle.args(&["/bin/cat", "/x/file"]);
    let folder = file.parent().unwrap();
    assert_eq!(bundle.run().descriptor(7, folder).ok().stdout, "by descriptor");
    let seen = bundle.args(&["/bin/probe", "see"]).run().descriptor(7, folder).ok().json();
    assert_eq!(seen["fds"].as_object().unwrap().len(), 3, "{}", seen["fds"]);
}

fn mapped_ids_are_refused_to_an_ordinary_user_with_a_hint(w: &World) {
    let bundle = w.bundle("b");
    let source = w.write("source/file", "x");
    bundle.mount(json!({"destination": "/a", "source": source.parent(), "options": ["bind", "idmap"]}));
    bundle.run().output().explains(&["/a", "only root"]);
}

fn mounts_are_performed_in_order_and_may_cover_each_other(w: &World) {
    let bundle = w.bundle("b");
    let (one, two) = (w.write("one/name", "one"), w.write("two/name", "two"));
    for source in [&one, &two] {
        bundle.mount(json!({"destination": "/over", "source": source.parent(), "options": ["bind"]}));
    }
    assert_eq!(bundle.args(&["/bin/cat", "/over/name"]).prints(), "two");
    bundle.mount(json!({"destination": "/over/sub", "type": "tmpfs", "source": "tmpfs"}));
    assert_eq!(mount_at(&bundle.sees(), "/over/sub")["type"], "tmpfs");
}

fn missing_mount_points_are_made(w: &World) {
    let bundle = w.bundle("b");
    let file = w.write("file", "content");
    bundle.mount(json!({"destination": "/a/b/c", "type": "tmpfs", "source": "tmpfs"}));
    bundle.mount(json!({"destination": "/d/e/f", "source": file, "options": ["bind"]}));
    assert_eq!(bundle.shell("test -d /a/b/c && cat /d/e/f").prints(), "content");
}

fn a_missing_bind_source_is_named(w: &World) {
    let bundle = w.bundle("b");
    bundle.mount(json!({"destination": "/x", "source": "/no/such/source", "options": ["bind"]}));
    bundle.run().output().explains(&["/no/such/source"]);
}

fn an_unknown_filesystem_is_named(w: &World) {
    let bundle = w.bundle("b");
    bundle.mount(json!({"destination": "/x", "type": "nosuchfs", "source": "none"}));
    bundle.run().output().explains(&["nosuchfs", "/x"]);
}

fn propagation_options_take_effect(w: &World) {
    let bundle = w.bundle("b");
    for (name, option) in
        [("shared", "shared"), ("slave", "rslave"), ("private", "rprivate"), ("unbindable", "unbindable")]
    {
        let mount = json!({"destination": format!("/{name}"), "type": "tmpfs", "source": "tmpfs", "options": [option]});
        bundle.mount(mount);
    }
    let seen = bundle.sees();
    let propagation = |path: &str| mount_at(&seen, path)["propagation"].to_string();
    assert!(propagation("/shared").contains("shared:"), "{}", propagation("/shared"));
    assert!(!propagation("/private").contains("shared:"), "{}", propagation("/private"));
    assert!(propagation("/unbindable").contains("unbindable"), "{}", propagation("/unbindable"));
}

fn root_propagation_is_private_to_the_host(w: &World) {
    let bundle = w.bundle("b");
    bundle.capabilities(&["CAP_SYS_ADMIN"]).args(&["/bin/sleep", "1000"]).launch();
    let mounted = bundle.exec(&["--cap", "CAP_SYS_ADMIN"], &["/bin/probe", "try", "mount", "/tmp"]).ok();
    assert_eq!(mounted.text(), "ok");
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(w.token()), "a mount came out of the container");
    bundle.delete();
}

fn masked_paths_show_nothing(w: &World) {
    let bundle = w.bundle("b");
    w.write("b/rootfs/secret/inner", "x");
    w.write("b/rootfs/hidden", "x");
    bundle.set("/linux/maskedPaths", json!(["/secret", "/hidden", "/proc/kcore", "/no/such/path"]));
    let script = "ls /secret | wc -l; cat /hidden | wc -c; cat /proc/kcore | wc -c";
    assert_eq!(bundle.shell(script).prints(), "0\n0\n0\n");
}

fn readonly_paths_are_read_only_and_nothing_else(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(false)).set("/linux/readonlyPaths", json!(["/bin", "/proc/sys", "/no/such"]));
    let seen = bundle.sees();
    assert_options(&mount_at(&seen, "/bin"), &["ro"], &["noexec", "nosuid", "nodev"]);
    assert_options(&mount_at(&seen, "/proc/sys"), &["ro"], &[]);
    assert_eq!(bundle.args(&["/bin/probe", "try", "append", "/bin/new"]).prints(), "EROFS\n");
    assert_eq!(bundle.args(&["/bin/probe", "try", "append", "/tmp/new"]).prints(), "ok\n");
}

fn the_console_is_the_terminal(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/terminal", json!(true));
    bundle.shell("test -c /dev/console && echo to the console >/dev/console; echo done; read line");
    let (mut terminal, running) = kelp_tests::Terminal::start(bundle.run(), 24, 80);
    terminal.shows("to the console");
    terminal.shows("done");
    terminal.types(b"\n");
    running.output().ok();
}

fn a_first_mount_on_the_root_replaces_the_root_filesystem(w: &World) {
    let bundle = w.bundle("b");
    let lower = w.dir().join("lower");
    kelp_tests::minimal_rootfs(w, "lower");
    for folder in ["upper", "work", "b/empty"] {
        w.make_dir(&w.dir().join(folder));
    }
    let of = |name: &str| w.dir().join(name).display().to_string();
    let options = json!([
        format!("lowerdir={}", lower.display()),
        format!("upperdir={}", of("upper")),
        format!("workdir={}", of("work")),
        "userxattr",
    ]);
    bundle.set("/root", json!({"path": "empty", "readonly": false}));
    bundle.edit(|spec| {
        let mount = json!({"destination": "/", "type": "overlay", "source": "overlay", "options": options});
        spec["mounts"].as_array_mut().unwrap().insert(0, mount);
    });
    assert_eq!(mount_at(&bundle.sees(), "/")["type"], "overlay");
    bundle.shell("echo new >/new; rm /etc/group").prints();
    assert_eq!(fs::read_to_string(w.dir().join("upper/new")).unwrap(), "new\n");
    assert!(!lower.join("new").exists() && lower.join("etc/group").exists());
    assert!(
        fs::read_dir(bundle.dir().join("empty")).unwrap().next().is_none(),
        "something was written below the mount"
    );
}

fn no_pivot_works_too(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/probe", "see"]);
    let seen = bundle.verb("run", &["--no-pivot", "--bundle", &bundle.dir().to_string_lossy()]).ok().json();
    assert!(seen["root"].to_string().contains("bin") && !seen["root"].to_string().contains("work"), "{}", seen["root"]);
}

fn a_relative_bind_source_is_relative_to_the_bundle(w: &World) {
    let bundle = w.bundle("b");
    w.write("b/beside/file", "from the bundle");
    bundle.mount(json!({"destination": "/x", "source": "beside", "options": ["bind"]}));
    assert_eq!(bundle.args(&["/bin/cat", "/x/file"]).prints(), "from the bundle");
}

fn devices_of_the_spec_are_made(w: &World) {
    let bundle = w.bundle("b");
    symlink("/etc", bundle.rootfs().join("dev/trap")).unwrap();
    bundle.set(
        "/linux/devices",
        json!([
            {"path": "/dev/extra", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6},
            {"path": "/dev/sub/pipe", "type": "p", "fileMode": 0o600},
        ]),
    );
    bundle.set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    let printed = bundle.shell("stat -c '%F %a %u:%g %t,%T' /dev/extra; stat -c '%F %a' /dev/sub/pipe").prints();
    assert_eq!(printed, "character special file 640 5:6 1,3\nfifo 600\n");
    let null = fs::metadata("/dev/null").unwrap();
    assert!(null.file_type().is_char_device() && null.mode() & 0o777 == 0o666, "the host's /dev was changed");
}

fn the_cgroup_mount_shows_the_containers_own_cgroup(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        namespaces.push(json!({"type": "cgroup"}));
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        }));
    });
    let seen = bundle.sees();
    let mount = mount_at(&seen, "/sys/fs/cgroup");
    assert_eq!(mount["type"], "cgroup2");
    assert_eq!(mount["root"], "/", "{mount}");
    assert!(seen["cgroup"].as_str().unwrap().lines().any(|line| line == "0::/"), "{}", seen["cgroup"]);
    assert_eq!(w.who(), Who::Root);
}

fn bind_beside_rbind_takes_nothing_back(w: &World) {
    let bundle = w.bundle("b");
    bundle.mount(json!({"destination": "/all", "type": "bind", "source": "/dev", "options": ["rbind", "bind", "ro"]}));
    let seen = bundle.sees();
    assert_eq!(mount_at(&seen, "/all/pts")["type"], "devpts");
}

fn ptmx_of_the_spec_is_the_link_to_the_containers_own(w: &World) {
    let bundle = w.bundle("b");
    bundle
        .set("/linux/devices", json!([{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 0o666}]));
    assert_eq!(bundle.args(&["/bin/readlink", "/dev/ptmx"]).prints(), "pts/ptmx\n");
}

fn cgroups_of_the_host_are_read_only_in_what_spec_writes(w: &World) {
    let bundle = w.bundle("b");
    w.make_dir(&w.dir().join("new"));
    let options: &[&str] = if w.who() == Who::Root { &[] } else { &["--rootless"] };
    let new = w.dir().join("new").display().to_string();
    w.runtime(["spec", "--bundle", &new]).args(options).ok();
    let written: Value = serde_json::from_slice(&fs::read(w.dir().join("new/config.json")).unwrap()).unwrap();
    bundle.edit(|spec| {
        for part in ["mounts", "linux"] {
            spec[part] = written[part].clone();
        }
    });
    let seen = bundle.sees();
    assert_eq!(mount_at(&seen, "/sys/fs/cgroup")["type"], "cgroup2");
    let shown =
        seen["mounts"].as_array().unwrap().iter().filter(|mount| mount["at"].as_str().unwrap().starts_with("/sys"));
    shown.for_each(|mount| assert_options(mount, &["ro"], &[]));
}

/// A container whose root is 300000 on the host.
fn in_user_namespace(bundle: &kelp_tests::Bundle<'_>) {
    let ids = json!([{"containerID": 0, "hostID": 300_000, "size": 1000}]);
    bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
    bundle.edit(|spec| spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"})));
    for made_in in [bundle.rootfs(), bundle.rootfs().join("etc")] {
        std::os::unix::fs::chown(made_in, Some(300_000), Some(300_000)).unwrap();
    }
}

fn a_source_that_only_the_hosts_root_may_reach_is_bound(w: &World) {
    let bundle = w.bundle("b");
    in_user_namespace(&bundle);
    let source = w.write("private/shared/file", "from the host");
    let private = w.dir().join("private");
    fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bundle.mount(json!({"destination": "/shared", "source": source.parent(), "options": ["rbind", "ro"]}));
    bundle.mount(json!({"destination": "/etc/file", "source": source, "options": ["bind"]}));
    assert_eq!(bundle.args(&["/bin/cat", "/shared/file", "/etc/file"]).prints(), "from the host".repeat(2));
    bundle
        .edit(|spec| spec["mounts"].as_array_mut().unwrap().last_mut().unwrap()["source"] = json!(private.join("no")));
    bundle.run().output().explains(&["private/no"]);
}

/// Runs the bundle in a mount namespace in which `before` was done.
fn unshared<'w>(w: &'w World, before: &str, bundle: &kelp_tests::Bundle<'_>) -> kelp_tests::Command<'w> {
    let runtime = w.program("kelp-runtime").display().to_string();
    let (root, dir) = (w.runtime_root().display().to_string(), bundle.dir().display().to_string());
    let line = format!("{before} && exec {runtime} --root {root} run --bundle {dir} {}", bundle.id());
    w.command("unshare").args(["-m", "sh", "-c", &line])
}

fn a_mount_that_is_locked_read_only_stays_so(w: &World) {
    let bundle = w.bundle("b");
    in_user_namespace(&bundle);
    let source = w.dir().join("source");
    w.make_dir(&source);
    bundle.mount(
        json!({"destination": "/locked", "source": source, "options": ["rbind", "rw", "suid", "exec", "nodev"]}),
    );
    bundle.args(&["/bin/probe", "see"]);
    let at = source.display();
    let before = format!("mount -t tmpfs -o mode=777,nosuid t {at} && mount -o remount,bind,ro,nosuid {at}");
    let seen = unshared(w, &before, &bundle).ok().json();
    assert_options(&mount_at(&seen, "/locked"), &["ro", "nosuid", "nodev"], &[]);
}

fn no_pivot_leaves_no_proc_without_masks_to_mount(w: &World) {
    let bundle = w.bundle("b");
    bundle.capabilities(&["CAP_SYS_ADMIN", "CAP_SETFCAP", "CAP_SETUID", "CAP_SETGID"]);
    bundle.set("/linux/maskedPaths", json!(["/proc/keys"]));
    let nested = "unshare -Urmpf sh -c 'mount -t proc p /tmp || mount -t sysfs s /tmp || echo refused'";
    bundle.shell(nested);
    for option in ["--no-new-keyring", "--no-pivot"] {
        let output = bundle.verb("run", &[option, "--bundle", &bundle.dir().to_string_lossy()]).ok();
        assert_eq!(output.text(), "refused", "with {option}\n{output}");
    }
}
