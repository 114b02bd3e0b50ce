// SPDX-License-Identifier: Apache-2.0
use super::*;
use std::fs;

fn event(action: &str) -> Event {
    Event::now("container", action, "ab12", BTreeMap::from([("image".to_owned(), "busybox".to_owned())]))
}

/// The records of both files, in order.
fn records(folder: &Path) -> Vec<Event> {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let text = read(OLD) + &read(JOURNAL);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_record_is_dockers_json_with_the_old_names_too() {
    let mut event = event("start");
    (event.time, event.time_nano) = (1, 1_000_000_002);
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"status":"start","id":"ab12","from":"busybox","Type":"container","Action":"start","#.to_owned()
            + r#""Actor":{"ID":"ab12","Attributes":{"image":"busybox"}},"scope":"local","time":1,"timeNano":1000000002}"#
    );
    let volume = serde_json::to_string(&Event::now("volume", "create", "data", BTreeMap::new())).unwrap();
    assert!(volume.starts_with(r#"{"Type":"volume","Action":"create""#), "{volume}");
}

#[test]
fn a_torn_record_damages_none_after_it() {
    let store = tempfile::tempdir().unwrap();
    let folder = folder(store.path());
    append(&folder, &event("create")).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(folder.join(JOURNAL)).unwrap();
    file.write_all(b"\n{\"status\":\"sta").unwrap();
    append(&folder, &event("die")).unwrap();
    let actions: Vec<String> = records(&folder).into_iter().map(|event| event.action).collect();
    assert_eq!(actions, ["create", "die"]);
}

#[test]
fn the_journal_is_bounded_and_keeps_the_newest() {
    let store = tempfile::tempdir().unwrap();
    let folder = folder(store.path());
    let long = "x".repeat(64 << 10);
    for number in 0..200 {
        append(&folder, &event(&format!("exec_start: {number} {long}"))).unwrap();
    }
    let kept = records(&folder);
    let size = |name| fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
    assert!(size(JOURNAL) + size(OLD) < 2 * FILE_MAX + (1 << 18));
    assert!(kept.last().unwrap().action.starts_with("exec_start: 199 "));
    let first: usize = kept[0].action.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(kept.len(), 200 - first, "none is missing between the first and the last");
}

#[test]
fn records_of_writers_at_the_same_time_never_mix_and_none_is_lost() {
    let store = tempfile::tempdir().unwrap();
    let folder = &folder(store.path());
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || {
                for number in 0..500 {
                    append(folder, &event(&format!("{writer} {number}"))).unwrap();
                }
            });
        }
    });
    let all = records(folder);
    assert_eq!(all.len(), 4000);
    for writer in 0..8 {
        let prefix = format!("{writer} ");
        let own: Vec<_> = all.iter().filter_map(|event| event.action.strip_prefix(&prefix)).collect();
        assert!(own.iter().enumerate().all(|(at, number)| *number == at.to_string()), "in each writer's order");
    }
}

#[test]
fn a_container_is_described_by_its_record_and_a_damaged_one_by_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |json: &str| fs::write(folder.path().join("container.json"), json).unwrap();
    write(
        r#"{"id":"ab","name":"web","image":"busybox","labels":{"a":"b"},"ports":[],"mounts":[
            {"Type":"bind","Source":"/s","Destination":"/b","Mode":"","RW":true},
            {"Type":"volume","Name":"data","Source":"/s","Destination":"/d","Mode":"","RW":false}]}"#,
    );
    let found = Container::read(folder.path());
    let expected = [("a", "b"), ("image", "busybox"), ("name", "web")];
    assert_eq!(found.attributes, BTreeMap::from(expected.map(|(key, value)| (key.to_owned(), value.to_owned()))));
    assert_eq!(found.volumes, [Volume { name: "data".into(), destination: "/d".into(), writable: false }]);
    write("{");
    assert_eq!(Container::read(folder.path()), Container::default());
}
