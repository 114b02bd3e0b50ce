// SPDX-License-Identifier: Apache-2.0
//! System calls by name and by number.
//!
//! The compiler turns the readable rows of `table.rs` into what a start can use without a relocation or a search:
//! the names as one text with a hash table, and for each ABI its calls in the order of their numbers.

use super::table::ROWS;

/// How many ABIs have a column in the table.
pub(super) const COLUMNS: usize = 18;

/// One system call: its number on each ABI, counted from the ABI's base; negative where there is none.
pub(super) struct Row {
    name: &'static str,
    numbers: [i32; COLUMNS],
}

/// One row of the table.
pub(super) const fn row(name: &'static str, numbers: [i32; COLUMNS]) -> Row {
    Row { name, numbers }
}

/// A system call, as an index into the table: the same on all ABIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub(super) u16);

/// How many names there are.
pub(super) const NAMES: usize = ROWS.len();

/// One call of one ABI.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// The number, counted from the ABI's base.
    pub(super) number: u32,
    /// The call.
    pub(super) name: Name,
}

/// All names one after the other, and where each begins: no pointer in it, so nothing to relocate at start.
struct Text {
    bytes: [u8; TEXT],
    starts: [u16; NAMES + 1],
}

/// The length of all names together.
const TEXT: usize = {
    let (mut length, mut i) = (0, 0);
    while i < NAMES {
        length += ROWS[i].name.len();
        i += 1;
    }
    length
};

static TEXTS: Text = {
    let (mut bytes, mut starts, mut end, mut i) = ([0; TEXT], [0; NAMES + 1], 0, 0);
    while i < NAMES {
        let name = ROWS[i].name.as_bytes();
        let mut j = 0;
        while j < name.len() {
            bytes[end] = name[j];
            (end, j) = (end + 1, j + 1);
        }
        i += 1;
        starts[i] = end as u16;
    }
    Text { bytes, starts }
};

/// A power of two, at least twice the names: a search meets one or two slots.
const SLOTS: usize = 2048;
const FREE: u16 = u16::MAX;

/// The hash table of the names: linear probing.
static BY_HASH: [u16; SLOTS] = {
    let (mut slots, mut i) = ([FREE; SLOTS], 0);
    while i < NAMES {
        let mut slot = hash(ROWS[i].name.as_bytes());
        while slots[slot] != FREE {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = i as u16;
        i += 1;
    }
    slots
};

/// Eight bytes at a time, mixed by a multiplication each.
const fn hash(name: &[u8]) -> usize {
    let (mut hash, mut at) = (name.len() as u64, 0);
    while at < name.len() {
        let (mut word, mut shift) = (0, 0);
        while shift < 64 && at < name.len() {
            word |= (name[at] as u64) << shift;
            (at, shift) = (at + 1, shift + 8);
        }
        hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    hash as usize % SLOTS
}

/// How many calls the ABI of `column` has.
pub(super) const fn count(column: usize) -> usize {
    let (mut count, mut i) = (0, 0);
    while i < NAMES {
        count += (ROWS[i].numbers[column] >= 0) as usize;
        i += 1;
    }
    count
}

/// The calls of the ABI of `column`, `COUNT` of them, by number.
pub(super) const fn calls<const COUNT: usize>(column: usize) -> [Call; COUNT] {
    let mut calls = [Call { number: 0, name: Name(0) }; COUNT];
    let (mut filled, mut i) = (0, 0);
    while i < NAMES {
        let number = ROWS[i].numbers[column];
        if number >= 0 {
            let call = Call { number: number as u32, name: Name(i as u16) };
            let mut at = filled;
            while at > 0 && calls[at - 1].number > call.number {
                calls[at] = calls[at - 1];
                at -= 1;
            }
            calls[at] = call;
            filled += 1;
        }
        i += 1;
    }
    calls
}

impl Name {
    /// The call called `name`, if any architecture has it.
    pub(super) fn find(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes());
        while BY_HASH[slot] != FREE {
            let found = Name(BY_HASH[slot]);
            if found.bytes() == name.as_bytes() {
                return Some(found);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    /// The index in the table.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The call called `name`: for constants, where a wrong name stops the build.
    pub(super) const fn known(name: &str) -> Self {
        let mut i = 0;
        while !same(ROWS[i].name.as_bytes(), name.as_bytes()) {
            i += 1;
        }
        Name(i as u16)
    }

    /// The name.
    pub(super) fn text(self) -> &'static str {
        // All names in the table are ASCII.
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    fn bytes(self) -> &'static [u8] {
        let (start, end) = (TEXTS.starts[self.index()], TEXTS.starts[self.index() + 1]);
        &TEXTS.bytes[start as usize..end as usize]
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}
