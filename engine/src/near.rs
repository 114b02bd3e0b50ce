// SPDX-License-Identifier: Apache-2.0
//! “Did you mean …?”: names that differ by slips of the fingers.

/// The candidate that differs from `wanted` by at most two slips, or a third of its letters.
pub fn near(wanted: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let limit = (wanted.chars().count() / 3).clamp(1, 2);
    let scored = candidates.map(|candidate| (distance(wanted, &candidate), candidate));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let substituted = rows[i][j] + usize::from(x != y);
            let mut best = substituted.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_recognised() {
        let names = || ["busybox", "debian", "run", "web"].map(str::to_owned).into_iter();
        assert_eq!(near("busbox", names()).as_deref(), Some("busybox"));
        assert_eq!(near("debain", names()).as_deref(), Some("debian"));
        assert_eq!(near("rnu", names()).as_deref(), Some("run"));
        assert_eq!(near("nginx", names()), None);
    }
}
