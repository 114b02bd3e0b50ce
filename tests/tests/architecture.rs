// SPDX-License-Identifier: Apache-2.0
//! The design as facts: arrows between crates, where `unsafe` is, what the resident programs contain.
//!
//! Reads `cargo metadata`, the sources and the built programs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Who may depend on whom, by the design. Anyone may use kelp-sys.
const ARROWS: [(&str, &[&str]); 12] = [
    ("kelp-sys", &[]),
    ("kelp-init", &["kelp-sys"]),
    ("kelp-runtime", &["kelp-sys", "kelp-init"]),
    ("kelp-bundles", &["kelp-sys"]),
    ("kelp-network", &["kelp-sys"]),
    ("kelp-shim", &["kelp-sys", "kelp-runtime"]),
    ("kelp-engine", &["kelp-sys", "kelp-bundles", "kelp-network", "kelp-shim", "kelp-runtime"]),
    ("kelp", &["kelp-sys", "kelp-engine", "kelp-bundles", "kelp-network", "kelp-shim", "kelp-runtime"]),
    ("kelp-tests", &[]),
    ("kelp-conformance", &[]),
    ("kelp-bench", &[]),
    // Feeds the libraries; nothing uses it.
    ("kelp-fuzz", &["kelp-sys", "kelp-runtime", "kelp-bundles", "kelp-shim"]),
];

/// What a program that stays resident or starts often has no use for.
const TOO_HEAVY: [&str; 12] = [
    "tokio",
    "async-std",
    "smol",
    "hyper",
    "reqwest",
    "ureq",
    "rustls",
    "openssl",
    "native-tls",
    "clap",
    "oci-client",
    "tracing-subscriber",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// For each package of the build graph: the packages it links, by the edges that are not for tests or build scripts.
fn links(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let linked = |edge: &&Value| edge["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
    let mut links: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let targets = node["deps"].as_array().unwrap().iter().filter(linked);
        let targets = targets.map(|edge| names[edge["pkg"].as_str().unwrap()].to_owned());
        // Two versions of one crate share a name: their edges are joined, which can only find too much.
        links.entry(names[node["id"].as_str().unwrap()].to_owned()).or_default().extend(targets);
    }
    links
}

#[test]
fn the_arrows_between_our_crates_are_those_of_the_design() {
    let links = links(&metadata());
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ARROWS {
        let targets = links.get(name).unwrap_or_else(|| panic!("no crate {name}"));
        for target in targets.iter().filter(|target| ours.contains(target.as_str())) {
            assert!(allowed.contains(&target.as_str()), "{name} must not depend on {target}");
        }
    }
    let unknown: Vec<&String> = links.keys().filter(|n| n.starts_with("kelp") && !ours.contains(n.as_str())).collect();
    assert!(unknown.is_empty(), "the design does not know {unknown:?}");
}

#[test]
fn the_resident_programs_have_no_executor_http_tls_or_clap() {
    let links = links(&metadata());
    for program in ["kelp-runtime", "kelp-shim"] {
        let mut reached = BTreeSet::new();
        let mut next = vec![program.to_owned()];
        while let Some(name) = next.pop() {
            if reached.insert(name.clone()) {
                next.extend(links[&name].iter().cloned());
            }
        }
        let heavy: Vec<&&str> = TOO_HEAVY.iter().filter(|name| reached.contains(**name)).collect();
        assert!(heavy.is_empty(), "{program} links {heavy:?}");
    }
}

#[test]
fn the_resident_programs_are_static() {
    let dir = match std::env::var_os("KELP_BIN") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::current_exe().unwrap().ancestors().nth(2).unwrap().with_file_name("release"),
    };
    for program in ["kelp-runtime", "kelp-shim"] {
        let bytes = fs::read(dir.join(program)).unwrap_or_else(|e| panic!("{program} in {}: {e}", dir.display()));
        assert!(!asks_for_interpreter(&bytes), "{program} asks for a dynamic loader");
    }
}

