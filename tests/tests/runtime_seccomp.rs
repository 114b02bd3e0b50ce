// SPDX-License-Identifier: Apache-2.0
//! Seccomp profiles in force: every action, arguments, architectures, and the moments at which a filter could hurt us.
//!
//! Runs `kelp-runtime` with profiles that deny what the probe then tries. Spec: config-linux.md "Seccomp".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use kelp_tests::{Bundle, World, claims};
use serde_json::{Value, json};

claims!(as_root, as_user:
    errno_actions_give_their_errno,
    kill_actions_end_the_process_by_sigsys,
    log_and_allow_let_the_call_pass,
    arguments_are_compared,
    names_unknown_to_the_machine_are_skipped,
    the_plan_names_what_a_profile_passes_over,
    the_default_action_applies_to_the_rest,
    a_profile_may_deny_what_the_runtime_itself_needs,
    a_filter_without_no_new_privileges_is_loaded_too,
    dockers_profile_lets_a_shell_work_and_denies_the_dangerous,
    an_agent_gets_the_listener_with_the_state_and_answers_the_calls,
    start_and_exec_hand_their_listeners_over_too,
    a_listener_that_nobody_takes_ends_the_container,
    a_profile_whose_listener_cannot_be_handed_over_is_refused,
    an_errno_for_an_action_that_returns_none_is_refused,
    trap_delivers_a_signal,
);

fn errno_rule(names: &[&str]) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO"})
}

/// Everything is allowed but what these rules say.
fn profile(bundle: &Bundle<'_>, rules: Value) {
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    bundle.set("/root/readonly", json!(false));
}

fn tries(bundle: &Bundle<'_>, operation: &str, path: &str) -> String {
    bundle.args(&["/bin/probe", "try", operation, path]).prints().trim().to_owned()
}

