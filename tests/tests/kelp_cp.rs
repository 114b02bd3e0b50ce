// SPDX-License-Identifier: Apache-2.0
//! `kelp cp`: files into containers and out of them, by Docker's rules; and never past a container's root.
//!
//! Runs `kelp`, with containers that run, that have ended and that never ran.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use kelp_tests::{Entry, Kind, Who, World, claims, layer};

claims!(as_root, as_user:
    a_file_goes_in_and_out_whether_the_container_runs_or_not,
    names_follow_dockers_rules,
    folders_are_copied_with_all_that_is_in_them,
    tars_go_through_standard_streams,
    owners_are_those_of_the_place_unless_kept,
    a_volume_of_a_stopped_container_is_written,
    links_of_the_container_lead_nowhere_else,
    a_folder_swapped_for_a_link_is_never_left,
    a_mount_point_swapped_for_a_link_is_never_left,
    nothing_of_the_container_is_executed_or_loaded,
    what_comes_out_has_no_rights_on_this_machine,
    a_followed_link_gives_its_name,
    what_cannot_be_copied_is_said,
);

/// A container that runs, as `c`, one that never ran, as `new`, and one that has ended, as `over`.
fn containers(w: &World) -> [&'static str; 3] {
    w.load_busybox();
    w.kelp(["run", "-d", "--name", "c", "--network", "none", "busybox", "sleep", "1000"]).ok();
    w.kelp(["create", "--name", "new", "--network", "none", "busybox", "sh"]).ok();
    w.kelp(["run", "--name", "over", "--network", "none", "busybox", "true"]).ok();
    ["c", "new", "over"]
}

fn remove_all(w: &World) {
    w.kelp(["rm", "-f", "-v", "c", "new", "over"]).ok();
}

fn cp(w: &World, from: &str, to: &str) {
    w.kelp(["cp", from, to]).ok();
}

/// What the container has there.
fn inside(w: &World, container: &str, path: &str) -> String {
    let tar = w.kelp(["cp", &format!("{container}:{path}"), "-"]).ok().stdout;
    let mut archive = tar::Archive::new(tar.as_bytes());
    let mut content = String::new();
    archive.entries().unwrap().next().unwrap().unwrap().read_to_string(&mut content).unwrap();
    content
}

