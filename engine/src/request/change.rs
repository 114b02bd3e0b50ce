// SPDX-License-Identifier: Apache-2.0
//! `--change INSTRUCTION` of `commit` and `import`, as far as the words are the engine's own: signals and users.

use super::{signal, user};

/// The text of an instruction; `kelp_bundles` reads it where the image is at hand.
pub fn parse(text: &str) -> Result<String, String> {
    let (word, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match word.to_ascii_uppercase().as_str() {
        // `kelp_bundles` says that there is nothing.
        _ if rest.is_empty() => {}
        "STOPSIGNAL" => drop(signal::parse(rest).map_err(|_| format!("invalid signal: {rest}"))?),
        "USER" => drop(user::parse(rest)?),
        _ => {}
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_signal_is_a_signal_and_a_user_a_user() {
        assert!(parse("STOPSIGNAL SIGINT").is_ok() && parse("CMD x").is_ok());
        assert!(parse("USER a:b").is_ok() && parse("USER a:b:c").is_err() && parse("USER").is_ok());
        assert_eq!(parse("stopsignal nap"), Err("invalid signal: nap".to_owned()));
    }
}
