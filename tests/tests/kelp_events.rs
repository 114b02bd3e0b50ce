// SPDX-License-Identifier: Apache-2.0
//! What happens is recorded by whoever makes it happen, without a daemon, and `kelp events` tells it as Docker does.
//!
//! Runs `kelp` as root and as unprivileged users.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{World, claims};
use serde_json::Value;

claims!(as_root, as_user, as_stranger:
    a_containers_life_is_told_in_dockers_words_and_order,
    volumes_and_images_have_events,
    filters_choose_events_and_refuse_nonsense,
    a_follower_hears_what_happens_and_ends_when_its_time_is_over,
    a_follower_whose_reader_has_gone_ends,
    a_damaged_journal_hides_nothing_else,
    a_container_started_again_by_its_policy_tells_each_start_and_end,
    steps_inside_are_told_where_it_is_asked_for_and_no_secret_is_in_them,
);

/// All events up to now.
fn events(w: &World, args: &[&str]) -> Vec<Value> {
    let all = w.kelp(["events", "--since", "1h", "--until", "0s", "--format", "json"]).args(args).ok();
    all.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn actions(w: &World, args: &[&str]) -> Vec<String> {
    events(w, args).iter().map(|event| event["Action"].as_str().unwrap().to_owned()).collect()
}

fn a_containers_life_is_told_in_dockers_words_and_order(w: &World) {
    w.load_busybox();
    let id = w.kelp(["run", "-d", "--network", "none", "--name", "web", "-l", "tier=front", "-v", "data:/d"]);
    let id =
        id.args(["busybox", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.01; done"]).ok().text().to_owned();
    w.kelp(["rename", "web", "shop"]).ok();
    w.kelp(["stop", "-t", "60", "shop"]).ok();
    w.kelp(["start", "shop"]).ok();
    w.kelp(["kill", "shop"]).ok();
    w.kelp(["rm", "shop"]).ok();
    let all = events(w, &["--filter", "type=container"]);
    let told: Vec<&str> = all.iter().map(|event| event["Action"].as_str().unwrap()).collect();
    let expected = ["create", "start", "rename", "kill", "die", "stop", "start", "kill", "die", "destroy"];
    assert_eq!(told, expected);
    for event in &all {
        assert_eq!(
            (&event["Actor"]["ID"], &event["id"], &event["scope"]),
            (&id.clone().into(), &id.clone().into(), &"local".into())
        );
        assert_eq!((&event["status"], &event["from"]), (&event["Action"], &"busybox".into()));
        assert_eq!(event["Actor"]["Attributes"]["tier"], "front");
        assert_eq!(event["timeNano"].as_i64().unwrap() / 1_000_000_000, event["time"].as_i64().unwrap());
    }
    let attribute = |at: usize, key: &str| all[at]["Actor"]["Attributes"][key].as_str().unwrap_or("none").to_owned();
    assert_eq!(
        (attribute(1, "name"), attribute(2, "name"), attribute(2, "oldName")),
        ("web".into(), "shop".into(), "/web".into())
    );
    assert_eq!(
        (attribute(3, "signal"), attribute(4, "exitCode"), attribute(4, "name")),
        ("15".into(), "7".into(), "shop".into())
    );
    assert_eq!((attribute(7, "signal"), attribute(8, "exitCode")), ("9".into(), "137".into()));
}

fn volumes_and_images_have_events(w: &World) {
    w.load_busybox();
    w.kelp(["run", "--rm", "--network", "none", "-v", "data:/d:ro", "busybox", "true"]).ok();
    w.kelp(["volume", "rm", "data"]).ok();
    assert_eq!(actions(w, &["--filter", "volume=data"]), ["create", "mount", "unmount", "destroy"]);
    let mount = &events(w, &["--filter", "event=mount"])[0]["Actor"]["Attributes"];
    assert_eq!(
        (&mount["destination"], &mount["read/write"], &mount["driver"]),
        (&"/d".into(), &"false".into(), &"local".into())
    );
    w.kelp(["tag", "busybox", "other:v1"]).ok();
    w.kelp(["rmi", "other:v1"]).ok();
    assert_eq!(actions(w, &["--filter", "type=image"]), ["load", "tag", "untag"]);
    assert_eq!(events(w, &["--filter", "event=tag"])[0]["Actor"]["Attributes"]["name"], "other:v1");
}

fn filters_choose_events_and_refuse_nonsense(w: &World) {
    w.load_busybox();
    for name in ["one", "two"] {
        w.kelp(["run", "--network", "none", "--name", name, "-l", &format!("is={name}"), "busybox", "true"]).ok();
    }
    assert_eq!(actions(w, &["--filter", "container=one", "--filter", "event=die"]), ["die"]);
    assert_eq!(actions(w, &["--filter", "label=is=two", "--filter", "event=create"]), ["create"]);
    assert_eq!(actions(w, &["--filter", "image=busybox", "--filter", "event=die"]), ["die", "die"]);
    assert_eq!(actions(w, &["--filter", "container=three"]), Vec::<String>::new());
    let line = w.kelp(["events", "--since", "1h", "--until", "0s", "--filter", "event=die"]).ok();
    assert!(
        line.stdout.contains("container die ")
            && line.stdout.contains(" (execDuration=0, exitCode=0, image=busybox, is=one, name=one)"),
        "{line}"
    );
    let template = [
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "-f",
        "event=die",
        "--format",
        "{{.Type}} {{.Actor.Attributes.name}} {{.Status}}",
    ];
    assert_eq!(w.kelp(template).ok().text(), "container one die\ncontainer two die");
    w.kelp(["rm", "one", "two"]).ok();
    w.kelp(["events", "--filter", "typ=container"]).output().code(1).explains(&["did you mean type?"]);
    w.kelp(["events", "--filter", "type=containers"]).output().code(1).explains(&["type=containers"]);
    w.kelp(["events", "--since", "yesterday"]).output().fails();
}

fn a_follower_hears_what_happens_and_ends_when_its_time_is_over(w: &World) {
    w.kelp(["volume", "create", "before"]).ok();
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 5;
    let follower =
        w.kelp(["events", "--since", "1h", "--until", &until.to_string(), "--filter", "type=volume"]).spawn();
    follower.prints("create before");
    w.kelp(["volume", "create", "after"]).ok();
    follower.prints("create after");
    let all = follower.output().ok();
    assert_eq!(all.stdout.lines().count(), 2, "{all}");
}

fn a_follower_whose_reader_has_gone_ends(w: &World) {
    let kelp = w.program("kelp").display().to_string();
    let script = format!("{kelp} events | true; echo ended");
    assert_eq!(w.command("sh").args(["-c", &script]).limit(20).ok().text(), "ended");
}

fn a_damaged_journal_hides_nothing_else(w: &World) {
    w.kelp(["volume", "create", "one"]).ok();
    let journal = w.store().join("events/journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.extend_from_slice(b"\n{\"status\":\"cre\0\xff");
    std::fs::write(&journal, bytes).unwrap();
    w.kelp(["volume", "create", "two"]).ok();
    let names: Vec<Value> = events(w, &[]).iter().map(|event| event["Actor"]["ID"].clone()).collect();
    assert_eq!(names, ["one", "two"]);
}

fn a_container_started_again_by_its_policy_tells_each_start_and_end(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-d", "--network", "none", "--restart", "on-failure:2", "--name", "c", "busybox", "false"]).ok();
    w.kelp(["wait", "c"]).ok();
    kelp_tests::until("its policy has given up", || {
        actions(w, &["--filter", "container=c"]) == ["create", "start", "die", "start", "die", "start", "die"]
    });
    w.kelp(["rm", "-f", "c"]).ok();
}

fn steps_inside_are_told_where_it_is_asked_for_and_no_secret_is_in_them(w: &World) {
    w.load_busybox();
    let run = ["run", "--rm", "--network", "none", "-e", "TOKEN=hunter2", "busybox", "true"];
    assert!(!w.kelp(run).ok().stderr.contains("create{"));
    let told = w.kelp(["-D"]).args(run).ok();
    for step in ["create{container=", "start{container=", "remove{container=", "time.busy="] {
        assert!(told.stderr.contains(step), "{step}: {told}");
    }
    assert!(!told.stderr.contains("hunter2") && told.stdout.is_empty(), "{told}");
    let told = w.kelp(run).env("KELP_LOG", "info,json").ok();
    let spans: Vec<Value> = told.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(spans.iter().any(|line| line["span"]["name"] == "start"), "{told}");
    w.kelp(["-l", "loud", "ps"]).output().fails().explains(&["loud"]);
    w.kelp(["ps"]).env("KELP_LOG", "loud").output().fails().explains(&["KELP_LOG=loud"]);
}
