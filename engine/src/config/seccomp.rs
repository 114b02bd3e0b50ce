// SPDX-License-Identifier: Apache-2.0
//! Which system call filter a container gets: ours, the user's, or none.

use crate::error::{Doing, Result};
use crate::request::Isolation;
use crate::request::security::SecurityOption;
use kelp_runtime::seccomp::{self, Host};
use oci_spec::runtime::{Capabilities, LinuxSeccomp};
use std::fs;

/// The filter; the last `--security-opt seccomp=…` wins, `--privileged` means none unless one is named.
pub fn decide(flags: &Isolation, capabilities: &Capabilities) -> Result<Option<LinuxSeccomp>> {
    let is_seccomp = |option: &&SecurityOption| {
        use SecurityOption::{SeccompBuiltin, SeccompFile, SeccompUnconfined};
        matches!(option, SeccompBuiltin | SeccompFile(_) | SeccompUnconfined)
    };
    match flags.security_opt.iter().rfind(is_seccomp) {
        Some(SecurityOption::SeccompUnconfined) => Ok(None),
        Some(SecurityOption::SeccompFile(file)) => {
            let doing = || format!("cannot use the seccomp profile {}", file.display());
            let text = fs::read_to_string(file).doing(doing)?;
            read(&text, capabilities).map(Some).map_err(|error| error.while_doing(doing()))
        }
        None if flags.privileged => Ok(None),
        _ => Ok(Some(seccomp::default_profile(capabilities, seccomp::NATIVE))),
    }
}

/// A profile in the OCI's form or Docker's, decided for this machine.
fn read(text: &str, capabilities: &Capabilities) -> Result<LinuxSeccomp> {
    let host = Host { arch: seccomp::NATIVE, kernel: kernel(), capabilities: capabilities.clone() };
    Ok(seccomp::read_profile(text, &host)?)
}

/// The kernel's version, first two numbers.
fn kernel() -> (u32, u32) {
    let uname = kelp_sys::rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::security;

    fn decided(privileged: bool, option: Option<&str>) -> Option<LinuxSeccomp> {
        let security_opt = option.into_iter().map(|text| security::parse(text).unwrap()).collect();
        decide(&Isolation { privileged, security_opt, ..Isolation::default() }, &Capabilities::new()).unwrap()
    }

    #[test]
    fn ours_unless_the_user_says_otherwise() {
        assert!(decided(false, None).is_some());
        assert!(decided(true, None).is_none());
        assert!(decided(true, Some("seccomp=builtin")).is_some());
        assert!(decided(false, Some("seccomp=unconfined")).is_none());
    }

    #[test]
    fn malformed_profiles_say_where() {
        let error = read("{\n \"defaultAction\": }", &Capabilities::new()).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
