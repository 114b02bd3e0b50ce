// SPDX-License-Identifier: Apache-2.0
//! Docker's flags and statuses, one by one: what fingers and scripts know.
//!
//! Runs `kelp`. The programs inside are busybox'.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use kelp_tests::{Command, Terminal, World, claims, until, within};

claims!(as_root, as_user:
    statuses_are_dockers,
    flags_take_true_and_false,
    labels_come_from_files_too,
    init_reaps_orphans_and_passes_signals_on,
    init_leaves_with_the_status_of_the_program,
    init_gives_the_terminal_to_the_program,
    the_log_is_as_large_as_it_is_told,
    what_contradicts_itself_is_refused,
    ps_filters_by_age_and_ports,
    filters_of_names_are_patterns,
    top_takes_options_of_ps,
    variables_are_given_taken_and_taken_away_as_in_docker,
    a_container_knows_its_names_and_that_it_is_one,
    common_mistakes_get_the_hint_that_helps,
    inspect_of_a_kind_knows_that_kind_alone,
    questions_are_answered_by_whatever_stdin_is,
    a_manual_page_is_shown_and_all_are_written,
    sizes_are_shown_where_they_are_asked_for,
    config_json_gives_proxies_and_formats,
    filters_that_nothing_can_pass_are_errors,
    a_container_sees_the_hosts_processes,
);

fn run<'w>(w: &'w World, args: &[&str]) -> Command<'w> {
    w.kelp(["run", "--rm", "--network", "none"]).args(args)
}

fn statuses_are_dockers(w: &World) {
    w.load_busybox();
    let all = [
        "rm", "stop", "start", "kill", "logs", "inspect", "wait", "port", "top", "pause", "diff", "export", "attach",
        "restart", "rmi", "history",
    ];
    for verb in all {
        w.kelp([verb, "absent"]).output().code(1).explains(&["absent"]);
        w.kelp([verb, "--no-such-flag", "absent"]).output().code(125).explains(&["--no-such-flag"]);
        w.kelp([verb]).output().code(1).explains(&["missing"]);
    }
    w.kelp(["exec", "absent", "true"]).output().code(1).explains(&["absent"]);
    w.kelp(["no-such-command"]).output().code(1).explains(&["no-such-command"]);
    w.kelp(["ps", "operand"]).output().code(1).explains(&["operand"]);
    w.kelp(["run"]).output().code(1).explains(&["IMAGE"]);
    w.kelp(["run", "--no-such-flag", "busybox"]).output().code(125);
    w.kelp(["run", "--pull", "never", "absent"]).output().code(125);
    w.kelp(["create", "--pull", "never", "absent"]).output().code(1);
    w.kelp(["update", "--memory", "lots", "absent"]).output().code(125);
    run(w, &["busybox", "no-such-program"]).output().code(127);
    run(w, &["busybox", "/etc"]).output().code(126);
    // Nothing is wrong with a goal that is reached.
    w.kelp(["rm", "-f", "absent"]).ok();
}

fn flags_take_true_and_false(w: &World) {
    w.load_busybox();
    w.kelp(["run", "--rm=false", "-it=false", "--network=none", "--name", "c", "busybox", "true"]).ok();
    assert_eq!(w.kelp(["ps", "-aq=true", "--filter", "name=c"]).ok().text().len(), 12);
    w.kelp(["rm", "c"]).ok();
    run(w, &["--read-only=true", "busybox", "touch", "/x"]).output().fails();
    run(w, &["--read-only=false", "busybox", "touch", "/x"]).ok();
    run(w, &["--read-only=perhaps", "busybox"]).output().code(125).explains(&["perhaps"]);
    // Behind the image they are the program's.
    assert_eq!(run(w, &["busybox", "echo", "--rm=false"]).ok().text(), "--rm=false");
    let help = w.kelp(["run", "--help"]).ok();
    assert!(help.stdout.contains("--rm") && !help.stdout.contains("--rm["), "{help}");
}

fn labels_come_from_files_too(w: &World) {
    w.load_busybox();
    let file = w.write("labels", "\u{feff}# a comment\none=1\r\ntwo=from the file\n\nthree\n");
    let file = file.to_string_lossy();
    let made = w.kelp(["create", "--name", "c", "--label-file", &file, "--label", "two=2", "busybox"]).ok();
    assert!(made.stderr.contains("the label three has no value"), "{made}");
    let labels = w.kelp(["inspect", "-f", "{{json .Config.Labels}}", "c"]).ok().json();
    assert_eq!((&labels["one"], &labels["two"]), (&"1".into(), &"2".into()));
    assert!(labels.get("three").is_none(), "as Docker: {labels}");
    w.kelp(["create", "--label-file", "/no/such/file", "busybox"]).output().code(1).explains(&["/no/such/file"]);
    w.kelp(["rm", "c"]).ok();
}

