// SPDX-License-Identifier: Apache-2.0
//! Does a runtime get slower when many containers are alive? `state` with one and with many, and every `create` on
//! the way there.

use std::path::Path;

use crate::bundle::{Ids, Size};
use crate::error::Result;
use crate::lab::Lab;
use crate::report::{Curve, Report, Runs};
use crate::timing::{attempt, time};
use crate::tools::Runtime;

/// Points of the curve are medians of this many neighbouring creates.
const BIN: usize = 25;

/// runc keeps 9 MB per waiting container: a thousand of them measure the machine's memory.
const NOT_MANY: &[&str] = &["runc", "youki"];

pub(super) fn state(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let bundle = lab.bundle("alive", Ids::Host, Size::Default, &["/bin/sleep", "100000"])?;
    let mut many_rows = Vec::new();
    let mut list_rows = Vec::new();
    for runtime in &lab.tools.runtimes {
        let few = NOT_MANY.contains(&runtime.name.as_str());
        let count = if few { lab.many.min(100) } else { lab.many };
        let name = if few { format!("{} ({count})", runtime.name) } else { runtime.name.clone() };
        let mut made = 0;
        let rows = grow(lab, runtime, &bundle, count, &mut made, report);
        remove(lab, runtime, &bundle, made)?;
        let [one, many, list] = rows?;
        report.rows.push(one.row(&format!("{title}: 1"), &runtime.name, "ms"));
        many_rows.push(many.row(&format!("{title}: {}", lab.many), &name, "ms"));
        list_rows.push(list.row(&format!("list -q, containers alive: {}", lab.many), &name, "ms"));
    }
    report.rows.extend(many_rows);
    report.rows.extend(list_rows);
    Ok(())
}

fn id(n: usize) -> String {
    format!("bench-alive-{}-{n}", std::process::id())
}

/// Times of `state` with one, of `state` with all, of `list` with all.
fn grow(
    lab: &Lab,
    runtime: &Runtime,
    bundle: &Path,
    count: usize,
    made: &mut usize,
    report: &mut Report,
) -> Result<[Runs; 3]> {
    let mut one = Runs::default();
    let mut creates = Vec::with_capacity(count);
    for n in 0..count {
        let id = id(n);
        let created = time(&lab.runtime(runtime, bundle, &["create", &id]), &lab.errors())?;
        *made = n + 1;
        match created {
            Ok(ms) => creates.push(ms),
            Err(why) => {
                report.left_out.push(format!("{}: stopped at {n} containers: {why}", runtime.name));
                break;
            }
        }
        if n == 0 {
            one = several(lab, runtime, bundle, &["state", &id])?;
        }
    }
    report.curves.push(curve(&runtime.name, &creates));
    let many = several(lab, runtime, bundle, &["state", &id(0)])?;
    let list = several(lab, runtime, bundle, &["list", "-q"])?;
    Ok([one, many, list])
}

fn several(lab: &Lab, runtime: &Runtime, bundle: &Path, words: &[&str]) -> Result<Runs> {
    let mut runs = Runs::default();
    for n in 0..lab.runs.min(40) + 3 {
        let outcome = time(&lab.runtime(runtime, bundle, words), &lab.errors())?;
        if n >= 3 {
            runs.push(outcome);
        }
    }
    Ok(runs)
}

#[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 containers")]
fn curve(name: &str, creates: &[f64]) -> Curve {
    let median = |bin: &[f64]| crate::report::Summary::of(bin.to_vec()).map_or(0.0, |s| s.median);
    let points = creates.chunks(BIN).enumerate().map(|(n, bin)| ((n * BIN + bin.len()) as f64, median(bin)));
    Curve {
        scenario: "create against containers alive".into(),
        subject: name.into(),
        x: "containers alive".into(),
        y: "create, ms".into(),
        points: points.collect(),
    }
}

fn remove(lab: &Lab, runtime: &Runtime, bundle: &Path, made: usize) -> Result<()> {
    for n in 0..made {
        attempt(&lab.runtime(runtime, bundle, &["delete", "-f", &id(n)]), &lab.work.join("undo"))?;
    }
    Ok(())
}
