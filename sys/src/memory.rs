// SPDX-License-Identifier: Apache-2.0
//! Memory by the page, and what a program that mostly sleeps holds of it. See mmap(2), madvise(2), malloc_trim(3),
//! dl_iterate_phdr(3).

use core::ffi::{c_int, c_void};
use core::ops::{Deref, DerefMut};
use core::ptr::{NonNull, null_mut};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Zeroes that take memory only where they are touched, without an allocator: an array on the stack is touched all over
/// by the probes that guard the stack.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    length: usize,
}

impl Pages {
    /// `mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)`.
    ///
    /// # Errors
    /// `ENOMEM`; `EINVAL` for a length of 0.
    pub fn map(length: usize) -> Result<Self, Errno> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap_anonymous(null_mut(), length, access, MapFlags::PRIVATE)? };
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, length })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` bytes are mapped from `start` on for as long as we live, zeroed by the kernel, and ours alone.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and we are borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: nobody borrows what is dropped.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert_eq!(unmapped, Ok(()), "what is mapped can be unmapped");
    }
}

/// Gives the heap's free pages back to the kernel: `malloc_trim(0)`.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer; glibc locks its arenas itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Unmaps this program's code and constants until they are needed again: `madvise(MADV_DONTNEED)` of each segment
/// that is not writable. They stay in the page cache, from where the few pages that a sleeper's loop needs come back by
/// a minor fault each; those of its start-up do not.
pub fn forget_text() {
    // SAFETY: the callback only reads what it is given.
    unsafe { libc::dl_iterate_phdr(Some(forget_segments), core::ptr::null_mut()) };
}

/// Called for the program itself first: returns 1 so as to be called for nothing else.
unsafe extern "C" fn forget_segments(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    const PAGE: usize = 4096;
    // SAFETY: dl_iterate_phdr gives a valid structure and as many program headers as it says.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr as usize, core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = (base + header.p_vaddr as usize) & !(PAGE - 1);
        let end = (base + header.p_vaddr as usize + header.p_memsz as usize + PAGE - 1) & !(PAGE - 1);
        // SAFETY: a private mapping of a file that was never writable: what is read there next is what was there. On
        // failure (pages locked, or larger than ours) nothing has happened.
        unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
    }
    1
}
