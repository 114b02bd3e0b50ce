// SPDX-License-Identifier: Apache-2.0
//! The profile of containers that name none: of the same reach as Docker's, so that what runs there runs here.
//!
//! A list of what is let through, by what it is for. What is missing, is missing on purpose: calls that act on the whole
//! machine (mounts, modules, reboot, swap, clocks, accounting), that reach into other processes, that have been ways out
//! (`userfaultfd`, `keyctl`, `io_uring_setup`, new user namespaces), and what nobody needs any more. A capability brings
//! its calls along: who may set the clock may call `settimeofday`.

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};

/// Opening, closing, and what one learns of open files.
const FILES: &str = "open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 flock ioctl access faccessat \
    faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount \
    listmount name_to_handle_at umask truncate truncate64 ftruncate ftruncate64 fallocate fadvise64 fadvise64_64 sync syncfs \
    fsync fdatasync sync_file_range readahead cachestat memfd_create memfd_secret";

/// Reading, writing, moving data between files.
const DATA: &str = "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek sendfile sendfile64 \
    copy_file_range splice tee vmsplice pipe pipe2 io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents \
    io_pgetevents_time64";

/// Names of files.
const NAMES: &str = "chdir fchdir getcwd getdents getdents64 mkdir mkdirat rmdir mknod mknodat link linkat symlink symlinkat \
    readlink readlinkat rename renameat renameat2 unlink unlinkat utime utimes futimesat utimensat utimensat_time64";

/// Owners, modes, extended attributes.
const ATTRIBUTES: &str = "chown chown32 lchown lchown32 fchown fchown32 fchownat chmod fchmod fchmodat fchmodat2 setxattr \
    setxattrat lsetxattr fsetxattr getxattr getxattrat lgetxattr fgetxattr listxattr listxattrat llistxattr flistxattr \
    removexattr removexattrat lremovexattr fremovexattr";

/// Waiting for files, and for what happens to them.
const EVENTS: &str = "poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl \
    epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 inotify_init \
    inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark";

/// Memory of one's own.
const MEMORY: &str = "brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall \
    remap_file_pages pkey_alloc pkey_free pkey_mprotect map_shadow_stack membarrier mseal";

/// Making, ending and awaiting processes and threads. `clone` and `clone3`: see `new_processes`.
const PROCESSES: &str = "fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp \
    setpgid getsid setsid prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self pidfd_open \
    pidfd_send_signal process_mrelease set_tid_address set_thread_area get_thread_area set_robust_list get_robust_list rseq \
    uretprobe restart_syscall futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue";

/// Signals.
const SIGNALS: &str = "kill tkill tgkill pause alarm sigaltstack sigprocmask sigreturn rt_sigaction rt_sigpending rt_sigprocmask \
    rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64";

/// Users, groups, capabilities: what a process may become is for its capabilities to say.
const IDENTITY: &str = "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid \
    getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid \
    setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset";

/// Scheduling, priorities, limits, and what the system says of itself.
const RESOURCES: &str = "sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam \
    sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval \
    sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getrlimit ugetrlimit setrlimit prlimit64 getrusage \
    times getcpu sysinfo uname getrandom riscv_hwprobe";

/// Clocks to read, timers to set. Setting a clock needs a capability besides.
const TIME: &str = "time gettimeofday adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime \
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 nanosleep getitimer setitimer timer_create timer_delete \
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime \
    timerfd_gettime64 timerfd_settime timerfd_settime64";

/// Sockets, once there are any. `socket` itself: see `sockets`.
/// `socketcall` neither: a filter sees which call it carries, and lets those through that are let through whatever their
/// arguments are.
const SOCKETS: &str = "socketpair bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt \
    shutdown send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64";

/// Queues, semaphores and segments shared between processes of one ipc namespace.
const MESSAGES: &str = "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget \
    mq_open mq_unlink mq_getsetattr mq_notify mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64";

/// One's own children, since Linux 4.8, where ptrace no longer gets around seccomp.
const TRACING: &str = "ptrace process_vm_readv process_vm_writev";

const ALLOWED: [&str; 14] = [
    FILES, DATA, NAMES, ATTRIBUTES, EVENTS, MEMORY, PROCESSES, SIGNALS, IDENTITY, RESOURCES, TIME, SOCKETS, MESSAGES,
    TRACING,
];

