// SPDX-License-Identifier: Apache-2.0
//! Whole configurations of command lines against the engine's `expected/*.json`. `KELP_BLESS=1 cargo test -p kelp` writes
//! them anew.

use super::tests::options;
use kelp_engine::config::*;
use kelp_engine::error::Kind;
use kelp_engine::request::Create;
use kelp_engine::request::network::Network;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn program() -> Program {
    Program {
        args: vec!["/bin/sh".to_owned()],
        env: vec!["PATH=/usr/bin:/bin".to_owned()],
        cwd: PathBuf::from("/"),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
    }
}

fn ranges() -> Maps {
    let ids = |caller| {
        vec![Range { container: 0, host: caller, size: 1 }, Range { container: 1, host: 100_000, size: 65_536 }]
    };
    Maps { uid: ids(1000), gid: ids(1000) }
}

fn single() -> Maps {
    let ids = vec![Range { container: 0, host: 1000, size: 1 }];
    Maps { uid: ids.clone(), gid: ids }
}

fn overlay() -> RootFilesystem {
    RootFilesystem::Overlay {
        lower: vec!["/store/layers/base/fs".into(), "/store/layers/top/fs".into()],
        upper: "/store/containers/c0ffee/upper".into(),
        work: "/store/containers/c0ffee/work".into(),
    }
}

/// The configuration of `kelp run LINE`, with capabilities in order (oci-spec keeps them in a hash set).
fn configured(line: &str, maps: Option<&Maps>, root: &RootFilesystem, change: impl FnOnce(&mut Input<'_>)) -> Value {
    let options = Create::from(options(line));
    let program = program();
    let files = [Attachment {
        source: Some("/store/containers/c0ffee/hosts".into()),
        target: "/etc/hosts".into(),
        read_only: false,
        options: Vec::new(),
    }];
    let mut input = Input {
        id: "c0ffee",
        options: &options,
        program: &program,
        hostname: "c0ffee",
        network: options.network.network.unwrap_or(Network::None),
        maps,
        last_group: u32::MAX,
        root,
        files: &files,
        attachments: &[],
        devices: &[],
        seccomp: None,
        annotations: HashMap::new(),
        host_has: |_| true,
    };
    change(&mut input);
    let mut value = serde_json::to_value(build(&input).unwrap()).unwrap();
    for set in ["bounding", "effective", "permitted"] {
        if let Some(Value::Array(names)) = value.pointer_mut(&format!("/process/capabilities/{set}")) {
            names.sort_by_key(ToString::to_string);
        }
    }
    value
}

fn compare(name: &str, value: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src/config/expected").join(name);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("KELP_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(expected == text, "{name} differs\n--- expected\n{expected}\n--- got\n{text}");
}

fn destinations(value: &Value) -> Vec<&str> {
    value["mounts"].as_array().unwrap().iter().map(|mount| mount["destination"].as_str().unwrap()).collect()
}

fn mount_at<'a>(value: &'a Value, destination: &str) -> &'a Value {
    value["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == destination).unwrap()
}

#[test]
fn an_ordinary_users_container() {
    compare("user.json", &configured("--network none busybox", Some(&ranges()), &overlay(), |_| {}));
}

#[test]
fn roots_container() {
    compare("root.json", &configured("-m 64m --cpus 1.5 -t busybox", None, &overlay(), |_| {}));
}

#[test]
fn a_single_id_map_has_no_group_tty() {
    let value = configured("busybox", Some(&single()), &RootFilesystem::Copy, |_| {});
    assert!(!mount_at(&value, "/dev/pts")["options"].to_string().contains("gid="));
    assert_eq!(destinations(&value)[0], "/proc");
    assert_eq!(value["linux"]["uidMappings"][0]["size"], 1);
}

