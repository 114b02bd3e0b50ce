// SPDX-License-Identifier: Apache-2.0
//! An OCI seccomp profile: whatever compiles obeys the rules by which the kernel takes filters.

use kelp_runtime::seccomp::{NATIVE, compile};
use oci_spec::runtime::{Arch, LinuxSeccomp};

/// Machines to compile for: ours, those that are released for, and one of the other byte order.
const MACHINES: [Arch; 4] = [NATIVE, Arch::ScmpArchX86_64, Arch::ScmpArchAarch64, Arch::ScmpArchS390x];

/// See the module.
pub fn run(bytes: &[u8]) {
    if let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(bytes) {
        compiles_to_filters(&profile);
    }
}

pub(crate) fn compiles_to_filters(profile: &LinuxSeccomp) {
    for machine in MACHINES {
        if let Ok(program) = compile(profile, machine)
            && let Err(why) = crate::filter::check(&program.filter)
        {
            panic!("for {machine}, of {} instructions: {why}", program.filter.len());
        }
    }
}