/// What comes with a capability.
const WITH_CAPABILITY: [(Capability, &str); 14] = [
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules \
         lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname \
         sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (Capability::SysPtrace, "kcmp pidfd_getfd process_madvise"),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// `AF_ALG`: the kernel's cryptography, a large surface for little use.
const AF_ALG: u64 = 38;
/// `AF_VSOCK`: past all namespaces to the hypervisor.
const AF_VSOCK: u64 = 40;

/// More than there are: `AF_MAX` is 46 in Linux 6.12.
const FAMILIES: u64 = 64;

/// The flags of `clone` that make namespaces: `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The default profile for a container with `capabilities` in its bounding set, on a kernel of the architecture `arch`.
#[must_use]
pub fn default_profile(capabilities: &Capabilities, arch: Arch) -> LinuxSeccomp {
    let mut rules: Vec<LinuxSyscall> = ALLOWED.iter().map(|names| allow(names, None)).collect();
    rules.extend(architecture_calls(arch).map(|names| allow(names, None)));
    let granted = WITH_CAPABILITY.iter().filter(|(capability, _)| capabilities.contains(capability));
    rules.extend(granted.map(|(_, names)| allow(names, None)));
    rules.extend(sockets());
    rules.extend(personalities());
    if !capabilities.contains(&Capability::SysAdmin) {
        rules.extend(new_processes(arch));
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(EPERM))
        .set_architectures(Some(family(arch)))
        .set_syscalls(Some(rules));
    profile
}

fn allow(names: &str, arg: Option<LinuxSeccompArg>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.split_ascii_whitespace().map(str::to_owned).collect())
        .set_action(LinuxSeccompAction::ScmpActAllow)
        .set_args(arg.map(|arg| vec![arg]));
    rule
}

fn when(index: usize, op: LinuxSeccompOperator, value: u64) -> Option<LinuxSeccompArg> {
    let arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    Some(arg.build().expect("every field is set"))
}

/// All families of addresses but two. Nothing but whole values: the kernel takes the low half of the argument alone, so that
/// “greater than `AF_VSOCK`” would let it in with a bit set above.
fn sockets() -> impl Iterator<Item = LinuxSyscall> {
    let above = [AF_ALG + 1].into_iter().chain(AF_VSOCK + 1..FAMILIES);
    let above = above.map(|family| allow("socket", when(0, LinuxSeccompOperator::ScmpCmpEq, family)));
    [allow("socket", when(0, LinuxSeccompOperator::ScmpCmpLt, AF_ALG))].into_iter().chain(above)
}

/// The personalities that change nothing for the kernel's safety: `PER_LINUX`, `PER_LINUX32`, each also with `UNAME26`,
/// and the question which one it is.
fn personalities() -> impl Iterator<Item = LinuxSyscall> {
    let values = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
    values.into_iter().map(|value| allow("personality", when(0, LinuxSeccompOperator::ScmpCmpEq, value)))
}

/// New processes and threads, but no new namespaces. The flags of `clone3` are in memory, where no filter sees them: who
/// is told that it does not exist takes `clone`.
fn new_processes(arch: Arch) -> [LinuxSyscall; 2] {
    // s390 has the stack first.
    let flags = usize::from(matches!(arch, Arch::ScmpArchS390 | Arch::ScmpArchS390x));
    let mut clone3 = allow("clone3", None);
    clone3.set_action(LinuxSeccompAction::ScmpActErrno).set_errno_ret(Some(ENOSYS));
    [allow("clone", when(flags, LinuxSeccompOperator::ScmpCmpMaskedEq, NEW_NAMESPACES)), clone3]
}

/// What only some architectures have.
fn architecture_calls(arch: Arch) -> Option<&'static str> {
    Some(match arch {
        Arch::ScmpArchX86_64 => "arch_prctl modify_ldt",
        Arch::ScmpArchX86 => "modify_ldt",
        Arch::ScmpArchAarch64 | Arch::ScmpArchArm => {
            "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"
        }
        Arch::ScmpArchPpc64le => "sync_file_range2 swapcontext",
        Arch::ScmpArchS390x | Arch::ScmpArchS390 => "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
        Arch::ScmpArchRiscv64 => "riscv_flush_icache",
        _ => return None,
    })
}

/// The architectures whose programs run on a kernel of `arch`.
fn family(arch: Arch) -> Vec<Arch> {
    let beside: &[Arch] = match arch {
        Arch::ScmpArchX86_64 => &[Arch::ScmpArchX86, Arch::ScmpArchX32],
        Arch::ScmpArchAarch64 => &[Arch::ScmpArchArm],
        Arch::ScmpArchMips64 => &[Arch::ScmpArchMips, Arch::ScmpArchMips64n32],
        Arch::ScmpArchMips64n32 => &[Arch::ScmpArchMips, Arch::ScmpArchMips64],
        Arch::ScmpArchMipsel64 => &[Arch::ScmpArchMipsel, Arch::ScmpArchMipsel64n32],
        Arch::ScmpArchMipsel64n32 => &[Arch::ScmpArchMipsel, Arch::ScmpArchMipsel64],
        Arch::ScmpArchS390x => &[Arch::ScmpArchS390],
        _ => &[],
    };
    [&[arch], beside].concat()
}
