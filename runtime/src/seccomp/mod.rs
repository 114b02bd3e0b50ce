// SPDX-License-Identifier: Apache-2.0
//! Seccomp: OCI profiles compiled to classic BPF, Docker's profiles read, our own default profile.
//!
//! Runs in the caller while init builds the container; init only loads what [`compile`] made.
//! Spec: config-linux.md "Seccomp". Kernel: seccomp(2), bpf(4). Measured against: libseccomp, as runc uses it.
//!
//! What a profile means where the spec does not say, is what it means under runc:
//!
//! | | |
//! |---|---|
//! | no `flags` | `SPEC_ALLOW` |
//! | the native architecture | is always in the filter |
//! | an architecture not in the filter | kills the thread, x32 calls on x86_64 too |
//! | a call newer than all that the profile names | `ENOSYS`, unless the default action lets calls through |
//! | an unknown name | is passed over, and told in [`Program::ignored`] |
//! | a rule with the default action | says nothing |
//! | two tests of one argument in a rule | are alternatives |
//! | a rule without arguments | wins over those with, the first over later ones |
//! | rules whose arguments overlap | see `decide` |
//! | the same arguments to different actions | is refused |
//! | 64-bit values where arguments have 32 bits | lose their high half |
//!
//! And where it is not: runc gives `ENOSYS` only on architectures that are listed, and takes ARM's private calls (0xf0000
//! and up) for the newest; libseccomp lets the upper half of the first argument hide what `socketcall` and `ipc` are asked
//! for on 64-bit machines, though the kernel looks at the lower half only, and it lets a carried call through whose
//! arguments the profile restricts, though they cannot be seen there (docs/decisions/1621). What else differs are faults of libseccomp,
//! listed in `tests/differential.rs`.

mod abi;
mod assemble;
mod decide;
mod default;
mod docker;
mod notify;
mod number;
mod rule;
mod table;
#[cfg(test)]
mod tests;

use kelp_sys::seccomp::{Flags, SockFilter};
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};

use abi::Abi;
pub use abi::NATIVE;
pub use default::default_profile;
pub use docker::{Host, read_profile};
pub(crate) use notify::hand_over;
pub use notify::{Agent, agent};
use rule::Policy;

use crate::error::{Error, Result};

/// A filter, ready for [`kelp_sys::seccomp::load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The instructions, at most 4096.
    pub filter: Vec<SockFilter>,
    /// What to load it with. `NEW_LISTENER` is among them when an action is `SCMP_ACT_NOTIFY`.
    pub flags: Flags,
    /// Names of system calls and architectures that the filter passes over, for a debug note.
    pub ignored: Vec<String>,
}

impl Program {
    /// The instructions as the kernel reads them: eight bytes each, in the machine's order.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let instruction = |filter: &SockFilter| {
            let ([a, b], [c, d, e, f]) = (filter.code.to_ne_bytes(), filter.k.to_ne_bytes());
            [a, b, filter.jt, filter.jf, c, d, e, f]
        };
        self.filter.iter().flat_map(instruction).collect()
    }
}

/// Why a profile is not taken, and what to try: the caller says what it was doing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    because: String,
    hint: Option<String>,
}

impl Refused {
    fn new(because: impl Into<String>) -> Self {
        Self { because: because.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn in_doing(self, doing: &str) -> Error {
        let error = Error::bad_input(doing).because(self.because);
        self.hint.into_iter().fold(error, Error::hint)
    }
}

/// Compiles `profile` for a kernel of the architecture `native`: [`NATIVE`], but for tests.
///
/// # Errors
/// When the profile contradicts itself or asks for what no filter can do; see the table above.
pub fn compile(profile: &LinuxSeccomp, native: Arch) -> Result<Program> {
    program(profile, native).map_err(|refused| refused.in_doing("cannot compile the seccomp profile"))
}

fn program(profile: &LinuxSeccomp, native: Arch) -> std::result::Result<Program, Refused> {
    let mut policy = Policy::read(profile)?;
    let mut ignored = std::mem::take(&mut policy.unknown);
    let Some(host) = Abi::of(native) else {
        return Err(Refused::new("seccomp filters are not known for this architecture"));
    };
    let mut abis = vec![host];
    for &arch in profile.architectures().iter().flatten().filter(|&&arch| arch != native) {
        match Abi::of(arch) {
            // The other byte order never runs here, and its arguments would be loaded the wrong way round.
            Some(abi) if abi.little_endian != host.little_endian => ignored.push(arch.to_string()),
            Some(abi) if !abis.contains(&abi) => abis.push(abi),
            Some(_) | None => {}
        }
    }
    let filter = assemble::assemble(&decide::blocks(&policy, &abis)?, host.little_endian)?;
    Ok(Program { filter, flags: flags(profile), ignored })
}

fn flags(profile: &LinuxSeccomp) -> Flags {
    let notifies = |action| action == LinuxSeccompAction::ScmpActNotify;
    let listener = match profile.syscalls().iter().flatten().any(|rule| notifies(rule.action())) {
        true => Flags::NEW_LISTENER,
        false => Flags::default(),
    };
    let Some(flags) = profile.flags() else {
        return listener.with(Flags::SPEC_ALLOW);
    };
    flags.iter().fold(listener, |all, flag| {
        all.with(match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => Flags::LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => Flags::SPEC_ALLOW,
            // Without a listener the kernel refuses it, though it then has nothing to say.
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if listener != Flags::default() => {
                Flags::WAIT_KILLABLE
            }
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => Flags::default(),
            // Who loads the filter has one thread.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => Flags::default(),
        })
    })
}
