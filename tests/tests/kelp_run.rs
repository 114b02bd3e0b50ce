// SPDX-License-Identifier: Apache-2.0
//! `kelp run`: every flag, and Docker's defaults, seen from inside by the probe.
//!
//! Runs `kelp` as root, as an unprivileged user and with a single id.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{Command, Entry, Kind, Terminal, Who, World, busybox_image, claims, layer};
use rustix::process::Signal;
use serde_json::{Value, json};

claims!(as_root, as_user, as_stranger:
    run_gives_the_programs_output_and_status,
    run_hello_tells_what_isolates_it,
    the_root_filesystem_can_be_written_and_is_gone_with_the_container,
);
claims!(as_root, as_user:
    our_own_errors_leave_with_125_126_and_127,
    a_signal_ends_with_128_and_its_number,
    stdin_is_empty_without_interactive_and_passed_with_it,
    arguments_replace_cmd_and_entrypoint_replaces_entrypoint,
    the_images_environment_comes_first_and_flags_win,
    the_working_folder_is_the_images_or_the_flags,
    users_are_found_by_name_in_the_image,
    the_images_user_is_honoured,
    a_host_folder_is_bound_read_write_or_read_only,
    a_named_volume_outlives_its_containers,
    the_hostname_is_the_short_id_or_the_flag,
    a_read_only_container_cannot_write_its_root,
    capabilities_are_dockers_and_flags_change_them,
    the_default_seccomp_profile_is_in_force_and_can_be_replaced,
    no_new_privileges_is_an_option,
    proc_and_sys_are_masked,
    a_terminal_has_a_size_and_follows_resizes,
    control_c_reaches_the_program_on_a_terminal,
    signals_to_the_command_reach_the_program,
    detached_prints_the_id,
    rm_leaves_nothing,
    host_files_name_the_container,
    host_files_are_for_all_to_read_whatever_is_mounted_around_them,
    a_layer_whose_root_is_private_to_another_user_runs,
    the_rootfs_is_an_overlay,
    the_environment_of_the_caller_stays_outside,
    an_image_names_no_variable_of_the_caller,
    output_is_complete_when_the_program_writes_much_and_ends,
);
claims!(as_user:
    subordinate_ids_are_mapped_in_a_container,
    setuid_programs_of_the_image_work,
);

/// `kelp run --rm --network none ARGS…`.
fn run<'w>(w: &'w World, args: &[&str]) -> Command<'w> {
    w.kelp(["run", "--rm", "--network", "none"]).args(args)
}

/// What the probe sees in a container with these flags.
fn sees(w: &World, flags: &[&str]) -> Value {
    run(w, flags).args(["busybox", "/bin/probe", "see"]).ok().json()
}

