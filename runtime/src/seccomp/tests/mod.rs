// SPDX-License-Identifier: Apache-2.0
//! The compiler against libseccomp, the kernel, and whatever a profile may say.

mod anything;
mod default;
mod differential;
mod docker;
mod kernel;
mod machine;
mod oracle;
mod profiles;
mod rules;
mod speed;

use std::path::PathBuf;

use oci_spec::runtime::{Arch, Capabilities, Capability, LinuxSeccomp};

use super::{Host, read_profile};

/// The text of Docker's default profile, from the folder of reference data beside the checkout.
fn dockers_text() -> Option<String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../shared/oci/seccomp/docker-default.json"].iter().collect();
    let text = std::fs::read_to_string(&path);
    if let Err(error) = &text {
        eprintln!("skipped: {}: {error}", path.display());
    }
    text.ok()
}

/// Docker's default profile as it is for a container with `capabilities`.
fn shared_profile(capabilities: Capabilities, arch: Arch) -> Option<LinuxSeccomp> {
    let host = Host { arch, kernel: (5, 14), capabilities };
    Some(read_profile(&dockers_text()?, &host).unwrap())
}

/// Some sets of capabilities: none, Docker's, all, and each that a profile may ask for alone.
fn capability_sets() -> Vec<(String, Capabilities)> {
    use Capability as C;
    let docker = [
        C::Chown,
        C::DacOverride,
        C::Fsetid,
        C::Fowner,
        C::Mknod,
        C::NetRaw,
        C::Setgid,
        C::Setuid,
        C::Setfcap,
        C::Setpcap,
        C::NetBindService,
        C::SysChroot,
        C::Kill,
        C::AuditWrite,
    ];
    let asked = [
        C::DacReadSearch,
        C::SysAdmin,
        C::SysBoot,
        C::SysChroot,
        C::SysModule,
        C::SysPacct,
        C::SysPtrace,
        C::SysRawio,
        C::SysTime,
        C::SysTtyConfig,
        C::SysNice,
        C::Syslog,
        C::Bpf,
        C::Perfmon,
    ];
    let mut sets = vec![
        ("none".to_owned(), Capabilities::new()),
        ("docker".to_owned(), docker.into()),
        ("all".to_owned(), docker.into_iter().chain(asked).collect()),
    ];
    sets.extend(asked.map(|one| (one.to_string(), [one].into())));
    sets
}
