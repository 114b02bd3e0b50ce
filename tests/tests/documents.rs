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
    for table in ["docs/threat-model.md", "docs/kernel-features.md", "docs/spec-coverage.md", "docs/fuzz.md"] {
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

/// Files that a newcomer opens, in the order in which ARCHITECTURE.md leads to them.
#[test]
fn the_walk_for_newcomers_leads_from_the_readme_to_the_steps() {
    let read = |name: &str| fs::read_to_string(workspace().join(name)).unwrap();
    let page = read("ARCHITECTURE.md");
    let (_, walk) = page.split_once("## A walk for newcomers").unwrap();
    let stops = walk.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect::<Vec<_>>();
    let wanted = ["README.md", "runtime/src/verb/create.rs", "runtime/init/src/life.rs", "runtime/init/src/step.rs"];
    assert_eq!(stops, wanted);
    assert!(read("README.md").contains("](ARCHITECTURE.md)"));
    assert!(page.lines().count() <= 100, "no page: {} lines", page.lines().count());
    // Each line of life.rs is a function of the file that it names.
    let life = read("runtime/init/src/life.rs");
    let calls = life.split("fn attempt").nth(1).unwrap().split("fn help").next().unwrap();
    let mut steps = 0;
    for (call, _) in calls.match_indices("::") {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let module = calls[..call].rsplit(|c| !word(c)).next().unwrap();
        let function = calls[call + 2..].split(|c| !word(c)).next().unwrap();
        // A type's own function, or a type.
        if [module, function].iter().any(|name| name.starts_with(|c: char| c.is_ascii_uppercase())) {
            continue;
        }
        let file = ["", "/mod"].map(|end| workspace().join(format!("runtime/init/src/{module}{end}.rs")));
        let text = file.iter().find_map(|file| fs::read_to_string(file).ok());
        assert!(text.is_some_and(|text| text.contains(&format!("fn {function}"))), "{module}::{function}");
        steps += 1;
    }
    assert!(steps >= 20, "{steps}");
}

#[test]
fn the_commands_for_contributors_are_there() {
    let page = fs::read_to_string(workspace().join("CONTRIBUTING.md")).unwrap();
    let block = page.split("```").nth(1).unwrap();
    let commands: Vec<&str> = block.lines().skip(1).map(|line| line.split('#').next().unwrap().trim()).collect();
    assert_eq!(commands, ["./build", "cargo test -p kelp-runtime", "./check"]);
    for script in ["build", "check"] {
        assert!(workspace().join(script).exists());
    }
    // The crates that are named in brackets.
    let crates = block.split("(").nth(1).unwrap().split(" …").next().unwrap();
    for name in crates.split(", ") {
        let mut manifests = Vec::new();
        files(&workspace(), "Cargo.toml", &mut manifests);
        let named = |file: &PathBuf| fs::read_to_string(file).unwrap().contains(&format!("name = \"{name}\""));
        assert!(manifests.iter().any(named), "{name}");
    }
}

#[test]
fn the_oldest_compiler_is_the_same_wherever_it_is_said() {
    let read = |name: &str| fs::read_to_string(workspace().join(name)).unwrap();
    let manifest = read("Cargo.toml");
    let oldest = manifest.lines().find_map(|l| l.strip_prefix("rust-version = \"")?.strip_suffix('"')).unwrap();
    assert!(read("build").contains(&format!("(Rust {oldest} or newer)")), "build does not ask for Rust {oldest}");
}

/// `sys/clone.rs`, `runtime/init/mount.rs`, `bundles`: of a crate the file in its sources, or the folder.
#[test]
fn what_the_kernel_is_asked_for_is_asked_for_where_the_table_says() {
    let page = fs::read_to_string(workspace().join("docs/kernel-features.md")).unwrap();
    let (_, table) = page.split_once("## Always there").unwrap();
    let table = table.split("## May be missing").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|l| l.starts_with("| ") && !l.ends_with("| where |")).collect();
    assert!(rows.len() > 15, "{rows:?}");
    let crates = ["runtime/init", "runtime", "sys", "bundles", "engine", "cli", "shim", "network"];
    for row in rows {
        let mut krate = "";
        for place in row.trim_end_matches(" |").rsplit("| ").next().unwrap().split(", ") {
            // "runtime/init/root.rs, born.rs": the second is of the same crate.
            let known = crates.iter().find(|krate| place == **krate || place.starts_with(&format!("{krate}/")));
            let below = known.map_or(place, |krate| place[krate.len()..].trim_start_matches('/'));
            krate = known.copied().unwrap_or(krate);
            let below = below.strip_prefix("src/").unwrap_or(below);
            let file = workspace().join(krate).join("src").join(below);
            assert!(!krate.is_empty() && file.exists(), "{row}\nthere is no {}", file.display());
        }
    }
}