fn run_gives_the_programs_output_and_status(w: &World) {
    w.load_busybox();
    let output = run(w, &["busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]).output().code(7);
    assert_eq!(output.stdout, "out\n");
    assert!(output.stderr.contains("err\n"), "{output}");
    assert_eq!(run(w, &["busybox", "echo", "fine"]).ok().stdout, "fine\n");
}

fn run_hello_tells_what_isolates_it(w: &World) {
    // Nothing but the program itself: no newuidmap, no slirp4netns, no registry.
    let output = w.kelp(["run", "--rm", "hello"]).env("PATH", "/nowhere").output().code(0);
    let text = output.stdout.to_lowercase();
    for word in
        ["pid", "mnt", "uid", "capabilities", "seccomp", "no_new_privs", "cgroup", "hostname", "network", "kelp run"]
    {
        assert!(text.contains(word), "hello says nothing about {word}\n{output}");
    }
    let own = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let own = own.trim_start_matches("net:[").trim_end_matches(']');
    assert!(text.contains(own), "the caller's network namespace {own} is not shown\n{output}");
}

fn the_root_filesystem_can_be_written_and_is_gone_with_the_container(w: &World) {
    w.load_busybox();
    run(w, &["busybox", "sh", "-c", "echo x >/new && rm /etc/group && test -e /new"]).ok();
    run(w, &["busybox", "sh", "-c", "test ! -e /new && test -e /etc/group"]).ok();
}

fn our_own_errors_leave_with_125_126_and_127(w: &World) {
    w.load_busybox();
    run(w, &["--no-such-flag", "busybox"]).output().code(125);
    run(w, &["busybox", "no-such-program"]).output().code(127).explains(&["no-such-program"]);
    run(w, &["busybox", "/no/such/program"]).output().code(127).explains(&["/no/such/program"]);
    run(w, &["busybox", "/etc/passwd"]).output().code(126).explains(&["/etc/passwd"]);
    run(w, &["busybox", "/bin"]).output().code(126).explains(&["/bin"]);
    run(w, &["--pull", "never", "no-such-image"]).output().code(125).explains(&["no-such-image"]);
}

fn a_signal_ends_with_128_and_its_number(w: &World) {
    w.load_busybox();
    // The first process of a pid namespace ignores from inside what it does not handle, so it comes from outside.
    let running = run(w, &["--name", "c", "busybox", "sh", "-c", "echo ready; exec sleep 1000"]).spawn();
    running.prints("ready");
    w.kelp(["kill", "--signal", "KILL", "c"]).ok();
    running.output().code(137);
}

fn stdin_is_empty_without_interactive_and_passed_with_it(w: &World) {
    w.load_busybox();
    let without = run(w, &["busybox", "sh", "-c", "cat; readlink /proc/self/fd/0"]).stdin("typed\n").ok();
    assert_eq!(without.text(), "/dev/null");
    let with = run(w, &["-i", "busybox", "cat"]).stdin("typed\n").ok();
    assert_eq!(with.stdout, "typed\n");
    let mut open =
        run(w, &["-i", "busybox", "sh", "-c", "read a; echo got $a; cat >/dev/null; echo end"]).stdin_open().spawn();
    open.send(b"one\n");
    open.prints("got one");
    open.end_of_input();
    open.output().ok().says("end");
}

fn arguments_replace_cmd_and_entrypoint_replaces_entrypoint(w: &World) {
    let image = busybox_image(w)
        .config("Entrypoint", json!(["/bin/echo", "entry"]))
        .config("Cmd", json!(["cmd", "of the image"]));
    w.load(&image, "both:latest");
    assert_eq!(run(w, &["both"]).ok().stdout, "entry cmd of the image\n");
    assert_eq!(run(w, &["both", "mine"]).ok().stdout, "entry mine\n");
    assert_eq!(run(w, &["both", "-n", "mine"]).ok().stdout, "entry -n mine\n");
    // Docker drops the image's CMD with its ENTRYPOINT.
    assert_eq!(run(w, &["--entrypoint", "/bin/echo", "both"]).ok().stdout, "\n");
    assert_eq!(run(w, &["--entrypoint", "/bin/echo", "both", "mine"]).ok().stdout, "mine\n");
    w.load(&busybox_image(w).config("Cmd", Value::Null), "nothing:latest");
    run(w, &["nothing"]).output().code(125).hints("program");
}

fn the_images_environment_comes_first_and_flags_win(w: &World) {
    let image = busybox_image(w)
        .config("Env", json!(["PATH=/bin:/sbin", "FROM=image", "KEPT=image"]))
        .config("Cmd", json!(["/bin/probe", "see"]));
    w.load(&image, "env:latest");
    let flags = ["-e", "FROM=flag", "-e", "NEW=a b", "-e", "INHERITED", "-e", "ABSENT", "--hostname", "named", "env"];
    let seen = run(w, &flags).env("INHERITED", "of the caller").ok().json();
    let env: Vec<&str> = seen["env"].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect();
    for entry in [
        "PATH=/bin:/sbin",
        "KEPT=image",
        "FROM=flag",
        "NEW=a b",
        "INHERITED=of the caller",
        "HOSTNAME=named",
        "HOME=/root",
    ] {
        assert!(env.contains(&entry), "{entry} is not in {env:?}");
    }
    assert_eq!(env.iter().filter(|entry| entry.starts_with("FROM=")).count(), 1, "{env:?}");
    assert!(!env.iter().any(|entry| entry.starts_with("ABSENT")), "{env:?}");
}

fn the_working_folder_is_the_images_or_the_flags(w: &World) {
    w.load(&busybox_image(w).config("WorkingDir", json!("/var/work")), "busybox:latest");
    assert_eq!(run(w, &["busybox", "pwd"]).ok().text(), "/var/work");
    assert_eq!(run(w, &["-w", "/tmp", "busybox", "pwd"]).ok().text(), "/tmp");
    assert_eq!(run(w, &["-w", "/made/for/it", "busybox", "pwd"]).ok().text(), "/made/for/it");
    run(w, &["-w", "relative", "busybox", "pwd"]).output().code(125).explains(&["relative"]);
}

fn users_are_found_by_name_in_the_image(w: &World) {
    w.load_busybox();
    let id = |user: &str| run(w, &["-u", user, "busybox", "id"]).ok().text().to_owned();
    assert!(
        id("alice").starts_with("uid=1000(alice) gid=1000 groups=2000(crew),2001(mates)")
            || id("alice").contains("2000(crew)")
    );
    assert!(id("alice:mates").contains("gid=2001(mates)"), "{}", id("alice:mates"));
    assert!(id("1001").contains("uid=1001(bob) gid=2000(crew)"), "{}", id("1001"));
    assert!(id("4242").contains("uid=4242 gid=0(root)"), "{}", id("4242"));
    assert!(id("4242:4243").contains("uid=4242 gid=4243"), "{}", id("4242:4243"));
    run(w, &["-u", "nobody-here", "busybox", "id"]).output().code(125).explains(&["nobody-here"]);
    run(w, &["-u", "alice:no-group", "busybox", "id"]).output().code(125).explains(&["no-group"]);
    let home = run(w, &["-u", "alice", "busybox", "sh", "-c", "echo $HOME"]).ok();
    assert_eq!(home.text(), "/home/alice");
}

fn the_images_user_is_honoured(w: &World) {
    w.load(&busybox_image(w).config("User", json!("alice")), "busybox:latest");
    let seen = sees(w, &[]);
    assert_eq!(seen["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(seen["caps"]["effective"], "0000000000000000");
    assert_eq!(sees(w, &["-u", "0"])["uid"], json!([0, 0, 0, 0]));
}

fn a_host_folder_is_bound_read_write_or_read_only(w: &World) {
    w.load_busybox();
    let file = w.write("shared/file", "from the host");
    let folder = file.parent().unwrap().display().to_string();
    let bind = format!("{folder}:/shared");
    let output = run(w, &["-v", &bind, "busybox", "sh", "-c", "cat /shared/file; echo new >/shared/new"]).ok();
    assert_eq!(output.stdout, "from the host");
    assert_eq!(fs::read_to_string(format!("{folder}/new")).unwrap(), "new\n");
    let bind = format!("{folder}:/shared:ro");
    let output = run(w, &["-v", &bind, "busybox", "/bin/probe", "try", "append", "/shared/other"]).ok();
    assert_eq!(output.text(), "EROFS");
    let one = format!("{}:/etc/one", file.display());
    assert_eq!(run(w, &["-v", &one, "busybox", "cat", "/etc/one"]).ok().stdout, "from the host");
}

fn a_named_volume_outlives_its_containers(w: &World) {
    w.load_busybox();
    run(w, &["-v", "data:/srv", "busybox", "sh", "-c", "echo kept >/srv/file"]).ok();
    assert_eq!(run(w, &["-v", "data:/other:ro", "busybox", "cat", "/other/file"]).ok().stdout, "kept\n");
    assert_eq!(fs::read_to_string(w.store().join("volumes/data/_data/file")).unwrap(), "kept\n");
}

fn the_hostname_is_the_short_id_or_the_flag(w: &World) {
    w.load_busybox();
    let output = run(w, &["busybox", "hostname"]).ok();
    let name = output.text();
    assert!(name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert_eq!(run(w, &["--hostname", "forest", "busybox", "hostname"]).ok().text(), "forest");
}

fn a_read_only_container_cannot_write_its_root(w: &World) {
    w.load_busybox();
    let output = run(w, &["--read-only", "busybox", "/bin/probe", "try", "append", "/new"]).ok();
    assert_eq!(output.text(), "EROFS");
    let output = run(w, &["--read-only", "-v", "data:/srv", "busybox", "/bin/probe", "try", "append", "/srv/new"]).ok();
    assert_eq!(output.text(), "ok");
}

fn capabilities_are_dockers_and_flags_change_them(w: &World) {
    w.load_busybox();
    let caps = |flags: &[&str]| sees(w, flags)["caps"].clone();
    let usual = caps(&[]);
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(usual[set], "00000000a80425fb", "{set}: {usual}");
    }
    assert_eq!(usual["inheritable"], "0000000000000000", "{usual}");
    assert_eq!(caps(&["--cap-drop", "ALL"])["bounding"], "0000000000000000");
    assert_eq!(caps(&["--cap-drop", "ALL", "--cap-add", "CHOWN"])["bounding"], "0000000000000001");
    assert_eq!(caps(&["--cap-drop", "CAP_CHOWN"])["bounding"], "00000000a80425fa");
    assert_eq!(caps(&["--cap-add", "sys_time"])["bounding"], "00000000aa0425fb");
    run(w, &["--cap-add", "NO_SUCH", "busybox"]).output().code(125).explains(&["NO_SUCH"]);
}

fn the_default_seccomp_profile_is_in_force_and_can_be_replaced(w: &World) {
    w.load_busybox();
    assert_eq!(sees(w, &[])["seccomp"], "2");
    assert_eq!(sees(w, &["--security-opt", "seccomp=unconfined"])["seccomp"], "0");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    });
    let file = w.write("profile.json", profile.to_string());
    let option = format!("seccomp={}", file.display());
    let output = run(w, &["--security-opt", &option, "busybox", "/bin/probe", "try", "mkdir", "/x"]).ok();
    assert_eq!(output.text(), "ENOSYS");
    let broken = w.write("broken.json", "{\"defaultAction\":\n oops}");
    let option = format!("seccomp={}", broken.display());
    run(w, &["--security-opt", &option, "busybox"]).output().code(125).explains(&["broken.json", "line 2"]);
    // With the capability, Docker's profile lets mount pass; without it, not even a user namespace may be had.
    let output = run(w, &["busybox", "/bin/probe", "try", "mount", "/tmp"]).ok();
    assert_eq!(output.text(), "EPERM");
    let output = run(w, &["--cap-add", "SYS_ADMIN", "busybox", "/bin/probe", "try", "mount", "/tmp"]).ok();
    assert_eq!(output.text(), "ok");
    run(w, &["busybox", "unshare", "-U", "true"]).output().fails();
}

fn no_new_privileges_is_an_option(w: &World) {
    w.load_busybox();
    assert_eq!(sees(w, &[])["nnp"], "0");
    assert_eq!(sees(w, &["--security-opt", "no-new-privileges"])["nnp"], "1");
}

fn proc_and_sys_are_masked(w: &World) {
    w.load_busybox();
    let script = "cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | grep -c .; true";
    assert_eq!(run(w, &["busybox", "sh", "-c", script]).ok().stdout.split_whitespace().collect::<Vec<_>>(), ["0", "0"]);
    for path in ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern"] {
        let output = run(w, &["busybox", "/bin/probe", "try", "write", path]).ok();
        // A kernel may have been built without one of them.
        assert!(["EROFS", "EACCES", "EPERM", "ENOENT"].contains(&output.text()), "{path}: {output}");
    }
    assert!(
        ["EROFS", "EACCES", "EPERM"]
            .contains(&run(w, &["busybox", "/bin/probe", "try", "mkdir", "/sys/fs/cgroup/new"]).ok().text())
    );
}

fn a_terminal_has_a_size_and_follows_resizes(w: &World) {
    w.load_busybox();
    let script =
        "stty size; echo $TERM; trap 'stty size' WINCH; read line; echo \"read $line\"; read line; read line; exit 4";
    let command = run(w, &["-it", "busybox", "sh", "-c", script]);
    let (mut terminal, running) = Terminal::start(command, 31, 71);
    terminal.shows("31 71");
    terminal.shows("xterm");
    terminal.types(b"one\n");
    terminal.shows("read one");
    terminal.resize(41, 91);
    terminal.shows("41 91");
    terminal.types(b"two\nthree\n");
    running.output().code(4);
}

fn control_c_reaches_the_program_on_a_terminal(w: &World) {
    w.load_busybox();
    let script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done";
    let (mut terminal, running) = Terminal::start(run(w, &["-it", "busybox", "sh", "-c", script]), 24, 80);
    terminal.shows("ready");
    terminal.types(b"\x03");
    terminal.shows("interrupted");
    running.output().code(3);
}

fn signals_to_the_command_reach_the_program(w: &World) {
    w.load_busybox();
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        let script = format!("trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done");
        let running = run(w, &["busybox", "sh", "-c", &script]).spawn();
        running.prints("ready");
        running.signal(signal);
        running.output().code(5).says(&format!("got {name}"));
    }
}

