// SPDX-License-Identifier: Apache-2.0
//! What the program finds: ids, capabilities, limits, environment, terminal and the rest of `process`.
//!
//! Runs `kelp-runtime run` and `exec` with the probe as the program. Spec: config.md "Process".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{Bundle, Who, World, claims};
use serde_json::{Value, json};

claims!(as_root, as_user:
    environment_arrives_in_order_and_nothing_else_does,
    the_working_folder_is_entered_and_made_if_missing,
    user_group_additional_groups_and_umask_are_set,
    capability_sets_are_exactly_those_of_the_spec,
    capabilities_of_an_ordinary_user_are_only_ambient,
    limits_are_set,
    no_new_privileges_is_set_as_told,
    oom_score_adj_is_set,
    hostname_and_domainname_are_set,
    sysctls_of_own_namespaces_are_set,
    a_program_is_found_in_the_containers_path,
    exec_runs_in_the_containers_namespaces_with_its_confinement,
    exec_takes_options_for_every_part_of_the_process,
    exec_makes_no_working_folder,
    exec_takes_a_process_file,
    a_process_file_that_names_no_confinement_has_the_containers,
    exec_with_another_user_keeps_the_groups_that_it_is_not_told,
    exec_warns_of_capabilities_that_it_does_not_know,
    limits_of_memory_too_small_for_us_are_set_for_the_program,
    exec_gives_the_programs_status,
    exec_detached_writes_a_pid_file,
    the_last_id_owns_no_device_and_executes_nothing,
    exec_with_a_terminal_relays_it,
    exec_in_a_stopped_container_is_refused,
    unknown_capabilities_warn_but_do_not_fail,
    home_is_that_of_the_containers_own_passwd,
    clocks_of_a_time_namespace_are_set_apart,
    a_program_that_is_not_root_opens_its_standard_streams,
    what_is_made_inside_depends_on_no_umask_of_the_caller,
    a_working_folder_that_only_root_may_enter_is_entered,
    the_output_of_a_terminal_has_the_programs_newlines,
);
claims!(as_root:
    streams_are_given_to_ids_that_only_the_host_has,
    groups_of_the_caller_stay_where_the_annotation_says_so,
);
claims!(as_stranger: a_single_id_is_root_inside_and_the_caller_outside);
claims!(as_user: subordinate_ids_are_mapped_and_files_belong_to_them);

fn environment_arrives_in_order_and_nothing_else_does(w: &World) {
    let bundle = w.bundle("b");
    let env = json!(["PATH=/bin", "B=2", "A=1", "EMPTY=", "SPACE=a b", "EQUALS=a=b"]);
    bundle.set("/process/env", env.clone());
    let seen = bundle.sees();
    let seen: Vec<&Value> =
        seen["env"].as_array().unwrap().iter().filter(|e| !e.as_str().unwrap().starts_with("HOME=")).collect();
    assert_eq!(json!(seen), env);
}

fn the_working_folder_is_entered_and_made_if_missing(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(false)).set("/process/cwd", json!("/var/lib/new"));
    assert_eq!(bundle.sees()["cwd"], "/var/lib/new");
}

