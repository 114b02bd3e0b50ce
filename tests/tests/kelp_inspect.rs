// SPDX-License-Identifier: Apache-2.0
//! `kelp inspect` of a container has Docker's keys with Docker's types, and each flag is seen where Docker shows it.
//!
//! Runs `kelp` as root and as unprivileged users.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{World, claims};
use serde_json::{Value, json};

claims!(as_root, as_user, as_stranger:
    a_container_has_dockers_keys_with_dockers_types,
    flags_are_shown_where_docker_shows_them,
    the_entrypoint_is_apart_from_the_arguments,
    a_record_of_an_older_kelp_is_read,
);

/// The keys of `docker inspect` 28 of a container, and what they may hold: s string, n number, b bool, a array, o object,
/// z null. Health, sizes and ImageManifestDescriptor are there only where they were asked for.
const KEYS: &str = "
Id s|Created s|Path s|Args a|State o|Image s|ResolvConfPath s|HostnamePath s|HostsPath s|LogPath s|Name s|RestartCount n|Driver s
Platform s|MountLabel s|ProcessLabel s|AppArmorProfile s|ExecIDs za|HostConfig o|GraphDriver o|Mounts a|Config o|NetworkSettings o
State/Status s|State/Running b|State/Paused b|State/Restarting b|State/OOMKilled b|State/Dead b|State/Pid n|State/ExitCode n
State/Error s|State/StartedAt s|State/FinishedAt s|GraphDriver/Data o|GraphDriver/Name s
HostConfig/Binds za|HostConfig/ContainerIDFile s|HostConfig/LogConfig o|HostConfig/LogConfig/Type s|HostConfig/LogConfig/Config o
HostConfig/NetworkMode s|HostConfig/PortBindings o|HostConfig/RestartPolicy o|HostConfig/RestartPolicy/Name s
HostConfig/RestartPolicy/MaximumRetryCount n|HostConfig/AutoRemove b|HostConfig/VolumeDriver s|HostConfig/VolumesFrom za
HostConfig/ConsoleSize a|HostConfig/CapAdd za|HostConfig/CapDrop za|HostConfig/CgroupnsMode s|HostConfig/Dns a|HostConfig/DnsOptions a
HostConfig/DnsSearch a|HostConfig/ExtraHosts za|HostConfig/GroupAdd za|HostConfig/IpcMode s|HostConfig/Cgroup s|HostConfig/Links za
HostConfig/OomScoreAdj n|HostConfig/PidMode s|HostConfig/Privileged b|HostConfig/PublishAllPorts b|HostConfig/ReadonlyRootfs b
HostConfig/SecurityOpt za|HostConfig/UTSMode s|HostConfig/UsernsMode s|HostConfig/ShmSize n|HostConfig/Runtime s|HostConfig/Isolation s
HostConfig/CpuShares n|HostConfig/Memory n|HostConfig/NanoCpus n|HostConfig/CgroupParent s|HostConfig/BlkioWeight n
HostConfig/BlkioWeightDevice a|HostConfig/BlkioDeviceReadBps a|HostConfig/BlkioDeviceWriteBps a|HostConfig/BlkioDeviceReadIOps a
HostConfig/BlkioDeviceWriteIOps a|HostConfig/CpuPeriod n|HostConfig/CpuQuota n|HostConfig/CpuRealtimePeriod n
HostConfig/CpuRealtimeRuntime n|HostConfig/CpusetCpus s|HostConfig/CpusetMems s|HostConfig/Devices a|HostConfig/DeviceCgroupRules za
HostConfig/DeviceRequests za|HostConfig/MemoryReservation n|HostConfig/MemorySwap n|HostConfig/MemorySwappiness zn
HostConfig/OomKillDisable zb|HostConfig/PidsLimit zn|HostConfig/Ulimits a|HostConfig/CpuCount n|HostConfig/CpuPercent n
HostConfig/IOMaximumIOps n|HostConfig/IOMaximumBandwidth n|HostConfig/MaskedPaths a|HostConfig/ReadonlyPaths a
Config/Hostname s|Config/Domainname s|Config/User s|Config/AttachStdin b|Config/AttachStdout b|Config/AttachStderr b|Config/Tty b
Config/OpenStdin b|Config/StdinOnce b|Config/Env a|Config/Cmd za|Config/Image s|Config/Volumes zo|Config/WorkingDir s
Config/Entrypoint za|Config/OnBuild za|Config/Labels o
NetworkSettings/Bridge s|NetworkSettings/SandboxID s|NetworkSettings/SandboxKey s|NetworkSettings/Ports o|NetworkSettings/HairpinMode b
NetworkSettings/LinkLocalIPv6Address s|NetworkSettings/LinkLocalIPv6PrefixLen n|NetworkSettings/SecondaryIPAddresses za
NetworkSettings/SecondaryIPv6Addresses za|NetworkSettings/EndpointID s|NetworkSettings/Gateway s
NetworkSettings/GlobalIPv6Address s|NetworkSettings/GlobalIPv6PrefixLen n|NetworkSettings/IPAddress s|NetworkSettings/IPPrefixLen n
NetworkSettings/IPv6Gateway s|NetworkSettings/MacAddress s|NetworkSettings/Networks o
NetworkSettings/Networks/none/IPAMConfig zo|NetworkSettings/Networks/none/Links za|NetworkSettings/Networks/none/Aliases za
NetworkSettings/Networks/none/MacAddress s|NetworkSettings/Networks/none/DriverOpts zo|NetworkSettings/Networks/none/GwPriority n
NetworkSettings/Networks/none/NetworkID s|NetworkSettings/Networks/none/EndpointID s|NetworkSettings/Networks/none/Gateway s
NetworkSettings/Networks/none/IPAddress s|NetworkSettings/Networks/none/IPPrefixLen n|NetworkSettings/Networks/none/IPv6Gateway s
NetworkSettings/Networks/none/GlobalIPv6Address s|NetworkSettings/Networks/none/GlobalIPv6PrefixLen n
NetworkSettings/Networks/none/DNSNames za";

