// SPDX-License-Identifier: Apache-2.0
//! What criu answers: its version, where it is, how it ended.

/// See the module.
pub fn run(message: &[u8]) {
    kelp_runtime::foreign::criu(message);
}
