// SPDX-License-Identifier: Apache-2.0
//! Device rules as an eBPF program of the type that a cgroup asks at every open and mknod. Pure.
//!
//! Walks the rules from the last to the first and keeps in a register what has still to be allowed: a deny that touches
//! it ends the walk, an allow takes its bits out, and nothing left is a yes. What no rule speaks of is denied.
//!
//! Loading costs about 4 µs an instruction, nearly all of it in the kernel's verifier. So neighbouring rules of one
//! verdict, among which the order does not matter, share their tests of sort and major number: a usual container has 25
//! instructions and not 80.
//! Kernel: struct bpf_cgroup_dev_ctx in include/uapi/linux/bpf.h, instruction-set.rst.

use kelp_sys::bpf::Instruction;

use super::device::{Access, Rule, Sort};
use super::{Error, Kind, error};

/// Registers: the answer, the context, then what we load from it.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const SORT: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Opcodes of the eBPF instruction set: 32-bit arithmetic and jumps, with an immediate operand.
const LOAD_WORD: u8 = 0x61;
const COPY: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const SET: u8 = 0xb7;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const JUMP_IF_ANY_BIT: u8 = 0x46;
const EXIT: u8 = 0x95;

/// Where a jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Over so many of the next instructions.
    Over(usize),
    /// To the end that says yes.
    Yes,
    /// To the end that says no.
    No,
}

/// An instruction whose jump is not measured yet.
#[derive(Clone, Copy, Debug)]
struct Op {
    code: u8,
    register: u8,
    immediate: i32,
    /// Only of jumps; others go on with the next.
    target: Target,
}

impl Op {
    fn jump(code: u8, register: u8, immediate: i32, target: Target) -> Self {
        Self { code, register, immediate, target }
    }
}

/// Whoever covers it decides all there is.
const EVERYTHING: Rule = Rule { allow: true, sort: None, major: None, minor: None, access: Access::ALL };

