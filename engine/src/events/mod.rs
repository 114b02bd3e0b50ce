// SPDX-License-Identifier: Apache-2.0
//! What happened to containers, images and volumes: commands record it here, `kelp events` reads it.
//!
//! The journal itself is kelp-shim's library: the shim writes to it too. Names and attributes are Docker's
//! (<https://docs.docker.com/reference/cli/docker/system/events/>).

pub(crate) mod filter;
pub(crate) mod journal;

use crate::container::record::Record;
use crate::output;
use crate::places::Places;
use kelp_bundles::reference::Reference;
use kelp_bundles::store::Removed;
use kelp_shim::events::{self, Event};
use std::collections::BTreeMap;

/// Records what was done to a container.
pub(crate) fn container(places: &Places, record: &Record, action: &str) {
    container_with(places, record, action, []);
}

/// The same, with what belongs to the action.
pub(crate) fn container_with<const N: usize>(
    places: &Places,
    record: &Record,
    action: &str,
    extra: [(&str, String); N],
) {
    let own = [("image", record.image.clone()), ("name", record.name.clone())];
    let added = own.into_iter().chain(extra).map(|(key, value)| (key.to_owned(), value));
    let attributes = record.labels.clone().into_iter().chain(added).collect();
    append(places, &Event::now("container", action, &record.id, attributes));
}

/// Records what was done to an image, which `id` names: its id, or for pull and push its name.
pub(crate) fn image(places: &Places, action: &str, id: &str, name: &str) {
    append(places, &Event::now("image", action, id, attributes([("name", name.to_owned())])));
}

/// Records that an image went from or to a registry.
pub(crate) fn transfer(places: &Places, action: &str, name: &Reference) {
    image(places, action, &name.familiar(), &name.familiar_name());
}

/// Records names that an image lost, and images that are gone.
pub(crate) fn removed(places: &Places, id: &str, removed: &Removed) {
    for name in &removed.untagged {
        image(places, "untag", id, &name.familiar());
    }
    for id in &removed.deleted {
        image(places, "delete", &id.to_string(), &id.to_string());
    }
}

/// Records what was done to a volume.
pub(crate) fn volume(places: &Places, action: &str, name: &str) {
    append(places, &Event::now("volume", action, name, attributes([("driver", "local".to_owned())])));
}

/// Records that what nothing used was removed; `kind` is container, image or volume.
pub(crate) fn pruned(places: &Places, kind: &str, reclaimed: u64) {
    append(places, &Event::now(kind, "prune", "", attributes([("reclaimed", reclaimed.to_string())])));
}

fn attributes<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The change has happened: that it could not be recorded is said, and undoes nothing.
fn append(places: &Places, event: &Event) {
    if let Err(error) = events::append(&events::folder(&places.store), event) {
        output::note(format!("the event {} {} could not be recorded: {error}", event.kind, event.action));
    }
}
