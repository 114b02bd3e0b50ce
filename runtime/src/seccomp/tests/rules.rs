// SPDX-License-Identifier: Apache-2.0
//! What a profile means, claim by claim.

use kelp_sys::seccomp::Flags;
use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::{Value, json};

use super::machine::{self, Call};
use crate::seccomp::abi::{Abi, X86_64_AUDIT};
use crate::seccomp::rule::verdict;
use crate::seccomp::{Program, compile};
use crate::{Error, Kind};

fn profile(json: Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

fn compiled(json: Value, native: Arch) -> Program {
    compile(&profile(json), native).unwrap()
}

fn refusal(json: Value) -> Error {
    let error = compile(&profile(json), Arch::ScmpArchX86_64).unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput);
    error
}

/// The verdict on call `number` of `arch`, with `arguments`.
fn verdict_on(program: &Program, arch: Arch, number: u32, arguments: [u64; 6]) -> u32 {
    let abi = Abi::of(arch).unwrap();
    let call = Call { number: number + abi.base, audit: abi.audit, arguments };
    machine::run(&program.filter, &call, abi.little_endian)
}

/// The verdict on an x86_64 call without arguments.
fn verdict_of(json: Value, number: u32) -> u32 {
    verdict_on(&compiled(json, Arch::ScmpArchX86_64), Arch::ScmpArchX86_64, number, [0; 6])
}

const ERRNO_1: u32 = verdict::ERRNO | 1;

#[test]
fn absent_flags_mean_spec_allow_and_an_empty_list_means_none() {
    let flags = |flags: Value| {
        let mut json = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        json.as_object_mut().unwrap().extend(flags.as_array().map(|_| ("flags".to_owned(), flags.clone())));
        compiled(json, Arch::ScmpArchX86_64).flags
    };
    assert_eq!(flags(Value::Null), Flags::SPEC_ALLOW);
    assert_eq!(flags(json!([])), Flags::default());
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG"])), Flags::LOG);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC"])), Flags::default());
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])), Flags::default());
}

#[test]
fn notify_asks_for_a_listener() {
    let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    let flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"];
    let json = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "flags": flags});
    assert_eq!(compiled(json.clone(), Arch::ScmpArchX86_64).flags, Flags::NEW_LISTENER.with(Flags::WAIT_KILLABLE));
    assert_eq!(verdict_of(json, 83), verdict::NOTIFY);
}

#[test]
fn notify_cannot_be_the_default() {
    assert!(refusal(json!({"defaultAction": "SCMP_ACT_NOTIFY"})).to_string().contains("default action"));
}

#[test]
fn a_call_newer_than_the_profile_does_not_exist() {
    let rule = json!({"names": ["openat2"], "action": "SCMP_ACT_ALLOW"});
    let json = |default| json!({"defaultAction": default, "syscalls": [rule]});
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        assert_eq!(verdict_of(json(default), 438), verdict::NO_SUCH_CALL, "{default}");
        assert_eq!(verdict_of(json(default), 900), verdict::NO_SUCH_CALL, "{default}");
        assert_eq!(verdict_of(json(default), 437), verdict::ALLOW, "{default}");
        assert_ne!(verdict_of(json(default), 436), verdict::NO_SUCH_CALL, "{default}");
    }
    assert_eq!(verdict_of(json("SCMP_ACT_LOG"), 438), verdict::LOG);
}

#[test]
fn a_profile_that_names_nothing_is_its_default_alone() {
    assert_eq!(verdict_of(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5}), 438), verdict::ERRNO | 5);
}

#[test]
fn s390_multiplexes_calls_that_it_does_not_know_into_number_0() {
    let rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}), Arch::ScmpArchS390x);
    assert_eq!(verdict_on(&program, Arch::ScmpArchS390x, 0, [0; 6]), verdict::NO_SUCH_CALL);
    assert_eq!(verdict_on(&program, Arch::ScmpArchS390x, 1, [0; 6]), ERRNO_1);
}

