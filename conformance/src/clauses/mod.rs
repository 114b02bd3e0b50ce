// SPDX-License-Identifier: Apache-2.0
//! The runtime-spec 1.3, sentence by sentence. A file per chapter; cases in the order of the text.

mod cgroups;
mod devices;
mod features;
mod hooks;
mod lifecycle;
mod linux;
mod mounts;
mod namespaces;
mod operations;
mod process;
mod root;
mod seccomp;
mod state;

use crate::case::Case;

/// Every case.
pub(crate) fn all() -> Vec<&'static Case> {
    let chapters: &[&'static [Case]] = &[
        state::CASES,
        lifecycle::CASES,
        operations::CASES,
        root::CASES,
        mounts::CASES,
        process::CASES,
        hooks::CASES,
        linux::RUNTIME_CASES,
        namespaces::CASES,
        devices::CASES,
        cgroups::CASES,
        linux::CASES,
        seccomp::CASES,
        features::CASES,
    ];
    chapters.iter().flat_map(|c| c.iter()).collect()
}
