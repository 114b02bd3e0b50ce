// SPDX-License-Identifier: Apache-2.0
//! `--trace FILE`: what the runtime and init did when, as a picture.
//!
//! Both mark the beginning of each step in memory that they share (`kelp_sys::trace`); a step lasts until the same
//! process begins another. The file is in Chrome's trace event format, which <https://ui.perfetto.dev> and
//! `chrome://tracing` draw on one time axis.

use crate::Step;
use crate::error::{Doing, Error, Result};
use kelp_sys::trace::{self, Mark};
use serde_json::{Value, json};
use std::path::Path;

macro_rules! phases {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// What the runtime does beside the steps of a life: it cannot leave anything half made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Phase { $($(#[doc = $doc])+ $name,)+ }

        impl Phase {
            const ALL: &'static [Phase] = &[$(Phase::$name,)+];

            const fn text(self) -> &'static str {
                match self { $(Phase::$name => $text,)+ }
            }
        }
    };
}

phases! {
    /// The program has begun.
    Begin => "begin",
    /// Its own file is put out of the container's reach.
    Protect => "protect our own program",
    /// The bundle's config.json is read.
    Read => "read the bundle",
    /// The host is looked at, and the plan is made.
    Plan => "plan",
    /// Init goes on alone.
    Await => "wait for init",
    /// The program runs.
    Program => "the program runs",
    /// The container is deleted.
    Delete => "delete",
    /// Nothing any more.
    End => "end",
}

/// Codes of phases follow those of all steps.
const FIRST_PHASE: u32 = 256;

/// Begins to keep marks.
///
/// # Errors
/// There is no memory for them.
pub fn start() -> Result<()> {
    trace::start().doing(|| "cannot trace".into())?;
    begin(Phase::Begin);
    Ok(())
}

/// A phase begins.
pub fn begin(phase: Phase) {
    trace::mark(FIRST_PHASE + phase as u32);
}

/// Writes all marks to the file.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path) -> Result<()> {
    begin(Phase::End);
    let marks: Vec<Mark> = trace::read().collect();
    let text = serde_json::to_vec(&events(&marks, std::process::id()))
        .map_err(|error| Error::new("cannot write the trace").because(error))?;
    std::fs::write(path, text).doing(|| format!("cannot write the trace {}", path.display()))
}

fn name(code: u32) -> &'static str {
    let phase = code.checked_sub(FIRST_PHASE).and_then(|number| Phase::ALL.get(number as usize));
    let step = u8::try_from(code).ok().and_then(Step::from_number);
    phase.map(|phase| phase.text()).or(step.map(|step| step.doing())).unwrap_or("?")
}

/// One event for each mark but those that end a process' part, and the processes' names.
fn events(marks: &[Mark], runtime: u32) -> Value {
    let first = marks.first().map_or(0, |mark| mark.nanoseconds);
    let mut processes: Vec<u32> = Vec::new();
    let mut events = Vec::new();
    for (index, mark) in marks.iter().enumerate() {
        if !processes.contains(&mark.process) {
            processes.push(mark.process);
        }
        let Some(next) = marks.iter().skip(index + 1).find(|next| next.process == mark.process) else { continue };
        events.push(json!({
            "name": name(mark.code), "ph": "X", "pid": runtime, "tid": mark.process,
            "ts": microseconds(mark.nanoseconds - first), "dur": microseconds(next.nanoseconds.saturating_sub(mark.nanoseconds)),
        }));
    }
    for process in processes {
        let who = if process == runtime { "kelp-runtime" } else { "init" };
        events.push(json!({"name": "thread_name", "ph": "M", "pid": runtime, "tid": process, "args": {"name": who}}));
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

#[allow(clippy::cast_precision_loss, reason = "a trace is seconds long, not months")]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_lasts_until_the_same_process_begins_another() {
        let at = |nanoseconds, process, step| Mark { nanoseconds, process, code: step as u32 };
        let marks = [
            at(1000, 7, Step::Clone),
            at(2000, 1, Step::Mount),
            at(4000, 7, Step::WriteState),
            at(9000, 1, Step::Execute),
        ];
        let events = events(&marks, 7);
        let of = |index: usize, key: &str| events["traceEvents"][index][key].clone();
        assert_eq!((of(0, "ts"), of(0, "dur"), of(0, "tid")), (json!(0.0), json!(3.0), json!(7)));
        assert_eq!((of(1, "ts"), of(1, "dur"), of(1, "name")), (json!(1.0), json!(7.0), json!("mount")));
    }
}