fn init_reaps_orphans_and_passes_signals_on(w: &World) {
    w.load_busybox();
    // The shell leaves orphans behind, and waits for a signal that a first process would never get.
    let script = "for i in 1 2 3; do (sleep 0.1 & ); done; trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.1; done";
    w.kelp(["run", "-d", "--init", "--name", "c", "--network", "none", "busybox", "sh", "-c", script]).ok();
    until("the program is ready", || w.kelp(["logs", "c"]).ok().stdout.contains("ready"));
    let first = w.kelp(["exec", "c", "cat", "/proc/1/cmdline"]).ok().stdout;
    assert!(first.starts_with("/sbin/docker-init\0--\0sh\0"), "{first:?}");
    let zombies = || w.kelp(["exec", "c", "sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status; true"]).ok().stdout;
    assert!(within(Duration::from_secs(20), || zombies().is_empty()), "{}", zombies());
    assert_eq!(w.kelp(["inspect", "-f", "{{.HostConfig.Init}} {{.Path}}", "c"]).ok().text(), "true sh");
    w.kelp(["exec", "c", "sh", "-c", "echo x >>/sbin/docker-init"]).output().fails();
    w.kelp(["kill", "-s", "USR1", "c"]).ok();
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "5");
    assert!(w.kelp(["logs", "c"]).ok().stdout.contains("got it"));
    w.kelp(["rm", "c"]).ok();
    // Without a handler the kernel protects a first process; not one behind ours.
    w.kelp(["run", "-d", "--init", "--name", "c", "--network", "none", "busybox", "sleep", "1000"]).ok();
    let begin = std::time::Instant::now();
    w.kelp(["stop", "-t", "30", "c"]).ok();
    assert!(begin.elapsed() < Duration::from_secs(20), "the signal was not passed on");
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "143");
    w.kelp(["rm", "c"]).ok();
}

fn init_leaves_with_the_status_of_the_program(w: &World) {
    w.load_busybox();
    let status = |words: &[&str]| run(w, &["--init", "busybox"]).args(words).output();
    status(&["sh", "-c", "exit 7"]).code(7);
    status(&["sh", "-c", "kill -9 $$"]).code(137);
    let absent = status(&["no-such-program"]).code(127);
    assert!(absent.stderr.contains("cannot run no-such-program"), "{absent}");
    status(&["/etc"]).code(126);
    assert_eq!(run(w, &["--init", "-i", "busybox", "cat"]).stdin("through\n").ok().stdout, "through\n");
    run(w, &["--init", "--read-only", "--cap-drop", "all", "busybox", "sh", "-c", "exit 5"]).output().code(5);
    let other = run(w, &["--init", "-u", "1000:1000", "--read-only", "--cap-drop", "all", "busybox", "id", "-u"]);
    assert_eq!(other.ok().text(), "1000");
}

fn init_gives_the_terminal_to_the_program(w: &World) {
    w.load_busybox();
    let (mut terminal, running) = Terminal::start(run(w, &["--init", "-it", "busybox", "sh"]), 24, 80);
    terminal.types(b"echo $((40 + 2)) there\n");
    terminal.shows("42 there");
    // Ctrl-C ends what is in the foreground, and the shell goes on.
    // It speaks for itself: by then the shell has given it the terminal.
    terminal.types(b"sh -c 'echo now $((50 + 5)); exec sleep 1000'\n");
    terminal.shows("now 55");
    terminal.types(b"\x03");
    terminal.types(b"echo still $((20 + 3))\n");
    terminal.shows("still 23");
    terminal.types(b"exit 6\n");
    running.output().code(6);
    // A shell that saw itself in the background a moment too early stops like this.
    let stops = ["--init", "-it", "busybox", "sh", "-c", "kill -TTIN $$; echo woken"];
    let (mut terminal, running) = Terminal::start(run(w, &stops), 24, 80);
    terminal.shows("woken");
    running.output().ok();
}

