// SPDX-License-Identifier: Apache-2.0
//! Changes to an image's config in the words of a Dockerfile: `CMD ["sh"]`, `ENV A=1`, `EXPOSE 80`.

use serde_json::{Value, json};

use crate::config::RunConfig;
use crate::error::{Error, Kind, Result};

/// Changes `config` as the instruction says.
///
/// # Errors
/// [`Kind::BadInput`]: it is none of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR, or
/// malformed.
pub(crate) fn apply(config: &mut RunConfig, instruction: &str) -> Result<()> {
    let bad = |because: String| Error::new(Kind::BadInput, format!("changing the image by {instruction:?}"), because);
    let (word, rest) = instruction.trim().split_once(char::is_whitespace).unwrap_or((instruction.trim(), ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(bad("there is nothing after the first word".into()));
    }
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(program(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(program(rest)),
        "ENV" => pairs(rest).map_err(bad)?.into_iter().for_each(|(key, value)| set_variable(config, &key, &value)),
        "LABEL" => config.labels.get_or_insert_default().extend(pairs(rest).map_err(bad)?),
        "EXPOSE" => {
            let ports = rest.split_whitespace().map(|text| port(text).map(|port| (port, json!({}))));
            let ports = ports.collect::<std::result::Result<Vec<_>, _>>().map_err(bad)?;
            config.exposed_ports.get_or_insert_default().extend(ports);
        }
        "VOLUME" => {
            let paths = list(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            config.volumes.get_or_insert_default().extend(paths.into_iter().map(|path| (path, json!({}))));
        }
        "USER" => config.user = Some(rest.to_owned()),
        "WORKDIR" => config.working_dir = Some(below(config.working_dir.as_deref(), rest)),
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "ONBUILD" => match config.rest.entry("OnBuild".to_owned()).or_insert_with(|| json!([])) {
            Value::Array(triggers) => triggers.push(rest.into()),
            other => *other = json!([rest]),
        },
        _ => {
            let known = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR";
            return Err(bad(format!("{word} is no change that Kelp makes")).hint(format!("known are {known}")));
        }
    }
    Ok(())
}

/// `80/tcp` for `80`: a port, or a range of ports.
fn port(text: &str) -> std::result::Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let (numbers, protocol) = lower.split_once('/').unwrap_or((&lower, "tcp"));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let range = number(first).zip(number(last)).is_some_and(|(first, last)| first <= last);
    match range && ["tcp", "udp", "sctp"].contains(&protocol) {
        true => Ok(format!("{numbers}/{protocol}")),
        false => Err(format!("invalid containerPort: {text}; expected PORT[-PORT][/udp]")),
    }
}

/// `["a","b"]`, or a line for the shell.
fn program(text: &str) -> Vec<String> {
    list(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A relative working folder is below the one before.
fn below(before: Option<&str>, dir: &str) -> String {
    match dir.starts_with('/') {
        true => dir.to_owned(),
        false => format!("{}/{dir}", before.unwrap_or_default().trim_end_matches('/')),
    }
}

fn set_variable(config: &mut RunConfig, key: &str, value: &str) {
    let env = config.env.get_or_insert_default();
    let text = format!("{key}={value}");
    match env.iter_mut().find(|old| old.split_once('=').is_some_and(|(name, _)| name == key)) {
        Some(old) => *old = text,
        None => env.push(text),
    }
}

/// `A=1 B="x y"`, or the old `A all the rest`.
fn pairs(text: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let words = words(text)?;
    if !words.first().is_some_and(|word| word.contains('=')) {
        let (key, value) = text.split_once(char::is_whitespace).ok_or("there is no value")?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{word} is not KEY=VALUE")),
    };
    words.iter().map(pair).collect()
}

/// Words as the shell takes them apart: quotes and backslashes, nothing else.
fn words(text: &str) -> std::result::Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("a quotation mark is not closed".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_what_they_name() {
        let mut config = RunConfig { env: Some(vec!["A=0".into()]), ..RunConfig::default() };
        for line in [
            r#"CMD ["a", "b"]"#,
            "entrypoint run this",
            r#"ENV A=1 B="x y" C=it\'s"#,
            "ENV OLD the rest",
            "EXPOSE 80 53/UDP",
            r#"LABEL a=b "c d"=e"#,
            "VOLUME /one /two",
            "USER web:web",
            "WORKDIR /srv",
            "WORKDIR below",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN x",
        ] {
            apply(&mut config, line).unwrap();
        }
        assert_eq!(config.cmd.unwrap(), ["a", "b"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "run this"]);
        assert_eq!(config.env.unwrap(), ["A=1", "B=x y", "C=it's", "OLD=the rest"]);
        assert_eq!(config.exposed_ports.unwrap().into_keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.labels.unwrap()["c d"], "e");
        assert_eq!(config.volumes.unwrap().len(), 2);
        assert_eq!((config.user.as_deref(), config.working_dir.as_deref()), (Some("web:web"), Some("/srv/below")));
        assert_eq!((config.stop_signal.as_deref(), &config.rest["OnBuild"][0]), (Some("SIGINT"), &json!("RUN x")));
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for line in ["RUN x", "CMD", "ENV A", "ENV =x", "LABEL a='b", "EXPOSE web", "EXPOSE 0", "EXPOSE 80/foo", ""] {
            assert_eq!(apply(&mut RunConfig::default(), line).unwrap_err().kind(), Kind::BadInput, "{line}");
        }
    }
}