fn errno_actions_give_their_errno(w: &World) {
    let bundle = w.bundle("b");
    let calls = ["mkdir", "mkdirat"];
    profile(&bundle, json!([errno_rule(&calls)]));
    assert_eq!(tries(&bundle, "mkdir", "/tmp/x"), "EPERM");
    profile(&bundle, json!([{"names": calls, "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]));
    assert_eq!(tries(&bundle, "mkdir", "/tmp/x"), "ENOSYS");
    assert_eq!(bundle.sees()["seccomp"], "2");
}

fn kill_actions_end_the_process_by_sigsys(w: &World) {
    let bundle = w.bundle("b");
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"] {
        profile(&bundle, json!([{"names": ["mkdir", "mkdirat"], "action": action}]));
        bundle.args(&["/bin/probe", "try", "mkdir", "/tmp/x"]).run().output().code(128 + 31);
    }
}

fn trap_delivers_a_signal(w: &World) {
    let bundle = w.bundle("b");
    profile(&bundle, json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRAP"}]));
    bundle.shell("mkdir /tmp/x; echo $?").run().ok().says("159");
}

fn log_and_allow_let_the_call_pass(w: &World) {
    let bundle = w.bundle("b");
    for action in ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
        let rules = json!([{"names": ["mkdir", "mkdirat"], "action": action}]);
        bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": rules}));
        bundle.set("/root/readonly", json!(false));
        assert_eq!(bundle.shell("mkdir /tmp/x && rmdir /tmp/x || busybox rmdir /tmp/x; echo ok").prints(), "ok\n");
    }
}

fn arguments_are_compared(w: &World) {
    let bundle = w.bundle("b");
    let when = |op: &str, value: u64, two: u64| {
        // fchmodat(dirfd, path, mode): the mode is the third argument in all its spellings but chmod's.
        json!([
            {"names": ["fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 2, "op": op, "value": value, "valueTwo": two}]},
        ])
    };
    // The probe calls fchmodat with mode 0700 = 448.
    for (op, value, two, denied) in [
        ("SCMP_CMP_EQ", 0o700, 0, true),
        ("SCMP_CMP_EQ", 0o755, 0, false),
        ("SCMP_CMP_NE", 0o700, 0, false),
        ("SCMP_CMP_NE", 0o755, 0, true),
        ("SCMP_CMP_LT", 0o701, 0, true),
        ("SCMP_CMP_LE", 0o677, 0, false),
        ("SCMP_CMP_GE", 0o700, 0, true),
        ("SCMP_CMP_GT", 0o700, 0, false),
        ("SCMP_CMP_MASKED_EQ", 0o400, 0o400, true),
        ("SCMP_CMP_MASKED_EQ", 0o007, 0o001, false),
    ] {
        profile(&bundle, when(op, value, two));
        let expected = if denied { "EPERM" } else { "ok" };
        assert_eq!(tries(&bundle, "chmod", "/tmp"), expected, "{op} {value:o} {two:o}");
    }
}

fn names_unknown_to_the_machine_are_skipped(w: &World) {
    let bundle = w.bundle("b");
    profile(&bundle, json!([errno_rule(&["a_call_of_the_future", "mkdir", "mkdirat", "arm_fadvise64_64"])]));
    assert_eq!(tries(&bundle, "mkdir", "/tmp/x"), "EPERM");
}

fn the_default_action_applies_to_the_rest(w: &World) {
    let bundle = w.bundle("b");
    let docker = docker_like();
    bundle.set("/linux/seccomp", docker).set("/root/readonly", json!(false));
    assert_eq!(tries(&bundle, "mkdir", "/tmp/x"), "ok");
    assert_eq!(tries(&bundle, "mount", "/tmp"), "EPERM");
    assert_eq!(tries(&bundle, "sethostname", "x"), "EPERM");
}

/// What a shell and the probe need.
const ALLOWED: &str = "
    access arch_prctl brk capget capset chdir clone clone3 close close_range dup dup2 dup3 epoll_create1
    epoll_ctl epoll_wait execve execveat exit exit_group faccessat faccessat2 fchdir fchmod fchmodat fcntl
    fork fstat fstatfs futex getcwd getdents64 getegid geteuid getgid getgroups getpgid getpgrp getpid getppid
    getrandom getrlimit getsid gettid getuid ioctl lseek lstat madvise mkdir mkdirat mmap mprotect mremap
    munmap nanosleep newfstatat open openat openat2 pipe pipe2 poll ppoll prctl pread64 prlimit64 pwrite64
    read readlink readlinkat readv rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sendfile
    set_robust_list set_tid_address setgid setgroups setpgid setresgid setresuid setsid setuid sigaltstack
    stat statx sysinfo tgkill umask uname unlink vfork wait4 write writev
";

/// An allow list as containers get it, default errno 1.
fn docker_like() -> Value {
    let allowed: Vec<&str> = ALLOWED.split_whitespace().collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}],
    })
}

fn a_profile_may_deny_what_the_runtime_itself_needs(w: &World) {
    let bundle = w.bundle("b");
    // None of these is needed by a program that only writes a line, and all of them by a careless runtime.
    let rules = errno_rule(&[
        "accept",
        "accept4",
        "recvmsg",
        "recvfrom",
        "sendmsg",
        "mount",
        "setns",
        "unshare",
        "capset",
        "setresuid",
        "setresgid",
        "setgroups",
        "prctl",
        "pivot_root",
        "close_range",
        "fchdir",
        "poll",
        "ppoll",
    ]);
    profile(&bundle, json!([rules]));
    for nnp in [true, false] {
        bundle.set("/process/noNewPrivileges", json!(nnp));
        if !nnp {
            // Without no_new_privs the filter is loaded before the capabilities go: these two come after it.
            let rules = errno_rule(&["accept", "accept4", "recvmsg", "recvfrom", "sendmsg", "mount", "setns"]);
            profile(&bundle, json!([rules]));
        }
        bundle.args(&["/bin/echo", "alive"]).create().ok();
        bundle.verb("start", &[]).ok();
        bundle.becomes("stopped");
        bundle.delete();
    }
}

fn a_filter_without_no_new_privileges_is_loaded_too(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/noNewPrivileges", json!(false)).capabilities(&["CAP_KILL"]);
    profile(&bundle, json!([errno_rule(&["mkdir", "mkdirat"])]));
    let seen = bundle.sees();
    assert_eq!((seen["nnp"].as_str(), seen["seccomp"].as_str()), (Some("0"), Some("2")));
    assert_eq!(tries(&bundle, "mkdir", "/tmp/x"), "EPERM");
}

fn dockers_profile_lets_a_shell_work_and_denies_the_dangerous(w: &World) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/oci/seccomp/docker-default.json");
    let Ok(text) = fs::read_to_string(&file) else {
        return w.skip("Docker's profile is not beside the checkout");
    };
    let bundle = w.bundle("b");
    let docker: Value = serde_json::from_str(&text).unwrap();
    // Docker's dialect: the rules that need a capability or a kernel are for the engine; a bundle has plain ones.
    let plain = |rule: &&Value| {
        let empty = |key: &str| rule[key].as_object().is_none_or(serde_json::Map::is_empty);
        empty("includes") && empty("excludes")
    };
    let rules: Vec<Value> = docker["syscalls"].as_array().unwrap().iter().filter(plain).map(oci_rule).collect();
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    bundle.edit(|spec| {
        let more = json!({"names": ["arch_prctl", "clone", "clone3"], "action": "SCMP_ACT_ALLOW"});
        spec["linux"]["seccomp"]["syscalls"].as_array_mut().unwrap().push(more);
    });
    bundle.set("/root/readonly", json!(false));
    assert_eq!(bundle.shell("ls / >/dev/null && (echo sub; sleep 0.01) | cat").prints(), "sub\n");
    assert_eq!(tries(&bundle, "mount", "/tmp"), "EPERM");
}

fn oci_rule(rule: &Value) -> Value {
    let mut rule = rule.clone();
    let object = rule.as_object_mut().unwrap();
    object.retain(|key, value| ["names", "action", "args", "errnoRet"].contains(&key.as_str()) && !value.is_null());
    rule
}