fn a_file_goes_in_and_out_whether_the_container_runs_or_not(w: &World) {
    let file = w.write("file", "brought along\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o751)).unwrap();
    for container in containers(w) {
        cp(w, &file.to_string_lossy(), &format!("{container}:/tmp/in"));
        assert_eq!(inside(w, container, "/tmp/in"), "brought along\n");
        let out = w.dir().join(format!("out-{container}"));
        cp(w, &format!("{container}:/tmp/in"), &out.to_string_lossy());
        assert_eq!(fs::read_to_string(&out).unwrap(), "brought along\n");
        let (before, after) = (fs::metadata(&file).unwrap(), fs::metadata(&out).unwrap());
        assert_eq!((after.mode(), after.mtime(), after.uid()), (before.mode(), before.mtime(), w.uid()));
    }
    assert_eq!(w.kelp(["exec", "c", "cat", "/tmp/in"]).ok().stdout, "brought along\n");
    // It is still there when it starts, and nothing of the copy is.
    w.kelp(["start", "new"]).ok();
    w.kelp(["start", "over"]).ok();
    assert_eq!(w.kelp(["wait", "over"]).ok().text(), "0");
    assert!(w.kelp(["diff", "new"]).ok().stdout.contains("A /tmp/in"));
    remove_all(w);
}

fn names_follow_dockers_rules(w: &World) {
    containers(w);
    let file = w.write("file", "one");
    let file = file.to_string_lossy();
    cp(w, &file, "c:/tmp");
    cp(w, &file, "c:/tmp/");
    assert_eq!(inside(w, "c", "/tmp/file"), "one");
    cp(w, &file, "c:tmp/relative");
    assert_eq!(inside(w, "c", "tmp/relative"), "one");
    w.write("file", "two");
    cp(w, &file, "c:/tmp/file");
    assert_eq!(inside(w, "c", "/tmp/file"), "two");
    w.kelp(["cp", &file, "c:/tmp/missing/"]).output().code(1).explains(&["no such folder"]);
    w.kelp(["cp", &file, "c:/tmp/missing/file"]).output().code(1).explains(&[]);
    w.kelp(["cp", &file, "c:/tmp/file/"]).output().code(1).explains(&[]);
    // A folder that is there takes it in; a name that is not becomes it.
    let folder = w.write("folder/a", "a").parent().unwrap().to_owned();
    let folder = folder.to_string_lossy();
    cp(w, &folder, "c:/tmp");
    cp(w, &folder, "c:/tmp/copy");
    cp(w, &format!("{folder}/."), "c:/tmp/contents");
    cp(w, &format!("{folder}/."), "c:/tmp/contents");
    for path in ["/tmp/folder/a", "/tmp/copy/a", "/tmp/contents/a"] {
        assert_eq!(inside(w, "c", path), "a", "{path}");
    }
    w.kelp(["cp", &folder, "c:/tmp/file"]).output().code(1).explains(&["place of a file"]);
    w.kelp(["exec", "c", "mkdir", "-p", "/tmp/in/file"]).ok();
    w.kelp(["cp", &file, "c:/tmp/in"]).output().code(1).explains(&["place of a folder"]);
    // Here, relative to where one is.
    w.kelp(["cp", "c:/tmp/file", "."]).dir(w.dir()).ok();
    w.kelp(["cp", "c:/tmp/copy/.", "new"]).dir(w.dir()).ok();
    assert_eq!(fs::read_to_string(w.dir().join("file")).unwrap(), "two");
    assert_eq!(fs::read_to_string(w.dir().join("new/a")).unwrap(), "a");
    remove_all(w);
}

fn folders_are_copied_with_all_that_is_in_them(w: &World) {
    containers(w);
    let script = "mkdir -p /t/deep/er && cd /t && echo x >deep/er/file && ln -s deep/er/file link && ln deep/er/file hard \
        && mkfifo pipe && chmod 1750 deep && touch -d '2001-02-03 04:05:06' deep && : >empty";
    w.kelp(["exec", "c", "sh", "-c", script]).ok();
    let out = w.dir().join("out");
    cp(w, "c:/t", &out.to_string_lossy());
    assert_eq!(fs::read_to_string(out.join("link")).unwrap(), "x\n");
    assert_eq!(fs::read_link(out.join("link")).unwrap(), PathBuf::from("deep/er/file"));
    assert_eq!(fs::metadata(out.join("hard")).unwrap().nlink(), 2);
    let deep = fs::metadata(out.join("deep")).unwrap();
    assert_eq!((deep.mode() & 0o7777, deep.mtime()), (0o1750, 981_173_106));
    cp(w, &format!("{}/.", out.display()), "over:/again");
    assert_eq!(inside(w, "over", "/again/deep/er/file"), "x\n");
    // A link is a link, unless it is followed.
    let (link, followed) = (w.dir().join("a-link"), w.dir().join("followed"));
    cp(w, "c:/t/link", &link.to_string_lossy());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    w.kelp(["cp", "-L", "c:/t/link", &followed.to_string_lossy()]).ok();
    assert_eq!(fs::read_to_string(&followed).unwrap(), "x\n");
    remove_all(w);
}

fn tars_go_through_standard_streams(w: &World) {
    containers(w);
    let tar = layer(&[
        Entry::new("given/", Kind::Folder),
        Entry::new("given/file", Kind::File(b"from a tar".to_vec())).owner(1000, 1000),
    ]);
    for container in ["c", "new"] {
        w.kelp(["cp", "-", &format!("{container}:/tmp")]).stdin(tar.clone()).ok();
        assert_eq!(inside(w, container, "/tmp/given/file"), "from a tar");
    }
    assert_eq!(w.kelp(["exec", "c", "stat", "-c", "%u:%g", "/tmp/given/file"]).ok().text(), "1000:1000");
    w.kelp(["cp", "-", "c:/tmp/missing"]).stdin(tar).output().code(1).explains(&["folder that is there"]);
    w.kelp(["cp", "-", "c:/tmp/missing"]).stdin("").output().code(1).explains(&["folder that is there"]);
    w.kelp(["cp", "-", "c:/tmp"]).stdin("").ok();
    w.kelp(["cp", "-", "c:/tmp"]).stdin("no tar at all").output().code(1).explains(&[]);
    let escape = layer(&[Entry::new("../../escape", Kind::File(b"x".to_vec()))]);
    w.kelp(["cp", "-", "c:/tmp"]).stdin(escape).output().code(1).explains(&["leads out"]);
    remove_all(w);
}

fn owners_are_those_of_the_place_unless_kept(w: &World) {
    containers(w);
    w.kelp(["exec", "c", "sh", "-c", "echo x >/tmp/mine; chown 1000:1000 /tmp/mine"]).ok();
    let out = w.dir().join("out");
    cp(w, "c:/tmp/mine", &out.to_string_lossy());
    assert_eq!(fs::metadata(&out).unwrap().uid(), w.uid());
    cp(w, &out.to_string_lossy(), "c:/tmp/back");
    assert_eq!(w.kelp(["exec", "c", "stat", "-c", "%u:%g", "/tmp/back"]).ok().text(), "0:0");
    w.kelp(["cp", "-a", &out.to_string_lossy(), "c:/tmp/kept"]).ok();
    let kept = w.kelp(["exec", "c", "stat", "-c", "%u", "/tmp/kept"]).ok();
    assert_eq!(kept.text(), w.uid().to_string());
    // Whose they were is for root alone to say here.
    w.kelp(["cp", "-a", "c:/tmp/mine", &out.to_string_lossy()]).ok();
    let expected = if w.who() == Who::Root { 1000 } else { w.uid() };
    assert_eq!(fs::metadata(&out).unwrap().uid(), expected);
    remove_all(w);
}

fn a_volume_of_a_stopped_container_is_written(w: &World) {
    w.load_busybox();
    w.kelp(["create", "--name", "new", "--network", "none", "-v", "data:/data", "busybox", "cat", "/data/file"]).ok();
    let file = w.write("file", "into the volume\n");
    cp(w, &file.to_string_lossy(), "new:/data/");
    let run = w.kelp(["run", "--rm", "--network", "none", "-v", "data:/d", "busybox", "cat", "/d/file"]).ok();
    assert_eq!(run.stdout, "into the volume\n");
    w.kelp(["rm", "new"]).ok();
    w.kelp(["volume", "rm", "data"]).ok();
}

fn links_of_the_container_lead_nowhere_else(w: &World) {
    containers(w);
    let treasure = w.write("treasure/file", "of the host");
    let folder = treasure.parent().unwrap().display().to_string();
    let up = "../".repeat(12);
    let script = format!(
        "ln -s {folder} /tmp/abs; ln -s {up}{folder} /tmp/up; ln -s {folder}/file /tmp/file; ln -s /proc/1/root /tmp/proc"
    );
    w.kelp(["exec", "c", "sh", "-c", &script]).ok();
    let mine = w.write("mine", "of the copier");
    let mine = mine.to_string_lossy();
    let out = w.dir().join("stolen");
    for path in ["/tmp/abs", "/tmp/up", "/tmp/proc"].map(|link| format!("{link}/new")) {
        w.kelp(["cp", &mine, &format!("c:{path}")]).output().fails();
    }
    for path in ["/tmp/abs/file", "/tmp/up/file", "/tmp/proc/etc/hostname", "/proc/1/root/etc/shadow", "/proc/1/cwd/x"]
    {
        w.kelp(["cp", "-L", &format!("c:{path}"), &out.to_string_lossy()]).output().fails();
    }
    w.kelp(["cp", "-L", "c:/tmp/file", &out.to_string_lossy()]).output().fails();
    assert!(!out.exists());
    w.kelp(["cp", &mine, "c:/tmp/file"]).output().fails();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&treasure).unwrap(), "of the host");
    // What a folder of the container brings cannot be written through afterwards.
    w.kelp(["exec", "c", "sh", "-c", &format!("mkdir /t; ln -s {folder} /t/x")]).ok();
    let copy = w.dir().join("copy");
    cp(w, "c:/t", &copy.to_string_lossy());
    w.kelp(["exec", "c", "sh", "-c", "rm /t/x; mkdir /t/x; echo bad >/t/x/file"]).ok();
    w.kelp(["cp", "c:/t/.", &copy.to_string_lossy()]).output().fails();
    assert_eq!(fs::read_to_string(&treasure).unwrap(), "of the host");
    remove_all(w);
}

