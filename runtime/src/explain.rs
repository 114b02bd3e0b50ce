// SPDX-License-Identifier: Apache-2.0
//! Turns init's step, index and errno into an error that a person can act on.

use crate::error::{Error, Kind};
use crate::hooks;
use crate::plan::{Plan, ProcessPlan, WhatPlan};
use kelp_init::{Step, Stop};
use kelp_sys::rustix::fd::OwnedFd;
use kelp_sys::rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;

/// The error of a create that stopped there. `said`: what a hook has said that is to blame.
pub(crate) fn explain(stop: Stop, plan: &Plan, said: Option<OwnedFd>) -> Error {
    let nth = stop.index as usize;
    let path =
        |paths: &[CString]| paths.get(nth).map_or_else(String::new, |path| format!("/{}", path.to_string_lossy()));
    let error = match stop.step {
        Step::Mount | Step::MountTarget | Step::MountAttributes | Step::CopyUp => return mount(stop, plan),
        Step::MountRoot => return root(stop, plan),
        Step::ReadonlyPath => failed(stop, path(&plan.readonly_paths)),
        Step::MaskPath => failed(stop, path(&plan.masked_paths)),
        Step::Sysctl => sysctl(stop, plan.sysctls.get(nth)),
        Step::Device => {
            failed(stop, plan.devices.get(nth).map_or_else(String::new, |device| format!("/{}", device.path.to_string_lossy())))
        }
        Step::JoinNamespaces => {
            failed(stop, plan.joins.get(nth).map_or_else(String::new, |join| join.path.to_string_lossy().into_owned()))
        }
        Step::ContainerHooks => match plan.container_hooks.get(nth) {
            Some(planned) => return hook("createContainer", stop, &planned.path.to_string_lossy(), planned.timeout, said),
            None => failed(stop, String::new()),
        },
        Step::StartHooks => match plan.start_hooks.get(nth) {
            Some(planned) => return hook("startContainer", stop, &planned.path.to_string_lossy(), planned.timeout, said),
            None => failed(stop, String::new()),
        },
        Step::WriteIdMaps => failed(stop, String::new())
            .hint("user namespaces may be switched off: see /proc/sys/user/max_user_namespaces and `sysctl kernel.unprivileged_userns_clone`"),
        _ => return process(stop, &plan.process),
    };
    of_errno(error, stop.errno)
}

/// What the kernel means by the errno: it says no more of a parameter.
fn sysctl(stop: Stop, sysctl: Option<&(CString, CString)>) -> Error {
    let Some((path, value)) = sysctl else { return failed(stop, String::new()) };
    let name = path.to_string_lossy().trim_start_matches("sys/").to_owned();
    let call = if stop.errno == Errno::NOENT { "open" } else { "write" };
    let because = format!("{call} /proc/sys/{name}: {}", cause(stop.errno));
    let error = failed(stop, name).because(because);
    match stop.errno {
        Errno::NOENT => {
            error.hint("the container's namespaces have no such parameter here; a module may have to be loaded")
        }
        Errno::INVAL => error.hint(format!("the kernel does not take the value {value:?}")),
        _ => error,
    }
}

/// The error of a process that joined a container and stopped there.
pub(crate) fn process(stop: Stop, plan: &ProcessPlan) -> Error {
    let program = plan.argv.first().map_or_else(String::new, |program| program.to_string_lossy().into_owned());
    match stop.step {
        Step::FindProgram => not_found(stop.errno, &program),
        Step::Execute => not_executed(stop.errno, &program),
        Step::WorkingDirectory => working_directory(stop, plan),
        Step::User => of_errno(user(stop, plan), stop.errno),
        Step::Label => of_errno(label(stop, plan), stop.errno)
            .hint("the kernel's security module must be there and know the label: see /sys/kernel/security/lsm"),
        Step::ProcessLimits if stop.errno == Errno::ACCESS => of_errno(failed(stop, String::new()), stop.errno)
            .hint("oomScoreAdj: only root may make it lower than the caller's own: see /proc/self/oom_score_adj"),
        Step::Console => of_errno(failed(stop, String::new()), stop.errno)
            .hint("a terminal needs a devpts at /dev/pts: is it among the mounts of config.json?"),
        _ => of_errno(failed(stop, String::new()), stop.errno),
    }
}

/// Docker, podman and containerd look for runc's words to tell 127, for what is not there, from the rest.
fn working_directory(stop: Stop, plan: &ProcessPlan) -> Error {
    let cwd = plan.cwd.to_string_lossy();
    let why = match stop.errno {
        Errno::NOENT => "no such file or directory".to_owned(),
        Errno::NOTDIR => "not a directory".to_owned(),
        other => cause(other),
    };
    let because = format!("chdir to cwd ({cwd:?}) set in config.json failed: {why}");
    let error = Error::new(format!("cannot {} {cwd}", stop.step.doing())).because(because);
    match stop.errno {
        Errno::NOENT | Errno::NOTDIR => error.of_kind(Kind::ProgramNotFound),
        errno => of_errno(error, errno),
    }
}