fn kind(value: &Value) -> char {
    match value {
        Value::Null => 'z',
        Value::Bool(_) => 'b',
        Value::Number(_) => 'n',
        Value::String(_) => 's',
        Value::Array(_) => 'a',
        Value::Object(_) => 'o',
    }
}

fn inspect(w: &World, name: &str) -> Value {
    w.kelp(["inspect", name]).ok().json()[0].clone()
}

fn a_container_has_dockers_keys_with_dockers_types(w: &World) {
    w.load_busybox();
    w.kelp(["create", "--network", "none", "--name", "c", "busybox", "true"]).ok();
    let object = inspect(w, "c");
    let mut wrong = Vec::new();
    for line in KEYS.split(['|', '\n']).filter(|line| !line.is_empty()) {
        let (key, kinds) = line.split_once(' ').unwrap();
        match object.pointer(&format!("/{key}")) {
            None => wrong.push(format!("{key} is missing")),
            Some(value) if !kinds.contains(kind(value)) => wrong.push(format!("{key} is {value}, not {kinds}")),
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    w.kelp(["rm", "c"]).ok();
}

fn flags_are_shown_where_docker_shows_them(w: &World) {
    w.load_busybox();
    let folder = w.dir().join("shown");
    w.make_dir(&folder);
    let bind = format!("{}:/bound:ro", folder.display());
    let flags = [
        "--memory=64m",
        "--cpus=0.5",
        "--pids-limit=77",
        "--cap-add=SYS_PTRACE",
        "--cap-drop=CHOWN",
        "--dns=9.9.9.9",
        "--add-host=db:10.0.0.9",
        "--read-only",
        "--shm-size=1m",
        "--ulimit=nofile=64:128",
        "--tmpfs=/t:size=1m",
        "--device=/dev/null:/dev/x:r",
        "--security-opt=no-new-privileges",
        "--annotation=a=b",
        "--oom-score-adj=500",
        "--domainname=example.org",
        "--mount=type=volume,source=data,target=/data,readonly",
    ];
    let create = w.kelp(["create", "--network", "none", "--name", "c", "-v"]).arg(&bind).args(flags);
    create.args(["busybox", "true"]).ok();
    let object = inspect(w, "c");
    let host = &object["HostConfig"];
    for (key, expected) in [
        ("Binds", json!([bind])),
        ("Memory", json!(64 << 20)),
        ("NanoCpus", json!(500_000_000)),
        ("PidsLimit", json!(77)),
        ("Dns", json!(["9.9.9.9"])),
        ("ExtraHosts", json!(["db:10.0.0.9"])),
        ("ReadonlyRootfs", json!(true)),
        ("ShmSize", json!(1 << 20)),
        ("Ulimits", json!([{"Name": "nofile", "Hard": 128, "Soft": 64}])),
        ("Tmpfs", json!({"/t": "size=1m"})),
        ("Devices", json!([{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}])),
        ("SecurityOpt", json!(["no-new-privileges"])),
        ("Annotations", json!({"a": "b"})),
        ("OomScoreAdj", json!(500)),
        ("Mounts", json!([{"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": true}])),
    ] {
        assert_eq!(host[key], expected, "{key}");
    }
    assert!(host["CapAdd"][0].as_str().unwrap().ends_with("SYS_PTRACE"), "{host}");
    assert_eq!(object["Config"]["Domainname"], "example.org");
    let points = object["Mounts"].as_array().unwrap();
    let data = points.iter().find(|point| point["Destination"] == "/data").unwrap();
    assert_eq!((&data["Driver"], &data["RW"], &data["Name"]), (&json!("local"), &json!(false), &json!("data")));
    w.kelp(["rm", "c"]).ok();
}

fn the_entrypoint_is_apart_from_the_arguments(w: &World) {
    let image =
        kelp_tests::busybox_image(w).config("Entrypoint", json!(["/bin/sh", "-c"])).config("Cmd", json!(["true"]));
    w.load(&image, "entry:1");
    let shown = |name: &str, args: &[&str]| {
        w.kelp(["create", "--network", "none", "--name", name]).args(args).ok();
        let object = inspect(w, name);
        w.kelp(["rm", name]).ok();
        [&object["Path"], &object["Args"], &object["Config"]["Entrypoint"], &object["Config"]["Cmd"]].map(Value::clone)
    };
    let expected = [json!("/bin/sh"), json!(["-c", "true"]), json!(["/bin/sh", "-c"]), json!(["true"])];
    assert_eq!(shown("image", &["entry:1"]), expected);
    let expected = [json!("/bin/sh"), json!(["-c", "id"]), json!(["/bin/sh", "-c"]), json!(["id"])];
    assert_eq!(shown("command", &["entry:1", "id"]), expected);
    let expected = [json!("echo"), json!(["x"]), json!(["echo"]), json!(["x"])];
    assert_eq!(shown("override", &["--entrypoint", "echo", "entry:1", "x"]), expected);
    let expected = [json!("true"), json!([]), json!(null), json!(["true"])];
    assert_eq!(shown("none", &["--entrypoint", "", "entry:1", "true"]), expected);
}

fn a_record_of_an_older_kelp_is_read(w: &World) {
    w.load_busybox();
    let id =
        w.kelp(["create", "--network", "none", "--name", "old", "busybox", "echo", "still"]).ok().text().to_owned();
    let path = w.store().join("containers").join(&id).join("container.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for newer in ["request", "cmd", "entrypoint"] {
        record.as_object_mut().unwrap().remove(newer);
    }
    std::fs::write(&path, record.to_string()).unwrap();
    assert_eq!(inspect(w, "old")["Config"]["Cmd"], json!(["echo", "still"]));
    w.kelp(["start", "old"]).ok();
    w.kelp(["wait", "old"]).ok();
    assert_eq!(w.kelp(["logs", "old"]).ok().text(), "still");
    w.kelp(["rm", "old"]).ok();
}
