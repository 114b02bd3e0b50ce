// SPDX-License-Identifier: Apache-2.0
//! Values that mean nothing: each is refused with a reason, before anything is made, in Docker's words where it has some.
//!
//! Runs `kelp`. A value that is taken, or an empty answer with status 0, is the fault that these tables look for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use kelp_tests::{World, claims};

claims!(as_root, as_user:
    run_and_create_refuse_nonsense_and_leave_nothing,
    commands_refuse_nonsense,
    values_that_docker_takes_are_taken,
    a_runtime_is_found_when_the_container_is_made,
    what_the_kernel_refuses_is_explained,
);
claims!(as_user: a_preference_that_only_root_may_give_is_explained);

/// A flag with its value, and what is said of it. Understanding the command line fails: Docker's status 125.
const FLAGS: &[(&[&str], &str)] = &[
    // The program.
    (&["--detach-keys", "foo"], "invalid detach keys (foo) provided"),
    (&["-e", "=x"], "invalid environment variable"),
    (&["-e", ""], "invalid environment variable"),
    (&["-w", "relative"], "the working directory 'relative' is invalid, it needs to be an absolute path"),
    (&["-u", "a:b:c"], "expected USER[:GROUP]"),
    (&["-u", "99999999999"], "uids and gids must be in range 0-2147483647"),
    (&["-u", "-5"], "uids and gids must be in range 0-2147483647"),
    (&["-u", "root:4294967295"], "uids and gids must be in range 0-2147483647"),
    (&["--group-add", ""], "the group has no name"),
    (&["--group-add", "99999999999"], "uids and gids must be in range 0-2147483647"),
    (&["--ulimit", "nofile=abc"], "\"abc\" is not an amount"),
    (&["--ulimit", "nofile=-5"], "\"-5\" is not an amount"),
    (&["--ulimit", "nofile=-1:5"], "the soft limit is above the hard one"),
    (&["--ulimit", "files=1"], "files is not a resource limit"),
    (&["--label", "=x"], "expected KEY=VALUE"),
    (&["--oom-score-adj", "9999"], "-1000"),
    // Files.
    (&["--tmpfs", "/x:foo"], "invalid tmpfs option \"foo\""),
    (&["--tmpfs", "/x:size=abc"], "invalid tmpfs option \"size=abc\""),
    (&["--tmpfs", "/x:mode=99999"], "invalid tmpfs option \"mode=99999\""),
    (&["--tmpfs", "/x:uid=-1"], "invalid tmpfs option \"uid=-1\""),
    (&["--tmpfs", "/x:ro,,rw"], "invalid tmpfs option \"\""),
    (&["--tmpfs", "relative"], "is not absolute"),
    (&["--mount", "type=tmpfs,target=/x,tmpfs-mode=abc"], "invalid value for tmpfs-mode: abc"),
    (&["--mount", "type=tmpfs,target=/x,tmpfs-size=abc"], "invalid size: 'abc'"),
    (
        &["--mount", "type=tmpfs,target=/x,bind-propagation=shared"],
        "cannot mix 'bind-*' options with mount type 'tmpfs'",
    ),
    (
        &["--mount", "type=bind,source=/tmp,target=/x,tmpfs-size=5"],
        "cannot mix 'tmpfs-*' options with mount type 'bind'",
    ),
    (&["--mount", "type=bind,source=/tmp,target=/x,bind-propagation=foo"], "invalid propagation mode: foo"),
    (&["--mount", "type=bind,source=,target=/x"], "field Source must not be empty"),
    (&["--mount", "type=volume,source=v,target=/x,consistency=foo"], "invalid value for consistency: foo"),
    (&["--mount", "type=tmpfs"], "target is required"),
    (&["--mount", "type"], "invalid field 'type' must be a key=value pair"),
    (&["--mount", "type=tmpfs,target=/x,colour=red"], "unexpected key 'colour' in 'colour=red'"),
    (&["-v", "x:y:ro,rw"], "is not absolute"),
    (&["-v", "/tmp:/x:ro,rw"], "invalid mode: ro,rw"),
    (&["-v", "/tmp:/x:shared,private"], "invalid mode: shared,private"),
    (&["-v", "/tmp:/x:,"], "invalid mode: ,"),
    (&["-v", "/tmp:/x:shiny"], "invalid mode: shiny"),
    (&["-v", "~/x:/x"], "~ is a word of the shell"),
    (&["-v", "/tmp:/proc"], "\"/proc\" cannot be mounted because it is inside /proc"),
    (&["--tmpfs", "/proc"], "cannot be mounted because it is inside /proc"),
    (&["--mount", "type=volume,source=v,target=/proc/sys"], "cannot be mounted because it is inside /proc"),
    (&["--device", "/dev/null:/proc/x"], "cannot be mounted because it is inside /proc"),
    (&["--shm-size", "99999999999999999999"], "invalid size"),
    (&["--shm-size", "-1"], "invalid size: '-1'"),
    (&["--device", "/dev/null:/dev/x:q"], "bad mode specified: q"),
    (&["--device", "/dev/null:/dev/x:rr"], "bad mode specified: rr"),
    (&["--device", "/dev/null:x"], "x is not an absolute path"),
    (&["--device", "dev/null"], "dev/null is not an absolute path"),
    (&["--device", "/dev/null:/a:/b:q"], "bad format for path: /dev/null:/a:/b:q"),
    (&["--device", "/dev/null::r"], "bad format for path"),
    // Network.
    (&["--network", "pasta"], "Kelp does not use pasta yet; known are none, host and slirp4netns"),
    (&["--network", "moon"], "known are none, host and slirp4netns"),
    (&["--network", ""], "no name set for network"),
    (&["-p", "99999"], "99999"),
    (&["-p", "80:80/foo"], "foo"),
    (&["--expose", "http"], "invalid range format for --expose: http"),
    (&["--expose", "99999"], "invalid range format for --expose: 99999"),
    (&["--expose", "8080:80"], "invalid range format for --expose"),
    (&["-h", "a b"], "a hostname has letters"),
    (&["--domainname", "a b"], "a domain has letters"),
    (&["--add-host", "foo"], "bad format for add-host: \"foo\""),
    (&["--add-host", "a b:1.2.3.4"], "is not one name"),
    (&["--dns", "foo"], "IP address is not correctly formatted: foo"),
    (&["--dns-search", "a b"], "\"a b\" is not a valid domain"),
    (&["--dns-search", ""], "is not a valid domain"),
    (&["--dns-option", "a b"], "is not one option"),
    // Isolation.
    (&["--cap-add", "fly"], "invalid capability: \"CAP_FLY\""),
    (&["--cap-drop", "fly"], "invalid capability: \"CAP_FLY\""),
    (&["--security-opt", "label=foo"], "bad label option \"foo\", valid options 'disable'"),
    (&["--security-opt", "apparmor="], "known are seccomp="),
    (&["--security-opt", "foo"], "known are seccomp="),
    (&["--pid", "foo"], "invalid mode"),
    (&["--pid", "shareable"], "invalid mode"),
    (&["--pid", "container:web"], "shares no namespaces between containers yet"),
    (&["--uts", "shareable"], "invalid mode"),
    (&["--ipc", "foo"], "invalid mode"),
    (&["--cgroupns", "foo"], "invalid mode"),
    (&["--userns", "foo"], "invalid mode"),
    (&["--sysctl", "foo"], "sysctl 'foo' is not allowed"),
    (&["--sysctl", "vm.swappiness=1"], "is not allowed"),
    (&["--sysctl", "net.ipv4.ip_forward"], "expected KEY=VALUE"),
    (&["--sysctl", "net/ipv4/../../kernel/hostname=x"], "is not allowed"),
    // Limits.
    (&["-m", "abc"], "invalid size: 'abc'"),
    (&["-m", "-1"], "invalid size: '-1'"),
    (&["-m", "99999999999999999999999"], "invalid size"),
    (&["--memory-swap", "-2"], "invalid size: '-2'"),
    (&["--cpus", "99999"], "range of CPUs is from 0.01 to "),
    (&["--cpus", "0.001"], "range of CPUs is from 0.01 to "),
    (&["--cpus", "-1"], "range of CPUs is from 0.01 to "),
    (&["--cpus", "nan"], "range of CPUs is from 0.01 to "),
    (&["--cpus", "many"], "is not a number"),
    (&["--cpu-shares", "many"], "is not a number of shares"),
    (&["--cpu-period", "1"], "CPU cfs period can not be less than 1ms (i.e. 1000)"),
    (&["--cpu-quota", "1"], "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    (&["--cpuset-cpus", "foo"], "Invalid value foo for cpuset cpus"),
    (&["--cpuset-cpus", "1-0"], "Invalid value 1-0 for cpuset cpus"),
    (&["--cpuset-cpus", "60000"], "Requested CPUs are not available - requested 60000, available: "),
    (&["--cpuset-mems", "foo"], "Invalid value foo for cpuset mems"),
    (&["--cpuset-mems", "60000"], "Requested memory nodes are not available - requested 60000, available: "),
    (&["--pids-limit", "99999999999999"], "the kernel has at most 4194304 processes"),
    (&["--pids-limit", "many"], "is not a number of processes"),
    (&["--cgroup-parent", "../.."], "it has .. in it"),
    // Life.
    (&["--restart", "often"], "expected no, always, unless-stopped or on-failure"),
    (&["--stop-signal", "NAP"], "\"NAP\" is not a signal"),
    (&["--stop-signal", "RTMIN-5"], "is not a signal"),
    (&["--stop-timeout", "soon"], "expected a number"),
    (&["--log-driver", "syslog"], "known are json-file"),
    (&["--log-opt", "max-size=abc"], "invalid size: 'abc'"),
    (&["--pull", "sometimes"], "known are always"),
];

/// What only this machine, the image, or two flags together make nonsense: in `create` Docker's status is 1.
const LATER: &[(&[&str], &str)] = &[
    (&["--runtime", "/nope"], "unknown or invalid runtime name: /nope"),
    (&["--runtime", "nope"], "unknown or invalid runtime name: nope"),
    (&["--runtime", "/etc/passwd"], "unknown or invalid runtime name: /etc/passwd"),
    (&["--platform", "foo"], "foo"),
    (&["-u", "nobodyhere"], "nobodyhere"),
    (&["--group-add", "nobodyhere"], "nobodyhere"),
    (&["--env-file", "/nope"], "/nope"),
    (&["--label-file", "/nope"], "/nope"),
    (&["--cidfile", "/etc/passwd"], "container ID file found"),
    (&["--cidfile", "/nope/id"], "there is no folder /nope"),
    (&["--device", "/nope"], "/nope"),
    (&["--device", "/etc/passwd"], "not a device"),
    (&["--mount", "type=bind,source=/nope,target=/x"], "/nope"),
    (&["-v", "/tmp:/left"], "Duplicate mount point: /left"),
    (&["--security-opt", "seccomp=/nope"], "/nope"),
    (&["--security-opt", "seccomp=/etc/passwd"], "seccomp profile"),
    (&["--sysctl", "net.core.somaxconn=1", "--network", "host"], "shares the host's network"),
    (&["--sysctl", "kernel.shmmax=1", "--ipc", "host"], "shares the host's IPC"),
    (&["--uts", "host", "-h", "x"], "conflicting options: hostname and the UTS mode"),
    (&["--uts", "host", "--domainname", "x"], "conflicting options: hostname and the UTS mode"),
    (&["-m", "1"], "Minimum memory limit allowed is 6MB"),
    (&["--memory-reservation", "1"], "Minimum memory reservation allowed is 6MB"),
    (&["-m", "10m", "--memory-reservation", "20m"], "can not be less than memory reservation limit"),
    (&["--memory-swap", "10m"], "needs --memory"),
    (&["-m", "20m", "--memory-swap", "10m"], "cannot be below --memory"),
    (&["--log-driver", "none", "--log-opt", "max-size=1m"], "invalid logging opts for driver none"),
    (&["--name", "a b"], "a name begins with a letter or digit"),
];

fn run_and_create_refuse_nonsense_and_leave_nothing(w: &World) {
    w.load_busybox();
    let tables = [(FLAGS, 125), (LATER, 1)];
    for ((flags, words), status) in
        tables.iter().flat_map(|(table, status)| table.iter().map(move |row| (row, *status)))
    {
        for (verb, status) in [("run", 125), ("create", status)] {
            let line = w.kelp([verb, "-v", "left:/left"]).args(*flags).args(["busybox", "true"]);
            line.output().code(status).explains(&[words]);
        }
    }
    w.kelp(["run", "-a", "stdot", "busybox"])
        .output()
        .code(125)
        .explains(&["valid streams are STDIN, STDOUT and STDERR"]);
    w.kelp(["run", "-d", "-a", "stdout", "busybox"]).output().code(125).explains(&["--detach"]);
    assert_eq!(w.kelp(["ps", "-aq"]).ok().text(), "");
    assert_eq!(w.kelp(["volume", "ls", "-q"]).ok().text(), "");
    let left = std::fs::read_dir(w.store().join("containers")).unwrap();
    assert_eq!(left.flatten().filter(|entry| entry.path().is_dir()).count(), 0);
}

fn values_that_docker_takes_are_taken(w: &World) {
    w.load_busybox();
    for flags in [
        &["--tmpfs", "/x:size=1m,mode=1777,uid=1,noexec,nr_inodes=1k"][..],
        &["--tmpfs", "/x:"],
        &["-v", "/tmp:/x:ro,z,rslave"],
        &["-v", "/tmp:/x:"],
        &["--device", "/dev/null:r"],
        &["--device", "/dev/null:/dev/x:rw"],
        &["--security-opt", "label=disable"],
        &["--dns-search", "."],
        &["--domainname", ""],
        &["-u", ""],
        &["-w", ""],
        &["-m", "0"],
        &["--cpus", "0"],
        &["--cpuset-cpus", ""],
        &["--cgroup-parent", ""],
        &["--pids-limit", "-1"],
        &["--cpu-quota", "0"],
        &["--ipc", "shareable"],
        &["-v", "/proc:/proc"],
        &["-v", "/etc/passwd:/proc/cpuinfo"],
        &["--shm-size", "0"],
    ] {
        w.kelp(["run", "--rm", "--network", "none"]).args(flags).args(["busybox", "true"]).ok();
    }
    // To the kernel, 0 is no limit.
    let shm = w.kelp([
        "run",
        "--rm",
        "--network",
        "none",
        "--shm-size",
        "0",
        "busybox",
        "grep",
        " /dev/shm ",
        "/proc/mounts",
    ]);
    let shm = shm.ok();
    assert!(shm.stdout.contains("size=65536k"), "{shm}");
}

/// Other commands: the words, the status, and what is said.
const COMMANDS: &[(&[&str], i32, &str)] = &[
    (&["exec", "--detach-keys", "foo", "c", "true"], 125, "invalid detach keys (foo) provided"),
    (&["exec", "-e", "=x", "c", "true"], 125, "invalid environment variable"),
    (&["exec", "-w", "relative", "c", "true"], 125, "it needs to be an absolute path"),
    (&["exec", "c"], 1, "<COMMAND> is missing"),
    (&["exec", "-u", "a:b:c", "c", "true"], 125, "expected USER[:GROUP]"),
    (&["attach", "--detach-keys", "foo", "c"], 125, "invalid detach keys (foo) provided"),
    (&["start", "--detach-keys", "foo", "c"], 125, "invalid detach keys (foo) provided"),
    (&["update", "--cpus", "99999", "c"], 125, "range of CPUs is from 0.01 to "),
    (&["update", "--cpuset-cpus", "60000", "c"], 125, "Requested CPUs are not available"),
    (&["update", "--cpu-quota", "1", "c"], 125, "CPU cfs quota can not be less than 1ms"),
    (&["update", "--cpu-period", "1", "c"], 125, "CPU cfs period can not be less than 1ms"),
    (&["update", "--memory", "1", "c"], 1, "Minimum memory limit allowed is 6MB"),
    (&["update", "--restart", "often", "c"], 125, "expected no, always"),
    (&["ps", "-n", "many"], 125, "expected a number"),
    (&["ps", "--filter", "status="], 1, "there is no status"),
    (&["ps", "--filter", "publish=90-80"], 1, "expected PORT"),
    (&["ps", "--filter", "publish=0"], 1, "expected PORT"),
    (&["ps", "--filter", "expose=abc"], 1, "expected PORT"),
    (&["ps", "-a", "--format", "{{.Nope}}"], 1, "there is no field Nope"),
    (&["images", "--filter", "reference=["], 1, "syntax error in pattern"),
    (&["images", "["], 1, "syntax error in pattern"),
    (&["images", "--filter", "until=soon"], 1, "is not a time"),
    (&["volume", "ls", "--filter", "name=["], 1, "unclosed"),
    (&["volume", "create", "a b"], 1, "is not a name"),
    (&["events", "--until", "0s", "--filter", "event=dye"], 1, "there is no event \"dye\""),
    (&["events", "--until", "0s", "--filter", "type=foo"], 1, "there is no type"),
    (&["events", "--since", "soon", "--until", "0s"], 125, "is not a time"),
    (&["logs", "--tail", "many", "c"], 125, "expected a number or all"),
    (&["logs", "--since", "2026-02-31", "c"], 125, "is not a time"),
    (&["logs", "--since", "10.abc", "c"], 125, "is not a time"),
    (&["logs", "--since", "2026-01-31T12:00:00+99:99", "c"], 125, "is not a time"),
    (&["logs", "--since", "2026-01-31T12:00:00Zfoo", "c"], 125, "is not a time"),
    (&["stop", "-t", "soon", "c"], 125, "expected a number"),
    (&["stop", "-s", "NAP", "c"], 125, "is not a signal"),
    (&["kill", "-s", "RTMIN-5", "c"], 125, "is not a signal"),
    (&["kill", "-s", "RTMAX+5", "c"], 125, "is not a signal"),
    (&["kill", "-s", "65", "c"], 125, "is not a signal"),
    (&["cp", "", "c:/x"], 1, "source can not be empty"),
    (&["cp", "c:/etc/passwd", ""], 1, "destination can not be empty"),
    (&["cp", "c:/etc/passwd", "/tmp/no-such-folder/"], 1, "no-such-folder"),
    (&["commit", "--change", "EXPOSE web", "c"], 1, "invalid containerPort: web"),
    (&["commit", "--change", "STOPSIGNAL nap", "c"], 125, "invalid signal: nap"),
    (&["commit", "--change", "USER a:b:c", "c"], 125, "expected USER[:GROUP]"),
    (&["commit", "--change", "RUN x", "c"], 1, "RUN is no change"),
    (&["commit", "c", "UPPER"], 1, "malformed"),
    (&["rename", "c", "a b"], 1, "a name begins with a letter or digit"),
    (&["port", "c", "http"], 1, "\"http\" is not a port"),
    (&["wait", "absent"], 1, "no such container"),
];

fn commands_refuse_nonsense(w: &World) {
    w.load_busybox();
    w.kelp(["create", "--name", "c", "--network", "none", "busybox", "true"]).ok();
    let images = || w.kelp(["images", "-aq"]).ok().stdout;
    let before = images();
    for (line, status, words) in COMMANDS {
        let output = w.kelp(*line).output().code(*status).explains(&[words]);
        assert_eq!(output.stdout, "", "{output}");
        assert!(!output.stderr.contains("broken pipe"), "{output}");
    }
    assert_eq!(images(), before);
    w.kelp(["rm", "c"]).ok();
}

fn what_the_kernel_refuses_is_explained(w: &World) {
    w.load_busybox();
    for (sysctl, hint) in
        [("net.none=1", "no such parameter here"), ("net.core.somaxconn=many", "does not take the value \"many\"")]
    {
        let line = w.kelp(["run", "--rm", "--network", "none", "--sysctl", sysctl, "busybox", "true"]);
        line.output().code(125).explains(&["cannot set the sysctl"]).hints(hint);
    }
    assert_eq!(w.kelp(["ps", "-aq"]).ok().text(), "");
}

fn a_preference_that_only_root_may_give_is_explained(w: &World) {
    w.load_busybox();
    let line = w.kelp(["run", "--rm", "--network", "none", "--oom-score-adj", "-1000", "busybox", "true"]);
    line.output().code(125).hints("only root may make it lower");
}

fn a_runtime_is_found_when_the_container_is_made(w: &World) {
    if !Path::new("/usr/bin/crun").exists() {
        return w.skip("there is no crun");
    }
    w.load_busybox();
    // By its name, and by a path that means something in our folder alone.
    let link = w.dir().join("home/crun");
    std::os::unix::fs::symlink("/usr/bin/crun", &link).unwrap();
    for (name, runtime) in [("named", "crun"), ("near", "./crun")] {
        let made = w.kelp(["create", "--name", name, "--network", "none", "--runtime", runtime, "busybox", "true"]);
        made.dir(&w.dir().join("home")).env("PATH", "/usr/bin:/bin").ok();
        let record = std::fs::read_to_string(container(w, name).join("container.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let expected = if name == "near" { link.to_string_lossy() } else { "/usr/bin/crun".into() };
        assert_eq!(record["runtime"], *expected, "{record}");
        w.kelp(["rm", name]).ok();
    }
}

fn container(w: &World, name: &str) -> std::path::PathBuf {
    w.store().join("containers").join(w.kelp(["inspect", "-f", "{{.Id}}", name]).ok().text())
}
