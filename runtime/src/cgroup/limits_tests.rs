// SPDX-License-Identifier: Apache-2.0
use super::*;

/// The limits of a resources object, as text.
fn text(json: &str) -> String {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    match Limits::of(&resources) {
        Ok(limits) => {
            let mut text = String::new();
            for Write { file, value, absent } in &limits.writes {
                text += &format!("{file} = {value}");
                match absent {
                    Absent::Refuse => {}
                    Absent::Skip => text += " ?",
                    Absent::Instead(other) => text += &format!(" or {} = {}", other.file, other.value),
                }
                text += "\n";
            }
            for field in &limits.ignored {
                text += &format!("ignored {}\n", field.split(':').next().unwrap());
            }
            text
        }
        Err(error) => format!("error: {error:#}\n"),
    }
}

#[test]
fn memory_and_swap_are_taken_apart() {
    assert_eq!(
        text(r#"{"memory": {"limit": 1000, "swap": 3000, "reservation": 500}}"#),
        "memory.swap.max = 2000\nmemory.max = 1000\nmemory.low = 500\n"
    );
    assert_eq!(text(r#"{"memory": {"limit": 1000, "swap": 1000}}"#), "memory.swap.max = 0 ?\nmemory.max = 1000\n");
    assert_eq!(text(r#"{"memory": {"limit": 1000, "swap": -1}}"#), "memory.swap.max = max ?\nmemory.max = 1000\n");
    assert_eq!(text(r#"{"memory": {"limit": -1}}"#), "memory.swap.max = max ?\nmemory.max = max ?\n");
    assert_eq!(text(r#"{"memory": {"limit": 0, "swap": 0}}"#), "");
}

#[test]
fn memory_that_makes_no_sense_is_refused() {
    assert!(text(r#"{"memory": {"swap": 3000}}"#).contains("memory.limit is not"));
    assert!(text(r#"{"memory": {"limit": 2000, "swap": 1000}}"#).contains("memory.swap is 1000, memory.limit 2000"));
    assert!(text(r#"{"memory": {"limit": -5}}"#).contains("memory.limit is -5"));
}

#[test]
fn what_only_v1_had_is_ignored_by_name() {
    assert_eq!(
        text(
            r#"{"memory": {"kernel": 5, "kernelTCP": 5, "swappiness": 10, "disableOOMKiller": true, "useHierarchy": false}}"#
        ),
        "ignored memory.kernel\nignored memory.kernelTCP\nignored memory.swappiness\nignored memory.disableOOMKiller\n\
         ignored memory.useHierarchy\n"
    );
    assert_eq!(text(r#"{"memory": {"kernel": 0, "disableOOMKiller": false, "useHierarchy": true}}"#), "");
    assert_eq!(text(r#"{"cpu": {"realtimeRuntime": 5}}"#), "ignored cpu.realtimeRuntime/realtimePeriod\n");
}

#[test]
fn a_look_at_the_memory_in_use_comes_before_the_writes_if_asked_for() {
    let json = r#"{"memory": {"limit": 1000, "swap": 3000, "checkBeforeUpdate": true}}"#;
    let limits = Limits::of(&serde_json::from_str(json).unwrap()).unwrap();
    assert_eq!(limits.check, Some(MemoryCheck { limit: Some(1000), with_swap: Some(3000) }));
}

#[test]
fn shares_become_weights_on_runcs_curve() {
    let expected = [(0, None), (1, Some(1)), (2, Some(1)), (1024, Some(100)), (262_144, Some(10_000))];
    for (shares, weight) in expected {
        assert_eq!(weight_of_shares(shares), weight, "{shares} shares");
    }
    // From the table in runc's pull request 4785.
    assert_eq!(weight_of_shares(512).unwrap(), 59);
    assert_eq!(weight_of_shares(2048).unwrap(), 174);
    let mut last = 0;
    for shares in 2..=262_144 {
        let weight = weight_of_shares(shares).unwrap();
        assert!(weight >= last && weight <= 10_000);
        last = weight;
    }
}

#[test]
fn the_cpu_has_a_quota_a_period_a_burst_and_a_set() {
    assert_eq!(
        text(
            r#"{"cpu": {"shares": 1024, "quota": 50000, "period": 200000, "burst": 1000, "cpus": "0-1", "mems": "0"}}"#
        ),
        "cpu.weight = 100 ?\ncpu.max.burst = 1000\ncpu.max = 50000 200000\ncpuset.cpus = 0-1\ncpuset.mems = 0\n"
    );
    assert_eq!(text(r#"{"cpu": {"quota": -1}}"#), "cpu.max = max ?\n");
    assert_eq!(text(r#"{"cpu": {"quota": 1000}}"#), "cpu.max = 1000\n");
    assert_eq!(text(r#"{"cpu": {"period": 1000}}"#), "cpu.max = max 1000 ?\n");
    assert_eq!(text(r#"{"cpu": {"quota": 0, "period": 0, "shares": 0, "cpus": ""}}"#), "");
    assert_eq!(text(r#"{"cpu": {"idle": 1, "shares": 512}}"#), "cpu.idle = 1\nignored cpu.shares\n");
}

#[test]
fn pids_are_limited_unlimited_or_not_mentioned() {
    assert_eq!(text(r#"{"pids": {"limit": 32}}"#), "pids.max = 32\n");
    assert_eq!(text(r#"{"pids": {"limit": -1}}"#), "pids.max = max ?\n");
    assert_eq!(text(r#"{"pids": {}}"#), "");
}

#[test]
fn io_is_weighed_and_throttled() {
    assert_eq!(
        text(
            r#"{"blockIO": {"weight": 500, "leafWeight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}, {"major": 8, "minor": 16, "rate": 0}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 300}]}}"#
        ),
        "io.bfq.weight = 500 or io.weight = 4950\nio.bfq.weight = 8:0 1000 or io.weight = 8:0 10000\n\
         io.max = 8:0 rbps=600\nio.max = 8:16 rbps=max\nio.max = 8:16 wiops=300\nignored blockIO.leafWeight\n"
    );
    assert!(text(r#"{"blockIO": {"weight": 5}}"#).contains("weight 5 is not between 10 and 1000"));
}

#[test]
fn huge_pages_are_limited_twice_and_their_sizes_checked() {
    assert_eq!(
        text(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 209715200}]}"#),
        "hugetlb.2MB.max = 209715200\nhugetlb.2MB.rsvd.max = 209715200 ?\n"
    );
    for size in ["2M", "MB", "02MB", "2MB/../../x", "", "2 MB"] {
        let refused = text(&format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 1}}]}}"#));
        assert!(refused.contains("is not like 2MB"), "{size}: {refused}");
    }
}

#[test]
fn rdma_names_devices_and_counts() {
    assert_eq!(
        text(
            r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 7}, "none": {}}}"#
        ),
        "rdma.max = mlx4_0 hca_object=7\nrdma.max = mlx5_1 hca_handle=3 hca_object=10000\n"
    );
    assert!(text(r#"{"rdma": {"a b": {"hcaHandles": 3}}}"#).contains("not the name of a device"));
}

#[test]
fn unified_files_are_written_verbatim_and_last_but_stay_in_the_cgroup() {
    assert_eq!(
        text(r#"{"pids": {"limit": 9}, "unified": {"memory.high": "1G ", "cgroup.max.depth": "2"}}"#),
        "pids.max = 9\ncgroup.max.depth = 2\nmemory.high = 1G \n"
    );
    for name in ["../memory.max", "memory/max", "memory", "..", ""] {
        let rule = if name.contains("/") { "no slashes" } else { "CONTROLLER.PARAMETER" };
        assert!(text(&format!(r#"{{"unified": {{"{name}": "1"}}}}"#)).contains(rule), "{name}");
    }
}

#[test]
fn network_is_refused_unless_it_asks_for_nothing() {
    assert_eq!(text(r#"{"network": {"priorities": []}}"#), "");
    assert!(text(r#"{"network": {"classID": 1}}"#).contains("net_cls"));
    assert!(text(r#"{"network": {"priorities": [{"name": "eth0", "priority": 1}]}}"#).contains("net_prio"));
}

#[test]
fn the_controllers_that_are_needed_follow_from_the_files() {
    let json = r#"{"memory": {"limit": 1}, "blockIO": {"weight": 10}, "unified": {"cgroup.max.depth": "1", "misc.max": "x 1"}}"#;
    let limits = Limits::of(&serde_json::from_str(json).unwrap()).unwrap();
    assert_eq!(limits.needed().to_string(), "io memory misc");
}
