// SPDX-License-Identifier: Apache-2.0
//! The spec's mounts, their options read.
//!
//! Spec: config.md "Mounts", "Linux mount options". Kernel: mount(8) for the words, mount(2), mount_setattr(2).

use super::root::OverlayPlan;
use super::{Scope, inside, path_text, text_of};
use crate::error::{Error, Result};
use kelp_init::script::Setting;
use kelp_sys::clone::Namespaces;
use kelp_sys::mount::{Attributes, Propagation, Reach};
use oci_spec::runtime::Mount;
use std::ffi::CString;

/// One mount.
#[derive(Debug)]
pub struct MountPlan {
    /// Below the root.
    pub target: CString,
    /// What.
    pub what: WhatPlan,
    /// Attributes of the mount alone, and of the tree.
    pub attributes: [Setting; 2],
    /// Propagations, in order.
    pub propagation: Vec<(Propagation, Reach)>,
}

/// What is mounted.
#[derive(Debug)]
pub enum WhatPlan {
    /// A new file system.
    FileSystem {
        /// Type.
        kind: CString,
        /// Source.
        source: CString,
        /// `MS_*`
        flags: u64,
        /// Options of the type.
        data: Option<CString>,
        /// What to bind where the kernel refuses, and with which attributes.
        otherwise: Option<(CString, Setting)>,
    },
    /// A bind mount.
    Bind {
        /// On the host.
        source: CString,
        /// Alone or with all below it.
        reach: Reach,
    },
}

/// What an option word does.
#[derive(Clone, Copy)]
enum Meaning {
    /// Sets or clears: the flag of mount(2), the attribute of mount_setattr(2).
    Flag {
        ms: u64,
        attribute: Attributes,
        set: bool,
    },
    /// The recursive form: mount_setattr(2) on the tree.
    Recursive {
        attribute: Attributes,
        set: bool,
    },
    Propagation(Propagation, Reach),
    Bind(Reach),
    /// Means nothing to the kernel, or is what happens anyway.
    Nothing,
    /// Known, and not honoured yet.
    Refused,
}

const NO_ATTRIBUTE: Attributes = Attributes(0);

const fn flag(ms: u64, attribute: Attributes, set: bool) -> Meaning {
    Meaning::Flag { ms, attribute, set }
}

const fn tree(attribute: Attributes, set: bool) -> Meaning {
    Meaning::Recursive { attribute, set }
}

fn meaning(word: &str) -> Option<Meaning> {
    use Attributes as A;
    Some(match word {
        "ro" => flag(0x1, A::READ_ONLY, true),
        "rw" => flag(0x1, A::READ_ONLY, false),
        "nosuid" => flag(0x2, A::NO_SUID, true),
        "suid" => flag(0x2, A::NO_SUID, false),
        "nodev" => flag(0x4, A::NO_DEV, true),
        "dev" => flag(0x4, A::NO_DEV, false),
        "noexec" => flag(0x8, A::NO_EXEC, true),
        "exec" => flag(0x8, A::NO_EXEC, false),
        "sync" => flag(0x10, NO_ATTRIBUTE, true),
        "async" => flag(0x10, NO_ATTRIBUTE, false),
        "mand" => flag(0x40, NO_ATTRIBUTE, true),
        "nomand" => flag(0x40, NO_ATTRIBUTE, false),
        "dirsync" => flag(0x80, NO_ATTRIBUTE, true),
        "nosymfollow" => flag(0x100, A::NO_SYMLINK_FOLLOW, true),
        "symfollow" => flag(0x100, A::NO_SYMLINK_FOLLOW, false),
        "noatime" => flag(0x400, A::NO_ATIME, true),
        "atime" | "relatime" => flag(0x400, A::ATIME_MASK, false),
        "nodiratime" => flag(0x800, A::NO_DIR_ATIME, true),
        "diratime" => flag(0x800, A::NO_DIR_ATIME, false),
        "silent" => flag(0x8000, NO_ATTRIBUTE, true),
        "loud" => flag(0x8000, NO_ATTRIBUTE, false),
        "iversion" => flag(0x80_0000, NO_ATTRIBUTE, true),
        "noiversion" => flag(0x80_0000, NO_ATTRIBUTE, false),
        "strictatime" => flag(0x100_0000, A::STRICT_ATIME, true),
        "nostrictatime" => flag(0x100_0000, A::ATIME_MASK, false),
        "lazytime" => flag(0x200_0000, NO_ATTRIBUTE, true),
        "nolazytime" => flag(0x200_0000, NO_ATTRIBUTE, false),
        "defaults" | "norelatime" | "nofail" | "acl" => Meaning::Nothing,
        "bind" => Meaning::Bind(Reach::Mount),
        "rbind" => Meaning::Bind(Reach::Tree),
        "remount" | "tmpcopyup" | "idmap" | "ridmap" | "copy-symlink" => Meaning::Refused,
        other => return recursive(other).or_else(|| propagation(other)),
    })
}

