// SPDX-License-Identifier: Apache-2.0
//! What Kelp does where the kernel lacks something: each fallback runs once, with the system call or the flag masked.
//!
//! Runs the programs under `kelp-mask`, which answers as an older or another kernel would. The table of fallbacks is
//! docs/kernel-features.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{Bundle, Cgroup, Command, Compression, Entry, Kind, Who, World, claims, layer};
use serde_json::json;

claims!(as_root, as_user:
    without_keys_the_callers_keyring_is_kept,
    a_filter_flag_that_the_kernel_lacks_is_left_out_where_it_has_no_meaning,
    a_filter_flag_that_a_listener_needs_is_not_done_without,
    without_copy_file_range_what_a_tmpfs_covers_is_copied_all_the_same,
    without_numa_a_memory_policy_is_refused,
    without_overlays_the_images_files_are_copied,
    an_image_of_sixty_layers_runs,
    without_layers_one_by_one_they_are_called_by_number,
);
claims!(as_user:
    without_user_namespaces_the_setting_is_named,
    who_may_not_enter_the_cgroup_is_told_from_where_it_can_be,
    our_own_program_is_mounted_read_only_or_copied,
);
claims!(as_root: without_bpf_root_is_told_that_device_rules_cannot_be_kept);
claims!(as_root: without_fallocate_the_space_of_an_exit_status_is_written);
claims!(as_root: a_store_on_an_overlay_is_copied_from, without_seccomp_a_holder_says_that_it_is_not_confined);

/// `kelp-runtime VERB … ID` on a kernel that answers by these rules.
fn masked<'w>(w: &'w World, rules: &str, bundle: &Bundle<'_>, verb: &str) -> Command<'w> {
    let mask = match w.dir().join("own/kelp-mask") {
        there if there.exists() => there,
        _ => w.own_program("kelp-mask", "own/kelp-mask"),
    };
    let program = w.program("kelp-runtime").to_string_lossy().into_owned();
    let (root, dir) = (w.runtime_root(), bundle.dir().to_string_lossy().into_owned());
    let line =
        [rules, &program, "--root", &root.to_string_lossy(), verb, "--bundle", &dir, bundle.id()].map(str::to_owned);
    w.command(&mask.to_string_lossy()).args(line)
}

/// Says whether a filter was in force at all.
const FILTERED: &str = "grep Seccomp: /proc/self/status; echo ran";

fn without_keys_the_callers_keyring_is_kept(w: &World) {
    let bundle = w.bundle("b");
    bundle.shell(FILTERED);
    // Not there; denied, as by another container's profile; no quota left.
    for rule in ["keyctl", "keyctl:0&1=1", "keyctl:0&1=122"] {
        let run = masked(w, rule, &bundle, "run").ok();
        assert!(run.stdout.contains("2\nran"), "{rule}: {run}");
    }
}

const WAIT_KILLABLE_RECV_IS_UNKNOWN: &str = "seccomp:1&32=22";

fn a_filter_flag_that_a_listener_needs_is_not_done_without(w: &World) {
    let bundle = w.bundle("b");
    let socket = w.dir().join("agent.sock");
    let agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    w.give(&socket);
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]);
    let flags = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": rules, "listenerPath": socket,
    });
    bundle.set("/linux/seccomp", profile);
    masked(w, WAIT_KILLABLE_RECV_IS_UNKNOWN, &bundle, "run").output().explains(&["seccomp filter"]);
    drop(agent);
}

