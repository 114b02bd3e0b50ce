// SPDX-License-Identifier: Apache-2.0
//! Points in time as people see them: RFC 3339 in, “3 minutes ago” out, and what `--since` takes.

use kelp_runtime::duration;
use kelp_shim::time::Timestamp;

/// Now, as records hold it.
pub fn now() -> String {
    Timestamp::now().to_string()
}

/// Seconds since 1970 of an RFC 3339 text; offsets are honoured, fractions cut off.
pub fn seconds(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.splitn(3, ':').map(number);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().unwrap_or(Some(0))?);
    let in_range = is_day(year, month, day) && hour < 24 && minute < 60 && second <= 60 && is_digits(fraction);
    in_range.then_some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?)
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first() {
        None => return Some(0),
        Some(b'Z' | b'z') => return (zone.len() == 1).then_some(0),
        Some(b'+') => 1,
        _ => -1,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// A number without a sign, and short enough for the sums that follow.
fn number(digits: &str) -> Option<i64> {
    (is_digits(digits) && digits.len() < 10).then(|| digits.parse().ok())?
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the calendar has this day.
fn is_day(year: i64, month: i64, day: i64) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=last).contains(&day)
}

/// Days from 1970-01-01: Howard Hinnant's `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// In UTC and to the second: `2026-01-31T12:00:00Z`; an offset and a fraction are gone. What is no time stays as it is.
pub fn to_the_second(text: &str) -> String {
    let Some(seconds) = seconds(text) else { return text.to_owned() };
    let whole = Timestamp { seconds, nanoseconds: 0 }.to_string();
    whole.replace(".000000000Z", "Z")
}

/// As Go prints a time, which is what Docker's tables have: `2026-01-31 12:00:00 +0000 UTC`.
pub fn in_words(text: &str) -> String {
    match seconds(text) {
        Some(_) => to_the_second(text).replace('T', " ").replace('Z', " +0000 UTC"),
        None => text.to_owned(),
    }
}

/// How long ago a record's time is: `3 minutes`, in Docker's words.
pub fn since(text: &str) -> String {
    match seconds(text) {
        Some(then) => span(Timestamp::now().seconds - then),
        None => "an unknown time".to_owned(),
    }
}

fn span(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// The moment of `--since` and `--until`: RFC 3339, a date, seconds since 1970, or how long ago (`10m`, `1h30m`).
pub fn moment(text: &str) -> Result<i64, String> {
    let date_only = || seconds(&format!("{text}T00:00:00Z"));
    let ago = || duration(text).map(|ago| Timestamp::now().seconds.saturating_sub(ago));
    let unix = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        is_digits(fraction).then(|| whole.parse().ok())?
    };
    let found = seconds(text).or_else(unix).or_else(ago).or_else(date_only);
    found.ok_or_else(|| format!("{text:?} is not a time: use 2026-01-31T12:00:00Z, 10m or seconds since 1970"))
}

/// The same to the nanosecond: `1136073600.000000001` and fractions of RFC 3339 count.
pub fn nano_moment(text: &str) -> Result<i64, String> {
    let whole = moment(text)?.checked_mul(1_000_000_000);
    if let (Some(whole), Some(_)) = (whole, duration(text)) {
        return Ok(whole.saturating_add(Timestamp::now().nanoseconds.into()));
    }
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).take(9).count();
    let nanoseconds = format!("{:0<9}", &fraction[..digits]).parse::<i64>().unwrap_or(0);
    whole.and_then(|whole| whole.checked_add(nanoseconds)).ok_or_else(|| format!("{text:?} is too far away"))
}

/// Seconds in Go's form of a duration: `1h30m`, `1.5h`, `300ms`, `2d` too.
fn duration(text: &str) -> Option<i64> {
    let unit = |unit: &str| if unit == "d" { Some(86_400.0) } else { duration::go_unit(unit) };
    let seconds = duration::seconds(text, unit).filter(|_| !text.is_empty())?;
    #[allow(clippy::cast_possible_truncation, reason = "a duration beyond 2^63 seconds saturates")]
    Some(seconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read_with_offsets() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2024-02-29T23:59:59.000000007Z"), Some(1_709_251_199));
        assert_eq!(seconds("2024-03-01T01:59:59+02:00"), Some(1_709_251_199));
        assert_eq!(seconds("not a time"), None);
        assert_eq!(seconds("2024-13-01T00:00:00Z"), None);
        let now = Timestamp::now();
        assert_eq!(seconds(&now.to_string()), Some(now.seconds));
    }

    #[test]
    fn moments_have_nanoseconds() {
        assert_eq!(nano_moment("7.000000001"), Ok(7_000_000_001));
        assert_eq!(nano_moment("7"), Ok(7_000_000_000));
        assert_eq!(nano_moment("1970-01-01T00:00:01.25Z"), Ok(1_250_000_000));
        assert!(nano_moment("99999999999999").is_err());
    }

    #[test]
    fn times_are_shown_as_docker_shows_them() {
        let text = "2024-03-01T01:59:59.25+02:00";
        assert_eq!(to_the_second(text), "2024-02-29T23:59:59Z");
        assert_eq!(in_words(text), "2024-02-29 23:59:59 +0000 UTC");
        assert_eq!(in_words("N/A"), "N/A");
    }

    #[test]
    fn spans_are_dockers_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (185, "3 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 21, "3 weeks"),
        ] {
            assert_eq!(span(seconds), words);
        }
    }

    #[test]
    fn moments_have_four_forms() {
        assert_eq!(moment("1709251199.5"), Ok(1_709_251_199));
        assert_eq!(moment("2024-02-29"), Ok(1_709_164_800));
        assert!((moment("1h30m").unwrap() - (Timestamp::now().seconds - 5400)).abs() <= 1);
        assert!((moment("1.5h").unwrap() - (Timestamp::now().seconds - 5400)).abs() <= 1);
        for nonsense in [
            "yesterday",
            "",
            "10.abc",
            "1x",
            ".",
            "2026-02-30",
            "2026-01-31T12:00:00Zfoo",
            "2026-01-31T12:00:00.abcZ",
            "2026-01-31T12:00:00+99:99",
            "2026-01-31T12:00:00+1",
            "2026-+1-31",
        ] {
            assert!(moment(nonsense).is_err(), "{nonsense}");
        }
    }
}
