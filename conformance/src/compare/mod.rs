// SPDX-License-Identifier: Apache-2.0
//! Several runtimes side by side: judges each as root and as a user, and writes one HTML page and one Markdown table.
#![expect(clippy::print_stderr, reason = "judging takes minutes: people want to see that it goes on")]

mod html;
mod markdown;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use serde::Deserialize;

use crate::arguments::{Options, USAGE};
use crate::case::Case;
use crate::error::{Doing, Error, Result};

/// One runtime, judged as one kind of user: a column of the tables.
#[derive(Debug, Deserialize)]
pub(crate) struct Column {
    runtime: String,
    rootless: bool,
    results: Vec<Cell>,
}

#[derive(Debug, Deserialize)]
struct Cell {
    case: String,
    end: String,
    why: Option<String>,
}

impl Column {
    fn title(&self) -> String {
        format!("{}, {}", self.runtime, if self.rootless { "rootless" } else { "root" })
    }

    fn cell(&self, case: &str) -> Option<&Cell> {
        self.results.iter().find(|r| r.case == case)
    }

    fn count(&self, end: &str) -> usize {
        self.results.iter().filter(|r| r.end == end).count()
    }
}

pub(crate) fn compare(o: &Options, cases: &[&'static Case]) -> Result<ExitCode> {
    let mut columns = Vec::new();
    for file in &o.from {
        let text = fs::read_to_string(file).doing(|| format!("cannot read {}", file.display()))?;
        columns.push(column(&text)?);
    }
    let as_root = rustix::process::geteuid().is_root();
    for runtime in &o.runtimes {
        for rootless in [false, true] {
            if as_root || rootless {
                columns.push(judged(o, runtime, rootless)?);
            }
        }
    }
    if columns.is_empty() {
        return Err(Error::new("cannot compare", "no runtime was named").hint(USAGE));
    }
    let html = o.html.clone().unwrap_or_else(|| "conformance.html".into());
    fs::write(&html, html::page(cases, &columns)).doing(|| format!("cannot write {}", html.display()))?;
    let markdown = o.markdown.clone().unwrap_or_else(|| "conformance.md".into());
    fs::write(&markdown, markdown::page(cases, &columns)).doing(|| format!("cannot write {}", markdown.display()))?;
    eprintln!("wrote {} and {}", html.display(), markdown.display());
    Ok(ExitCode::SUCCESS)
}

fn column(text: &str) -> Result<Column> {
    serde_json::from_str(text).doing(|| "cannot understand the results of a judgement".into())
}

/// Judges in a process of its own, which may become another user and cannot disturb this one.
fn judged(o: &Options, runtime: &Path, rootless: bool) -> Result<Column> {
    eprintln!("judging {}, {}", runtime.display(), if rootless { "rootless" } else { "root" });
    let me = std::env::current_exe().doing(|| "cannot find myself".into())?;
    let mut command = Command::new(me);
    command.arg("--runtime").arg(runtime).args(["--format", "json", "--suite", &o.suite]);
    command.args(o.filters.iter().flat_map(|f| ["--filter", f]));
    command.args(o.user.iter().flat_map(|u| ["--user", u]));
    if rootless {
        command.arg("--rootless");
    }
    let out = command.stderr(Stdio::inherit()).output().doing(|| format!("cannot judge {}", runtime.display()))?;
    column(&String::from_utf8_lossy(&out.stdout))
}

/// A case's place in the spec, for both pages: documents and sections in the order of the text.
fn sections(cases: &[&'static Case]) -> Vec<(String, Vec<&'static Case>)> {
    let mut sections: Vec<(String, Vec<&'static Case>)> = Vec::new();
    for case in cases {
        let title = format!("{}: {}", case.document.name(), case.section);
        match sections.iter_mut().find(|s| s.0 == title) {
            Some(section) => section.1.push(case),
            None => sections.push((title, vec![case])),
        }
    }
    sections
}
