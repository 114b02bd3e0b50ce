// SPDX-License-Identifier: Apache-2.0
//! Decides where in the hierarchy the container's cgroup goes. Pure.
//!
//! Spec: config-linux.md "Cgroups Path": absolute means below the cgroup mount, relative and absent are ours to place.

use std::path::{Component, Path, PathBuf};

use super::systemd::ScopePlan;
use super::{Controllers, Error, Facts, Kind, Level, error};

/// Where the container's cgroup goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the container stays in the cgroup of its creator.
    None {
        /// Why that is all right.
        why: &'static str,
    },
    /// To a directory that we make.
    Directory {
        /// The cgroup that is there already, in which we may make others. If we could not look at it, it has no
        /// controllers here.
        base: Level,
        /// The container's cgroup, some levels below.
        dir: PathBuf,
    },
    /// To a scope that systemd makes.
    Scope(Box<ScopePlan>),
}

/// Places the cgroup of container `id`, which needs the controllers `needed`.
pub(super) fn place(id: &str, path: Option<&Path>, facts: &Facts, needed: Controllers) -> Result<Place, Error> {
    let asked = path.map(clean).transpose()?.flatten();
    let Some(mount) = &facts.mount else {
        return without_mount(asked.is_some(), facts, needed);
    };
    let absolute = asked.is_some() && path.is_some_and(Path::is_absolute);
    let name = match asked {
        Some(inside) => inside,
        None => plain_name(id)?,
    };
    if absolute {
        return below(&mount.at.join(name), &mount.at, facts, needed);
    }
    match (&facts.top, pick(&facts.delegated, needed)) {
        (Some(top), _) => in_level(top, &name, facts, needed),
        (None, Some(level)) => in_level(level, &name, facts, needed),
        (None, None) if needed.is_empty() && path.is_none() => {
            Ok(Place::None { why: "no cgroup is delegated to this user and no limit is asked for" })
        }
        (None, None) => Err(no_delegation(id, needed)),
    }
}

/// The nearest level that gives what is needed; failing that the nearest at all, so that the error can name it.
fn pick(levels: &[Level], needed: Controllers) -> Option<&Level> {
    levels.iter().find(|level| level.can_give().contains(needed)).or(levels.first())
}

/// A place in a level whose controllers we know.
fn in_level(level: &Level, name: &Path, facts: &Facts, needed: Controllers) -> Result<Place, Error> {
    let missing = needed - level.can_give();
    if missing.is_empty() {
        return Ok(Place::Directory { base: level.clone(), dir: level.dir.join(name) });
    }
    Err(no_controller(&level.dir, level.populated && level.available.contains(missing), missing, facts.v1))
}

/// A place that the spec names absolutely: below the nearest level that we know, or else below the mount, where the
/// kernel will say whether we may.
fn below(dir: &Path, mount: &Path, facts: &Facts, needed: Controllers) -> Result<Place, Error> {
    let level = facts.top.iter().chain(&facts.delegated).find(|level| dir.starts_with(&level.dir) && dir != level.dir);
    let Some(level) = level else {
        return Ok(Place::Directory { base: Level { dir: mount.to_owned(), ..Level::default() }, dir: dir.to_owned() });
    };
    let missing = needed - level.can_give();
    if missing.is_empty() {
        return Ok(Place::Directory { base: level.clone(), dir: dir.to_owned() });
    }
    Err(no_controller(&level.dir, level.populated && level.available.contains(missing), missing, facts.v1))
}

/// `path` without its root, `.` and `..` (which lead nowhere above the mount); nothing if the spec's string is empty.
fn clean(path: &Path) -> Result<Option<PathBuf>, Error> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => {
                inside.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if inside.as_os_str().is_empty() {
        return Err(error(
            Kind::BadInput,
            "cannot place the container's cgroup",
            format!("linux.cgroupsPath {path:?} is the root, which holds everything"),
        )
        .hint("leave it out, or name a cgroup below: /containers/NAME"));
    }
    Ok(Some(inside))
}

/// The id as the name of a directory.
fn plain_name(id: &str) -> Result<PathBuf, Error> {
    if id.is_empty() || id == "." || id == ".." || id.contains(['/', '\0', '\n']) {
        let because = format!("the container's id {id:?} cannot be the name of a directory");
        return Err(error(Kind::BadInput, "cannot place the container's cgroup", because));
    }
    Ok(PathBuf::from(id))
}

/// Without cgroup v2 a container runs, but cannot be limited.
fn without_mount(asked: bool, facts: &Facts, needed: Controllers) -> Result<Place, Error> {
    if needed.is_empty() && !asked {
        return Ok(Place::None { why: "cgroup v2 is not mounted and no limit is asked for" });
    }
    Err(no_mount(facts))
}

/// The words for a machine where cgroup v2 is not mounted.
pub(super) fn no_mount(facts: &Facts) -> Error {
    let because = "cgroup v2 is not mounted (no cgroup2 in /proc/self/mountinfo)";
    let hint = if facts.v1.is_empty() {
        "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    } else {
        "this machine uses cgroup v1; boot it with systemd.unified_cgroup_hierarchy=1"
    };
    error(Kind::Unsupported, "cannot limit the container", because).hint(hint)
}

/// The words for a controller that the chosen place cannot give.
pub(super) fn no_controller(dir: &Path, populated: bool, missing: Controllers, v1: Controllers) -> Error {
    let doing = format!("cannot limit the container by the cgroup controller {missing}");
    let dir = dir.display();
    if populated {
        let because = format!("{dir} has processes of its own, so it cannot enable controllers for its children");
        let hint = "move them into a cgroup below it first, or start from another: \
                    systemd-run --user --scope -p Delegate=yes COMMAND";
        return error(Kind::Unsupported, doing, because).hint(hint);
    }
    let because = format!("{dir} does not have it");
    let hint = if v1.contains(missing) {
        "cgroup v1 holds it on this machine; boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all)"
            .to_owned()
    } else {
        delegate_it(missing)
    };
    error(Kind::Unsupported, doing, because).hint(hint)
}

/// What helps a user whose systemd was not given a controller.
pub(super) fn delegate_it(missing: Controllers) -> String {
    let unknown = missing - Controllers::OF_SYSTEMD;
    if !unknown.is_empty() {
        return format!("systemd cannot delegate {unknown}: leave the limit out, or run it as root");
    }
    format!("delegate it: systemctl edit user@.service, [Service] Delegate={missing}; or leave the limit out")
}

/// The words for a user to whom nothing is delegated, and who wants more than nothing.
fn no_delegation(id: &str, needed: Controllers) -> Error {
    let because = match needed.is_empty() {
        true => "linux.cgroupsPath is set, but this user may not make cgroups here".to_owned(),
        false => format!("its limits need the cgroup controllers {needed}, but this user may not make cgroups here"),
    };
    error(Kind::Permission, format!("cannot make a cgroup for container {id}"), because).hint(
        "run it in a delegated cgroup: systemd-run --user --scope -p Delegate=yes COMMAND, or use --systemd-cgroup \
         (without a login session: loginctl enable-linger); or leave the limits out",
    )
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
