// SPDX-License-Identifier: Apache-2.0
//! Debian's docker.io with `dockerd --add-runtime kelp=kelp-runtime`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{Daemon, World, claims};

claims!(as_root: docker_runs_executes_stops_and_restarts);

/// `d` is docker, `run` its `run` with our runtime; `status CMD…` prints the exit status of a command.
const BEGIN: &str = r#"
d() { docker -H "unix://$W/d" "$@"; }
run() { d run --runtime kelp --network none "$@"; }
status() { set +e; "$@" >/dev/null 2>"$W/last"; echo $?; set -e; }
trap 'd ps -aq | xargs -r docker -H "unix://$W/d" rm -f >/dev/null' EXIT
d import "$W/busybox.tar" busybox >/dev/null
"#;

const SCRIPT: &str = r#"
run --rm busybox echo hello
status run --rm busybox sh -c 'exit 7'
status run --rm busybox /no/such/program
status run --rm busybox /etc
echo typed | run --rm -i busybox cat
run --rm --user 5:6 --cap-drop ALL --security-opt no-new-privileges -e A=b -w /etc busybox sh -c 'id -u; id -g; pwd; echo $A'
run --rm --read-only --tmpfs /t -v "$W/busybox/etc:/v:ro" busybox sh -c 'echo x >/t/x; ls /v; echo >/file' || echo read-only
run -d --name c1 busybox sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done' >/dev/null
d exec c1 echo inside
status d exec c1 sh -c 'exit 4'
d exec -u 1000 -w /etc -e A=b c1 sh -c 'id -u; pwd; echo $A'
d pause c1 >/dev/null
d inspect -f '{{.State.Status}}' c1
d unpause c1 >/dev/null
d stats --no-stream --format '{{.Name}}' c1
d top c1 -eo pid,comm | awk 'NR < 3 { print $2 }'
d update --restart no c1 >/dev/null
d stop c1 >/dev/null
d inspect -f '{{.State.Status}} {{.State.ExitCode}}' c1
d start c1 >/dev/null
d restart -t 1 c1 >/dev/null
d exec c1 echo again
d kill c1 >/dev/null
d wait c1
d rm c1
run --name l1 busybox sh -c 'echo out; echo err >&2' >/dev/null 2>&1
d logs l1 2>&1 | sort
"#;

const EXPECTED: &str = "hello 7 127 126 typed 5 6 /etc b passwd read-only inside 4 1000 /etc b paused c1 COMMAND sh \
                        exited 3 again 137 c1 err out";

fn docker_runs_executes_stops_and_restarts(w: &World) {
    w.busybox_tar();
    let at = |name: &str| w.dir().join(name).to_string_lossy().into_owned();
    let dockerd = match w.with_cgroup2("dockerd") {
        Ok(dockerd) => dockerd,
        Err(reason) => return w.skip(&reason),
    };
    let runtime = format!("kelp={}", w.program("kelp-runtime").display());
    let dockerd = dockerd
        .args(["--data-root", &at("dd"), "--exec-root", &at("dx"), "--pidfile", &at("d.pid")])
        .args(["--host", &format!("unix://{}", at("d")), "--storage-driver", "vfs"])
        .args(["--bridge", "none", "--iptables=false", "--ip-forward=false"])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--add-runtime", &runtime]);
    let daemon = match Daemon::start(dockerd, &w.dir().join("d")) {
        Ok(daemon) => daemon,
        Err(reason) => return w.skip(&reason),
    };
    let script = format!("{BEGIN}{SCRIPT}");
    let output = w.command("sh").args(["-ec", &script]).env("W", &w.dir().to_string_lossy()).limit(150).output();
    daemon.stop();
    let output = output.ok();
    let printed: Vec<&str> = output.stdout.split_whitespace().collect();
    assert_eq!(printed, EXPECTED.split_whitespace().collect::<Vec<_>>(), "{output}");
}
