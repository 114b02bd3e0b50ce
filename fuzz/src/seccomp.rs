// SPDX-License-Identifier: Apache-2.0
//! An OCI seccomp profile: whatever compiles obeys the rules by which the kernel accepts filters.

use kelp_runtime::seccomp::{NATIVE, compile};
use oci_spec::runtime::LinuxSeccomp;

const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const JUMP_ALWAYS: u16 = 0x05;

/// See the module.
pub fn run(bytes: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(bytes) else { return };
    let Ok(program) = compile(&profile, NATIVE) else { return };
    let filter = &program.filter;
    assert!(!filter.is_empty() && filter.len() <= 4096, "{} instructions", filter.len());
    assert_eq!(filter.last().map(|i| i.code & 7), Some(RETURN), "the last instruction does not return");
    for (at, instruction) in filter.iter().enumerate() {
        if instruction.code & 7 != JUMP {
            continue;
        }
        let left = filter.len() - at - 1;
        if instruction.code == JUMP_ALWAYS {
            assert!((instruction.k as usize) < left, "instruction {at} jumps out of the filter");
        } else {
            let furthest = usize::from(instruction.jt.max(instruction.jf));
            assert!(furthest < left, "instruction {at} jumps out of the filter");
        }
    }
}
