// SPDX-License-Identifier: Apache-2.0
//! What the documents name is there: files that they link to or mention, and tests that they promise.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below `folder` with this ending, those that are built or kept by git aside.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && name != ".git" {
                files(&path, ending, found);
            }
        } else if name.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&workspace(), ".md", &mut found);
    assert!(found.len() > 5, "{found:?}");
    found
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            let outside = target.contains("://") || target.starts_with("mailto:");
            if !outside && !file.is_empty() && !document.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links to nowhere:\n{}", broken.join("\n"));
}

/// What stands in backquotes in the first column of a document's tables.
fn first_column(document: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(document)).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The names of all fields of the specification, one a line.
fn fields_of_the_specification() -> Vec<String> {
    let list = fs::read_to_string(workspace().join("tests/data/runtime-spec-fields")).unwrap();
    list.lines().map(str::to_owned).collect()
}

#[test]
fn the_list_of_fields_is_the_schemas() {
    match kelp_tests::schema_fields("config-schema.json") {
        Ok(known) => assert_eq!(fields_of_the_specification(), known.into_iter().collect::<Vec<_>>()),
        Err(reason) => kelp_tests::say(&format!("SKIP the_list_of_fields_is_the_schemas: {reason}")),
    }
}

#[test]
fn every_field_of_the_schema_is_in_the_table() {
    let listed = first_column("docs/spec-coverage.md");
    let known = fields_of_the_specification();
    let missing: Vec<_> = known.iter().filter(|field| !listed.contains(field)).collect();
    let unknown: Vec<_> = listed.iter().filter(|field| !known.contains(*field)).collect();
    let twice: Vec<_> = listed.iter().enumerate().filter(|(at, field)| listed[..*at].contains(field)).collect();
    assert!(missing.is_empty(), "fields that docs/spec-coverage.md does not have: {missing:#?}");
    assert!(unknown.is_empty(), "docs/spec-coverage.md has fields that the schema does not: {unknown:#?}");
    assert!(twice.is_empty(), "docs/spec-coverage.md has fields twice: {twice:#?}");
}

#[test]
fn tests_that_the_tables_promise_exist() {
    let mut sources = Vec::new();
    files(&workspace(), ".rs", &mut sources);
    let code: String = sources.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut missing = Vec::new();
    for table in ["docs/threat-model.md", "docs/kernel-features.md", "docs/spec-coverage.md"] {
        let text = fs::read_to_string(workspace().join(table)).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| "));
        let promised = rows.filter_map(|row| row.trim_end_matches(" |").rsplit("| ").next());
        for name in promised.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            // A claim has several words; anything else in the last column is prose.
            if name.matches('_').count() >= 2 && !code.contains(&format!("fn {name}(")) {
                missing.push(format!("{table}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "promised and not there:\n{}", missing.join("\n"));
}

/// A threat without a test is a hope; a fallback without one is a guess.
#[test]
fn every_threat_and_every_fallback_names_its_test() {
    let mut hopes = Vec::new();
    for (document, from) in
        [("docs/threat-model.md", "# Threat model"), ("docs/kernel-features.md", "## May be missing")]
    {
        let text = fs::read_to_string(workspace().join(document)).unwrap();
        let (_, tables) = text.split_once(from).unwrap();
        let rows: Vec<&str> = tables.lines().filter(|line| line.starts_with("| ")).collect();
        assert!(rows.len() > 20, "{document}: {} rows", rows.len());
        for row in rows.iter().filter(|row| !row.ends_with("| test |")) {
            let last = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
            if !last.split('`').skip(1).step_by(2).any(|name| name.matches('_').count() >= 2) {
                hopes.push(format!("{document}: {row}"));
            }
        }
    }
    assert!(hopes.is_empty(), "rows without a test:\n{}", hopes.join("\n"));
}