fn a_folder_swapped_for_a_link_is_never_left(w: &World) {
    w.load_busybox();
    let treasure = w.write("treasure/file", "of the host");
    let (shared, outside) = (w.dir().join("shared"), treasure.parent().unwrap());
    w.make_dir(&shared.join("a"));
    w.write("shared/a/file", "of the container");
    symlink(outside, shared.join("b")).unwrap();
    w.own_program("kelp-attacker", "shared/attacker");
    let volume = format!("{}:/s", shared.display());
    let attack = ["/s/attacker", "swap", "/s/stop", "/s", "a", "b"];
    w.kelp(["run", "-d", "--name", "c", "--network", "none", "-v", &volume, "busybox"]).args(attack).ok();
    let (mine, out) = (w.write("mine", "of the copier"), w.dir().join("out"));
    let (mut into, mut from) = (0, 0);
    for _ in 0..40 {
        into += usize::from(w.kelp(["cp", &mine.to_string_lossy(), "c:/s/a/new"]).output().status() == 0);
        if w.kelp(["cp", "c:/s/a/file", &out.to_string_lossy()]).output().status() == 0 {
            assert_eq!(fs::read_to_string(&out).unwrap(), "of the container");
            from += 1;
        }
    }
    assert!(into > 0 && from > 0, "never got anywhere: {into} in, {from} out");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 1, "written outside");
    w.write("shared/stop", "");
    w.kelp(["wait", "c"]).ok();
    let report = w.kelp(["logs", "c"]).ok().json();
    assert!(report["swaps"].as_u64().unwrap() > 100, "{report}");
    w.kelp(["rm", "c"]).ok();
}

