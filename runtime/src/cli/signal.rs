// SPDX-License-Identifier: Apache-2.0
//! `kill`, and signals by name.

use super::Verb;
use super::arguments::{Arguments, unknown_option};
use kelp_runtime::{Error, Result};

/// signal(7), in the order of their numbers on x86 and arm from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
const LAST: i32 = 64;
const FIRST_REAL_TIME: i32 = 34;

/// A signal by number or name, with or without SIG.
fn number(text: &str) -> Result<i32> {
    let found = match text.parse::<i32>() {
        Ok(number) => Some(number).filter(|number| (0..=LAST).contains(number)),
        Err(_) => named(&text.to_ascii_uppercase()).filter(|number| (1..=LAST).contains(number)),
    };
    found.ok_or_else(|| {
        Error::bad_input(format!("cannot use the signal {text:?}"))
            .because(format!("unknown signal {text:?}"))
            .hint("a number from 1 to 64, or a name as TERM or SIGTERM")
    })
}

fn named(upper: &str) -> Option<i32> {
    let offset = |rest: &str| rest.parse::<i32>().ok();
    match upper.strip_prefix("SIG").unwrap_or(upper) {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "RTMIN" => Some(FIRST_REAL_TIME),
        "RTMAX" => Some(LAST),
        name => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(rest), _) => offset(rest).map(|offset| FIRST_REAL_TIME + offset),
            (_, Some(rest)) => offset(rest).map(|offset| LAST - offset),
            _ => NAMES.iter().zip(1..).find(|(known, _)| **known == name).map(|(_, number)| number),
        },
    }
}

pub(super) fn parse(arguments: &mut Arguments) -> Result<Verb> {
    let mut all = false;
    while let Some(option) = arguments.next_option()? {
        match option.as_str() {
            "all" | "a" => all = arguments.switch()?,
            other => return Err(unknown_option(other, "kill")),
        }
    }
    let id = arguments.first_id("kill")?;
    let signal = arguments.operand()?.map_or(Ok(15), |text| number(&text))?;
    arguments.end("kill")?;
    Ok(Verb::Kill { id, signal, all })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn signals_have_names_and_numbers() {
        let known =
            [("9", 9), ("KILL", 9), ("SIGTERM", 15), ("sigterm", 15), ("RTMIN+1", 35), ("SIGRTMAX-1", 63), ("0", 0)];
        for (text, wanted) in known {
            assert_eq!(number(text).unwrap(), wanted, "{text}");
        }
        for wrong in ["", "65", "-1", "SIG", "NOPE", "RTMIN+40", "RTMAX-64"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
