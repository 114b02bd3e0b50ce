// SPDX-License-Identifier: Apache-2.0
//! Numbers of processors and memory nodes as the kernel lists them: cpuset(7), "List format".

use crate::error::{Error, Result};

/// More processors and nodes than any kernel is built for.
const MOST: usize = 65_536;

/// `0-2,7` as words of bits, the lowest first. Spaces mean nothing; an empty list has no words.
pub(super) fn bits(list: &str, field: &str) -> Result<Vec<usize>> {
    let list: String = list.split_whitespace().collect();
    let wrong = || {
        Error::bad_input(format!("cannot use {field} {list:?}"))
            .because(format!("it is not a list like 0-3,7 of numbers below {MOST}"))
    };
    let number = |text: &str| text.parse().ok().filter(|number| *number < MOST).ok_or_else(wrong);
    let mut words = Vec::new();
    for range in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (number(first)?, number(last)?);
        if last < first {
            return Err(wrong());
        }
        let size = usize::BITS as usize;
        words.resize(words.len().max(last / size + 1), 0);
        (first..=last).for_each(|bit| words[bit / size] |= 1 << (bit % size));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::bits;

    #[test]
    fn a_list_of_ranges_is_a_set_of_bits() {
        assert_eq!(bits("0-2,7", "f").unwrap(), [0b1000_0111]);
        assert_eq!(bits("0 - 1, 64", "f").unwrap(), [0b11, 1]);
        assert!(bits("", "f").unwrap().is_empty());
        for wrong in ["3-1", "1,,2", "x", "-1", "0-99999999", ","] {
            assert!(bits(wrong, "f").unwrap_err().to_string().contains("list like"), "{wrong:?}");
        }
    }
}
