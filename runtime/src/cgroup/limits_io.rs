// SPDX-License-Identifier: Apache-2.0
//! The blockIO part of the spec's resources, as writes to `io.*`. Pure.
//!
//! Spec: config-linux.md "Block IO". Kernel: cgroup-v2.rst "IO Interface Files", bfq-iosched.rst.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::limits::{Absent, Limits, Write};
use super::{Error, Kind, error};

/// Adds the writes of `io` to `limits`.
pub(super) fn block_io(limits: &mut Limits, io: &LinuxBlockIo) -> Result<(), Error> {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        limits.writes.push(weight_write("", weight)?);
    }
    limits.ignore(
        io.leaf_weight().is_some_and(|weight| weight != 0),
        "blockIO.leafWeight: cgroup v2 has no leaf weights",
    );
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            limits.writes.push(weight_write(&numbers(device), weight)?);
        }
        limits.ignore(
            device.leaf_weight().is_some_and(|weight| weight != 0),
            "blockIO.weightDevice.leafWeight: cgroup v2 has no leaf weights",
        );
    }
    let throttles = [
        ("rbps", io.throttle_read_bps_device()),
        ("wbps", io.throttle_write_bps_device()),
        ("riops", io.throttle_read_iops_device()),
        ("wiops", io.throttle_write_iops_device()),
    ];
    for (key, devices) in throttles {
        for device in devices.iter().flatten() {
            limits.set("io.max", throttle(key, device));
        }
    }
    Ok(())
}

fn numbers(device: &LinuxWeightDevice) -> String {
    format!("{}:{} ", device.major(), device.minor())
}

/// One line of io.max. Zero was v1's way to say “no limit”.
fn throttle(key: &str, device: &LinuxThrottleDevice) -> String {
    let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
    format!("{}:{} {key}={rate}", device.major(), device.minor())
}

/// A weight for all devices, or for one (`device` is then "MAJOR:MINOR ").
///
/// Where the scheduler is bfq its own file takes the spec's number as it is (10 to 1000); elsewhere `io.weight` takes it
/// stretched to 1 to 10000.
fn weight_write(device: &str, weight: u16) -> Result<Write, Error> {
    if !(10..=1000).contains(&weight) {
        let because = format!("linux.resources.blockIO: weight {weight} is not between 10 and 1000");
        return Err(error(Kind::BadInput, "cannot weigh the container's io", because));
    }
    let stretched = 1 + (u64::from(weight) - 10) * 9999 / 990;
    let instead = Write { file: "io.weight".into(), value: format!("{device}{stretched}"), absent: Absent::Refuse };
    let value = format!("{device}{weight}");
    Ok(Write { file: "io.bfq.weight".into(), value, absent: Absent::Instead(Box::new(instead)) })
}
