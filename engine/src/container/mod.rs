// SPDX-License-Identifier: Apache-2.0
//! Containers on disk: made, found, started, removed. One folder each; no database, no global lock.

pub(crate) mod claim;
pub(crate) mod create;
mod etc;
pub(crate) mod find;
pub(crate) mod id;
pub(crate) mod name;
pub(crate) mod network;
pub(crate) mod record;
pub(crate) mod remove;
pub(crate) mod start;
pub(crate) mod status;
mod volumes;

/// The candidate that differs from `wanted` by at most two slips, or a third of its letters.
pub(crate) fn near(wanted: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let limit = (wanted.chars().count() / 3).clamp(1, 2);
    let scored = candidates.map(|candidate| (distance(wanted, &candidate), candidate));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_recognised() {
        let names = || ["busybox", "debian", "web"].map(str::to_owned).into_iter();
        assert_eq!(near("busbox", names()).as_deref(), Some("busybox"));
        assert_eq!(near("debain", names()).as_deref(), Some("debian"));
        assert_eq!(near("nginx", names()), None);
    }
}