/// Whether a 64-bit little-endian ELF file has a PT_INTERP program header.
fn asks_for_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    assert_eq!(elf[..6], *b"\x7fELF\x02\x01", "a 64-bit little-endian ELF file");
    let number =
        |at: usize, size: usize| elf[at..at + size].iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let table = usize::try_from(number(32, 8)).unwrap();
    let (size, count) = (usize::try_from(number(54, 2)).unwrap(), usize::try_from(number(56, 2)).unwrap());
    (0..count).any(|index| number(table + index * size, 4) == u64::from(PT_INTERP))
}

/// Every Rust file below a folder of the workspace.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut next = vec![folder.to_owned()];
    while let Some(dir) = next.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && name != ".git" {
                next.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {}", folder.display());
    found
}

/// The code of a file without line comments; good enough to look for a keyword.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn unsafe_is_only_in_sys() {
    let sys = workspace().join("sys");
    let says_unsafe = |path: &PathBuf| {
        let code = code(path);
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code"]
            .iter()
            .any(|form| code.contains(form))
    };
    let mine = Path::new(file!()).file_name().unwrap();
    let found: Vec<PathBuf> = sources(&workspace())
        .into_iter()
        .filter(|path| !path.starts_with(&sys) && path.file_name().unwrap() != mine && says_unsafe(path))
        .collect();
    assert!(found.is_empty(), "unsafe code outside sys: {found:?}");
}

#[test]
fn init_has_no_std_no_alloc_and_no_unsafe() {
    let init = workspace().join("runtime/init");
    let root = code(&init.join("src/lib.rs"));
    assert!(root.contains("#![no_std]") || root.contains("no_std"), "init is not no_std");
    assert!(root.contains("forbid(unsafe_code)"), "init does not forbid unsafe code");
    let tests = |code: &str| code.find("#[cfg(test)]").unwrap_or(code.len());
    for path in sources(&init.join("src")) {
        let code = code(&path);
        let code = &code[..tests(&code)];
        for word in ["extern crate std", "extern crate alloc", "std::", "alloc::"] {
            assert!(!code.contains(word), "{} says {word}", path.display());
        }
    }
    let sys = code(&workspace().join("sys/src/lib.rs"));
    assert!(sys.contains("no_std"), "sys is not no_std");
}

/// A library knows no terminal, no flags and no process: what it needs of them its caller hands in.
#[test]
fn no_library_prints_reads_the_environment_or_knows_flags() {
    let engine = workspace().join("engine/src");
    let words = ["clap", "println!", "print!", "env::var(", "env::var_os", "env::vars", "current_dir", "current_exe"];
    for path in sources(&engine) {
        let code = code(&path);
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for word in words {
            // The scratch folder of an overlay is entered by a child that does nothing else.
            let entered = code.replace("set_current_dir", "");
            assert!(!entered.contains(word), "{} says {word}", path.display());
        }
    }
    let links = links(&metadata());
    for library in ["kelp-engine", "kelp-bundles", "kelp-network", "kelp-shim", "kelp-runtime"] {
        for terminal in ["clap", "indicatif", "tracing-subscriber"] {
            assert!(!links[library].contains(terminal), "{library} links {terminal}");
        }
    }
}

#[test]
fn every_source_file_names_its_licence() {
    for path in sources(&workspace()) {
        let text = fs::read_to_string(&path).unwrap();
        let named = text.lines().take(2).any(|line| line.contains("SPDX-License-Identifier: Apache-2.0"));
        assert!(named, "{} has no SPDX line", path.display());
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for member in metadata()["packages"].as_array().unwrap() {
        if member["source"].is_null() {
            let manifest = fs::read_to_string(member["manifest_path"].as_str().unwrap()).unwrap();
            assert!(manifest.contains("[lints]\nworkspace = true"), "{} has lints of its own", member["name"]);
        }
    }
}
