// SPDX-License-Identifier: Apache-2.0
//! Durations as Go writes them, and with it runc and Docker: `5s`, `1m30s`, `250ms`, `1.5h`.

/// The seconds of a text that is a number and a unit, as often as one likes; `unit` knows the units in seconds. `None`: it is
/// no duration. An empty text has none of both, and is 0.
pub fn seconds(text: &str, unit: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        total += number.parse::<f64>().ok()? * unit(&tail[..end])?;
        rest = &tail[end..];
    }
    Some(total)
}

/// Go's units, in seconds.
pub fn go_unit(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}
