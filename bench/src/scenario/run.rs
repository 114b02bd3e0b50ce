// SPDX-License-Identifier: Apache-2.0
//! `run` of /bin/true beside the floor: everything between a shell's Enter and the program's end.

use std::path::Path;

use crate::bundle::{Ids, Size};
use crate::error::{Error, Result};
use crate::host::User;
use crate::lab::{Lab, Subject};
use crate::report::Report;
use crate::timing::Line;

const PROGRAM: &[&str] = &["/bin/true"];

pub(super) fn floor<'a>(lab: &'a Lab, bundle: &'a Path, option: Option<&'static str>) -> Subject<'a> {
    let line = move |_: &str| {
        let words = option.into_iter().chain(["/bin/true"]).map(std::ffi::OsStr::new);
        Line::new(bundle, std::iter::once(lab.tools.floor.as_os_str()).chain(words))
    };
    Subject { name: "floor".into(), line: Box::new(line), undo: None }
}

pub(super) fn runtimes<'a>(lab: &'a Lab, bundle: &'a Path) -> impl Iterator<Item = Subject<'a>> {
    lab.tools.runtimes.iter().map(move |r| lab.run_subject(r, bundle))
}

pub(super) fn default(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let bundle = lab.bundle("run", Ids::Host, Size::Default, PROGRAM)?;
    let mut subjects = vec![floor(lab, &bundle, None)];
    subjects.extend(runtimes(lab, &bundle));
    lab.interleave(title, &subjects, report)
}

pub(super) fn docker(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let bundle = lab.bundle("docker", Ids::Host, Size::Docker, PROGRAM)?;
    let subjects: Vec<_> = runtimes(lab, &bundle).collect();
    lab.interleave(title, &subjects, report)
}

pub(super) fn rootless(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let bundle = lab.bundle("rootless", Ids::Single, Size::Default, PROGRAM)?;
    let mut subjects = vec![floor(lab, &bundle, Some("-u"))];
    subjects.extend(runtimes(lab, &bundle));
    if let Some(bwrap) = &lab.tools.bwrap {
        let root = bundle.join("rootfs");
        let line = move |_: &str| {
            let words = ["--unshare-all", "--bind", ".", "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"];
            Line::new(&root, std::iter::once(bwrap.as_os_str()).chain(words.iter().map(AsRef::as_ref)))
        };
        subjects.push(Subject { name: "bwrap".into(), line: Box::new(line), undo: None });
    }
    lab.interleave(title, &subjects, report)
}

pub(super) fn range(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let user = lab.user.as_ref().ok_or_else(|| Error::new("cannot measure", "no user with subordinate ids"))?;
    let (first, count) = subordinate(user).ok_or_else(|| {
        Error::new("cannot measure", format!("{} has no range in /etc/subuid", user.name))
            .hint("apt-get install uidmap")
    })?;
    let bundle = lab.bundle("range", Ids::Range { first, count }, Size::Default, PROGRAM)?;
    let subjects: Vec<_> = runtimes(lab, &bundle).collect();
    lab.interleave(title, &subjects, report)
}

/// The user's first range; the one for groups is taken to be the same, as useradd makes it.
fn subordinate(user: &User) -> Option<(u32, u32)> {
    let subuid = std::fs::read_to_string("/etc/subuid").ok()?;
    let mine = subuid.lines().find_map(|l| l.strip_prefix(&format!("{}:", user.name)))?.to_owned();
    let (first, count) = mine.split_once(':')?;
    Some((first.parse().ok()?, count.parse().ok()?))
}
