// SPDX-License-Identifier: Apache-2.0
//! A Debian system as a layer: made once by mmdebstrap, kept by the content of the recipe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Dynamic linking, setuid programs, hard links, a dozen groups, and little more.
const RECIPE: [&str; 4] = ["--variant=essential", "--include=perl-base", "--aptopt=Acquire::Retries 3", "bookworm"];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The uncompressed layer, or why it cannot be made here.
pub fn debian_layer() -> Result<Vec<u8>, String> {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let file = cache().join("debian-bookworm-essential.tar");
    if !file.exists() {
        make(&file)?;
    }
    fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))
}

fn cache() -> PathBuf {
    match std::env::var_os("KELP_TEST_CACHE") {
        Some(dir) => dir.into(),
        None => format!("/var/tmp/kelp-test-images-{}", rustix::process::geteuid().as_raw()).into(),
    }
}

fn make(file: &Path) -> Result<(), String> {
    let dir = file.parent().expect("a file has a folder");
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    // Another test process may be making it too: each writes its own, and the last rename wins.
    let part = dir.join(format!("part.{}.tar", std::process::id()));
    let mode = if rustix::process::geteuid().is_root() { "--mode=root" } else { "--mode=unshare" };
    let made = Command::new("mmdebstrap")
        .arg(mode)
        .arg("--quiet")
        .args(RECIPE)
        .arg(&part)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("mmdebstrap: {e}"))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        return Err(format!("mmdebstrap: {}", said.lines().last().unwrap_or("no message")));
    }
    fs::rename(&part, file).map_err(|e| format!("{}: {e}", file.display()))
}