fn a_mount_point_swapped_for_a_link_is_never_left(w: &World) {
    w.load_busybox();
    w.write("treasure/data/file", "of the host");
    let (outside, swap) = (w.dir().join("treasure"), "mv /m /k; ln -s $0 /m");
    let script =
        format!("echo of the container >/m/data/file; while [ ! -e /stop ]; do {swap}; rm /m; mv /k /m; done; {swap}");
    let run = w.kelp(["run", "-d", "--name", "c", "--network", "none", "-v", "data:/m/data", "busybox"]);
    run.args(["sh", "-c", &script, &outside.to_string_lossy()]).ok();
    let (mine, out) = (w.write("mine", "of the copier"), w.dir().join("out"));
    for _ in 0..20 {
        w.kelp(["cp", &mine.to_string_lossy(), "c:/m/data/new"]).output();
        if w.kelp(["cp", "c:/m/data/file", &out.to_string_lossy()]).output().status() == 0 {
            assert_ne!(fs::read_to_string(&out).unwrap(), "of the host");
        }
    }
    w.kelp(["exec", "c", "touch", "/stop"]).ok();
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "0");
    // Where it does not run, its volumes are mounted for the copy: at the link now.
    w.kelp(["cp", &mine.to_string_lossy(), "c:/m/data/new"]).output();
    w.kelp(["cp", "c:/m/data/file", &out.to_string_lossy()]).output();
    assert_eq!(fs::read_dir(outside.join("data")).unwrap().count(), 1, "written outside");
    assert_eq!(fs::read_to_string(outside.join("data/file")).unwrap(), "of the host");
    w.kelp(["rm", "-f", "c"]).ok();
    w.kelp(["volume", "rm", "data"]).ok();
}

fn nothing_of_the_container_is_executed_or_loaded(w: &World) {
    containers(w);
    let file = w.write("file", "in").to_string_lossy().into_owned();
    // Whatever helper a copy may want: programs that leave a mark, and a library that none could load.
    let trap = "mkdir -p /trap /lib /lib64 /usr/bin; printf '#!/bin/sh\necho $0 >>/trap/mark\n' >/trap/x; chmod 755 /trap/x; \
        for name in tar cp cat ls mkdir chown ldconfig gzip kelp; do cp /trap/x /usr/bin/$name; done; \
        for lib in libnss_files.so.2 libnss_compat.so.2 libc.so.6; do echo junk >/lib/$lib; cp /lib/$lib /lib64/; done; \
        echo /lib/libc.so.6 >/etc/ld.so.preload; \
        cd /bin; for name in tar cp cat ls mkdir chown gzip; do [ -e $name ] && rm -f $name && /trap/link $name; done; true";
    let trap = trap.replace("/trap/link $name", "ln -s /trap/x $name");
    w.kelp(["exec", "c", "sh", "-c", &trap]).ok();
    cp(w, &file, "c:/tmp/in");
    assert_eq!(inside(w, "c", "/tmp/in"), "in");
    cp(w, "c:/tmp", &w.dir().join("out").to_string_lossy());
    // Whatever else looks into a container.
    let tar = w.dir().join("all.tar").to_string_lossy().into_owned();
    for looks in [
        &["diff", "c"][..],
        &["export", "-o", &tar, "c"],
        &["commit", "c", "trapped:1"],
        &["top", "c"],
        &["stats", "--no-stream", "c"],
        &["inspect", "--size", "c"],
        &["logs", "c"],
        &["port", "c"],
    ] {
        w.kelp(looks).ok();
    }
    w.kelp(["exec", "c", "test", "!", "-e", "/trap/mark"]).ok();
    // The trap is none for nobody: who does run a program of the container springs it.
    w.kelp(["exec", "c", "/usr/bin/tar"]).output();
    w.kelp(["exec", "c", "test", "-e", "/trap/mark"]).ok();
    remove_all(w);
}

