// SPDX-License-Identifier: Apache-2.0
//! Debian's containerd with `ctr run --runc-binary kelp-runtime`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{Daemon, World, busybox_image, claims};

claims!(as_root: containerd_runs_executes_pauses_and_kills);

/// `c` is ctr, `run` its `run` with our runtime; `status CMD…` prints the exit status of a command.
const SCRIPT: &str = r#"
c() { ctr -a "$W/c.sock" "$@"; }
run() { c run --snapshotter native --runc-binary "$RUNTIME" "$@"; }
status() { set +e; "$@" >/dev/null 2>"$W/last"; echo $?; set -e; }
c images import --snapshotter native "$IMAGE" >/dev/null
image=$(c images ls -q)
run --rm "$image" c1 echo hello
status run --rm "$image" c2 sh -c 'exit 7'
status run --rm "$image" c3 /no/such/program
grep -c 'no such file or directory' "$W/last"
run -d "$image" c4 sleep 1000
c task exec --exec-id x1 c4 echo inside
status c task exec --exec-id x2 c4 sh -c 'exit 4'
c task pause c4
c task ls | grep -c PAUSED
c task resume c4
c task ls | grep -c RUNNING
c task metrics c4 | grep -c cpu.usage_usec
c task kill -s KILL c4
until c task ls | grep -q STOPPED; do sleep 0.1; done
c task rm c4 2>/dev/null || true
c container rm c4
c container ls -q
"#;

fn containerd_runs_executes_pauses_and_kills(w: &World) {
    let archive = busybox_image(w).oci_archive(w, "image.tar", "localhost/busybox:latest");
    let at = |name: &str| w.dir().join(name).to_string_lossy().into_owned();
    let containerd = match w.with_cgroup2("containerd") {
        Ok(containerd) => containerd,
        Err(reason) => return w.skip(&reason),
    };
    let config = w.write("containerd.toml", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n");
    let containerd = containerd
        .args(["--config", &config.to_string_lossy(), "--root", &at("cr"), "--state", &at("cs")])
        .args(["--address", &at("c.sock")]);
    let daemon = match Daemon::start(containerd, &w.dir().join("c.sock")) {
        Ok(daemon) => daemon,
        Err(reason) => return w.skip(&reason),
    };
    let output = w
        .command("sh")
        .args(["-ec", SCRIPT])
        .env("IMAGE", &archive.to_string_lossy())
        .env("W", &w.dir().to_string_lossy())
        .env("RUNTIME", &w.program("kelp-runtime").to_string_lossy())
        .limit(120)
        .output();
    daemon.stop();
    let output = output.ok();
    let printed: Vec<&str> = output.stdout.split_whitespace().collect();
    assert_eq!(printed, ["hello", "7", "1", "1", "inside", "4", "1", "1", "1"], "{output}");
}
