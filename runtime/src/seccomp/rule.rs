// SPDX-License-Identifier: Apache-2.0
//! A profile, read into rules: verdicts as the kernel has them, names as indices, conditions in order.
//!
//! Where the spec leaves a choice, runc's is ours: a rule that gives the default action says nothing; conditions that
//! name an argument twice are alternatives, each a rule of its own; unknown calls are passed over.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use super::Refused;
use super::number::{NAMES, Name};

/// What a filter returns: `SECCOMP_RET_*`, with its data in the low half.
pub(super) mod verdict {
    /// `SECCOMP_RET_KILL_PROCESS`
    pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
    /// `SECCOMP_RET_KILL_THREAD`
    pub(crate) const KILL_THREAD: u32 = 0x0000_0000;
    /// `SECCOMP_RET_TRAP`
    pub(crate) const TRAP: u32 = 0x0003_0000;
    /// `SECCOMP_RET_ERRNO`
    pub(crate) const ERRNO: u32 = 0x0005_0000;
    /// `SECCOMP_RET_USER_NOTIF`
    pub(crate) const NOTIFY: u32 = 0x7fc0_0000;
    /// `SECCOMP_RET_TRACE`
    pub(crate) const TRACE: u32 = 0x7ff0_0000;
    /// `SECCOMP_RET_LOG`
    pub(crate) const LOG: u32 = 0x7ffc_0000;
    /// `SECCOMP_RET_ALLOW`
    pub(crate) const ALLOW: u32 = 0x7fff_0000;
    /// `SECCOMP_RET_ERRNO` with `ENOSYS`.
    pub(crate) const NO_SUCH_CALL: u32 = ERRNO | 38;
}

const EPERM: u32 = 1;
/// The kernel takes no higher errno from a filter, libseccomp not even this one.
const MAX_ERRNO: u32 = 4095;
/// How many arguments a system call has at most.
const ARGUMENTS: usize = 6;

/// One comparison of an argument, all unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    AtMost(u64),
    AtLeast(u64),
    Greater(u64),
    /// The argument's bits of `mask` are those of `value`, which has no other.
    Masked {
        mask: u64,
        value: u64,
    },
}

/// A test and the argument it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) test: Test,
}

/// What happens to a call when all conditions hold.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) verdict: u32,
    /// By argument, at most one for each.
    pub(super) conditions: Vec<Condition>,
}

/// A profile as the compiler wants it.
pub(super) struct Policy {
    /// What happens to a call that no rule is about.
    pub(super) default: u32,
    /// What happens to a call newer than all that the profile names; `None`: the default.
    pub(super) newer: Option<u32>,
    pub(super) rules: Vec<Rule>,
    /// Which calls the profile names at all, even if only to say the default.
    pub(super) named: [bool; NAMES],
    /// Where in `mentions` each call's rules begin.
    starts: [u32; NAMES + 1],
    /// For each call its rules, in the profile's order.
    mentions: Vec<u32>,
    /// Names that no architecture has.
    pub(super) unknown: Vec<String>,
}

impl Policy {
    /// Reads all of `profile` but its architectures and flags.
    pub(super) fn read(profile: &LinuxSeccomp) -> Result<Self, Refused> {
        let default = verdict(profile.default_action(), profile.default_errno_ret())?;
        if default == verdict::NOTIFY {
            return Err(Refused::new("SCMP_ACT_NOTIFY cannot be used as default action")
                .hint("the program could not be started before somebody answers; name the calls to be notified of"));
        }
        let mut reader =
            Reader { default, rules: Vec::new(), named: [false; NAMES], pairs: Vec::new(), unknown: Vec::new() };
        for entry in profile.syscalls().iter().flatten() {
            reader.entry(entry)?;
        }
        Ok(reader.finish())
    }

    /// The rules about `name`, as indices into `rules`.
    pub(super) fn about(&self, name: Name) -> &[u32] {
        let at = name.index();
        &self.mentions[self.starts[at] as usize..self.starts[at + 1] as usize]
    }
}

struct Reader {
    default: u32,
    rules: Vec<Rule>,
    named: [bool; NAMES],
    /// A call and a rule about it.
    pairs: Vec<(Name, u32)>,
    unknown: Vec<String>,
}

impl Reader {
    fn entry(&mut self, entry: &LinuxSyscall) -> Result<(), Refused> {
        let verdict = verdict(entry.action(), entry.errno_ret())?;
        if entry.names().is_empty() {
            return Err(Refused::new("a rule names no system call"));
        }
        let first = self.rules.len();
        if verdict != self.default {
            self.add_rules(verdict, entry.args().as_deref().unwrap_or_default())?;
        }
        for name in entry.names() {
            let Some(found) = Name::find(name) else {
                self.unknown_name(name)?;
                continue;
            };
            self.named[found.index()] = true;
            self.pairs.extend((first..self.rules.len()).map(|rule| (found, rule as u32)));
        }
        Ok(())
    }

    fn add_rules(&mut self, verdict: u32, args: &[LinuxSeccompArg]) -> Result<(), Refused> {
        let mut conditions = args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        conditions.sort_by_key(|condition| condition.argument);
        if conditions.windows(2).any(|pair| pair[0].argument == pair[1].argument) {
            self.rules.extend(conditions.into_iter().map(|one| Rule { verdict, conditions: vec![one] }));
        } else {
            self.rules.push(Rule { verdict, conditions });
        }
        Ok(())
    }