/// The program for these rules.
pub(super) fn program(rules: &[Rule]) -> Result<Vec<Instruction>, Error> {
    let mut ops = vec![Op::jump(JUMP_IF_EQUAL, WANTED, 0, Target::Yes)];
    for run in rules.chunk_by(|one, next| one.allow == next.allow).rev() {
        let run = merged(run);
        ops.extend(run_of_one_verdict(&run));
        // What came before a rule that decides everything is never asked.
        if run.iter().any(|rule| rule.covers(&EVERYTHING)) {
            break;
        }
    }
    let mut program = vec![
        // access_type holds the sort of the node in its low half, what is wanted in its high half.
        instruction(LOAD_WORD, SORT, CONTEXT, 0, 0),
        instruction(COPY, WANTED, SORT, 0, 0),
        instruction(AND, SORT, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    // Where everything is allowed nothing leads to a no, and what is never reached is refused.
    let says_no = leads_to_a_no(&ops);
    for (at, op) in ops.iter().enumerate() {
        let to_the_end = ops.len() - at - 1;
        let distance = match op.target {
            Target::Over(count) => count,
            Target::No => to_the_end,
            // Over the two instructions of a no.
            Target::Yes => to_the_end + if says_no { 2 } else { 0 },
        };
        let offset = i16::try_from(distance).map_err(|_| {
            let because = format!("linux.resources.devices: {} rules are too many for one program", rules.len());
            error(Kind::BadInput, "cannot make the device rules", because)
        })?;
        program.push(instruction(op.code, op.register, 0, offset, op.immediate));
    }
    for answer in if says_no { 0..=1 } else { 1..=1 } {
        program.extend([instruction(SET, ANSWER, 0, 0, answer), instruction(EXIT, 0, 0, 0, 0)]);
    }
    Ok(program)
}

/// By a jump to it, or over the last instruction, or from there.
fn leads_to_a_no(ops: &[Op]) -> bool {
    let ends_open = ops.last().is_none_or(|op| op.code != JUMP);
    let leads = |(at, op): (usize, &Op)| match op.target {
        Target::No => true,
        Target::Over(count) => at + 1 + count >= ops.len(),
        Target::Yes => false,
    };
    ends_open || ops.iter().enumerate().any(leads)
}

/// The rules of one verdict, with one instead of two where they differ only in the sort of device: there are just two
/// sorts. And without those that another makes superfluous: the verifier refuses a program some of which is never reached.
fn merged(rules: &[Rule]) -> Vec<Rule> {
    let mut merged = joined_sorts(rules);
    let mut at = 0;
    while let Some(rule) = merged.get(at).copied() {
        match merged.iter().enumerate().any(|(other, wider)| other != at && wider.covers(&rule)) {
            true => drop(merged.remove(at)),
            false => at += 1,
        }
    }
    merged
}

fn joined_sorts(rules: &[Rule]) -> Vec<Rule> {
    let mut merged: Vec<Rule> = Vec::with_capacity(rules.len());
    for rule in rules {
        let other = match rule.sort {
            Some(Sort::Block) => Some(Sort::Char),
            Some(Sort::Char) => Some(Sort::Block),
            None => None,
        };
        let twin = other.and_then(|sort| merged.iter().position(|seen| *seen == Rule { sort: Some(sort), ..*rule }));
        match twin {
            Some(twin) => merged[twin].sort = None,
            None => merged.push(*rule),
        }
    }
    merged
}

/// Rules of one verdict, in any order: by sort, then by major number. Falling out at the end means: not decided.
fn run_of_one_verdict(rules: &[Rule]) -> Vec<Op> {
    let mut ops = Vec::new();
    for sort in [None, Some(Sort::Block), Some(Sort::Char)] {
        let mut of_sort: Vec<&Rule> = rules.iter().filter(|rule| rule.sort == sort).collect();
        of_sort.sort_by_key(|rule| rule.major);
        let mut body = Vec::new();
        for of_major in of_sort.chunk_by(|one, next| one.major == next.major) {
            let leaves = of_major.iter().flat_map(|rule| guarded(MINOR, number(rule.minor), verdict(rule)));
            body.extend(guarded(MAJOR, number(of_major[0].major), leaves.collect()));
        }
        ops.extend(guarded(SORT, sort.map(|sort| sort as i32), body));
    }
    ops
}

/// Numbers above 2^31 are compared as the same 32 bits.
fn number(number: Option<u32>) -> Option<i32> {
    number.map(u32::cast_signed)
}

/// `body`, if the register has this value; always, if there is none.
fn guarded(register: u8, value: Option<i32>, body: Vec<Op>) -> Vec<Op> {
    match (value, body.as_slice()) {
        (None, _) | (_, []) => body,
        (Some(value), [jump]) if jump.code == JUMP => vec![Op::jump(JUMP_IF_EQUAL, register, value, jump.target)],
        (Some(value), _) => {
            let mut ops = vec![Op::jump(JUMP_UNLESS_EQUAL, register, value, Target::Over(body.len()))];
            ops.extend(body);
            ops
        }
    }
}

/// What a rule does once it matches. Something is still wanted then.
fn verdict(rule: &Rule) -> Vec<Op> {
    let Access(bits) = rule.access;
    let (all, target) = (rule.access == Access::ALL, if rule.allow { Target::Yes } else { Target::No });
    match (rule.allow, all) {
        (_, true) => vec![Op::jump(JUMP, 0, 0, target)],
        (true, false) => vec![
            Op { code: AND, register: WANTED, immediate: i32::from(!bits & Access::ALL.0), target: Target::Over(0) },
            Op::jump(JUMP_IF_EQUAL, WANTED, 0, target),
        ],
        (false, false) => vec![Op::jump(JUMP_IF_ANY_BIT, WANTED, i32::from(bits), target)],
    }
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, immediate }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
