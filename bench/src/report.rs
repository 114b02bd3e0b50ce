// SPDX-License-Identifier: Apache-2.0
//! What was measured: rows and curves, as JSON on disk and as a table on the terminal.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Doing, Result};
use crate::host::Machine;

/// Everything one run of the bench found out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
    pub(crate) curves: Vec<Curve>,
    /// What was not measured, and why.
    pub(crate) left_out: Vec<String>,
}

/// One program in one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) subject: String,
    pub(crate) unit: String,
    /// Absent when no run succeeded.
    pub(crate) summary: Option<Summary>,
    pub(crate) failed: usize,
    /// Why the last failing run failed.
    pub(crate) why: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) runs: usize,
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
}

/// A figure against a growing number of something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub(crate) scenario: String,
    pub(crate) subject: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Collects the runs of one program; becomes a row.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    good: Vec<f64>,
    failed: usize,
    why: Option<String>,
}

impl Runs {
    pub(crate) fn push(&mut self, outcome: std::result::Result<f64, String>) {
        match outcome {
            Ok(value) => self.good.push(value),
            Err(why) => {
                self.failed += 1;
                self.why = Some(why);
            }
        }
    }

    pub(crate) fn row(self, scenario: &str, subject: &str, unit: &str) -> Row {
        let summary = Summary::of(self.good);
        Row {
            scenario: scenario.into(),
            subject: subject.into(),
            unit: unit.into(),
            summary,
            failed: self.failed,
            why: self.why,
        }
    }
}

impl Summary {
    /// Nearest-rank percentiles; `None` of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values.get((values.len() * percent / 100).min(values.len().saturating_sub(1)));
        Some(Self { runs: values.len(), median: *at(50)?, p10: *at(10)?, p90: *at(90)? })
    }
}

impl Report {
    /// The scenarios in the order in which they were measured.
    pub(crate) fn scenarios(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.scenario.as_str()) {
                names.push(&row.scenario);
            }
        }
        names
    }

    pub(crate) fn rows_of<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |r| r.scenario == scenario)
    }

    pub(crate) fn median(&self, scenario: &str, subject: &str) -> Option<f64> {
        self.rows_of(scenario).find(|r| r.subject == subject)?.summary.map(|s| s.median)
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).doing(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).doing(|| format!("cannot understand {}", file.display()))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).doing(|| "cannot write the report".into())?;
        fs::write(file, text + "\n").doing(|| format!("cannot write {}", file.display()))
    }

    /// The table that people read, one block per scenario; the ratio is to the first row of the block.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for scenario in self.scenarios() {
            table_of(&mut text, scenario, self.rows_of(scenario));
        }
        for line in &self.left_out {
            writeln_to(&mut text, format_args!("left out: {line}"));
        }
        text
    }
}

fn writeln_to(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    if text.write_fmt(line).is_ok() {
        text.push('\n');
    }
}

fn table_of<'a>(text: &mut String, scenario: &str, rows: impl Iterator<Item = &'a Row>) {
    writeln_to(
        text,
        format_args!("{:<46}{:>10}{:>9}{:>9}{:>8}{:>6}", scenario, "median", "p10", "p90", "ratio", "fail"),
    );
    let mut first = None;
    for row in rows {
        let Some(s) = row.summary else {
            let why = row.why.as_deref().unwrap_or("");
            writeln_to(text, format_args!("  {:<44} all {} failed: {why}", row.subject, row.failed));
            continue;
        };
        let base = *first.get_or_insert(s.median);
        writeln_to(
            text,
            format_args!(
                "  {:<40}{:>11.2} {:<3}{:>7.2}{:>9.2}{:>7.2}x{:>5}{}",
                row.subject,
                s.median,
                row.unit,
                s.p10,
                s.p90,
                s.median / base,
                row.failed,
                row.why.as_deref().map(|w| format!("  ({w})")).unwrap_or_default()
            ),
        );
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_of_runs_is_the_middle_one() {
        let s = Summary::of(vec![5.0, 1.0, 3.0]).unwrap();
        assert_eq!((s.median, s.p10, s.p90, s.runs), (3.0, 1.0, 5.0, 3));
    }

    #[test]
    fn nothing_has_no_median() {
        assert!(Summary::of(vec![]).is_none());
    }

    #[test]
    fn a_table_shows_the_ratio_to_the_first_row_and_why_a_row_failed() {
        let mut floor = Runs::default();
        floor.push(Ok(2.0));
        let mut slow = Runs::default();
        slow.push(Ok(5.0));
        let mut broken = Runs::default();
        broken.push(Err("exit status: 1: no".into()));
        let rows = vec![floor.row("run", "floor", "ms"), slow.row("run", "slow", "ms"), broken.row("run", "bad", "ms")];
        let table = Report { rows, ..Report::default() }.table();
        assert!(table.contains("2.50x"), "{table}");
        assert!(table.contains("all 1 failed: exit status: 1: no"), "{table}");
    }
}
