// SPDX-License-Identifier: Apache-2.0
//! When a process runs, on which processors, and from which memory: sched(7), numa(7).

use rustix::io::Errno;

/// How a process is scheduled: the fields of `struct sched_attr` that mean something in an OCI spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// `SCHED_OTHER` (0), `SCHED_FIFO` (1), `SCHED_RR` (2), `SCHED_BATCH` (3), `SCHED_ISO` (4, reserved), `SCHED_IDLE` (5),
    /// `SCHED_DEADLINE` (6).
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// -20 (first) to 19 (last), for OTHER and BATCH.
    pub nice: i32,
    /// 1 to 99, for FIFO and RR.
    pub priority: u32,
    /// Nanoseconds of each period, for DEADLINE.
    pub runtime: u64,
    /// Nanoseconds from the begin of a period until which `runtime` must have been given, for DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, for DEADLINE; 0: as `deadline`.
    pub period: u64,
}

/// `struct sched_attr`
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    utilization_min: u32,
    utilization_max: u32,
}

/// `sched_setattr(pid, attr, 0)`. Since Linux 3.14. See sched_setattr(2).
///
/// # Errors
/// `EPERM`: a better priority than ours takes `CAP_SYS_NICE`, or `RLIMIT_NICE` and `RLIMIT_RTPRIO` on the process;
/// `EINVAL`: values that do not belong together; `EBUSY`: no bandwidth is left for the deadline.
pub fn set_scheduling(pid: i32, scheduling: &Scheduling) -> Result<(), Errno> {
    let Scheduling { policy, flags, nice, priority, runtime, deadline, period } = *scheduling;
    let size = size_of::<Attributes>() as u32;
    let (utilization_min, utilization_max) = (0, 0);
    let attr =
        Attributes { size, policy, flags, nice, priority, runtime, deadline, period, utilization_min, utilization_max };
    // SAFETY: two integers, and a sched_attr of the size that it says, which the kernel reads during the call.
    unsafe { crate::raw::call(libc::SYS_sched_setattr, [pid as usize, core::ptr::from_ref(&attr) as usize, 0, 0, 0]) }
        .map(drop)
}

/// `sched_setaffinity(pid, size, processors)`: bit n of the words is processor n. See sched_setaffinity(2).
///
/// # Errors
/// `EINVAL`: none of them is there, or in the process's cpuset; `EPERM`: another's process.
pub fn set_affinity(pid: i32, processors: &[usize]) -> Result<(), Errno> {
    // SAFETY: a pointer to as many bytes as the call says, read during the call.
    unsafe {
        crate::raw::call(
            libc::SYS_sched_setaffinity,
            [pid as usize, size_of_val(processors), processors.as_ptr() as usize, 0, 0],
        )
    }
    .map(drop)
}

/// `sched_getaffinity(pid, size, processors)`: how many bytes of the words were written. See sched_setaffinity(2).
///
/// # Errors
/// `EINVAL`: the kernel has more processors than the words have bits.
pub fn affinity(pid: i32, processors: &mut [usize]) -> Result<usize, Errno> {
    // SAFETY: a pointer to as many bytes as the call says, written during the call; any bytes are an integer.
    unsafe {
        crate::raw::call(
            libc::SYS_sched_getaffinity,
            [pid as usize, size_of_val(processors), processors.as_mut_ptr() as usize, 0, 0],
        )
    }
}

/// `set_mempolicy(mode, nodes, maxnode)` of the calling thread, which its children and programs inherit: `mode` is `MPOL_*`
/// with `MPOL_F_*`, bit n of the words is node n. See set_mempolicy(2).
///
/// # Errors
/// `EINVAL`: nodes where the mode takes none, none where it takes some, none that is there; `ENOSYS`: a kernel without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[usize]) -> Result<(), Errno> {
    let (pointer, bits) = match nodes {
        [] => (0, 0),
        // The kernel reads one bit less than it is told.
        _ => (nodes.as_ptr() as usize, size_of_val(nodes) * 8 + 1),
    };
    // SAFETY: an integer, and a null pointer with zero bits or one to as many words as the bits take, read during the call.
    unsafe { crate::raw::call(libc::SYS_set_mempolicy, [mode as usize, pointer, bits, 0, 0]) }.map(drop)
}
