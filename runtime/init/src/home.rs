// SPDX-License-Identifier: Apache-2.0
//! HOME, where `process.env` does not say it: the home folder of the program's user in the container's own /etc/passwd.
//!
//! Runs in init after the pivot, and in a process that joins; while we are root, since the user may not read the file.
//! The container's file is read as text, never by a name service, and may say anything.
//! Spec: none; runc's behaviour, on which Docker and podman rely. File: passwd(5).

use crate::channel::fail_here;
use crate::script::Process;
use crate::step::{During, Step, Stop};
use crate::target;
use kelp_sys::clone::LateText;
use kelp_sys::mount::here;
use kelp_sys::rustix::fd::OwnedFd;
use kelp_sys::rustix::fs::{FileType, OFlags, fstat};
use kelp_sys::rustix::io::{Errno, read, retry_on_intr};

/// Fills HOME in: `/` where the user is not in the file, or there is none.
pub(crate) fn find(fail_at: Option<Step>, process: &Process<'_>) -> Result<(), Stop> {
    let Some(home) = process.home else { return Ok(()) };
    fail_here(fail_at, Step::Home)?;
    let found = open().and_then(|file| file.map_or(Ok(false), |file| search(&file, process.uid, home)));
    if !found.during(Step::Home)? {
        home.set(&[b"HOME=/"]).during(Step::Home)?;
    }
    Ok(())
}

/// None for a file that is not there, or is no file.
fn open() -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    match target::open(here(), c"/etc/passwd", flags) {
        Ok(file) if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile => Ok(Some(file)),
        // A link in circles, into /proc or to a device that is none names no users either.
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::ACCESS | Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

const SPACE: usize = 4096;

/// Reads line by line. A line longer than the space names nobody.
fn search(file: &OwnedFd, uid: u32, home: &LateText) -> Result<bool, Errno> {
    let mut space = [0_u8; SPACE];
    let (mut filled, mut too_long) = (0, false);
    loop {
        let free = space.get_mut(filled..).unwrap_or_default();
        let count = retry_on_intr(|| read(file, &mut *free))?;
        let end = filled.saturating_add(count);
        let text = space.get(..end).unwrap_or_default();
        let mut rest = text;
        while let Some(newline) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at_checked(newline).unwrap_or((rest, b""));
            if !core::mem::take(&mut too_long) && take(line, uid, home)? {
                return Ok(true);
            }
            rest = after.get(1..).unwrap_or_default();
        }
        if count == 0 {
            return if too_long { Ok(false) } else { take(rest, uid, home) };
        }
        let (kept, begin) = (rest.len(), text.len().saturating_sub(rest.len()));
        too_long |= kept == SPACE;
        filled = if too_long { 0 } else { kept };
        space.copy_within(begin..end, 0);
    }
}

/// `name:password:uid:gid:comment:home:shell`
fn take(line: &[u8], uid: u32, home: &LateText) -> Result<bool, Errno> {
    let mut fields = line.split(|&byte| byte == b':');
    let id = fields.nth(2).and_then(|id| core::str::from_utf8(id).ok()?.parse().ok());
    let Some(folder) = fields.nth(2).filter(|_| id == Some(uid)) else { return Ok(false) };
    home.set(&[b"HOME=", if folder.is_empty() { b"/" } else { folder }])?;
    Ok(true)
}
