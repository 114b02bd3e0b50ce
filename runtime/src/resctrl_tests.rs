// SPDX-License-Identifier: Apache-2.0
//! Classes of service in a folder that stands in for the resctrl file system.

use super::*;
use std::fs;

struct Fake {
    dir: tempfile::TempDir,
    journal: Journal,
}

impl Fake {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        let journal = Journal::begin(&fs::File::open(&state).unwrap().into(), &state).unwrap();
        Self { dir, journal }
    }

    fn make(&mut self, plan: &IntelRdt) -> Result<Vec<PathBuf>> {
        make_in(self.dir.path(), plan, &mut self.journal)
    }

    fn journal(&self) -> Vec<Made> {
        Journal::read(&self.dir.path().join("state")).unwrap()
    }
}

fn plan(class: &str, is_named: bool, schemata: &[&str]) -> IntelRdt {
    let schemata = schemata.iter().map(ToString::to_string).collect();
    IntelRdt { class: class.into(), is_named, schemata, monitor: None }
}

#[test]
fn a_class_of_its_own_is_made_and_goes_with_the_container() {
    let mut fake = Fake::new();
    let tasks = fake.make(&plan("web", false, &["L3:0=f", "MB:0=50"])).unwrap();
    let class = fake.dir.path().join("web");
    assert_eq!(fs::read_to_string(class.join("schemata")).unwrap(), "L3:0=f\nMB:0=50\n");
    join(&tasks, 42).unwrap();
    assert_eq!(fs::read_to_string(class.join("tasks")).unwrap(), "42");
    assert_eq!(fake.journal(), [Made::Resctrl(class.clone())]);
    // The kernel's folders are empty to rmdir.
    fs::remove_file(class.join("tasks")).unwrap();
    fs::remove_file(class.join("schemata")).unwrap();
    remove(&class).unwrap();
    remove(&class).unwrap();
    assert!(!class.exists());
}

#[test]
fn a_class_gets_other_shares_while_the_container_lives() {
    let mut fake = Fake::new();
    let tasks = fake.make(&plan("web", false, &["L3:0=f"])).unwrap();
    change(&tasks, &["L3:0=3".into(), "MB:0=20".into()]).unwrap();
    assert_eq!(fs::read_to_string(fake.dir.path().join("web/schemata")).unwrap(), "L3:0=3\nMB:0=20\n");
    // What the kernel says of its refusal is at resctrl's root, whichever class it is about.
    fs::create_dir(fake.dir.path().join("info")).unwrap();
    fs::write(fake.dir.path().join("info/last_cmd_status"), "cache has no such bits\n").unwrap();
    fs::remove_file(fake.dir.path().join("web/schemata")).unwrap();
    fs::create_dir(fake.dir.path().join("web/schemata")).unwrap();
    let error = change(&tasks, &["L3:0=ffffff".into()]).unwrap_err().to_string();
    assert!(error.contains("no such bits") && error.contains("L3:0=ffffff"), "{error}");
    assert!(change(&[], &["L3:0=3".into()]).unwrap_err().to_string().contains("resctrl"));
}

#[test]
fn a_class_that_is_there_is_used_only_as_it_is() {
    let mut fake = Fake::new();
    let class = fake.dir.path().join("gold");
    fs::create_dir(&class).unwrap();
    fs::write(class.join("schemata"), "    L3:0=00ff;1=0f0\n    MB:0= 50;1=100\n").unwrap();
    for same in [&[][..], &["L3:0=ff"], &["L3:1=F0;0=ff", "MB:0=50"]] {
        assert_eq!(fake.make(&plan("gold", true, same)).unwrap(), [class.join("tasks")], "{same:?}");
    }
    for other in ["L3:0=f", "L2:0=1", "nonsense"] {
        let error = fake.make(&plan("gold", true, &[other])).unwrap_err();
        assert!(error.to_string().contains(other), "{error}");
    }
    assert!(fake.make(&plan("gold", false, &[])).unwrap_err().to_string().contains("exists"));
    assert!(fake.make(&plan("absent", true, &[])).unwrap_err().to_string().contains("absent"));
    assert!(fake.journal().is_empty(), "a class that others may be in would go with the container");
}

#[test]
fn a_monitoring_group_is_made_in_the_class() {
    let mut fake = Fake::new();
    fs::create_dir(fake.dir.path().join("mon_groups")).unwrap();
    let monitored = IntelRdt { monitor: Some("web".into()), ..plan("", true, &[]) };
    let group = fake.dir.path().join("mon_groups/web");
    assert_eq!(fake.make(&monitored).unwrap(), [fake.dir.path().join("tasks"), group.join("tasks")]);
    assert_eq!(fake.journal(), [Made::Resctrl(group)]);
}

#[test]
fn resctrl_is_found_where_it_is_mounted() {
    let line = b"30 24 0:27 / /sys/fs/resctrl rw,relatime shared:9 - resctrl resctrl rw\n";
    assert_eq!(mount_point(line), Some("/sys/fs/resctrl".into()));
    assert_eq!(mount_point(b"30 24 0:27 / /resctrl rw - tmpfs tmpfs rw\n"), None);
}