fn user_group_additional_groups_and_umask_are_set(w: &World) {
    let bundle = w.bundle("b");
    map_many(&bundle, w);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 2000], "umask": 0o027}));
    let seen = bundle.sees();
    assert_eq!(seen["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(seen["gid"], json!([1001, 1001, 1001, 1001]));
    let groups: Vec<u64> = seen["groups"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert!(groups.iter().all(|group| [5, 1001, 2000].contains(group)), "{groups:?}");
    assert!(groups.contains(&5) && groups.contains(&2000), "{groups:?}");
    assert_eq!(seen["umask"], "0027");
}

/// Gives an unprivileged user's container the user's subordinate ids.
fn map_many(bundle: &Bundle<'_>, w: &World) {
    if w.who() != Who::User {
        return;
    }
    let (uids, gids) = (range("/etc/subuid", w), range("/etc/subgid", w));
    let map = |own: u32, range: (u64, u64)| json!([{"containerID": 0, "hostID": own, "size": 1}, {"containerID": 1, "hostID": range.0, "size": range.1}]);
    bundle.set("/linux/uidMappings", map(w.uid(), uids));
    bundle.set("/linux/gidMappings", map(w.gid(), gids));
}

/// First id and length of the user's range.
fn range(file: &str, w: &World) -> (u64, u64) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let name = passwd.lines().find(|line| line.split(':').nth(2) == Some(&w.uid().to_string())).unwrap();
    let name = name.split(':').next().unwrap();
    let ranges = fs::read_to_string(file).unwrap();
    let row = ranges.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    let (start, length) = row.unwrap_or_else(|| panic!("{name} has no range in {file}")).split_once(':').unwrap();
    (start.parse().unwrap(), length.parse().unwrap())
}

fn capability_sets_are_exactly_those_of_the_spec(w: &World) {
    let bundle = w.bundle("b");
    bundle.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
        }),
    );
    bundle.set("/process/noNewPrivileges", json!(true)).set("/process/user", json!({"uid": 0, "gid": 0}));
    let caps = bundle.sees()["caps"].clone();
    assert_eq!(caps["bounding"], "0000000000002021", "{caps}");
    assert_eq!(caps["inheritable"], "0000000000000001", "{caps}");
    assert_eq!(caps["ambient"], "0000000000000001", "{caps}");
    // Root would regain the bounding set when it executes a program; no_new_privs forbids that: capabilities(7).
    assert_eq!(caps["permitted"], "0000000000000021", "{caps}");
}

fn capabilities_of_an_ordinary_user_are_only_ambient(w: &World) {
    let bundle = w.bundle("b");
    map_many(&bundle, w);
    bundle.capabilities(&["CAP_CHOWN", "CAP_KILL"]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let caps = bundle.sees()["caps"].clone();
    assert_eq!(caps["bounding"], "0000000000000021", "{caps}");
    assert_eq!(caps["effective"], "0000000000000000", "{caps}");
    bundle.set("/process/capabilities/inheritable", json!(["CAP_KILL"]));
    bundle.set("/process/capabilities/ambient", json!(["CAP_KILL"]));
    let caps = bundle.sees()["caps"].clone();
    assert_eq!(caps["effective"], "0000000000000020", "{caps}");
    assert_eq!(caps["ambient"], "0000000000000020", "{caps}");
}

fn limits_are_set(w: &World) {
    let bundle = w.bundle("b");
    bundle.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 111, "hard": 222}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_NPROC", "soft": 333, "hard": 444}, {"type": "RLIMIT_STACK", "soft": 1048576, "hard": 2097152},
        ]),
    );
    let limits = bundle.sees()["limits"].clone();
    assert_eq!(limits["Max open files"], json!(["111", "222"]), "{limits}");
    assert_eq!(limits["Max core file size"], json!(["0", "0"]), "{limits}");
    assert_eq!(limits["Max processes"], json!(["333", "444"]), "{limits}");
    assert_eq!(limits["Max stack size"], json!(["1048576", "2097152"]), "{limits}");
}

fn no_new_privileges_is_set_as_told(w: &World) {
    let bundle = w.bundle("b");
    for (told, seen) in [(true, "1"), (false, "0")] {
        bundle.set("/process/noNewPrivileges", json!(told));
        assert_eq!(bundle.sees()["nnp"], seen);
    }
}

fn oom_score_adj_is_set(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/oomScoreAdj", json!(321));
    assert_eq!(bundle.sees()["oom_score_adj"], "321");
}

fn hostname_and_domainname_are_set(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/hostname", json!("kelp-forest")).set("/domainname", json!("sea.example"));
    let seen = bundle.sees();
    assert_eq!(seen["hostname"], "kelp-forest");
    assert_eq!(seen["domainname"], "sea.example");
}

