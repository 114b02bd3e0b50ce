// SPDX-License-Identifier: Apache-2.0
//! `--log-driver`, `--log-opt`: how much of the output is kept. There is one format, ours; `logs` reads it.

use super::{LifeFlags, size};
use clap::ValueEnum;
use kelp_shim::LogLimits;

/// `--log-driver`: Docker's words for “kept here”, and for “not at all”.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// Kept.
    JsonFile,
    /// Kept.
    Local,
    /// Not kept.
    None,
}

/// One `--log-opt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Bytes of one file.
    Size(u64),
    /// How many files.
    Files(u32),
}

/// Reads `max-size=10m` or `max-file=3`.
pub(crate) fn parse(text: &str) -> Result<Limit, String> {
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
pub(crate) fn limits(flags: &LifeFlags) -> LogLimits {
    let mut limits = LogLimits::default();
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
    use crate::options::tests::options;

    #[test]
    fn logs_are_as_large_as_they_are_told() {
        let limits = |line: &str| limits(&options(line).life);
        assert_eq!(limits("busybox"), LogLimits::default());
        let some = limits("--log-driver local --log-opt max-size=10m --log-opt max-file=3 busybox");
        assert_eq!(some, LogLimits { max_size: 10 << 20, files: 3 });
        assert_eq!(limits("--log-driver none busybox").max_size, 0);
        assert!(parse("max-size=0").is_err() && parse("max-file=0").is_err() && parse("tag=x").is_err());
    }
}
