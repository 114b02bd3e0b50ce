// SPDX-License-Identifier: Apache-2.0
//! The properties of a scope: what makes it a container's, and its limits in systemd's words. Pure.
//!
//! Limits are told to systemd so that it knows them: it writes its own values into a unit's cgroup again whenever it
//! reloads. What it has no word for is only written into the cgroup, as runc does.
//! Kernel files: cgroup-v2.rst. Properties: systemd.resource-control(5), org.freedesktop.systemd1(5).

use std::collections::{BTreeMap, HashMap};

use super::super::limits::{Absent, Write};
use super::super::{Error, Kind, error};
use super::wire::Value;

/// A name and a value.
pub type Property = (String, Value);

/// What systemd writes as “infinity”.
const INFINITY: u64 = u64::MAX;
/// The kernel's period of `cpu.max`, if nobody says another, in microseconds.
const PERIOD: u64 = 100_000;
/// More processors and nodes than any kernel is built for.
const MOST_BITS: usize = 65_536;

/// What every container's scope has. A limit of tasks below two comes later, when our helper is no longer in it.
pub(super) fn of_scope(id: &str, slice: &str) -> Vec<Property> {
    let text = |text: &str| Value::Text(text.to_owned());
    [
        ("Description", Value::Text(format!("kelp container {id}"))),
        ("Slice", text(slice)),
        // The cgroups below are the container's own.
        ("Delegate", Value::Bool(true)),
        // It is no service: it neither waits for basic.target nor ends before the shutdown of others.
        ("DefaultDependencies", Value::Bool(false)),
        // A container that was killed by the OOM killer leaves no failed unit behind that keeps its name.
        ("CollectMode", text("inactive-or-failed")),
        ("CPUAccounting", Value::Bool(true)),
        ("MemoryAccounting", Value::Bool(true)),
        ("IOAccounting", Value::Bool(true)),
        ("TasksAccounting", Value::Bool(true)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The limits, as far as systemd has words for them.
pub(super) fn of_writes(writes: &[Write]) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut by_device: BTreeMap<&str, Vec<(String, u64)>> = BTreeMap::new();
    for write in writes {
        // Systemd knows io.weight, and writes io.bfq.weight itself.
        let (file, value) = match &write.absent {
            Absent::Instead(other) => (&other.file, &other.value),
            Absent::Refuse | Absent::Skip => (&write.file, &write.value),
        };
        let value = value.trim();
        match file.as_ref() {
            "io.max" => {
                rates_of_line(value).into_iter().for_each(|(name, rate)| by_device.entry(name).or_default().push(rate))
            }
            "io.weight" if value.contains(':') => by_device.entry("IODeviceWeight").or_default().extend(pair(value)),
            "cpu.max" => properties.extend(quota(value)),
            file => properties.extend(plain(file, value)),
        }
    }
    let lists = by_device.into_iter().filter(|(_, rates)| !rates.is_empty());
    properties.extend(lists.map(|(name, rates)| (name.to_owned(), Value::Rates(rates))));
    properties
}

/// The property for a file with one value.
fn plain(file: &str, value: &str) -> Option<Property> {
    let (name, value) = match file {
        "memory.max" => ("MemoryMax", number(value)?),
        "memory.high" => ("MemoryHigh", number(value)?),
        "memory.low" => ("MemoryLow", number(value)?),
        "memory.min" => ("MemoryMin", number(value)?),
        "memory.swap.max" => ("MemorySwapMax", number(value)?),
        "pids.max" => ("TasksMax", number(value)?),
        "cpu.weight" => ("CPUWeight", number(value)?),
        // Since systemd 252 zero stands for idle.
        "cpu.idle" if value == "1" => ("CPUWeight", Value::U64(0)),
        "cpuset.cpus" => ("AllowedCPUs", Value::Bytes(bits(value)?)),
        "cpuset.mems" => ("AllowedMemoryNodes", Value::Bytes(bits(value)?)),
        "io.weight" => ("IOWeight", number(value.strip_prefix("default ").unwrap_or(value))?),
        _ => return None,
    };
    Some((name.to_owned(), value))
}

fn number(value: &str) -> Option<Value> {
    if value == "max" { Some(Value::U64(INFINITY)) } else { value.parse().ok().map(Value::U64) }
}

/// `cpu.max`: a quota and perhaps a period, in microseconds. Systemd counts in whole percents of a processor: rounded
/// up, for the exact quota is written below it and must fit.
fn quota(value: &str) -> Vec<Property> {
    let mut words = value.split_whitespace();
    let (quota, period) = (words.next().unwrap_or("max"), words.next());
    let Ok(microseconds) = period.map_or(Ok(PERIOD), str::parse) else { return Vec::new() };
    let a_second = match quota.parse::<u64>() {
        Ok(quota) => {
            let exact = quota.saturating_mul(1_000_000) / u64::max(microseconds, 1);
            exact.checked_next_multiple_of(10_000).unwrap_or(INFINITY)
        }
        Err(_) => INFINITY,
    };
    let mut properties = vec![("CPUQuotaPerSecUSec".to_owned(), Value::U64(a_second))];
    if period.is_some() {
        properties.push(("CPUQuotaPeriodUSec".to_owned(), Value::U64(microseconds)));
    }
    properties
}

/// A line of `io.max`: `8:0 rbps=1000 wiops=max`.
fn rates_of_line(line: &str) -> Vec<(&'static str, (String, u64))> {
    let Some((device, rates)) = line.split_once(' ') else { return Vec::new() };
    let rate = |pair: &str| {
        let (key, rate) = pair.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        let rate = if rate == "max" { INFINITY } else { rate.parse().ok()? };
        Some((name, (node(device), rate)))
    };
    rates.split_whitespace().filter_map(rate).collect()
}

/// A device and its weight: `8:0 500`.
fn pair(line: &str) -> Option<(String, u64)> {
    let (device, weight) = line.split_once(' ')?;
    Some((node(device), weight.trim().parse().ok()?))
}

fn node(numbers: &str) -> String {
    format!("/dev/block/{numbers}")
}

/// `0-2,7` as bits, the lowest first. None: the kernel will say what is wrong with it.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bits: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last >= MOST_BITS {
            return None;
        }
        bits.resize(bits.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|bit| bits[bit / 8] |= 1 << (bit % 8));
    }
    Some(bits)
}