fn sysctls_of_own_namespaces_are_set(w: &World) {
    let bundle = w.bundle("b");
    add_network_namespace(&bundle);
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}));
    let read = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    assert_eq!(bundle.shell(read).prints(), "1\n4096\n");
    bundle.set("/linux/sysctl", json!({"kernel.panic": "1"}));
    bundle.run().output().explains(&["kernel.panic"]);
}

fn add_network_namespace(bundle: &Bundle<'_>) {
    bundle.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        if !namespaces.iter().any(|namespace| namespace["type"] == "network") {
            namespaces.push(json!({"type": "network"}));
        }
    });
}

fn a_program_is_found_in_the_containers_path(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/env", json!(["PATH=/no/such:/bin"]));
    assert_eq!(bundle.args(&["echo", "found"]).prints(), "found\n");
    bundle.args(&["surely-not-there"]).run().output().explains(&["surely-not-there"]);
}

fn exec_runs_in_the_containers_namespaces_with_its_confinement(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/hostname", json!("inside")).set("/process/noNewPrivileges", json!(true));
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 111, "hard": 222}]));
    bundle.set("/process/oomScoreAdj", json!(55)).capabilities(&["CAP_KILL"]);
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    bundle.shell("probe see >/tmp/first; exec sleep 1000").set("/root/readonly", json!(false)).launch();
    let first = bundle.rootfs().join("tmp/first");
    kelp_tests::until("the first has looked", || fs::read_to_string(&first).is_ok_and(|text| text.ends_with("}\n")));
    let first: Value = serde_json::from_str(&fs::read_to_string(&first).unwrap()).unwrap();
    let second = bundle.exec(&[], &["/bin/probe", "see"]).ok().json();
    for what in ["namespaces", "caps", "nnp", "seccomp", "limits", "uid", "gid", "hostname", "oom_score_adj", "cgroup"]
    {
        assert_eq!(second[what], first[what], "{what}");
    }
    assert_ne!(second["pid"], 1);
    assert_eq!(second["fds"].as_object().unwrap().len(), 3, "{}", second["fds"]);
    assert_eq!(bundle.exec(&[], &["/bin/probe", "try", "chroot", "/"]).ok().text(), "EPERM");
    bundle.delete();
}

fn exec_takes_options_for_every_part_of_the_process(w: &World) {
    let bundle = w.bundle("b");
    map_many(&bundle, w);
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let options = ["--cwd", "/tmp", "--env", "NEW=value", "--user", "1000:1000", "--additional-gids", "2000"];
    let seen = bundle.exec(&options, &["/bin/probe", "see"]).ok().json();
    assert_eq!(seen["cwd"], "/tmp");
    assert!(seen["env"].to_string().contains("NEW=value"), "{}", seen["env"]);
    assert_eq!(seen["uid"], json!([1000, 1000, 1000, 1000]));
    assert!(seen["groups"].as_array().unwrap().contains(&json!(2000)), "{}", seen["groups"]);
    bundle.delete();
}

fn exec_makes_no_working_folder(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(false)).args(&["/bin/sleep", "1000"]).launch();
    let output = bundle.exec(&["--cwd", "/nosuch"], &["/bin/probe", "see"]).output();
    output.code(255).explains(&["working directory /nosuch", "No such file"]);
    assert!(!bundle.rootfs().join("nosuch").exists());
    bundle.delete();
}

fn exec_takes_a_process_file(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let process = json!({
        "cwd": "/tmp", "args": ["/bin/probe", "see"], "env": ["ONLY=this"], "user": {"uid": 0, "gid": 0},
        "noNewPrivileges": true, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}],
    });
    let file = w.write("process.json", process.to_string());
    let seen = bundle.verb("exec", &["--process", &file.to_string_lossy()]).ok().json();
    assert_eq!(seen["cwd"], "/tmp");
    assert!(seen["env"].to_string().contains("ONLY=this"), "{}", seen["env"]);
    assert_eq!(seen["limits"]["Max open files"], json!(["99", "99"]));
    bundle.delete();
}

