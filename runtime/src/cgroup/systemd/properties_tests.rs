// SPDX-License-Identifier: Apache-2.0
use super::super::super::Limits;
use super::*;

/// The properties of a resources object, as text.
fn text(json: &str) -> String {
    let limits = Limits::of(&serde_json::from_str(json).unwrap()).unwrap();
    of_writes(&limits.writes).iter().map(|(name, value)| format!("{name} {value:?}\n")).collect()
}

#[test]
fn limits_are_told_in_systemds_words() {
    assert_eq!(
        text(
            r#"{"memory": {"limit": 1000, "swap": 3000, "reservation": 500}, "pids": {"limit": -1},
                "cpu": {"shares": 1024, "quota": 50000, "period": 200000, "cpus": "0-1,9", "mems": "0"}}"#
        ),
        "TasksMax U64(18446744073709551615)\nMemorySwapMax U64(2000)\nMemoryMax U64(1000)\nMemoryLow U64(500)\n\
         CPUWeight U64(100)\nCPUQuotaPerSecUSec U64(250000)\nCPUQuotaPeriodUSec U64(200000)\n\
         AllowedCPUs Bytes([3, 2])\nAllowedMemoryNodes Bytes([1])\n"
    );
}

#[test]
fn a_quota_is_rounded_up_to_whole_percents() {
    assert_eq!(text(r#"{"cpu": {"quota": 12345}}"#), "CPUQuotaPerSecUSec U64(130000)\n");
    // Rounded up, this would be no number of 64 bits any more.
    assert_eq!(
        text(r#"{"cpu": {"quota": 9223372036854775807, "period": 1}}"#),
        "CPUQuotaPerSecUSec U64(18446744073709551615)\nCPUQuotaPeriodUSec U64(1)\n"
    );
    assert_eq!(text(r#"{"cpu": {"quota": -1}}"#), "CPUQuotaPerSecUSec U64(18446744073709551615)\n");
    assert_eq!(text(r#"{"cpu": {"idle": 1}}"#), "CPUWeight U64(0)\n");
}

#[test]
fn rates_of_devices_are_gathered() {
    assert_eq!(
        text(
            r#"{"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}, {"major": 8, "minor": 16, "rate": 0}]}}"#
        ),
        "IOWeight U64(4950)\nIODeviceWeight Rates([(\"/dev/block/8:0\", 10000)])\n\
         IOReadBandwidthMax Rates([(\"/dev/block/8:0\", 600), (\"/dev/block/8:16\", 18446744073709551615)])\n"
    );
}

#[test]
fn unified_files_are_told_too_and_strange_ones_are_not() {
    let json = r#"{"unified": {"memory.high": " 5000\n", "memory.oom.group": "1", "cpu.max": "max 5", "pids.max": "x",
                               "cpuset.cpus": "7-3", "cpuset.mems": "0-99999999999"}}"#;
    let expected = "CPUQuotaPerSecUSec U64(18446744073709551615)\nCPUQuotaPeriodUSec U64(5)\nMemoryHigh U64(5000)\n";
    assert_eq!(text(json), expected);
}

#[test]
fn annotations_name_properties_of_their_own() {
    let of = |pairs: &[(&str, &str)]| {
        let owned = pairs.iter().map(|(key, text)| (format!("org.systemd.property.{key}"), (*text).to_owned()));
        of_annotations(&owned.collect())
    };
    let pairs = [
        ("TimeoutStopUSec", "uint64 5"),
        ("RuntimeMaxSec", "7"),
        ("CollectMode", "'inactive'"),
        ("Before", r#"["a.service", 'b\'s']"#),
        ("After", "@as []"),
        ("SendSIGHUP", "true"),
    ];
    let properties = of(&pairs).unwrap();
    let expected = [
        ("After", Value::Texts(Vec::new())),
        ("Before", Value::Texts(vec!["a.service".into(), "b's".into()])),
        ("CollectMode", Value::Text("inactive".into())),
        ("RuntimeMaxUSec", Value::U64(7_000_000)),
        ("SendSIGHUP", Value::Bool(true)),
        ("TimeoutStopUSec", Value::U64(5)),
    ];
    assert_eq!(properties, expected.map(|(name, value)| (name.to_owned(), value)));
    for (name, value) in
        [("X-y", "1"), ("Before", "['a"), ("Before", "unquoted"), ("RuntimeMaxSec", "'a'"), ("Ab", "1")]
    {
        assert!(of(&[(name, value)]).is_err(), "{name} {value}");
    }
    assert!(of_annotations(&HashMap::from([("other".to_owned(), "x".to_owned())])).unwrap().is_empty());
}
