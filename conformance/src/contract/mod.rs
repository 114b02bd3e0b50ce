// SPDX-License-Identifier: Apache-2.0
//! The second suite: what podman, docker, containerd and CRI-O expect of a runtime's command line, beyond the spec.

pub(crate) mod console;
mod engine;
mod verbs;

use crate::case::Case;

/// Every case.
pub(crate) fn all() -> Vec<&'static Case> {
    let chapters: &[&'static [Case]] = &[engine::CASES, verbs::CASES];
    chapters.iter().flat_map(|c| c.iter()).collect()
}
