// SPDX-License-Identifier: Apache-2.0
//! Where JSON becomes the types of oci-spec, which are stricter than the specification in places.
//!
//! Strictly first, which is fast. Only when that fails the text is read once more as a value, what the types do not take is
//! changed, and it is read again.
//! Spec: config.md "Linux Process" and "Extensibility".

use crate::error::{Error, Result};
use oci_spec::runtime::Capability;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::str::FromStr;

/// Reads `text`, which is the file at `path` and has a process at the JSON pointer `process`. Second, what was odd.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8], process: &str, path: &Path) -> Result<(T, Vec<String>)> {
    let strict = match serde_json::from_slice(text) {
        Ok(read) => return Ok((read, Vec::new())),
        Err(error) => error,
    };
    let wrong = |error: &serde_json::Error| {
        Error::bad_input(format!("cannot understand {}", path.display())).because(said(error))
    };
    let mut value: Value = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
    let given = value.clone();
    let mut warnings = Vec::new();
    drop_nulls(&mut value);
    if let Some(process) = value.pointer_mut(process) {
        warnings = process.get_mut("capabilities").map(drop_unknown_capabilities).unwrap_or_default();
        rename_scheduler_flags(process);
        clean_affinity(process);
        add_missing(process, "user", || serde_json::json!({}));
    }
    if let Some(linux) = value.get_mut("linux") {
        add_missing_words(linux);
        lower_unlimited(linux);
    }
    if value == given {
        // With line and column.
        return Err(wrong(&strict));
    }
    // Through text again: a second way to read a spec would be half a megabyte more of program.
    let read =
        serde_json::to_vec(&value).and_then(|text| serde_json::from_slice(&text)).map_err(|error| wrong(&error))?;
    Ok((read, warnings))
}

/// What serde says of a word that it does not know, after runc's sentence for it, which people search for.
fn said(error: &serde_json::Error) -> String {
    /// How the list of the known words begins, and what runc calls one that is not among them.
    const SENTENCES: [(&str, [&str; 2]); 6] = [
        ("`RLIMIT_CPU`", ["wrong rlimit value: ", ""]),
        ("`mount`, `cgroup`", ["namespace ", " does not exist"]),
        ("`SCMP_ACT_KILL`", ["string ", " is not a valid action for seccomp"]),
        ("`SCMP_ARCH_", ["string ", " is not a valid arch for seccomp"]),
        ("`SCMP_CMP_NE`", ["string ", " is not a valid operator for seccomp"]),
        ("`a`, `b`", ["invalid device type \"", "\""]),
    ];
    let text = error.to_string();
    let Some((word, known)) =
        text.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected one of "))
    else {
        return text;
    };
    match SENTENCES.iter().find(|(first, _)| known.starts_with(first)) {
        Some((_, [before, after])) => format!("{before}{word}{after}: {text}"),
        None => text,
    }
}

/// A member that is null is one that is not there: Go writes lists and structures that it does not have so.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(entries) => entries.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// What the schema does not require, and the types do.
fn add_missing(object: &mut Value, member: &str, default: impl FnOnce() -> Value) {
    if let Some(members) = object.as_object_mut() {
        members.entry(member).or_insert_with(default);
    }
}

/// The kernel's defaults: personality(2) without a domain, set_mempolicy(2) without a mode.
fn add_missing_words(linux: &mut Value) {
    for (object, member, default) in [("personality", "domain", "LINUX"), ("memoryPolicy", "mode", "MPOL_DEFAULT")] {
        if let Some(object) = linux.get_mut(object) {
            add_missing(object, member, || default.into());
        }
    }
}

/// The schema lets the limit of huge pages be any 64 bits without a sign, and the type has one: above it all is unlimited.
fn lower_unlimited(linux: &mut Value) {
    let limits = linux.pointer_mut("/resources/hugepageLimits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten().filter_map(|entry| entry.get_mut("limit")) {
        if limit.as_u64().is_some_and(|number| i64::try_from(number).is_err()) {
            *limit = i64::MAX.into();
        }
    }
}

/// config.md: “Any value which cannot be mapped to a relevant kernel interface … MUST be logged as a warning”.
fn drop_unknown_capabilities(sets: &mut Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for set in sets.as_object_mut().into_iter().flat_map(|sets| sets.values_mut()) {
        let Some(names) = set.as_array_mut() else { continue };
        names.retain(|name| {
            let known = name.as_str().is_some_and(is_capability);
            if !known {
                warnings.push(format!("ignoring unknown or unavailable capabilities: unknown capability {name}"));
            }
            known
        });
    }
    warnings
}

fn is_capability(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    Capability::from_str(name.strip_prefix("CAP_").unwrap_or(&name)).is_ok()
}

/// Two names of the specification are others in oci-spec 0.10.
fn rename_scheduler_flags(process: &mut Value) {
    for flag in process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
            Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
            _ => continue,
        };
        *flag = name.into();
    }
}

