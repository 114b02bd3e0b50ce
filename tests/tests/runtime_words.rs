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
];

/// A command line, and the sentence. One with `!` is no mistake: it brings the container to where the next ones are.
const COMMANDS: &[(&str, &str)] = &[
    ("state NOBODY", "container does not exist"),
    ("kill NOBODY", "container does not exist"),
    ("delete NOBODY", "container does not exist"),
    ("run --bundle DIR a/b", "invalid container ID format"),
    ("frob", "No help topic for 'frob'"),
    ("create --fly ID", "flag provided but not defined: -"),
    ("list --format foo", "invalid format option"),
    ("!create ID", ""),
    ("create --bundle DIR ID", "container with given ID already exists"),
    ("resume ID", "container not paused"),
    ("!start ID", ""),
    ("start ID", "cannot start an already running container"),
    ("delete ID", "cannot delete container ID that is not stopped: running"),
    ("kill ID FOO", "unknown signal"),
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
    ("!resume ID", ""),
    ("!kill ID KILL", ""),
    ("kill ID KILL", "container not running"),
    ("start ID", "cannot start a container that has stopped"),
    ("exec ID /bin/true", "cannot exec in a stopped container"),
    ("pause ID", "container not running"),
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

/// What was said, as it was meant: a log has quotes in quotes.
fn must_say(w: &World, program: &str, line: &[String], sentence: &str) {
    let failed = call(w, program).args(line).limit(60).output().fails();
    let said = failed.stderr.replace("\\\"", "\"");
    assert!(said.contains(sentence), "{program} {line:?} does not say {sentence:?}\n{failed}");
}

fn mistakes_in_a_spec_have_runcs_words(w: &World) {
    let bundle = w.bundle("b");
    let good = bundle.set("/hostname", json!("reef")).spec();
    for program in runtimes(w) {
        for (member, value, sentence) in SPEC {
            // A user's own maps are in the way of these.
            if w.who() != Who::Root && value.contains(r#"{"type":"mount"}"#) {
                continue;
            }
            bundle.edit(|spec| *spec = good.clone());
            bundle.set(member, serde_json::from_str(value).unwrap());
            must_say(w, &program, &words(&bundle, "run --bundle DIR ID"), sentence);
            call(w, &program).args(["delete", "--force", bundle.id()]).output();
        }
    }
}

fn words(bundle: &Bundle<'_>, line: &str) -> Vec<String> {
    let dir = bundle.dir().display().to_string();
    line.split(' ').map(|word| word.replace("DIR", &dir).replace("ID", bundle.id())).collect()
}

fn mistakes_with_commands_have_runcs_words(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    for program in runtimes(w) {
        for (line, sentence) in COMMANDS {
            match line.strip_prefix('!') {
                Some(line) => advance(w, &bundle, &program, line),
                None => must_say(
                    w,
                    &program,
                    &words(&bundle, line),
                    &sentence.replace("container ID that", &format!("container {} that", bundle.id())),
                ),
            }
        }
    }
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
    let sentences = SPEC.iter().map(|(_, _, sentence)| sentence).chain(COMMANDS.iter().map(|(_, sentence)| sentence));
    let missing: Vec<_> = sentences.filter(|sentence| !page.contains(sentence.trim())).collect();
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:?}");
}