fn the_log_is_as_large_as_it_is_told(w: &World) {
    w.load_busybox();
    let logged = |options: &[&str]| {
        let script = "seq 1 5000; echo last";
        w.kelp(["run", "--name", "c", "--network", "none"]).args(options).args(["busybox", "sh", "-c", script]).ok();
        let logs = w.kelp(["logs", "c"]).output().stdout;
        let config = w.kelp(["inspect", "-f", "{{.HostConfig.LogConfig.Type}}", "c"]).ok().text().to_owned();
        w.kelp(["rm", "c"]).ok();
        (logs, config)
    };
    let (all, kind) = logged(&[]);
    assert_eq!((all.lines().count(), kind.as_str()), (5001, "json-file"));
    let (some, _) = logged(&["--log-opt", "max-size=10k", "--log-opt", "max-file=2"]);
    assert!(some.len() < 25_000 && some.ends_with("last\n"), "{} bytes are kept", some.len());
    let (none, kind) = logged(&["--log-driver", "none"]);
    assert_eq!((none.as_str(), kind.as_str()), ("", "none"));
    run(w, &["--log-driver", "syslog", "busybox"]).output().code(125).explains(&["syslog", "none"]);
    run(w, &["--log-opt", "tag=x", "busybox"]).output().code(125).explains(&["max-size"]);
}

fn what_contradicts_itself_is_refused(w: &World) {
    w.load_busybox();
    run(w, &["--restart", "always", "busybox", "true"]).output().code(125).explains(&["--rm"]);
    run(w, &["--rm=false", "--restart", "no", "--name", "c", "busybox", "true"]).ok();
    w.kelp(["rm", "c"]).ok();
}

fn a_container_sees_the_hosts_processes(w: &World) {
    w.load_busybox();
    let pid = std::process::id().to_string();
    run(w, &["--pid", "host", "busybox", "test", "-d", &format!("/proc/{pid}")]).ok();
    run(w, &["--ipc", "shareable", "--no-healthcheck", "busybox", "true"]).ok();
}