fn detached_prints_the_id(w: &World) {
    w.load_busybox();
    let output = w.kelp(["run", "-d", "--network", "none", "busybox", "sleep", "1000"]).ok();
    let id = output.text();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{output}");
    assert_eq!(output.stdout.lines().count(), 1);
    w.kelp(["rm", "-f", id]).ok();
}

fn rm_leaves_nothing(w: &World) {
    w.load_busybox();
    run(w, &["busybox", "true"]).ok();
    run(w, &["busybox", "false"]).output().code(1);
    assert_eq!(w.kelp(["ps", "-a", "-q"]).ok().stdout, "");
    let id = w.kelp(["run", "-d", "--rm", "--network", "none", "busybox", "sleep", "0.2"]).ok();
    kelp_tests::until("it is gone", || w.kelp(["ps", "-a", "-q"]).ok().stdout.is_empty());
    w.kelp(["inspect", id.text()]).output().explains(&[&id.text()[..12]]);
}

fn host_files_name_the_container(w: &World) {
    w.load_busybox();
    let script = "cat /etc/hostname /etc/hosts; test -s /etc/resolv.conf || echo no resolv.conf";
    let output = run(w, &["--hostname", "forest", "busybox", "sh", "-c", script]).ok();
    assert!(output.stdout.starts_with("forest\n"), "{output}");
    assert!(
        output.stdout.contains("127.0.0.1\tlocalhost") || output.stdout.contains("127.0.0.1 localhost"),
        "{output}"
    );
    run(w, &["busybox", "sh", "-c", "echo '1.2.3.4 added' >>/etc/hosts && grep -q added /etc/hosts"]).ok();
}

