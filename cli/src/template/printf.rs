// SPDX-License-Identifier: Apache-2.0
//! Go's verbs, as far as JSON has values for them: `%-10s`, `%05d`, `%.2f`, `%q`, `%v`, `%t`, `%x`, `%%`.

use super::functions::{amount, shown};
use serde_json::{Number, Value};

/// A verb with what stands before it.
struct Verb {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

/// Fills the format in.
pub(super) fn printf(format: &str, arguments: &[Value]) -> Result<String, String> {
    let mut arguments = arguments.iter();
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let (verb, tail) = read(after)?;
        rest = tail;
        if verb.letter == '%' {
            text.push('%');
            continue;
        }
        let argument = arguments.next().ok_or_else(|| format!("printf {format:?} has more verbs than arguments"))?;
        text.push_str(&verb.padded(&verb.bare(argument)?));
    }
    text.push_str(rest);
    match arguments.next() {
        None => Ok(text),
        Some(_) => Err(format!("printf {format:?} has fewer verbs than arguments")),
    }
}

fn read(text: &str) -> Result<(Verb, &str), String> {
    let flags = text.find(|c: char| !matches!(c, '-' | '0' | '+' | ' ' | '#')).unwrap_or(text.len());
    let (flags, rest) = text.split_at(flags);
    let (width, rest) = digits(rest)?;
    let (precision, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest).map(|(number, rest)| (Some(number), rest))?,
        None => (None, rest),
    };
    let letter = rest.chars().next().ok_or("printf: a % without a verb")?;
    let left = flags.contains('-');
    let verb = Verb { left, zeros: flags.contains('0') && !left, width, precision, letter };
    Ok((verb, &rest[letter.len_utf8()..]))
}

fn digits(text: &str) -> Result<(usize, &str), String> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    if digits.is_empty() {
        return Ok((0, rest));
    }
    let number: u64 = digits.parse().map_err(|_| format!("printf: {digits} is too large"))?;
    Ok((amount(&Number::from(number))?, rest))
}

impl Verb {
    fn bare(&self, value: &Value) -> Result<String, String> {
        let wrong = || Err(format!("printf: %{} is not for {value}", self.letter));
        match (self.letter, value) {
            ('v', _) | ('s', Value::String(_) | Value::Array(_) | Value::Object(_) | Value::Null) => {
                let text = shown(value);
                Ok(self.precision.map_or_else(|| text.clone(), |most| text.chars().take(most).collect()))
            }
            ('q', Value::String(text)) => Ok(Value::from(text.as_str()).to_string()),
            ('t', Value::Bool(truth)) => Ok(truth.to_string()),
            ('d', Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
            ('x', Value::Number(number)) => number.as_u64().map_or_else(wrong, |number| Ok(format!("{number:x}"))),
            ('x', Value::String(text)) => Ok(text.bytes().map(|byte| format!("{byte:02x}")).collect()),
            ('f', Value::Number(number)) if number.is_f64() => {
                number.as_f64().map_or_else(wrong, |number| Ok(format!("{number:.*}", self.precision.unwrap_or(6))))
            }
            _ => wrong(),
        }
    }

    fn padded(&self, text: &str) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.left, self.zeros) {
            (true, _) => format!("{text}{:missing$}", ""),
            (false, true) => "0".repeat(missing) + text,
            (false, false) => format!("{:missing$}{text}", ""),
        }
    }
}
