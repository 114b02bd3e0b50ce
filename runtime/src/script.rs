// SPDX-License-Identifier: Apache-2.0
//! Turns a plan and open descriptors into the script that init reads: nothing is decided here, only laid out.

use crate::plan::device::{DeviceHowPlan, DevicePlan};
use crate::plan::{HookPlan, Maps, MountPlan, Plan, ProcessPlan, WhatPlan};
use kelp_init::Step;
use kelp_init::script as init;
use kelp_sys::clone::{Argument, LateText, Namespaces};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, RawFd};

/// The descriptors of a script.
pub(crate) struct Descriptors<'a> {
    pub(crate) channel: BorrowedFd<'a>,
    pub(crate) gate: Option<BorrowedFd<'a>>,
    pub(crate) joins: &'a [(BorrowedFd<'a>, Namespaces)],
    pub(crate) stdio: Option<[BorrowedFd<'a>; 3]>,
    /// For each mount the copy of its source, if the runtime has taken it.
    pub(crate) trees: &'a [Option<OwnedFd>],
    /// With `--no-pivot`: where the host has procfs and sysfs.
    pub(crate) kernel_mounts: &'a [CString],
}

/// An argument or environment vector for execve.
pub(crate) fn vector(texts: &[CString]) -> Vec<Argument<'_>> {
    texts.iter().map(|text| Argument::new(text)).chain([Argument::END]).collect()
}

fn borrowed(texts: &[CString]) -> Vec<&CStr> {
    texts.iter().map(CString::as_c_str).collect()
}

/// All descriptors from `first` on but those, as ranges: what a process that we clone shall not keep.
pub(crate) fn all_but(kept: impl IntoIterator<Item = RawFd>, first: u32) -> Vec<(u32, u32)> {
    let mut kept: Vec<u32> =
        kept.into_iter().filter_map(|fd| u32::try_from(fd).ok()).filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut ranges = Vec::new();
    let mut next = first;
    for fd in kept {
        if fd > next {
            ranges.push((next, fd - 1));
        }
        next = fd + 1;
    }
    ranges.push((next, u32::MAX));
    ranges
}

/// Lays out the script and hands it over.
pub(crate) fn with_script<T>(
    plan: &Plan,
    fds: &Descriptors<'_>,
    fail_at: Option<Step>,
    run: impl FnOnce(&init::Script<'_>) -> T,
) -> T {
    let overlay_options: Vec<(&CStr, Option<&CStr>)> = plan.root.overlay.as_ref().map_or_else(Vec::new, |overlay| {
        overlay.options.iter().map(|(key, value)| (key.as_c_str(), value.as_deref())).collect()
    });
    let words: Vec<_> = plan.mounts.iter().map(words).collect();
    let mounts = plan.mounts.iter().zip(fds.trees).zip(&words);
    let mounts: Vec<_> =
        mounts.map(|((plan, tree), words)| mount(plan, tree.as_ref().map(AsFd::as_fd), words)).collect();
    let devices: Vec<_> = plan.devices.iter().map(device).collect();
    let sysctls: Vec<_> = plan.sysctls.iter().map(|(path, value)| (path.as_c_str(), value.as_c_str())).collect();
    let (container_vectors, start_vectors) = (hook_vectors(&plan.container_hooks), hook_vectors(&plan.start_hooks));
    let oom_score_adj = oom_score_adj(&plan.process);
    let kernel_mounts = borrowed(fds.kernel_mounts);
    let kept = [Some(fds.channel), fds.gate].into_iter().flatten().chain(fds.stdio.into_iter().flatten());
    let kept = kept.chain(fds.trees.iter().flatten().map(AsFd::as_fd));
    let strays = all_but(kept.map(|fd| fd.as_raw_fd()), plan.process.first_closed_fd);
    with_process(&plan.process, |process| {
        run(&init::Script {
            channel: fds.channel,
            strays: &strays,
            birth: birth(plan, fds, oom_score_adj.as_deref()),
            root: root(plan, &overlay_options, &kernel_mounts),
            mounts: &mounts,
            devices: &devices,
            device_links: plan.device_links,
            pause_when_furnished: plan.has_hooks,
            container_hooks: &hooks(&plan.container_hooks, &container_vectors),
            console: console(&plan.process),
            readonly_paths: &borrowed(&plan.readonly_paths),
            masked_paths: &borrowed(&plan.masked_paths),
            sysctls: &sysctls,
            process,
            gate: fds.gate,
            start_hooks: &hooks(&plan.start_hooks, &start_vectors),
            fail_at,
        })
    })
}

/// The number as text, which has no zero byte.
pub(crate) fn oom_score_adj(plan: &ProcessPlan) -> Option<CString> {
    plan.oom_score_adj.and_then(|score| CString::new(score.to_string()).ok())
}

fn birth<'a>(plan: &'a Plan, fds: &Descriptors<'a>, oom_score_adj: Option<&'a CStr>) -> init::Birth<'a> {
    init::Birth {
        joins: fds.joins,
        namespaces: plan.cloned_namespaces(),
        time_offsets: plan.time_offsets.as_deref(),
        maps: match &plan.maps {
            Maps::None => init::IdMaps::None,
            Maps::Own { uid, gid, .. } => init::IdMaps::Own { uid, gid },
            Maps::Write { .. } | Maps::Helpers { .. } => init::IdMaps::Runtime,
        },
        become_root: plan.become_root,
        oom_score_adj,
        stdio: fds.stdio,
        keyring: plan.keyring.as_deref(),
        hostname: plan.hostname.as_deref(),
        domainname: plan.domainname.as_deref(),
        loopback: plan.loopback,
    }
}