/// Properties that annotations ask for: `org.systemd.property.TimeoutStopUSec: "uint64 5000000"`. They come last and win.
pub(super) fn of_annotations(annotations: &HashMap<String, String>) -> Result<Vec<Property>, Error> {
    let mut properties = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix("org.systemd.property.") else { continue };
        let refuse = |because: &str| {
            let because = format!("the annotation {key}={text} {because}");
            error(Kind::BadInput, "cannot make the container's scope", because)
        };
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(refuse("does not name a property"));
        }
        let value =
            parse(text.trim()).ok_or_else(|| refuse("has no value of a known type (text, bool, number, texts)"))?;
        properties.push(match name.strip_suffix("Sec") {
            // Documented in seconds, sent in microseconds, as runc has it. TimeoutStopUSec is sent as it is.
            Some(stem) if stem.ends_with(|letter: char| letter.is_ascii_lowercase()) => {
                let microseconds = seconds(&value).ok_or_else(|| refuse("is no number of seconds"))?;
                (format!("{stem}USec"), Value::U64(microseconds))
            }
            _ => (name.to_owned(), value),
        });
    }
    properties.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(properties)
}

fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::I32(seconds) => u64::try_from(*seconds).ok()?,
        Value::U32(seconds) => (*seconds).into(),
        Value::I64(seconds) => u64::try_from(*seconds).ok()?,
        Value::U64(seconds) => *seconds,
        _ => return None,
    };
    seconds.checked_mul(1_000_000)
}

/// GVariant's text form, of the types that units have.
fn parse(text: &str) -> Option<Value> {
    if let Some((kind, number)) = text.split_once(' ') {
        match kind {
            "uint64" => return number.trim().parse().ok().map(Value::U64),
            "int64" => return number.trim().parse().ok().map(Value::I64),
            "uint32" => return number.trim().parse().ok().map(Value::U32),
            "int32" => return number.trim().parse().ok().map(Value::I32),
            "@as" => return texts(number.trim()),
            _ => {}
        }
    }
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ if text.starts_with('[') => texts(text),
        _ if text.starts_with(['\'', '"']) => {
            quoted(text).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| Value::Text(text))
        }
        _ => text.parse().ok().map(Value::I32),
    }
}

/// `['a', 'b']`
fn texts(text: &str) -> Option<Value> {
    let mut rest = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let (text, after) = quoted(rest)?;
        texts.push(text);
        let after = after.trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(',')?.trim_start() };
    }
    Some(Value::Texts(texts))
}

/// A quoted string, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let mut plain = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            _ if letter == quote => return Some((plain, &text[at + 1..])),
            '\\' => plain.push(letters.next()?.1),
            _ => plain.push(letter),
        }
    }
    None
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
