// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

const UNIFIED: &[u8] = b"\
23 1 0:21 / /proc rw - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";

const HYBRID: &[u8] = b"\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

fn mount(at: &str, root: &str) -> Mount {
    Mount { at: at.into(), root: root.into() }
}

#[test]
fn a_unified_machine_has_one_mount_and_no_v1() {
    let found = parse_mountinfo(UNIFIED);
    assert_eq!(found.v2, [mount("/sys/fs/cgroup", "/")]);
    assert!(found.v1.is_empty());
}

#[test]
fn a_hybrid_machine_has_v2_beside_v1_which_holds_controllers() {
    let found = parse_mountinfo(HYBRID);
    assert_eq!(found.v2, [mount("/sys/fs/cgroup/unified", "/")]);
    assert_eq!(found.v1.to_string(), "cpu memory");
}

#[test]
fn escapes_and_optional_fields_are_understood() {
    let line = b"41 31 0:38 /a\\040b /mnt/c\\134d\\011e rw shared:1 master:2 - cgroup2 none rw\n";
    assert_eq!(parse_mountinfo(line).v2, [mount("/mnt/c\\d\te", "/a b")]);
    assert_eq!(unescape(b"tail\\04"), Path::new("tail\\04"));
}

#[test]
fn a_source_that_looks_like_a_cgroup_mount_is_not_one() {
    assert_eq!(parse_mountinfo(b"1 2 0:3 / /mnt rw - tmpfs cgroup2 rw\n"), CgroupMounts::default());
    assert_eq!(parse_mountinfo(b"1 2 0:3 / /mnt rw - cgroup2ish x rw\n"), CgroupMounts::default());
}

#[test]
fn our_own_cgroup_is_the_line_of_hierarchy_zero() {
    assert_eq!(parse_own(b"1:name=systemd:/x\n0::/user.slice/a\n"), Some("/user.slice/a".into()));
    assert_eq!(parse_own(b"0::/gone (deleted)\n"), None);
    assert_eq!(parse_own(b"4:memory:/\n"), None);
}

#[test]
fn our_directory_is_found_below_any_root_of_the_mount() {
    let cases = [
        ("/", "/a/b", Some("/m/a/b")),
        ("/", "/", Some("/m")),
        ("/docker/x", "/docker/x/y", Some("/m/y")),
        ("/docker/x", "/docker/xy", None),
        ("/..", "/../sister", Some("/m/sister")),
        ("/..", "/", None),
        ("/", "/../sister", None),
    ];
    for (root, own, expected) in cases {
        let directory = mount("/m", root).directory_of(Path::new(own));
        assert_eq!(directory.as_deref(), expected.map(Path::new), "root {root}, own {own}");
    }
}

#[test]
fn the_mount_that_shows_us_is_preferred_and_then_the_whole_one() {
    let mounts = vec![mount("/part", "/x"), mount("/whole", "/"), mount("/other", "/")];
    let order = by_preference(mounts.clone(), Some(Path::new("/y")));
    assert_eq!(order, [mount("/whole", "/"), mount("/other", "/"), mount("/part", "/x")]);
    let order = by_preference(vec![mount("/more", "/.."), mount("/ours", "/")], Some(Path::new("/../z")));
    assert_eq!(order[0], mount("/more", "/.."));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_mountinfo(&bytes);
        parse_own(&bytes);
    }

    #[test]
    fn no_near_miss_makes_it_panic(text in "([0-9]{1,2} |/\\\\[0-9]{0,3} | - cgroup2? |rw\n){0,30}") {
        parse_mountinfo(text.as_bytes());
    }
}
