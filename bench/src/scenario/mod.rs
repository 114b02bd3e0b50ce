// SPDX-License-Identifier: Apache-2.0
//! What is measured. One function per scenario; the table below is the order in which `all` goes through them.

mod alive;
mod crowd;
mod engine;
mod lifecycle;
mod memory;
mod run;
mod unpack;

use crate::error::{Error, Result};
use crate::lab::Lab;
use crate::report::Report;

/// As whom a scenario is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    User,
    /// By root, who turns into the user for every command; else by the user himself.
    Either,
}

pub(crate) struct Scenario {
    /// What one types to measure it alone.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) who: Who,
    run: fn(&Lab, &str, &mut Report) -> Result<()>,
}

/// Every scenario.
pub(crate) const ALL: &[Scenario] = &[
    Scenario { key: "run", title: "run /bin/true, root", who: Who::Root, run: run::default },
    Scenario { key: "run-docker", title: "run, Docker-size profile, 40 mounts", who: Who::Root, run: run::docker },
    Scenario { key: "lifecycle", title: "create + start + delete", who: Who::Root, run: lifecycle::csd },
    Scenario { key: "exec", title: "exec /bin/true", who: Who::Root, run: lifecycle::exec },
    Scenario { key: "rss", title: "peak memory of run", who: Who::Root, run: memory::peak },
    Scenario { key: "size", title: "size of the program", who: Who::Root, run: memory::size },
    Scenario { key: "crowd-32", title: "32 starts at once", who: Who::Root, run: crowd::thirty_two },
    Scenario { key: "crowd-100", title: "100 starts at once", who: Who::Root, run: crowd::hundred },
    Scenario { key: "alive", title: "state, containers alive", who: Who::Root, run: alive::state },
    Scenario { key: "unpack", title: "1 GB in 29,000 files, unpacked", who: Who::Root, run: unpack::one_layer },
    Scenario { key: "unpack-20", title: "20 layers of 20 MB, unpacked", who: Who::Root, run: unpack::twenty_layers },
    Scenario { key: "images", title: "kelp images, 1,000 of them", who: Who::Root, run: unpack::many_images },
    Scenario { key: "rootless", title: "rootless run, one id", who: Who::User, run: run::rootless },
    Scenario { key: "rootless-range", title: "rootless run, newuidmap", who: Who::User, run: run::range },
    Scenario { key: "engine", title: "kelp run --rm --network none", who: Who::User, run: engine::alone },
    Scenario { key: "engine-net", title: "kelp run --rm", who: Who::User, run: engine::networked },
    Scenario {
        key: "unpack-user",
        title: "1 GB in 29,000 files, unpacked rootless",
        who: Who::User,
        run: unpack::rootless,
    },
    Scenario { key: "resident", title: "resident per detached container", who: Who::Either, run: engine::resident },
];

pub(crate) fn named(key: &str) -> Result<&'static Scenario> {
    ALL.iter().find(|s| s.key == key).ok_or_else(|| {
        let known: Vec<_> = ALL.iter().map(|s| s.key).collect();
        Error::new(format!("cannot measure {key}"), "there is no such scenario").hint(known.join(" "))
    })
}

impl Scenario {
    /// Measures; a scenario that cannot run here is left out with its reason, and the others go on.
    pub(crate) fn measure(&self, lab: &Lab, report: &mut Report) {
        if let Err(e) = (self.run)(lab, self.title, report) {
            report.left_out.push(format!("{}: {}", self.title, e.because()));
        }
    }
}
