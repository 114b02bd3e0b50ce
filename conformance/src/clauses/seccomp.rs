// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, Seccomp. The probe's system calls are judged by their errno; `socket` has an argument to look at.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, Stop, ensure, same};
use crate::config::{remove, steps};
use crate::contract::console::receive;
use crate::facts::Facts;
use crate::trial::{Trial, broken, wait_readable};

const SECCOMP: Chapter = Chapter::new(Document::ConfigLinux, "Seccomp");
const STATE: Chapter = Chapter::new(Document::ConfigLinux, "The Container Process State");

const NO_SECCOMP: Mutation = Mutation::Config(|c| remove(&mut c["linux"], "seccomp"));
const NO_ERRORS: Mutation = Mutation::Facts(|f| f.set_errnos(0));

const EPERM: i32 = 1;
/// AF_UNIX, AF_INET and AF_NETLINK: arguments that differ in more than one bit.
const FAMILIES: [i32; 3] = [1, 2, 16];

pub(super) const CASES: &[Case] = &[
    SECCOMP.says("seccomp-errno", "Some actions like SCMP_ACT_ERRNO and SCMP_ACT_TRACE allow to specify the errno code to return. If not specified its default value is EPERM.",
        |t| {
            let facts = confined(t, allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}])))?;
            same("errno of getcwd", facts.errno("getcwd")?, EPERM)?;
            same("errno of chmod", facts.errno("chmod:/etc/secret")?, 0)?;
            same("Seccomp in /proc/self/status", facts.status("Seccomp")?, "2")
        },
        &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-errnoRet", "errnoRet (uint, OPTIONAL) - the errno return code to use.",
        |t| {
            let facts = confined(t, allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}])))?;
            same("errno of getcwd", facts.errno("getcwd")?, 38)
        },
        &[Mutation::Config(|c| c["linux"]["seccomp"]["syscalls"][0]["errnoRet"] = json!(1)), NO_SECCOMP]),
    SECCOMP.says("seccomp-two-errnos", "errnoRet (uint, OPTIONAL) - the errno return code to use.",
        |t| {
            let facts = confined(t, allow_but(json!([
                {"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                {"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
            ])))?;
            same("errnos of getcwd and chmod", (facts.errno("getcwd")?, facts.errno("chmod:/etc/secret")?), (38, 95))
        },
        &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-defaultAction", "defaultAction (string, REQUIRED) - the default action for seccomp.",
        |t| {
            // Everything is forbidden but what a static program needs.
            let facts = confined(t, deny_but(json!([]), 1))?;
            same("errnos of getcwd and chmod", (facts.errno("getcwd")?, facts.errno("chmod:/etc/secret")?), (EPERM, EPERM))
        },
        &[Mutation::Config(|c| c["linux"]["seccomp"]["defaultAction"] = json!("SCMP_ACT_ALLOW")), NO_ERRORS]),
    SECCOMP.says("seccomp-defaultErrnoRet", "defaultErrnoRet (uint, OPTIONAL) - the errno return code to use.",
        |t| same("errno of getcwd", confined(t, deny_but(json!([]), 38))?.errno("getcwd")?, 38),
        &[Mutation::Config(|c| c["linux"]["seccomp"]["defaultErrnoRet"] = json!(1)), NO_ERRORS]),
    SECCOMP.says("seccomp-allow", "action (string, REQUIRED) - the action for seccomp rules.",
        |t| {
            let facts = confined(t, deny_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_ALLOW"}]), 1))?;
            same("errnos of getcwd and chmod", (facts.errno("getcwd")?, facts.errno("chmod:/etc/secret")?), (0, EPERM))
        },
        &[Mutation::Config(|c| c["linux"]["seccomp"]["syscalls"] = json!([{"names": PROBE, "action": "SCMP_ACT_ALLOW"}])), NO_ERRORS]),
    SECCOMP.says("seccomp-kill", "SCMP_ACT_KILL", |t| killed(t, "SCMP_ACT_KILL"), &[NO_SECCOMP]),
    SECCOMP.says("seccomp-kill-thread", "SCMP_ACT_KILL_THREAD", |t| killed(t, "SCMP_ACT_KILL_THREAD"), &[NO_SECCOMP]),
    SECCOMP.says("seccomp-kill-process", "SCMP_ACT_KILL_PROCESS", |t| killed(t, "SCMP_ACT_KILL_PROCESS"), &[NO_SECCOMP]),
    SECCOMP.says("seccomp-trap", "SCMP_ACT_TRAP", |t| killed(t, "SCMP_ACT_TRAP"), &[NO_SECCOMP]),
    SECCOMP.says("seccomp-log", "SCMP_ACT_LOG",
        |t| {
            let facts = confined(t, allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_LOG"}])))?;
            same("errno of getcwd", facts.errno("getcwd")?, 0)?;
            same("Seccomp in /proc/self/status", facts.status("Seccomp")?, "2")
        },
        &[NO_SECCOMP]),
    SECCOMP.says("seccomp-trace", "SCMP_ACT_TRACE",
        // Nobody traces: the kernel answers ENOSYS.
        |t| same("errno of getcwd", confined(t, allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_TRACE", "errnoRet": 1}])))?.errno("getcwd")?, 38),
        &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-op-EQ", "SCMP_CMP_EQ", |t| operator(t, "SCMP_CMP_EQ", 2, None, |f| f == 2), &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-op-NE", "SCMP_CMP_NE", |t| operator(t, "SCMP_CMP_NE", 2, None, |f| f != 2), &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-op-LT", "SCMP_CMP_LT", |t| operator(t, "SCMP_CMP_LT", 2, None, |f| f < 2), &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-op-LE", "SCMP_CMP_LE", |t| operator(t, "SCMP_CMP_LE", 2, None, |f| f <= 2), &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-op-GE", "SCMP_CMP_GE", |t| operator(t, "SCMP_CMP_GE", 2, None, |f| f >= 2), &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-op-GT", "SCMP_CMP_GT", |t| operator(t, "SCMP_CMP_GT", 2, None, |f| f > 2), &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-op-MASKED_EQ", "SCMP_CMP_MASKED_EQ", |t| operator(t, "SCMP_CMP_MASKED_EQ", 0b1_0010, Some(0b1_0000), |f| f & 0b1_0010 == 0b1_0000), &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-two-arguments", "args (array of objects, OPTIONAL) - the specific syscall in seccomp.",
        |t| {
            // Both must hold: AF_INET and SOCK_STREAM (with CLOEXEC); no socket of ours is a datagram one.
            let both = |kind: u64| json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"},
                {"index": 1, "value": 0xf, "valueTwo": kind, "op": "SCMP_CMP_MASKED_EQ"}]}]);
            let facts = confined(t, allow_but(both(1)))?;
            same("errnos of an inet and a unix stream", (facts.errno("socket:2")?, facts.errno("socket:1")?), (EPERM, 0))?;
            same("errno when the second argument does not match", confined(t, allow_but(both(2)))?.errno("socket:2")?, 0)
        },
        &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-unknown-syscall", "names (array of strings, REQUIRED) - the names of the syscalls.",
        |t| same("errno of getcwd", confined(t, allow_but(json!([{"names": ["from_the_future", "getcwd"], "action": "SCMP_ACT_ERRNO"}])))?.errno("getcwd")?, EPERM),
        &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-names-empty", "names MUST contain at least one entry.",
        |t| t.refuses(|c| c["linux"]["seccomp"] = allow_but(json!([{"names": [], "action": "SCMP_ACT_ERRNO"}]))).map(drop),
        &[NO_SECCOMP, CREATE_ACCEPTS]),
    SECCOMP.says("seccomp-errnoRet-where-none-fits", "When the action doesn't support an errno, the runtime MUST print and error and fail.",
        |t| t.refuses(|c| c["linux"]["seccomp"] = allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]))).map(drop),
        &[NO_SECCOMP, CREATE_ACCEPTS]),
    SECCOMP.says("seccomp-defaultErrnoRet-where-none-fits", "When the action doesn't support an errno, the runtime MUST print and error and fail.",
        |t| t.refuses(|c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1, "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]})).map(drop),
        &[NO_SECCOMP, CREATE_ACCEPTS]),
    SECCOMP.says("seccomp-operator-unknown", "op (string, REQUIRED) - the operator for syscall arguments in seccomp.",
        |t| t.refuses(|c| c["linux"]["seccomp"] = allow_but(json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_ISH"}]}]))).map(drop),
        &[NO_SECCOMP, CREATE_ACCEPTS]),
    SECCOMP.says("seccomp-architecture-unknown", "architectures (array of strings, OPTIONAL) - the architecture used for system calls.",
        |t| t.refuses(|c| { c["linux"]["seccomp"] = allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}])); c["linux"]["seccomp"]["architectures"] = json!(["SCMP_ARCH_PDP11"]); }).map(drop),
        &[NO_SECCOMP, CREATE_ACCEPTS]),
    SECCOMP.says("seccomp-flag-log", "SECCOMP_FILTER_FLAG_LOG", |t| flag(t, "SECCOMP_FILTER_FLAG_LOG"), &[NO_SECCOMP]),
    SECCOMP.says("seccomp-flag-spec-allow", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", |t| flag(t, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"), &[NO_SECCOMP]),
    SECCOMP.says("seccomp-flag-tsync", "SECCOMP_FILTER_FLAG_TSYNC", |t| flag(t, "SECCOMP_FILTER_FLAG_TSYNC"), &[NO_SECCOMP]),
    SECCOMP.says("seccomp-flag-unknown", "A valid list of constants is shown below.",
        |t| t.refuses(|c| { c["linux"]["seccomp"] = allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}])); c["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_MAYBE"]); }).map(drop),
        &[NO_SECCOMP, CREATE_ACCEPTS]),
    SECCOMP.says("seccomp-without-noNewPrivileges", "seccomp (object, OPTIONAL)",
        |t| {
            let facts = t.look(|c| {
                c["process"]["noNewPrivileges"] = json!(false);
                c["linux"]["seccomp"] = allow_but(json!([{"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO"}]));
                steps(c, &["chmod:/etc/secret", "report"]);
            })?;
            same("errno of chmod", facts.errno("chmod:/etc/secret")?, EPERM)
        },
        &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-hostile-to-the-runtime", "seccomp (object, OPTIONAL)",
        |t| {
            // A profile may forbid what a runtime itself likes to do after it has loaded the filter.
            let names = json!(["accept", "accept4", "recvfrom", "recvmsg", "sendmsg", "pivot_root", "mount", "setns", "unshare", "capset", "setresuid", "setresgid", "setgroups"]);
            let facts = t.look(|c| {
                c["linux"]["seccomp"] = allow_but(json!([{"names": names, "action": "SCMP_ACT_ERRNO"}, {"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]));
                steps(c, &["getcwd", "report"]);
            })?;
            same("errno of getcwd", facts.errno("getcwd")?, EPERM)
        },
        &[NO_SECCOMP, NO_ERRORS]),
    SECCOMP.says("seccomp-listenerPath", "listenerPath (string, OPTIONAL) - specifies the path of UNIX domain socket over which the runtime will send the container process state data structure when the SCMP_ACT_NOTIFY action is used.",
        |t| notified(t, false).map(drop), &[NO_SECCOMP]),
    SECCOMP.says("seccomp-listener-closed", "The connection MUST NOT be reused and it MUST be closed after sending a seccomp state.",
        |t| notified(t, true).map(drop), &[NO_SECCOMP]),
    STATE.says("process-state", "pid (int, REQUIRED) is the container process ID, as seen by the runtime. state (state, REQUIRED) is the state of the container.",
        |t| {
            let said = notified(t, false)?;
            same("metadata", said["metadata"].as_str(), Some("opaque"))?;
            same("fds", &said["fds"], &json!(["seccompFd"]))?;
            let status = said["state"]["status"].as_str().unwrap_or("(none)");
            ensure(matches!(status, "creating" | "created"), || format!("status in the state is {status}"))?;
            ensure(said["pid"].as_i64().is_some_and(|p| p > 0), || format!("pid is {}", said["pid"]))?;
            ensure(said["ociVersion"].is_string(), || "there is no ociVersion".into())
        },
        &[Mutation::Config(|c| remove(&mut c["linux"]["seccomp"], "listenerMetadata")), NO_SECCOMP]),
    SECCOMP.says("seccomp-listener-absent", "If sending to this socket fails, the runtime MUST generate an error.",
        |t| {
            let path = t.path("nobody.sock");
            let bundle = t.bundle(|c| {
                c["linux"]["seccomp"] = allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]));
                c["linux"]["seccomp"]["listenerPath"] = json!(path.to_string_lossy());
            })?;
            // There is a listener once the filter is loaded: at create, or only right before the program.
            let id = t.id();
            let create = t.call(&bundle, &["create", &id])?;
            if create.code != 0 { create.refused() } else { t.call(&bundle, &["start", &id])?.refused() }
        },
        &[NO_SECCOMP]),
    SECCOMP.says("seccomp-listenerMetadata-alone", "This field MUST NOT be set if listenerPath is not set.",
        |t| t.refuses(|c| {
            c["linux"]["seccomp"] = allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]));
            c["linux"]["seccomp"]["listenerMetadata"] = json!("opaque");
        }).map(drop),
        &[NO_SECCOMP, CREATE_ACCEPTS]),
];

