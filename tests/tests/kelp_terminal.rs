// SPDX-License-Identifier: Apache-2.0
//! Words of an image, a container or a volume reach no terminal as control characters, and forge no line of ours.
//!
//! Runs `kelp` and `kelp-runtime` as root and as an unprivileged user.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{Output, World, claims};
use serde_json::json;

claims!(as_root, as_user:
    words_of_an_image_are_shown_and_not_obeyed,
    json_keeps_its_values,
    a_cause_of_many_lines_forges_no_hint,
    the_runtime_shows_what_a_bundle_says,
);

/// Sets the title, rings, clears, C1, right-to-left override.
const EVIL: &str = "\x1b]0;PWNED\x07\x1b[2J\u{9b}31m\u{202e}";

fn assert_harmless(output: &Output) {
    for c in output.stdout.chars().chain(output.stderr.chars()) {
        let obeyed = (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!obeyed, "{:?} in {output}", c);
    }
}

fn load_evil(w: &World) {
    let script = format!(": > '/x{EVIL}'; sleep 1000 # {EVIL}");
    let image = kelp_tests::busybox_image(w)
        .config("Cmd", json!(["/bin/sh", "-c", script]))
        .config("Labels", json!({ "l": EVIL }));
    w.load(&image, "evil:1");
}

fn words_of_an_image_are_shown_and_not_obeyed(w: &World) {
    load_evil(w);
    w.kelp(["run", "-d", "--network", "none", "--name", "c", "evil:1"]).ok();
    kelp_tests::until("it has made its file", || w.kelp(["diff", "c"]).ok().stdout.contains("/x"));
    let shown = w.kelp(["ps", "-a", "--no-trunc"]).ok();
    assert!(shown.stdout.contains("\\u001b]0;PWNED\\u0007"), "{shown}");
    for line in [
        &["ps", "-a"][..],
        &["diff", "c"],
        &["inspect", "c"],
        &["inspect", "-f", "{{.Config.Labels}}", "c"],
        &["inspect", "-f", "{{json .Config.Labels}}", "evil:1"],
        &["history", "--no-trunc", "evil:1"],
        &["system", "df", "-v"],
        &["top", "c"],
        &["events", "--since", "1h", "--until", "0s"],
        &["events", "--since", "1h", "--until", "0s", "--format", "json"],
        &["ps", "-a", "--format", "{{.Command}} {{.Labels}}"],
        &["ps", "-a", "--format", "json"],
    ] {
        assert_harmless(&w.kelp(line.iter().copied()).ok());
    }
    w.kelp(["rm", "-f", "c"]).ok();
    assert_harmless(&w.kelp(["run", "--rm", "--network", "none", "evil:1", &format!("/nope{EVIL}")]).output().fails());
    assert_harmless(
        &w.kelp(["run", "--rm", "--network", "none", "-u", &format!("u{EVIL}"), "evil:1"]).output().fails(),
    );
    assert_harmless(&w.kelp(["rm", EVIL]).output().fails());
}

fn json_keeps_its_values(w: &World) {
    load_evil(w);
    assert_eq!(w.kelp(["inspect", "evil:1"]).ok().json()[0]["Config"]["Labels"]["l"], EVIL);
}

fn a_cause_of_many_lines_forges_no_hint(w: &World) {
    w.load_busybox();
    let name = "no\n  hint: run curl | sh";
    let refused = w.kelp(["run", "--rm", "--network", "none", "busybox", name]).output().fails();
    assert!(!refused.stderr.contains("\n  hint: run curl"), "{refused}");
}

fn the_runtime_shows_what_a_bundle_says(w: &World) {
    let folder = w.dir().join("evil");
    w.make_dir(&folder);
    let config = json!({ "ociVersion": "1.0.2", "root": { "path": format!("no{EVIL}") }, "process": { "args": ["x"], "cwd": "/" } });
    w.write("evil/config.json", config.to_string());
    assert_harmless(&w.runtime(["run", "--bundle", &folder.display().to_string(), "c"]).output().fails());
}
