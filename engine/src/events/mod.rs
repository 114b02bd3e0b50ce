// SPDX-License-Identifier: Apache-2.0
//! What happened to containers, images and volumes: commands record it here, `kelp events` reads it.
//!
//! The journal itself is kelp-shim's library: the shim writes to it too. Names and attributes are Docker's
//! (<https://docs.docker.com/reference/cli/docker/system/events/>).

pub mod filter;
pub mod journal;

use crate::caller::Caller;
use crate::container::record::Record;
use kelp_bundles::reference::Reference;
use kelp_bundles::store::Removed;
use kelp_shim::events::{self, Event};
use std::collections::BTreeMap;

/// Records what was done to a container.
pub fn container(caller: &Caller, record: &Record, action: &str) {
    container_with(caller, record, action, []);
}

/// The same, with what belongs to the action.
pub fn container_with<const N: usize>(caller: &Caller, record: &Record, action: &str, extra: [(&str, String); N]) {
    let own = [("image", record.image.clone()), ("name", record.name.clone())];
    let added = own.into_iter().chain(extra).map(|(key, value)| (key.to_owned(), value));
    let attributes = record.labels.clone().into_iter().chain(added).collect();
    append(caller, &Event::now("container", action, &record.id, attributes));
}

/// Records what was done to an image, which `id` names: its id, or for pull and push its name.
pub fn image(caller: &Caller, action: &str, id: &str, name: &str) {
    append(caller, &Event::now("image", action, id, attributes([("name", name.to_owned())])));
}

/// Records that an image went from or to a registry.
pub fn transfer(caller: &Caller, action: &str, name: &Reference) {
    image(caller, action, &name.familiar(), &name.familiar_name());
}

/// Records names that an image lost, and images that are gone.
pub fn removed(caller: &Caller, id: &str, removed: &Removed) {
    for name in &removed.untagged {
        image(caller, "untag", id, &name.familiar());
    }
    for id in &removed.deleted {
        image(caller, "delete", &id.to_string(), &id.to_string());
    }
}

/// Records what was done to a volume.
pub fn volume(caller: &Caller, action: &str, name: &str) {
    append(caller, &Event::now("volume", action, name, attributes([("driver", "local".to_owned())])));
}

/// Records that what nothing used was removed; `kind` is container, image or volume.
pub fn pruned(caller: &Caller, kind: &str, reclaimed: u64) {
    append(caller, &Event::now(kind, "prune", "", attributes([("reclaimed", reclaimed.to_string())])));
}

fn attributes<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The change has happened: that it could not be recorded is said, and undoes nothing.
fn append(caller: &Caller, event: &Event) {
    tracing::debug!(kind = event.kind, action = ?event.action, id = event.actor.id, "event");
    if let Err(error) = events::append(&events::folder(&caller.places.store), event) {
        caller.note(format!("the event {} {} could not be recorded: {error}", event.kind, event.action));
    }
}