/// System calls of the probe, of the runtime's last steps, and of the C library's start: what a profile that denies by
/// default must allow for a report to come back.
const PROBE: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clock_gettime",
    "clone",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd_not",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "pselect6",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setsid",
    "setuid",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "tgkill",
    "timer_create",
    "timer_settime",
    "umask",
    "uname",
    "wait4",
    "waitid",
    "write",
    "writev",
    "getpeername",
    "getsockname",
    "setitimer",
    "seccomp",
    "fchown",
    "fchmod",
    "unlink",
    "unlinkat",
    "socket",
    "connect",
    "accept4",
    "getgroups",
    "setfsuid",
    "setfsgid",
    "fadvise64",
    "fsync",
    "keyctl",
    "getpgrp",
    "getsid",
];

fn allow_but(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

fn deny_but(rules: Value, errno: u32) -> Value {
    let mut all = vec![json!({"names": PROBE, "action": "SCMP_ACT_ALLOW"})];
    all.extend(rules.as_array().cloned().unwrap_or_default());
    json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno, "syscalls": all})
}

/// What the probe could do under this profile.
fn confined(t: &mut Trial<'_>, profile: Value) -> Judged<Facts> {
    t.look(|c| {
        c["linux"]["seccomp"] = profile;
        steps(c, &["getcwd", "chmod:/etc/secret", "socket:1", "socket:2", "socket:16", "report"]);
    })
}

