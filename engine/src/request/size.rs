// SPDX-License-Identifier: Apache-2.0
//! Amounts of memory as people write them: `512m`, `1.5g`, `1024`.

/// Bytes; the suffixes b, k, m, g, t count in 1024s, as Docker's do.
pub fn bytes(text: &str) -> Result<i64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if digits.is_empty() {
        return Err(format!("invalid size: '{text}'; expected a number, with b, k, m, g or t after it"));
    }
    let unit: f64 = match &lower[digits.len()..] {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        other => return Err(format!("{other} is not a unit of memory; use b, k, m, g or t")),
    };
    let number: f64 = digits
        .trim()
        .parse()
        .map_err(|_| format!("invalid size: '{text}'; expected a number, with b, k, m, g or t after it"))?;
    #[allow(clippy::cast_possible_truncation, reason = "amounts beyond 2^63 bytes saturate, and are refused")]
    match (number * unit) as i64 {
        ..0 => Err(format!("invalid size: '{text}'; an amount of memory is not negative")),
        i64::MAX => Err(format!("invalid size: '{text}'; no machine has that much")),
        bytes => Ok(bytes),
    }
}

/// Bytes, or -1 for “unlimited” (`--memory-swap -1`).
pub fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// A number of bytes in decimal units with three digits, as Docker shows image sizes: `4.26MB`, `2MB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let digits = format!("{value:.decimals$}");
    let digits = if decimals > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_docker_reads_it() {
        assert_eq!(bytes("512m"), Ok(512 << 20));
        assert_eq!(bytes("1.5G"), Ok(3 << 29));
        assert_eq!(bytes("1024"), Ok(1024));
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
        assert!(bytes("lots").is_err() && bytes("1x").is_err() && bytes("-4").is_err());
        assert!(bytes("99999999999999999999").unwrap_err().contains("no machine") && bytes("nan").is_err());
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        assert_eq!(human(999), "999B");
        assert_eq!(human(4_261_000), "4.26MB");
        assert_eq!(human(142_000_000), "142MB");
        assert_eq!((human(0), human(2_000_000), human(1_500)), ("0B".into(), "2MB".into(), "1.5kB".into()));
    }
}
