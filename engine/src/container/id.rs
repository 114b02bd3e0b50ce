// SPDX-License-Identifier: Apache-2.0
//! Container ids: 64 hexadecimal digits, from the kernel's random numbers.

use crate::error::{Doing, Result};
use kelp_sys::rustix::rand::{GetRandomFlags, getrandom};

/// How much of an id people see.
const SHORT: usize = 12;

/// A new id.
pub fn random() -> Result<String> {
    let mut bytes = [0u8; 32];
    // Requests of up to 256 bytes are never cut short: getrandom(2).
    getrandom(&mut bytes, GetRandomFlags::empty()).doing(|| "cannot choose an id")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The part of an id that people see.
pub fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// Whether `text` can be an id or the beginning of one.
pub fn may_begin(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_hex_digits_and_differ() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one.len() == 64 && may_begin(&one) && one != other);
        assert_eq!(short(&one).len(), 12);
    }
}
