// SPDX-License-Identifier: Apache-2.0
//! The keys that leave a container: Docker's `--detach-keys`.

use crate::error::{Error, Kind};
use std::str::FromStr;

/// A sequence of keys; ctrl-p ctrl-q unless said otherwise. Empty: nothing detaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = Error;

    /// `ctrl-p,ctrl-q`, `a,b,c`, `ctrl-@`, `ctrl-[`, `ctrl-\`, `ctrl-]`, `ctrl-^`, `ctrl-_`; the empty text: none.
    fn from_str(text: &str) -> Result<DetachKeys, Error> {
        if text.is_empty() {
            return Ok(DetachKeys(Vec::new()));
        }
        text.split(',').map(key).collect::<Option<Vec<u8>>>().map(DetachKeys).ok_or_else(|| {
            let known = "letters, or ctrl- and one of a-z @ [ \\ ] ^ _, separated by commas: ctrl-p,ctrl-q";
            let because = format!("invalid detach keys ({text}) provided; they are {known}");
            Error::new(format!("cannot read the detach keys {text:?}"), because).kind(Kind::BadInput)
        })
    }
}

fn key(word: &str) -> Option<u8> {
    match word.as_bytes() {
        [byte] => Some(*byte),
        [b'c', b't', b'r', b'l', b'-', letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'c', b't', b'r', b'l', b'-', sign @ (b'@' | b'['..=b'_')] => Some(sign - b'@'),
        _ => None,
    }
}

/// What a piece of input means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// All of it (held-back keys included) is for the program.
    Keys(Vec<u8>),
    /// The sequence is complete; what came before it is still for the program.
    Detach(Vec<u8>),
}

/// Watches input for the sequence. A begun sequence is held back until it is complete or broken.
#[derive(Debug)]
pub(super) struct Watch {
    keys: Vec<u8>,
    matched: usize,
}

impl Watch {
    pub(super) fn new(keys: &DetachKeys) -> Watch {
        Watch { keys: keys.0.clone(), matched: 0 }
    }

    pub(super) fn type_in(&mut self, input: &[u8]) -> Typed {
        let mut through = Vec::with_capacity(input.len() + self.matched);
        for &byte in input {
            if self.advance(byte, &mut through) {
                return Typed::Detach(through);
            }
        }
        Typed::Keys(through)
    }

    /// Whether `byte` completes the sequence. If it breaks it, what was held back goes through, as far as it cannot
    /// be the beginning of another.
    fn advance(&mut self, byte: u8, through: &mut Vec<u8>) -> bool {
        let mut held = self.keys[..self.matched].to_vec();
        held.push(byte);
        let kept = (0..held.len()).find(|&from| self.keys.starts_with(&held[from..])).unwrap_or(held.len());
        through.extend_from_slice(&held[..kept]);
        self.matched = held.len() - kept;
        self.matched > 0 && self.matched == self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(keys: &str) -> Watch {
        Watch::new(&keys.parse().unwrap())
    }

    #[test]
    fn docker_s_spellings_are_understood() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
        assert_eq!("a,ctrl-@,ctrl-[,ctrl-_".parse(), Ok(DetachKeys(vec![b'a', 0, 0x1b, 0x1f])));
        assert_eq!("".parse(), Ok(DetachKeys(vec![])));
        for wrong in ["ctrl-", "ctrl-P", "ab", "a,,b", "ctrl-1"] {
            assert!(wrong.parse::<DetachKeys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_sequence_detaches_even_in_pieces() {
        let mut watch = watch("ctrl-p,ctrl-q");
        assert_eq!(watch.type_in(b"ls\n\x10"), Typed::Keys(b"ls\n".to_vec()));
        assert_eq!(watch.type_in(b"\x11never"), Typed::Detach(vec![]));
    }

    #[test]
    fn a_broken_sequence_reaches_the_program_whole() {
        let mut watch = watch("ctrl-p,ctrl-q");
        assert_eq!(watch.type_in(b"\x10"), Typed::Keys(vec![]));
        assert_eq!(watch.type_in(b"x"), Typed::Keys(b"\x10x".to_vec()));
        assert_eq!(watch.type_in(b"\x10\x10"), Typed::Keys(b"\x10".to_vec()));
        assert_eq!(watch.type_in(b"\x11"), Typed::Detach(vec![]));
    }

    #[test]
    fn a_sequence_that_repeats_itself_is_found_behind_a_false_start() {
        assert_eq!(watch("a,a,b").type_in(b"aaab"), Typed::Detach(b"a".to_vec()));
        assert_eq!(watch("").type_in(b"\x10\x11"), Typed::Keys(b"\x10\x11".to_vec()));
    }
}