fn ps_filters_by_age_and_ports(w: &World) {
    w.load_busybox();
    for (name, expose) in [("one", "80"), ("two", "443"), ("three", "53/udp")] {
        w.kelp(["create", "--name", name, "--network", "none", "--expose", expose, "busybox"]).ok();
    }
    let listed = |filter: &str| {
        let names = w.kelp(["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]).ok().stdout;
        let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!((listed("before=two"), listed("since=two")), ("one".into(), "three".into()));
    assert_eq!(
        (listed("expose=80"), listed("expose=1-1000/tcp"), listed("expose=53/udp")),
        ("one".into(), "one two".into(), "three".into())
    );
    w.kelp(["ps", "--filter", "before=absent"]).output().code(1).explains(&["absent"]);
    w.kelp(["rm", "one", "two", "three"]).ok();
}

fn filters_of_names_are_patterns(w: &World) {
    w.load_busybox();
    for name in ["app", "app_stage", "my-app"] {
        w.kelp(["create", "--network", "none", "--name", name, "busybox"]).ok();
        w.kelp(["volume", "create", name]).ok();
    }
    let sorted = |text: &str| {
        let mut names: Vec<&str> = text.split_whitespace().collect();
        names.sort_unstable();
        names.join(" ")
    };
    for (pattern, expected) in [
        ("^app$", "app"),
        ("^/app$", "app"),
        ("^app", "app app_stage"),
        ("app$", "app my-app"),
        ("stage|my", "app_stage my-app"),
    ] {
        let filter = format!("name={pattern}");
        let listed = w.kelp(["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).ok();
        assert_eq!(sorted(&listed.stdout), expected, "{pattern}");
        if !pattern.contains('/') {
            let volumes = w.kelp(["volume", "ls", "-q", "--filter", &filter]).ok();
            assert_eq!(sorted(&volumes.stdout), expected, "{pattern}");
        }
    }
    w.kelp(["rm", "app", "app_stage", "my-app"]).ok();
}

fn filters_that_nothing_can_pass_are_errors(w: &World) {
    w.load_busybox();
    w.kelp(["create", "--network", "none", "--name", "c", "-l", "a=b", "-l", "empty=", "busybox"]).ok();
    let ids = |filter: &str| w.kelp(["ps", "-aq", "--filter", filter]).ok().stdout.lines().count();
    for (filter, expected) in [
        ("health=none", 1),
        ("health=healthy", 0),
        ("is-task=false", 1),
        ("is-task=true", 0),
        ("label=a", 1),
        ("label=a=b", 1),
        ("label=a=c", 0),
        ("label=empty", 1),
        ("ancestor=busybox", 1),
        ("ancestor=busybox:latest", 1),
        ("ancestor=docker.io/library/busybox", 1),
        ("ancestor=other", 0),
    ] {
        assert_eq!(ids(filter), expected, "{filter}");
    }
    for filter in [
        "status=runing",
        "health=fine",
        "is-task=perhaps",
        "exited=zero",
        "publish=http",
        "name=(",
        "restart-policy=often",
    ] {
        let (_, value) = filter.split_once('=').unwrap();
        w.kelp(["ps", "-a", "--filter", filter]).output().code(1).explains(&[value]);
    }
    w.kelp(["volume", "ls", "--filter", "dangling=perhaps"]).output().code(1).explains(&["perhaps"]);
    w.kelp(["container", "prune", "-f", "--filter", "until=soon"]).output().code(1).explains(&["soon"]);
    w.kelp(["volume", "prune", "-f", "--filter", "all=some"]).output().code(1).explains(&["some"]);
    w.kelp(["rm", "c"]).ok();
}

fn top_takes_options_of_ps(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-d", "--network", "none", "--name", "c", "busybox", "sleep", "1234"]).ok();
    for (options, title) in [(&["-o", "pid,comm"][..], "PID"), (&["-eo", "pid,args"], "PID"), (&["aux"], "USER")] {
        let shown = w.kelp(["top", "c"]).args(options).ok();
        let mut lines = shown.stdout.lines();
        assert!(lines.next().unwrap().starts_with(title), "{shown}");
        let rows: Vec<&str> = lines.collect();
        assert!(rows.len() == 1 && rows[0].contains("sleep"), "the container's process and no other: {shown}");
    }
    w.kelp(["top", "c", "-o", "comm"]).output().code(1).hints("-o pid,cmd");
    w.kelp(["top", "c", "--no-such-option"]).output().code(1).explains(&["--no-such-option"]);
    w.kelp(["rm", "-f", "c"]).ok();
}

fn config_json_gives_proxies_and_formats(w: &World) {
    w.load_busybox();
    let folder = w.dir().join("docker");
    w.make_dir(&folder);
    let config = r#"{"proxies":{"default":{"httpProxy":"http://p:3128","noProxy":"a,b"}},"psFormat":"<{{.Names}}>"}"#;
    w.write("docker/config.json", config);
    let docker_config = folder.display().to_string();
    let with = |words: &[&str]| w.kelp(words.iter().copied()).env("DOCKER_CONFIG", &docker_config);
    let run = ["run", "--rm", "--network", "none"];
    let env = with(&[&run[..], &["-e", "http_proxy=mine", "busybox", "env"]].concat()).ok();
    let mut proxies: Vec<&str> = env.stdout.lines().filter(|line| line.to_lowercase().contains("_proxy")).collect();
    proxies.sort_unstable();
    assert_eq!(proxies, ["HTTP_PROXY=http://p:3128", "NO_PROXY=a,b", "http_proxy=mine", "no_proxy=a,b"]);
    w.kelp(["create", "--network", "none", "--name", "c", "busybox"]).ok();
    assert_eq!(with(&["ps", "-a"]).ok().text(), "<c>");
    assert_eq!(with(&["ps", "-a", "--format", "{{.Names}}"]).ok().text(), "c");
    w.write("docker/config.json", "{");
    with(&["ps", "-a"]).output().code(1).explains(&["config.json"]);
    w.kelp(["rm", "c"]).ok();
}

fn common_mistakes_get_the_hint_that_helps(w: &World) {
    w.load_busybox();
    w.kelp(["create", "--network", "none", "--name", "c", "busybox"]).ok();
    run(w, &["busybox", "--read-only", "true"])
        .output()
        .code(127)
        .hints("flags go before the image: kelp run --read-only");
    w.kelp(["run", "-name", "x", "busybox"]).output().code(125).hints("--name");
    w.kelp(["rm", "busybox"]).output().code(1).hints("kelp rmi busybox");
    w.kelp(["rename", "c", "c"]).output().code(1).explains(&["current name"]);
    w.kelp(["rename", "c"]).output().code(1).explains(&["cannot run kelp rename", "<NAME> is missing"]);
    w.kelp(["build", "."]).output().code(1).explains(&["does not build images yet"]);
    w.kelp(["network", "ls"]).output().code(1).explains(&["networks"]);
    w.kelp(["ps", "--format", "{{.Names"]).output().code(1).hints("single quotes");
    assert_eq!(w.kelp(["volume", "rm", "-f", "missing"]).ok().text(), "missing");
    w.kelp(["volume", "rm", "missing"]).output().code(1).explains(&["no such volume"]);
    w.kelp(["rm", "c"]).ok();
}

fn inspect_of_a_kind_knows_that_kind_alone(w: &World) {
    w.load_busybox();
    w.kelp(["volume", "create", "data"]).ok();
    w.kelp(["create", "--network", "none", "--name", "one", "busybox"]).ok();
    for (kind, own, others) in [
        ("container", "one", ["busybox", "data"]),
        ("image", "busybox", ["one", "data"]),
        ("volume", "data", ["one", "busybox"]),
    ] {
        w.kelp([kind, "inspect", own]).ok();
        for other in others {
            let refused = w.kelp([kind, "inspect", other]).output().code(1);
            assert_eq!(refused.text(), "[]", "{refused}");
        }
    }
    w.kelp(["rm", "one"]).ok();
}

fn questions_are_answered_by_whatever_stdin_is(w: &World) {
    w.kelp(["volume", "create", "data"]).ok();
    let prune = ["volume", "prune", "--all"];
    for no in ["", "n\n", "\n"] {
        w.kelp(prune).stdin(no).ok();
        assert_eq!(w.kelp(["volume", "ls", "-q"]).ok().text(), "data", "{no:?}");
    }
    let pruned = w.kelp(prune).stdin("y\n").ok();
    assert!(pruned.stderr.contains("[y/N]") && pruned.stdout.contains("data"), "{pruned}");
    assert_eq!(w.kelp(["volume", "ls", "-q"]).ok().text(), "");
}

fn a_manual_page_is_shown_and_all_are_written(w: &World) {
    let page = w.kelp(["man", "volume", "ls"]).ok();
    assert!(page.stdout.contains(".TH") && page.stdout.contains("volume"), "{page}");
    assert!(!w.dir().join("volume").exists());
    w.kelp(["man", "nonsense"]).output().code(1).explains(&["nonsense"]);
    let folder = w.dir().join("pages");
    w.make_dir(&folder);
    w.kelp(["man", "--write", &folder.display().to_string()]).ok();
    let written = |name: &str| folder.join(name).exists();
    assert!(written("kelp.1") && written("kelp-run.1") && written("kelp-volume-ls.1"));
    assert!(!written("kelp-reconnect.1"), "commands for programs have no page");
}

fn sizes_are_shown_where_they_are_asked_for(w: &World) {
    w.load_busybox();
    let write = "dd if=/dev/zero of=/file bs=1024 count=2048";
    w.kelp(["run", "--network", "none", "--name", "c", "busybox", "sh", "-c", write]).ok();
    assert!(w.kelp(["inspect", "c"]).ok().json()[0].get("SizeRw").is_none());
    let sized = w.kelp(["inspect", "--size", "c"]).ok().json()[0].clone();
    let (written, all) = (sized["SizeRw"].as_u64().unwrap(), sized["SizeRootFs"].as_u64().unwrap());
    assert!(written >= 2 << 20 && all > written, "{written} {all}");
    w.kelp(["rm", "c"]).ok();
}

fn variables_are_given_taken_and_taken_away_as_in_docker(w: &World) {
    w.load(&kelp_tests::busybox_image(w).config("Env", serde_json::json!(["A=image", "B=image", "C=image"])), "env:1");
    let file = w.write("env", "\u{feff}FILE=1\r\nTAKEN\nUNSET\n");
    let file = file.to_string_lossy();
    let env = run(w, &["--env-file", &file, "-e", "A", "-e", "B=mine", "-e", "TAKEN", "env:1", "env"]);
    let env = env.env("TAKEN", "of the caller").env_remove("A").ok();
    let has = |line: &str| env.stdout.lines().any(|it| it == line);
    assert!(has("B=mine") && has("C=image") && has("FILE=1") && has("TAKEN=of the caller"), "{env}");
    assert!(!env.stdout.contains("A=") && !env.stdout.contains("UNSET"), "{env}");
}

fn a_container_knows_its_names_and_that_it_is_one(w: &World) {
    w.load_busybox();
    let shown =
        "hostname; grep -o 'web.*' /etc/hosts; test -f /.dockerenv && echo marked; cat /proc/sys/kernel/domainname";
    let of = |flags: &[&str]| run(w, &[flags, &["busybox", "sh", "-c", shown]].concat()).ok().text().to_owned();
    assert_eq!(
        of(&["-h", "web.example.org"]).lines().take(3).collect::<Vec<_>>(),
        ["web.example.org", "web.example.org web", "marked"]
    );
    let split = of(&["-h", "web", "--domainname", "example.org"]);
    assert_eq!(split.lines().collect::<Vec<_>>(), ["web", "web.example.org web", "marked", "example.org"]);
}
