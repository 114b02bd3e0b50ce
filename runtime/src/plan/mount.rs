// SPDX-License-Identifier: Apache-2.0
//! The spec's mounts.
//!
//! Spec: config.md "Mounts", "Linux mount options". Kernel: mount(2), open_tree(2), mount_setattr(2).

use super::idmap::{self, MapLine};
use super::mount_option::Options;
use super::root::OverlayPlan;
use super::{Scope, inside, path_text, text_of};
use crate::error::{Error, Result};
use kelp_init::script::{Inherits, Setting};
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
    /// It becomes read-only when all that belongs into it is there: devices, the places of other mounts, the working directory.
    pub read_only_at_last: bool,
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
    /// A tmpfs that takes something over from the folder that it covers: filled before anybody can reach it.
    Tmpfs {
        /// Options, for fsconfig(2).
        options: Vec<(CString, Option<CString>)>,
        /// What it takes over.
        inherits: Inherits,
    },
    /// A bind mount of which the runtime takes the copy, before there is a container.
    Prepared {
        /// On the host.
        source: CString,
        /// Alone or with all below it.
        reach: Reach,
        /// How its ids are mapped, and how far.
        ids: Option<(Ids, Reach)>,
    },
    /// New options for the file system (`Some`), or only for the mount, that is there.
    Remount {
        /// `MS_*`, and options of the type.
        file_system: Option<(u64, Option<CString>)>,
    },
    /// A bind mount.
    Bind {
        /// On the host.
        source: CString,
        /// Alone or with all below it.
        reach: Reach,
        /// For a source that the container's root may not reach.
        spare: Spare,
    },
}

/// Whether the runtime takes a copy of a bind mount's source, in case init cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// Init reaches all that we do.
    None,
    /// The container's root is not the host's, which may enter every folder.
    Taken,
}

/// Where the ids of a mount come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// A user namespace made for it, with this uid_map and gid_map.
    Maps {
        /// uid_map
        uid: Vec<MapLine>,
        /// gid_map
        gid: Vec<MapLine>,
    },
    /// A user namespace that exists, the container's.
    Namespace(CString),
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
    let mut planned = rest.iter().map(|mount| plan_one(mount, label, scope)).collect::<Result<Vec<_>>>()?;
    postpone_read_only(&mut planned);
    Ok((overlay, planned))
}

/// As in runc: a tmpfs with `ro` in which something is still to be made (/dev, or with mounts below it) is mounted writable.
fn postpone_read_only(mounts: &mut [MountPlan]) {
    for index in 0..mounts.len() {
        let Some((mount, later)) = mounts.get_mut(index..).and_then(<[_]>::split_first_mut) else { continue };
        let own = mount.target.as_bytes();
        let below =
            |later: &MountPlan| later.target.as_bytes().strip_prefix(own).is_some_and(|it| it.starts_with(b"/"));
        if own == b"dev" || later.iter().any(below) {
            mount.read_only_at_last = take_read_only(&mut mount.what, &mut mount.attributes[0]);
        }
    }
}

/// Whether it is a tmpfs that was to be read-only, and no longer is.
fn take_read_only(what: &mut WhatPlan, attributes: &mut Setting) -> bool {
    const MS_RDONLY: u64 = 1;
    match what {
        WhatPlan::FileSystem { kind, flags, .. } if kind.as_c_str() == c"tmpfs" => {
            let was = *flags & MS_RDONLY != 0;
            *flags &= !MS_RDONLY;
            was
        }
        WhatPlan::Tmpfs { .. } => {
            let was = attributes.set.0 & Attributes::READ_ONLY.0 != 0;
            attributes.set.0 &= !Attributes::READ_ONLY.0;
            was
        }
        _ => false,
    }
}

fn root_overlay(mount: &Mount) -> Result<OverlayPlan> {
    if mount.typ().as_deref() != Some("overlay") {
        return Err(
            Error::bad_input("cannot mount at /").because("only an overlay can be the root, as the first mount")
        );
    }
    let options = Options::read(mount.options().as_deref().unwrap_or_default(), mount.destination())?;
    let mapped = options.ids.is_some() || mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
    if mapped || options.copy_up || options.remount {
        return Err(Error::bad_input("cannot mount the overlay at /")
            .because("a root can be neither mapped by itself, nor copied up, nor remounted"));
    }
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
    let bind = options.bind.or(bind_type(kind));
    if options.remount {
        return remount_plan(target, &options, bind.is_some());
    }
    let wrong = |cause: &str| {
        Err(Error::bad_input(format!("cannot mount at {}", mount.destination().display())).because(cause))
    };
    let mapped = options.ids.is_some() || mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
    if options.copy_up && (kind != "tmpfs" || bind.is_some()) {
        return wrong("tmpcopyup has a meaning for tmpfs only");
    }
    match bind {
        Some(reach) => bind_plan(mount, target, options, reach, scope),
        None if mapped => wrong("the ids of a bind mount can be mapped, and of nothing else: it is none"),
        None if kind.is_empty() || kind == "none" => wrong("it has neither a type nor the option bind or rbind"),
        None => match inherits(kind, &options) {
            Inherits::Nothing => file_system_plan(mount, target, options, kind, label, scope),
            inherits => tmpfs_plan(mount, target, options, inherits, label),
        },
    }
}

