// SPDX-License-Identifier: Apache-2.0
//! What a program wrote, and how it ended, whatever the disk does: files that are kept, torn lines, a full disk.
//!
//! Runs `kelp` as root and as an unprivileged user.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{World, claims};

claims!(as_root, as_user:
    logs_shows_all_files_that_are_kept_and_their_last_lines,
    nothing_is_cut_unless_it_is_asked_for,
    logs_follow_loses_no_line_across_rotations,
    a_torn_line_is_left_out_and_said,
    logs_of_the_driver_none_is_an_error,
    whoever_prints_ends_with_the_reader,
    restarts_are_counted,
);

claims!(as_root: a_full_disk_loses_neither_the_status_nor_the_shim);

fn run(w: &World, args: &[&str], script: &str) {
    w.load_busybox();
    w.kelp(["run", "--network", "none", "--name", "c"]).args(args).args(["busybox", "sh", "-c", script]).ok();
}

fn numbers(text: &str) -> Vec<u32> {
    text.lines().filter_map(|line| line.strip_prefix("LINE-")?.parse().ok()).collect()
}

const SIX_THOUSAND: &str = "i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo LINE-$i; done";

fn logs_shows_all_files_that_are_kept_and_their_last_lines(w: &World) {
    run(w, &["--log-opt", "max-size=50k", "--log-opt", "max-file=5"], SIX_THOUSAND);
    let shown = numbers(&w.kelp(["logs", "c"]).ok().stdout);
    assert!(shown.len() > 2000, "{} lines", shown.len());
    assert_eq!(shown, (6001 - u32::try_from(shown.len()).unwrap()..=6000).collect::<Vec<_>>());
    assert_eq!(numbers(&w.kelp(["logs", "--tail", "1500", "c"]).ok().stdout), (4501..=6000).collect::<Vec<_>>());
    w.kelp(["rm", "c"]).ok();
}

fn nothing_is_cut_unless_it_is_asked_for(w: &World) {
    // 40 MB, of which a limit of 16 MiB and two files would keep less.
    run(w, &["-d"], "head -c 20000000 /dev/zero | tr '\\0' '\\n' | head -c 500000; echo; echo last");
    w.kelp(["wait", "c"]).ok();
    let config = w.kelp(["inspect", "-f", "{{json .HostConfig.LogConfig}}", "c"]).ok();
    assert_eq!(config.json()["Config"], serde_json::json!({}), "{config}");
    let id = w.kelp(["inspect", "-f", "{{.Id}}", "c"]).ok().text().to_owned();
    let folder = w.store().join("containers").join(id);
    assert!(fs::metadata(folder.join("log")).unwrap().len() > 32 << 20);
    assert_eq!(w.kelp(["logs", "--tail", "1", "c"]).ok().stdout, "last\n");
    w.kelp(["rm", "c"]).ok();
}

fn logs_follow_loses_no_line_across_rotations(w: &World) {
    let script =
        "sleep 0.5; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo LINE-$i; [ $((i%200)) = 0 ] && usleep 10000; done";
    run(w, &["-d", "--log-opt", "max-size=100k", "--log-opt", "max-file=10"], script);
    let followed = w.kelp(["logs", "-f", "c"]).ok();
    assert!(
        numbers(&followed.stdout) == (1..=20_000).collect::<Vec<_>>(),
        "{} lines: {}",
        followed.stdout.lines().count(),
        followed.stderr
    );
    w.kelp(["rm", "c"]).ok();
}

fn a_torn_line_is_left_out_and_said(w: &World) {
    run(w, &[], "echo one; echo two; echo three");
    let id = w.kelp(["inspect", "-f", "{{.Id}}", "c"]).ok().text().to_owned();
    let log = w.store().join("containers").join(id).join("log");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for torn in [
        format!("{}{}\n{}", lines[0], &lines[1][..25], lines[2]),
        format!("{}{}{}", lines[0], &lines[1][..25], lines[2]),
    ] {
        fs::write(&log, torn).unwrap();
        let shown = w.kelp(["logs", "c"]).ok();
        assert_eq!(shown.stdout, "one\nthree\n");
        assert!(shown.stderr.contains("torn"), "{shown}");
    }
    w.kelp(["rm", "c"]).ok();
}

fn logs_of_the_driver_none_is_an_error(w: &World) {
    run(w, &["--log-driver", "none"], "echo one");
    w.kelp(["logs", "c"]).output().code(1).explains(&["configured logging driver does not support reading"]);
    w.kelp(["rm", "c"]).ok();
}

fn restarts_are_counted(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-d", "--network", "none", "--name", "c", "--restart", "on-failure:2", "busybox", "false"]).ok();
    w.kelp(["wait", "c"]).ok();
    assert_eq!(w.kelp(["inspect", "-f", "{{.RestartCount}}", "c"]).ok().text(), "2");
    w.kelp(["rm", "c"]).ok();
}

/// The store is a file system of its own, which is filled while the program runs.
fn a_full_disk_loses_neither_the_status_nor_the_shim(w: &World) {
    let kelp = w.program("kelp").display().to_string();
    let script = r#"
        mount --make-rprivate / && mount -t tmpfs -o size=24m none "$STORE" || exit 99
        "$KELP" load -q -i "$IMAGE" >/dev/null || exit 98
        "$KELP" run --network none --name c busybox sh -c 'sleep 1; i=0; while [ $i -lt 999 ]; do i=$((i+1)); echo $i; done; exit 5' >/dev/null &
        sleep 0.5; cat /dev/zero > "$STORE/fill" 2>/dev/null
        wait $!; echo "status $?"
        "$KELP" inspect -f 'recorded {{.State.ExitCode}}' c
        rm "$STORE/fill"; "$KELP" rm c >/dev/null; umount "$STORE"
    "#;
    w.load_busybox();
    let image = w.dir().join("busybox.tar").display().to_string();
    w.kelp(["save", "-o", &image, "busybox"]).ok();
    let said = w.command("unshare").args(["-m", "sh", "-c", script]).env("KELP", &kelp).env("IMAGE", &image);
    let said = said.env("STORE", &w.store().display().to_string()).ok();
    assert_eq!(said.stdout, "status 5\nrecorded 5\n", "{said}");
}

/// The commands that go on until they are interrupted too, and those that have much to say.
fn whoever_prints_ends_with_the_reader(w: &World) {
    run(w, &["-d"], "seq 1 100000; exec sleep 1000");
    let id = w.kelp(["inspect", "-f", "{{.Id}}", "c"]).ok().text().to_owned();
    let log = w.store().join("containers").join(id).join("log");
    let written = || fs::read_to_string(&log).unwrap_or_default().contains("\"100000");
    kelp_tests::until("all is written", written);
    // Said by who comes so far.
    let torn = fs::read_to_string(&log).unwrap() + "{torn\n";
    fs::write(&log, torn).unwrap();
    let kelp = w.program("kelp").to_string_lossy().into_owned();
    let commands = [
        "logs c",
        "logs -f c",
        "ps",
        "images",
        "events",
        "events --since 1h",
        "history busybox",
        "stats c",
        "inspect c",
    ];
    for command in commands {
        // The reader has gone before the first word.
        let script = format!("( sleep 0.3; {kelp} {command}; echo status $? >&2 ) | exec true");
        let said = w.command("/bin/sh").args(["-c", &script]).limit(20).ok();
        assert_eq!(said.stderr.trim(), "status 0", "{command}: {said}");
    }
    w.kelp(["rm", "-f", "c"]).ok();
}
