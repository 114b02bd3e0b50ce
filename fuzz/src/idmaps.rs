// SPDX-License-Identifier: Apache-2.0
//! Id maps: of a spec, as the plan hands them to the kernel, and of subuid(5), as the store hands them to newuidmap.

use kelp_runtime::bundle::Bundle;
use kelp_runtime::host::Host;
use kelp_runtime::plan::{MapLine, Maps, Options, Plan};

/// Up to a kernel's fill of (inside, outside, count), and then a text for subuid(5).
pub fn run(bytes: &[u8]) {
    let lines = usize::from(bytes.first().copied().unwrap_or_default()) * 12;
    let (numbers, text) = bytes.split_at(bytes.len().min(1 + lines));
    subordinate(text);
    let numbers = numbers.get(1..).unwrap_or_default();
    let mapping = |line: &[u8]| {
        let number = |at: usize| u32::from_le_bytes([line[at], line[at + 1], line[at + 2], line[at + 3]]);
        serde_json::json!({"containerID": number(0), "hostID": number(4), "size": number(8)})
    };
    let mappings: Vec<_> = numbers.chunks_exact(12).map(mapping).collect();
    let config = serde_json::json!({
        "ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "user"}, {"type": "mount"}], "uidMappings": mappings, "gidMappings": mappings},
    });
    let folder = crate::scratch::empty("idmaps");
    std::fs::create_dir(folder.join("rootfs")).expect("a root file system");
    std::fs::write(folder.join("config.json"), config.to_string()).expect("config.json");
    let Ok(bundle) = Bundle::read(&folder) else { return };
    for may_map_ids in [true, false] {
        let host =
            Host { uid: 1000, gid: 1000, may_administer: false, may_map_ids, nested: !may_map_ids, cwd: "/".into() };
        let Ok(plan) = Plan::make(&bundle, &folder, "fuzz", &host, Options::default()) else { continue };
        if let Maps::Write { uid, gid } | Maps::Helpers { uid, gid } = &plan.maps {
            check(uid);
            check(gid);
        }
    }
}

/// What user_namespaces(7) says of a line that the kernel takes.
fn check(lines: &[MapLine]) {
    assert!(!lines.is_empty() && lines.len() <= 340, "{} lines", lines.len());
    for line in lines {
        assert!(line.count > 0, "an empty line");
        let fits = |first: u32| first.checked_add(line.count - 1).is_some();
        assert!(fits(line.inside) && fits(line.outside), "{line:?} goes beyond the last id");
    }
}

/// The ranges of a user in a subuid file: none overlaps another, neither inside nor outside.
fn subordinate(text: &[u8]) {
    let ranges = kelp_bundles::foreign::subordinate(&String::from_utf8_lossy(text));
    let apart = |a: (u32, u32), b: (u32, u32)| {
        let end = |(first, count): (u32, u32)| u64::from(first) + u64::from(count);
        end(a) <= u64::from(b.0) || end(b) <= u64::from(a.0)
    };
    assert!(ranges.len() <= 340, "{} lines", ranges.len());
    for (at, range) in ranges.iter().enumerate() {
        for other in &ranges[at + 1..] {
            assert!(apart((range.inside, range.count), (other.inside, other.count)), "{range:?} and {other:?}, inside");
            // The first is the caller himself, whom nobody grants to himself.
            let granted = at > 0;
            assert!(
                !granted || apart((range.outside, range.count), (other.outside, other.count)),
                "{range:?} and {other:?}"
            );
        }
    }
}
