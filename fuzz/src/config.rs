// SPDX-License-Identifier: Apache-2.0
//! config.json, and the plan that is made of it, for root and for a user.

use kelp_runtime::bundle::Bundle;
use kelp_runtime::host::Host;
use kelp_runtime::plan::{Options, Plan};

/// See the module.
pub fn run(config: &[u8]) {
    let folder = crate::scratch::empty("config");
    std::fs::create_dir_all(folder.join("rootfs")).expect("a root file system");
    std::fs::write(folder.join("config.json"), config).expect("config.json");
    let Ok(bundle) = Bundle::read(&folder) else { return };
    for privileged in [true, false] {
        let host = Host {
            uid: if privileged { 0 } else { 1000 },
            gid: if privileged { 0 } else { 1000 },
            may_administer: privileged,
            may_map_ids: privileged,
            nested: !privileged,
            cwd: "/".into(),
        };
        // A refusal is as good as a plan; only a panic is not.
        drop(Plan::make(&bundle, &folder, "fuzz", &host, Options::default()));
    }
}