#[test]
fn x32_is_killed_unless_it_is_listed_and_then_has_its_own_numbers() {
    let rule = json!({"names": ["execve", "read"], "action": "SCMP_ACT_ALLOW"});
    let mut json = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]});
    let alone = compiled(json.clone(), Arch::ScmpArchX86_64);
    assert_eq!(verdict_on(&alone, Arch::ScmpArchX32, 0, [0; 6]), verdict::KILL_THREAD);
    json["architectures"] = json!(["SCMP_ARCH_X32", "SCMP_ARCH_X86_64"]);
    let both = compiled(json, Arch::ScmpArchX86_64);
    assert_eq!(verdict_on(&both, Arch::ScmpArchX32, 0, [0; 6]), verdict::ALLOW);
    assert_eq!(verdict_on(&both, Arch::ScmpArchX32, 520, [0; 6]), verdict::ALLOW);
    assert_eq!(verdict_on(&both, Arch::ScmpArchX32, 59, [0; 6]), ERRNO_1);
    assert_eq!(verdict_on(&both, Arch::ScmpArchX86_64, 59, [0; 6]), verdict::ALLOW);
}

#[test]
fn an_architecture_that_is_not_listed_is_killed() {
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW"}), Arch::ScmpArchX86_64);
    assert_eq!(verdict_on(&program, Arch::ScmpArchX86, 1, [0; 6]), verdict::KILL_THREAD);
    assert_eq!(program.filter.len(), 7, "{:x?}", program.filter);
}

#[test]
fn the_other_byte_order_is_passed_over_and_told() {
    let architectures = ["SCMP_ARCH_S390X", "SCMP_ARCH_NATIVE", "SCMP_ARCH_ARM"];
    let json = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures});
    assert_eq!(compiled(json, Arch::ScmpArchX86_64).ignored, ["SCMP_ARCH_S390X"]);
}

#[test]
fn an_unknown_call_is_passed_over_and_told() {
    let rule = json!({"names": ["frobnicate", "read"], "action": "SCMP_ACT_ALLOW"});
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}), Arch::ScmpArchX86_64);
    assert_eq!(program.ignored, ["frobnicate"]);
    assert_eq!(verdict_on(&program, Arch::ScmpArchX86_64, 0, [0; 6]), verdict::ALLOW);
}

#[test]
fn masked_eq_has_the_mask_first_and_the_datum_second() {
    let arg = json!({"index": 0, "value": 0xf0, "valueTwo": 0x1f, "op": "SCMP_CMP_MASKED_EQ"});
    let rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [arg]});
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}), Arch::ScmpArchX86_64);
    let on = |value| verdict_on(&program, Arch::ScmpArchX86_64, 0, [value, 0, 0, 0, 0, 0]);
    assert_eq!(
        [0x10, 0x1f, 0x20, 0, 0x1_0000_0210].map(on),
        [0x10, 0x1f, 0, 0, 0x210].map(|ok| match ok {
            0 => ERRNO_1,
            _ => verdict::ALLOW,
        })
    );
}

#[test]
fn a_big_endian_machine_has_the_high_word_first() {
    let arg = json!({"index": 5, "value": 0x1_0000_0002_u64, "op": "SCMP_CMP_GT"});
    let rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [arg]});
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}), Arch::ScmpArchS390x);
    let on = |value| verdict_on(&program, Arch::ScmpArchS390x, 3, [0, 0, 0, 0, 0, value]);
    assert_eq!([0x1_0000_0002, 3, 0x2_0000_0001_0000].map(on), [ERRNO_1, ERRNO_1, verdict::ALLOW]);
    assert_eq!(on(0x1_0000_0003), verdict::ALLOW);
}

#[test]
fn the_first_rule_without_arguments_wins() {
    let arg = json!({"index": 0, "value": 0, "op": "SCMP_CMP_EQ"});
    let rules = json!([
        {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [arg]},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["read"], "action": "SCMP_ACT_LOG"},
    ]);
    assert_eq!(verdict_of(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}), 0), verdict::ALLOW);
}

