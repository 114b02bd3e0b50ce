// SPDX-License-Identifier: Apache-2.0
//! Each target on its whole corpus, and on every way to cut those inputs short: what has been found stays found.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn no_target_panics_on_its_corpus_or_on_the_beginnings_of_it() {
    /// Of a long input, this many beginnings.
    const CUTS: usize = 16;
    for (name, run) in kelp_fuzz::TARGETS {
        for entry in fs::read_dir(here("corpus").join(name)).unwrap_or_else(|e| panic!("corpus/{name}: {e}")) {
            let input = fs::read(entry.unwrap().path()).unwrap();
            run(&input);
            for cut in 0..CUTS {
                run(&input[..input.len() * cut / CUTS]);
            }
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let known: BTreeSet<String> = kelp_fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in(&here("targets")), known);
    assert_eq!(names_in(&here("corpus")), known);
    let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
    let programs: BTreeSet<String> = manifest
        .lines()
        .filter_map(|l| l.strip_prefix("path = \"targets/")?.strip_suffix(".rs\""))
        .map(str::to_owned)
        .collect();
    assert_eq!(programs, known);
}

#[test]
fn every_target_is_on_the_page_with_its_figures() {
    let page = fs::read_to_string(here("../docs/fuzz.md")).unwrap();
    let (_, figures) = page.split_once("<!-- figures").unwrap();
    let figures = figures.split("<!-- end of figures").next().unwrap();
    let rows = figures.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| target"));
    let listed: Vec<&str> = rows.map(|row| row.split(" | ").next().unwrap().trim_start_matches("| ")).collect();
    let known: Vec<&str> = kelp_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, known);
}