fn a_process_file_that_names_no_confinement_has_the_containers(w: &World) {
    let bundle = w.bundle("b");
    bundle.capabilities(&["CAP_KILL"]).set("/process/oomScoreAdj", json!(900));
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let process = |capabilities: &str| {
        let process =
            format!(r#"{{"cwd": "/", "args": ["/bin/probe", "see"], "user": {{"uid": 0, "gid": 0}}{capabilities}}}"#);
        let file = w.write("process.json", process);
        bundle.verb("exec", &["--process", &file.to_string_lossy()]).ok().json()
    };
    let seen = process("");
    assert_eq!(seen["caps"]["bounding"], "0000000000000020");
    assert_eq!(seen["caps"]["effective"], "0000000000000020");
    assert_eq!(seen["oom_score_adj"], "900");
    assert_eq!(process(r#", "capabilities": {}"#)["caps"]["bounding"], "0000000000000000");
    bundle.delete();
}

fn exec_with_another_user_keeps_the_groups_that_it_is_not_told(w: &World) {
    let bundle = w.bundle("b");
    map_many(&bundle, w);
    bundle.set("/process/user", json!({"uid": 10, "gid": 20, "additionalGids": [30]}));
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let seen = |options: &[&str]| {
        let seen = bundle.exec(options, &["/bin/probe", "see"]).ok().json();
        (seen["uid"][0].clone(), seen["gid"][0].clone(), seen["groups"].clone())
    };
    assert_eq!(seen(&["--user", "5"]), (json!(5), json!(20), json!([30])));
    assert_eq!(seen(&["--user", "5:6"]), (json!(5), json!(6), json!([30])));
    assert_eq!(seen(&["--user", "5:6", "-g", "7"]), (json!(5), json!(6), json!([7, 30])));
    bundle.delete();
}

fn exec_warns_of_capabilities_that_it_does_not_know(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let output = bundle.exec(&["--cap", "CAP_OF_THE_FUTURE", "--cap", "CAP_KILL"], &["/bin/probe", "see"]).ok();
    assert!(output.stderr.contains("CAP_OF_THE_FUTURE"), "no warning\n{output}");
    let effective = output.json()["caps"]["effective"].as_str().map(|bits| u64::from_str_radix(bits, 16).unwrap());
    assert_eq!(effective.unwrap() & 0x20, 0x20);
    bundle.delete();
}

fn limits_of_memory_too_small_for_us_are_set_for_the_program(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_DATA", "soft": 300_000, "hard": 300_000}]));
    bundle.args(&["/bin/true"]).run().ok();
    bundle.args(&["/bin/sleep", "1000"]).launch();
    bundle.exec(&[], &["/bin/true"]).ok();
    bundle.delete();
}

fn exec_gives_the_programs_status(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    bundle.exec(&[], &["/bin/probe", "exit", "9"]).output().code(9);
    bundle.exec(&[], &["/bin/sh", "-c", "kill -9 $$"]).output().code(137);
    bundle.exec(&[], &["/no/such/program"]).output().explains(&["/no/such/program"]);
    assert_eq!(bundle.status(), "running");
    bundle.delete();
}

/// 4294967295 means “do not change” to chown(2) and setresuid(2): the owner would be root.
fn the_last_id_owns_no_device_and_executes_nothing(w: &World) {
    let bundle = w.bundle("b");
    for owner in ["uid", "gid"] {
        let mut device = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3});
        if w.who() != Who::Root {
            device = json!({"path": "/dev/x", "type": "p"});
        }
        device[owner] = json!(u32::MAX);
        bundle.set("/linux/devices", json!([device]));
        bundle.run().output().explains(&["/dev/x", "uids and gids must be in range 0-4294967294"]);
    }
    bundle.set("/linux/devices", json!([])).args(&["/bin/sleep", "1000"]).launch();
    for user in ["4294967295", "0:4294967295"] {
        bundle.exec(&["--user", user], &["/bin/id"]).output().explains(&["uids and gids must be in range"]);
    }
    bundle
        .exec(&["--additional-gids", "4294967295"], &["/bin/id"])
        .output()
        .explains(&["uids and gids must be in range"]);
    bundle.delete();
}

fn exec_detached_writes_a_pid_file(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let file = w.dir().join("pid");
    bundle.exec(&["--detach", "--pid-file", &file.to_string_lossy()], &["/bin/sleep", "1000"]).ok();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    assert!(kelp_tests::is_alive(pid));
    assert_ne!(pid, bundle.pid());
    bundle.delete();
    kelp_tests::until("the second is dead", || !kelp_tests::is_alive(pid));
}

fn exec_with_a_terminal_relays_it(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let command = bundle.exec(&["--tty"], &["/bin/sh", "-c", "stty size; read line; echo \"read $line\"; exit 6"]);
    let (mut terminal, running) = kelp_tests::Terminal::start(command, 29, 69);
    terminal.shows("29 69");
    terminal.types(b"typed\n");
    terminal.shows("read typed");
    running.output().code(6);
    bundle.delete();
}

fn exec_in_a_stopped_container_is_refused(w: &World) {
    let bundle = w.bundle("b");
    bundle.launch();
    bundle.becomes("stopped");
    bundle.exec(&[], &["/bin/true"]).output().explains(&[bundle.id()]);
    bundle.delete();
}

fn unknown_capabilities_warn_but_do_not_fail(w: &World) {
    let bundle = w.bundle("b");
    bundle.capabilities(&["CAP_KILL", "CAP_OF_THE_FUTURE"]);
    let output = bundle.args(&["/bin/probe", "see"]).run().ok();
    assert!(output.stderr.contains("CAP_OF_THE_FUTURE"), "no warning\n{output}");
    assert_eq!(output.json()["caps"]["bounding"], "0000000000000020");
}

fn a_single_id_is_root_inside_and_the_caller_outside(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(false));
    let seen = bundle.sees();
    assert_eq!(seen["uid"], json!([0, 0, 0, 0]));
    assert_eq!(seen["uid_map"], json!([[0, w.uid(), 1]]));
    assert_eq!(seen["gid_map"], json!([[0, w.gid(), 1]]));
    assert_eq!(seen["setgroups"], "deny");
    bundle.args(&["/bin/touch", "/tmp/mine"]).prints();
    assert_eq!(owner(&bundle, "tmp/mine"), (w.uid(), w.gid()));
}