/// What the type says where no option does.
fn bind_type(kind: &str) -> Option<Reach> {
    match kind {
        "bind" => Some(Reach::Mount),
        "rbind" => Some(Reach::Tree),
        _ => None,
    }
}

fn inherits(kind: &str, options: &Options<'_>) -> Inherits {
    match kind {
        "tmpfs" if options.copy_up => Inherits::All,
        "tmpfs" if !options.data.iter().any(|word| word.starts_with("mode=")) => Inherits::Mode,
        _ => Inherits::Nothing,
    }
}

fn tmpfs_plan(
    mount: &Mount,
    target: CString,
    options: Options<'_>,
    inherits: Inherits,
    label: Option<&str>,
) -> Result<MountPlan> {
    // What are flags of mount(2) and no attributes of a mount are words for fsconfig(2).
    let flags = [(0x10, "sync"), (0x40, "mand"), (0x80, "dirsync"), (0x200_0000, "lazytime")];
    let flags = flags.iter().filter(|(flag, _)| options.flags & flag != 0).map(|(_, word)| (*word, None));
    let data =
        options.data.iter().map(|word| word.split_once('=').map_or((*word, None), |(key, value)| (key, Some(value))));
    let label = label.filter(|label| !label.is_empty()).map(|label| ("context", Some(label)));
    let source = mount.source().as_deref().and_then(std::path::Path::to_str).unwrap_or("tmpfs");
    let words = [("source", Some(source))].into_iter().chain(flags).chain(data).chain(label);
    let options_of_it = words
        .map(|(key, value)| Ok((text_of("", key)?, value.map(|value| text_of("", value)).transpose()?)))
        .collect::<Result<_>>()?;
    Ok(MountPlan {
        target,
        what: WhatPlan::Tmpfs { options: options_of_it, inherits },
        attributes: options.attributes,
        propagation: options.propagation,
        read_only_at_last: false,
    })
}

/// `remount` with `bind` changes the mount, without it the file system: mount(2), `MS_REMOUNT`.
fn remount_plan(target: CString, options: &Options<'_>, of_mount: bool) -> Result<MountPlan> {
    let data = if options.data.is_empty() { None } else { Some(text_of("", &options.data.join(","))?) };
    let [alone, tree] = options.attributes;
    Ok(MountPlan {
        target,
        what: WhatPlan::Remount { file_system: (!of_mount).then_some((options.flags, data)) },
        attributes: [if of_mount { alone } else { Setting::default() }, tree],
        propagation: options.propagation.clone(),
        read_only_at_last: false,
    })
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
    let ids = ids(mount, &options, scope)?;
    // Ours, and closed by the time init looks: our descriptors, and what else only this process can name.
    let own = ["/proc/self/", "/proc/thread-self/", "/dev/fd/"].iter().any(|own| source.starts_with(own));
    let source = path_text(&scope.folder.join(source))?;
    let what = match ids.is_some() || (own && scope.may_administer) {
        true => WhatPlan::Prepared { source, reach, ids },
        false => WhatPlan::Bind { source, reach, spare: scope.spare() },
    };
    Ok(MountPlan {
        target,
        what,
        attributes: options.attributes,
        propagation: options.propagation,
        read_only_at_last: false,
    })
}

/// config.md: the mount's own mappings, or with `idmap` and `ridmap` alone those of the container.
fn ids(mount: &Mount, options: &Options<'_>, scope: &Scope<'_>) -> Result<Option<(Ids, Reach)>> {
    let reach = options.ids.unwrap_or(Reach::Mount);
    let wrong = |cause: &str| {
        let doing = format!("cannot map the ids of the mount at {}", mount.destination().display());
        Err(Error::bad_input(doing).because(cause))
    };
    let own = [mount.uid_mappings(), mount.gid_mappings()].map(|maps| maps.as_deref().unwrap_or_default());
    match own {
        [[], []] if options.ids.is_none() => Ok(None),
        [[], []] => match scope.container_ids() {
            Some(ids) => Ok(Some((ids, reach))),
            None => wrong("it has no uidMappings and gidMappings, and the container has no user namespace"),
        },
        [[], _] | [_, []] => wrong("uidMappings and gidMappings must both be there"),
        [uid, gid] => {
            let uid = idmap::lines(Some(uid), "uidMappings of a mount")?;
            let gid = idmap::lines(Some(gid), "gidMappings of a mount")?;
            Ok(Some((Ids::Maps { uid, gid }, reach)))
        }
    }
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
        read_only_at_last: false,
    })
}
