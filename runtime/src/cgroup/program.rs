// SPDX-License-Identifier: Apache-2.0
//! Device rules as an eBPF program of the type that a cgroup asks at every open and mknod. Pure.
//!
//! Walks the rules from the last to the first and keeps in a register what has still to be allowed: a deny that touches
//! it ends the walk, an allow takes its bits out, and nothing left is a yes. What no rule speaks of is denied.
//! Kernel: struct bpf_cgroup_dev_ctx in include/uapi/linux/bpf.h, instruction-set.rst.

use kelp_sys::bpf::Instruction;

use super::device::{Access, Rule};

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
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const JUMP_IF_ANY_BIT: u8 = 0x46;
const EXIT: u8 = 0x95;

/// The program for these rules.
pub(super) fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut code = vec![
        // access_type holds the sort of the node in its low half, what is wanted in its high half.
        instruction(LOAD_WORD, SORT, CONTEXT, 0, 0),
        instruction(COPY, WANTED, SORT, 0, 0),
        instruction(AND, SORT, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    // Nothing wanted, nothing denied.
    code.push(instruction(JUMP_UNLESS_EQUAL, WANTED, 0, 2, 0));
    code.extend(answer(1));
    for rule in rules.iter().rev() {
        code.extend(block(rule));
    }
    code.extend(answer(0));
    code
}

/// The instructions of one rule; falling out at the end means that the rule did not decide.
fn block(rule: &Rule) -> Vec<Instruction> {
    let tests = [
        (SORT, rule.sort.map(|sort| sort as i32)),
        // Numbers above 2^31 are compared as the same 32 bits.
        (MAJOR, rule.major.map(u32::cast_signed)),
        (MINOR, rule.minor.map(u32::cast_signed)),
    ];
    let verdict = verdict(rule.allow, rule.access);
    let tests: Vec<_> = tests.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
    let end = tests.len() + verdict.len();
    let mut code = Vec::with_capacity(end);
    for (register, value) in tests {
        code.push(instruction(JUMP_UNLESS_EQUAL, register, 0, distance(code.len(), end), value));
    }
    code.extend(verdict);
    code
}

/// What a rule does once it matches.
fn verdict(allow: bool, access: Access) -> Vec<Instruction> {
    let bits = i32::from(access.0);
    let mut code = match allow {
        true => vec![
            instruction(AND, WANTED, 0, 0, i32::from(!access.0 & Access::ALL.0)),
            instruction(JUMP_UNLESS_EQUAL, WANTED, 0, 2, 0),
        ],
        false => vec![instruction(JUMP_IF_ANY_BIT, WANTED, 0, 1, bits), instruction(JUMP, 0, 0, 2, 0)],
    };
    code.extend(answer(i32::from(allow)));
    code
}

/// Ends the program: 1 is yes, 0 is EPERM.
fn answer(value: i32) -> [Instruction; 2] {
    [instruction(SET, ANSWER, 0, 0, value), instruction(EXIT, 0, 0, 0, 0)]
}

/// What an instruction at `from` must jump to go on at `to`.
fn distance(from: usize, to: usize) -> i16 {
    // A block has at most seven instructions.
    i16::try_from(to - from - 1).unwrap_or(i16::MAX)
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, immediate }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
