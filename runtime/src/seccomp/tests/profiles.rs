// SPDX-License-Identifier: Apache-2.0
//! Profiles of all kinds, made for proptest.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Few names, so that rules meet: plain ones, multiplexed ones and their carriers, some of one architecture alone, and
/// one of none.
const NAMES: [&str; 20] = [
    "read",
    "write",
    "openat",
    "personality",
    "clone",
    "clone3",
    "socket",
    "connect",
    "accept",
    "recvmmsg",
    "socketcall",
    "semop",
    "shmat",
    "ipc",
    "arch_prctl",
    "breakpoint",
    "waitpid",
    "futex_waitv",
    "fchmodat2",
    "no_such_call",
];

/// Values near the edges of words.
const VALUES: [u64; 13] = [
    0,
    1,
    2,
    5,
    6,
    0xff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0x5_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

/// The little-endian architectures that libseccomp 2.5 knows.
const ARCHITECTURES: [Arch; 11] = [
    Arch::ScmpArchNative,
    Arch::ScmpArchX86,
    Arch::ScmpArchX86_64,
    Arch::ScmpArchX32,
    Arch::ScmpArchArm,
    Arch::ScmpArchAarch64,
    Arch::ScmpArchMipsel,
    Arch::ScmpArchMipsel64,
    Arch::ScmpArchMipsel64n32,
    Arch::ScmpArchPpc64le,
    Arch::ScmpArchRiscv64,
];

pub(super) fn value() -> impl Strategy<Value = u64> {
    prop_oneof![6 => select(&VALUES[..]), 1 => any::<u64>()]
}

fn argument() -> impl Strategy<Value = LinuxSeccompArg> {
    use LinuxSeccompOperator as Op;
    let operators =
        [Op::ScmpCmpNe, Op::ScmpCmpLt, Op::ScmpCmpLe, Op::ScmpCmpEq, Op::ScmpCmpGe, Op::ScmpCmpGt, Op::ScmpCmpMaskedEq];
    (0..3_usize, select(operators.to_vec()), value(), proptest::option::of(value())).prop_map(
        |(index, op, value, two)| {
            let arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
            two.into_iter().fold(arg, LinuxSeccompArgBuilder::value_two).build().unwrap()
        },
    )
}

fn action() -> impl Strategy<Value = (LinuxSeccompAction, Option<u32>)> {
    use LinuxSeccompAction as Action;
    let data = prop_oneof![Just(None), Just(Some(1)), Just(Some(38)), (0..4095_u32).prop_map(Some)];
    let simple = [Action::ScmpActKill, Action::ScmpActKillProcess, Action::ScmpActTrap, Action::ScmpActLog];
    prop_oneof![
        3 => Just((Action::ScmpActAllow, None)),
        3 => data.clone().prop_map(|data| (Action::ScmpActErrno, data)),
        1 => data.prop_map(|data| (Action::ScmpActTrace, data)),
        1 => select(simple.to_vec()).prop_map(|action| (action, None)),
    ]
}

fn syscall() -> impl Strategy<Value = LinuxSyscall> {
    (subsequence(NAMES.to_vec(), 1..4), action(), vec(argument(), 0..4)).prop_map(|(names, (action, data), args)| {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let rule = LinuxSyscallBuilder::default().names(names).action(action);
        let rule = if args.is_empty() { rule } else { rule.args(args) };
        data.into_iter().fold(rule, LinuxSyscallBuilder::errno_ret).build().unwrap()
    })
}

/// A profile that libseccomp may take too.
pub(super) fn profile() -> impl Strategy<Value = LinuxSeccomp> {
    (action(), proptest::option::of(subsequence(ARCHITECTURES.to_vec(), 0..6)), vec(syscall(), 0..10)).prop_map(
        |((action, data), architectures, syscalls)| {
            let profile = LinuxSeccompBuilder::default().default_action(action).syscalls(syscalls);
            let profile = data.into_iter().fold(profile, LinuxSeccompBuilder::default_errno_ret);
            architectures.into_iter().fold(profile, LinuxSeccompBuilder::architectures).build().unwrap()
        },
    )
}
