// SPDX-License-Identifier: Apache-2.0
//! docker's `config.json`, which several programs write: logins are found or there are none.

/// See the module.
pub fn run(bytes: &[u8]) {
    kelp_bundles::foreign::logins(bytes);
}
