// SPDX-License-Identifier: Apache-2.0
//! Docker's dialect of profiles, resolved to what the OCI spec has.
//!
//! Runs in the caller, for `--security-opt seccomp=FILE`. A rule may ask for capabilities, architectures or a kernel
//! (`includes`), or step back before them (`excludes`); `archMap` says which architectures come with the host's. A
//! profile as the OCI spec has it is the special case without any of these.

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

use super::Refused;
use crate::error;

/// What a profile's conditions are about.
#[derive(Clone, Debug)]
pub struct Host {
    /// The kernel's architecture: [`super::NATIVE`], but for tests.
    pub arch: Arch,
    /// The kernel's version, as in `uname -r`: major and minor.
    pub kernel: (u32, u32),
    /// The capabilities that the container's bounding set will have.
    pub capabilities: Capabilities,
}

/// Reads the profile in `text`, for a container on `host`.
///
/// # Errors
/// When the text is no such profile: the cause has line and column.
pub fn read_profile(text: &str, host: &Host) -> error::Result<LinuxSeccomp> {
    let profile = serde_json::from_str(text).map_err(|error| Refused::new(error.to_string()));
    let profile = profile.and_then(|profile: Profile| profile.resolve(host));
    profile.map_err(|refused| refused.in_doing("cannot read the seccomp profile"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<Family>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Entry>>,
}

/// An architecture and those that run beside it on the same kernel.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// The old way to say it.
    name: Option<String>,
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    fn resolve(self, host: &Host) -> Result<LinuxSeccomp, Refused> {
        let mut syscalls = Vec::new();
        for entry in self.syscalls.into_iter().flatten() {
            if entry.applies(host)? {
                syscalls.push(entry.syscall()?);
            }
        }
        let architectures = architectures(self.architectures, self.arch_map, host.arch)?;
        let mut profile = LinuxSeccompBuilder::default().default_action(self.default_action).syscalls(syscalls);
        if let Some(architectures) = architectures {
            profile = profile.architectures(architectures);
        }
        let mut profile = profile.build().map_err(|error| Refused::new(error.to_string()))?;
        profile
            .set_default_errno_ret(self.default_errno_ret)
            .set_flags(self.flags)
            .set_listener_path(self.listener_path)
            .set_listener_metadata(self.listener_metadata);
        Ok(profile)
    }
}

fn architectures(
    listed: Option<Vec<Arch>>,
    map: Option<Vec<Family>>,
    host: Arch,
) -> Result<Option<Vec<Arch>>, Refused> {
    let listed = listed.filter(|listed| !listed.is_empty());
    let map = map.filter(|map| !map.is_empty());
    if listed.is_some() && map.is_some() {
        return Err(Refused::new("the seccomp profile has both architectures and archMap").hint("keep one of them"));
    }
    let family = map.into_iter().flatten().find(|family| family.architecture == host);
    let family =
        family.map(|family| [vec![family.architecture], family.sub_architectures.unwrap_or_default()].concat());
    Ok(listed.or(family))
}

impl Entry {
    fn applies(&self, host: &Host) -> Result<bool, Refused> {
        if let Some(wanted) = &self.includes {
            let caps = wanted.caps.iter().flatten().all(|name| host.holds(name));
            let arch = wanted.arches.as_ref().is_none_or(|arches| arches.is_empty() || host.is_one_of(arches));
            if !(caps && arch && wanted.kernel_reached(host)?.unwrap_or(true)) {
                return Ok(false);
            }
        }
        if let Some(unwanted) = &self.excludes {
            let caps = unwanted.caps.iter().flatten().any(|name| host.holds(name));
            let arch = unwanted.arches.as_ref().is_some_and(|arches| host.is_one_of(arches));
            if caps || arch || unwanted.kernel_reached(host)?.unwrap_or(false) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn syscall(self) -> Result<LinuxSyscall, Refused> {
        let names = match (self.name.filter(|name| !name.is_empty()), self.names.unwrap_or_default()) {
            (Some(name), names) if names.is_empty() => vec![name],
            (Some(name), _) => {
                return Err(Refused::new(format!("a rule has both name ({name}) and names")).hint("keep names"));
            }
            (None, names) => names,
        };
        let rule = LinuxSyscallBuilder::default().names(names).action(self.action);
        let mut rule = rule.build().map_err(|error| Refused::new(error.to_string()))?;
        rule.set_errno_ret(self.errno_ret).set_args(self.args.filter(|args| !args.is_empty()));
        Ok(rule)
    }
}

impl Filter {
    /// Whether the host's kernel is as new as the filter says, if it says.
    fn kernel_reached(&self, host: &Host) -> Result<Option<bool>, Refused> {
        let Some(text) = self.min_kernel.as_ref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let version = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let wanted: (u32, u32) = version.ok_or_else(|| {
            Refused::new(format!("minKernel {text:?} is no kernel version")).hint("it is written like 4.8")
        })?;
        Ok(Some(host.kernel >= wanted))
    }
}

impl Host {
    /// A capability that nobody knows is one that nobody holds.
    fn holds(&self, name: &str) -> bool {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        name.parse().is_ok_and(|capability: Capability| self.capabilities.contains(&capability))
    }

    fn is_one_of(&self, arches: &[String]) -> bool {
        arches.iter().any(|arch| Some(arch.as_str()) == docker_name(self.arch))
    }
}

/// What Docker's profiles call an architecture.
fn docker_name(arch: Arch) -> Option<&'static str> {
    Some(match arch {
        Arch::ScmpArchX86 => "x86",
        Arch::ScmpArchX86_64 => "amd64",
        Arch::ScmpArchArm => "arm",
        Arch::ScmpArchAarch64 => "arm64",
        Arch::ScmpArchMips => "mips",
        Arch::ScmpArchMips64 => "mips64",
        Arch::ScmpArchMips64n32 => "mips64n32",
        Arch::ScmpArchMipsel => "mipsel",
        Arch::ScmpArchMipsel64 => "mipsel64",
        Arch::ScmpArchMipsel64n32 => "mipsel64n32",
        Arch::ScmpArchPpc => "ppc",
        Arch::ScmpArchPpc64 => "ppc64",
        Arch::ScmpArchPpc64le => "ppc64le",
        Arch::ScmpArchS390 => "s390",
        Arch::ScmpArchS390x => "s390x",
        Arch::ScmpArchRiscv64 => "riscv64",
        Arch::ScmpArchLoongarch64 => "loongarch64",
        _ => return None,
    })
}
