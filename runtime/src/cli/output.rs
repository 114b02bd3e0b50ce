// SPDX-License-Identifier: Apache-2.0
//! What the verbs write. `print!` and `eprintln!` would panic on a full disk, or where the reader has left.

use kelp_runtime::Result;
use kelp_runtime::error::Doing;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Writes an answer to stdout. A reader who has left, as `head` does, wants no more of it.
pub(crate) fn answer(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.to_string().as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.doing(|| "cannot write to stdout".into()),
    }
}

/// Writes a line to stderr. What cannot be said there is not worth a container.
pub(crate) fn complain(line: impl Display) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).ok();
}
