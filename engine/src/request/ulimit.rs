// SPDX-License-Identifier: Apache-2.0
//! `--ulimit TYPE=SOFT[:HARD]`.

use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

/// One resource limit; -1 and `unlimited` mean no limit.
pub fn parse(text: &str) -> Result<PosixRlimit, String> {
    let (name, limits) = text.split_once('=').ok_or("expected TYPE=SOFT[:HARD], for example nofile=1024:4096")?;
    let kind =
        kind(name).ok_or_else(|| format!("{name} is not a resource limit; nofile, nproc, core and others are"))?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (amount(soft)?, amount(hard)?);
    if soft > hard {
        return Err("the soft limit is above the hard one".to_owned());
    }
    PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build().map_err(|error| error.to_string())
}

fn amount(text: &str) -> Result<u64, String> {
    match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        digits => digits.parse().map_err(|_| format!("{digits:?} is not an amount: a number, or -1 for no limit")),
    }
}

fn kind(name: &str) -> Option<PosixRlimitType> {
    Some(match name {
        "as" => PosixRlimitType::RlimitAs,
        "core" => PosixRlimitType::RlimitCore,
        "cpu" => PosixRlimitType::RlimitCpu,
        "data" => PosixRlimitType::RlimitData,
        "fsize" => PosixRlimitType::RlimitFsize,
        "locks" => PosixRlimitType::RlimitLocks,
        "memlock" => PosixRlimitType::RlimitMemlock,
        "msgqueue" => PosixRlimitType::RlimitMsgqueue,
        "nice" => PosixRlimitType::RlimitNice,
        "nofile" => PosixRlimitType::RlimitNofile,
        "nproc" => PosixRlimitType::RlimitNproc,
        "rss" => PosixRlimitType::RlimitRss,
        "rtprio" => PosixRlimitType::RlimitRtprio,
        "rttime" => PosixRlimitType::RlimitRttime,
        "sigpending" => PosixRlimitType::RlimitSigpending,
        "stack" => PosixRlimitType::RlimitStack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_both_limits() {
        let limit = parse("nofile=1024").unwrap();
        assert_eq!((limit.typ(), limit.soft(), limit.hard()), (PosixRlimitType::RlimitNofile, 1024, 1024));
        assert_eq!(parse("core=0:-1").unwrap().hard(), u64::MAX);
        assert!(parse("nofile").is_err() && parse("files=3").is_err() && parse("nofile=5:4").is_err());
    }
}
