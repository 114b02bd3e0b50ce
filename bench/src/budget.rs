// SPDX-License-Identifier: Apache-2.0
//! The promises, as data, and whether a report keeps them. Only ratios and sizes are compared, and
//! milliseconds only where they were promised.

use std::fmt;

use crate::report::Report;

/// What the figure is divided by.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// Another program in the same scenario.
    Subject(&'static str),
    /// The same program in another scenario.
    Scenario(&'static str),
    /// Nothing: the figure is itself a ratio, or a size.
    Itself,
    /// The slowest of other programs in the same scenario.
    Slowest(&'static [&'static str]),
    /// The number of failed runs counts, not the figure.
    Failures,
}

struct Budget {
    what: &'static str,
    scenario: &'static str,
    subject: &'static str,
    against: Against,
    at_most: f64,
}

const fn kelp(what: &'static str, scenario: &'static str, against: Against, at_most: f64) -> Budget {
    Budget { what, scenario, subject: "kelp-runtime", against, at_most }
}

const CRUN: Against = Against::Subject("crun");
const FLOOR: Against = Against::Subject("floor");

const BUDGETS: &[Budget] = &[
    kelp("run of /bin/true, root, against the floor", "run /bin/true, root", FLOOR, 1.25),
    kelp("run of /bin/true, root, against crun", "run /bin/true, root", CRUN, 0.5),
    kelp(
        "run with a Docker-size profile and 40 mounts, against crun",
        "run, Docker-size profile, 40 mounts",
        CRUN,
        0.5,
    ),
    kelp("create + start + delete, against the floor's run", "create + start + delete", FLOOR, 1.65),
    kelp("create + start + delete, against crun", "create + start + delete", CRUN, 0.35),
    kelp("exec of /bin/true, against the floor's run", "exec /bin/true", FLOOR, 0.6),
    kelp("exec of /bin/true, against crun", "exec /bin/true", CRUN, 0.4),
    kelp("rootless run, one id, against the floor", "rootless run, one id", FLOOR, 1.3),
    kelp("rootless run, one id, against crun", "rootless run, one id", CRUN, 0.35),
    kelp("rootless run with newuidmap ranges, against crun", "rootless run, newuidmap", CRUN, 0.5),
    kelp("peak memory of run, MB", "peak memory of run", Against::Itself, 2.0),
    kelp("size of kelp-runtime, MB", "size of the program", Against::Itself, 2.5),
    kelp("32 starts at once, the slowest against the floor's", "32 starts at once: the slowest", FLOOR, 1.5),
    kelp("100 starts at once, failures", "100 starts at once: the slowest", Against::Failures, 0.0),
    kelp(
        "state with many containers alive, against one",
        "state, containers alive: 1000",
        Against::Scenario("state, containers alive: 1"),
        2.0,
    ),
    load("kelp run --rm with network, rootless and warm, against podman", "kelp run --rm", PODMAN, 0.1),
    Budget {
        what: "kelp run --rm --network none, rootless and warm, against podman",
        scenario: "kelp run --rm --network none",
        subject: "kelp",
        against: Against::Subject("podman"),
        at_most: 0.1,
    },
    Budget {
        what: "resident per detached container, PSS of all but the program, MB",
        scenario: "resident per detached container",
        subject: "kelp",
        against: Against::Itself,
        at_most: 0.7,
    },
    load("kelp load of 1 GB in 29,000 files, against podman", BIG, PODMAN, 0.25),
    load("the same, against the slower of tar -x and inflating", BIG, UNPACK_FLOOR, 1.6),
    load("kelp load of 20 layers, against podman", TWENTY, PODMAN, 0.25),
    load("the same, against the slower of tar -x and inflating", TWENTY, UNPACK_FLOOR, 1.6),
    load("kelp load of 1 GB by a user, against podman", "1 GB in 29,000 files, unpacked rootless", PODMAN, 0.25),
    load("peak memory of kelp load, 1 GB, MB", "peak memory, 1 GB in 29,000 files, unpacked", Against::Itself, 64.0),
    load("peak memory of kelp load, 20 layers, MB", "peak memory, 20 layers of 20 MB, unpacked", Against::Itself, 64.0),
    load("kelp images with 1,000 images, ms", "kelp images, 1,000 of them", Against::Itself, 30.0),
];

