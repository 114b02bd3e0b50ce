// SPDX-License-Identifier: Apache-2.0
//! `--filter` of events, by Docker's rules: ids and names of objects by their beginning, the rest as a whole.

use crate::error::Result;
use crate::filter::{Filters, label};
use kelp_shim::events::Event;

/// Docker's keys. There are no events of a daemon's, a swarm's or a plugin's objects here.
const KEYS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

const TYPES: [&str; 11] =
    ["builder", "config", "container", "daemon", "image", "network", "node", "plugin", "secret", "service", "volume"];

/// Docker's actions. A misspelt one would wait for ever, or show nothing.
const ACTIONS: [&str; 43] = [
    "attach",
    "commit",
    "connect",
    "copy",
    "create",
    "delete",
    "destroy",
    "detach",
    "die",
    "disable",
    "disconnect",
    "enable",
    "exec_create",
    "exec_detach",
    "exec_die",
    "exec_start",
    "export",
    "health_status",
    "import",
    "install",
    "kill",
    "load",
    "mount",
    "oom",
    "pause",
    "prune",
    "pull",
    "push",
    "reload",
    "remove",
    "rename",
    "resize",
    "restart",
    "save",
    "start",
    "stop",
    "tag",
    "top",
    "unmount",
    "unpause",
    "untag",
    "update",
    "upgrade",
];

/// What follows a colon is the command of an exec, or a state of health.
fn action(text: &str) -> std::result::Result<(), String> {
    let verb = text.split_once(':').map_or(text, |(verb, _)| verb);
    match ACTIONS.contains(&verb) {
        true => Ok(()),
        false => Err(format!("there is no event {text:?}; known are {}", ACTIONS.join(", "))),
    }
}

/// Reads them; values that no event can have are errors.
pub fn parse(texts: &[String]) -> Result<Filters> {
    let filters = Filters::parse(texts, &KEYS)?;
    filters.check_words("type", &TYPES)?;
    filters.check_words("scope", &["local", "swarm"])?;
    filters.check("event", action)?;
    Ok(filters)
}

/// Whether an event is asked for.
pub fn holds(filters: &Filters, event: &Event) -> bool {
    filters.all(|key, value| match key {
        "type" => event.kind == value,
        "scope" => event.scope == value,
        "event" => is_action(&event.action, value),
        "label" => label(&event.actor.attributes, value),
        "image" => is_image(event, value),
        object => event.kind == object && begins(event, value),
    })
}

/// `exec_create: sh -c true` is meant by `exec_create` too, and `health_status: healthy` by `health_status`.
fn is_action(action: &str, wanted: &str) -> bool {
    action == wanted || action.split_once(':').is_some_and(|(verb, _)| verb == wanted)
}

fn begins(event: &Event, wanted: &str) -> bool {
    let name = event.actor.attributes.get("name");
    event.actor.id.starts_with(wanted) || name.is_some_and(|name| name.starts_with(wanted))
}

/// The image itself, or a container's, with or without its tag.
fn is_image(event: &Event, wanted: &str) -> bool {
    let name = match event.kind.as_str() {
        "container" => event.actor.attributes.get("image"),
        "image" => event.actor.attributes.get("name"),
        _ => return false,
    };
    let own = Some(&event.actor.id).filter(|_| event.kind == "image");
    own.into_iter().chain(name).any(|name| name == wanted || without_tag(name) == wanted)
}

fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn event(kind: &str, action: &str, id: &str, pairs: &[(&str, &str)]) -> Event {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Event::now(kind, action, id, pairs.iter().map(own).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn filters_hold_as_dockers_do() {
        let exec = event(
            "container",
            "exec_create: sh -c x:y",
            "abcdef",
            &[("image", "reg:5000/app:v1"), ("name", "web"), ("tier", "front")],
        );
        let pull = event("image", "pull", "busybox:latest", &[("name", "busybox")]);
        for (event, texts, expected) in [
            (&exec, &["event=exec_create"][..], true),
            (&exec, &["event=exec_die"], false),
            (&exec, &["container=abc"], true),
            (&exec, &["container=we"], true),
            (&exec, &["container=db"], false),
            (&exec, &["container=db", "container=web"], true),
            (&exec, &["image=reg:5000/app"], true),
            (&exec, &["image=reg:5000/app:v1"], true),
            (&exec, &["image=reg"], false),
            (&exec, &["label=tier=front"], true),
            (&exec, &["label=tier", "label=absent"], false),
            (&exec, &["type=container", "scope=local"], true),
            (&exec, &["type=image"], false),
            (&pull, &["image=busybox"], true),
            (&pull, &["container=busybox"], false),
            (&pull, &["event=pull", "event=push"], true),
        ] {
            let owned: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(holds(&parse(&owned).unwrap(), event), expected, "{texts:?}");
        }
        assert!(parse(&["type=containers".to_owned()]).is_err());
        assert!(parse(&["event=dye".to_owned()]).unwrap_err().to_string().contains("no event"));
        assert!(parse(&["event=health_status: healthy".to_owned()]).is_ok());
        assert!(parse(&["evnt=die".to_owned()]).unwrap_err().to_string().contains("did you mean event?"));
    }
}
