// SPDX-License-Identifier: Apache-2.0
//! The device rules of a container: from the spec to a list in which the last match wins. Pure.
//!
//! Spec: config-linux.md "Allowed Device list". What each bit of an access is allowed is decided by itself: the last
//! rule that matches the device and speaks of that bit. So `deny c 1:3 w` denies an open for reading and writing too.

use std::fmt;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::{Error, Kind, error};

/// What a rule speaks of: making, reading, writing. The bits are the kernel's BPF_DEVCG_ACC_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(pub(super) u8);

impl Access {
    /// mknod.
    pub const MKNOD: Self = Self(1);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Reads the spec's letters r, w and m. None at all mean all three: the field is optional.
    fn parse(letters: &str) -> Option<Self> {
        let bit = |letter| match letter {
            'm' => Some(1),
            'r' => Some(2),
            'w' => Some(4),
            _ => None,
        };
        let bits = letters.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?))?;
        Some(if bits == 0 { Self::ALL } else { Self(bits) })
    }
}

/// Which sort of device node. The numbers are the kernel's BPF_DEVCG_DEV_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sort {
    /// Block device.
    Block = 1,
    /// Character device.
    Char = 2,
}

/// One rule. What is none, matches all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Allow or deny.
    pub allow: bool,
    /// The sort of device.
    pub sort: Option<Sort>,
    /// Its major number.
    pub major: Option<u32>,
    /// Its minor number.
    pub minor: Option<u32>,
    /// What the rule speaks of.
    pub access: Access,
}

impl Rule {
    const fn allow(sort: Sort, major: Option<u32>, minor: Option<u32>, access: Access) -> Self {
        Self { allow: true, sort: Some(sort), major, minor, access }
    }

    /// Whether this rule decides everything that `other` could, if it comes after it or decides the same.
    pub(super) fn covers(&self, other: &Self) -> bool {
        fn wider<T: PartialEq>(mine: Option<T>, theirs: Option<T>) -> bool {
            mine.is_none() || mine == theirs
        }
        wider(self.sort, other.sort)
            && wider(self.major, other.major)
            && wider(self.minor, other.minor)
            && self.access.0 & other.access.0 == other.access.0
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.allow { "allow" } else { "deny" };
        let sort = match self.sort {
            None => "a",
            Some(Sort::Block) => "b",
            Some(Sort::Char) => "c",
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{verb} {sort} {}:{} ", number(self.major), number(self.minor))?;
        for (bit, letter) in [(2, "r"), (4, "w"), (1, "m")] {
            if self.access.0 & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// What runc allows after the spec's own rules, whatever they say: podman, docker and CRI-O rely on it. The devices of
/// the default /dev, terminals, and making any node (which opens none).
const DEFAULTS: [Rule; 10] = {
    const fn memory(minor: u32) -> Rule {
        Rule::allow(Sort::Char, Some(1), Some(minor), Access::ALL)
    }
    [
        Rule::allow(Sort::Char, None, None, Access::MKNOD),
        Rule::allow(Sort::Block, None, None, Access::MKNOD),
        memory(3),                                              // null
        memory(8),                                              // random
        memory(7),                                              // full
        memory(5),                                              // zero
        memory(9),                                              // urandom
        Rule::allow(Sort::Char, Some(5), Some(0), Access::ALL), // tty
        Rule::allow(Sort::Char, Some(5), Some(2), Access::ALL), // ptmx
        Rule::allow(Sort::Char, Some(136), None, Access::ALL),  // pts
    ]
};

/// The rules of a container: those of the spec, then [`DEFAULTS`], without those that later ones overrule wholly.
pub(super) fn rules(spec: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>, Error> {
    let mut all = spec.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    all.extend(DEFAULTS);
    let mut kept: Vec<Rule> = Vec::with_capacity(all.len());
    for rule in all.into_iter().rev() {
        if !kept.iter().any(|later| later.covers(&rule)) {
            kept.push(rule);
        }
    }
    kept.reverse();
    Ok(kept)
}

/// Whether the rules deny nothing, so that no program need be asked.
pub(super) fn allow_everything(rules: &[Rule]) -> bool {
    let opens =
        |rule: &Rule| rule.covers(&Rule { allow: true, sort: None, major: None, minor: None, access: Access::ALL });
    rules.first().is_some_and(opens) && rules.iter().all(|rule| rule.allow)
}

/// One rule of the spec.
fn rule(spec: &LinuxDeviceCgroup) -> Result<Rule, Error> {
    let refuse = |because: String| error(Kind::BadInput, "cannot make the device rules", because);
    let sort = match spec.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(Sort::Block),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(Sort::Char),
        Some(LinuxDeviceType::P) => {
            return Err(refuse("linux.resources.devices: a fifo (type p) is not a device".to_owned()));
        }
    };
    let number = |name: &str, number: Option<i64>| match number {
        // -1 is how go's types write “all”.
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| refuse(format!("linux.resources.devices: {name} {number} is out of range"))),
    };
    let letters = spec.access().as_deref().unwrap_or_default();
    let access = Access::parse(letters)
        .ok_or_else(|| refuse(format!("linux.resources.devices: access {letters:?} has other letters than r, w, m")))?;
    let (major, minor) = (number("major", spec.major())?, number("minor", spec.minor())?);
    Ok(Rule { allow: spec.allow(), sort, major, minor, access })
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
