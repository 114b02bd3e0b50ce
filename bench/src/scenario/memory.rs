// SPDX-License-Identifier: Apache-2.0
//! How much memory a start takes at its peak, and how large the programs are.

use std::fs;

use crate::bundle::{Ids, Size};
use crate::error::{Doing, Result};
use crate::lab::Lab;
use crate::report::{Report, Runs};
use crate::timing::{Line, output};

pub(super) fn peak(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let bundle = lab.bundle("rss", Ids::Host, Size::Default, &["/bin/true"])?;
    let mut lines = vec![("floor".to_owned(), Line::new(&bundle, [lab.tools.floor.as_os_str(), "/bin/true".as_ref()]))];
    for runtime in &lab.tools.runtimes {
        let id = format!("bench-rss-{}", std::process::id());
        lines.push((runtime.name.clone(), lab.runtime(runtime, &bundle, &["run", &id])));
    }
    for (name, line) in lines {
        let mut runs = Runs::default();
        for _ in 0..5 {
            runs.push(peak_of(lab, line.clone()));
        }
        report.rows.push(runs.row(title, &name, "MB"));
    }
    Ok(())
}

/// Megabytes; of the largest process that took part.
fn peak_of(lab: &Lab, line: Line) -> std::result::Result<f64, String> {
    let said = output(&line.under([&lab.tools.meter]), &lab.errors()).map_err(|e| e.because().to_owned())?;
    let kib: f64 = said.trim().parse().map_err(|e| format!("meter said {said:?}: {e}"))?;
    Ok(kib * 1024.0 / 1e6)
}

pub(super) fn size(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let runtimes = lab.tools.runtimes.iter().map(|r| (r.name.as_str(), Some(&r.path)));
    let others = [
        ("kelp-shim", lab.tools.shim.as_ref()),
        ("kelp", lab.tools.kelp.as_ref()),
        ("podman", lab.tools.podman.as_ref()),
    ];
    for (name, path) in runtimes.chain(others) {
        let Some(path) = path else { continue };
        let bytes = fs::metadata(path).doing(|| format!("cannot look at {}", path.display()))?.len();
        let mut runs = Runs::default();
        #[expect(clippy::cast_precision_loss, reason = "no program has 2^52 bytes")]
        runs.push(Ok(bytes as f64 / 1e6));
        report.rows.push(runs.row(title, name, "MB"));
    }
    Ok(())
}
