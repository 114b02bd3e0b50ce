// SPDX-License-Identifier: Apache-2.0
//! Reads a bundle's config.json, and refuses what is not honoured.
//!
//! Spec: bundle.md, config.md "Specification version", "Extensibility".

use crate::border;
use crate::error::{Doing, Error, Kind, Result};
use oci_spec::runtime::{Process, Spec};
use std::path::Path;

/// The spec of the bundle, and what was odd about it.
#[derive(Debug)]
pub struct Bundle {
    /// config.json. Five kilobytes, which a stack would have once in each frame that they go through.
    pub spec: Box<Spec>,
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
    let cannot = Error::bad_input(doing);
    if error.kind() != std::io::ErrorKind::NotFound {
        return cannot.because(error);
    }
    let because = match folder.exists() {
        true => "JSON specification file config.json not found".to_owned(),
        false => format!("chdir {}: {error}", folder.display()),
    };
    cannot
        .because(because)
        .hint("a bundle is a folder with config.json and a root file system; `kelp-runtime spec` writes a config.json")
}

/// Strictly first, which is fast; only when that fails, once more as the types want it: see `border`.
fn parse(text: &[u8], path: &Path) -> Result<Bundle> {
    let (spec, mut warnings): (Box<Spec>, _) = border::read(text, "/process", path)?;
    warnings.extend(foreign(&spec, has_freebsd(text)));
    Ok(Bundle { spec, warnings })
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

/// What is not for a runtime like this one is refused: a container that lacks what its author asked for is worse than none.
fn refuse_unhonoured(spec: &Spec) -> Result<()> {
    let refuse = |asked: bool, field: &str, why: &str| if asked { Err(Error::unsupported(field, why)) } else { Ok(()) };
    refuse(spec.vm().is_some(), "vm", "kelp-runtime runs no virtual machines")?;
    let Some(process) = spec.process() else { return Ok(()) };
    let says = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    let command = "it is for Windows; on Linux process.args says what to run";
    refuse(says(process.command_line().as_deref()), "process.commandLine", command)?;
    let name = "it is for Windows; on Linux the caller looks names up, and process.user.uid and gid say who it is";
    refuse(says(process.user().username().as_deref()), "process.user.username", name)
}

/// Parts for other platforms, which mean nothing here: config.md "Platform-specific configuration".
fn foreign(spec: &Spec, freebsd: bool) -> Vec<String> {
    let parts = [
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("zos", spec.zos().is_some()),
        ("freebsd", freebsd),
    ];
    let there = parts.iter().filter(|(_, there)| *there);
    there.map(|(part, _)| format!("{part} is for another platform and is ignored")).collect()
}

/// The types of oci-spec 0.10 do not have it. Nearly no text has the word, and only one that has is read again.
fn has_freebsd(text: &[u8]) -> bool {
    let word = b"\"freebsd\"";
    text.windows(word.len()).any(|window| window == word)
        && serde_json::from_slice::<serde_json::Value>(text).is_ok_and(|spec| spec.get("freebsd").is_some())
}

/// The process of a JSON file, for `exec --process`, and what was odd about it.
///
/// # Errors
/// As for config.json.
pub fn read_process(path: &Path) -> Result<(Process, Vec<String>)> {
    let text = std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
    border::read(&text, "", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_json_is_named_by_line_and_column() {
        let error = parse(b"{\n  \"ociVersion\": 1.0.2\n}", Path::new("config.json")).unwrap_err();
        assert!(error.to_string().contains("line 2 column"), "{error}");
    }

    #[test]
    fn what_is_for_other_platforms_is_refused_or_warned_of() {
        let spec = |more: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.3.0","process":{{"user":{{"uid":0,"gid":0}},"cwd":"/","args":["a"]}}{more}}}"#
            );
            parse(text.as_bytes(), Path::new("config.json")).unwrap()
        };
        assert_eq!(spec(r#","solaris":{}"#).warnings, ["solaris is for another platform and is ignored"]);
        assert_eq!(spec(r#","freebsd":{"devices":[]}"#).warnings, ["freebsd is for another platform and is ignored"]);
        assert!(spec("").warnings.is_empty() && spec(r#","hostname":"freebsd""#).warnings.is_empty());
        for (member, value) in [("username", "bob"), ("username", "")] {
            let mut spec = spec("").spec;
            spec.process_mut().as_mut().unwrap().user_mut().set_username(Some(value.into()));
            assert_eq!(refuse_unhonoured(&spec).is_err(), !value.is_empty(), "{member} {value:?}");
        }
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