fn owner(bundle: &Bundle<'_>, path: &str) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(bundle.rootfs().join(path)).unwrap();
    (metadata.uid(), metadata.gid())
}

fn subordinate_ids_are_mapped_and_files_belong_to_them(w: &World) {
    let bundle = w.bundle("b");
    map_many(&bundle, w);
    bundle.set("/root/readonly", json!(false)).capabilities(&["CAP_CHOWN", "CAP_FOWNER"]);
    bundle.shell("touch /tmp/theirs && chown 1000:2000 /tmp/theirs").prints();
    let (uids, gids) = (range("/etc/subuid", w), range("/etc/subgid", w));
    let expected = (uids.0 + 999, gids.0 + 1999);
    let (uid, gid) = owner(&bundle, "tmp/theirs");
    assert_eq!((u64::from(uid), u64::from(gid)), expected);
    bundle.args(&["/bin/rm", "/tmp/theirs"]).prints();
}

fn home_is_that_of_the_containers_own_passwd(w: &World) {
    let bundle = w.bundle("b");
    map_many(&bundle, w);
    let home = ["/bin/sh", "-c", "env | grep ^HOME="];
    bundle.set("/process/env", json!(["PATH=/bin", "HOME="]));
    assert_eq!(bundle.args(&home).prints(), "HOME=/root\n");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(bundle.prints(), "HOME=/home/alice\n");
    bundle.set("/process/user", json!({"uid": 4242, "gid": 0}));
    assert_eq!(bundle.prints(), "HOME=/\n");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    assert_eq!(bundle.exec(&["--user", "1001:2000"], &home).ok().stdout, "HOME=/\n");
    assert_eq!(bundle.exec(&["--user", "1000:1000"], &home).ok().stdout, "HOME=/home/alice\n");
    assert_eq!(bundle.exec(&["--env", "HOME=/mine"], &home).ok().stdout, "HOME=/mine\n");
    bundle.delete();
    // Whatever the image has there instead of a file, the program starts.
    let passwd = bundle.rootfs().join("etc/passwd");
    fs::write(&passwd, format!("{}\nalice:x:4242:0:{}:/late:\n", "x".repeat(9000), "y".repeat(3000))).unwrap();
    assert_eq!(bundle.args(&home).prints(), "HOME=/late\n");
    for target in ["/dev/zero", "/etc/passwd", "/proc/self/fd/0", "/nowhere"] {
        fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink(target, &passwd).unwrap();
        assert_eq!(bundle.prints(), "HOME=/\n", "{target}");
    }
}

