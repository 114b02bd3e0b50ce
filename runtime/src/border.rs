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
    let wrong =
        |error: &serde_json::Error| Error::bad_input(format!("cannot understand {}", path.display())).because(error);
    let mut value: Value = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
    let given = value.clone();
    let mut warnings = Vec::new();
    if let Some(process) = value.pointer_mut(process) {
        warnings = process.get_mut("capabilities").map(drop_unknown_capabilities).unwrap_or_default();
        rename_scheduler_flags(process);
        clean_affinity(process);
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

/// config.md: “Any value which cannot be mapped to a relevant kernel interface … MUST be logged as a warning”.
fn drop_unknown_capabilities(sets: &mut Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for set in sets.as_object_mut().into_iter().flat_map(|sets| sets.values_mut()) {
        let Some(names) = set.as_array_mut() else { continue };
        names.retain(|name| {
            let known = name.as_str().is_some_and(is_capability);
            if !known {
                warnings.push(format!("unknown capability {name} is ignored"));
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
        assert_eq!(warnings, ["unknown capability \"CAP_NEVER_HEARD_OF\" is ignored"]);
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

    #[test]
    fn lists_of_processors_may_have_spaces_or_be_empty() {
        let (process, _) = process(r#""execCPUAffinity":{"initial":"0, 2-3","final":""}"#);
        let affinity = process.exec_cpu_affinity().as_ref().unwrap();
        assert_eq!((affinity.initial().as_deref(), affinity.cpu_affinity_final().as_deref()), (Some("0,2-3"), None));
    }
}
