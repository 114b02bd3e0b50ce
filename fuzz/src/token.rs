// SPDX-License-Identifier: Apache-2.0
//! What has us log in: a registry's challenge, and the answer of the token server it names.

/// See the module.
pub fn run(bytes: &[u8]) {
    kelp_bundles::foreign::token(bytes);
}