fn clocks_of_a_time_namespace_are_set_apart(w: &World) {
    let bundle = w.bundle("b");
    let uptime = |text: &str| text.split(['.', ' ']).next().unwrap().parse::<i64>().unwrap();
    let outside = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    bundle.edit(|spec| spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"})));
    bundle.set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000, "nanosecs": 5}, "monotonic": {"secs": 7}}));
    let cat = ["/bin/cat", "/proc/uptime"];
    let inside = uptime(&bundle.args(&cat).prints());
    assert!((inside - outside - 1_000_000).abs() < 60, "{outside} {inside}");
    let offsets = bundle.args(&["/bin/cat", "/proc/self/timens_offsets"]).prints();
    let words: Vec<&str> = offsets.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "7", "0", "boottime", "1000000", "5"]);
    bundle.args(&["/bin/sleep", "1000"]).launch();
    assert!(uptime(&bundle.exec(&[], &cat).ok().stdout) > 1_000_000, "exec has other clocks");
    bundle.delete();
    bundle.edit(|spec| spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|kind| kind["type"] != "time"));
    bundle.run().output().explains(&["linux.timeOffsets", "time"]);
}

/// A shell's line with the arguments of this command after `exec`.
fn in_shell<'w>(w: &'w World, before: &str, bundle: &Bundle<'_>) -> kelp_tests::Command<'w> {
    let runtime = w.program("kelp-runtime").display().to_string();
    let (root, dir) = (w.runtime_root().display().to_string(), bundle.dir().display().to_string());
    let line = format!("{before} exec {runtime} --root {root} run --bundle {dir} {}", bundle.id());
    w.command("sh").args(["-c", &line])
}

fn a_program_that_is_not_root_opens_its_standard_streams(w: &World) {
    let bundle = w.bundle("b");
    map_many(&bundle, w);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let script = "echo out >/dev/stdout && echo err >/dev/stderr && cat /dev/stdin";
    let output = bundle.shell(script).run().stdin("in").ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\nin", "err\n"));
    // A file of the caller's own too; one that others may write stays theirs, and so does /dev/null.
    let (own, shared) = (w.write("own", ""), w.write("shared", ""));
    std::os::unix::fs::chown(&own, Some(w.uid()), Some(w.gid())).unwrap();
    fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let owner = |path: &std::path::Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap());
    let before = owner(&shared);
    let streams = format!("exec >>{} 2>>{} </dev/null;", own.display(), shared.display());
    in_shell(w, &streams, bundle.shell("echo out >>/dev/stdout; echo err >>/dev/stderr")).ok();
    assert_eq!([fs::read_to_string(&own).unwrap(), fs::read_to_string(&shared).unwrap()], ["out\n", "err\n"]);
    assert!(owner(&shared) == before && owner(std::path::Path::new("/dev/null")) == 0);
    bundle.set("/process/user", json!({"uid": 0, "gid": 0}));
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let exec = bundle.exec(&["--user", "1000:1000"], &["/bin/sh", "-c", script]).stdin("in").ok();
    assert_eq!((exec.stdout.as_str(), exec.stderr.as_str()), ("out\nin", "err\n"));
    bundle.delete();
}

