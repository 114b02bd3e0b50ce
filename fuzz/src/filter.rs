// SPDX-License-Identifier: Apache-2.0
//! The rules by which the kernel takes a seccomp filter: `bpf_check_classic` and `check_load_and_stores` of
//! net/core/filter.c, `seccomp_check_filter` of kernel/seccomp.c.
//!
//! `tests/filter.rs` asks the kernel of this machine whether they are its own.

use kelp_sys::seccomp::SockFilter;

/// `BPF_MAXINSNS`
const LONGEST: usize = 4096;
/// `BPF_MEMWORDS`
const WORDS: u32 = 16;
/// `sizeof(struct seccomp_data)`
const DATA: u32 = 64;

// Classes of instructions, which are the low three bits of a code; linux/bpf_common.h.
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;

// Where a load comes from.
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;

/// The operand is the register X, not k.
const X: u16 = 0x08;
/// What returns the accumulator.
const A: u16 = 0x10;

// Operations.
const DIV: u16 = 0x30;
const LSH: u16 = 0x60;
const RSH: u16 = 0x70;
const NEG: u16 = 0x80;
const XOR: u16 = 0xa0;
const JA: u16 = 0x00;
const JSET: u16 = 0x40;
const TXA: u16 = 0x80;

/// Whether the kernel takes this filter; if not, which instruction breaks which rule.
///
/// # Errors
/// It does not.
pub fn check(filter: &[SockFilter]) -> Result<(), String> {
    if filter.is_empty() || filter.len() > LONGEST {
        return Err(format!("{} instructions", filter.len()));
    }
    for (at, instruction) in filter.iter().enumerate() {
        let left = filter.len() - at - 1;
        one(*instruction, left).map_err(|why| format!("instruction {at}, {instruction:x?}: {why}"))?;
    }
    match filter.last().map(|last| last.code) {
        Some(RET) => {}
        Some(code) if code == RET | A => {}
        _ => return Err("the last instruction does not return".into()),
    }
    memory(filter)
}

/// One instruction, with `left` others behind it.
fn one(instruction: SockFilter, left: usize) -> Result<(), &'static str> {
    let SockFilter { code, jt, jf, k } = instruction;
    let operation = code & 0xf0;
    match code & 7 {
        // A load of seccomp_data: whole words.
        LD if code == LD | ABS => match k < DATA && k & 3 == 0 {
            true => Ok(()),
            false => Err("loads what is no word of seccomp_data"),
        },
        LD | LDX if code & !7 == MEM => in_memory(k),
        LD | LDX if matches!(code & !7, IMM | LEN) => Ok(()),
        ST | STX if code & !7 == 0 => in_memory(k),
        ALU if code & !0xff == 0 && (operation <= XOR || operation == NEG) => arithmetic(operation, code & X != 0, k),
        JMP if code == JMP | JA => match (k as usize) < left {
            true => Ok(()),
            false => Err("jumps out of the filter"),
        },
        JMP if code & !0xff == 0 && operation > JA && operation <= JSET => match usize::from(jt.max(jf)) < left {
            true => Ok(()),
            false => Err("jumps out of the filter"),
        },
        RET if code == RET || code == RET | A => Ok(()),
        MISC if code == MISC || code == MISC | TXA => Ok(()),
        _ => Err("is no instruction of seccomp's"),
    }
}

fn in_memory(k: u32) -> Result<(), &'static str> {
    if k < WORDS { Ok(()) } else { Err("is beyond the memory of 16 words") }
}

fn arithmetic(operation: u16, by_register: bool, k: u32) -> Result<(), &'static str> {
    match operation {
        // Filters of sockets have it.
        0x90 => Err("has a remainder, which seccomp has not"),
        NEG if by_register => Err("negates by a register"),
        DIV if !by_register && k == 0 => Err("divides by nothing"),
        LSH | RSH if !by_register && k >= 32 => Err("shifts by more than a word"),
        _ => Ok(()),
    }
}

/// On no way to a load from memory is its word unwritten.
fn memory(filter: &[SockFilter]) -> Result<(), String> {
    // The words that are written on all ways to an instruction; the kernel takes an unreachable one for having them all.
    let mut written = vec![u16::MAX; filter.len()];
    let mut valid = 0_u16;
    for (at, SockFilter { code, jt, jf, k }) in filter.iter().copied().enumerate() {
        valid &= written[at];
        let mut meet = |target: usize| written[target] &= valid;
        match code & 7 {
            ST | STX => valid |= 1 << k,
            JMP if code == JMP | JA => {
                meet(at + 1 + k as usize);
                valid = u16::MAX;
            }
            JMP => {
                meet(at + 1 + usize::from(jt));
                meet(at + 1 + usize::from(jf));
                valid = u16::MAX;
            }
            LD | LDX if code & !7 == MEM && valid & (1 << k) == 0 => {
                return Err(format!("instruction {at} loads word {k}, which nobody wrote"));
            }
            _ => {}
        }
    }
    Ok(())
}
