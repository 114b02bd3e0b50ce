// SPDX-License-Identifier: Apache-2.0
//! Our default profile against Docker's.

use oci_spec::runtime::{Arch, LinuxSeccomp};

use super::machine::{self, Call};
use super::{capability_sets, shared_profile};
use crate::seccomp::abi::Abi;
use crate::seccomp::rule::verdict;
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
            let hidden = stricter_than_docker(arch);
            for (ours, dockers) in verdicts(&ours, arch).into_iter().zip(verdicts(&dockers_with(dockers, arch), arch)) {
                if hidden(ours.0, ours.1, ours.2) {
                    assert_eq!(ours.3, verdict::ERRNO | 1, "on {arch} with {name}: {ours:x?}");
                    continue;
                }
                assert_eq!(ours, dockers, "on {arch} with {name}: (architecture, number, argument, verdict)");
            }
        }
    }
}

/// Where ours denies what Docker's lets through: a socket whose family is behind `socketcall`'s pointer, or in the low half
/// of an argument whose high half hides it, and families that no kernel has.
fn stricter_than_docker(native: Arch) -> impl Fn(u32, u32, u64) -> bool {
    let profile = default_profile(&[].into(), native);
    let mut found = Vec::new();
    for abi in profile.architectures().iter().flatten().map(|&arch| Abi::of(arch).unwrap()) {
        let calls = abi.calls.iter().filter(|call| ["socket", "socketcall"].contains(&call.name.text()));
        found.extend(calls.map(|call| (abi.audit, abi.base + call.number, call.name.text(), abi.wide)));
    }
    move |audit, number, value| {
        let call = found.iter().find(|call| (call.0, call.1) == (audit, number));
        let low = value & u64::from(u32::MAX);
        match call {
            Some((_, _, "socketcall", _)) => low == 1 || !(1..=20).contains(&low),
            Some((.., wide)) => {
                if *wide {
                    value > 63
                } else {
                    low > 63
                }
            }
            None => false,
        }
    }
}

#[test]
fn no_way_leads_to_a_family_of_addresses_that_is_denied() {
    let verdict_of = |arch: Arch, number: u32, value: u64| {
        let program = compile(&default_profile(&[].into(), Arch::ScmpArchX86_64), Arch::ScmpArchX86_64).unwrap();
        let call = Call { number, audit: Abi::of(arch).unwrap().audit, arguments: [value, 0, 0, 0, 0, 0] };
        machine::run(&program.filter, &call, true)
    };
    let (x86_64, x86, denied) = (Arch::ScmpArchX86_64, Arch::ScmpArchX86, verdict::ERRNO | 1);
    for family in [38, 40, 1 << 32 | 38, 1 << 63 | 40] {
        assert_eq!(verdict_of(x86_64, 41, family), denied, "socket({family:#x})");
        assert_eq!(verdict_of(x86, 359, family), denied, "socket({family:#x}) of i386");
        assert_eq!(verdict_of(Arch::ScmpArchX32, 0x4000_0000 + 41, family), denied, "socket({family:#x}) of x32");
    }
    assert_eq!(verdict_of(x86, 102, 1), denied, "socketcall(SYS_SOCKET)");
    for family in [1, 2, 10, 16, 39, 41, 45] {
        assert_eq!(verdict_of(x86_64, 41, family), verdict::ALLOW, "socket({family})");
    }
    // A descriptor that came from elsewhere can be used: connect, sendmsg, shmget through ipc.
    assert_eq!([3, 16].map(|call| verdict_of(x86, 102, call)), [verdict::ALLOW; 2]);
    assert_eq!(verdict_of(x86, 117, 23), verdict::ALLOW);
}

/// An architecture that Docker's map does not have stands alone.
fn dockers_with(mut profile: LinuxSeccomp, arch: Arch) -> LinuxSeccomp {
    if profile.architectures().is_none() {
        profile.set_architectures(Some(vec![arch]));
    }
    profile
}
