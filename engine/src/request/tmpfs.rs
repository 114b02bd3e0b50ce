// SPDX-License-Identifier: Apache-2.0
//! Options of a tmpfs: `--tmpfs TARGET:OPTIONS`. The words are Docker's, the values those of tmpfs(5).
//!
//! The kernel would refuse the others only when the container starts, with EINVAL.

/// Flags of any mount.
const FLAGS: [&str; 20] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

/// The options of a text, apart; an empty text has none.
pub fn options(text: &str) -> Result<Vec<String>, String> {
    let options = text.split(',').filter(|_| !text.is_empty());
    options.map(|option| if is_option(option) { Ok(option.to_owned()) } else { Err(refusal(option)) }).collect()
}

fn refusal(option: &str) -> String {
    format!("invalid tmpfs option {option:?}; for example size=64m, mode=1777, uid=1000 or noexec")
}

fn is_option(option: &str) -> bool {
    match option.split_once('=') {
        None => FLAGS.contains(&option),
        Some(("size", value)) => is_amount(value.strip_suffix('%').unwrap_or(value)),
        Some(("nr_blocks" | "nr_inodes", value)) => is_amount(value),
        Some(("mode", value)) => is_mode(value),
        Some(("uid" | "gid", value)) => is_digits(value) && value.parse::<u32>().is_ok(),
        Some(("mpol", value)) => !value.is_empty(),
        Some(("huge", value)) => ["never", "always", "within_size", "advise"].contains(&value),
        _ => false,
    }
}

/// A number as the kernel's memparse() reads it: `64m`.
fn is_amount(value: &str) -> bool {
    let digits = value.strip_suffix(|c: char| "kmgtKMGT".contains(c)).unwrap_or(value);
    is_digits(digits) && digits.parse::<u64>().is_ok()
}

fn is_digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// Permission bits in octal.
pub fn is_mode(value: &str) -> bool {
    is_digits(value) && u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tmpfs_does_not_know_is_refused() {
        let all = "size=64m,mode=1777,uid=1000,gid=0,nr_inodes=4k,noexec,nosuid,rw";
        assert_eq!(options(all).unwrap().join(","), all);
        assert!(options("").unwrap().is_empty() && options("size=50%").is_ok() && options("huge=never").is_ok());
        for wrong in [
            "foo",
            "size=abc",
            "size=",
            "size=1x",
            "size=-1",
            "mode=abc",
            "mode=99999",
            "mode=8",
            "uid=abc",
            "uid=-1",
            "remount",
            "bind",
            "ro,",
            ",",
            "size",
            "huge=yes",
        ] {
            assert!(options(wrong).unwrap_err().contains("invalid tmpfs option"), "{wrong}");
        }
    }
}