fn recursive(word: &str) -> Option<Meaning> {
    use Attributes as A;
    Some(match word {
        "rro" => tree(A::READ_ONLY, true),
        "rrw" => tree(A::READ_ONLY, false),
        "rnosuid" => tree(A::NO_SUID, true),
        "rsuid" => tree(A::NO_SUID, false),
        "rnodev" => tree(A::NO_DEV, true),
        "rdev" => tree(A::NO_DEV, false),
        "rnoexec" => tree(A::NO_EXEC, true),
        "rexec" => tree(A::NO_EXEC, false),
        "rnoatime" => tree(A::NO_ATIME, true),
        "ratime" | "rrelatime" | "rnostrictatime" => tree(A::ATIME_MASK, false),
        "rnorelatime" => Meaning::Nothing,
        "rstrictatime" => tree(A::STRICT_ATIME, true),
        "rnodiratime" => tree(A::NO_DIR_ATIME, true),
        "rdiratime" => tree(A::NO_DIR_ATIME, false),
        "rnosymfollow" => tree(A::NO_SYMLINK_FOLLOW, true),
        "rsymfollow" => tree(A::NO_SYMLINK_FOLLOW, false),
        _ => return None,
    })
}

fn propagation(word: &str) -> Option<Meaning> {
    let (kind, reach) = match word.strip_prefix('r') {
        Some(rest) if kind_of(rest).is_some() => (kind_of(rest)?, Reach::Tree),
        _ => (kind_of(word)?, Reach::Mount),
    };
    Some(Meaning::Propagation(kind, reach))
}

fn kind_of(word: &str) -> Option<Propagation> {
    Some(match word {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => return None,
    })
}

/// The options of one mount, sorted.
#[derive(Default)]
struct Options<'a> {
    flags: u64,
    attributes: [Setting; 2],
    propagation: Vec<(Propagation, Reach)>,
    bind: Option<Reach>,
    data: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn read(words: &'a [String], target: &std::path::Path) -> Result<Self> {
        let mut options = Self::default();
        for word in words {
            match meaning(word) {
                Some(Meaning::Refused) => {
                    return Err(Error::unsupported(
                        &format!("option {word} of the mount at {}", target.display()),
                        "this version of kelp-runtime does not implement it",
                    ));
                }
                Some(meaning) => options.add(meaning),
                None => options.data.push(word),
            }
        }
        Ok(options)
    }

    fn add(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Flag { ms, attribute, set } => {
                self.flags = if set { self.flags | ms } else { self.flags & !ms };
                put(&mut self.attributes[0], attribute, set);
            }
            Meaning::Recursive { attribute, set } => put(&mut self.attributes[1], attribute, set),
            Meaning::Propagation(kind, reach) => self.propagation.push((kind, reach)),
            Meaning::Bind(reach) => self.bind = Some(reach),
            Meaning::Nothing | Meaning::Refused => {}
        }
    }
}

/// The last word wins.
fn put(setting: &mut Setting, attribute: Attributes, set: bool) {
    let (to, from) = if set { (&mut setting.set, &mut setting.clear) } else { (&mut setting.clear, &mut setting.set) };
    to.0 |= attribute.0;
    from.0 &= !attribute.0;
}

/// The overlay that is the root, if the first mount is one, and all other mounts.
pub(super) fn plan(
    mounts: &[Mount],
    label: Option<&str>,
    scope: &Scope<'_>,
) -> Result<(Option<OverlayPlan>, Vec<MountPlan>)> {
    let (overlay, rest) = match mounts.split_first() {
        Some((first, rest)) if inside(first.destination()).as_os_str().is_empty() => (Some(root_overlay(first)?), rest),
        _ => (None, mounts),
    };
    let planned = rest.iter().map(|mount| plan_one(mount, label, scope)).collect::<Result<_>>()?;
    Ok((overlay, planned))
}

