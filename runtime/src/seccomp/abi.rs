// SPDX-License-Identifier: Apache-2.0
//! What a filter must know of an architecture: its audit value, its word, its calls and their numbers.

use oci_spec::runtime::Arch;

use super::number::{Call, Name, calls, count};

/// The architecture that Kelp itself was built for.
pub const NATIVE: Arch = if cfg!(target_arch = "x86_64") {
    Arch::ScmpArchX86_64
} else if cfg!(target_arch = "x86") {
    Arch::ScmpArchX86
} else if cfg!(target_arch = "aarch64") {
    Arch::ScmpArchAarch64
} else if cfg!(target_arch = "arm") {
    Arch::ScmpArchArm
} else if cfg!(target_arch = "riscv64") {
    Arch::ScmpArchRiscv64
} else if cfg!(target_arch = "loongarch64") {
    Arch::ScmpArchLoongarch64
} else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
    Arch::ScmpArchPpc64le
} else if cfg!(target_arch = "powerpc64") {
    Arch::ScmpArchPpc64
} else if cfg!(target_arch = "s390x") {
    Arch::ScmpArchS390x
} else {
    Arch::ScmpArchNative
};

/// Where the numbers of x32 begin: `__X32_SYSCALL_BIT`.
pub(super) const X32_BASE: u32 = 0x4000_0000;

/// The audit value of x86_64, and of x32.
pub(super) const X86_64_AUDIT: u32 = Arch::ScmpArchX86_64 as u32;

/// The first of ARM's private calls: `__ARM_NR_breakpoint`.
const ARM_PRIVATE: u32 = 0x000f_0001;

/// A call that carries others, which its first argument selects.
#[derive(Clone, Copy)]
pub(super) struct Multiplexer {
    /// The call that carries the others.
    pub(super) name: Name,
    /// The calls carried, each with the first argument that selects it.
    pub(super) carried: &'static [(Name, u32)],
}

/// One architecture as seccomp sees it.
#[derive(Clone, Copy)]
pub(super) struct Abi {
    /// `seccomp_data.arch`: `AUDIT_ARCH_*`.
    pub(super) audit: u32,
    /// What is added to the numbers of `calls`.
    pub(super) base: u32,
    /// Whether arguments have 64 bits. Else libseccomp, and so do we, compares the low half only.
    pub(super) wide: bool,
    /// Whether an argument's low half comes first in memory.
    pub(super) little_endian: bool,
    /// The calls by number.
    pub(super) calls: &'static [Call],
    /// Whether `socketcall` and `ipc` carry other calls.
    pub(super) multiplexed: bool,
    /// Where the ABI's private calls begin, which are no newer than others, if it has any.
    pub(super) private: Option<u32>,
    /// Whether number 0 is what the kernel makes of numbers it does not know.
    pub(super) zero_is_unknown: bool,
}

macro_rules! column {
    ($column:literal) => {{
        static CALLS: [Call; count($column)] = calls($column);
        &CALLS
    }};
}

impl PartialEq for Abi {
    /// The audit value and the base tell all of them apart.
    fn eq(&self, other: &Self) -> bool {
        (self.audit, self.base) == (other.audit, other.base)
    }
}

impl Abi {
    /// What there is to know of `arch`; `None` for `SCMP_ARCH_NATIVE`, which is none.
    pub(super) fn of(arch: Arch) -> Option<Self> {
        let (column, multiplexed): (&'static [Call], bool) = match arch {
            Arch::ScmpArchNative => return None,
            Arch::ScmpArchX86_64 => (column!(0), false),
            Arch::ScmpArchX86 => (column!(1), true),
            Arch::ScmpArchX32 => (column!(2), false),
            Arch::ScmpArchAarch64 => (column!(3), false),
            Arch::ScmpArchArm => (column!(4), false),
            Arch::ScmpArchRiscv64 => (column!(5), false),
            Arch::ScmpArchLoongarch64 => (column!(6), false),
            Arch::ScmpArchPpc64 | Arch::ScmpArchPpc64le => (column!(7), true),
            Arch::ScmpArchPpc => (column!(8), true),
            Arch::ScmpArchS390x => (column!(9), true),
            Arch::ScmpArchS390 => (column!(10), true),
            Arch::ScmpArchMips64 | Arch::ScmpArchMipsel64 => (column!(11), false),
            Arch::ScmpArchMips64n32 | Arch::ScmpArchMipsel64n32 => (column!(12), false),
            Arch::ScmpArchMips | Arch::ScmpArchMipsel => (column!(13), true),
            Arch::ScmpArchM68k => (column!(14), true),
            Arch::ScmpArchParisc64 => (column!(15), false),
            Arch::ScmpArchParisc => (column!(16), false),
            Arch::ScmpArchSh | Arch::ScmpArchSheb => (column!(17), true),
        };
        let token = arch as u32;
        Some(Self {
            audit: if arch == Arch::ScmpArchX32 { X86_64_AUDIT } else { token },
            base: base(arch),
            wide: token & AUDIT_64BIT != 0 && token & AUDIT_MIPS_N32 == 0,
            little_endian: token & AUDIT_LITTLE_ENDIAN != 0,
            calls: column,
            multiplexed,
            private: (arch == Arch::ScmpArchArm).then_some(ARM_PRIVATE),
            zero_is_unknown: matches!(arch, Arch::ScmpArchS390 | Arch::ScmpArchS390x),
        })
    }

