// SPDX-License-Identifier: Apache-2.0
//! Pulling and unpacking as people see it: bars on a terminal, a line for what is worth one, else silence.

use crate::output;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kelp_bundles::{Digest, Event, Progress};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

/// Someone who watches.
pub(crate) struct Shown {
    /// Nothing is drawn without a terminal or when asked to be quiet; notes are always said.
    bars: Option<Mutex<Bars>>,
}

#[derive(Default)]
struct Bars {
    /// Made with the first bar: most commands show none.
    all: Option<MultiProgress>,
    fetches: HashMap<Digest, ProgressBar>,
    unpacks: HashMap<Digest, ProgressBar>,
}

impl Shown {
    /// Bars, if stderr is a terminal.
    pub(crate) fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(Mutex::default) }
    }

    /// No bars.
    pub(crate) fn quiet() -> Self {
        Self { bars: None }
    }
}

impl Progress for Shown {
    fn event(&self, event: Event<'_>) {
        if let Event::Note(text) = event {
            return output::note(text);
        }
        if let Some(bars) = &self.bars {
            bars.lock().unwrap_or_else(PoisonError::into_inner).event(event);
        }
    }
}

impl Bars {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::FetchBegins(blob, size, here) => {
                let bar = self.add(blob, "fetching", size);
                bar.set_position(here);
                self.fetches.insert(blob.clone(), bar);
            }
            Event::Fetched(blob, more) => advance(self.fetches.get(blob), more),
            Event::FetchDone(blob) | Event::FetchSkipped(blob) => clear(self.fetches.remove(blob)),
            Event::PushBegins(blob, size) => {
                let bar = self.add(blob, "sending", size);
                self.fetches.insert(blob.clone(), bar);
            }
            Event::Pushed(blob, more) => advance(self.fetches.get(blob), more),
            Event::PushDone(blob) | Event::PushSkipped(blob) => clear(self.fetches.remove(blob)),
            Event::UnpackBegins(layer, size) => {
                let bar = self.add(layer, "unpacking", size);
                self.unpacks.insert(layer.clone(), bar);
            }
            Event::Unpacked(layer, more) => advance(self.unpacks.get(layer), more),
            Event::UnpackDone(layer) => clear(self.unpacks.remove(layer)),
            Event::Note(_) => {}
        }
    }

    fn add(&mut self, digest: &Digest, what: &'static str, size: u64) -> ProgressBar {
        let bar = self.all.get_or_insert_default().add(ProgressBar::new(size));
        let template = "{prefix} {msg:9} [{bar:30}] {bytes:>10}/{total_bytes:<10} {bytes_per_sec}";
        // The template is ours: if it were wrong, indicatif's own would do.
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(digest.short().to_owned());
        bar.set_message(what);
        bar
    }
}

fn advance(bar: Option<&ProgressBar>, more: u64) {
    if let Some(bar) = bar {
        bar.inc(more);
    }
}

fn clear(bar: Option<ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}