    fn unknown_name(&mut self, name: &str) -> Result<(), Refused> {
        if name.is_empty() {
            return Err(Refused::new("empty string is not a valid syscall: a rule has it among its names"));
        }
        self.unknown.push(name.to_owned());
        Ok(())
    }

    fn finish(self) -> Policy {
        // A counting sort: the rules about one call stay in the profile's order.
        let mut starts = [0; NAMES + 1];
        for &(name, _) in &self.pairs {
            starts[name.index() + 1] += 1;
        }
        for at in 0..NAMES {
            starts[at + 1] += starts[at];
        }
        let (mut free, mut mentions) = (starts, vec![0; self.pairs.len()]);
        for &(name, rule) in &self.pairs {
            let at = &mut free[name.index()];
            mentions[*at as usize] = rule;
            *at += 1;
        }
        Policy {
            default: self.default,
            newer: newer(self.default),
            rules: self.rules,
            named: self.named,
            starts,
            mentions,
            unknown: self.unknown,
        }
    }
}

/// What calls newer than the profile get: `ENOSYS` where the default stops a call, so that the C library takes its
/// fallback, as it would on an older kernel. Where the default lets calls through, they go through.
fn newer(default: u32) -> Option<u32> {
    match default & 0xffff_0000 {
        verdict::ALLOW | verdict::LOG | verdict::TRACE => None,
        _ => Some(verdict::NO_SUCH_CALL),
    }
}

fn verdict(action: LinuxSeccompAction, data: Option<u32>) -> Result<u32, Refused> {
    let plain = |verdict| match data {
        None => Ok(verdict),
        // config-linux.md: “When the action doesn't support an errno, the runtime MUST print and error and fail.”
        Some(errno) => Err(Refused::new(format!("action {action} has errnoRet {errno}, and returns none"))),
    };
    let (base, limit) = match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => return plain(verdict::KILL_THREAD),
        LinuxSeccompAction::ScmpActKillProcess => return plain(verdict::KILL_PROCESS),
        LinuxSeccompAction::ScmpActTrap => return plain(verdict::TRAP),
        LinuxSeccompAction::ScmpActNotify => return plain(verdict::NOTIFY),
        LinuxSeccompAction::ScmpActLog => return plain(verdict::LOG),
        LinuxSeccompAction::ScmpActAllow => return plain(verdict::ALLOW),
        LinuxSeccompAction::ScmpActErrno => (verdict::ERRNO, MAX_ERRNO),
        LinuxSeccompAction::ScmpActTrace => (verdict::TRACE, 0x1_0000),
    };
    match data.unwrap_or(EPERM) {
        data if data < limit => Ok(base | data),
        data => Err(Refused::new(format!("errnoRet {data} of action {action} is too large"))
            .hint(format!("the kernel takes values below {limit}"))),
    }
}

fn condition(arg: &LinuxSeccompArg) -> Result<Condition, Refused> {
    let (index, value) = (arg.index(), arg.value());
    if index >= ARGUMENTS {
        return Err(Refused::new(format!("syscalls only have up to 6 arguments ({index} given)"))
            .hint("they are counted from 0"));
    }
    let test = match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => Test::Equal(value),
        LinuxSeccompOperator::ScmpCmpNe => Test::NotEqual(value),
        LinuxSeccompOperator::ScmpCmpLt => Test::Less(value),
        LinuxSeccompOperator::ScmpCmpLe => Test::AtMost(value),
        LinuxSeccompOperator::ScmpCmpGe => Test::AtLeast(value),
        LinuxSeccompOperator::ScmpCmpGt => Test::Greater(value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            Test::Masked { mask: value, value: arg.value_two().unwrap_or(0) & value }
        }
    };
    Ok(Condition { argument: index as u8, test })
}

impl Test {
    /// Whether `argument` passes.
    pub(super) fn holds(self, argument: u64) -> bool {
        match self {
            Self::Equal(value) => argument == value,
            Self::NotEqual(value) => argument != value,
            Self::Less(value) => argument < value,
            Self::AtMost(value) => argument <= value,
            Self::AtLeast(value) => argument >= value,
            Self::Greater(value) => argument > value,
            Self::Masked { mask, value } => argument & mask == value,
        }
    }

    /// The test where arguments have 32 bits: the low half of each value, as libseccomp does, so that a `-1` written
    /// with 64 bits means `-1` there too.
    pub(super) fn narrow(self) -> Self {
        let low = |value| value & u64::from(u32::MAX);
        match self {
            Self::Equal(value) => Self::Equal(low(value)),
            Self::NotEqual(value) => Self::NotEqual(low(value)),
            Self::Less(value) => Self::Less(low(value)),
            Self::AtMost(value) => Self::AtMost(low(value)),
            Self::AtLeast(value) => Self::AtLeast(low(value)),
            Self::Greater(value) => Self::Greater(low(value)),
            Self::Masked { mask, value } => Self::Masked { mask: low(mask), value: low(value) },
        }
    }

    /// Whether every argument passes, as libseccomp sees it: an empty mask.
    pub(super) fn is_empty_mask(self) -> bool {
        matches!(self, Self::Masked { mask: 0, .. })
    }
}
