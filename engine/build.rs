// SPDX-License-Identifier: Apache-2.0
//! Compiles the program of the image `hello` (hello/main.rs) for the target, into one small static file that
//! src/hello.rs embeds. It is no crate of the workspace: it has no dependency, and an image is data to the engine.

use std::env::{self, VarError};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const SOURCES: [&str; 3] = ["hello/main.rs", "hello/facts.rs", "hello/page.rs"];

/// Small before fast: it runs once and is carried in every `kelp`.
const OPTIONS: [&str; 8] = [
    "opt-level=z",
    "lto=fat",
    "codegen-units=1",
    "panic=abort",
    "strip=symbols",
    "target-feature=+crt-static",
    "relocation-model=static",
    "link-arg=-Wl,--build-id=none",
];

fn main() -> ExitCode {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    match compile() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => complain("rustc could not compile hello/main.rs statically: is libc.a (libc6-dev) installed?"),
        Err(error) => complain(&error.to_string()),
    }
}

fn complain(why: &str) -> ExitCode {
    println!("cargo::error={why}");
    ExitCode::FAILURE
}

fn compile() -> Result<bool, Box<dyn std::error::Error>> {
    let program = PathBuf::from(env::var("OUT_DIR")?).join("hello");
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.args(["--edition", "2024", "--crate-name", "hello", "--target", &env::var("TARGET")?]);
    for option in OPTIONS {
        rustc.args(["-C", option]);
    }
    // Set where the user configured a linker for the target.
    match env::var("RUSTC_LINKER") {
        Ok(linker) => _ = rustc.arg("-C").arg(format!("linker={linker}")),
        Err(VarError::NotPresent) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(rustc.arg("-o").arg(program).arg(SOURCES[0]).status()?.success())
}
