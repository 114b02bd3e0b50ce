// SPDX-License-Identifier: Apache-2.0
//! Which ids the caller may give away, for layers and containers alike; and what he should know where they are few.

use crate::error::Result;
use crate::output;
use crate::places::Places;
use crate::spec::{Maps, Range};
use kelp_bundles::idmap::{self, IdMap};
use std::fs;

/// The caller's map.
pub(crate) fn of_caller() -> Result<IdMap> {
    Ok(IdMap::of_caller()?)
}

/// The map as config.json has it; nothing where no user namespace is needed.
pub(crate) fn maps(ids: &IdMap) -> Option<Maps> {
    let range = |range: &idmap::Range| Range { container: range.inside, host: range.outside, size: range.count };
    let ranges = |all: Vec<idmap::Range>| all.iter().map(range).collect();
    match ids {
        IdMap::Host => None,
        _ => Some(Maps { uid: ranges(ids.uids()), gid: ranges(ids.gids()) }),
    }
}

/// Says, once per store, that the caller has one id only.
pub(crate) fn tell(places: &Places, ids: &IdMap) {
    let IdMap::Single { because, .. } = ids else { return };
    let told = places.store.join("told-single-id");
    if told.exists() {
        return;
    }
    let hint = if because.contains("installed") {
        "as root: apt install uidmap"
    } else {
        "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
    };
    output::note(format!("one user id inside containers only: {because} ({hint})"));
    // If it cannot be written, the user is told again.
    fs::write(told, because).ok();
}
