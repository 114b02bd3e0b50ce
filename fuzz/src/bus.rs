// SPDX-License-Identifier: Apache-2.0
//! What comes from systemd over the message bus.

/// See the module.
pub fn run(bytes: &[u8]) {
    kelp_runtime::foreign::bus(bytes);
}