fn failed(stop: Stop, object: String) -> Error {
    let space = if object.is_empty() { "" } else { " " };
    Error::new(format!("cannot {}{space}{object}", stop.step.doing())).because(cause(stop.errno))
}

fn cause(errno: Errno) -> String {
    match errno {
        Errno::CANCELED => "a test wanted it to fail here".into(),
        other => std::io::Error::from(other).to_string(),
    }
}

fn of_errno(error: Error, errno: Errno) -> Error {
    match errno {
        Errno::PERM | Errno::ACCESS => error.of_kind(Kind::Permission),
        _ => error,
    }
}

/// Docker, podman and containerd look for these very words to tell 127 from 126.
fn not_found(errno: Errno, program: &str) -> Error {
    let doing = format!("cannot run {program:?}");
    match errno {
        Errno::NOENT if program.contains('/') => Error::new(doing)
            .because(format!("exec: {program:?}: stat {program}: no such file or directory"))
            .of_kind(Kind::ProgramNotFound),
        Errno::NOENT => Error::new(doing)
            .because(format!("exec: {program:?}: executable file not found in $PATH"))
            .of_kind(Kind::ProgramNotFound),
        Errno::ISDIR => Error::new(doing)
            .because(format!("exec: {program:?}: is a directory: permission denied"))
            .of_kind(Kind::ProgramNotExecutable),
        Errno::ACCESS => Error::new(doing)
            .because(format!("exec: {program:?}: permission denied"))
            .hint("the file is there, but the container's user may not execute it: chmod +x, or see the user and the mount's noexec")
            .of_kind(Kind::ProgramNotExecutable),
        other => Error::new(doing).because(format!("exec: {program:?}: {}", cause(other))).of_kind(Kind::ProgramNotExecutable),
    }
}

fn not_executed(errno: Errno, program: &str) -> Error {
    let doing = format!("cannot run {program:?}");
    let error = Error::new(doing).of_kind(Kind::ProgramNotExecutable);
    match errno {
        Errno::NOENT => error
            .because(format!("exec {program}: no such file or directory"))
            .hint("the program is there, its interpreter is not: the first line of a script, or the dynamic loader of a binary")
            .of_kind(Kind::ProgramNotFound),
        Errno::NOEXEC => error
            .because(format!("exec {program}: exec format error"))
            .hint("it is a program for another architecture, or a script without #! in its first line"),
        Errno::ACCESS => error
            .because(format!("exec {program}: permission denied"))
            .hint("the container's user may not execute it, or its interpreter, or the file system is mounted noexec"),
        other => error.because(format!("exec {program}: {}", cause(other))),
    }
}

/// AppArmor's texts begin with "exec ": see the process plan.
fn label(stop: Stop, plan: &ProcessPlan) -> Error {
    let text =
        plan.labels.get(stop.index as usize).map_or_else(String::new, |(_, text)| text.to_string_lossy().into_owned());
    let what = match text.strip_prefix("exec ") {
        Some(profile) => format!("apparmorProfile {profile}"),
        None => format!("selinuxLabel {text}"),
    };
    // The words are runc's.
    let (module, words) = match text.starts_with("exec ") {
        true => ("AppArmor", "unable to apply apparmor profile"),
        false => ("SELinux", "selinux label is specified in config, but selinux is disabled or not supported"),
    };
    Error::new(format!("cannot set {what}")).because(match stop.errno {
        // The file is not there, or is another module's.
        Errno::NOENT | Errno::INVAL => {
            format!("{words}: this kernel has no {module}, it is switched off, or it does not know the label")
        }
        errno => format!("{words}: {}", cause(errno)),
    })
}

fn user(stop: Stop, plan: &ProcessPlan) -> Error {
    let what = match stop.index {
        0 => "the additional groups".to_owned(),
        2 => format!("group {}", plan.gid),
        _ => format!("user {}", plan.uid),
    };
    let error = Error::new(format!("cannot become {what}")).because(cause(stop.errno));
    if stop.errno != Errno::INVAL {
        return error;
    }
    error.hint(
        "the id is not mapped into the container's user namespace: map a range (/etc/subuid, /etc/subgid, newuidmap)",
    )
}

/// The error of a hook that init has run, or could not.
pub(crate) fn hook(kind: &str, stop: Stop, path: &str, timeout: Option<u32>, said: Option<OwnedFd>) -> Error {
    let how = match stop.errno {
        Errno::CANCELED => cause(stop.errno),
        errno => hooks::ending(errno, said.map(File::from).as_ref(), timeout),
    };
    hooks::failed(kind, stop.index as usize, path, &how)
}

