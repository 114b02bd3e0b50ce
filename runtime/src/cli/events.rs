// SPDX-License-Identifier: Apache-2.0
//! `events`: statistics and OOM notices, one JSON object a line, in runc's shape, which engines parse.
//!
//! The shape is that of cgroup v1, with the kernel's own numbers of v2 in `raw`; zeros are left out where runc leaves them out.

use super::arguments::{Arguments, unknown_option};
use kelp_runtime::cgroup::{Gauges, Nested, Statistics};
use kelp_runtime::duration;
use kelp_runtime::error::Doing;
use kelp_runtime::{Error, Event, Result, Runtime};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::time::Duration;

/// The options of `events`.
#[derive(Debug)]
pub(crate) struct Watch {
    id: String,
    interval: Duration,
    once: bool,
}

pub(super) fn parse(arguments: &mut Arguments) -> Result<Watch> {
    let mut watch = Watch { id: String::new(), interval: Duration::from_secs(5), once: false };
    while let Some(option) = arguments.next_option()? {
        match option.as_str() {
            "stats" => watch.once = arguments.switch()?,
            "interval" => watch.interval = interval(&arguments.text("--interval")?)?,
            other => return Err(unknown_option(other, "events")),
        }
    }
    watch.id = arguments.id("events")?;
    Ok(watch)
}

/// A duration as Go writes it: `5s`, `1m30s`, `250ms`, `1.5s`.
fn interval(text: &str) -> Result<Duration> {
    let wrong = |because: &str| Error::bad_input(format!("cannot use --interval {text:?}")).because(because);
    let seconds = duration::seconds(text, duration::go_unit);
    let seconds = seconds.ok_or_else(|| wrong("it is not a duration like 5s or 1m30s"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong("the interval must be greater than 0")),
    }
}

pub(crate) fn run(runtime: &Runtime, watch: &Watch) -> Result<u8> {
    if watch.once {
        return print("stats", &watch.id, Some(shape(&runtime.statistics(&watch.id)?))).map(|_| 0);
    }
    let mut reader_left = false;
    let watched = runtime.events(&watch.id, watch.interval, |event| {
        let wanted = match event {
            Event::Statistics(statistics) => print("stats", &watch.id, Some(shape(&statistics)))?,
            Event::OutOfMemory => print("oom", &watch.id, None)?,
        };
        reader_left = !wanted;
        if wanted { Ok(()) } else { Err(Error::new("cannot write events").because("nobody reads them")) }
    });
    // Whoever read us has gone: no error of ours.
    if reader_left { Ok(0) } else { watched.map(|()| 0) }
}

/// Writes a line; false if nobody reads any more.
fn print(kind: &str, id: &str, data: Option<Value>) -> Result<bool> {
    let mut event = json!({ "type": kind, "id": id });
    if let Some(data) = data {
        event["data"] = data;
    }
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{event}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.doing(|| "cannot write events".into()).map(|()| true),
    }
}

fn shape(statistics: &Statistics) -> Value {
    json!({
        "cpu": cpu(statistics),
        "cpuset": {
            "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0, "memory_spread_page": 0,
            "memory_spread_slab": 0, "memory_pressure": 0, "sched_load_balance": 0, "sched_relax_domain_level": 0
        },
        "memory": memory(statistics),
        "pids": some([("current", statistics.pids.current), ("limit", statistics.pids.max)]),
        "blkio": block_io(statistics),
        "hugetlb": statistics.hugetlb.iter().map(|(size, gauges)| (size.clone(), entry(gauges, false))).collect::<Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null
    })
}

/// The kernel counts in microseconds, runc in nanoseconds.
fn cpu(statistics: &Statistics) -> Value {
    let number = |key: &str| statistics.cpu.get(key).copied().unwrap_or_default();
    let nanoseconds = |key: &str| number(key).saturating_mul(1000);
    let mut usage = some([("total", Some(nanoseconds("usage_usec")))]);
    usage["kernel"] = nanoseconds("system_usec").into();
    usage["user"] = nanoseconds("user_usec").into();
    let throttling = some([
        ("periods", Some(number("nr_periods"))),
        ("throttledPeriods", Some(number("nr_throttled"))),
        ("throttledTime", Some(nanoseconds("throttled_usec"))),
    ]);
    with_pressure(json!({ "usage": usage, "throttling": throttling }), statistics, "cpu")
}

