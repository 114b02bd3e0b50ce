// SPDX-License-Identifier: Apache-2.0
//! Marks in time of a process and of what it clones, on one clock and in memory that they share until they exec.
//!
//! Off unless [`start`] was called: a mark then costs one load. See mmap(2) "MAP_SHARED", clock_gettime(2).

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::time::{ClockId, clock_gettime};

/// More marks than this are dropped.
pub const CAPACITY: usize = 2048;

/// Something began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub nanoseconds: u64,
    /// The process in which it began, by its pid in its own pid namespace.
    pub process: u32,
    /// What began.
    pub code: u32,
}

/// All zeroes, as the kernel maps it, is a valid one.
#[repr(C)]
struct Marks {
    used: AtomicU32,
    marks: [(AtomicU64, AtomicU32, AtomicU32); CAPACITY],
}

static MARKS: AtomicPtr<Marks> = AtomicPtr::new(null_mut());

/// Marks are kept from here on, by this process and by all that it clones.
///
/// # Errors
/// `ENOMEM`.
pub fn start() -> Result<(), Errno> {
    // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
    let memory = unsafe {
        mmap_anonymous(null_mut(), size_of::<Marks>(), ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)?
    };
    MARKS.store(memory.cast(), Ordering::Relaxed);
    Ok(())
}

fn marks() -> Option<&'static Marks> {
    let marks = MARKS.load(Ordering::Relaxed);
    // SAFETY: null, or a mapping of this size, aligned to a page, zeroed by the kernel, that is never unmapped; all of it is
    // atomics.
    unsafe { marks.as_ref() }
}

/// `code` begins now, in this process.
pub fn mark(code: u32) {
    let Some(marks) = marks() else { return };
    let index = marks.used.fetch_add(1, Ordering::Relaxed);
    if let Some((time, process, what)) = marks.marks.get(index as usize) {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
        what.store(code, Ordering::Relaxed);
        process.store(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs(), Ordering::Relaxed);
        time.store(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds), Ordering::Release);
    }
}

/// What was marked so far, in the order in which it was.
pub fn read() -> impl Iterator<Item = Mark> {
    let all = marks().map(|marks| {
        let used = marks.used.load(Ordering::Relaxed) as usize;
        marks.marks.iter().take(used)
    });
    all.into_iter().flatten().map(|(time, process, what)| Mark {
        nanoseconds: time.load(Ordering::Acquire),
        process: process.load(Ordering::Relaxed),
        code: what.load(Ordering::Relaxed),
    })
}
