// SPDX-License-Identifier: Apache-2.0
//! `--user USER[:GROUP]`, `--workdir` and `--group-add`, as far as they can be judged without the image.

/// Reads a user: the names are looked up where the image's files are at hand.
pub fn parse(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [user] => number(user, "user")?,
        [user, group] => number(user, "user").and_then(|()| number(group, "group"))?,
        _ => return Err("expected USER[:GROUP], with one colon at most".to_owned()),
    }
    Ok(text.to_owned())
}

/// Reads a group.
pub fn group(text: &str) -> Result<String, String> {
    match text {
        "" => Err("the group has no name".to_owned()),
        _ => number(text, "group").map(|()| text.to_owned()),
    }
}

/// An error for a number that is no id. Docker takes those that fit into a signed number.
fn number(text: &str, what: &str) -> Result<(), String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match is_number && text.parse::<u32>().ok().and_then(|id| i32::try_from(id).ok()).is_none() {
        true => Err(format!("{text} is no id of a {what}: uids and gids must be in range 0-2147483647")),
        false => Ok(()),
    }
}

/// Reads a working folder; an empty one is the image's.
pub fn workdir(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("the working directory '{text}' is invalid, it needs to be an absolute path; write -w /{text}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_one_colon_and_numbers_that_are_ids() {
        for good in ["", "web", "web:web", "0:0", "2147483647", ":web", "web:", "a-b"] {
            assert_eq!(parse(good), Ok(good.to_owned()));
        }
        assert!(parse("a:b:c").unwrap_err().contains("USER[:GROUP]"));
        for wrong in ["2147483648", "99999999999", "-5", "0:-1", "web:4294967295"] {
            assert!(parse(wrong).unwrap_err().contains("0-2147483647"), "{wrong}");
        }
        assert!(group("").is_err() && group("-1").is_err() && group("audio").is_ok());
        assert!(workdir("here").is_err() && workdir("/here").is_ok() && workdir("").is_ok());
    }
}
