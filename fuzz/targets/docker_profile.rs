// SPDX-License-Identifier: Apache-2.0
//! A seccomp profile in Docker's dialect (`--security-opt seccomp=FILE`), and what is compiled of it.
#![no_main]

use kelp_runtime::seccomp::{Host, NATIVE, compile, read_profile};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let host = Host { arch: NATIVE, kernel: (6, 1), capabilities: Default::default() };
    if let Ok(profile) = read_profile(text, &host) {
        drop(compile(&profile, NATIVE));
    }
});
