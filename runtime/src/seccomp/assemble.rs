// SPDX-License-Identifier: Apache-2.0
//! Decisions, written as classic BPF.
//!
//! The program is written from its end: jumps go forward only, so that every target is there before who jumps to it.
//! The kernel works out by itself which calls are allowed whatever their arguments, and does not run the filter for
//! those (since Linux 5.11); for that it follows the loads of number and architecture, `JEQ`, `JGE`, `JGT`, `JSET`,
//! `JA` and constant returns, so the way to a verdict is made of nothing else.

use kelp_sys::seccomp::SockFilter;

use super::Refused;
use super::decide::{BAD_ARCHITECTURE, Block, Case, Outcome};
use super::rule::{Condition, Test};

/// The kernel's limit: `BPF_MAXINSNS`.
const MOST_INSTRUCTIONS: usize = 4096;
/// How far a conditional jump reaches, less one for the jump that may have to be put between.
const REACH: usize = 254;

/// `BPF_LD | BPF_W | BPF_ABS`
const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`
const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`
const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`
const EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`
const GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`
const AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`
const ANY_BIT: u16 = 0x45;
/// `BPF_RET | BPF_K`
const RETURN: u16 = 0x06;

/// `offsetof(struct seccomp_data, nr)`
const NUMBER: u32 = 0;
/// `offsetof(struct seccomp_data, arch)`
const ARCHITECTURE: u32 = 4;
/// `offsetof(struct seccomp_data, args)`
const ARGUMENTS: u32 = 16;

/// The program for `blocks`, which are tried in their order.
pub(super) fn assemble(blocks: &[Block], little_endian: bool) -> Result<Vec<SockFilter>, Refused> {
    let mut assembler = Assembler { code: Vec::with_capacity(256), returns: Vec::new(), little_endian };
    let mut entry = Target::Return(BAD_ARCHITECTURE);
    for block in blocks.iter().rev() {
        let numbers = assembler.block(block)?;
        entry = assembler.branch(EQUAL, block.audit, numbers, entry);
    }
    assembler.follow(entry);
    assembler.push(LOAD, ARCHITECTURE, 0, 0);
    assembler.fits()?;
    assembler.code.reverse();
    Ok(assembler.code)
}

/// Where a jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// To a return of this verdict, wherever there is one near.
    Return(u32),
    /// To the instruction that was written as the n-th.
    At(usize),
}

struct Assembler {
    /// The last instruction first.
    code: Vec<SockFilter>,
    /// For each verdict, where it was returned last.
    returns: Vec<(u32, usize)>,
    little_endian: bool,
}

impl Assembler {
    fn push(&mut self, code: u16, k: u32, jt: usize, jf: usize) -> Target {
        // `near` has seen to it that conditional jumps fit their eight bits.
        self.code.push(SockFilter { code, jt: jt as u8, jf: jf as u8, k });
        Target::At(self.code.len() - 1)
    }

    /// How many instructions are skipped when the one written next jumps to `at`.
    fn distance(&self, at: usize) -> usize {
        self.code.len() - at - 1
    }

    /// Where to jump to get to `target` from the instruction written after the next.
    fn near(&mut self, target: Target) -> usize {
        let at = match target {
            Target::At(at) => Some(at),
            Target::Return(verdict) => self.returns.iter().find(|&&(known, _)| known == verdict).map(|&(_, at)| at),
        };
        if let Some(at) = at.filter(|&at| self.distance(at) <= REACH) {
            return at;
        }
        self.fall_into(target)
    }

    /// Writes what gets to `target` from here, whatever the distance.
    fn fall_into(&mut self, target: Target) -> usize {
        match target {
            Target::At(at) => {
                let distance = self.distance(at) as u32;
                self.push(JUMP, distance, 0, 0);
            }
            Target::Return(verdict) => {
                self.push(RETURN, verdict, 0, 0);
                self.returns.retain(|&(known, _)| known != verdict);
                self.returns.push((verdict, self.code.len() - 1));
            }
        }
        self.code.len() - 1
    }

    /// Makes `target` the instruction that follows the one written next.
    fn follow(&mut self, target: Target) {
        if target != Target::At(self.code.len().wrapping_sub(1)) {
            self.fall_into(target);
        }
    }

    fn branch(&mut self, test: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        self.push(test, k, self.distance(yes), self.distance(no))
    }

    /// Loads the word at `offset` of `seccomp_data` and goes on; not where nobody looks at it.
    fn load(&mut self, offset: u32, next: Target) -> Target {
        if matches!(next, Target::Return(_)) {
            return next;
        }
        self.follow(next);
        self.push(LOAD, offset, 0, 0)
    }

