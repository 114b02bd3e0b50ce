// SPDX-License-Identifier: Apache-2.0
//! Gives the standard streams to the program's user where only who is outside of its user namespace can: a pipe of the host's root
//! has an owner that is not mapped inside, so that not even the container's root may open `/dev/stdout`.
//!
//! Runs in the caller, after the id maps are written and before the program begins. Its counterpart is `kelp_init::stdio`.
//! Kernel: user_namespaces(7), "Interaction of user and group IDs".

use crate::error::{Doing, Result};
use crate::verb::create::Stdio;
use kelp_sys::rustix::fd::{AsFd, BorrowedFd};
use kelp_sys::rustix::fs::{fchown, fstat};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Gid, Uid, geteuid};
use kelp_sys::rustix::stdio::{stderr, stdin, stdout};

/// All three, if we are root: what belongs to others we may not give away, and init does what it may.
///
/// # Errors
/// The map cannot be read, or a stream not be given.
pub(crate) fn give(stdio: &Stdio, pid: i32, uid: u32) -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let path = format!("/proc/{pid}/uid_map");
    let map = std::fs::read_to_string(&path).doing(|| format!("cannot read {path}"))?;
    let Some(owner) = outside(&map, uid).filter(|&owner| owner != 0) else { return Ok(()) };
    let streams = match stdio {
        Stdio::Inherit => [stdin(), stdout(), stderr()],
        Stdio::Fds(fds) => fds.each_ref().map(AsFd::as_fd),
    };
    let given = streams.iter().try_for_each(|stream| give_one(*stream, owner));
    given.doing(|| "cannot give the standard streams to the program's user".into())
}

fn give_one(stream: BorrowedFd<'_>, owner: u32) -> std::result::Result<(), Errno> {
    let stat = match fstat(stream) {
        Err(Errno::BADF) => return Ok(()),
        stat => stat?,
    };
    if stat.st_uid == owner || !kelp_init::may_be_given(&stat, 0) {
        return Ok(());
    }
    match fchown(stream, Some(Uid::from_raw(owner)), None::<Gid>) {
        Err(Errno::PERM | Errno::INVAL | Errno::ROFS | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
        result => result,
    }
}

/// Who the id is outside, by the lines of a uid_map: first inside, first outside, how many.
fn outside(map: &str, inside: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        let (first, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        inside.checked_sub(first).filter(|offset| *offset < count).and_then(|offset| outside.checked_add(offset))
    })
}

#[cfg(test)]
mod tests {
    use super::outside;

    #[test]
    fn an_id_is_found_outside_by_the_line_that_maps_it() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(
            [0, 1, 1000, 65536].map(|id| outside(map, id)),
            [Some(1000), Some(100_000), Some(100_999), Some(165_535)]
        );
        assert_eq!([outside(map, 65537), outside("", 0), outside("a b c", 0)], [None; 3]);
    }
}
