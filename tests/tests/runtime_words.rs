// SPDX-License-Identifier: Apache-2.0
//! runc's sentences for the mistakes that people make: they search for them, and programs look for them.
//!
//! Runs `kelp-runtime` and, for root, Debian's `runc` with the same mistakes. docs/errors.md is the table.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use kelp_tests::{Bundle, Command, Who, World, claims};
use serde_json::json;

claims!(as_root, as_user: mistakes_in_a_spec_have_runcs_words);
claims!(as_root: mistakes_with_commands_have_runcs_words, each_sentence_is_in_the_table);

/// A member of config.json, what is wrong there, and the sentence.
const SPEC: &[(&str, &str, &str)] = &[
    ("/process/args", "[]", "args must not be empty"),
    ("/process/args", r#"["nosuch"]"#, r#"exec: "nosuch": executable file not found in $PATH"#),
    ("/process/args", r#"["/bin/nosuch"]"#, r#"exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory"#),
    ("/process/args", r#"["/etc/passwd"]"#, r#"exec: "/etc/passwd": permission denied"#),
    ("/process/cwd", r#""tmp""#, "Cwd must be an absolute path"),
    ("/process/env", r#"["FOO"]"#, r#"invalid environment variable: "FOO""#),
    ("/process", "null", "process property must not be empty"),
    ("/root", "null", "root must be specified"),
    ("/root/path", r#""nosuch""#, "invalid rootfs: "),
    (
        "/mounts",
        r#"[{"destination":"/mnt","source":"/nosuch","type":"bind","options":["bind"]}]"#,
        r#"error mounting "/nosuch" to rootfs at "/mnt": "#,
    ),
    (
        "/mounts",
        r#"[{"destination":"/mnt","source":"x","type":"nosuchfs"}]"#,
        r#"error mounting "x" to rootfs at "/mnt": "#,
    ),
    ("/linux/namespaces", r#"[{"type":"mount"},{"type":"pid"},{"type":"pid"}]"#, "malformed spec file: duplicated ns "),
    ("/linux/namespaces", r#"[{"type":"foo"}]"#, " does not exist"),
    (
        "/linux/namespaces",
        r#"[{"type":"mount"},{"type":"pid"}]"#,
        "unable to set hostname without a private UTS namespace",
    ),
    ("/linux/sysctl", r#"{"kernel.panic":"1"}"#, r#"sysctl "kernel.panic" is not in a separate kernel namespace"#),
    ("/linux/rootfsPropagation", r#""foo""#, "rootfsPropagation=foo is not supported"),
    (
        "/linux/namespaces",
        r#"[{"type":"mount"},{"type":"pid"},{"type":"uts"},{"type":"user"}]"#,
        "User namespaces enabled, but no uid mappings found",
    ),
    ("/process/rlimits", r#"[{"type":"RLIMIT_FOO","soft":1,"hard":1}]"#, "wrong rlimit value: RLIMIT_FOO"),
    ("/linux/seccomp", r#"{"defaultAction":"SCMP_ACT_FOO"}"#, "string SCMP_ACT_FOO is not a valid action for seccomp"),
    (
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_FOO"]}"#,
        "string SCMP_ARCH_FOO is not a valid arch for seccomp",
    ),
    ("/linux/devices", r#"[{"path":"/dev/x","type":"z"}]"#, "invalid device type "),
    ("/process/user", r#"{"uid":4294967295,"gid":0}"#, "uids and gids must be in range 0-"),
    ("/process/user", r#"{"uid":0,"gid":4294967295}"#, "uids and gids must be in range 0-"),
    ("/process/user", r#"{"uid":0,"gid":0,"additionalGids":[4294967295]}"#, "uids and gids must be in range 0-"),
    ("/hooks", r#"{"prestart":[{"path":"/bin/false"}]}"#, "error running hook #0: error running hook: exit status 1, "),
    (
        "/hooks",
        r#"{"prestart":[{"path":"/nosuch"}]}"#,
        "error running hook #0: fork/exec /nosuch: no such file or directory",
    ),
    (
        "/hooks",
        r#"{"createRuntime":[{"path":"/bin/true"},{"path":"/bin/sleep","args":["sleep","9"],"timeout":1}]}"#,
        "error running hook #1: hook ran past specified timeout of 1.0s",
    ),
    ("/process/cwd", r#""""#, "Cwd property must not be empty"),
    ("/process/args", r#"[""]"#, r#"exec: "": executable file not found in $PATH"#),
    ("/process/env", r#"["=x"]"#, r#"environment variable name can't be empty: "=x""#),
    (
        "/process/rlimits",
        r#"[{"type":"RLIMIT_NOFILE","soft":10,"hard":1}]"#,
        "error setting rlimit type 7: invalid argument",
    ),
    ("/process/apparmorProfile", r#""kelp-nosuch""#, "unable to apply apparmor profile"),
    ("/root/path", r#""/nosuch""#, "invalid rootfs: stat /nosuch: no such file or directory"),
    (
        "/linux/sysctl",
        r#"{"kernel.hostname":"x"}"#,
        r#"sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field"#,
    ),
    ("/linux/devices", r#"[{"path":"/dev/x","type":"zz"}]"#, r#"invalid device type "zz""#),
    (
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[""],"action":"SCMP_ACT_ERRNO"}]}"#,
        "empty string is not a valid syscall",
    ),
    (
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","args":[{"index":7,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        "syscalls only have up to 6 arguments (7 given)",
    ),
    ("/linux/seccomp", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY cannot be used as default action"),
    (
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/nosuch","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        "SCMP_ACT_NOTIFY cannot be used for the write syscall",
    ),
    (
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        "listenerPath is not set",
    ),
    (
        "/linux/seccomp",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/nosuch","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        "failed to connect with seccomp agent specified in the seccomp profile: dial unix /nosuch: connect: no such file or directory",
    ),
    (
        "/hooks",
        r#"{"prestart":[{"path":"/bin/sh","args":["sh","-c","kill -9 $$"]}]}"#,
        "error running hook #0: error running hook: signal: killed, ",
    ),
    (
        "/hooks",
        r#"{"createContainer":[{"path":"/bin/false"}]}"#,
        "error running hook #0: error running hook: exit status 1, ",
    ),
];

/// The same for what a user is refused for another reason: a user namespace of his own, no cgroup.
const SPEC_AS_ROOT: &[(&str, &str, &str)] = &[
    ("/hostname", LONG, "sethostname: invalid argument"),
    ("/linux/sysctl", r#"{"net.ipv4.foo":"1"}"#, "open /proc/sys/net/ipv4/foo: no such file or directory"),
    ("/linux/sysctl", r#"{"net.ipv4.ip_forward":"foo"}"#, "write /proc/sys/net/ipv4/ip_forward: invalid argument"),
    (
        "/process/rlimits",
        r#"[{"type":"RLIMIT_NOFILE","soft":1000000000000,"hard":1000000000000}]"#,
        "error setting rlimit type 7: operation not permitted",
    ),
    (
        "/process/selinuxLabel",
        r#""foo""#,
        "selinux label is specified in config, but selinux is disabled or not supported",
    ),
    (
        "/linux",
        r#"{"namespaces":[{"type":"mount"},{"type":"uts"},{"type":"user"}],"uidMappings":[{"hostID":1000,"containerID":0,"size":1}]}"#,
        "User namespaces enabled, but no gid mappings found",
    ),
    (
        "/linux/namespaces",
        r#"[{"type":"mount"},{"type":"uts"},{"type":"network","path":"/nosuch"}]"#,
        "namespace path: lstat /nosuch: no such file or directory",
    ),
    (
        "/linux/namespaces",
        r#"[{"type":"pid"},{"type":"uts"}]"#,
        "unable to restrict sys entries without a private MNT namespace",
    ),
    (
        "/linux",
        r#"{"namespaces":[{"type":"mount"},{"type":"uts"}],"sysctl":{"net.ipv4.ip_forward":"1"}}"#,
        r#"sysctl "net.ipv4.ip_forward" not allowed in host network namespace"#,
    ),
    (
        "/linux",
        r#"{"namespaces":[{"type":"mount"},{"type":"uts"}],"sysctl":{"kernel.shmmax":"1"}}"#,
        r#"sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace"#,
    ),
    (
        "/linux/devices",
        r#"[{"path":"/dev/x","type":"c","major":-1,"minor":3}]"#,
        "cannot mkdev() device with wildcards",
    ),
    ("/linux/resources", r#"{"memory":{"limit":100,"swap":10}}"#, "memory+swap limit should be >= memory limit"),
    (
        "/linux/resources",
        r#"{"unified":{"foo":"1"}}"#,
        r#"unified resource "foo" must be in the form CONTROLLER.PARAMETER"#,
    ),
    ("/linux/resources", r#"{"unified":{"../x":"1"}}"#, r#"unified resource "../x" must be a file name (no slashes)"#),
    ("/linux/intelRdt", r#"{"closID":"x","l3CacheSchema":"L3:0=f"}"#, "Intel RDT/CAT is not enabled"),
];

/// A name that is too long for the kernel.
const LONG: &str = r#""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#;

/// A command line, and the sentence. One with `!` is no mistake: it brings the container to where the next ones are.
const COMMANDS: &[(&str, &str)] = &[
    ("state NOBODY", "container does not exist"),
    ("kill NOBODY", "container does not exist"),
    ("delete NOBODY", "container does not exist"),
    ("run --bundle DIR a/b", "invalid container ID format"),
    ("run --bundle /nosuch ID", "chdir /nosuch: no such file or directory"),
    ("run --bundle /tmp ID", "JSON specification file config.json not found"),
    ("run", r#""run" requires exactly 1 argument(s)"#),
    ("state a b", r#""state" requires exactly 1 argument(s)"#),
    ("kill", r#""kill" requires a minimum of 1 argument(s)"#),
    ("exec", r#""exec" requires a minimum of 1 argument(s)"#),
    ("features x", r#""features" requires exactly 0 argument(s)"#),
    ("run --bundle DIR --preserve-fds 7 ID", "unable to stat preserved-fd "),
    ("create --bundle DIR --pid-file /nosuch/p ID", "no such file or directory"),
    (
        "create --bundle DIR --console-socket /nosuch ID",
        "cannot use console socket if runc will not detach or allocate tty",
    ),
    ("spec --bundle DIR", "File config.json exists. Remove it first"),
    ("--log-format foo list", "invalid log-format: foo"),
    ("exec NOBODY /bin/true", "container does not exist"),
    ("pause NOBODY", "container does not exist"),
    ("checkpoint NOBODY", "container does not exist"),
    ("frob", "No help topic for 'frob'"),
    ("create --fly ID", "flag provided but not defined: -"),
    ("list --format foo", "invalid format option"),
    ("!create ID", ""),
    ("create --bundle DIR ID", "container with given ID already exists"),
    ("resume ID", "container not paused"),
    ("checkpoint ID", "Container cannot be checkpointed in created state"),
    ("!start ID", ""),
    ("start ID", "cannot start an already running container"),
    ("delete ID", "cannot delete container ID that is not stopped: running"),
    ("kill ID FOO", r#"unknown signal "FOO""#),
    ("restore --bundle DIR ID", "container with given ID already exists"),
    ("exec --cgroup ../.. ID /bin/true", "../.. is not a sub cgroup path"),
    ("exec --cgroup nosuch ID /bin/true", "no such file or directory"),
    ("exec --user foo ID /bin/true", "parsing foo as int for uid failed"),
    ("exec --env FOO ID /bin/true", r#"invalid environment variable: "FOO""#),
    ("exec --pid-file /nosuch/p ID /bin/true", "no such file or directory"),
    ("exec --preserve-fds 5 ID /bin/true", "unable to stat preserved-fd "),
    ("exec --console-socket /nosuch ID /bin/true", "cannot use console socket if runc will not detach or allocate tty"),
    (
        "exec --console-socket /nosuch --tty --detach ID /bin/true",
        "dial unix /nosuch: connect: no such file or directory",
    ),
    ("exec ID /bin/nosuch", r#"exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory"#),
    ("exec ID /etc/passwd", r#"exec: "/etc/passwd": permission denied"#),
    ("exec --cwd tmp ID /bin/true", "Cwd must be an absolute path"),
    (
        "exec --cwd /etc/passwd ID /bin/true",
        r#"chdir to cwd ("/etc/passwd") set in config.json failed: not a directory"#,
    ),
    ("ps --format foo ID", "invalid format option"),
    ("update --memory foo ID", "invalid value for memory: invalid size: 'foo'"),
    ("update -r /nosuch ID", "no such file or directory"),
    ("exec ID", "process args cannot be empty"),
    (
        "exec --cwd /nosuch ID /bin/true",
        r#"chdir to cwd ("/nosuch") set in config.json failed: no such file or directory"#,
    ),
    ("exec ID nosuch", r#"exec: "nosuch": executable file not found in $PATH"#),
    ("exec --tty --detach ID /bin/true", "cannot allocate tty if runc will detach without setting console socket"),
    ("exec --process /nosuch ID", "no such file or directory"),
    ("!pause ID", ""),
    ("pause ID", "container not running"),
    ("exec ID /bin/true", "cannot exec in a paused container (use --ignore-paused to override)"),
    ("start ID", "cannot start a container in the paused state"),
    ("delete ID", "cannot delete container ID that is not stopped: paused"),
    ("!resume ID", ""),
    ("!kill ID KILL", ""),
    ("kill ID KILL", "container not running"),
    ("start ID", "cannot start a container that has stopped"),
    ("exec ID /bin/true", "cannot exec in a stopped container"),
    ("pause ID", "container not running"),
    ("resume ID", "container not paused"),
    ("events --stats ID", "container with id ID is not running"),
    ("checkpoint ID", "Container cannot be checkpointed in stopped state"),
    ("!ps ID", ""),
    ("update --pids-limit 5 ID", "container not running"),
    ("!delete ID", ""),
];

/// Their programs: ours; and for root runc, which wants rights that a user has not.
fn runtimes(w: &World) -> Vec<String> {
    let runc = Path::new("/usr/sbin/runc");
    let theirs = (w.who() == Who::Root && runc.exists()).then(|| runc.display().to_string());
    if w.who() == Who::Root && theirs.is_none() {
        w.skip("the half that runs runc: it is not here");
    }
    [w.program("kelp-runtime").display().to_string()].into_iter().chain(theirs).collect()
}

fn call<'w>(w: &'w World, program: &str) -> Command<'w> {
    let root =
        w.dir().join(format!("state-{}", Path::new(program).file_name().unwrap().display())).display().to_string();
    let command = match w.who() {
        Who::Root => w.with_cgroup2(program).unwrap_or_else(|_| w.command(program)),
        _ => w.command(program),
    };
    command.args(["--root", &root])
}

/// What was said, as it was meant: a log has quotes in quotes. Returns the exit status.
fn must_say(w: &World, program: &str, line: &[String], sentence: &str) -> i32 {
    let failed = call(w, program).args(line).limit(60).output().fails();
    let said = failed.stderr.replace("\\\"", "\"");
    assert!(said.contains(sentence), "{program} {line:?} does not say {sentence:?}\n{failed}");
    failed.status()
}

/// Each mistake leaves with the same status, whoever was asked.
fn must_agree(statuses: &[Vec<(String, i32)>]) {
    let [ours, others @ ..] = statuses else { return };
    others.iter().for_each(|theirs| assert_eq!(ours, theirs, "exit statuses: ours, theirs"));
}

fn mistakes_in_a_spec_have_runcs_words(w: &World) {
    let bundle = w.bundle("b");
    let good = bundle.set("/hostname", json!("reef")).spec();
    let as_root = if w.who() == Who::Root { SPEC_AS_ROOT } else { &[] };
    let make_all = |program: &String| -> Vec<(String, i32)> {
        // A user's own maps are in the way of the namespaces.
        let cases = SPEC.iter().filter(|(_, value, _)| w.who() == Who::Root || !value.contains(r#"{"type":"mount"}"#));
        let make = |(member, value, sentence): &(&str, &str, &str)| {
            bundle.edit(|spec| *spec = good.clone());
            bundle.set(member, serde_json::from_str(value).unwrap());
            let status = must_say(w, program, &words(&bundle, "run --bundle DIR ID"), sentence);
            call(w, program).args(["delete", "--force", bundle.id()]).output();
            ((*sentence).to_owned(), status)
        };
        cases.chain(as_root).map(make).collect()
    };
    must_agree(&runtimes(w).iter().map(make_all).collect::<Vec<_>>());
}

fn words(bundle: &Bundle<'_>, line: &str) -> Vec<String> {
    let dir = bundle.dir().display().to_string();
    line.split(' ').map(|word| word.replace("DIR", &dir).replace("ID", bundle.id())).collect()
}

fn mistakes_with_commands_have_runcs_words(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let make_all = |program: &String| {
        let mut statuses = Vec::new();
        for (line, sentence) in COMMANDS {
            match line.strip_prefix('!') {
                Some(line) => advance(w, &bundle, program, line),
                None => {
                    let status = must_say(w, program, &words(&bundle, line), &name(sentence, bundle.id()));
                    statuses.push(((*line).to_owned(), if *line == "frob" { NO_TOPIC } else { status }));
                }
            }
        }
        statuses
    };
    must_agree(&runtimes(w).iter().map(make_all).collect::<Vec<_>>());
}

/// runc leaves with 3, and only there.
const NO_TOPIC: i32 = 3;

/// The sentence about this container.
fn name(sentence: &str, id: &str) -> String {
    sentence
        .replace("container ID that", &format!("container {id} that"))
        .replace("with id ID", &format!("with id {id}"))
}

/// No mistake; afterwards the container is where the command brings it.
fn advance(w: &World, bundle: &Bundle<'_>, program: &str, line: &str) {
    let line = line.replace("create ID", "create --bundle DIR ID");
    call(w, program).args(words(bundle, &line)).ok();
    if line.starts_with("kill") {
        let status = || call(w, program).args(["state", bundle.id()]).ok().json()["status"].clone();
        kelp_tests::until("the program is gone", || status() == "stopped");
    }
}

fn each_sentence_is_in_the_table(_: &World) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md")).unwrap();
    let sentences = SPEC
        .iter()
        .chain(SPEC_AS_ROOT)
        .map(|(_, _, sentence)| sentence)
        .chain(COMMANDS.iter().map(|(_, sentence)| sentence));
    let missing: Vec<_> = sentences.filter(|sentence| !page.contains(sentence.trim())).collect();
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:?}");
}