/// Builds the agent and starts it at `agent.sock`; it answers with the errno 123, and ends when told to by `World`'s end.
fn agent<'w>(w: &'w World, name: &str) -> (kelp_tests::Running<'w>, std::path::PathBuf, std::path::PathBuf) {
    let program = w.dir().join("agent");
    if !program.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/seccomp-agent.c");
        let source = w.copy(&source, "agent.c");
        w.command("gcc").args(["-O1", "-o", &program.to_string_lossy(), &source.to_string_lossy()]).ok();
    }
    let (socket, state) = (w.dir().join(format!("{name}.sock")), w.dir().join(format!("{name}.json")));
    let args = [socket.to_string_lossy(), state.to_string_lossy(), "123".into()];
    let running = w.command(&program.to_string_lossy()).args(args).spawn();
    kelp_tests::until("the agent listens", || socket.exists());
    (running, socket, state)
}

/// What the runtime has sent to the agent.
fn sent(state: &Path) -> Value {
    kelp_tests::until("the state is there", || fs::read(state).is_ok_and(|text| text.ends_with(b"}")));
    serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap()
}

fn notifying(bundle: &Bundle<'_>, socket: &Path) {
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]);
    bundle.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules, "listenerPath": socket, "listenerMetadata": "opaque",
        }),
    );
    bundle.set("/root/readonly", json!(false));
}

fn an_agent_gets_the_listener_with_the_state_and_answers_the_calls(w: &World) {
    let bundle = w.bundle("b");
    for nnp in [true, false] {
        let (agent, socket, state) = agent(w, &format!("run{nnp}"));
        notifying(&bundle, &socket);
        bundle.set("/process/noNewPrivileges", json!(nnp)).set("/annotations", json!({"key": "value"}));
        assert_eq!(tries(&bundle, "mkdir", "/tmp/x"), "errno 123");
        agent.output().ok();
        let sent = sent(&state);
        assert_eq!(sent["fds"], json!(["seccompFd"]));
        assert_eq!(sent["metadata"], "opaque");
        assert_eq!((&sent["state"]["id"], &sent["state"]["status"]), (&json!(bundle.id()), &json!("creating")));
        assert_eq!(sent["state"]["annotations"], json!({"key": "value"}));
        assert!(sent["pid"].is_i64() && sent["pid"] == sent["state"]["pid"], "{sent}");
    }
}

fn start_and_exec_hand_their_listeners_over_too(w: &World) {
    let bundle = w.bundle("b");
    let (first, socket, state) = agent(w, "agent");
    notifying(&bundle, &socket);
    bundle.shell("mkdir /tmp/x 2>/tmp/said; exec sleep 1000").create().ok();
    assert!(!state.exists(), "the filter is in force before the start");
    bundle.verb("start", &[]).ok();
    assert_eq!(sent(&state)["state"]["status"], "created");
    kelp_tests::until("the agent has answered", || {
        fs::metadata(bundle.rootfs().join("tmp/said")).is_ok_and(|m| m.len() > 0)
    });
    fs::remove_file(&socket).unwrap();
    fs::remove_file(&state).unwrap();
    let (second, _, state) = agent(w, "agent");
    assert_eq!(bundle.exec(&[], &["/bin/probe", "try", "mkdir", "/tmp/y"]).ok().text(), "errno 123");
    assert_eq!(sent(&state)["state"]["status"], "running");
    second.output().ok();
    bundle.delete();
    first.output().ok();
}

fn a_listener_that_nobody_takes_ends_the_container(w: &World) {
    let bundle = w.bundle("b");
    notifying(&bundle, &w.dir().join("nobody.sock"));
    bundle.args(&["/bin/sleep", "1000"]).run().output().explains(&["nobody.sock", "listenerPath"]);
    bundle.create().ok();
    bundle.verb("start", &[]).output().explains(&["nobody.sock"]);
    bundle.becomes("stopped");
    bundle.delete();
}

fn a_profile_whose_listener_cannot_be_handed_over_is_refused(w: &World) {
    let bundle = w.bundle("b");
    notifying(&bundle, &w.dir().join("any.sock"));
    bundle.set("/linux/seccomp/syscalls", json!([{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]));
    bundle.run().output().explains(&["SCMP_ACT_NOTIFY", "write"]);
    profile(&bundle, json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]));
    bundle.run().output().explains(&["listenerPath"]);
}

fn an_errno_for_an_action_that_returns_none_is_refused(w: &World) {
    let bundle = w.bundle("b");
    profile(&bundle, json!([{"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 5}]));
    bundle.run().output().explains(&["SCMP_ACT_KILL", "errnoRet"]);
}

fn the_plan_names_what_a_profile_passes_over(w: &World) {
    let bundle = w.bundle("b");
    profile(&bundle, json!([errno_rule(&["mkdir", "a_call_of_tomorrow"])]));
    let plan = w.runtime(["plan", &bundle.dir().to_string_lossy()]).ok();
    plan.says("seccomp").says("unknown here: a_call_of_tomorrow");
}
