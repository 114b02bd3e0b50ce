// SPDX-License-Identifier: Apache-2.0
//! `features`: what this runtime can do, for those who drive it.
//!
//! Spec: features.md, features-linux.md.

use super::output::answer;
use kelp_runtime::{Error, Result, plan};
use serde_json::json;

const MOUNT_OPTIONS: &str = "acl async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev \
    nodiratime noacl noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev \
    rdiratime relatime remount rexec ridmap rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate \
    rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid \
    symfollow sync tmpcopyup unbindable";
const ACTIONS: &str = "SCMP_ACT_ALLOW SCMP_ACT_ERRNO SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_LOG \
    SCMP_ACT_NOTIFY SCMP_ACT_TRACE SCMP_ACT_TRAP";
const MEMORY_MODES: &str = "MPOL_DEFAULT MPOL_BIND MPOL_INTERLEAVE MPOL_WEIGHTED_INTERLEAVE MPOL_PREFERRED \
    MPOL_PREFERRED_MANY MPOL_LOCAL";
const OPERATORS: &str = "SCMP_CMP_NE SCMP_CMP_LT SCMP_CMP_LE SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_MASKED_EQ";
const ARCHITECTURES: &str = "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM SCMP_ARCH_LOONGARCH64 SCMP_ARCH_M68K SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 \
    SCMP_ARCH_MIPS64N32 SCMP_ARCH_MIPSEL SCMP_ARCH_MIPSEL64 SCMP_ARCH_MIPSEL64N32 SCMP_ARCH_PARISC SCMP_ARCH_PARISC64 \
    SCMP_ARCH_PPC SCMP_ARCH_PPC64 SCMP_ARCH_PPC64LE SCMP_ARCH_RISCV64 SCMP_ARCH_S390 SCMP_ARCH_S390X SCMP_ARCH_SH SCMP_ARCH_SHEB \
    SCMP_ARCH_X32 SCMP_ARCH_X86 SCMP_ARCH_X86_64";
const FLAGS: &str = "SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_SPEC_ALLOW SECCOMP_FILTER_FLAG_LOG \
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";

pub(crate) fn print() -> Result<u8> {
    let words = |text: &'static str| text.split_whitespace().collect::<Vec<_>>();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": words("prestart createRuntime createContainer startContainer poststart poststop"),
        "mountOptions": words(MOUNT_OPTIONS),
        "linux": {
            "namespaces": words("cgroup ipc mount network pid time user uts"),
            "capabilities": plan::capability_names(),
            "cgroup": { "v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": words(ACTIONS),
                "operators": words(OPERATORS),
                "archs": words(ARCHITECTURES),
                "knownFlags": words(FLAGS),
                "supportedFlags": words(FLAGS)
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": words(MEMORY_MODES),
                "flags": words("MPOL_F_NUMA_BALANCING MPOL_F_RELATIVE_NODES MPOL_F_STATIC_NODES")
            },
            "netDevices": { "enabled": true },
            "mountExtensions": { "idmap": { "enabled": true } }
        },
        "annotations": { "org.kelp.version": env!("CARGO_PKG_VERSION") }
    });
    let text =
        serde_json::to_string_pretty(&features).map_err(|error| Error::new("cannot write JSON").because(error))?;
    answer(format_args!("{text}\n"))?;
    Ok(0)
}
