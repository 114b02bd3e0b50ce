// SPDX-License-Identifier: Apache-2.0
//! Reads a bundle's config.json, and refuses what is not honoured.
//!
//! Spec: bundle.md, config.md "Specification version", "Extensibility".

use crate::error::{Doing, Error, Kind, Result};
use oci_spec::runtime::{Capability, Linux, Process, Spec};
use serde_json::Value;
use std::path::Path;
use std::str::FromStr;

/// The spec of the bundle, and what was odd about it.
#[derive(Debug)]
pub struct Bundle {
    /// config.json
    pub spec: Spec,
    /// Things that the spec asks us to warn of and go on.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// Reads `folder/config.json`.
    ///
    /// # Errors
    /// No such file; not JSON, with line and column; not a spec; another major version; fields that are not honoured.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let text = std::fs::read(&path).map_err(|error| no_config(folder, &error))?;
        let bundle = parse(&text, &path)?;
        check_version(&bundle.spec)?;
        refuse_unhonoured(&bundle.spec)?;
        Ok(bundle)
    }
}

fn no_config(folder: &Path, error: &std::io::Error) -> Error {
    let doing = format!("cannot read config.json of the bundle {}", folder.display());
    let error_with_cause = Error::bad_input(doing).because(error);
    if error.kind() == std::io::ErrorKind::NotFound {
        error_with_cause.hint(
            "a bundle is a folder with config.json and a root file system; `kelp-runtime spec` writes a config.json",
        )
    } else {
        error_with_cause
    }
}

/// Strictly first, which is fast; only when that fails, once more without the capabilities that we do not know.
fn parse(text: &[u8], path: &Path) -> Result<Bundle> {
    let strict = match serde_json::from_slice(text) {
        Ok(spec) => return Ok(Bundle { spec, warnings: Vec::new() }),
        Err(error) => error,
    };
    let wrong =
        |error: &serde_json::Error| Error::bad_input(format!("cannot understand {}", path.display())).because(error);
    let mut value: Value = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
    let warnings = value.pointer_mut("/process/capabilities").map(drop_unknown_capabilities).unwrap_or_default();
    if warnings.is_empty() {
        return Err(wrong(&strict));
    }
    // Through text again: a second way to read a spec would be half a megabyte more of program.
    let spec =
        serde_json::to_vec(&value).and_then(|text| serde_json::from_slice(&text)).map_err(|error| wrong(&error))?;
    Ok(Bundle { spec, warnings })
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
    let name = name.to_uppercase();
    Capability::from_str(name.strip_prefix("CAP_").unwrap_or(&name)).is_ok()
}

fn check_version(spec: &Spec) -> Result<()> {
    let version = spec.version();
    let numbers: Vec<Option<u32>> =
        version.split(['-', '+']).next().unwrap_or_default().split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_slice() {
        [Some(1), Some(_), Some(_)] => Ok(()),
        [Some(_), Some(_), Some(_)] => Err(Error::bad_input(format!("cannot honour ociVersion {version}"))
            .because("only version 1 of the runtime-spec is known")
            .of_kind(Kind::Unsupported)),
        _ => Err(Error::bad_input(format!("cannot understand ociVersion {version:?}"))
            .because("it is not a version like 1.0.2")),
    }
}

/// Fields that are known and not honoured yet are refused: a container that lacks what its author asked for is worse than none.
fn refuse_unhonoured(spec: &Spec) -> Result<()> {
    let not_yet = "this version of kelp-runtime does not implement it";
    let refuse = |asked: bool, field: &str| if asked { Err(Error::unsupported(field, not_yet)) } else { Ok(()) };
    refuse(spec.vm().is_some(), "vm")?;
    if let Some(process) = spec.process() {
        refuse_in_process(process, &refuse)?;
    }
    if let Some(linux) = spec.linux() {
        refuse_in_linux(linux, &refuse)?;
    }
    for mount in spec.mounts().iter().flatten() {
        let mapped = [mount.uid_mappings(), mount.gid_mappings()].iter().any(|maps| maps.is_some());
        refuse(mapped, "mounts.uidMappings and gidMappings")?;
    }
    Ok(())
}

fn refuse_in_process(process: &Process, refuse: &dyn Fn(bool, &str) -> Result<()>) -> Result<()> {
    refuse(process.scheduler().is_some(), "process.scheduler")?;
    refuse(process.io_priority().is_some(), "process.ioPriority")?;
    refuse(process.exec_cpu_affinity().is_some(), "process.execCPUAffinity")
}

fn refuse_in_linux(linux: &Linux, refuse: &dyn Fn(bool, &str) -> Result<()>) -> Result<()> {
    refuse(linux.intel_rdt().is_some(), "linux.intelRdt")?;
    refuse(linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()), "linux.netDevices")?;
    refuse(linux.memory_policy().is_some(), "linux.memoryPolicy")?;
    refuse(linux.time_offsets().as_ref().is_some_and(|offsets| !offsets.is_empty()), "linux.timeOffsets")?;
    refuse(
        linux.seccomp().as_ref().is_some_and(|seccomp| seccomp.listener_path().is_some()),
        "linux.seccomp.listenerPath",
    )
}

/// The process of a JSON file, for `exec --process`.
///
/// # Errors
/// As for config.json.
pub fn read_process(path: &Path) -> Result<Process> {
    let text = std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
    let process = serde_json::from_slice(&text)
        .map_err(|error| Error::bad_input(format!("cannot understand {}", path.display())).because(error))?;
    let not_yet = "this version of kelp-runtime does not implement it";
    refuse_in_process(&process, &|asked, field| if asked { Err(Error::unsupported(field, not_yet)) } else { Ok(()) })?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_capability_is_a_warning_and_nothing_more() {
        let text = br#"{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],
            "capabilities":{"bounding":["CAP_CHOWN","CAP_NEVER_HEARD_OF"]}}}"#;
        let bundle = parse(text, Path::new("config.json")).unwrap();
        assert_eq!(bundle.warnings, ["unknown capability \"CAP_NEVER_HEARD_OF\" is ignored"]);
        let process = bundle.spec.process().as_ref().unwrap();
        let bounding = process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap();
        assert_eq!(bounding.len(), 1);
    }

    #[test]
    fn malformed_json_is_named_by_line_and_column() {
        let error = parse(b"{\n  \"ociVersion\": 1.0.2\n}", Path::new("config.json")).unwrap_err();
        assert!(error.to_string().contains("line 2 column"), "{error}");
    }

    #[test]
    fn only_version_one_is_accepted() {
        for (version, accepted) in [("1.0.0", true), ("1.3.0-dev", true), ("2.0.0", false), ("1", false), ("", false)] {
            let mut spec = Spec::default();
            spec.set_version(version.into());
            assert_eq!(check_version(&spec).is_ok(), accepted, "{version:?}");
        }
    }
}
