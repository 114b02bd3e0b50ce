// SPDX-License-Identifier: Apache-2.0
//! What templates can call: Go's functions, and those that Docker adds.

use super::printf::printf;
use super::run::Of;
use serde_json::Value;
use std::cmp::Ordering;

const KNOWN: &str = "and, eq, ge, gt, index, join, json, le, len, lower, lt, ne, not, or, pad, print, printf, println, \
                     slice, split, title, truncate, upper";

/// The function's value for these arguments.
pub(super) fn call(name: &str, arguments: &[Value], of: Of) -> Result<Value, String> {
    if of == Of::Titles
        && let ("json" | "split" | "join" | "title" | "lower" | "upper" | "truncate" | "pad", [title, ..]) =
            (name, arguments)
    {
        return Ok(title.clone());
    }
    match (name, arguments) {
        ("json", [one]) => Ok(one.to_string().into()),
        ("not", [one]) => Ok((!is_true(one)).into()),
        ("upper", [Value::String(text)]) => Ok(text.to_uppercase().into()),
        ("lower", [Value::String(text)]) => Ok(text.to_lowercase().into()),
        ("title", [Value::String(text)]) => Ok(title(text).into()),
        ("split", [Value::String(text), Value::String(at)]) => {
            let parts = text.split(at.as_str());
            // Go cuts into characters at "", Rust has an empty piece at both ends then.
            Ok(parts.filter(|part| !at.is_empty() || !part.is_empty()).collect::<Vec<_>>().into())
        }
        ("join", [Value::Array(items), Value::String(between)]) => {
            Ok(items.iter().map(shown).collect::<Vec<_>>().join(between).into())
        }
        ("truncate", [Value::String(text), Value::Number(length)]) => {
            Ok(text.chars().take(amount(length)?).collect::<String>().into())
        }
        ("pad", [Value::String(text), Value::Number(before), Value::Number(after)]) => {
            let (before, after) = (amount(before)?, amount(after)?);
            Ok(if text.is_empty() { text.clone() } else { format!("{:before$}{text}{:after$}", "", "") }.into())
        }
        ("len", [one]) => length(one),
        ("index", [one, keys @ ..]) => keys.iter().try_fold(one.clone(), |value, key| element(&value, key)),
        ("slice", [one, bounds @ ..]) if bounds.len() <= 2 => slice(one, bounds),
        ("print", all) => Ok(print(all).into()),
        ("println", all) => Ok((all.iter().map(shown).collect::<Vec<_>>().join(" ") + "\n").into()),
        ("printf", [Value::String(format), rest @ ..]) => printf(format, rest).map(Value::String),
        ("eq", [first, others @ ..]) if !others.is_empty() => Ok(others.iter().any(|it| is_equal(first, it)).into()),
        ("ne", [one, other]) => Ok((!is_equal(one, other)).into()),
        ("lt", [one, other]) => Ok(order(one, other)?.is_lt().into()),
        ("le", [one, other]) => Ok(order(one, other)?.is_le().into()),
        ("gt", [one, other]) => Ok(order(one, other)?.is_gt().into()),
        ("ge", [one, other]) => Ok(order(one, other)?.is_ge().into()),
        (name, _) if KNOWN.split(", ").any(|known| known == name) => {
            let given: Vec<String> = arguments.iter().map(Value::to_string).collect();
            Err(format!("{name} takes other arguments than ({})", given.join(", ")))
        }
        (name, _) => Err(format!("there is no function {name}; known are {KNOWN}; a field begins with a dot")),
    }
}

/// How many characters a program may want: more than a line needs is a slip.
pub(super) fn amount(number: &serde_json::Number) -> Result<usize, String> {
    let amount = number.as_u64().filter(|amount| *amount <= 10_000);
    amount.and_then(|amount| usize::try_from(amount).ok()).ok_or_else(|| format!("{number} is not between 0 and 10000"))
}

fn title(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn length(value: &Value) -> Result<Value, String> {
    match value {
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::String(text) => Ok(text.len().into()),
        Value::Null => Ok(0.into()),
        other => Err(format!("len of {other}: it has no length")),
    }
}

/// A list's or a map's element; what a map has not is empty, as in Go.
fn element(value: &Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::Object(map), Value::String(name)) => Ok(map.get(name).cloned().unwrap_or_else(|| "".into())),
        (Value::Array(items), Value::Number(at)) => {
            let found = at.as_u64().and_then(|at| items.get(usize::try_from(at).ok()?));
            found.cloned().ok_or_else(|| format!("there is no element {at}: the list has {}", items.len()))
        }
        (Value::Null, _) => Ok("".into()),
        (_, key) => Err(format!("index cannot look for {key} in {}", shown(value))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let whole = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        other => return Err(format!("slice of {other}: it is neither text nor a list")),
    };
    let bound = |at: usize, usual: usize| match bounds.get(at) {
        None => Some(usual),
        Some(bound) => bound.as_u64().and_then(|bound| usize::try_from(bound).ok()),
    };
    let wrong = || format!("slice: the bounds are not within 0 and {whole}");
    let (start, end) = bound(0, 0).zip(bound(1, whole)).ok_or_else(wrong)?;
    match value {
        Value::String(text) => Ok(text.get(start..end).ok_or_else(wrong)?.into()),
        Value::Array(items) => Ok(items.get(start..end).ok_or_else(wrong)?.to_vec().into()),
        _ => Err(wrong()),
    }
}

/// Go's Sprint: a space between two values of which neither is text.
fn print(values: &[Value]) -> String {
    let mut text = String::new();
    for (at, value) in values.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| values.get(at));
        if before.is_some_and(|before| !before.is_string() && !value.is_string()) {
            text.push(' ');
        }
        text.push_str(&shown(value));
    }
    text
}

fn is_equal(one: &Value, other: &Value) -> bool {
    one == other || matches!(order(one, other), Ok(Ordering::Equal))
}

fn order(one: &Value, other: &Value) -> Result<Ordering, String> {
    let order = match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64().zip(other.as_f64()).and_then(|(one, other)| one.partial_cmp(&other)),
        },
        _ => None,
    };
    order.ok_or_else(|| format!("cannot compare {one} with {other}"))
}

/// What an if takes for true.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go prints: text bare, lists in brackets, maps as `map[key:value]`. A set's elements are `{}`.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let inner = |value: &Value| match value {
                Value::Object(map) if map.is_empty() => "{}".to_owned(),
                other => shown(other),
            };
            let pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", inner(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}
