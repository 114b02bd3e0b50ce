// SPDX-License-Identifier: Apache-2.0
//! A terminal of the container's own devpts, as stdin, stdout, stderr and /dev/console.
//!
//! Runs in init before the pivot, and in a process that joins. The image or the container could have put something else in
//! the place of each file on the way: every descriptor is checked to be what it should be (CVE-2025-52565).
//! Spec: config.md "process.terminal", config-linux.md "dev/console". Kernel: pts(4), ioctl_tty(2).

use crate::channel::{Channel, Report};
use crate::root::Rootfs;
use crate::script::{Console, Script};
use crate::step::{During, Step, Stop};
use crate::target;
use kelp_sys::mount::{Reach, attach_mount, clone_mount};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, major, minor, mknodat, openat};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Gid, Uid, ioctl_tiocsctty};
use kelp_sys::rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use kelp_sys::rustix::termios::{Winsize, tcsetwinsize};

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Opens the terminal, hands its master to the runtime, and shows it at /dev/console.
pub(crate) fn open(script: &Script<'_>, rootfs: &Rootfs) -> Result<(), Stop> {
    let Some(console) = script.console else { return Ok(()) };
    script.begin(Step::Console)?;
    let terminal = place(script.channel(), rootfs.as_fd(), console, script.process.uid).during(Step::Console)?;
    show(rootfs, &terminal).during_nth(Step::Console, 1)
}

/// A new terminal of the devpts at dev/pts below `root`, as our controlling terminal and standard streams. Returns its slave.
pub(crate) fn place(channel: Channel<'_>, root: BorrowedFd<'_>, console: Console, uid: u32) -> Result<OwnedFd, Errno> {
    let master = target::open(root, c"dev/pts/ptmx", OFlags::RDWR | OFlags::NOCTTY)?;
    verify_ptmx(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    if let Some((rows, columns)) = console.size {
        tcsetwinsize(&slave, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    }
    if console.plain_newlines {
        kelp_sys::term::keep_newlines(&slave)?;
    }
    own(&slave, uid)?;
    ioctl_tiocsctty(&slave)?;
    crate::born::place_stdio([slave.as_fd(), slave.as_fd(), slave.as_fd()])?;
    channel.report(Report::Console, Some(master.as_fd()))?;
    Ok(slave)
}

/// The multiplexer of a devpts is character device 5:2 on a devpts.
fn verify_ptmx(master: &OwnedFd) -> Result<(), Errno> {
    let stat = fstat(master)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let is_ptmx = is_device && (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2);
    let on_devpts = fstatfs(master)?.f_type == DEVPTS_SUPER_MAGIC;
    if is_ptmx && on_devpts { Ok(()) } else { Err(Errno::NOTTY) }
}

/// The program's user owns its terminal. A user namespace in which the id is not mapped (`EINVAL`), or that may not give files
/// away (`EPERM`), leaves it with root, who then opened it for the program.
fn own(slave: &OwnedFd, uid: u32) -> Result<(), Errno> {
    if uid == 0 {
        return Ok(());
    }
    match kelp_sys::rustix::fs::fchown(slave, Some(Uid::from_raw(uid)), None::<Gid>) {
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        result => result,
    }
}

/// /dev/console is the terminal, bound over an empty file that we have made or found, never over what a link names.
fn show(rootfs: &Rootfs, slave: &OwnedFd) -> Result<(), Errno> {
    let dev = target::open(rootfs.as_fd(), c"dev", OFlags::PATH | OFlags::DIRECTORY)?;
    match mknodat(&dev, c"console", FileType::RegularFile, Mode::from_raw_mode(0o620), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let place = openat(&dev, c"console", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&place)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    let copy = clone_mount(slave.as_fd(), c"", Reach::Mount)?;
    attach_mount(copy.as_fd(), place.as_fd())
}
