// SPDX-License-Identifier: Apache-2.0
//! Records in the journal what happens to the container: start, die, oom, kill, and its volumes' mounts.
//!
//! Runs in kelp-shim, confined or not. Nobody waits for the journal: an event that cannot be written is a complaint.

use super::life::Holder;
use crate::complain;
use kelp_shim::Status;
use kelp_shim::events::{self, Container, Event};
use std::collections::BTreeMap;
use std::path::Path;

impl Holder {
    /// The program runs: at first, or again by the restart policy.
    pub(super) fn record_start(&self) {
        let Some(journal) = &self.launch.events else { return };
        let container = Container::read(&self.launch.container);
        for volume in &container.volumes {
            let extra = [("destination", volume.destination.clone()), ("read/write", volume.writable.to_string())];
            append(journal, "volume", "mount", &volume.name, self.volume_attributes(extra));
        }
        append(journal, "container", "start", &self.launch.id, container.attributes);
    }

    /// The container has ended, `seconds` after its start.
    pub(super) fn record_end(&self, status: Status, seconds: u64) {
        let Some(journal) = &self.launch.events else { return };
        let mut container = Container::read(&self.launch.container);
        if status.oom {
            append(journal, "container", "oom", &self.launch.id, container.attributes.clone());
        }
        container.attributes.insert("exitCode".to_owned(), status.code.to_string());
        container.attributes.insert("execDuration".to_owned(), seconds.to_string());
        append(journal, "container", "die", &self.launch.id, container.attributes);
        for volume in &container.volumes {
            append(journal, "volume", "unmount", &volume.name, self.volume_attributes([]));
        }
    }

    /// The program is sent a signal that somebody asked for.
    pub(super) fn record_kill(&self, signal: i32) {
        let Some(journal) = &self.launch.events else { return };
        if self.init.is_none() {
            return;
        }
        let mut attributes = Container::read(&self.launch.container).attributes;
        attributes.insert("signal".to_owned(), signal.to_string());
        append(journal, "container", "kill", &self.launch.id, attributes);
    }

    fn volume_attributes<const N: usize>(&self, extra: [(&str, String); N]) -> BTreeMap<String, String> {
        let always = [("container", self.launch.id.clone()), ("driver", "local".to_owned())];
        always.into_iter().chain(extra).map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

fn append(journal: &Path, kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) {
    if let Err(error) = events::append(journal, &Event::now(kind, action, id, attributes)) {
        complain(&format_args!("cannot record the event {action}: {error}"));
    }
}
