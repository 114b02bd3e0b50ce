// SPDX-License-Identifier: Apache-2.0
//! A seccomp profile in Docker's dialect (`--security-opt seccomp=FILE`), and the filters that are compiled of it.

use kelp_runtime::seccomp::{Host, NATIVE, read_profile};

/// See the module.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let host = Host { arch: NATIVE, kernel: (6, 1), capabilities: Default::default() };
    if let Ok(profile) = read_profile(text, &host) {
        crate::seccomp::compiles_to_filters(&profile);
    }
}