/// The forbidden call ends the program with SIGSYS (31).
fn killed(t: &mut Trial<'_>, action: &str) -> Judged<()> {
    let container = t.create(|c| {
        c["linux"]["seccomp"] = allow_but(json!([{"names": ["getcwd"], "action": action}]));
        steps(c, &["report", "getcwd", "report"]);
    })?;
    t.start(&container)?;
    let code = t.wait(&container)?;
    same("reports before the end", crate::trial::text(&container.out).lines().count(), 1)?;
    ensure(code == 128 + 31 || code == -1, || format!("the program ended with {code}, wanted SIGSYS (159)"))
}

/// Exactly the families for which `denied` holds are denied.
fn operator(t: &mut Trial<'_>, op: &str, value: u64, second: Option<u64>, denied: fn(i32) -> bool) -> Judged<()> {
    let mut arg = json!({"index": 0, "value": value, "op": op});
    if let Some(second) = second {
        arg["valueTwo"] = json!(second);
    }
    let rule = json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42, "args": [arg]}]);
    let facts = confined(t, allow_but(rule))?;
    for family in FAMILIES {
        let errno = facts.errno(&format!("socket:{family}"))?;
        same(&format!("whether socket({family}) is denied (errno {errno})"), errno == 42, denied(family))?;
    }
    Ok(())
}

