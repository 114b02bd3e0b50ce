// SPDX-License-Identifier: Apache-2.0
//! `/proc/self/mountinfo` and `/proc/self/cgroup`: mount points have any name that somebody gave them.

/// See the module.
pub fn run(bytes: &[u8]) {
    kelp_runtime::foreign::cgroups(bytes);
}
