// SPDX-License-Identifier: Apache-2.0
//! Signals by name or number: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.

/// Linux's signals on all architectures Kelp runs on.
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The real-time signals as programs see them: libc keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// SIGTERM, sent by `stop` unless the image or `--stop-signal` says otherwise.
pub const TERM: i32 = 15;
/// SIGKILL.
pub const KILL: i32 = 9;

/// The number of a signal written by name or number.
pub fn parse(text: &str) -> Result<i32, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = digits(name).or_else(|| named(name)).or_else(|| real_time(name));
    number.filter(|number| (1..=RTMAX).contains(number)).ok_or_else(|| format!("{text:?} is not a signal"))
}

fn named(name: &str) -> Option<i32> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |rest: &str, sign: char| if rest.is_empty() { Some(0) } else { digits(rest.strip_prefix(sign)?) };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN.checked_add(offset(rest, '+')?)?,
        (_, Some(rest)) => RTMAX.checked_sub(offset(rest, '-')?)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// A number without a sign.
fn digits(text: &str) -> Option<i32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `SIGTERM` for 15; a number without a name is shown as it is.
pub fn name(number: i32) -> String {
    match NAMES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_signals_are_read() {
        assert_eq!(parse("term"), Ok(15));
        assert_eq!(parse("SIGKILL"), Ok(9));
        assert_eq!(parse("10"), Ok(10));
        assert_eq!(parse("SIGRTMIN+3"), Ok(37));
        assert_eq!(parse("RTMAX"), Ok(64));
        assert!(parse("0").is_err() && parse("65").is_err() && parse("NAP").is_err() && parse("").is_err());
        for wrong in ["RTMIN-5", "RTMAX+5", "RTMIN5", "RTMIN+99", "RTMAX-31", "+9", "-9", " term "] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(name(15), "SIGTERM");
    }
}
