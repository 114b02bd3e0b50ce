// SPDX-License-Identifier: Apache-2.0
//! Reads a seccomp profile: the OCI's form, or Docker's with its conditions (`includes`, `excludes`, `archMap`).
//!
//! Docker's conditions are decided here, for this container's capabilities, this machine and this kernel, so that the
//! runtime sees a plain OCI profile.

use crate::error::{Error, Kind, Result};
use oci_spec::runtime::{Capabilities, LinuxSeccomp};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a profile's conditions ask about.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The container's capabilities.
    pub(crate) capabilities: &'a Capabilities,
    /// The machine in Docker's words: `amd64`, `arm64`.
    pub(crate) machine: &'a str,
    /// The kernel's version, first two numbers.
    pub(crate) kernel: (u32, u32),
}

/// A condition of one rule; all of its parts must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// The profile in `json`, its conditions decided.
pub(crate) fn read(json: &str, facts: &Facts<'_>) -> Result<LinuxSeccomp> {
    let bad = |because: String| Error::new(Kind::BadInput, "cannot use the seccomp profile", because);
    let mut profile: Map<String, Value> = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
    if let Some(Value::Array(rules)) = profile.get_mut("syscalls") {
        let all = std::mem::take(rules);
        for rule in all {
            rules.extend(decided(rule, facts).map_err(bad)?);
        }
    }
    if let Some(map) = profile.remove("archMap") {
        let architectures = architectures(&map, facts.machine).map_err(bad)?;
        profile.insert("architectures".to_owned(), Value::from(architectures));
    }
    serde_json::from_value(Value::Object(profile)).map_err(|error| bad(error.to_string()))
}

/// The rule without its conditions, or nothing where they do not hold.
fn decided(rule: Value, facts: &Facts<'_>) -> Result<Option<Value>, String> {
    let Value::Object(mut rule) = rule else { return Err("a rule of syscalls is not an object".to_owned()) };
    let includes = condition(&mut rule, "includes")?;
    let excludes = condition(&mut rule, "excludes")?;
    if !includes.is_none_or(|condition| condition.holds(facts)) || excludes.is_some_and(|it| it.touches(facts)) {
        return Ok(None);
    }
    rule.remove("comment");
    if let Some(name) = rule.remove("name") {
        rule.insert("names".to_owned(), Value::Array(vec![name]));
    }
    Ok(Some(Value::Object(rule)))
}

fn condition(rule: &mut Map<String, Value>, key: &str) -> Result<Option<Condition>, String> {
    match rule.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|error| format!("{key}: {error}")),
    }
}

impl Condition {
    /// `includes`: every part that is there holds.
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let machine = self.arches.is_empty() || self.arches.iter().any(|name| name == facts.machine);
        self.caps.iter().all(|name| has(facts, name)) && machine && self.min_kernel.iter().all(|v| at_least(facts, v))
    }

    /// `excludes`: any part that is there holds.
    fn touches(&self, facts: &Facts<'_>) -> bool {
        self.caps.iter().any(|name| has(facts, name))
            || self.arches.iter().any(|name| name == facts.machine)
            || self.min_kernel.iter().any(|version| at_least(facts, version))
    }
}

fn has(facts: &Facts<'_>, name: &str) -> bool {
    let bare = name.strip_prefix("CAP_").unwrap_or(name);
    facts.capabilities.iter().any(|capability| capability.to_string() == bare)
}

fn at_least(facts: &Facts<'_>, version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    facts.kernel >= (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The architecture of this machine with its sub-architectures.
fn architectures(map: &Value, machine: &str) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        architecture: String,
        #[serde(default)]
        sub_architectures: Option<Vec<String>>,
    }
    let entries: Vec<Entry> = Vec::deserialize(map).map_err(|error| format!("archMap: {error}"))?;
    let native = native(machine);
    let entry = entries.into_iter().find(|entry| entry.architecture == native);
    Ok(match entry {
        Some(entry) => std::iter::once(entry.architecture).chain(entry.sub_architectures.unwrap_or_default()).collect(),
        None => Vec::new(),
    })
}

fn native(machine: &str) -> &'static str {
    match machine {
        "amd64" => "SCMP_ARCH_X86_64",
        "arm64" => "SCMP_ARCH_AARCH64",
        "riscv64" => "SCMP_ARCH_RISCV64",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Capability;

    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"name": "arm_only", "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}}
        ]}"#;

    fn names(capabilities: &Capabilities) -> Vec<String> {
        let facts = Facts { capabilities, machine: "amd64", kernel: (6, 1) };
        let profile = read(PROFILE, &facts).unwrap();
        assert_eq!(profile.architectures().as_ref().unwrap().len(), 2);
        profile.syscalls().as_ref().unwrap().iter().flat_map(|rule| rule.names().clone()).collect()
    }

    #[test]
    fn dockers_conditions_follow_the_capabilities() {
        assert_eq!(names(&Capabilities::new()), ["read", "clone3", "ptrace"]);
        assert_eq!(names(&[Capability::SysAdmin].into_iter().collect()), ["read", "mount", "ptrace"]);
    }

    #[test]
    fn malformed_profiles_say_where() {
        let facts = Facts { capabilities: &Capabilities::new(), machine: "amd64", kernel: (6, 1) };
        let error = read("{\n \"defaultAction\": }", &facts).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
