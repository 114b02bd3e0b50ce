// SPDX-License-Identifier: Apache-2.0
//! `--security-opt`: seccomp, no-new-privileges, masks.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityOption {
    /// `seccomp=unconfined`: no filter.
    SeccompUnconfined,
    /// `seccomp=builtin`: Kelp's own profile, the default.
    SeccompBuiltin,
    /// `seccomp=FILE`: a profile in the OCI's or Docker's form.
    SeccompFile(PathBuf),
    /// `no-new-privileges[=true|false]`.
    NoNewPrivileges(bool),
    /// `systempaths=unconfined`: nothing masked or made read-only.
    SystemPathsUnconfined,
    /// `apparmor=PROFILE`.
    Apparmor(String),
    /// `label=…`: SELinux.
    Label(String),
}

impl fmt::Display for SecurityOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecurityOption::SeccompUnconfined => f.write_str("seccomp=unconfined"),
            SecurityOption::SeccompBuiltin => f.write_str("seccomp=builtin"),
            SecurityOption::SeccompFile(file) => write!(f, "seccomp={}", file.display()),
            SecurityOption::NoNewPrivileges(true) => f.write_str("no-new-privileges"),
            SecurityOption::NoNewPrivileges(false) => f.write_str("no-new-privileges=false"),
            SecurityOption::SystemPathsUnconfined => f.write_str("systempaths=unconfined"),
            SecurityOption::Apparmor(profile) => write!(f, "apparmor={profile}"),
            SecurityOption::Label(label) => write!(f, "label={label}"),
        }
    }
}

/// Reads one option; Docker's older `key:value` form too.
pub fn parse(text: &str) -> Result<SecurityOption, String> {
    let (key, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    };
    match (key, value) {
        ("seccomp", Some("unconfined")) => Ok(SecurityOption::SeccompUnconfined),
        ("seccomp", Some("builtin" | "default")) => Ok(SecurityOption::SeccompBuiltin),
        ("seccomp", Some(file)) if !file.is_empty() => Ok(SecurityOption::SeccompFile(file.into())),
        ("no-new-privileges", None | Some("true")) => Ok(SecurityOption::NoNewPrivileges(true)),
        ("no-new-privileges", Some("false")) => Ok(SecurityOption::NoNewPrivileges(false)),
        ("systempaths", Some("unconfined")) => Ok(SecurityOption::SystemPathsUnconfined),
        ("apparmor", Some(profile)) if !profile.is_empty() => Ok(SecurityOption::Apparmor(profile.to_owned())),
        ("label", Some(label)) => self::label(label).map(SecurityOption::Label),
        _ => Err(
            "known are seccomp=FILE|unconfined|builtin, no-new-privileges, systempaths=unconfined, apparmor=PROFILE, label=disable"
                .to_owned(),
        ),
    }
}

/// What can be said of SELinux: `disable`, or a part of the label and its value.
fn label(text: &str) -> Result<String, String> {
    let is_part = |part: &str| ["user", "role", "type", "level", "filetype"].contains(&part);
    let part = text.split_once(':').filter(|(part, value)| is_part(part) && !value.is_empty());
    match text == "disable" || part.is_some() {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "bad label option {text:?}, valid options 'disable' or 'user, role, level, type, filetype' followed by ':' and \
             a value"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_of_dockers_forms_are_read() {
        assert_eq!(parse("seccomp=unconfined"), Ok(SecurityOption::SeccompUnconfined));
        assert_eq!(parse("seccomp:unconfined"), Ok(SecurityOption::SeccompUnconfined));
        assert_eq!(parse("seccomp=a.json"), Ok(SecurityOption::SeccompFile("a.json".into())));
        assert_eq!(parse("no-new-privileges"), Ok(SecurityOption::NoNewPrivileges(true)));
        assert!(parse("seccomp").is_err() && parse("magic=1").is_err());
        assert_eq!(parse("label=disable"), Ok(SecurityOption::Label("disable".to_owned())));
        assert_eq!(parse("label:type:svirt_t"), Ok(SecurityOption::Label("type:svirt_t".to_owned())));
        for wrong in ["label=foo", "label=", "label=type:", "label=color:red", "apparmor=", "seccomp="] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