fn without_copy_file_range_what_a_tmpfs_covers_is_copied_all_the_same(w: &World) {
    let bundle = w.bundle("b");
    w.write("b/rootfs/up/file", "content");
    bundle.mount(json!({"destination": "/up", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
    bundle.args(&["/bin/cat", "/up/file"]);
    for rule in ["copy_file_range", "copy_file_range:5&0=18"] {
        assert_eq!(masked(w, rule, &bundle, "run").ok().text(), "content", "{rule}");
    }
}

fn without_numa_a_memory_policy_is_refused(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
    masked(w, "set_mempolicy", &bundle, "run").output().explains(&["memory policy"]);
}

fn a_filter_flag_that_the_kernel_lacks_is_left_out_where_it_has_no_meaning(w: &World) {
    let bundle = w.bundle("b");
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let flags = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": rules}));
    bundle.args(&["/bin/probe", "try", "mkdir", "/tmp/x"]);
    assert_eq!(masked(w, WAIT_KILLABLE_RECV_IS_UNKNOWN, &bundle, "run").ok().text(), "EPERM");
}

/// A user whose own the program is gets a mount of it that nobody can write, which readlink(2) is needed for; where there is
/// none it is copied. MFD_EXEC is of Linux 6.3: an older kernel knows no such flag, and every memfd is executable.
fn our_own_program_is_mounted_read_only_or_copied(w: &World) {
    for rules in ["memfd_create", "readlinkat", "readlinkat,memfd_create:1&16=22"] {
        // Root's program is mounted before its first line runs, by calls that init needs too.
        if w.who() == Who::Root && rules != "memfd_create" {
            continue;
        }
        let own = waiting_inits_program(w, rules);
        assert_eq!(own.contains("memfd"), rules != "memfd_create", "{rules}: {own}");
    }
}

/// What `/proc/PID/exe` of a created container's init says, where the program is the user's own.
fn waiting_inits_program(w: &World, rules: &str) -> String {
    let bundle = w.bundle(&format!("b{}", rules.len()));
    bundle.args(&["/bin/sleep", "1000"]);
    let program =
        w.copy(&w.program("kelp-runtime"), format!("own{}/kelp-runtime", rules.len())).to_string_lossy().into_owned();
    w.command("/bin/chmod").args(["755", &program]).ok();
    let mask = w.own_program("kelp-mask", format!("own{}/kelp-mask", rules.len())).to_string_lossy().into_owned();
    let (root, dir) = (w.runtime_root(), bundle.dir().to_string_lossy().into_owned());
    let line = [&program, "--root", &*root.to_string_lossy(), "create", "--bundle", &dir, bundle.id()];
    w.command(&mask).arg(rules).args(line).ok();
    // The waiting init still is our program: in memory, or on a mount that is nowhere.
    let own = fs::read_link(format!("/proc/{}/exe", bundle.pid())).unwrap();
    assert_ne!(own.to_string_lossy(), program);
    bundle.verb("start", &[]).ok();
    bundle.delete();
    own.to_string_lossy().into_owned()
}

fn without_bpf_root_is_told_that_device_rules_cannot_be_kept(w: &World) {
    let bundle = w.bundle("b");
    let run = masked(w, "bpf", &bundle, "run").output();
    match run.status() {
        // A machine without cgroup v2 of its own has no device rules to keep.
        0 => w.skip("no cgroup for device rules here"),
        _ => drop(run.explains(&["device", "bpf"])),
    }
}

fn without_overlays_the_images_files_are_copied(w: &World) {
    w.load_busybox();
    // What was found is remembered for this kernel and user: here, that it does not work.
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let found = json!({"kernel": kernel, "uid": w.uid(), "because": "a test takes overlays away"});
    w.write("store/overlay.json", found.to_string());
    let run = |words: &[&str]| w.kelp(["run", "--rm", "--network", "none"]).args(words).output();
    let first = run(&["busybox", "sh", "-c", "echo changed >/etc/passwd; cat /etc/passwd /proc/self/mountinfo"]).ok();
    assert!(first.stdout.starts_with("changed\n"), "{first}");
    let root = first.stdout.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap().to_owned();
    assert!(!root.contains(" - overlay "), "the root is an overlay all the same: {root}");
    let second = run(&["busybox", "head", "-n1", "/etc/passwd"]).ok();
    assert!(second.stdout.starts_with("root:"), "the image was changed: {second}");
    assert_eq!(w.kelp(["ps", "-a", "-q"]).ok().text(), "");
}

/// The kernel does not put an overlay's changes onto another overlay: found out, said once, and copied instead.
fn a_store_on_an_overlay_is_copied_from(w: &World) {
    assert_eq!(w.who(), Who::Root);
    for folder in ["lower", "upper", "work"] {
        w.make_dir(&w.dir().join("below").join(folder));
    }
    let below = w.dir().join("below").display().to_string();
    let options = format!("lowerdir={below}/lower,upperdir={below}/upper,workdir={below}/work");
    let mounted = format!("mount -t overlay overlay -o {options} {} && exec \"$@\"", w.store().display());
    let kelp = w.program("kelp").to_string_lossy().into_owned();
    let image = kelp_tests::busybox_image(w).docker_archive(w, "busybox.tar", "busybox:latest").display().to_string();
    let script = format!(
        "kelp=$1; $kelp load -qi {image} && $kelp run --rm --network none busybox cat /proc/self/mountinfo && \
         $kelp run --rm --network none busybox true"
    );
    let inside = ["-m", "sh", "-c", &mounted, "sh", "sh", "-c", &script, "sh", &kelp];
    let run = w.command("/usr/bin/unshare").args(inside).output();
    if run.stderr.contains("mount: ") {
        return w.skip("no overlay can be mounted here");
    }
    let run = run.ok();
    let root = run.stdout.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap().to_owned();
    assert!(!root.contains(&w.store().join("layers").display().to_string()), "{root}");
    assert_eq!(run.stderr.matches("overlay").count().min(1), 1, "nobody was told: {run}");
}

/// As where they are switched off: the limit holds below the user namespace in which it is set.
fn without_user_namespaces_the_setting_is_named(w: &World) {
    let bundle = w.bundle("b");
    let (program, root) = (w.program("kelp-runtime"), w.runtime_root());
    let dir = bundle.dir().display().to_string();
    let script = "echo 0 >/proc/sys/user/max_user_namespaces || exit 98; exec \"$@\"";
    let line = [&*program.to_string_lossy(), "--root", &*root.to_string_lossy(), "run", "--bundle", &dir, bundle.id()];
    let run = w.command("/usr/bin/unshare").args(["-Ur", "sh", "-c", script, "sh"]).args(line).output();
    run.hints("/proc/sys/user/max_user_namespaces");
}

/// A login session's processes may not be cloned into a cgroup of another branch, whoever it belongs to.
fn who_may_not_enter_the_cgroup_is_told_from_where_it_can_be(w: &World) {
    let cgroup = match Cgroup::delegated(w) {
        Ok(cgroup) => cgroup,
        Err(reason) => return w.skip(&reason),
    };
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).create().cgroup(&cgroup).ok();
    bundle.verb("start", &[]).ok();
    bundle.exec(&[], &["/bin/true"]).cgroup(&cgroup).ok();
    bundle.exec(&[], &["/bin/true"]).output().hints("call exec from where it was started");
    bundle.delete();
}

/// Sixty layers have longer names together than mount(2) takes: a page.
fn an_image_of_sixty_layers_runs(w: &World) {
    let mut image = kelp_tests::busybox_image(w).compression(Compression::Plain);
    for number in 0..60 {
        image =
            image.with(layer(&[Entry::new(&format!("layer{number}"), Kind::File(number.to_string().into_bytes()))]));
    }
    w.load(&image, "deep:latest");
    let run = w.kelp(["run", "--rm", "--network", "none", "deep", "cat", "/layer0", "/layer59", "/etc/passwd"]).ok();
    assert!(run.stdout.starts_with("059root:"), "{run}");
}

/// `lowerdir+` is of Linux 6.5. 500 layers are what the kernel stacks; 90 bytes for each are eleven pages.
fn without_layers_one_by_one_they_are_called_by_number(w: &World) {
    let bundle = w.bundle("b");
    let folder = |name: &str| {
        let folder = w.dir().join("layers").join(format!("{name:0>64}")).join("fs");
        w.make_dir(&folder);
        folder
    };
    // The kernel has the uppermost first.
    let layers: Vec<String> = (0..499)
        .rev()
        .map(|number: u32| {
            let layer = folder(&number.to_string());
            for name in [format!("layer{number}"), "who".to_owned()] {
                fs::write(layer.join(name), number.to_string()).unwrap();
            }
            layer.display().to_string()
        })
        .chain([w.dir().join("b/rootfs").display().to_string()])
        .collect();
    let (upper, work) = (folder("upper"), folder("work"));
    let mut options = vec![
        format!("lowerdir={}", layers.join(":")),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    if w.who() != Who::Root {
        options.push("userxattr".to_owned());
    }
    let lower = w.dir().join("b/lower");
    fs::rename(w.dir().join("b/rootfs"), &lower).unwrap();
    w.make_dir(&w.dir().join("b/rootfs"));
    options[0] = options[0].replace("/b/rootfs", "/b/lower");
    bundle.edit(|spec| {
        let root = json!({"destination": "/", "type": "overlay", "source": "overlay", "options": options});
        spec["mounts"].as_array_mut().unwrap().insert(0, root);
    });
    bundle.set("/linux/maskedPaths", json!([])).set("/root/readonly", json!(false));
    bundle.shell("cat /layer0 /layer498 /who; echo new >/written; ls /proc/self/fd | wc -l");
    let run = |rules: &str| masked(w, rules, &bundle, "run").ok();
    let plain = run("keyctl");
    assert!(plain.stdout.starts_with("0498498"), "{plain}");
    // FSCONFIG_SET_STRING, as the kernel answers to a key it does not know.
    let numbered = run("fsconfig:1&1=22");
    assert_eq!(numbered.stdout, plain.stdout, "no descriptor of a layer is left over");
    assert_eq!(fs::read_to_string(upper.join("written")).unwrap(), "new\n");
}

fn without_seccomp_a_holder_says_that_it_is_not_confined(w: &World) {
    w.load_busybox();
    let mask = w.own_program("kelp-mask", "own/kelp-mask").to_string_lossy().into_owned();
    let kelp = w.program("kelp").to_string_lossy().into_owned();
    let open = ["--security-opt", "seccomp=unconfined"];
    let run = w.command(&mask).args(["seccomp", &kelp, "run", "--network", "none", "--name", "c"]).args(open);
    assert_eq!(run.args(["busybox", "echo", "ran"]).ok().text(), "ran");
    let container = fs::read_dir(w.store().join("containers")).unwrap().next().unwrap().unwrap().path();
    let complaints = fs::read_to_string(container.join("shim.log")).unwrap();
    assert!(complaints.contains("not confined"), "{complaints}");
    w.kelp(["rm", "c"]).ok();
}

/// Not in this kernel; not by this file system; denied by another container's profile.
fn without_fallocate_the_space_of_an_exit_status_is_written(w: &World) {
    use std::os::unix::fs::MetadataExt as _;
    w.load_busybox();
    let mask = w.own_program("kelp-mask", "own/kelp-mask").to_string_lossy().into_owned();
    let kelp = w.program("kelp").to_string_lossy().into_owned();
    for rule in ["fallocate", "fallocate:1&0=95", "fallocate:1&0=1"] {
        let run = w.command(&mask).args([rule, &kelp, "run", "-d", "--network", "none", "--name", "c"]);
        run.args(["busybox", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"]).ok();
        let container = fs::read_dir(w.store().join("containers")).unwrap().next().unwrap().unwrap().path();
        let reserved = container.join(".exit.json.new");
        assert!(fs::read(&reserved).unwrap() == [0; 4096], "{rule}: it is not all zeros");
        assert!(fs::metadata(&reserved).unwrap().blocks() >= 8, "{rule}: no space was taken");
        w.kelp(["stop", "c"]).ok();
        assert_eq!(w.kelp(["wait", "c"]).ok().text(), "7", "{rule}");
        let exit = fs::read_to_string(container.join("exit.json")).unwrap();
        assert!(exit.ends_with("}\n") && !reserved.exists(), "{rule}: {exit:?}");
        w.kelp(["rm", "c"]).ok();
    }
}