fn root(stop: Stop, plan: &Plan) -> Error {
    let path = plan.root.path.to_string_lossy();
    let invalid = format!("invalid rootfs: stat {path}: {}", cause(stop.errno));
    let error = of_errno(failed(stop, path.into_owned()).because(invalid), stop.errno);
    match (stop.errno, &plan.root.overlay) {
        (Errno::NOENT | Errno::NOTDIR, None) => error
            .hint("root.path of config.json must name an existing folder, relative to the bundle")
            .of_kind(Kind::BadInput),
        (Errno::ACCESS, None) => error.hint(
            "the container's user namespace may not pass a folder on the way to it, which is its owner's alone: chmod o+x those above it",
        ),
        (_, Some(overlay)) => error.hint(format!("overlayfs was asked for {}", overlay.data.to_string_lossy())),
        _ => error,
    }
}

fn mount(stop: Stop, plan: &Plan) -> Error {
    let Some(mount) = plan.mounts.get(stop.index as usize) else { return failed(stop, String::new()) };
    let target = format!("/{}", mount.target.to_string_lossy());
    let (kind, call) = match &mount.what {
        WhatPlan::FileSystem { kind, source, flags, data, .. } => {
            let kind = kind.to_string_lossy().into_owned();
            let data = data.as_ref().map_or_else(String::new, |data| format!(", {:?}", data.to_string_lossy()));
            let call = format!("mount({:?}, {target:?}, {kind:?}, {flags:#x}{data})", source.to_string_lossy());
            (kind, call)
        }
        WhatPlan::Bind { source, .. } | WhatPlan::Prepared { source, .. } => {
            (source.to_string_lossy().into_owned(), "bind mount".to_owned())
        }
        WhatPlan::Tmpfs { options, .. } => {
            let word = |(key, value): &(CString, Option<CString>)| {
                let value = value.as_ref().map_or_else(String::new, |value| format!("={}", value.to_string_lossy()));
                format!("{}{value}", key.to_string_lossy())
            };
            ("tmpfs".to_owned(), format!("fsmount(tmpfs: {})", options.iter().map(word).collect::<Vec<_>>().join(",")))
        }
        WhatPlan::Remount { .. } => ("the file system".to_owned(), "remount".to_owned()),
    };
    let doing = match stop.step {
        Step::MountTarget => format!("cannot find or make the place {target} to mount {kind}"),
        Step::MountAttributes => format!("cannot set the options of the mount of {kind} at {target}"),
        Step::CopyUp => format!("cannot copy what is at {target} into the {kind} that covers it"),
        _ => format!("cannot mount {kind} at {target}"),
    };
    let source = match &mount.what {
        WhatPlan::FileSystem { source, .. } => source.to_string_lossy().into_owned(),
        _ => kind.clone(),
    };
    // runc's words, which people search for, before the call itself.
    let because = format!("error mounting {source:?} to rootfs at {target:?}: {call}: {}", cause(stop.errno));
    let error = of_errno(Error::new(doing).because(because), stop.errno);
    if call.contains("context=") && stop.errno == Errno::INVAL {
        return error
            .hint("linux.mountLabel asks for an SELinux context, and this kernel has no SELinux: leave it out");
    }
    match mount_hint(stop, mount.what.is_bind(), &kind) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn mount_hint(stop: Stop, bind: bool, kind: &str) -> Option<&'static str> {
    match (stop.step, stop.errno) {
        (Step::Mount, Errno::NOENT) if bind => Some("the source does not exist on the host"),
        (Step::Mount, Errno::INVAL) if bind => Some(
            "a folder cannot be mounted on a file, nor a file on a folder; and a user namespace may not take a mount without those below it: use rbind instead of bind",
        ),
        (Step::Mount, Errno::PERM) if kind == "proc" => Some(
            "parts of the host's /proc are masked, so that no new one may be mounted here: run outside of that container, or with its /proc unmasked",
        ),
        (Step::MountAttributes, Errno::PERM) => Some(
            "the source's own read-only, nosuid, nodev, noexec or atime mode is locked: a user namespace cannot take it away",
        ),
        (Step::CopyUp, Errno::NOSPC) => Some("the tmpfs is too small for it: see its option size"),
        (Step::Mount, Errno::INVAL) if kind == "the file system" => {
            Some("nothing is mounted there, or not by this container")
        }
        (Step::MountTarget, Errno::ROFS) => {
            Some("the place does not exist and the file system is read-only: make it in the image")
        }
        (Step::MountTarget, Errno::LOOP) if matches!(kind, "proc" | "sysfs" | "/proc" | "/sys") => Some(
            "the image has a symbolic link there: what the kernel shows of itself is mounted at ordinary folders only",
        ),
        (Step::MountTarget, Errno::LOOP | Errno::XDEV) => Some("a link on the way leads in circles or through /proc"),
        _ => None,
    }
}

impl WhatPlan {
    fn is_bind(&self) -> bool {
        matches!(self, Self::Bind { .. })
    }
}