/// The schema lets lists of processors have spaces and be empty.
fn clean_affinity(process: &mut Value) {
    let Some(affinity) = process.get_mut("execCPUAffinity").and_then(Value::as_object_mut) else { return };
    for list in affinity.values_mut() {
        if let Some(text) = list.as_str() {
            let clean: String = text.split_whitespace().collect();
            *list = if clean.is_empty() { Value::Null } else { clean.into() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{Process, Spec};

    fn process(member: &str) -> (Process, Vec<String>) {
        let text = format!(r#"{{"user":{{"uid":0,"gid":0}},"cwd":"/","args":["a"],{member}}}"#);
        read(text.as_bytes(), "", Path::new("process.json")).unwrap()
    }

    #[test]
    fn an_unknown_capability_is_a_warning_and_nothing_more() {
        let text = br#"{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],
            "capabilities":{"bounding":["CAP_CHOWN","CAP_NEVER_HEARD_OF"]}}}"#;
        let (spec, warnings): (Spec, _) = read(text, "/process", Path::new("config.json")).unwrap();
        assert_eq!(
            warnings,
            ["ignoring unknown or unavailable capabilities: unknown capability \"CAP_NEVER_HEARD_OF\""]
        );
        let process = spec.process().as_ref().unwrap();
        let bounding = process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap();
        assert_eq!(bounding.len(), 1);
    }

    #[test]
    fn every_scheduler_flag_of_the_schema_is_read() {
        for flag in ["RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS", "UTIL_CLAMP_MIN"] {
            let member = format!(r#""scheduler":{{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_{flag}"]}}"#);
            let (process, warnings) = process(&member);
            assert!(process.scheduler().as_ref().unwrap().flags().as_ref().unwrap().len() == 1 && warnings.is_empty());
        }
    }

    /// What the schema does not require may be left out or null, and each place takes what the schema lets it be.
    #[test]
    fn a_spec_has_what_the_schema_requires_and_need_have_no_more() {
        let with = |process: &str, more: &str| {
            let text = format!(r#"{{"ociVersion":"1.3.0","process":{{"cwd":"/"{process}}}{more}}}"#);
            read::<Spec>(text.as_bytes(), "/process", Path::new("config.json"))
                .map_err(|error| format!("{text}: {error}"))
        };
        let bare =
            ["", r#","args":null"#, r#","user":null"#, r#","user":{}"#, r#","user":{"gid":5}"#, r#","env":null"#];
        for process in bare.iter().chain(&[r#","consoleSize":{"height":1,"width":1}"#, r#","capabilities":{}"#]) {
            let (spec, warnings) = with(process, "").unwrap();
            assert!(warnings.is_empty() && spec.process().as_ref().unwrap().user().uid() == 0, "{process}");
        }
        for more in [
            r#""root":null"#,
            r#""root":{"path":"rootfs"}"#,
            r#""mounts":null"#,
            r#""mounts":[{"destination":"/x"}]"#,
            r#""mounts":[{"destination":"/x","options":null,"uidMappings":null}]"#,
            r#""hooks":null"#,
            r#""hooks":{"prestart":null,"poststop":[{"path":"/x","args":null,"env":null}]}"#,
            r#""annotations":null"#,
            r#""linux":null"#,
            r#""linux":{"namespaces":null,"devices":null,"maskedPaths":null,"resources":null,"seccomp":null}"#,
            r#""linux":{"namespaces":[{"type":"pid"}],"devices":[{"type":"p","path":"/x"}]}"#,
            r#""linux":{"personality":{}}"#,
            r#""linux":{"memoryPolicy":{}}"#,
            r#""linux":{"personality":{"flags":[]}}"#,
            r#""linux":{"memoryPolicy":{"nodes":"0"}}"#,
            r#""linux":{"intelRdt":{}}"#,
            r#""linux":{"timeOffsets":{"boottime":{}}}"#,
            r#""linux":{"netDevices":{"eth0":{}}}"#,
            r#""linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"}}"#,
            r#""linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO"}]}}"#,
            r#""linux":{"resources":{"devices":[{"allow":false}],"memory":{},"cpu":{},"pids":{"limit":1},"blockIO":{}}}"#,
            r#""linux":{"resources":{"blockIO":{"weightDevice":[{"major":1,"minor":2}]},"network":{},"rdma":{"mlx5":{}}}}"#,
            r#""linux":{"resources":{"hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}]}}"#,
        ] {
            with("", &format!(",{more}")).unwrap();
        }
        for wrong in [r#""mounts":[{}]"#, r#""linux":{"namespaces":[{}]}"#, r#""linux":{"seccomp":{}}"#] {
            assert!(with("", &format!(",{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_of_processors_may_have_spaces_or_be_empty() {
        let (process, _) = process(r#""execCPUAffinity":{"initial":"0, 2-3","final":""}"#);
        let affinity = process.exec_cpu_affinity().as_ref().unwrap();
        assert_eq!((affinity.initial().as_deref(), affinity.cpu_affinity_final().as_deref()), (Some("0,2-3"), None));
    }
}