    /// Whether this is x32, whose numbers lie above those of x86_64.
    pub(super) fn is_x32(&self) -> bool {
        self.base == X32_BASE
    }

    /// The highest number that a new call may get.
    pub(super) fn last_public(&self) -> u32 {
        self.private.map_or(u32::MAX, |private| private - 1)
    }

    /// Whether the call `name` carries others here.
    pub(super) fn carries(&self, name: Name) -> bool {
        self.multiplexed && MULTIPLEXERS.iter().any(|multiplexer| multiplexer.name == name)
    }

    /// The calls that carry others here.
    pub(super) fn multiplexers(&self) -> &'static [Multiplexer] {
        if self.multiplexed { &MULTIPLEXERS } else { &[] }
    }
}

/// `__AUDIT_ARCH_64BIT`
const AUDIT_64BIT: u32 = 0x8000_0000;
/// `__AUDIT_ARCH_LE`
const AUDIT_LITTLE_ENDIAN: u32 = 0x4000_0000;
/// `__AUDIT_ARCH_CONVENTION_MIPS64_N32`
const AUDIT_MIPS_N32: u32 = 0x2000_0000;

fn base(arch: Arch) -> u32 {
    match arch {
        Arch::ScmpArchX32 => X32_BASE,
        Arch::ScmpArchMips | Arch::ScmpArchMipsel => 4000,
        Arch::ScmpArchMips64 | Arch::ScmpArchMipsel64 => 5000,
        Arch::ScmpArchMips64n32 | Arch::ScmpArchMipsel64n32 => 6000,
        _ => 0,
    }
}

static MULTIPLEXERS: [Multiplexer; 2] = [
    Multiplexer { name: Name::known("socketcall"), carried: &SOCKETCALLS },
    Multiplexer { name: Name::known("ipc"), carried: &IPC_CALLS },
];

/// linux/net.h: `SYS_SOCKET` and so on.
static SOCKETCALLS: [(Name, u32); 20] = [
    (Name::known("socket"), 1),
    (Name::known("bind"), 2),
    (Name::known("connect"), 3),
    (Name::known("listen"), 4),
    (Name::known("accept"), 5),
    (Name::known("getsockname"), 6),
    (Name::known("getpeername"), 7),
    (Name::known("socketpair"), 8),
    (Name::known("send"), 9),
    (Name::known("recv"), 10),
    (Name::known("sendto"), 11),
    (Name::known("recvfrom"), 12),
    (Name::known("shutdown"), 13),
    (Name::known("setsockopt"), 14),
    (Name::known("getsockopt"), 15),
    (Name::known("sendmsg"), 16),
    (Name::known("recvmsg"), 17),
    (Name::known("accept4"), 18),
    (Name::known("recvmmsg"), 19),
    (Name::known("sendmmsg"), 20),
];

/// linux/ipc.h: `SEMOP` and so on.
static IPC_CALLS: [(Name, u32); 12] = [
    (Name::known("semop"), 1),
    (Name::known("semget"), 2),
    (Name::known("semctl"), 3),
    (Name::known("semtimedop"), 4),
    (Name::known("msgsnd"), 11),
    (Name::known("msgrcv"), 12),
    (Name::known("msgget"), 13),
    (Name::known("msgctl"), 14),
    (Name::known("shmat"), 21),
    (Name::known("shmdt"), 22),
    (Name::known("shmget"), 23),
    (Name::known("shmctl"), 24),
];