/// The terminal, if there is to be one.
pub(crate) fn console(plan: &ProcessPlan) -> Option<init::Console> {
    plan.console.map(|size| init::Console { size, plain_newlines: plan.plain_newlines })
}

fn root<'a>(
    plan: &'a Plan,
    options: &'a [(&'a CStr, Option<&'a CStr>)],
    kernel_mounts: &'a [&'a CStr],
) -> init::Root<'a> {
    init::Root {
        path: &plan.root.path,
        overlay: plan.root.overlay.as_ref().map(|overlay| init::Overlay {
            data: &overlay.data,
            flags: overlay.flags,
            options,
        }),
        propagation: plan.root.propagation,
        bound: !plan.shares_mounts(),
        readonly: plan.root.readonly,
        no_pivot: plan.root.no_pivot,
        kernel_mounts,
    }
}

type Words<'a> = Vec<(&'a CStr, Option<&'a CStr>)>;

fn words(plan: &MountPlan) -> Words<'_> {
    match &plan.what {
        WhatPlan::Tmpfs { options, .. } => {
            options.iter().map(|(key, value)| (key.as_c_str(), value.as_deref())).collect()
        }
        _ => Vec::new(),
    }
}

fn mount<'a>(plan: &'a MountPlan, tree: Option<BorrowedFd<'a>>, options: &'a Words<'a>) -> init::Mount<'a> {
    let what = match &plan.what {
        WhatPlan::FileSystem { kind, source, flags, data, otherwise } => init::What::FileSystem {
            kind,
            source,
            flags: *flags,
            data: data.as_deref(),
            otherwise: otherwise.as_ref().map(|(path, setting)| (path.as_c_str(), *setting)),
        },
        WhatPlan::Tmpfs { inherits, .. } => init::What::Tmpfs { options, inherits: *inherits },
        WhatPlan::Prepared { .. } => init::What::Prepared { tree },
        WhatPlan::Remount { file_system } => {
            init::What::Remount { file_system: file_system.as_ref().map(|(flags, data)| (*flags, data.as_deref())) }
        }
        WhatPlan::Bind { source, reach, .. } => init::What::Bind { source, reach: *reach, spare: tree },
    };
    init::Mount {
        target: &plan.target,
        what,
        attributes: plan.attributes,
        propagation: &plan.propagation,
        read_only_at_last: plan.read_only_at_last,
    }
}

fn device(plan: &DevicePlan) -> init::Device<'_> {
    let how = match &plan.how {
        DeviceHowPlan::Make { kind, mode, device, owner } => {
            init::DeviceHow::Make { kind: *kind, mode: *mode, device: *device, owner: *owner }
        }
        DeviceHowPlan::Bind { source } => init::DeviceHow::Bind { source },
    };
    init::Device { path: &plan.path, how }
}

type Vectors<'a> = Vec<(Vec<Argument<'a>>, Vec<Argument<'a>>)>;

fn hook_vectors(plans: &[HookPlan]) -> Vectors<'_> {
    plans.iter().map(|hook| (vector(&hook.argv), vector(&hook.env))).collect()
}

fn hooks<'a>(plans: &'a [HookPlan], vectors: &'a Vectors<'a>) -> Vec<init::Hook<'a>> {
    plans
        .iter()
        .zip(vectors)
        .map(|(hook, (argv, envp))| init::Hook { path: &hook.path, argv, envp, timeout: hook.timeout })
        .collect()
}

/// Lays out the process, which create and exec share.
pub(crate) fn with_process<T>(plan: &ProcessPlan, run: impl FnOnce(init::Process<'_>) -> T) -> T {
    let candidates = borrowed(&plan.candidates);
    let labels: Vec<_> = plan.labels.iter().map(|(file, text)| (file.as_c_str(), text.as_c_str())).collect();
    let home = LateText::new();
    let late = plan.finds_home.then(|| home.as_argument());
    let envp: Vec<_> = plan.env.iter().map(|text| Argument::new(text)).chain(late).chain([Argument::END]).collect();
    let argv = vector(&plan.argv);
    run(init::Process {
        home: plan.finds_home.then_some(&home),
        cwd: &plan.cwd,
        candidates: &candidates,
        argv: &argv,
        envp: &envp,
        uid: plan.uid,
        gid: plan.gid,
        groups: plan.groups.as_deref(),
        umask: plan.umask,
        capabilities: plan.capabilities,
        no_new_privileges: plan.no_new_privileges,
        labels: &labels,
        personality: plan.nature.personality,
        memory_policy: plan.nature.memory_policy.as_ref().map(|policy| (policy.mode, policy.nodes.as_slice())),
        seccomp: plan.seccomp,
        first_closed_fd: plan.first_closed_fd,
    })
}

#[cfg(test)]
mod tests {
    use super::all_but;

    #[test]
    fn strays_are_all_but_what_is_kept() {
        assert_eq!(all_but([], 3), [(3, u32::MAX)]);
        assert_eq!(all_but([5, 0, 3, 5, 9], 3), [(4, 4), (6, 8), (10, u32::MAX)]);
        assert_eq!(all_but([3, 4], 5), [(5, u32::MAX)]);
    }
}