#[test]
fn what_a_user_namespace_may_not_mount_is_bound() {
    let value = configured("--network host --pid host --ipc host busybox", Some(&ranges()), &overlay(), |_| {});
    for destination in ["/sys", "/proc", "/dev/mqueue", "/dev/shm"] {
        assert_eq!(mount_at(&value, destination)["type"], "bind", "{destination}");
    }
    let kinds: Vec<_> = value["linux"]["namespaces"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
    assert_eq!(kinds, ["user", "mount", "uts", "cgroup"]);
    assert!(value["linux"]["sysctl"].as_object().unwrap().is_empty());
}

#[test]
fn message_queues_that_the_host_does_not_show_are_not_bound() {
    let value = configured("--ipc host busybox", Some(&ranges()), &overlay(), |input| input.host_has = |_| false);
    assert!(!destinations(&value).contains(&"/dev/mqueue"));
    let own = configured("busybox", Some(&ranges()), &overlay(), |input| input.host_has = |_| false);
    assert_eq!(mount_at(&own, "/dev/mqueue")["type"], "mqueue");
}

#[test]
fn the_users_mounts_replace_ours_and_come_outermost_first() {
    let at = |target: &str| Attachment {
        source: Some("/host".into()),
        target: target.into(),
        read_only: true,
        options: Vec::new(),
    };
    // Leaked on purpose: a test's input outlives its closure.
    let wishes = vec![at("/data/inner"), at("/data"), at("/dev"), at("/etc/hosts")].leak();
    let value = configured("busybox", Some(&ranges()), &overlay(), |input| input.attachments = wishes);
    assert_eq!(
        destinations(&value),
        ["/", "/proc", "/sys", "/sys/fs/cgroup", "/data", "/dev", "/data/inner", "/etc/hosts"]
    );
    assert_eq!(mount_at(&value, "/data")["options"], serde_json::json!(["rbind", "rprivate", "ro"]));
}

#[test]
fn a_user_other_than_root_starts_without_rights() {
    let program = Program { uid: 1000, ..program() };
    let value = configured("busybox", Some(&ranges()), &overlay(), |input| {
        // Leaked on purpose: a test's input outlives its closure.
        input.program = Box::leak(Box::new(program));
    });
    assert_eq!(value["process"]["capabilities"]["effective"], serde_json::json!([]));
    assert_eq!(value["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
}

#[test]
fn privileged_means_all_capabilities_and_nothing_masked() {
    let value = configured("--privileged busybox", Some(&ranges()), &overlay(), |_| {});
    assert_eq!(value["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 41);
    assert_eq!(value["linux"]["maskedPaths"], serde_json::json!([]));
    assert!(!mount_at(&value, "/sys")["options"].to_string().contains("\"ro\""));
}

#[test]
fn parameters_of_a_namespace_that_is_the_hosts_are_refused() {
    let options = Create::from(options("--ipc host --sysctl kernel.shmmax=1 busybox"));
    let (program, root) = (program(), overlay());
    let input = Input {
        id: "c0ffee",
        options: &options,
        program: &program,
        hostname: "c0ffee",
        network: Network::None,
        maps: None,
        last_group: u32::MAX,
        root: &root,
        files: &[],
        attachments: &[],
        devices: &[],
        seccomp: None,
        annotations: HashMap::new(),
        host_has: |_| true,
    };
    assert_eq!(build(&input).unwrap_err().kind(), Kind::BadInput);
}

#[test]
fn root_of_some_groups_lets_those_ping() {
    let range = |last_group| {
        let value = configured("busybox", None, &overlay(), |input| {
            input.network = Network::None;
            input.last_group = last_group;
        });
        value["linux"]["sysctl"]["net.ipv4.ping_group_range"].as_str().unwrap().to_owned()
    };
    assert_eq!([range(u32::MAX), range(65535)], ["0 2147483647", "0 65535"]);
}

#[test]
fn layers_with_separators_in_their_paths_are_quoted() {
    let root = RootFilesystem::Overlay { lower: vec!["/a:b,c".into()], upper: "/u".into(), work: "/w".into() };
    let value = configured("busybox", None, &root, |_| {});
    assert_eq!(mount_at(&value, "/")["options"][0], "lowerdir=/a\\:b\\,c");
}

#[test]
fn only_the_files_of_a_container_of_rm_may_be_lost_in_a_crash_of_the_machine() {
    let options = |line| configured(line, Some(&single()), &overlay(), |_| {})["mounts"][0]["options"].clone();
    let volatile = serde_json::json!("volatile");
    assert!(options("--rm busybox").as_array().unwrap().contains(&volatile));
    assert!(!options("busybox").as_array().unwrap().contains(&volatile));
}
