// SPDX-License-Identifier: Apache-2.0
//! The one door to kernel calls that rustix does not have.

use rustix::io::Errno;

/// `syscall(number, …)`, with the result as the kernel means it.
///
/// # Safety
///
/// The arguments must be what the kernel call `number` asks for: pointers valid for as long and as far as it uses them.
pub(crate) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> Result<usize, Errno> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller vouches for the arguments; libc::syscall passes them on unchanged.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result == -1 {
        // SAFETY: __errno_location returns this thread's errno, always valid.
        return Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }));
    }
    Ok(result as usize)
}