fn root_overlay(mount: &Mount) -> Result<OverlayPlan> {
    if mount.typ().as_deref() != Some("overlay") {
        return Err(
            Error::bad_input("cannot mount at /").because("only an overlay can be the root, as the first mount")
        );
    }
    let options = Options::read(mount.options().as_deref().unwrap_or_default(), mount.destination())?;
    OverlayPlan::make(&options.data, options.flags)
}

fn plan_one(mount: &Mount, label: Option<&str>, scope: &Scope<'_>) -> Result<MountPlan> {
    let place = inside(mount.destination());
    if place.as_os_str().is_empty() {
        return Err(Error::bad_input("cannot mount at /").because("only the first mount can be the root"));
    }
    let target = path_text(&place)?;
    let options = Options::read(mount.options().as_deref().unwrap_or_default(), mount.destination())?;
    let kind = mount.typ().as_deref().unwrap_or_default();
    let bind = options.bind.or((kind == "bind" || kind == "rbind").then_some(Reach::Mount));
    match bind {
        Some(reach) => bind_plan(mount, target, options, reach, scope),
        None if kind.is_empty() || kind == "none" => {
            Err(Error::bad_input(format!("cannot mount at {}", mount.destination().display()))
                .because("it has neither a type nor the option bind or rbind"))
        }
        None => file_system_plan(mount, target, options, kind, label, scope),
    }
}

fn bind_plan(
    mount: &Mount,
    target: CString,
    options: Options<'_>,
    reach: Reach,
    scope: &Scope<'_>,
) -> Result<MountPlan> {
    let source = mount.source().as_deref().ok_or_else(|| {
        Error::bad_input(format!("cannot bind at {}", mount.destination().display())).because("it has no source")
    })?;
    let source = path_text(&scope.folder.join(source))?;
    Ok(MountPlan {
        target,
        what: WhatPlan::Bind { source, reach },
        attributes: options.attributes,
        propagation: options.propagation,
    })
}

fn file_system_plan(
    mount: &Mount,
    target: CString,
    mut options: Options<'_>,
    kind: &str,
    label: Option<&str>,
    scope: &Scope<'_>,
) -> Result<MountPlan> {
    let label = label.filter(|label| !label.is_empty() && matches!(kind, "tmpfs" | "devpts" | "mqueue"));
    let context = label.map(|label| format!("context=\"{label}\""));
    let (kind, otherwise) = match kind {
        // What a spec calls cgroup is cgroup2 here. Where none may be mounted, the host's is shown.
        "cgroup" | "cgroup2" => ("cgroup2", Some("/sys/fs/cgroup")),
        // A user namespace without its own network namespace may not mount sysfs, nor mqueue without its own IPC namespace.
        "sysfs" if scope.in_user_namespace && !scope.namespaces.has(Namespaces::NETWORK) => ("sysfs", Some("/sys")),
        "mqueue" if scope.in_user_namespace && !scope.namespaces.has(Namespaces::IPC) => {
            ("mqueue", Some("/dev/mqueue"))
        }
        "proc" if scope.in_user_namespace && !scope.namespaces.has(Namespaces::PID) => ("proc", Some("/proc")),
        other => (other, None),
    };
    if kind == "cgroup2" {
        // Options of v1 mounts (the name of a controller) mean nothing here.
        options.data.clear();
    }
    let words: Vec<&str> = options.data.iter().copied().chain(context.as_deref()).collect();
    let data = if words.is_empty() { None } else { Some(text_of("", &words.join(","))?) };
    let source = mount.source().as_deref().map_or_else(|| text_of("", kind), path_text)?;
    let [alone, tree] = options.attributes;
    Ok(MountPlan {
        target,
        what: WhatPlan::FileSystem {
            kind: text_of("", kind)?,
            source,
            flags: options.flags,
            data,
            otherwise: otherwise.map(|path| Ok((text_of("", path)?, alone))).transpose()?,
        },
        // The flags of mount(2) say what the first setting would.
        attributes: [Setting::default(), tree],
        propagation: options.propagation,
    })
}