fn memory(statistics: &Statistics) -> Value {
    let Statistics { memory, swap, .. } = statistics;
    // As in v1: memory and swap together. Where swap is not counted there is none of it.
    let swapped = if swap.current.is_some() { *swap } else { Gauges { current: Some(0), max: Some(0), ..*swap } };
    let together = Gauges {
        current: memory.current.zip(swapped.current).map(|(memory, swap)| memory.saturating_add(swap)),
        max: memory.max.zip(swapped.max).map(|(memory, swap)| memory.saturating_add(swap)),
        hits: swap.hits,
        peak: None,
    };
    let count = |key: &str| statistics.memory_events.get(key).copied().unwrap_or_default();
    let events: Map<_, _> =
        ["low", "high", "max", "oom", "oom_kill"].map(|key| (key.into(), count(key).into())).into_iter().collect();
    let mut shaped = some([("cache", statistics.memory_stat.get("file").copied())]);
    shaped["usage"] = entry(memory, true);
    shaped["swap"] = entry(&together, true);
    shaped["kernel"] = entry(&Gauges::default(), true);
    shaped["kernelTCP"] = entry(&Gauges::default(), true);
    shaped["event_count"] = events.into();
    if !statistics.memory_stat.is_empty() {
        shaped["raw"] = json!(statistics.memory_stat);
    }
    with_pressure(shaped, statistics, "memory")
}

/// No limit is the greatest number, as Go writes it; what is not counted at all is limited to 0.
fn entry(gauges: &Gauges, limited: bool) -> Value {
    let mut entry = some([("usage", gauges.current), ("max", gauges.peak)]);
    if limited {
        entry["limit"] = if gauges.current.is_some() { gauges.max.unwrap_or(u64::MAX) } else { 0 }.into();
    }
    entry["failcnt"] = gauges.hits.unwrap_or_default().into();
    entry
}

fn block_io(statistics: &Statistics) -> Value {
    let mut shaped = json!({});
    let lists = [
        ("ioServiceBytesRecursive", [("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard")]),
        ("ioServicedRecursive", [("rios", "Read"), ("wios", "Write"), ("dios", "Discard")]),
    ];
    for (name, keys) in lists {
        let entries: Vec<Value> =
            statistics.io.iter().flat_map(|(device, line)| operations(device, line, &keys)).collect();
        if !entries.is_empty() {
            shaped[name] = entries.into();
        }
    }
    with_pressure(shaped, statistics, "io")
}

fn operations(device: &str, line: &std::collections::BTreeMap<String, String>, keys: &[(&str, &str)]) -> Vec<Value> {
    let (major, minor) = device.split_once(':').unwrap_or(("", ""));
    let number = |text: &str| text.parse::<u64>().ok();
    let one = |(key, operation): &(&str, &str)| {
        let value = number(line.get(*key)?)?;
        let mut entry = some([("major", number(major)), ("minor", number(minor)), ("value", Some(value))]);
        entry["op"] = (*operation).into();
        Some(entry)
    };
    keys.iter().filter_map(one).collect()
}

fn with_pressure(mut shaped: Value, statistics: &Statistics, resource: &str) -> Value {
    if let Some(pressure) = statistics.pressure.get(resource) {
        shaped["psi"] = stalls(pressure);
    }
    shaped
}

fn stalls(pressure: &Nested) -> Value {
    let number = |text: &String| serde_json::from_str::<Value>(text).unwrap_or_default();
    let line = |line: &std::collections::BTreeMap<String, String>| {
        line.iter().map(|(key, text)| (key.clone(), number(text))).collect::<Map<_, _>>()
    };
    pressure.iter().map(|(kind, numbers)| (kind.clone(), Value::from(line(numbers)))).collect::<Map<_, _>>().into()
}

/// An object of those numbers that are there and not zero.
fn some<const N: usize>(numbers: [(&str, Option<u64>); N]) -> Value {
    let there =
        numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), number.filter(|n| *n != 0)?.into())));
    there.collect::<Map<String, Value>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_have_the_shape_that_runc_gives_them() {
        let gauges = |current, max| Gauges { current: Some(current), max, peak: None, hits: Some(2) };
        let statistics = Statistics {
            cpu: [("usage_usec".into(), 7), ("user_usec".into(), 4)].into(),
            memory: gauges(100, Some(1000)),
            swap: gauges(10, None),
            io: [("8:0".into(), [("rbytes".into(), "4096".into())].into())].into(),
            pids: gauges(3, None),
            ..Statistics::default()
        };
        let shaped = shape(&statistics);
        assert_eq!(shaped["cpu"]["usage"], json!({"total": 7000, "kernel": 0, "user": 4000}));
        assert_eq!(shaped["memory"]["usage"], json!({"usage": 100, "limit": 1000, "failcnt": 2}));
        assert_eq!(shaped["memory"]["swap"], json!({"usage": 110, "limit": u64::MAX, "failcnt": 2}));
        assert_eq!(shaped["pids"], json!({"current": 3}));
        let read = json!([{"major": 8, "op": "Read", "value": 4096}]);
        assert_eq!(shaped["blkio"]["ioServiceBytesRecursive"], read);
    }

    #[test]
    fn an_interval_is_read_as_go_writes_it() {
        for (text, milliseconds) in [("5s", 5000), ("1m30s", 90_000), ("250ms", 250), ("1.5s", 1500)] {
            assert_eq!(interval(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        for wrong in ["", "0s", "5", "s", "-1s", "5d"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
