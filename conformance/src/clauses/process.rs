// SPDX-License-Identifier: Apache-2.0
//! config.md, Process: everything about the program itself.

use serde_json::{Value, json};

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, Need, ensure, same};
use crate::config::{remove, steps};
use crate::trial::Trial;

const PROCESS: Chapter = Chapter::new(Document::Config, "Process");
const POSIX: Chapter = Chapter::new(Document::Config, "POSIX process");
const LINUX: Chapter = Chapter::new(Document::Config, "Linux Process");
const USER: Chapter = Chapter::new(Document::Config, "User");

/// Bits of two capabilities that nobody has by accident.
const KILL: u64 = 1 << 5;
const AUDIT_WRITE: u64 = 1 << 29;

const ONE_LESS: Mutation = Mutation::Config(|c| {
    for set in ["effective", "permitted", "bounding", "inheritable"] {
        c["process"]["capabilities"][set] = json!(["CAP_KILL"]);
    }
});

pub(super) const CASES: &[Case] = &[
    PROCESS.says(
        "terminal-false",
        "terminal (bool, OPTIONAL) specifies whether a terminal is attached to the process, defaults to false.",
        |t| {
            let facts = t.look(|c| remove(&mut c["process"], "terminal"))?;
            same("descriptors that are terminals", facts.terminals, Vec::<i32>::new())
        },
        &[Mutation::Facts(|f| f.terminals = vec![0])],
    ),
    PROCESS.says(
        "terminal-true",
        "if set to true on Linux a pseudoterminal pair is allocated for the process and the pseudoterminal pty is duplicated on the process's standard streams.",
        |t| {
            let facts = crate::contract::console::look(t, |_| {})?;
            same("descriptors that are terminals", facts.terminals.clone(), vec![0, 1, 2])?;
            ensure(facts.fds.get(&0).is_some_and(|to| to.starts_with("/dev/pts/")), || format!("stdin is {:?}", facts.fds.get(&0)))
        },
        &[Mutation::Config(|c| c["process"]["terminal"] = json!(false)), Mutation::Facts(|f| f.terminals.clear())],
    ),
    PROCESS.says(
        "consoleSize",
        "consoleSize (object, OPTIONAL) specifies the console size in characters of the terminal.",
        |t| {
            let facts = crate::contract::console::look(t, |c| c["process"]["consoleSize"] = json!({"height": 37, "width": 111}))?;
            same("rows and columns", facts.size, Some((37, 111)))
        },
        &[Mutation::Config(|c| remove(&mut c["process"], "consoleSize")), Mutation::Facts(|f| f.size = None)],
    ),
    PROCESS.says(
        "consoleSize-without-terminal",
        "Runtimes MUST ignore consoleSize if terminal is false or unset.",
        |t| {
            let facts = t.look(|c| c["process"]["consoleSize"] = json!({"height": 37, "width": 111}))?;
            same("descriptors that are terminals", facts.terminals, Vec::<i32>::new())
        },
        &[Mutation::Config(|c| c["process"]["consoleSize"] = json!("wide")), Mutation::Facts(|f| f.terminals = vec![0])],
    ),
    PROCESS.says(
        "cwd",
        "cwd (string, REQUIRED) is the working directory that will be set for the executable.",
        |t| same("cwd", t.look(|c| c["process"]["cwd"] = json!("/share/below"))?.link("/proc/self/cwd")?, "/share/below"),
        &[Mutation::Config(|c| c["process"]["cwd"] = json!("/share"))],
    ),
    PROCESS.says(
        "cwd-absolute",
        "This value MUST be an absolute path.",
        |t| t.refuses(|c| c["process"]["cwd"] = json!("share")).map(drop),
        &[Mutation::Config(|c| c["process"]["cwd"] = json!("/share")), CREATE_ACCEPTS],
    ),
    PROCESS.says(
        "env",
        "env (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008's environ.",
        |t| {
            let facts = t.look(|c| c["process"]["env"] = json!(["B=2", "A=1", "EMPTY=", "SPACE=a b = c", "HOME=/"]))?;
            same("environ", facts.strings("/proc/self/environ")?, vec!["B=2", "A=1", "EMPTY=", "SPACE=a b = c", "HOME=/"])
        },
        &[Mutation::Config(|c| c["process"]["env"] = json!(["A=1", "B=2", "EMPTY=", "SPACE=a b = c", "HOME=/"])), Mutation::Config(|c| remove(&mut c["process"], "env"))],
    ),
    PROCESS.says(
        "env-of-caller-stays-out",
        "env (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008's environ.",
        |t| {
            let facts = t.look(|c| c["process"]["env"] = json!(["HOME=/"]))?;
            same("environ", facts.strings("/proc/self/environ")?, vec!["HOME=/"])
        },
        &[Mutation::Config(|c| c["process"]["env"] = json!(["HOME=/", "XDG_RUNTIME_DIR=/leak"]))],
    ),
    PROCESS.says(
        "args-argv",
        "args (array of strings, OPTIONAL) with similar semantics to IEEE Std 1003.1-2008 execvp's argv.",
        |t| {
            let facts = t.look(|c| c["process"]["args"] = json!(["/probe", "report", "", "two words", "ü"]))?;
            same("argv", facts.strings("/proc/self/cmdline")?, vec!["/probe", "report", "", "two words", "ü"])
        },
        &[Mutation::Config(|c| c["process"]["args"] = json!(["/probe", "report", "two", "words"]))],
    ),
    PROCESS.says(
        "args-searches-PATH",
        "that entry is used with the same semantics as execvp's file.",
        |t| {
            let facts = t.look(|c| {
                c["process"]["args"] = json!(["probe", "report"]);
                c["process"]["env"] = json!(["PATH=/nowhere:/bin"]);
            })?;
            same("argv[0]", facts.strings("/proc/self/cmdline")?.first().copied(), Some("probe"))?;
            same("the program", facts.link("/proc/self/exe")?, "/bin/probe")
        },
        &[Mutation::Config(|c| c["process"]["env"] = json!(["PATH=/nowhere"]))],
    ),
    PROCESS.says(
        "args-required",
        "This specification extends the IEEE standard in that at least one entry is REQUIRED (non-Windows)",
        |t| t.refuses(|c| c["process"]["args"] = json!([])).map(drop),
        &[Mutation::Config(|c| c["process"]["args"] = json!(["/probe"])), CREATE_ACCEPTS],
    ),
    POSIX.says(
        "rlimits-soft",
        "rlim.rlim_cur MUST match the configured value.",
        |t| same("soft limit", limits(t)?.0.as_str(), "123"),
        &[Mutation::Config(|c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 456}]))],
    ),
    POSIX.says(
        "rlimits-hard",
        "rlim.rlim_max MUST match the configured value.",
        |t| same("hard limit", limits(t)?.1.as_str(), "456"),
        &[Mutation::Config(|c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 400}]))],
    ),
    POSIX.says(
        "rlimits-every-type",
        "For each entry in rlimits, a getrlimit(3) on type MUST succeed.",
        |t| {
            let all: Vec<Value> = LIMITS.iter().map(|l| json!({"type": l.0, "soft": l.2, "hard": l.2})).collect();
            let facts = t.look(|c| c["process"]["rlimits"] = Value::Array(all))?;
            for (name, shown, value) in LIMITS {
                let value = value.to_string();
                same(name, facts.limit(shown)?, (value.clone(), value))?;
            }
            Ok(())
        },
        &[Mutation::Config(|c| c["process"]["rlimits"] = json!([]))],
    ),
    POSIX.says(
        "rlimits-unknown",
        "The runtime MUST generate an error for any values which cannot be mapped to a relevant kernel interface.",
        |t| t.refuses(|c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_PATIENCE", "soft": 1, "hard": 1}])).map(drop),
        &[Mutation::Config(|c| c["process"]["rlimits"] = json!([])), CREATE_ACCEPTS],
    ),
    POSIX.says(
        "rlimits-twice",
        "If rlimits contains duplicated entries with same type, the runtime MUST generate an error.",
        |t| {
            let one = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100});
            t.refuses(|c| c["process"]["rlimits"] = json!([one, one])).map(drop)
        },
        &[Mutation::Config(|c| c["process"]["rlimits"] = json!([])), CREATE_ACCEPTS],
    ),
    LINUX.says("capabilities-effective", "effective (array of strings, OPTIONAL) the effective field is an array of effective capabilities that are kept for the process.", |t| capabilities(t, "CapEff"), &[ONE_LESS]),
    LINUX.says("capabilities-permitted", "permitted (array of strings, OPTIONAL) the permitted field is an array of permitted capabilities that are kept for the process.", |t| capabilities(t, "CapPrm"), &[ONE_LESS]),
    LINUX.says("capabilities-bounding", "bounding (array of strings, OPTIONAL) the bounding field is an array of bounding capabilities that are kept for the process.", |t| capabilities(t, "CapBnd"), &[ONE_LESS]),
    LINUX.says("capabilities-inheritable", "inheritable (array of strings, OPTIONAL) the inheritable field is an array of inheritable capabilities that are kept for the process.", |t| capabilities(t, "CapInh"), &[ONE_LESS]),
    LINUX.says("capabilities-ambient", "ambient (array of strings, OPTIONAL) the ambient field is an array of ambient capabilities that are kept for the process.",
        |t| {
            let facts = t.look(|c| {
                let all = json!(["CAP_KILL"]);
                c["process"]["capabilities"] = json!({"effective": all, "permitted": all, "bounding": all, "inheritable": all, "ambient": all});
                c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            })?;
            same("CapAmb", facts.capabilities("CapAmb")?, KILL)?;
            same("CapEff of a user who is not root", facts.capabilities("CapEff")?, KILL)
        },
        &[Mutation::Config(|c| c["process"]["capabilities"]["ambient"] = json!([]))]).needs(&[Need::Ids]),
    LINUX.says("capabilities-none", "capabilities (object, OPTIONAL) is an object containing arrays that specifies the sets of capabilities for the process.",
        |t| {
            let facts = t.look(|c| c["process"]["capabilities"] = json!({}))?;
            for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
                same(set, facts.capabilities(set)?, 0)?;
            }
            Ok(())
        },
        &[Mutation::Config(|c| c["process"]["capabilities"] = json!({"bounding": ["CAP_KILL"]}))]),
    LINUX.says("capabilities-unknown-warn", "Any value which cannot be mapped to a relevant kernel interface, or cannot be granted otherwise MUST be logged as a warning by the runtime.",
        |t| {
            let bundle = t.bundle(|c| c["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_WINGS"]))?;
            let id = t.id();
            let ran = t.call(&bundle, &["create", &id])?;
            ran.worked()?;
            ensure(ran.stderr.to_uppercase().contains("CAP_WINGS"), || format!("the warning does not name it: {:?}", ran.stderr))
        },
        &[Mutation::Config(|c| c["process"]["capabilities"]["bounding"] = json!(["CAP_KILL"])), Mutation::Ran(|r| r.stderr.clear())]),
    LINUX.says("capabilities-unknown-do-not-fail", "Runtimes SHOULD NOT fail if the container configuration requests capabilities that cannot be granted",
        |t| t.look(|c| c["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_WINGS"])).map(drop),
        &[Mutation::Skip("start"), Mutation::Config(|c| c["process"]["capabilities"] = json!(7))]).should(),
    LINUX.says(
        "noNewPrivileges",
        "noNewPrivileges (bool, OPTIONAL) setting noNewPrivileges to true prevents the process from gaining additional privileges.",
        |t| {
            same("NoNewPrivs", t.look(|c| c["process"]["noNewPrivileges"] = json!(true))?.status("NoNewPrivs")?, "1")
        },
        &[Mutation::Config(|c| c["process"]["noNewPrivileges"] = json!(false)), Mutation::Facts(|f| f.set_status("NoNewPrivs", "0"))],
    ),
    LINUX.says(
        "noNewPrivileges-unset",
        "noNewPrivileges (bool, OPTIONAL) setting noNewPrivileges to true prevents the process from gaining additional privileges.",
        |t| same("NoNewPrivs", t.look(|c| remove(&mut c["process"], "noNewPrivileges"))?.status("NoNewPrivs")?, "0"),
        &[Mutation::Config(|c| c["process"]["noNewPrivileges"] = json!(true))],
    ),
    LINUX.says(
        "oomScoreAdj",
        "If oomScoreAdj is set, the runtime MUST set oom_score_adj to the given value.",
        |t| {
            let facts = t.look(|c| c["process"]["oomScoreAdj"] = json!(789))?;
            same("oom_score_adj", facts.file("/proc/self/oom_score_adj")?.trim(), "789")
        },
        &[Mutation::Config(|c| remove(&mut c["process"], "oomScoreAdj"))],
    ),
    LINUX.says(
        "oomScoreAdj-unset",
        "If oomScoreAdj is not set, the runtime MUST NOT change the value of oom_score_adj.",
        |t| {
            let ours = t.read("/proc/self/oom_score_adj")?;
            same("oom_score_adj", t.look(|_| {})?.file("/proc/self/oom_score_adj")?, ours.as_str())
        },
        &[Mutation::Config(|c| c["process"]["oomScoreAdj"] = json!(789))],
    ),
    LINUX.says(
        "scheduler-policy",
        "policy (string, REQUIRED) represents the scheduling policy.",
        |t| {
            for (policy, number) in [("SCHED_BATCH", "3"), ("SCHED_IDLE", "5")] {
                let facts = t.look(|c| c["process"]["scheduler"] = json!({"policy": policy}))?;
                same(policy, stat(facts.file("/proc/self/stat")?, 41), number)?;
            }
            Ok(())
        },
        &[Mutation::Config(|c| remove(&mut c["process"], "scheduler"))],
    ),
    LINUX.says(
        "scheduler-nice",
        "nice (int32, OPTIONAL) is the nice value for the process, affecting its priority.",
        |t| {
            let facts = t.look(|c| c["process"]["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 7}))?;
            same("nice", stat(facts.file("/proc/self/stat")?, 19), "7")
        },
        &[Mutation::Config(|c| c["process"]["scheduler"] = json!({"policy": "SCHED_OTHER"}))],
    ),
    LINUX.says(
        "scheduler-priority",
        "priority (int32, OPTIONAL) represents the static priority of the process, used by real-time policies like SCHED_FIFO and SCHED_RR.",
        |t| {
            t.host("chrt", &["-f", "1", "true"]).map_err(|_| crate::case::Stop::Skip("we may not use real-time policies".into()))?;
            let facts = t.look(|c| c["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 5}))?;
            let stat_line = facts.file("/proc/self/stat")?;
            same("policy and priority", (stat(stat_line, 41), stat(stat_line, 40)), ("1", "5"))
        },
        &[Mutation::Config(|c| remove(&mut c["process"], "scheduler"))],
    )
    .needs(&[Need::Root]),
    LINUX.says(
        "scheduler-policy-unknown",
        "policy (string, REQUIRED) represents the scheduling policy. A valid list of values is",
        |t| t.refuses(|c| c["process"]["scheduler"] = json!({"policy": "SCHED_WHENEVER"})).map(drop),
        &[Mutation::Config(|c| remove(&mut c["process"], "scheduler")), CREATE_ACCEPTS],
    ),
    LINUX.says(
        "ioPriority",
        "ioPriority (object, OPTIONAL) configures the I/O priority settings for the container's processes within the process group.",
        |t| {
            let container = t.create(|c| {
                c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
                steps(c, &["report", "wait"]);
            })?;
            t.start(&container)?;
            t.reported(&container)?;
            let said = t.host("ionice", &["-p", &container.pid.to_string()])?;
            same("what ionice says", said.trim(), "best-effort: prio 6")
        },
        &[Mutation::Config(|c| remove(&mut c["process"], "ioPriority"))],
    )
    .needs(&[Need::Program("ionice")]),
    LINUX.says(
        "ioPriority-class-unknown",
        "class (string, REQUIRED) specifies the I/O scheduling class. Possible values are IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, and IOPRIO_CLASS_IDLE.",
        |t| t.refuses(|c| c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_HURRY", "priority": 1})).map(drop),
        &[Mutation::Config(|c| remove(&mut c["process"], "ioPriority")), CREATE_ACCEPTS],
    ),
    LINUX.says(
        "apparmorProfile",
        "apparmorProfile (string, OPTIONAL) specifies the name of the AppArmor profile for the process.",
        |t| {
            let facts = t.look(|c| c["process"]["apparmorProfile"] = json!("unconfined"))?;
            ensure(facts.file("/proc/self/attr/current")?.starts_with("unconfined"), || "it is confined".into())?;
            t.refuses(|c| c["process"]["apparmorProfile"] = json!("kelp-conformance-no-such-profile")).map(drop)
        },
        &[Mutation::Config(|c| remove(&mut c["process"], "apparmorProfile"))],
    )
    .needs(&[Need::Path("/sys/kernel/security/apparmor/profiles")]),
    USER.says(
        "user-uid",
        "uid (int, REQUIRED) specifies the user ID in the container namespace.",
        |t| same("Uid", t.look(as_user)?.status("Uid")?, "1000\t1000\t1000\t1000"),
        &[Mutation::Config(|c| c["process"]["user"]["uid"] = json!(0))],
    )
    .needs(&[Need::Ids]),
    USER.says(
        "user-gid",
        "gid (int, REQUIRED) specifies the group ID in the container namespace.",
        |t| same("Gid", t.look(as_user)?.status("Gid")?, "1001\t1001\t1001\t1001"),
        &[Mutation::Config(|c| c["process"]["user"]["gid"] = json!(0))],
    )
    .needs(&[Need::Ids]),
    USER.says(
        "user-additionalGids",
        "additionalGids (array of ints, OPTIONAL) specifies additional group IDs in the container namespace to be added to the process.",
        |t| {
            let facts = t.look(as_user)?;
            let mut groups: Vec<&str> = facts.status("Groups")?.split_whitespace().filter(|g| *g != "1001").collect();
            groups.sort_unstable();
            same("Groups", groups, vec!["5", "6"])
        },
        &[Mutation::Config(|c| remove(&mut c["process"]["user"], "additionalGids"))],
    )
    .needs(&[Need::Ids]),
    USER.says(
        "user-groups-of-caller-stay-out",
        "additionalGids (array of ints, OPTIONAL) specifies additional group IDs in the container namespace to be added to the process.",
        |t| {
            let facts = t.look(|c| c["process"]["user"] = json!({"uid": 0, "gid": 0}))?;
            let others: Vec<&str> = facts.status("Groups")?.split_whitespace().filter(|g| *g != "0").collect();
            same("Groups", others, Vec::<&str>::new())
        },
        &[Mutation::Config(|c| c["process"]["user"]["additionalGids"] = json!([5]))],
    )
    .needs(&[Need::Ids]),
    USER.says(
        "user-umask",
        "umask (int, OPTIONAL) specifies the umask of the user.",
        |t| same("Umask", t.look(|c| c["process"]["user"]["umask"] = json!(0o027))?.status("Umask")?, "0027"),
        &[Mutation::Config(|c| remove(&mut c["process"]["user"], "umask"))],
    ),
];

/// Types, their names in /proc/self/limits, and values that everybody may lower to.
const LIMITS: [(&str, &str, u64); 12] = [
    ("RLIMIT_CPU", "Max cpu time", 1000),
    ("RLIMIT_FSIZE", "Max file size", 1_000_000_000),
    ("RLIMIT_DATA", "Max data size", 1_000_000_000),
    ("RLIMIT_STACK", "Max stack size", 1_000_000),
    ("RLIMIT_CORE", "Max core file size", 0),
    ("RLIMIT_NPROC", "Max processes", 1000),
    ("RLIMIT_NOFILE", "Max open files", 100),
    ("RLIMIT_MEMLOCK", "Max locked memory", 4096),
    ("RLIMIT_LOCKS", "Max file locks", 100),
    ("RLIMIT_SIGPENDING", "Max pending signals", 100),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 4096),
    ("RLIMIT_RTTIME", "Max realtime timeout", 1000),
];

fn limits(t: &mut Trial<'_>) -> Judged<(String, String)> {
    let facts = t.look(|c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}]))?;
    facts.limit("Max open files")
}

/// All sets with the same two capabilities. They cannot differ in what one can see afterwards: when root executes a
/// program, the kernel makes the permitted and the effective set from the inheritable and the bounding one.
fn capabilities(t: &mut Trial<'_>, set: &str) -> Judged<()> {
    let facts = t.look(|c| {
        let two = json!(["CAP_KILL", "CAP_AUDIT_WRITE"]);
        c["process"]["capabilities"] = json!({"effective": two, "permitted": two, "bounding": two, "inheritable": two});
    })?;
    let (got, wanted) = (facts.capabilities(set)?, KILL | AUDIT_WRITE);
    ensure(got == wanted, || format!("{set} is {got:016x}, wanted {wanted:016x}"))
}

fn as_user(config: &mut Value) {
    config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]});
}

/// A field of /proc/PID/stat, counted as in proc(5).
fn stat(line: &str, field: usize) -> &str {
    let after_name = line.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(field - 3).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::stat;

    #[test]
    fn fields_of_stat_are_counted_from_one_and_names_may_have_spaces() {
        assert_eq!(stat("1 (a b) c) S 4 5", 4), "4");
    }
}
