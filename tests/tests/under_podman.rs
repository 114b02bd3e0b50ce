// SPDX-License-Identifier: Apache-2.0
//! Debian's podman with `--runtime kelp-runtime`.
//!
//! A claim is one script, in one mount namespace: podman's mounts live in the one in which it made them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{Who, World, claims};

claims!(as_root, as_user:
    podman_runs_containers_and_hands_on_their_status,
    podman_executes_stops_restarts_and_removes,
    podman_reads_logs_and_checks_health,
);
claims!(as_root: podman_pauses_updates_and_lists_processes, the_containers_of_a_pod_share_its_namespaces);

/// No controller that a hybrid machine lacks, no limit above that of the machine's root. A user has no cgroup.
const CONFIG: &str = r#"
[containers]
pids_limit = 0
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
CGROUPS
[engine]
events_logger = "file"
runtime = "kelp"
runtime_supports_json = ["kelp"]
runtime_supports_nocgroup = ["kelp"]
cgroup_manager = "cgroupfs"
[engine.runtimes]
kelp = ["PROGRAM"]
"#;

/// `p` is podman; `status CMD…` prints the exit status of a command.
const BEGIN: &str = r#"
p() { podman --root "$W/p" --runroot "$W/pr" --tmpdir "$W/pt" --storage-driver vfs "$@"; }
status() { set +e; "$@" >/dev/null 2>"$W/last"; echo $?; set -e; }
end() { p rm -af -t 0 >/dev/null 2>&1; p pod rm -af >/dev/null 2>&1; p system migrate >/dev/null 2>&1; }
trap end EXIT
cd /
p import -q "$W/busybox.tar" busybox >/dev/null
"#;

/// Runs the script; what it prints must be exactly these lines.
fn judge(w: &World, script: &str, expected: &str) {
    let config = CONFIG
        .replace("PROGRAM", &w.program("kelp-runtime").to_string_lossy())
        .replace("CGROUPS", if w.who() == Who::Root { "" } else { "cgroups = \"disabled\"" });
    let config = w.write("containers.conf", config);
    w.busybox_tar();
    let shell = match w.who() {
        Who::Root => w.with_cgroup2("sh"),
        _ => Ok(w.command("sh")),
    };
    let shell = match shell {
        Ok(shell) => shell,
        Err(reason) => return w.skip(&reason),
    };
    let output = shell
        .args(["-ec", &format!("{BEGIN}{script}")])
        .env("W", &w.dir().to_string_lossy())
        .env("CONTAINERS_CONF", &config.to_string_lossy())
        .env("XDG_RUNTIME_DIR", &w.run_dir().to_string_lossy())
        .limit(120)
        .ok();
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    let (printed, expected): (Vec<String>, Vec<String>) = (lines(&output.stdout), lines(expected));
    assert_eq!(printed, expected, "{output}");
}

fn podman_runs_containers_and_hands_on_their_status(w: &World) {
    judge(
        w,
        r#"
        p run --rm --network none busybox echo hello
        status p run --rm --network none busybox sh -c 'exit 7'
        status p run --rm --network none busybox /no/such/program
        status p run --rm --network none busybox /etc
        echo typed | p run --rm -i --network none busybox cat
        p run --rm --network none --user alice --workdir /etc -e A=b busybox sh -c 'id -u; pwd; echo $A'
        p run --rm --network none --read-only --read-only-tmpfs=false --hostname reef busybox sh -c 'hostname; echo >/file' || echo read-only
        "#,
        "hello\n7\n127\n126\ntyped\n1000\n/etc\nb\nreef\nread-only",
    );
}

fn podman_executes_stops_restarts_and_removes(w: &World) {
    judge(
        w,
        r#"
        p run -d --name c --network none busybox sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done' >/dev/null
        p exec c echo inside
        status p exec c sh -c 'exit 4'
        status p exec c /no/such/program
        p exec -u 1000 -w /etc -e A=b c sh -c 'id -u; pwd; echo $A'
        p stop c >/dev/null
        p inspect -f '{{.State.Status}} {{.State.ExitCode}}' c
        p start c >/dev/null
        p restart -t 1 c >/dev/null
        p exec c echo again
        p kill c >/dev/null
        p wait c
        p rm c >/dev/null
        p ps -aq
        "#,
        "inside\n4\n127\n1000\n/etc\nb\nexited 3\nagain\n137",
    );
}

fn podman_reads_logs_and_checks_health(w: &World) {
    judge(
        w,
        r#"
        p run -d --name l --network none busybox sh -c 'echo out; echo err >&2' >/dev/null
        p wait l
        p logs l 2>&1
        p run -d --name h --network none --health-cmd 'test -e /etc/passwd' --health-interval disable busybox sleep 1000 >/dev/null
        status p healthcheck run h
        p exec h sh -c 'mv /etc/passwd /etc/gone' 2>/dev/null || p exec h busybox mv /etc/passwd /etc/gone
        status p healthcheck run h
        "#,
        "0\nout\nerr\n0\n1",
    );
}

fn podman_pauses_updates_and_lists_processes(w: &World) {
    judge(
        w,
        r#"
        p run -d --name c --network none busybox sh -c 'sleep 1000 & wait' >/dev/null
        until p top c comm | grep -q sleep; do sleep 0.1; done
        p pause c >/dev/null
        p inspect -f '{{.State.Status}}' c
        p unpause c >/dev/null
        p inspect -f '{{.State.Status}}' c
        p top c comm
        p stats --no-stream --no-reset --format '{{.Name}}' c 2>/dev/null
        "#,
        "paused\nrunning\nCOMMAND\nsh\nsleep\nc",
    );
}

fn the_containers_of_a_pod_share_its_namespaces(w: &World) {
    judge(
        w,
        r#"
        p pod create --name pod --share-parent=false --network none --hostname atoll >/dev/null
        p run -d --pod pod --name one busybox sleep 1000 >/dev/null
        p run --rm --pod pod busybox hostname
        [ "$(p exec one ls -l /proc/self/ns/net /proc/self/ns/ipc | cut -d'>' -f2)" = \
          "$(p run --rm --pod pod busybox ls -l /proc/self/ns/net /proc/self/ns/ipc | cut -d'>' -f2)" ] && echo shared
        p pod stop -t 0 pod >/dev/null
        p pod inspect -f '{{.State}}' pod
        "#,
        "atoll\nshared\nExited",
    );
}
