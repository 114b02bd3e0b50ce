// SPDX-License-Identifier: Apache-2.0
//! The verbs that container engines call, each on its own.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::bundle::{Ids, Size};
use crate::error::Result;
use crate::lab::{Lab, Subject};
use crate::report::{Report, Runs};
use crate::timing::{attempt, succeed, time};
use crate::tools::Runtime;

/// Between start and delete, so that /bin/true has ended and delete finds a stopped container.
const PAUSE: Duration = Duration::from_millis(5);

/// Times of create, start, delete and of all three.
type Parts = [Runs; 4];

pub(super) fn csd(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let bundle = lab.bundle("csd", Ids::Host, Size::Default, &["/bin/true"])?;
    let mut all: Vec<Parts> = lab.tools.runtimes.iter().map(|_| Parts::default()).collect();
    let mut floor = Runs::default();
    for n in 0..lab.runs + 3 {
        let run = time(&(super::run::floor(lab, &bundle, None).line)(""), &lab.errors())?;
        if n >= 3 {
            floor.push(run);
        }
        for (runtime, parts) in lab.tools.runtimes.iter().zip(&mut all) {
            let id = format!("bench-csd-{}-{}-{n}", std::process::id(), runtime.name);
            let times = one_life(lab, runtime, &bundle, &id)?;
            if n < 3 {
                continue;
            }
            match times {
                Ok([c, s, d]) => {
                    parts.iter_mut().zip([c + s + d, c, s, d]).for_each(|(p, ms)| p.push(Ok(ms)));
                }
                Err(why) => parts.iter_mut().for_each(|p| p.push(Err(why.clone()))),
            }
        }
    }
    let mut columns: [Vec<_>; 4] = Default::default();
    // Its whole run: it knows no verbs.
    columns[0].push(floor.row(title, "floor", "ms"));
    for (runtime, parts) in lab.tools.runtimes.iter().zip(all) {
        for ((column, part), verb) in columns.iter_mut().zip(parts).zip(["", "create", "start", "delete"]) {
            let scenario = if verb.is_empty() { title.to_owned() } else { format!("{verb} alone") };
            column.push(part.row(&scenario, &runtime.name, "ms"));
        }
    }
    report.rows.extend(columns.into_iter().flatten());
    Ok(())
}

fn one_life(lab: &Lab, runtime: &Runtime, bundle: &Path, id: &str) -> Result<std::result::Result<[f64; 3], String>> {
    let mut times = [0.0; 3];
    let verbs: [&[&str]; 3] = [&["create", id], &["start", id], &["delete", "-f", id]];
    for (n, words) in verbs.into_iter().enumerate() {
        if n == 2 {
            sleep(PAUSE);
        }
        match time(&lab.runtime(runtime, bundle, words), &lab.errors())? {
            Ok(ms) => times[n] = ms,
            Err(why) => {
                attempt(&lab.runtime(runtime, bundle, &["delete", "-f", id]), &lab.work.join("undo"))?;
                return Ok(Err(format!("{}: {why}", words[0])));
            }
        }
    }
    Ok(Ok(times))
}

pub(super) fn exec(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let bundle = lab.bundle("exec", Ids::Host, Size::Default, &["/bin/sleep", "100000"])?;
    let id = format!("bench-exec-{}", std::process::id());
    let mut ready = Vec::new();
    for runtime in &lab.tools.runtimes {
        let begun = ["create", "start"]
            .map(|verb| succeed(&lab.runtime(runtime, &bundle, &[verb, &id]), &lab.errors()))
            .into_iter()
            .collect::<Result<Vec<_>>>();
        match begun {
            Ok(_) => ready.push(runtime),
            Err(e) => report.left_out.push(format!("{title}: {}: {}", runtime.name, e.because())),
        }
    }
    let executed = ready.iter().map(|runtime| Subject {
        name: runtime.name.clone(),
        line: Box::new(|_| lab.runtime(runtime, &bundle, &["exec", &id, "/bin/true"])),
        undo: None,
    });
    // Its whole run: it knows no verbs.
    let subjects: Vec<_> = std::iter::once(super::run::floor(lab, &bundle, None)).chain(executed).collect();
    let measured = lab.interleave(title, &subjects, report);
    for runtime in &lab.tools.runtimes {
        attempt(&lab.runtime(runtime, &bundle, &["delete", "-f", &id]), &lab.work.join("undo"))?;
    }
    measured
}
