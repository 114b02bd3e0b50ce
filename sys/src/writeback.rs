// SPDX-License-Identifier: Apache-2.0
//! Hints on when data goes to disk.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// Starts writing what is dirty of a file's `length` bytes from `offset` on (0: to its end), without waiting for the disk:
/// `sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE)`. A later syncfs(2) finds less to do. It promises nothing
/// about durability. Since Linux 2.6.17. See sync_file_range(2).
///
/// # Errors
/// `EINVAL` for offsets beyond 2^63; `ESPIPE` for what is neither file, folder nor block device; `EIO`, `ENOSPC`.
pub fn begin(file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), Errno> {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return Err(Errno::INVAL) };
    // SAFETY: sync_file_range takes a descriptor, which the borrow keeps open, and three integers.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
    match result {
        0 => Ok(()),
        // SAFETY: __errno_location gives this thread's own errno, always valid.
        _ => Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() })),
    }
}