fn the_rootfs_is_an_overlay(w: &World) {
    w.load_busybox();
    let seen = sees(w, &[]);
    let root = seen["mounts"].as_array().unwrap().iter().find(|mount| mount["at"] == "/").unwrap().clone();
    assert_eq!(root["type"], "overlay", "{root}");
}

fn the_environment_of_the_caller_stays_outside(w: &World) {
    w.load_busybox();
    let file = w.write("secret", "x");
    let seen = run(w, &["busybox", "/bin/probe", "see"]).env("SECRET", "x").descriptor(7, &file).ok().json();
    assert!(!seen["env"].to_string().contains("SECRET"), "{}", seen["env"]);
    assert_eq!(seen["fds"].as_object().unwrap().len(), 3, "{}", seen["fds"]);
    assert!(!seen["mounts"].to_string().contains("/oldroot"), "{}", seen["mounts"]);
}

/// CVE-2026-57231: what an image's Env names without a value, or by a pattern, is not taken from the caller.
fn an_image_names_no_variable_of_the_caller(w: &World) {
    let entries = json!(["PATH=/bin:/sbin", "SECRET", "SECRET*", "SEC*", "*", "B=*", "$SECRET", "A=${SECRET}"]);
    w.load(&busybox_image(w).config("Env", entries), "greedy:latest");
    let kelp = |words: &[&str]| w.kelp(words).env("SECRET", "s3cret").env("SECRET_TOO", "s3cret");
    let clean =
        |what: &str, text: &str| assert!(!text.contains("s3cret") && !text.contains("SECRET_TOO"), "{what}: {text}");
    let seen = kelp(&["run", "--rm", "--network", "none", "greedy", "/bin/probe", "see"]).ok().json();
    clean("run", &seen["env"].to_string());
    kelp(&["run", "-d", "--network", "none", "--name", "c", "greedy", "sleep", "1000"]).ok();
    clean("exec", &kelp(&["exec", "c", "/bin/probe", "see"]).ok().stdout);
    kelp(&["commit", "c", "kept"]).ok();
    for name in ["c", "kept"] {
        clean(name, &kelp(&["inspect", name]).ok().stdout);
    }
    clean("what is run of it", &kelp(&["run", "--rm", "--network", "none", "kept", "/bin/probe", "see"]).ok().stdout);
    kelp(&["rm", "-f", "c"]).ok();
}

