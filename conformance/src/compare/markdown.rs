// SPDX-License-Identifier: Apache-2.0
//! The table of docs/conformance.md.

use super::{Column, sections};
use crate::case::Case;

const INTRODUCTION: &str = "\
<!-- Written by `kelp-conformance compare`. Do not edit: run it again. -->
# Conformance

One line per sentence of the OCI runtime-spec 1.3, and of the command line that container engines rely on, tried on
each runtime: **✓** it does what the sentence says, **✗** it does not, **–** it could not be tried there. A runtime
older than a sentence cannot obey it: runc 1.1 and crun 1.8 implement runtime-spec 1.0.

The judge is `conformance/`; it links nothing of Kelp. Each case is proved able to fail: `kelp-conformance --mutate`
lies to it (an altered config, a lying probe, an altered answer of the runtime) and it must turn red.

    kelp-conformance compare kelp-runtime crun runc --html conformance.html --markdown docs/conformance.md

crun and runc are Debian's packages. youki, where it is shown, is its crate as `cargo install` builds it, judged as root
only: that leaves out its driver for systemd, without which it makes no container rootless.
";

pub(super) fn page(cases: &[&'static Case], columns: &[Column]) -> String {
    let mut page = String::from(INTRODUCTION);
    page += "\n## Sum\n\n| | ✓ | ✗ | – |\n|---|--:|--:|--:|\n";
    for c in columns {
        page += &format!("| {} | {} | {} | {} |\n", c.title(), c.count("green"), c.count("red"), c.count("skipped"));
    }
    for (title, cases) in sections(cases) {
        page += &section(&title, &cases, columns);
    }
    page + &reviewed(cases, columns) + &reasons(cases, columns)
}

fn section(title: &str, cases: &[&'static Case], columns: &[Column]) -> String {
    let heads: String = columns.iter().map(|c| format!(" {} |", c.title().replace(", ", "<br>"))).collect();
    let rules = ":-:|".repeat(columns.len());
    let mut text = format!("\n## {title}\n\n| case | | the sentence |{heads}\n|---|---|---|{rules}\n");
    for case in cases {
        let name = case.name();
        let marks: String = columns.iter().map(|c| format!(" {} |", mark(c, &name))).collect();
        let name = name.split_once('/').map_or(name.as_str(), |n| n.1);
        text += &format!("| {name} | {} | {} |{marks}\n", case.level.word(), escaped(case.quote));
    }
    text
}

fn mark(column: &Column, case: &str) -> &'static str {
    match column.cell(case).map(|c| c.end.as_str()) {
        Some("green") => "✓",
        Some("red") => "✗",
        _ => "–",
    }
}

/// Cases that nobody passes are the ones to doubt: they are listed with their sentence and what each runtime did.
fn reviewed(cases: &[&'static Case], columns: &[Column]) -> String {
    let nobody = |name: &str| {
        let ends: Vec<&str> = columns.iter().filter_map(|c| c.cell(name)).map(|c| c.end.as_str()).collect();
        ends.contains(&"red") && !ends.contains(&"green")
    };
    let mut text = String::from("\n## Sentences that no runtime here obeys\n\n");
    let all: Vec<_> = cases.iter().filter(|c| nobody(&c.name())).collect();
    if all.is_empty() {
        return text + "None.\n";
    }
    for case in all {
        text += &format!("- `{}`: “{}”\n", case.name(), escaped(case.quote));
    }
    text
}

fn reasons(cases: &[&'static Case], columns: &[Column]) -> String {
    let mut text = String::new();
    for (end, title) in [("red", "What was seen instead"), ("skipped", "What could not be tried")] {
        text += &format!("\n## {title}\n");
        for column in columns {
            let with_end = |c: &&&'static Case| column.cell(&c.name()).is_some_and(|r| r.end == end);
            let all: Vec<_> = cases.iter().filter(with_end).collect();
            if all.is_empty() {
                continue;
            }
            text += &format!("\n### {}\n\n", column.title());
            for case in all {
                let why = column.cell(&case.name()).and_then(|c| c.why.as_deref()).unwrap_or("");
                text += &format!("- `{}`: {}\n", case.name(), escaped(&shortened(why)));
            }
        }
    }
    text
}

/// Without the name of the work folder of that run: `/tmp/kc-1-crun/c2/b1/rootfs` becomes `…/rootfs`.
fn shortened(why: &str) -> String {
    let mut parts = why.split("/tmp/kc-");
    let mut text = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || "/.-_".contains(c))).unwrap_or(part.len());
        let (path, rest) = part.split_at(end);
        let inside: String = path.splitn(4, '/').skip(3).map(|p| format!("/{p}")).collect();
        text += &format!("…{inside}{rest}");
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('>', "&gt;").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::{escaped, shortened};

    /// Who adds a case or changes its sentence has the table made again: `kelp-conformance compare`.
    #[test]
    fn the_published_table_has_every_case_with_its_sentence_and_no_other() {
        let page = include_str!("../../../docs/conformance.md");
        let (tables, _) = page.split_once("\n## Sentences that no runtime here obeys").expect("the tables end");
        let rows: Vec<[&str; 3]> = tables
            .lines()
            .filter(|line| line.contains("| MUST |") || line.contains("| SHOULD |"))
            .filter_map(|line| line.split(" | ").take(3).collect::<Vec<_>>().try_into().ok())
            .collect();
        let cases = [crate::clauses::all(), crate::contract::all()].concat();
        let mut wanted: Vec<_> =
            cases.iter().map(|c| (c.key.to_owned(), c.level.word().to_owned(), escaped(c.quote))).collect();
        let mut published: Vec<_> = rows
            .iter()
            .map(|[key, level, quote]| {
                (key.trim_start_matches("| ").to_owned(), (*level).to_owned(), (*quote).to_owned())
            })
            .collect();
        wanted.sort();
        published.sort();
        assert_eq!(published, wanted);
    }

    #[test]
    fn a_path_keeps_what_is_below_the_bundle() {
        assert_eq!(
            shortened("mount /tmp/kc-12-runc/c3/b1/rootfs:/x \"/tmp/kc-1-r/c2/out\""),
            "mount …/rootfs:/x \"…\""
        );
    }
}
