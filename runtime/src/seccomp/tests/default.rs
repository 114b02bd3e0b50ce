// SPDX-License-Identifier: Apache-2.0
//! Our default profile against Docker's.

use oci_spec::runtime::{Arch, LinuxSeccomp};

use super::machine::{self, Call};
use super::{capability_sets, shared_profile};
use crate::seccomp::abi::Abi;
use crate::seccomp::{compile, default_profile};

/// Values on both sides of everything that the two profiles test.
fn arguments() -> Vec<u64> {
    let mut values: Vec<u64> = (0..64).map(|bit| 1 << bit).collect();
    values.extend([0, 8, 37, 38, 39, 40, 41, 0x2_0008, 0x7e02_0000, 0xffff_ffff, u64::MAX, 1 << 32 | 40]);
    values.extend((1..=20).collect::<Vec<_>>());
    values
}

fn verdicts(profile: &LinuxSeccomp, native: Arch) -> Vec<(u32, u32, u64, u32)> {
    let program = compile(profile, native).unwrap();
    assert_eq!(program.ignored, Vec::<String>::new(), "names that nobody knows");
    machine::check(&program.filter);
    let little_endian = Abi::of(native).unwrap().little_endian;
    let mut verdicts = Vec::new();
    for abi in profile.architectures().as_ref().unwrap().iter().map(|&arch| Abi::of(arch).unwrap()) {
        for number in (0..700).map(|number| abi.base + number).chain([0xf_0001, 0xf_0002, 0xf_0005, u32::MAX]) {
            for value in arguments() {
                let call = Call { number, audit: abi.audit, arguments: [value, value, 0, 0, 0, 0] };
                verdicts.push((abi.audit, number, value, machine::run(&program.filter, &call, little_endian)));
            }
        }
    }
    verdicts
}

#[test]
fn the_default_profile_reaches_as_far_as_dockers() {
    let archs = [
        Arch::ScmpArchX86_64,
        Arch::ScmpArchAarch64,
        Arch::ScmpArchPpc64le,
        Arch::ScmpArchS390x,
        Arch::ScmpArchRiscv64,
    ];
    for arch in archs {
        for (name, capabilities) in capability_sets() {
            let ours = default_profile(&capabilities, arch);
            let Some(dockers) = shared_profile(capabilities, arch) else { return };
            for (ours, dockers) in verdicts(&ours, arch).into_iter().zip(verdicts(&dockers_with(dockers, arch), arch)) {
                assert_eq!(ours, dockers, "on {arch} with {name}: (architecture, number, argument, verdict)");
            }
        }
    }
}

/// An architecture that Docker's map does not have stands alone.
fn dockers_with(mut profile: LinuxSeccomp, arch: Arch) -> LinuxSeccomp {
    if profile.architectures().is_none() {
        profile.set_architectures(Some(vec![arch]));
    }
    profile
}