fn what_comes_out_has_no_rights_on_this_machine(w: &World) {
    containers(w);
    let script = "mkdir /e; echo x >/e/su; chown 1000:1000 /e/su; chmod 6755 /e/su; ln /e/su /e/hard; \
        mknod /e/disk b 7 0 && ln /e/disk /e/also; mkfifo /e/pipe; chmod 4644 /e/pipe; echo y >/e/plain; chmod 640 /e/plain";
    w.kelp(["exec", "c", "sh", "-c", script]).output();
    for options in [&["cp"][..], &["cp", "-a"]] {
        let out = w.dir().join(format!("out{}", options.len()));
        let said = w.kelp(options).args(["c:/e", &out.to_string_lossy()]).ok().stderr;
        assert_eq!(said.matches("set-user-ID").count(), 1, "{said}");
        let mode = |name: &str| fs::symlink_metadata(out.join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("su"), mode("hard"), mode("pipe"), mode("plain")), (0o755, 0o755, 0o644, 0o640));
        assert!(!out.join("disk").exists() && !out.join("also").exists());
        assert_eq!(said.matches("device nodes").count(), usize::from(w.who() == Who::Root), "{said}");
    }
    // The other way it is the caller's own to give.
    let own = w.write("own", "x");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o4755)).unwrap();
    cp(w, &own.to_string_lossy(), "c:/tmp/own");
    assert_eq!(w.kelp(["exec", "c", "stat", "-c", "%a", "/tmp/own"]).ok().text(), "4755");
    remove_all(w);
}

fn a_followed_link_gives_its_name(w: &World) {
    containers(w);
    w.kelp(["exec", "c", "sh", "-c", "mkdir /d; echo x >/d/file; ln -s d/file /link; ln -s /d /folder"]).ok();
    let out = w.dir().join("out");
    w.make_dir(&out);
    for name in ["link", "folder"] {
        w.kelp(["cp", "-L", &format!("c:/{name}"), &out.to_string_lossy()]).ok();
    }
    assert_eq!(fs::read_to_string(out.join("link")).unwrap(), "x\n");
    assert!(!fs::symlink_metadata(out.join("link")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(out.join("folder/file")).unwrap(), "x\n");
    w.write("target", "of the host");
    symlink("target", w.dir().join("mine")).unwrap();
    w.kelp(["cp", "-L", &w.dir().join("mine").to_string_lossy(), "c:/tmp"]).ok();
    assert_eq!(inside(w, "c", "/tmp/mine"), "of the host");
    remove_all(w);
}

fn what_cannot_be_copied_is_said(w: &World) {
    containers(w);
    let cp = |from: &str, to: &str| w.kelp(["cp", from, to]).output().code(1);
    cp("absent:/etc", "/tmp/x").explains(&["absent"]);
    cp("c:/no/such/file", ".").explains(&["/no/such/file"]);
    cp("/no/such/file", "c:/tmp").explains(&["/no/such/file"]);
    cp("c:/etc", "new:/etc").explains(&["both"]);
    cp("/etc/passwd", "/tmp/x").explains(&["neither"]);
    // A read-only container takes nothing, and says so.
    w.kelp(["run", "-d", "--name", "ro", "--read-only", "--network", "none", "busybox", "sleep", "1000"]).ok();
    cp("/etc/passwd", "ro:/etc/x").explains(&["ead-only"]);
    w.kelp(["rm", "-f", "ro"]).ok();
    remove_all(w);
}
