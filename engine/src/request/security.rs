// SPDX-License-Identifier: Apache-2.0
//! `--security-opt`: seccomp, no-new-privileges, masks.

use std::path::PathBuf;

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        ("apparmor", Some(profile)) => Ok(SecurityOption::Apparmor(profile.to_owned())),
        ("label", Some(label)) => Ok(SecurityOption::Label(label.to_owned())),
        _ => Err(
            "known are seccomp=FILE|unconfined|builtin, no-new-privileges, systempaths=unconfined, apparmor=PROFILE"
                .to_owned(),
        ),
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
    }
}
