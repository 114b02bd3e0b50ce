// SPDX-License-Identifier: Apache-2.0
//! The rules that compiled filters are held to are those of a kernel: this machine's is asked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use kelp_fuzz::filter::check;
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::thread::set_no_new_privs;
use kelp_sys::seccomp::{Flags, SockFilter, load};

/// `BPF_RET | BPF_K`, `SECCOMP_RET_ALLOW`: what comes first is done, and whatever follows is only looked at.
const ALLOW: SockFilter = SockFilter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };

/// Whether the kernel takes it, tried in threads of their own, which it then confines to everything.
fn kernel_takes(filters: Vec<Vec<SockFilter>>) -> Vec<bool> {
    let try_all = move || {
        set_no_new_privs(true).unwrap();
        let one = |filter: Vec<SockFilter>| match load(&filter, Flags::default()) {
            Ok(_) => true,
            Err(Errno::INVAL) => false,
            Err(errno) => panic!("the kernel neither takes nor refuses a filter: {errno}"),
        };
        filters.into_iter().map(one).collect()
    };
    std::thread::spawn(try_all).join().unwrap()
}

/// A generator of numbers that are the same in every run: xorshift64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % end
    }

    fn instruction(&mut self) -> SockFilter {
        // Mostly what is nearly right, so that all rules are met.
        let code = match self.below(4) {
            0 => [0x20, 0x60, 0x61, 0x02, 0x03, 0x05, 0x34, 0x64][self.below(8) as usize],
            1 => self.below(0x1_0000) as u16,
            _ => self.below(0x100) as u16,
        };
        let k = match self.below(8) {
            0 => u32::MAX - self.below(4),
            1 | 2 => self.below(80),
            3 => self.below(16) * 4,
            _ => self.below(4),
        };
        SockFilter { code, jt: self.below(6) as u8, jf: self.below(6) as u8, k }
    }

    fn filter(&mut self) -> Vec<SockFilter> {
        let middle = self.below(8);
        let mut filter = vec![ALLOW];
        filter.extend((0..middle).map(|_| self.instruction()));
        if self.below(16) != 0 {
            filter.push(if self.below(2) == 0 { ALLOW } else { SockFilter { code: 0x16, ..ALLOW } });
        }
        filter
    }
}

#[test]
fn the_rules_are_the_kernels() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    // By what we say of it: how many.
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..1000 {
        // A thread carries 32,768 instructions at most.
        let filters: Vec<_> = (0..64).map(|_| chance.filter()).collect();
        for (filter, taken) in filters.iter().zip(kernel_takes(filters.clone())) {
            let ours = check(filter);
            assert_eq!(ours.is_ok(), taken, "we say {ours:?} of {filter:x?}");
            let verdict = ours.as_ref().map_or_else(|why| why.rsplit(": ").next().unwrap(), |()| "taken");
            let verdict = if verdict.contains("nobody wrote") { "loads what nobody wrote" } else { verdict };
            *verdicts.entry(Box::leak(verdict.to_owned().into_boxed_str())).or_default() += 1;
        }
    }
    for rule in [
        "taken",
        "loads what is no word of seccomp_data",
        "is beyond the memory of 16 words",
        "jumps out of the filter",
        "is no instruction of seccomp's",
        "has a remainder, which seccomp has not",
        "divides by nothing",
        "shifts by more than a word",
        "the last instruction does not return",
        "loads what nobody wrote",
    ] {
        assert!(verdicts.get(rule).is_some_and(|count| *count > 10), "{rule} was hardly tried: {verdicts:?}");
    }
}

#[test]
fn every_instruction_is_judged_as_the_kernel_does() {
    for codes in (0..0x1_0000_u32).collect::<Vec<_>>().chunks(2048) {
        let filter = |code: &u32| vec![ALLOW, SockFilter { code: *code as u16, jt: 0, jf: 0, k: 0 }, ALLOW];
        let filters: Vec<_> = codes.iter().map(filter).collect();
        for (filter, taken) in filters.iter().zip(kernel_takes(filters.clone())) {
            assert_eq!(check(filter).is_ok(), taken, "{filter:x?}");
        }
    }
}

#[test]
fn a_filter_has_between_one_and_4096_instructions() {
    for (length, taken) in [(0, false), (1, true), (4096, true), (4097, false)] {
        let filter = vec![ALLOW; length];
        assert_eq!(check(&filter).is_ok(), taken, "{length}");
        assert_eq!(kernel_takes(vec![filter]), [taken], "{length}");
    }
}
