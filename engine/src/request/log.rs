// SPDX-License-Identifier: Apache-2.0
//! `--log-driver`, `--log-opt`: how much of the output is kept. There is one format, ours; `logs` reads it.

use super::{Life, size};
use kelp_shim::LogLimits;
use serde::{Deserialize, Serialize};

/// `--log-driver`: Docker's words for “kept here”, and for “not at all”.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// Kept.
    #[default]
    JsonFile,
    /// Kept.
    Local,
    /// Not kept.
    None,
}

/// Reads `json-file`, `local`, `none`.
pub fn driver(text: &str) -> Result<Driver, String> {
    match text {
        "json-file" => Ok(Driver::JsonFile),
        "local" => Ok(Driver::Local),
        "none" => Ok(Driver::None),
        _ => Err("known are json-file, local and none".to_owned()),
    }
}

/// One `--log-opt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Bytes of one file.
    Size(u64),
    /// How many files.
    Files(u32),
}

/// Reads `max-size=10m` or `max-file=3`.
pub fn parse(text: &str) -> Result<Limit, String> {
    match text.split_once('=') {
        Some(("max-size", value)) => match u64::try_from(size::bytes(value)?) {
            Ok(bytes) if bytes > 0 => Ok(Limit::Size(bytes)),
            _ => Err("the size is more than 0".to_owned()),
        },
        Some(("max-file", value)) => match value.parse() {
            Ok(files) if files > 0 => Ok(Limit::Files(files)),
            _ => Err("expected a number of files, 1 or more".to_owned()),
        },
        _ => Err("known are max-size=BYTES and max-file=NUMBER".to_owned()),
    }
}

/// What comes of all of them.
pub fn limits(flags: &Life) -> LogLimits {
    let mut limits = match flags.log_driver {
        // Docker's limits of this driver.
        Driver::Local => LogLimits { max_size: 20 << 20, files: 5 },
        Driver::JsonFile | Driver::None => LogLimits::default(),
    };
    for limit in &flags.log_opt {
        match *limit {
            Limit::Size(bytes) => limits.max_size = bytes,
            Limit::Files(files) => limits.files = files,
        }
    }
    if flags.log_driver == Driver::None {
        limits.max_size = 0;
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_as_large_as_they_are_told() {
        assert_eq!(limits(&Life::default()), LogLimits::default());
        let log_opt = vec![parse("max-size=10m").unwrap(), parse("max-file=3").unwrap()];
        let some = limits(&Life { log_opt, ..Life::default() });
        let local = Life { log_driver: driver("local").unwrap(), ..Life::default() };
        assert_eq!(limits(&local), LogLimits { max_size: 20 << 20, files: 5 });
        assert_eq!(some, LogLimits { max_size: 10 << 20, files: 3 });
        let none = Life { log_driver: driver("none").unwrap(), ..Life::default() };
        assert_eq!(limits(&none).max_size, 0);
        assert!(parse("max-size=0").is_err() && parse("max-file=0").is_err() && parse("tag=x").is_err());
    }
}
