// SPDX-License-Identifier: Apache-2.0
//! The first instructions of a program, before libc's.
//!
//! A program of root's that clones containers must be one that nobody can write (see the runtime's `own_binary`), so it
//! executes itself once more, through a read-only mount. Done from `main` this costs a second start of libc: half a
//! millisecond on a virtual machine, where each CPUID instruction that libc asks with is an exit to the host. Here nothing
//! has been started yet that would be thrown away.
//!
//! Nothing of libc may be used, not even what the compiler calls of its own accord (memcpy, strlen): its addresses are not
//! filled in yet. So bytes are read one by one, volatile, and all is `inline`.

use core::arch::naked_asm;

/// What the program calls `main` by: the C runtime calls it, not Rust's, whose start-up reads /proc/self/maps for the
/// sake of a nicer message on stack overflow. `$main` is a `fn() -> u8`, and has to flush stdout itself.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub extern "C" fn main(_: ::core::ffi::c_int, _: *const *const ::core::ffi::c_char) -> ::core::ffi::c_int {
            $crate::entry::prepare();
            ::core::ffi::c_int::from($main())
        }
    };
}

/// What Rust's start-up does that matters: no descriptor that is opened later becomes stdin, stdout or stderr, and a write
/// to a closed pipe is an error, not the end.
pub fn prepare() {
    for fd in 0..=2 {
        // SAFETY: fcntl(F_GETFD) takes integers; open takes a valid C string; signal takes a number and SIG_IGN.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) == -1 && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) == -1 {
                libc::abort();
            }
        }
    }
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// The entry point (`ld --entry=kelp_entry`) of a program that clones containers, whatever its arguments.
///
/// # Safety
/// Only the kernel may call it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[cfg(target_arch = "x86_64")]
pub unsafe extern "C" fn kelp_entry() -> ! {
    // The stack begins with argc; rdx is what _start expects it to be. Both survive in registers that callees keep.
    naked_asm!(
        "xor ebp, ebp", "mov rbx, rsp", "mov r12, rdx", "mov rdi, rsp", "and rsp, -16", "call {early}", "mov rsp, rbx",
        "mov rdx, r12", "jmp _start", early = sym early,
    )
}

/// The entry point (`ld --entry=kelp_entry`) of a program that clones containers, whatever its arguments.
///
/// # Safety
/// Only the kernel may call it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[cfg(target_arch = "aarch64")]
pub unsafe extern "C" fn kelp_entry() -> ! {
    naked_asm!(
        "mov x29, #0", "mov x30, #0", "mov x19, x0", "mov x0, sp", "bl {early}", "mov x0, x19", "b _start",
        early = sym early,
    )
}

/// Goes on as the same file on a read-only mount, if we are root and not there yet. Whatever stops it stops nothing: `main`
/// looks again, has other ways, and reports.
///
/// `stack`: argc, the arguments, a null, the environment, a null.
unsafe extern "C" fn early(stack: *const usize) {
    // SAFETY: the kernel built the stack so.
    let (argc, argv) = unsafe { (stack.read(), stack.add(1)) };
    let own = c"/proc/self/exe".as_ptr() as usize;
    let here = libc::AT_FDCWD as usize;
    // SAFETY: see each call; `statfs` and `change` are as large as the kernel's and live through the calls; argv and its
    // environment are the kernel's own.
    unsafe {
        if !clones(argc, argv) || call(libc::SYS_geteuid, [0; 5]) != 0 {
            return;
        }
        // `struct statfs` of 64-bit kernels; libc's has no name for its eleventh word, f_flags.
        let mut statfs = core::mem::MaybeUninit::<[u64; 15]>::uninit();
        if call(libc::SYS_statfs, [own, statfs.as_mut_ptr() as usize, 0, 0, 0]) != 0
            || statfs.as_ptr().cast::<u64>().add(10).read() & libc::ST_RDONLY != 0
        {
            return;
        }
        let flags = (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) as usize | libc::AT_EMPTY_PATH as usize;
        let mount = call(libc::SYS_open_tree, [here, own, flags, 0, 0]);
        if mount < 0 {
            return;
        }
        let change: [u64; 4] = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
        let empty = c"".as_ptr() as usize;
        let (at, size) = (libc::AT_EMPTY_PATH as usize, size_of_val(&change));
        if call(libc::SYS_mount_setattr, [mount as usize, empty, at, (&raw const change) as usize, size]) == 0 {
            let envp = argv.add(argc).add(1);
            call(libc::SYS_execveat, [mount as usize, empty, argv as usize, envp as usize, at]);
        }
        call(libc::SYS_close, [mount as usize, 0, 0, 0, 0]);
    }
}

/// Whether one of the arguments is a verb of kelp-runtime that clones into a container, or there are none: kelp-shim.
/// One too many costs half a millisecond.
#[inline(always)]
unsafe fn clones(argc: usize, argv: *const usize) -> bool {
    let mut index = 1;
    while index < argc {
        // SAFETY: an argument below argc is a C string.
        unsafe {
            let word = argv.add(index).read() as *const u8;
            if is(word, b"run\0") || is(word, b"exec\0") || is(word, b"create\0") || is(word, b"restore\0") {
                return true;
            }
        }
        index += 1;
    }
    argc == 1
}

/// Whether the C string is `wanted`, which ends with a NUL.
#[inline(always)]
unsafe fn is<const N: usize>(word: *const u8, wanted: &[u8; N]) -> bool {
    let mut index = 0;
    while index < N {
        // SAFETY: stops at the first difference, so never reads beyond the word's NUL.
        if unsafe { word.add(index).read_volatile() } != wanted[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// A system call, without errno.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the arguments.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") arguments[0], in("rsi") arguments[1],
            in("rdx") arguments[2], in("r10") arguments[3], in("r8") arguments[4], lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result
}

/// A system call, without errno.
#[inline(always)]
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the arguments.
    unsafe {
        core::arch::asm!("svc 0", in("x8") number, inlateout("x0") arguments[0] as isize => result, in("x1") arguments[1],
            in("x2") arguments[2], in("x3") arguments[3], in("x4") arguments[4], options(nostack));
    }
    result
}
