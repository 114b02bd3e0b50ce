// SPDX-License-Identifier: Apache-2.0
//! What the kernel does with a filter: checks it, and runs it on a system call.

use std::collections::BTreeSet;

use kelp_sys::seccomp::SockFilter;

/// `struct seccomp_data`, as far as filters here look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) audit: u32,
    pub(super) arguments: [u64; 6],
}

impl Call {
    /// The word at `offset`, for a machine of this byte order.
    fn word(&self, offset: u32, little_endian: bool) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) == little_endian { argument as u32 } else { (argument >> 32) as u32 }
            }
            _ => panic!("a load at {offset}"),
        }
    }
}

/// The verdict of `filter` on `call`.
pub(super) fn run(filter: &[SockFilter], call: &Call, little_endian: bool) -> u32 {
    watch(filter, call, little_endian, |_| {})
}

/// The same, for somebody who wants to know which instructions are on the way.
pub(super) fn watch(filter: &[SockFilter], call: &Call, little_endian: bool, mut pass: impl FnMut(usize)) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let SockFilter { code, jt, jf, k } = filter[at];
        pass(at);
        at += 1;
        let holds = match code {
            0x06 => return k,
            0x20 => {
                accumulator = call.word(k, little_endian);
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x05 => {
                at += k as usize;
                continue;
            }
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            _ => panic!("instruction {code:#x} at {at}"),
        };
        at += usize::from(if holds { jt } else { jf });
    }
}

/// What `bpf_check_classic` and `seccomp_check_filter` ask of a filter.
pub(super) fn check(filter: &[SockFilter]) {
    assert!((1..=4096).contains(&filter.len()), "{} instructions", filter.len());
    assert_eq!(filter.last().unwrap().code, 0x06, "the last instruction returns");
    assert!(!tests_of_chance(filter).contains(&true), "a test of what is not known to be loaded");
    for (at, one) in filter.iter().enumerate() {
        match one.code {
            0x06 | 0x54 => {}
            0x20 => assert!(one.k.is_multiple_of(4) && one.k < 64, "a load at {}", one.k),
            0x05 => assert!(at + 1 + (one.k as usize) < filter.len(), "a jump out of the filter at {at}"),
            0x15 | 0x25 | 0x35 | 0x45 => {
                assert!(at + 1 + usize::from(one.jt.max(one.jf)) < filter.len(), "a jump out of the filter at {at}");
            }
            _ => panic!("instruction {:#x} at {at}", one.code),
        }
    }
}

/// For each instruction, whether it tests what different ways to it have loaded differently: a test of what is not meant.
pub(super) fn tests_of_chance(filter: &[SockFilter]) -> Vec<bool> {
    // What the accumulator may hold before each instruction: the offset loaded, and the masks applied.
    let mut holds: Vec<BTreeSet<(u32, u32)>> = vec![BTreeSet::new(); filter.len()];
    for (at, one) in filter.iter().enumerate() {
        let (before, targets) = (holds[at].clone(), targets(at, one));
        let after = match one.code {
            0x20 => [(one.k, u32::MAX)].into(),
            0x54 => before.iter().map(|&(offset, mask)| (offset, mask & one.k)).collect(),
            _ => before,
        };
        targets.into_iter().for_each(|target| holds[target].extend(after.iter().copied()));
    }
    filter
        .iter()
        .zip(holds)
        .map(|(one, holds)| matches!(one.code, 0x15 | 0x25 | 0x35 | 0x45) && holds.len() > 1)
        .collect()
}

/// Where it goes on after an instruction.
fn targets(at: usize, one: &SockFilter) -> Vec<usize> {
    match one.code {
        0x06 => vec![],
        0x05 => vec![at + 1 + one.k as usize],
        0x15 | 0x25 | 0x35 | 0x45 => vec![at + 1 + usize::from(one.jt), at + 1 + usize::from(one.jf)],
        _ => vec![at + 1],
    }
}
