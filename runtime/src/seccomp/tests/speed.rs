// SPDX-License-Identifier: Apache-2.0
//! How long compiling takes and how long filters get: to be read, not to be judged by a clock.
//!
//!     cargo test --release -p kelp-runtime --lib seccomp::tests::speed -- --ignored --nocapture

use std::hint::black_box;
use std::time::Instant;

use oci_spec::runtime::LinuxSeccomp;

use super::machine::{self, Call};
use super::{capability_sets, shared_profile};
use crate::seccomp::{NATIVE, compile, default_profile};

#[test]
#[ignore = "prints times"]
fn compiling_takes() {
    for (name, capabilities) in capability_sets().into_iter().take(3) {
        let started = Instant::now();
        let ours = default_profile(&capabilities, NATIVE);
        println!("default_profile({name}): {:?}", started.elapsed());
        report(&format!("ours, capabilities {name}"), &ours);
        if let Some(dockers) = shared_profile(capabilities, NATIVE) {
            report(&format!("docker's, capabilities {name}"), &dockers);
        }
    }
}

fn report(what: &str, profile: &LinuxSeccomp) {
    let first = Instant::now();
    let filter = compile(profile, NATIVE).unwrap().filter;
    let first = first.elapsed();
    let mut times: Vec<_> = (0..1000)
        .map(|_| {
            let started = Instant::now();
            black_box(compile(black_box(profile), NATIVE).unwrap());
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{what}: {} instructions, first {first:?}, median {:?}, least {:?}, {} run on average",
        filter.len(),
        times[500],
        times[0],
        average(&filter)
    );
}

/// How many instructions a call of x86_64 without regard to its arguments takes.
fn average(filter: &[kelp_sys::seccomp::SockFilter]) -> f64 {
    let mut steps = 0;
    for number in 0..450 {
        let call = Call { number, audit: NATIVE as u32, arguments: [0; 6] };
        machine::watch(filter, &call, true, |_| steps += 1);
    }
    f64::from(steps) / 450.0
}