    fn fits(&self) -> Result<(), Refused> {
        if self.code.len() > MOST_INSTRUCTIONS {
            return Err(Refused::new(format!(
                "the filter needs more than {MOST_INSTRUCTIONS} instructions, the kernel's limit"
            ))
            .hint("fewer rules with arguments, or fewer architectures, make it shorter"));
        }
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<Target, Refused> {
        let mut spans = Vec::with_capacity(block.spans.len());
        for span in block.spans.iter().rev() {
            spans.push((span.start, self.outcome(&span.outcome)));
            self.fits()?;
        }
        spans.reverse();
        let tree = self.tree(&spans);
        Ok(self.load(NUMBER, tree))
    }

    /// A binary search: for each span where it begins and where it leads; the first begins at 0.
    fn tree(&mut self, spans: &[(u32, Target)]) -> Target {
        match *spans {
            [] => Target::Return(BAD_ARCHITECTURE),
            [(_, only)] => only,
            [(_, around), (one, inside), (after, again)] if around == again && after - one == 1 => {
                self.branch(EQUAL, one, inside, around)
            }
            _ => {
                let (low, high) = spans.split_at(spans.len() / 2);
                let above = self.tree(high);
                let below = self.tree(low);
                self.branch(AT_LEAST, high[0].0, above, below)
            }
        }
    }

    fn outcome(&mut self, outcome: &Outcome) -> Target {
        match outcome {
            Outcome::Always(verdict) => Target::Return(*verdict),
            Outcome::ByValue { argument, wide: false, steps } => {
                let spans: Vec<_> =
                    steps.iter().map(|&(start, verdict)| (start as u32, Target::Return(verdict))).collect();
                let tree = self.tree(&spans);
                self.load(self.low(*argument), tree)
            }
            Outcome::ByValue { argument, wide: true, steps } => self.wide_steps(*argument, steps),
            Outcome::ByCase { wide, cases, otherwise } => {
                let otherwise = Target::Return(*otherwise);
                cases.iter().rev().fold(otherwise, |otherwise, case| self.case(case, *wide, otherwise))
            }
        }
    }

    /// A search in 64 bits: for the high word, and where that does not decide, for the low one.
    fn wide_steps(&mut self, argument: u8, steps: &[(u64, u32)]) -> Target {
        let mut highs: Vec<(u32, Target)> = Vec::new();
        for (high, lows) in by_high_word(steps) {
            let spans: Vec<_> = lows.iter().map(|&(low, verdict)| (low, Target::Return(verdict))).collect();
            let tree = self.tree(&spans);
            highs.push((high, self.load(self.low(argument), tree)));
        }
        let tree = self.tree(&highs);
        self.load(self.high(argument), tree)
    }

    fn case(&mut self, case: &Case, wide: bool, otherwise: Target) -> Target {
        let matched = Target::Return(case.verdict);
        let conditions = case.conditions.iter().rev();
        conditions.fold(matched, |matched, condition| self.condition(*condition, wide, matched, otherwise))
    }

    fn condition(&mut self, condition: Condition, wide: bool, yes: Target, no: Target) -> Target {
        let on = condition.argument;
        match condition.test {
            Test::Equal(value) => self.masked(on, wide, u64::MAX, value, yes, no),
            Test::NotEqual(value) => self.masked(on, wide, u64::MAX, value, no, yes),
            Test::Masked { mask, value } => self.masked(on, wide, mask, value, yes, no),
            Test::Greater(value) => self.above(GREATER, on, wide, value, yes, no),
            Test::AtMost(value) => self.above(GREATER, on, wide, value, no, yes),
            Test::AtLeast(value) => self.above(AT_LEAST, on, wide, value, yes, no),
            Test::Less(value) => self.above(AT_LEAST, on, wide, value, no, yes),
        }
    }

    /// `argument & mask == value`, both halves.
    fn masked(&mut self, argument: u8, wide: bool, mask: u64, value: u64, yes: Target, no: Target) -> Target {
        let low = self.masked_word(self.low(argument), mask as u32, value as u32, yes, no);
        match wide {
            true => self.masked_word(self.high(argument), (mask >> 32) as u32, (value >> 32) as u32, low, no),
            false => low,
        }
    }

    fn masked_word(&mut self, offset: u32, mask: u32, value: u32, yes: Target, no: Target) -> Target {
        let test = match (mask, value) {
            (0, _) => return yes,
            (u32::MAX, value) => self.branch(EQUAL, value, yes, no),
            (mask, 0) => self.branch(ANY_BIT, mask, no, yes),
            (mask, value) => {
                let test = self.branch(EQUAL, value, yes, no);
                self.follow(test);
                self.push(AND, mask, 0, 0)
            }
        };
        self.load(offset, test)
    }

    /// `argument > value` or `argument >= value`, as `low_test` says of the low half.
    fn above(&mut self, low_test: u16, argument: u8, wide: bool, value: u64, yes: Target, no: Target) -> Target {
        let low = self.branch(low_test, value as u32, yes, no);
        let low = self.load(self.low(argument), low);
        if !wide {
            return low;
        }
        let high = (value >> 32) as u32;
        let same = self.branch(EQUAL, high, low, no);
        let test = self.branch(GREATER, high, yes, same);
        self.load(self.high(argument), test)
    }

    fn low(&self, argument: u8) -> u32 {
        ARGUMENTS + 8 * u32::from(argument) + if self.little_endian { 0 } else { 4 }
    }

    fn high(&self, argument: u8) -> u32 {
        ARGUMENTS + 8 * u32::from(argument) + if self.little_endian { 4 } else { 0 }
    }
}

/// Steps in 64 bits, as steps of the high word that each have their steps of the low word.
fn by_high_word(steps: &[(u64, u32)]) -> Vec<(u32, Vec<(u32, u32)>)> {
    let mut highs: Vec<(u32, Vec<(u32, u32)>)> = Vec::new();
    for (index, &(start, verdict)) in steps.iter().enumerate() {
        let (high, low) = ((start >> 32) as u32, start as u32);
        match highs.last_mut() {
            Some((last, lows)) if *last == high => lows.push((low, verdict)),
            _ if low == 0 || index == 0 => highs.push((high, vec![(low, verdict)])),
            _ => highs.push((high, vec![(0, steps[index - 1].1), (low, verdict)])),
        }
        // Behind a high word that the low one decides, the last verdict goes on.
        let end = steps.get(index + 1).map_or(u64::MAX, |next| next.0 - 1);
        let last_high = (end >> 32) as u32;
        if last_high > high && highs.last().is_some_and(|(_, lows)| lows.len() > 1) {
            highs.push((high + 1, vec![(0, verdict)]));
        }
    }
    highs
}
