// SPDX-License-Identifier: Apache-2.0
//! docs/budgets.md: every promise beside its last figure, for a reader who did not run the bench.

use crate::budget;
use crate::report::{Report, Row};

const INTRODUCTION: &str = "\
<!-- Written by `kelp-bench all`. Do not edit: run it again. -->
# Budgets

What Kelp promises about speed and size, and what it measured last. Times of different programs come from one
interleaved run (A B C A B C …), so that whatever else the machine does disturbs all alike: **read the ratios**, the
milliseconds belong to one machine on one day. The *floor* is `bench/floor.c`, a static C program that makes the same
system calls a container needs and nothing else: no runtime can be faster than it. States are on a tmpfs, as /run is.

`kelp-bench check` measures again and fails when a budget is broken. It compares ratios and sizes, and
milliseconds only where they are what was promised.
";

/// The whole page; `plots` are file names in docs/bench, with their pictures.
pub(crate) fn budgets(report: &Report, plots: &[(String, String)]) -> String {
    let mut page = String::from(INTRODUCTION);
    page += &verdicts(report);
    page += &facts(report);
    if !plots.is_empty() {
        page += "\n## Pictures\n\n";
        for (name, _) in plots {
            page += &format!("![{}](bench/{name})\n\n", name.trim_end_matches(".svg"));
        }
    }
    page += "## All figures\n\n`ratio` is to the first row of each table. p10 and p90: one run in ten was faster, one in ten slower.\n";
    for scenario in report.scenarios() {
        page += &scenario_table(report, scenario);
    }
    if !report.left_out.is_empty() {
        page += "\n## Left out\n\n";
        for line in &report.left_out {
            page += &format!("- {}\n", escaped(line));
        }
    }
    page
}

fn verdicts(report: &Report) -> String {
    let mut table = String::from("\n| budget | at most | last figure | |\n|---|---|---|---|\n");
    for v in budget::judge(report) {
        let figure = v.figure.map_or("–".to_owned(), |f| v.shown(f));
        let word = if v.broken() { format!("**{}**", v.word()) } else { v.word().to_owned() };
        table += &format!("| {} | {} | {figure} | {word} |\n", v.what, v.shown(v.at_most));
    }
    table
}

fn facts(report: &Report) -> String {
    let m = &report.machine;
    let mut text = format!(
        "\nMeasured on {} with `{}`: {} × {}, {} GiB, Linux {}, {}; load average {} at the start.\n\n",
        report.date, report.command, m.cpus, m.cpu, m.memory_gib, m.kernel, m.system, m.load
    );
    for program in &m.programs {
        text += &format!("- {}\n", escaped(program));
    }
    text
}

fn scenario_table(report: &Report, scenario: &str) -> String {
    let unit = report.rows_of(scenario).next().map_or("", |r| r.unit.as_str());
    let mut table = format!(
        "\n### {scenario}\n\n| | median, {unit} | p10 | p90 | ratio | runs | failed |\n|---|--:|--:|--:|--:|--:|--:|\n"
    );
    let mut first = None;
    for row in report.rows_of(scenario) {
        table += &figure_row(row, &mut first);
    }
    table
}

fn figure_row(row: &Row, first: &mut Option<f64>) -> String {
    let Some(s) = row.summary else {
        let why = row.why.as_deref().map(escaped).unwrap_or_default();
        return format!("| {} | {why} | | | | 0 | {} |\n", row.subject, row.failed);
    };
    let base = *first.get_or_insert(s.median);
    format!(
        "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} |\n",
        row.subject,
        s.median,
        s.p10,
        s.p90,
        s.median / base,
        s.runs,
        row.failed
    )
}

/// What a program said, made harmless for a Markdown table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// Who changes a budget, a plot or a word draws them again: `kelp-bench draw --from docs/bench/figures.json`.
    #[test]
    fn the_published_page_and_plots_are_what_the_published_figures_draw() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
        let report = Report::read(&docs.join("bench/figures.json")).unwrap();
        let plots = crate::plot::all(&report);
        assert_eq!(fs::read_to_string(docs.join("budgets.md")).unwrap(), budgets(&report, &plots));
        for (name, svg) in plots {
            assert!(fs::read_to_string(docs.join("bench").join(&name)).unwrap() == svg, "{name}");
        }
    }
}