fn output_is_complete_when_the_program_writes_much_and_ends(w: &World) {
    w.load_busybox();
    let script = "seq 1 200000; echo end >&2";
    let output = run(w, &["busybox", "sh", "-c", script]).ok();
    assert_eq!(output.stdout.lines().count(), 200_000);
    assert_eq!(output.stdout.lines().last(), Some("200000"));
    assert!(output.stderr.ends_with("end\n"), "{}", output.stderr);
}

fn subordinate_ids_are_mapped_in_a_container(w: &World) {
    w.load_busybox();
    let seen = sees(w, &[]);
    let map = seen["uid_map"].as_array().unwrap();
    assert_eq!(map[0], json!([0, w.uid(), 1]));
    assert_eq!(map[1][0], 1);
    assert!(map[1][2].as_u64().unwrap() >= 65_535, "{map:?}");
    run(
        w,
        &["busybox", "sh", "-c", "touch /tmp/f && chown 1000:2000 /tmp/f && test $(stat -c %u:%g /tmp/f) = 1000:2000"],
    )
    .ok();
    assert_eq!(w.who(), Who::User);
}

fn setuid_programs_of_the_image_work(w: &World) {
    let tool = fs::read("/bin/busybox").unwrap();
    let more = layer(&[Entry::new("bin/become", Kind::File(tool)).mode(0o4755)]);
    w.load(&busybox_image(w).with(more), "busybox:latest");
    // busybox drops a setuid bit it does not need unless the applet asks for it: `id` of a copy called `become` would
    // not start, so look at the effective id through the kernel.
    let script = "ln -s /bin/become /tmp/sh; stat -c '%a %u' /bin/become";
    assert_eq!(run(w, &["-u", "alice", "busybox", "sh", "-c", script]).ok().text(), "4755 0");
    assert_eq!(sees(w, &["-u", "alice"])["uid"], json!([1000, 1000, 1000, 1000]));
}

