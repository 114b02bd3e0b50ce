// SPDX-License-Identifier: Apache-2.0
//! Which ids the caller may give away, for layers and containers alike; and what he should know where they are few.

use crate::caller::Caller;
use crate::config::{Maps, Range};
use crate::error::{Doing, Result};
use kelp_bundles::idmap::{self, IdMap};
use std::fs;

/// The caller's map.
pub fn of_caller() -> Result<IdMap> {
    Ok(IdMap::of_caller()?)
}

/// The map as config.json has it; nothing where no user namespace is needed.
pub fn maps(ids: &IdMap) -> Option<Maps> {
    let range = |range: &idmap::Range| Range { container: range.inside, host: range.outside, size: range.count };
    let ranges = |all: Vec<idmap::Range>| all.iter().map(range).collect();
    match ids {
        IdMap::Host => None,
        _ => Some(Maps { uid: ranges(ids.uids()), gid: ranges(ids.gids()) }),
    }
}

/// The highest group of those from 0 on that the user namespace we are in has: all of the machine's, unless we are in a
/// container ourselves.
pub fn last_group() -> Result<u32> {
    let text = fs::read_to_string("/proc/self/gid_map").doing(|| "cannot read /proc/self/gid_map")?;
    Ok(last_of(&text))
}

/// user_namespaces(7): lines of the first id inside, the first outside, and how many.
fn last_of(map: &str) -> u32 {
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u64>().ok());
        Some((numbers.next()??, numbers.nth(1)??))
    };
    let mut ranges: Vec<(u64, u64)> = map.lines().filter_map(range).collect();
    ranges.sort_unstable();
    let end = ranges.into_iter().fold(0, |end, (first, count)| if first == end { end + count } else { end });
    u32::try_from(end.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Says, once per store, that the caller has one id only.
pub fn tell(caller: &Caller, ids: &IdMap) {
    let IdMap::Single { because, .. } = ids else { return };
    let told = caller.places.store.join("told-single-id");
    if told.exists() {
        return;
    }
    let hint = if because.contains("installed") {
        "as root: apt install uidmap"
    } else {
        "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
    };
    caller.note(format!("one user id inside containers only: {because} ({hint})"));
    // If it cannot be written, the user is told again.
    fs::write(told, because).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_group_is_before_the_first_gap() {
        assert_eq!(last_of("         0          0 4294967295\n"), 4_294_967_294);
        assert_eq!(last_of("0 1000 1\n1 100000 65535\n100000 1 1\n"), 65535);
        assert_eq!(last_of("1 100000 65535\n0 1000 1\n"), 65535);
        assert_eq!(last_of("0 1000 1\n"), 0);
    }
}
