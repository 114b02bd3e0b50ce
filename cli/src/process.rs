// SPDX-License-Identifier: Apache-2.0
//! This process as the engine's caller: its environment, its program, and a sink that writes to its standard error.
//!
//! The one place that reads the environment for the engine.

use crate::caller::{Caller, Environment, Sink, Work};
use crate::error::{Doing, Result};
use crate::output;
use crate::places::Places;
use crate::progress::Shown;
use kelp_bundles::progress::Progress;
use std::path::Path;

/// The caller of everything this process does. `root` is `--root`.
pub(crate) fn caller(root: Option<&Path>) -> Result<Caller> {
    let environment: Environment = std::env::vars_os().collect();
    Ok(Caller {
        places: Places::find(root, &environment)?,
        environment,
        program: std::env::current_exe().doing(|| "cannot find the path of kelp itself")?,
        sink: Box::new(Terminal),
    })
}

/// Notes and bars on standard error.
#[derive(Debug)]
struct Terminal;

impl Sink for Terminal {
    fn note(&self, text: &str) {
        output::note(text);
    }

    fn progress(&self, work: Work) -> Box<dyn Progress> {
        Box::new(match work {
            Work::Asked => Shown::new(),
            Work::Implied => Shown::on_terminal(),
        })
    }
}
