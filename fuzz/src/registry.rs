// SPDX-License-Identifier: Apache-2.0
//! What a registry answers: the challenge of its 401, its token, its manifests and lists.

/// See the module.
pub fn run(bytes: &[u8]) {
    kelp_bundles::foreign::registry(bytes);
}