fn flag(t: &mut Trial<'_>, flag: &str) -> Judged<()> {
    let mut profile = allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]));
    profile["flags"] = json!([flag]);
    let facts = confined(t, profile)?;
    same("errno of getcwd", facts.errno("getcwd")?, EPERM)
}

/// The container process state that came over the listener's socket, with one descriptor.
fn notified(t: &mut Trial<'_>, must_close: bool) -> Judged<Value> {
    let path = t.path("seccomp.sock");
    let listener = broken(UnixListener::bind(&path), "a socket")?;
    let container = t.create(|c| {
        c["linux"]["seccomp"] = allow_but(json!([{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]));
        c["linux"]["seccomp"]["listenerPath"] = json!(path.to_string_lossy());
        c["linux"]["seccomp"]["listenerMetadata"] = json!("opaque");
    });
    let container = container.map_err(|stop| match stop {
        Stop::Red(why) if why.contains("notify") && why.contains("support") => Stop::Skip(why),
        other => other,
    })?;
    // A runtime may load the filter as late as in start.
    t.start(&container)?;
    let readable = wait_readable(&rustix::fd::AsFd::as_fd(&listener), t.patience)?;
    ensure(readable, || "nobody connected to the listener".into())?;
    let (stream, _) = broken(listener.accept(), "the socket")?;
    let (text, fds, closed) =
        receive(&stream, t.patience, |said| !must_close && serde_json::from_slice::<Value>(said).is_ok())?;
    same("descriptors that came with it", fds.len(), 1)?;
    if must_close {
        ensure(closed, || "the connection stays open".into())?;
    }
    t.wait(&container)?;
    serde_json::from_str(&text).map_err(|e| Stop::Red(format!("what came over the socket is no JSON: {e}")))
}