fn host_files_are_for_all_to_read_whatever_is_mounted_around_them(w: &World) {
    w.load_busybox();
    let kelp = w.program("kelp").display().to_string();
    let under = |umask: &str, flags: &str, script: &str| {
        let line = format!("umask {umask}; exec {kelp} run --rm --network none {flags} busybox sh -c \"{script}\"");
        w.command("sh").args(["-c", &line]).ok().stdout
    };
    let modes = "cd /etc; stat -c %a hosts hostname resolv.conf /.dockerenv";
    for umask in ["077", "000"] {
        assert_eq!(under(umask, "", modes), "644\n644\n644\n755\n", "umask {umask}");
    }
    let host = w.dir().join("new/folder");
    let volumes = format!("-v {}:/host -v named:/named -v other:/etc -w /new/cwd", host.display());
    let seen =
        under("077", &volumes, "stat -c %a /host /named /new /new/cwd; grep -c localhost /etc/hosts; ls /etc/passwd");
    assert_eq!(seen, "755\n755\n755\n755\n2\n/etc/passwd\n");
    // The user's own file is what he wants there. A read-only root has them read-only, as Docker's.
    let own = w.write("own", "his own\n");
    assert_eq!(under("022", &format!("-v other:/etc -v {}:/etc/hosts", own.display()), "cat /etc/hosts"), "his own\n");
    let read_only = run(w, &["--read-only", "busybox", "/bin/probe", "try", "append", "/etc/hosts"]).ok();
    assert_eq!(read_only.text(), "EROFS");
}

fn a_layer_whose_root_is_private_to_another_user_runs(w: &World) {
    for mode in [0o700, 0o711, 0o750] {
        let top = layer(&[Entry::new("./", Kind::Folder).mode(mode).owner(1000, 1000)]);
        w.load(&busybox_image(w).with(top), "private:latest");
        assert_eq!(run(w, &["private", "echo", "ran"]).ok().text(), "ran", "{mode:o}");
        assert_eq!(run(w, &["-u", "1000", "private", "id", "-u"]).ok().text(), "1000", "{mode:o}");
    }
    w.kelp(["run", "-d", "--name", "c", "--network", "none", "private", "sleep", "1000"]).ok();
    assert_eq!(w.kelp(["exec", "-u", "1000", "c", "id", "-u"]).ok().text(), "1000");
    w.kelp(["rm", "-f", "c"]).ok();
}
