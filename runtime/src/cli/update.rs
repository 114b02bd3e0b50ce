// SPDX-License-Identifier: Apache-2.0
//! `update`: other limits, from options or as JSON.

use super::Log;
use super::arguments::{Arguments, unknown_option};
use kelp_runtime::error::Doing;
use kelp_runtime::{Error, Result, Runtime};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The options of `update`.
#[derive(Debug, Default)]
pub(crate) struct Update {
    id: String,
    /// `--resources`: where the JSON is. The other options do not count then, as for runc.
    file: Option<PathBuf>,
    /// What the other options say, as linux.resources.
    resources: Map<String, Value>,
    /// Lines of resctrl's `schemata`: `--l3-cache-schema`, `--mem-bw-schema`.
    schemata: Vec<String>,
    warnings: Vec<&'static str>,
}

pub(super) fn parse(arguments: &mut Arguments) -> Result<Update> {
    let mut update = Update::default();
    while let Some(option) = arguments.next_option()? {
        let name = format!("--{option}");
        let (section, field, value) = match option.as_str() {
            "resources" | "r" => {
                update.file = Some(arguments.path()?);
                continue;
            }
            "kernel-memory" | "kernel-memory-tcp" => {
                drop(arguments.text(&name)?);
                update.warnings.push("kernel memory counts against the limit of memory: --kernel-memory is ignored");
                continue;
            }
            "l3-cache-schema" | "mem-bw-schema" => {
                update.schemata.extend(lines(&name, &arguments.text(&name)?)?);
                continue;
            }
            "blkio-weight" => ("blockIO", "weight", json!(arguments.number::<u16>(&name)?)),
            "cpu-period" => ("cpu", "period", json!(arguments.number::<u64>(&name)?)),
            "cpu-quota" => ("cpu", "quota", json!(arguments.number::<i64>(&name)?)),
            "cpu-burst" => ("cpu", "burst", json!(arguments.number::<u64>(&name)?)),
            "cpu-share" => ("cpu", "shares", json!(arguments.number::<u64>(&name)?)),
            "cpu-rt-period" => ("cpu", "realtimePeriod", json!(arguments.number::<u64>(&name)?)),
            "cpu-rt-runtime" => ("cpu", "realtimeRuntime", json!(arguments.number::<i64>(&name)?)),
            "cpu-idle" => ("cpu", "idle", json!(arguments.number::<i64>(&name)?)),
            "cpuset-cpus" => ("cpu", "cpus", json!(arguments.text(&name)?)),
            "cpuset-mems" => ("cpu", "mems", json!(arguments.text(&name)?)),
            "memory" => ("memory", "limit", json!(size(&name, &arguments.text(&name)?)?)),
            "memory-reservation" => ("memory", "reservation", json!(size(&name, &arguments.text(&name)?)?)),
            "memory-swap" => ("memory", "swap", json!(size(&name, &arguments.text(&name)?)?)),
            "pids-limit" => ("pids", "limit", json!(arguments.number::<i64>(&name)?)),
            other => return Err(unknown_option(other, "update")),
        };
        update.resources.entry(section).or_insert_with(|| json!({}))[field] = value;
    }
    update.id = arguments.id("update")?;
    Ok(update)
}

/// As in linux.intelRdt: the one has a line for each cache, the other is a single line.
fn lines(option: &str, text: &str) -> Result<Vec<String>> {
    if option == "--mem-bw-schema" && (!text.starts_with("MB:") || text.contains('\n')) {
        return Err(Error::bad_input(format!("cannot use {option} {text:?}"))
            .because("it is not one line that begins with MB:"));
    }
    Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}

/// Bytes: -1 for no limit, or a number with k, m, g, t or p, which mean 1024 times the one before, and perhaps a b or ib.
fn size(option: &str, text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || {
        Error::bad_input(format!("cannot use {option} {text:?}"))
            .because(format!("invalid value for {}: invalid size: '{text}'", option.trim_start_matches('-')))
            .hint("bytes, a number with k, m, g, t or p, or -1 for no limit")
    };
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &lower[number.len()..];
    let letters = ["k", "m", "g", "t", "p"];
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 0,
        letter => letters.iter().position(|known| *known == letter).map(|at| at + 1).ok_or_else(wrong)?,
    };
    let number: f64 = number.trim_end().parse().map_err(|_| wrong())?;
    let bytes =
        number * [1.0, 1024.0, 1_048_576.0, 1_073_741_824.0, 1_099_511_627_776.0, 1_125_899_906_842_624.0][power];
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "between 0 and 2^63")]
    (bytes >= 0.0 && bytes < i64::MAX as f64).then_some(bytes as i64).ok_or_else(wrong)
}

pub(crate) fn run(runtime: &Runtime, update: Update, log: &Log) -> Result<u8> {
    update.warnings.iter().for_each(|warning| log.warn(warning));
    if update.file.is_none() && !update.schemata.is_empty() {
        runtime.update_shares(&update.id, &update.schemata)?;
        if update.resources.is_empty() {
            return Ok(0);
        }
    }
    let resources = match &update.file {
        Some(path) => read(path)?,
        None => serde_json::from_value(Value::Object(update.resources))
            .map_err(|error| Error::bad_input("cannot understand the new limits").because(error))?,
    };
    runtime.update(&update.id, &resources)?.iter().for_each(|ignored| log.warn(ignored));
    Ok(0)
}

fn read(path: &Path) -> Result<LinuxResources> {
    let (name, text) = if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).doing(|| "cannot read the new limits from stdin".into())?;
        ("stdin".into(), text)
    } else {
        (path.display().to_string(), std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?)
    };
    let wrong = || Error::bad_input(format!("cannot understand the new limits in {name}"));
    // serde would take a list for the members in their order.
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(wrong().because("it is a list, not an object as linux.resources is"));
    }
    serde_json::from_slice(&text).map_err(|error| wrong().because(error))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("-1", -1),
            ("0", 0),
            ("4096", 4096),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("1.5g", 3 << 29),
            ("2kb", 2048),
            ("1GiB", 1 << 30),
            ("1 m", 1 << 20),
        ] {
            assert_eq!(size("--memory", text).unwrap(), bytes, "{text}");
        }
        for wrong in ["", "m", "-2", "1x", "1mm", "9999999p", "nan", "inf"] {
            assert!(size("--memory", wrong).is_err(), "{wrong}");
        }
    }
}