const BIG: &str = "1 GB in 29,000 files, unpacked";
const TWENTY: &str = "20 layers of 20 MB, unpacked";
const PODMAN: Against = Against::Subject("podman");
const UNPACK_FLOOR: Against = Against::Slowest(&["tar -x", "inflate"]);

const fn load(what: &'static str, scenario: &'static str, against: Against, at_most: f64) -> Budget {
    Budget { what, scenario, subject: "kelp", against, at_most }
}

/// A budget beside what was measured.
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) at_most: f64,
    /// `None`: it was not measured.
    pub(crate) figure: Option<f64>,
    ratio: bool,
}

pub(crate) fn judge(report: &Report) -> Vec<Verdict> {
    BUDGETS.iter().map(|b| b.judge(report)).collect()
}

impl Budget {
    fn judge(&self, report: &Report) -> Verdict {
        let ours = report.median(self.scenario, self.subject);
        let divided = |by: Option<f64>| Some(ours? / by?);
        let figure = match self.against {
            Against::Subject(other) => divided(report.median(self.scenario, other)),
            Against::Scenario(other) => divided(report.median(other, self.subject)),
            Against::Slowest(others) => {
                let all = others.iter().map(|other| report.median(self.scenario, other)).collect::<Option<Vec<_>>>();
                divided(all.and_then(|all| all.into_iter().reduce(f64::max)))
            }
            Against::Itself => ours,
            Against::Failures => self.failures(report),
        };
        let ratio = matches!(self.against, Against::Subject(_) | Against::Slowest(_) | Against::Scenario(_))
            || self.scenario.contains(" / ");
        Verdict { what: self.what, at_most: self.at_most, figure, ratio }
    }

    #[expect(clippy::cast_precision_loss, reason = "there are not 2^52 runs")]
    fn failures(&self, report: &Report) -> Option<f64> {
        report.rows_of(self.scenario).find(|r| r.subject == self.subject).map(|r| r.failed as f64)
    }
}

impl Verdict {
    pub(crate) fn broken(&self) -> bool {
        self.figure.is_some_and(|f| f > self.at_most)
    }

    pub(crate) fn word(&self) -> &'static str {
        match (self.figure, self.broken()) {
            (None, _) => "not measured",
            (_, true) => "BROKEN",
            (_, false) => "kept",
        }
    }

    /// `0.42 ×` or `1.8`.
    pub(crate) fn shown(&self, figure: f64) -> String {
        if self.ratio { format!("{figure:.2} ×") } else { format!("{figure:.2}").trim_end_matches(".00").to_owned() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = self.figure.map_or("–".to_owned(), |v| self.shown(v));
        write!(f, "{:<13}{:<68}{figure:>9}  (at most {})", self.word(), self.what, self.shown(self.at_most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Row, Summary};

    fn row(scenario: &str, subject: &str, median: f64) -> Row {
        Row {
            scenario: scenario.into(),
            subject: subject.into(),
            unit: "ms".into(),
            summary: Some(Summary { runs: 1, median, p10: median, p90: median }),
            failed: 0,
            why: None,
        }
    }

    #[test]
    fn a_budget_is_broken_by_the_ratio_and_not_by_the_milliseconds() {
        let scenario = "run /bin/true, root";
        let rows =
            vec![row(scenario, "floor", 100.0), row(scenario, "kelp-runtime", 124.0), row(scenario, "crun", 240.0)];
        let verdicts = judge(&Report { rows, ..Report::default() });
        assert!(!verdicts[0].broken(), "{}", verdicts[0]);
        assert!(verdicts[1].broken(), "{}", verdicts[1]);
        assert_eq!(verdicts[2].word(), "not measured");
    }

    #[test]
    fn every_budget_names_a_scenario_that_exists() {
        let known: Vec<_> = crate::scenario::ALL.iter().map(|s| s.title).collect();
        for b in BUDGETS {
            let own = b.scenario.strip_prefix("peak memory, ").unwrap_or(b.scenario);
            assert!(known.iter().any(|t| own.starts_with(t)), "{}", b.scenario);
        }
    }
}
