// SPDX-License-Identifier: Apache-2.0
//! Pulling, pushing and unpacking as people see it: a bar per layer on a terminal, a line per layer and step on a pipe, or
//! nothing. All of it on stderr: stdout has the result.

use crate::output;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kelp_bundles::{Digest, Event, Progress};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

/// Someone who watches. Notes are always said.
pub(crate) enum Shown {
    /// On a terminal.
    Bars(Box<Mutex<Bars>>),
    /// On a pipe: what a log should have.
    Lines,
    /// Nothing.
    Quiet,
}

#[derive(Default)]
pub(crate) struct Bars {
    /// Made with the first bar: most commands show none.
    all: Option<MultiProgress>,
    blobs: HashMap<Digest, Line>,
}

/// A blob's line. It is fetched and unpacked at the same time; what is behind is shown.
struct Line {
    bar: ProgressBar,
    travels: bool,
    unpacks: bool,
    unpacked: u64,
}

impl Shown {
    /// Bars if stderr is a terminal that can move its cursor, else lines.
    pub(crate) fn new() -> Self {
        let can_move = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        match can_move && std::io::stderr().is_terminal() {
            true => Self::Bars(Box::default()),
            false => Self::Lines,
        }
    }

    /// Bars if stderr is a terminal, else nothing: for what nobody asked for.
    pub(crate) fn on_terminal() -> Self {
        match Self::new() {
            Self::Lines => Self::Quiet,
            other => other,
        }
    }

    /// Nothing.
    pub(crate) fn quiet() -> Self {
        Self::Quiet
    }
}

impl Progress for Shown {
    fn event(&self, event: Event<'_>) {
        match self {
            Self::Bars(bars) => bars.lock().unwrap_or_else(PoisonError::into_inner).event(event),
            Self::Lines | Self::Quiet if let Event::Note(text) = event => output::note(text),
            Self::Lines => line(event),
            Self::Quiet => {}
        }
    }
}

/// Docker's words.
fn line(event: Event<'_>) {
    let (blob, what) = match event {
        Event::FetchSkipped(blob) => (blob, "Already exists"),
        Event::FetchDone(blob) => (blob, "Download complete"),
        Event::UnpackDone(blob) => (blob, "Pull complete"),
        Event::PushSkipped(blob) => (blob, "Layer already exists"),
        Event::PushDone(blob) => (blob, "Pushed"),
        _ => return,
    };
    // A stderr that is closed has nobody who reads it.
    output::complaint(&format!("{}: {what}\n", blob.short())).unwrap_or_default();
}

impl Bars {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::FetchBegins(blob, size, here) => self.begin(blob, "fetching", size, here),
            Event::PushBegins(blob, size) => self.begin(blob, "sending", size, 0),
            Event::Fetched(blob, more) | Event::Pushed(blob, more) => self.advance(blob, more),
            Event::FetchDone(blob) => self.fetched(blob),
            Event::FetchSkipped(_) => {}
            Event::PushDone(blob) => self.end(blob, "sent"),
            Event::PushSkipped(blob) => self.end(blob, "is there"),
            Event::UnpackBegins(layer, size) => {
                if !self.blobs.contains_key(layer) {
                    self.add(layer, "unpacking", size, false);
                }
                self.blobs.entry(layer.clone()).and_modify(|line| line.unpacks = true);
            }
            Event::Unpacked(layer, more) => self.unpack(layer, more),
            Event::UnpackDone(layer) => self.end(layer, "done"),
            Event::Note(text) => match &self.all {
                // Above the lines that move.
                Some(all) => all.suspend(|| output::note(text)),
                None => output::note(text),
            },
        }
    }

    fn begin(&mut self, blob: &Digest, what: &'static str, size: u64, here: u64) {
        match self.blobs.get_mut(blob) {
            Some(line) => line.travels = true,
            None => self.add(blob, what, size, true),
        }
        if let Some(line) = self.blobs.get(blob) {
            line.bar.set_message(what);
            line.bar.set_position(here);
            // What was here before is nothing that came fast.
            line.bar.reset_eta();
        }
    }

    fn add(&mut self, blob: &Digest, what: &'static str, size: u64, travels: bool) {
        let bar = self.all.get_or_insert_default().add(ProgressBar::new(size));
        bar.set_style(style(MOVING).progress_chars("=> "));
        bar.set_prefix(blob.short().to_owned());
        bar.set_message(what);
        self.blobs.insert(blob.clone(), Line { bar, travels, unpacks: false, unpacked: 0 });
    }

    fn advance(&mut self, blob: &Digest, more: u64) {
        if let Some(line) = self.blobs.get(blob) {
            line.bar.inc(more);
        }
    }

    fn fetched(&mut self, blob: &Digest) {
        let Some(line) = self.blobs.get_mut(blob) else { return };
        line.travels = false;
        match line.unpacks {
            true => {
                line.bar.set_message("unpacking");
                line.bar.set_position(line.unpacked);
            }
            false => self.end(blob, "done"),
        }
    }

    fn unpack(&mut self, layer: &Digest, more: u64) {
        let Some(line) = self.blobs.get_mut(layer) else { return };
        line.unpacked += more;
        if !line.travels {
            line.bar.set_position(line.unpacked);
        }
    }

    /// The line stays, without what no longer moves.
    fn end(&mut self, blob: &Digest, how: &'static str) {
        if let Some(line) = self.blobs.remove(blob) {
            line.bar.set_style(style(STILL));
            line.bar.finish_with_message(how);
        }
    }
}

/// As wide as the terminal; numbers below numbers.
const MOVING: &str = "{prefix} {msg:9} [{wide_bar}] {decimal_bytes:>10} / {decimal_total_bytes:<10} \
                      {decimal_bytes_per_sec:>12} {eta:>4}";
const STILL: &str = "{prefix} {msg:9} {decimal_total_bytes:>10}";

fn style(template: &str) -> ProgressStyle {
    // The templates are ours: if one were wrong, indicatif's own would do.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
