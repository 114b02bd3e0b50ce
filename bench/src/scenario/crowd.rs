// SPDX-License-Identifier: Apache-2.0
//! Many starts at the same moment: what a machine does after a boot, or under a burst of jobs.

use super::run;
use crate::bundle::{Ids, Size};
use crate::error::Result;
use crate::lab::{Lab, Subject};
use crate::report::{Report, Runs, Summary};
use crate::timing::{attempt, time, time_crowd};

const ROUNDS: usize = 5;

pub(super) fn thirty_two(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    crowd(lab, title, 32, report)
}

pub(super) fn hundred(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    crowd(lab, title, 100, report)
}

/// Rows: the slowest of each round, and that against the same program alone. The floor says what the kernel makes of it.
fn crowd(lab: &Lab, title: &str, count: usize, report: &mut Report) -> Result<()> {
    let bundle = lab.bundle(&format!("crowd{count}"), Ids::Host, Size::Default, &["/bin/true"])?;
    let mut against_alone = Vec::new();
    for subject in std::iter::once(run::floor(lab, &bundle, None)).chain(run::runtimes(lab, &bundle)) {
        let alone = alone(lab, &subject)?;
        let mut slowest = Runs::default();
        let mut ratios = Runs::default();
        for round in 0..ROUNDS {
            let worst = one_round(lab, &subject, count, round, &mut slowest)?;
            if let (Some(worst), Some(alone)) = (worst, alone) {
                slowest.push(Ok(worst));
                ratios.push(Ok(worst / alone));
            }
        }
        report.rows.push(slowest.row(&format!("{title}: the slowest"), &subject.name, "ms"));
        against_alone.push(ratios.row(&format!("{title}: slowest / alone"), &subject.name, "x"));
    }
    report.rows.extend(against_alone);
    Ok(())
}

/// The median of single starts, just before.
fn alone(lab: &Lab, subject: &Subject<'_>) -> Result<Option<f64>> {
    let mut good = Vec::new();
    for n in 0..15 {
        let id = format!("bench-alone-{}-{n}", std::process::id());
        good.extend(time(&(subject.line)(&id), &lab.errors())?.ok());
    }
    Ok(Summary::of(good).map(|s| s.median))
}

/// The slowest of one round; failures are counted in `failures` one by one.
fn one_round(lab: &Lab, subject: &Subject<'_>, count: usize, round: usize, failures: &mut Runs) -> Result<Option<f64>> {
    let ids: Vec<_> = (0..count).map(|n| format!("bench-crowd-{}-{round}-{n}", std::process::id())).collect();
    let lines: Vec<_> = ids.iter().map(|id| (subject.line)(id)).collect();
    let mut worst: Option<f64> = None;
    for (id, outcome) in ids.iter().zip(time_crowd(&lines, &lab.errors())?) {
        match outcome {
            Ok(ms) => worst = Some(worst.map_or(ms, |w| w.max(ms))),
            Err(why) => {
                failures.push(Err(why));
                if let Some(undo) = &subject.undo {
                    attempt(&undo(id), &lab.work.join("undo"))?;
                }
            }
        }
    }
    Ok(worst)
}
