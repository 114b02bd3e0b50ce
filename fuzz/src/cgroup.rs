// SPDX-License-Identifier: Apache-2.0
//! config.json, and what becomes of its resources under each manager: limits, the device program's rules, a scope.

use std::path::PathBuf;

use kelp_runtime::cgroup::{Controllers, Facts, Level, Manager, Mount, plan};
use oci_spec::runtime::Spec;

/// See the module.
pub fn run(config: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Spec>(config) else { return };
    let controllers = Controllers::parse(b"cpuset cpu io memory hugetlb pids rdma");
    let top = PathBuf::from("/sys/fs/cgroup");
    let level = Level { dir: top.clone(), available: controllers, enabled: controllers, populated: false };
    let mount = Some(Mount { at: top, root: "/".into() });
    for rootless in [false, true] {
        let facts = Facts {
            mount: mount.clone(),
            top: (!rootless).then(|| level.clone()),
            delegated: if rootless { vec![level.clone()] } else { Vec::new() },
            v1: Controllers::default(),
        };
        for manager in [Manager::Cgroupfs, Manager::Systemd, Manager::Disabled] {
            // A refusal is as good as a plan; only a panic is not.
            drop(plan(&spec, "fuzz", &facts, manager, rootless).map(|plan| plan.to_string()));
        }
    }
}