fn streams_are_given_to_ids_that_only_the_host_has(w: &World) {
    let bundle = w.bundle("b");
    let maps = json!([{"containerID": 0, "hostID": 300_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
    bundle.edit(|spec| spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"})));
    for user in [0, 1000] {
        bundle.set("/process/user", json!({"uid": user, "gid": user}));
        assert_eq!(bundle.shell("echo out >/dev/stdout").prints(), "out\n", "as {user}");
    }
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let exec = bundle.exec(&["--user", "7:7"], &["/bin/sh", "-c", "echo out >/dev/stdout"]).ok();
    assert_eq!(exec.stdout, "out\n");
    bundle.delete();
}

fn what_is_made_inside_depends_on_no_umask_of_the_caller(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(false)).set("/process/cwd", json!("/made/cwd"));
    bundle.mount(json!({"destination": "/mnt/a/b", "type": "tmpfs", "source": "tmpfs"}));
    let file = w.write("file", "");
    bundle.mount(json!({"destination": "/mnt2/c/file", "source": file, "options": ["bind"]}));
    let modes = "stat -c %a /made /made/cwd /mnt /mnt/a /mnt2/c; umask";
    for umask in ["077", "000"] {
        let output = in_shell(w, &format!("umask {umask};"), bundle.shell(modes)).ok();
        assert_eq!(output.stdout, "755\n755\n755\n755\n755\n0022\n", "umask {umask}");
        for made in ["made", "mnt", "mnt2"] {
            fs::remove_dir_all(bundle.rootfs().join(made)).unwrap();
        }
    }
}

fn a_working_folder_that_only_root_may_enter_is_entered(w: &World) {
    let bundle = w.bundle("b");
    map_many(&bundle, w);
    let private = bundle.rootfs().join("private");
    w.make_dir(&private);
    fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bundle.set("/process/cwd", json!("/private")).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(
        bundle.args(&["/bin/sh", "-c", "pwd; ls . 2>&1"]).run().output().text().lines().next(),
        Some("/private")
    );
    // Root without capabilities, in a folder of another.
    if w.who() == Who::Root {
        std::os::unix::fs::chown(&private, Some(1000), Some(1000)).unwrap();
    }
    bundle.capabilities(&[]).set("/process/user", json!({"uid": 0, "gid": 0}));
    bundle.args(&["/bin/sleep", "1000"]).launch();
    for user in ["0", "1000"] {
        assert_eq!(bundle.exec(&["--user", user], &["/bin/sh", "-c", "pwd"]).ok().text(), "/private", "as {user}");
    }
    bundle.delete();
}

fn the_output_of_a_terminal_has_the_programs_newlines(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/terminal", json!(true));
    assert_eq!(bundle.shell("echo one; echo two").prints(), "one\ntwo\n");
    bundle.set("/process/terminal", json!(false)).args(&["/bin/sleep", "1000"]).launch();
    assert_eq!(bundle.exec(&["--tty"], &["/bin/sh", "-c", "echo one; echo two"]).ok().stdout, "one\ntwo\n");
    bundle.delete();
}

fn groups_of_the_caller_stay_where_the_annotation_says_so(w: &World) {
    let bundle = w.bundle("b");
    let dir = bundle.dir().display().to_string();
    let (root, runtime) = (w.runtime_root().display().to_string(), w.program("kelp-runtime").display().to_string());
    let run = || {
        let command = w.command("setpriv").args(["--groups", "4242,4243", &runtime, "--root", &root]);
        command.args(["run", "--bundle", &dir, bundle.id()]).ok().json()["groups"].clone()
    };
    bundle.args(&["/bin/probe", "see"]);
    assert_eq!(run(), json!([]));
    bundle.set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
    assert_eq!(run(), json!([4242, 4243]));
}