#[test]
fn contradictions_are_refused_with_the_name_of_the_call() {
    let rule =
        |action| json!({"names": ["mkdir"], "action": action, "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]});
    let rules = [rule("SCMP_ACT_ALLOW"), rule("SCMP_ACT_TRAP")];
    let error = refusal(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    assert!(error.cause().unwrap().contains("mkdir") && error.advice().is_some(), "{error:#}");
}

#[test]
fn what_no_filter_can_do_is_refused() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let arg = json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"});
    let cases = [
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [arg]})), "(6 given)"),
        (rule(json!({"names": [""], "action": "SCMP_ACT_TRAP"})), "empty"),
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095})), "4095"),
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})), "65536"),
        (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}), "70000"),
    ];
    for (json, word) in cases {
        assert!(refusal(json).cause().unwrap().contains(word), "{word}");
    }
}

#[test]
fn a_filter_longer_than_the_kernel_takes_is_refused() {
    let rules = |count: u64| -> Vec<Value> {
        let arg = |value| json!({"index": value % 6, "value": value << 33 | value, "op": "SCMP_CMP_EQ"});
        let args = |value| json!([arg(value), arg(value + 1)]);
        (0..count).map(|value| json!({"names": ["read"], "action": "SCMP_ACT_TRAP", "args": args(value)})).collect()
    };
    let json = |count| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules(count)});
    machine::check(&compiled(json(400), Arch::ScmpArchX86_64).filter);
    assert!(refusal(json(600)).cause().unwrap().contains("4096"));
}

#[test]
fn values_one_after_the_other_become_ranges() {
    let rules: Vec<Value> = (100..800_u64)
        .map(|value| {
            let arg = json!({"index": 1, "value": value, "op": "SCMP_CMP_EQ"});
            json!({"names": ["ioctl"], "action": "SCMP_ACT_TRAP", "args": [arg]})
        })
        .collect();
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}), Arch::ScmpArchX86_64);
    assert!(program.filter.len() < 20, "{} instructions", program.filter.len());
    let on = |value| verdict_on(&program, Arch::ScmpArchX86_64, 16, [0, value, 0, 0, 0, 0]);
    assert_eq!(
        [99, 100, 799, 800, 1 << 32 | 100].map(on).map(|one| one == verdict::TRAP),
        [false, true, true, false, false]
    );
}

#[test]
fn the_kernel_can_tell_which_calls_are_always_allowed() {
    // Up to the verdict only what `seccomp_is_const_allow` follows: loads of number and architecture, tests, jumps, returns.
    let program =
        compile(&crate::seccomp::default_profile(&[].into(), Arch::ScmpArchX86_64), Arch::ScmpArchX86_64).unwrap();
    let read = Call { number: 0, audit: X86_64_AUDIT, arguments: [0; 6] };
    let mut way = Vec::new();
    assert_eq!(machine::watch(&program.filter, &read, true, |at| way.push(program.filter[at])), verdict::ALLOW);
    assert!(way.iter().all(|one| one.code != 0x20 || one.k <= 4), "{way:x?}");
    assert!(way.len() < 16, "{} instructions", way.len());
}

#[test]
fn what_a_carrier_hides_is_judged_by_the_strictest_rule() {
    let arg = |value| json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
    let program = |default: &str, rules: Value| {
        let json = json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": rules});
        compiled(json, Arch::ScmpArchX86_64)
    };
    let by =
        |program: &Program, number, selector| verdict_on(program, Arch::ScmpArchX86, number, [selector, 0, 0, 0, 0, 0]);
    let some =
        program("SCMP_ACT_ERRNO", json!([{"names": ["socket", "shmget"], "action": "SCMP_ACT_ALLOW", "args": arg(2)}]));
    assert_eq!([by(&some, 359, 2), by(&some, 102, 1), by(&some, 117, 23)], [verdict::ALLOW, ERRNO_1, ERRNO_1]);
    let rules = json!([
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": arg(40)},
        {"names": ["socket"], "action": "SCMP_ACT_TRAP", "args": arg(38)},
        {"names": ["connect"], "action": "SCMP_ACT_LOG"},
    ]);
    let but = program("SCMP_ACT_ALLOW", rules);
    assert_eq!([1, 2, 3].map(|call| by(&but, 102, call)), [verdict::TRAP, verdict::ALLOW, verdict::LOG]);
    // A profile that names the carrier has decided.
    let all = program(
        "SCMP_ACT_ERRNO",
        json!([
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": arg(2)},
            {"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"},
        ]),
    );
    assert_eq!(by(&all, 102, 1), verdict::ALLOW);
}
