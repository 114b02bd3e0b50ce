// SPDX-License-Identifier: Apache-2.0
//! Numbers and texts in the fields of a tar header.

use std::io;

use super::malformed;

/// A text up to its first NUL.
pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or(field)
}

/// A number that may not be negative.
pub(super) fn unsigned(field: &[u8]) -> io::Result<u64> {
    u64::try_from(signed(field)?).map_err(|_| malformed("a number is negative"))
}

/// Octal digits between spaces and NULs, or (GNU) a big-endian number with the first bit set.
pub(super) fn signed(field: &[u8]) -> io::Result<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => binary(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> io::Result<i64> {
    let text = field.trim_ascii_start();
    let end = text.iter().position(|b| *b == 0 || *b == b' ').unwrap_or(text.len());
    text[..end].iter().try_fold(0i64, |sum, digit| match digit {
        b'0'..=b'7' => sum
            .checked_mul(8)
            .and_then(|s| s.checked_add(i64::from(digit - b'0')))
            .ok_or_else(|| malformed("a number is too large")),
        _ => Err(malformed("a number is not octal")),
    })
}

/// Two's complement, with the marking bit taken for the sign's neighbour as GNU tar and Go do.
fn binary(field: &[u8]) -> io::Result<i64> {
    let negative = field[0] & 0x40 != 0;
    let fill = if negative { 0xff } else { 0 };
    let mut value: i64 = if negative { -1 } else { 0 };
    for (i, byte) in field.iter().enumerate() {
        let byte = if i == 0 { (byte & 0x7f) | (fill & 0x80) } else { *byte };
        // What is shifted out must be nothing but the sign.
        if value >> 55 != if negative { -1 } else { 0 } {
            return Err(malformed("a number is too large"));
        }
        value = (value << 8) | i64::from(byte);
    }
    Ok(value)
}

/// A decimal number.
pub(super) fn decimal<T: std::str::FromStr>(text: &[u8]) -> io::Result<T> {
    let text = std::str::from_utf8(text).ok().and_then(|t| t.trim().parse().ok());
    text.ok_or_else(|| malformed("a number is not decimal"))
}

/// Seconds with a decimal fraction, as PAX writes times.
pub(super) fn time(text: &[u8]) -> io::Result<(i64, u32)> {
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    let seconds: i64 = decimal(whole)?;
    let mut nanoseconds = 0u32;
    for i in 0..9 {
        let digit = fraction.get(i).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Err(malformed("a time is not decimal"));
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    match whole.starts_with(b"-") && nanoseconds > 0 {
        // −1.25 s is two seconds before, and three quarters.
        true => Ok((seconds.saturating_sub(1), 1_000_000_000 - nanoseconds)),
        false => Ok((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(unsigned(b"0000644\0").unwrap(), 0o644);
        assert_eq!(unsigned(b"   644 \0").unwrap(), 0o644);
        assert_eq!(unsigned(&[0; 8]).unwrap(), 0);
        assert_eq!(unsigned(b"77777777777 ").unwrap(), 0o77777777777);
        assert_eq!(unsigned(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]).unwrap(), 2 << 32);
        assert_eq!(signed(&[0xff; 12]).unwrap(), -1);
        assert!(unsigned(&[0xff; 12]).is_err());
        assert!(unsigned(&[0xbf; 12]).is_err());
        assert!(unsigned(b"12x").is_err());
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        assert_eq!(time(b"1.5").unwrap(), (1, 500_000_000));
        assert_eq!(time(b"-1.25").unwrap(), (-2, 750_000_000));
        assert_eq!(time(b"7").unwrap(), (7, 0));
        assert!(time(b"1.x").is_err());
    }
}
