// SPDX-License-Identifier: Apache-2.0
//! What the holder may still ask of the kernel once the container exists: a seccomp filter over itself.
//!
//! It reads output that a hostile program chose, and may do so for months: it needs descriptors that are open, the files of
//! its container's folder, its socket and the clock. It can execute nothing, make no process, no namespace, no mount and no
//! connection, and map nothing executable. See seccomp(2); `hand` does what takes more.

use kelp_sys::rustix::io::Errno;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;

/// Calls that are allowed whatever their arguments.
const ALLOWED: &[i64] = &[
    // What is open: the program's streams, clients, the log.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_ppoll,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    // The container's folder: log, exit record, socket, lock.
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_flock,
    // Children that end, and the one that is signalled: by its descriptor, never by a number.
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_pidfd_send_signal,
    libc::SYS_geteuid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // Time and memory.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_getrandom,
    libc::SYS_futex,
    // Signals that are caught, and the end.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The spellings of calls above that only older architectures have.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[
    libc::SYS_poll,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_open,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// The terminal's size, and whether a descriptor is a terminal; not, above all, TIOCSTI.
const IOCTLS: [u64; 4] = [libc::TCGETS, libc::TIOCGWINSZ, libc::TIOCSWINSZ, libc::FIONBIO];
const PROT_EXEC: u64 = libc::PROT_EXEC as u64;

/// Confines this thread, which is the only one, from now on and for ever. Everything else fails with EPERM: whoever needs
/// it can say so, which a dead holder could not.
pub(super) fn confine() -> Result<(), Error> {
    seccompiler::apply_filter(&filter()?)
}

fn filter() -> Result<BpfProgram, Error> {
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_HERE).map(|&call| (call, Vec::new())).collect();
    let rule = |argument, how, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value)?;
        SeccompRule::new(vec![condition])
    };
    let ioctls = IOCTLS.iter().map(|&request| rule(1, SeccompCmpOp::Eq, request)).collect::<Result<_, _>>()?;
    calls.insert(libc::SYS_ioctl, ioctls);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        calls.insert(call, vec![rule(2, SeccompCmpOp::MaskedEq(PROT_EXEC), 0)?]);
    }
    let denied = SeccompAction::Errno(Errno::PERM.raw_os_error().cast_unsigned());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(calls, denied, SeccompAction::Allow, arch)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::process::Command;

    /// A filter holds for a thread and its children: the other tests go on as they are.
    #[test]
    fn a_confined_holder_can_write_its_log_and_make_no_process_and_no_connection() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::spawn(move || {
            confine().unwrap();
            let path = folder.path().join("log");
            let mut log = std::fs::File::create(&path).unwrap();
            log.write_all(b"a line\n").and_then(|()| log.sync_all()).unwrap();
            std::fs::rename(&path, folder.path().join("log.1")).unwrap();
            let mut back = String::new();
            std::fs::File::open(folder.path().join("log.1")).unwrap().read_to_string(&mut back).unwrap();
            assert_eq!(back, "a line\n");
            let denied = |result: std::io::Error| assert_eq!(result.kind(), ErrorKind::PermissionDenied);
            denied(Command::new("/bin/true").spawn().unwrap_err());
            denied(std::net::TcpStream::connect("127.0.0.1:1").unwrap_err());
            denied(std::os::unix::net::UnixStream::connect("/nowhere").unwrap_err());
            denied(std::os::unix::fs::chroot("/").unwrap_err());
            folder.close().unwrap();
        })
        .join()
        .unwrap();
    }
}
