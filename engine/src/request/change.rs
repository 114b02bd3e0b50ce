// SPDX-License-Identifier: Apache-2.0
//! `--change INSTRUCTION` of `commit` and `import`, as far as the words are the engine's own: signals.

use super::signal;

/// The text of an instruction; `kelp_bundles` reads it where the image is at hand.
pub fn parse(text: &str) -> Result<String, String> {
    let (word, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text, ""));
    match word.eq_ignore_ascii_case("STOPSIGNAL") && !rest.is_empty() && signal::parse(rest.trim()).is_err() {
        true => Err(format!("invalid signal: {}", rest.trim())),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_signal_is_a_signal() {
        assert!(parse("STOPSIGNAL SIGINT").is_ok() && parse("CMD x").is_ok());
        assert_eq!(parse("stopsignal nap"), Err("invalid signal: nap".to_owned()));
    }
}
