// SPDX-License-Identifier: Apache-2.0
//! Whatever a profile may say: it compiles to what the kernel takes, or is refused, and nothing panics.

use oci_spec::runtime::{Arch, LinuxSeccomp};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::machine;
use super::{capability_sets, dockers_text};
use crate::seccomp::number::{NAMES, Name};
use crate::seccomp::{Host, compile, read_profile};

const ACTIONS: [&str; 9] = ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO", "NOTIFY", "TRACE", "LOG", "ALLOW"];
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
const ARCHS: [&str; 25] = [
    "NATIVE",
    "X86",
    "X86_64",
    "X32",
    "ARM",
    "AARCH64",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "RISCV64",
    "LOONGARCH64",
    "M68K",
    "SH",
    "SHEB",
    "X86",
];
const FLAGS: [&str; 4] = ["LOG", "TSYNC", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"];

fn word(prefix: &'static str, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words).prop_map(move |word| format!("{prefix}{word}"))
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![9 => (0..NAMES as u16).prop_map(|at| Name(at).text().to_owned()), 1 => ".*"]
}

fn argument() -> impl Strategy<Value = Value> {
    let index = prop_oneof![20 => 0..6_u64, 1 => any::<u64>()];
    let fields = (index, any::<u64>(), of(any::<u64>()), word("SCMP_CMP_", &OPERATORS));
    fields.prop_map(|(index, value, two, op)| json!({"index": index, "value": value, "valueTwo": two, "op": op}))
}

fn rule() -> impl Strategy<Value = Value> {
    let errno = of(prop_oneof![8 => 0..4200_u32, 1 => any::<u32>()]);
    (vec(name(), 0..40), word("SCMP_ACT_", &ACTIONS), errno, of(vec(argument(), 0..8))).prop_map(
        |(names, action, errno, args)| json!({"names": names, "action": action, "errnoRet": errno, "args": args}),
    )
}

fn profile() -> impl Strategy<Value = Value> {
    let action = word("SCMP_ACT_", &ACTIONS);
    let (archs, flags) =
        (of(vec(word("SCMP_ARCH_", &ARCHS), 0..25)), of(vec(word("SECCOMP_FILTER_FLAG_", &FLAGS), 0..5)));
    (action, of(0..5000_u32), archs, flags, of(vec(rule(), 0..30))).prop_map(|(action, errno, archs, flags, rules)| {
        json!({
            "defaultAction": action, "defaultErrnoRet": errno, "architectures": archs, "flags": flags, "syscalls": rules,
        })
    })
}

fn arch() -> impl Strategy<Value = Arch> {
    word("SCMP_ARCH_", &ARCHS).prop_map(|name| serde_json::from_value(Value::String(name)).unwrap())
}

/// Compiles if that is possible, and checks what comes out.
fn tried(profile: &LinuxSeccomp, native: Arch) {
    if let Ok(program) = compile(profile, native) {
        machine::check(&program.filter);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_profile_compiles_or_is_refused(profile in profile(), native in arch()) {
        tried(&serde_json::from_value(profile).unwrap(), native);
    }

    #[test]
    fn any_text_is_read_or_refused(edits in vec((any::<prop::sample::Index>(), "[a-z0-9{}\\[\\]\",:]{0,4}"), 0..6), arch in arch()) {
        let Some(mut text) = dockers_text() else { return Ok(()) };
        for (at, new) in edits {
            let at = at.index(text.len());
            text.replace_range(at..(at + 3).min(text.len()), &new);
        }
        let (_, capabilities) = capability_sets().remove(1);
        if let Ok(profile) = read_profile(&text, &Host { arch, kernel: (6, 1), capabilities }) {
            tried(&profile, arch);
        }
    }
}
