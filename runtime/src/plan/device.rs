// SPDX-License-Identifier: Apache-2.0
//! Devices and links of /dev.
//!
//! Spec: config-linux.md "Devices", "Default Devices", "Default /dev symlinks".

use super::{Scope, inside, path_text};
use crate::error::{Error, Result};
use kelp_sys::rustix::fs::FileType;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, Mount};
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};

/// One device.
#[derive(Debug)]
pub struct DevicePlan {
    /// Below the root.
    pub path: CString,
    /// How it comes there.
    pub how: DeviceHowPlan,
}

/// How a device comes into the container.
#[derive(Debug)]
pub enum DeviceHowPlan {
    /// mknod(2)
    Make {
        /// Character, block or FIFO.
        kind: FileType,
        /// Permissions.
        mode: u32,
        /// Major and minor.
        device: (u32, u32),
        /// Owner, where not root.
        owner: Option<(u32, u32)>,
    },
    /// The host's, bound.
    Bind {
        /// On the host.
        source: CString,
    },
}

const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: &[(&CStr, &CStr)] = &[
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

/// A /dev that is bound from elsewhere is left as it is, as runc does.
fn is_foreign(mounts: &[Mount]) -> bool {
    let is_bind = |mount: &Mount| {
        mount.typ().as_deref() == Some("bind")
            || mount.options().iter().flatten().any(|option| option == "bind" || option == "rbind")
    };
    mounts.iter().any(|mount| inside(mount.destination()) == Path::new("dev") && is_bind(mount))
}

pub(super) fn links(mounts: &[Mount]) -> &'static [(&'static CStr, &'static CStr)] {
    if is_foreign(mounts) { &[] } else { LINKS }
}

pub(super) fn plan(linux: &Linux, mounts: &[Mount], scope: &Scope<'_>) -> Result<Vec<DevicePlan>> {
    if is_foreign(mounts) {
        return Ok(Vec::new());
    }
    let own = linux.devices().as_deref().unwrap_or_default();
    let mut devices = Vec::with_capacity(DEFAULT.len() + own.len());
    for (path, major, minor) in DEFAULT {
        // One that the spec describes itself is made as it says.
        if !own.iter().any(|device| device.path() == Path::new(path)) {
            let how = if scope.in_user_namespace {
                DeviceHowPlan::Bind { source: path_text(Path::new(path))? }
            } else {
                let kind = FileType::CharacterDevice;
                DeviceHowPlan::Make { kind, mode: 0o666, device: (major, minor), owner: None }
            };
            devices.push(DevicePlan { path: path_text(&inside(Path::new(path)))?, how });
        }
    }
    let mut seen: Vec<PathBuf> = Vec::new();
    for device in own {
        let place = inside(device.path());
        if place.as_os_str().is_empty() || seen.contains(&place) {
            return Err(Error::bad_input(format!("cannot make the device {}", device.path().display()))
                .because("linux.devices names it twice, or it is no path"));
        }
        // The spec wants a link there, to the container's own devpts, whatever number is asked for.
        if place != Path::new("dev/ptmx") {
            devices.push(DevicePlan { path: path_text(&place)?, how: how(device, scope)? });
        }
        seen.push(place);
    }
    Ok(devices)
}

fn how(device: &LinuxDevice, scope: &Scope<'_>) -> Result<DeviceHowPlan> {
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            return Err(Error::bad_input(format!("cannot make the device {}", device.path().display()))
                .because("type \"a\" is for rules, not for devices"));
        }
    };
    if scope.in_user_namespace && kind != FileType::Fifo {
        return Ok(DeviceHowPlan::Bind { source: path_text(device.path())? });
    }
    let number = |value: i64, name: &str| {
        u32::try_from(value).map_err(|_| {
            Error::bad_input(format!("cannot make the device {}", device.path().display()))
                .because(format!("cannot mkdev() device with wildcards: its {name} number is {value}"))
        })
    };
    let numbers = if kind == FileType::Fifo {
        (0, 0)
    } else {
        (number(device.major(), "major")?, number(device.minor(), "minor")?)
    };
    let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    if owner.0 == u32::MAX || owner.1 == u32::MAX {
        return Err(Error::bad_input(format!("cannot make the device {}", device.path().display()))
            .because(format!("uids and gids must be in range 0-{}", u32::MAX - 1)));
    }
    Ok(DeviceHowPlan::Make {
        kind,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        device: numbers,
        owner: (owner != (0, 0)).then_some(owner),
    })
}
