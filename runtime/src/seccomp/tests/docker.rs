// SPDX-License-Identifier: Apache-2.0
//! Docker's dialect, claim by claim.

use oci_spec::runtime::{Arch, Capability, LinuxSeccomp};
use serde_json::{Value, json};

use crate::seccomp::{Host, read_profile};
use crate::{Error, Kind};

fn host(arch: Arch) -> Host {
    Host { arch, kernel: (5, 14), capabilities: [Capability::SysTime].into() }
}

fn read(json: Value) -> Result<LinuxSeccomp, Error> {
    read_profile(&json.to_string(), &host(Arch::ScmpArchX86_64))
}

/// Which of the calls named by the conditions on them are in the profile.
fn chosen(rules: Value) -> Vec<String> {
    let profile = read(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})).unwrap();
    profile.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect()
}

fn rule(name: &str, condition: Value) -> Value {
    let mut rule = json!({"names": [name], "action": "SCMP_ACT_ALLOW"});
    rule.as_object_mut().unwrap().extend(condition.as_object().unwrap().clone());
    rule
}

#[test]
fn includes_need_all_of_it_and_excludes_any() {
    let rules = json!([
        rule("held", json!({"includes": {"caps": ["CAP_SYS_TIME"]}})),
        rule("not_both", json!({"includes": {"caps": ["CAP_SYS_TIME", "CAP_SYS_ADMIN"]}})),
        rule("nobody_knows", json!({"includes": {"caps": ["CAP_FROBNICATE"]}})),
        rule("excluded", json!({"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_TIME"]}})),
        rule("not_excluded", json!({"excludes": {"caps": ["CAP_SYS_ADMIN"]}})),
        rule("here", json!({"includes": {"arches": ["arm64", "amd64"]}})),
        rule("elsewhere", json!({"includes": {"arches": ["arm64"]}})),
        rule("not_here", json!({"excludes": {"arches": ["amd64"]}})),
        rule("old", json!({"includes": {"minKernel": "5.14"}})),
        rule("new", json!({"includes": {"minKernel": "5.15"}})),
        rule("till", json!({"excludes": {"minKernel": "4.8"}})),
        rule("empty", json!({"includes": {}, "excludes": null, "args": null, "comment": ""})),
    ]);
    assert_eq!(chosen(rules), ["held", "not_excluded", "here", "old", "empty"]);
}

#[test]
fn the_host_takes_its_family_from_the_map() {
    let map = json!([
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null},
    ]);
    let text = json!({"defaultAction": "SCMP_ACT_ALLOW", "archMap": map}).to_string();
    let family = |arch| read_profile(&text, &host(arch)).unwrap().architectures().clone();
    assert_eq!(family(Arch::ScmpArchX86_64), Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86]));
    assert_eq!(family(Arch::ScmpArchRiscv64), Some(vec![Arch::ScmpArchRiscv64]));
    assert_eq!(family(Arch::ScmpArchPpc64le), None);
}

#[test]
fn a_profile_as_the_spec_has_it_comes_out_as_it_is() {
    let json = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"], "flags": [],
        "listenerPath": "/run/agent.sock", "listenerMetadata": "web",
        "syscalls": [{
            "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7,
            "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
        }],
    });
    assert_eq!(read(json.clone()).unwrap(), serde_json::from_value(json).unwrap());
}

#[test]
fn what_contradicts_itself_or_is_malformed_is_refused() {
    let default = "SCMP_ACT_ALLOW";
    let map = json!([{"architecture": "SCMP_ARCH_X86", "subArchitectures": []}]);
    let both = json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "archMap": map});
    let kernel = rule("read", json!({"includes": {"minKernel": "new"}}));
    let cases = [
        (both, "archMap"),
        (json!({"defaultAction": default, "syscalls": [rule("read", json!({"name": "write"}))]}), "names"),
        (json!({"defaultAction": default, "syscalls": [kernel]}), "minKernel"),
        (json!({"defaultAction": "SCMP_ACT_FROB"}), "column"),
        (json!({}), "defaultAction"),
    ];
    for (json, word) in cases {
        let error = read(json).unwrap_err();
        assert!(error.kind() == Kind::BadInput && error.cause().unwrap().contains(word), "{error:#}");
    }
}

#[test]
fn the_old_singular_name_is_understood() {
    let json = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW"}]});
    assert_eq!(read(json).unwrap().syscalls().as_ref().unwrap()[0].names(), &["read".to_owned()]);
}
