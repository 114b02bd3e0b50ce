// SPDX-License-Identifier: Apache-2.0
//! `--filter` of containers, by Docker's rules: which there are, what they may say, and which containers they mean.

use super::find::{self, Container};
use super::record::Record;
use super::status::Status;
use crate::caller::Caller;
use crate::error::Result;
use crate::filter::{self, Filters, Patterns};
use crate::request::restart;
use kelp_bundles::Reference;
use kelp_network::Published;
use kelp_shim::Restart;

const KEYS: [&str; 16] = [
    "name",
    "id",
    "label",
    "status",
    "health",
    "is-task",
    "ancestor",
    "volume",
    "network",
    "exited",
    "restart-policy",
    "should-start-on-boot",
    "before",
    "since",
    "publish",
    "expose",
];

/// Docker's words for states. A container that is being removed is not listed here.
const STATES: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
const POLICIES: [&str; 4] = ["no", "always", "unless-stopped", "on-failure"];

/// What a container must be like.
#[derive(Debug)]
pub struct Filter {
    filters: Filters,
    names: Patterns,
    ids: Patterns,
    /// When the container of `before=` was made, and that of `since=`.
    before: Option<String>,
    since: Option<String>,
}

impl Filter {
    /// Reads filters. A key that is not known, and a value that no container can have, are errors.
    pub fn parse(caller: &Caller, texts: &[String]) -> Result<Self> {
        let filters = Filters::parse(texts, &KEYS)?;
        filters.check_words("status", &STATES)?;
        filters.check_words("health", &["starting", "healthy", "unhealthy", "none"])?;
        filters.check_words("restart-policy", &POLICIES)?;
        filters.check_truths(&["is-task", "should-start-on-boot"])?;
        let number = |value: &str| value.parse::<i32>().map(drop).map_err(|_| "expected an exit status".to_owned());
        filters.check("exited", number)?;
        let port = |value: &str| ports(value).map(drop).ok_or_else(|| "expected PORT[-PORT][/tcp|udp]".to_owned());
        filters.check("publish", port)?;
        filters.check("expose", port)?;
        let made = |key: &str| {
            let named = filters.first(key).map(|name| find::one(caller, name));
            named.transpose().map(|found| found.map(|container| container.record.created))
        };
        let (before, since) = (made("before")?, made("since")?);
        Ok(Self { names: filters.patterns("name")?, ids: filters.patterns("id")?, filters, before, since })
    }

    /// Whether containers that have ended are meant, without being asked for by `-a`.
    pub fn asks_for_the_ended(&self) -> bool {
        self.filters.has("status") || self.filters.has("exited")
    }

    /// Whether a container is meant.
    pub fn matches(&self, container: &Container, status: &Status) -> bool {
        let record = &container.record;
        self.fits_age(&record.created)
            && self.filters.all(|key, value| match key {
                // Docker's names begin with a slash.
                "name" => {
                    self.names.match_in(value, &record.name) || self.names.match_in(value, &format!("/{}", record.name))
                }
                "id" => self.ids.match_in(value, &record.id),
                "label" => filter::label(&record.labels, value),
                "status" => status.state.word() == value,
                "health" => value == "none",
                // A task is a swarm's.
                "is-task" => filter::truth(value) == Some(false),
                "ancestor" => is_of(record, value),
                "volume" => {
                    record.mounts.iter().any(|mount| mount.name.as_deref() == Some(value) || mount.destination == value)
                }
                "network" => record.network.to_string() == value,
                "restart-policy" => restart::shown(record.restart).0 == value,
                "should-start-on-boot" => filter::truth(value) == Some(should_start_on_boot(record.restart, status)),
                "publish" => published(status).iter().any(|it| names_port(value, it.host, &it.protocol.to_string())),
                "expose" => record.exposed.iter().any(|port| {
                    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                    number.parse().is_ok_and(|number| names_port(value, number, protocol))
                }),
                "exited" => status.exit.as_ref().is_some_and(|exit| exit.code.to_string() == value),
                // Of the whole list: see `fits_age`.
                _ => true,
            })
    }

    /// Both are RFC 3339 in UTC with as many digits, in which order is that of time.
    fn fits_age(&self, created: &str) -> bool {
        self.before.as_deref().is_none_or(|before| created < before)
            && self.since.as_deref().is_none_or(|since| created > since)
    }
}

/// The ports of the host that lead to it now.
fn published(status: &Status) -> &[Published] {
    match &status.start {
        Some(start) if status.state.is_alive() => &start.published,
        _ => &[],
    }
}

/// Whether a container was made of this image: by its name, with or without the usual tag, or by its id.
fn is_of(record: &Record, wanted: &str) -> bool {
    let id = record.image_id.trim_start_matches("sha256:");
    let name = |text: &str| text.parse::<Reference>().ok();
    let same_name = || name(wanted).is_some_and(|wanted| name(&record.image).as_ref() == Some(&wanted));
    let wanted_id = wanted.trim_start_matches("sha256:");
    record.image == wanted || (!wanted_id.is_empty() && id.starts_with(wanted_id)) || same_name()
}

/// `80`, `53/udp` or `80-90`: the first port, the last one, and the protocol.
fn ports(text: &str) -> Option<(u16, u16, &str)> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let known = matches!(protocol, "tcp" | "udp" | "sctp");
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (known && 0 < first && first <= last).then_some((first, last, protocol))
}

fn names_port(wanted: &str, port: u16, protocol: &str) -> bool {
    ports(wanted).is_some_and(|(first, last, of)| of == protocol && first <= port && port <= last)
}

/// Docker's rules for a daemon that starts, podman's word for them: a policy counts from the first start on, `always` also
/// after `stop`. `on-failure` is about programs that fail, not about machines that go down.
fn should_start_on_boot(policy: Restart, status: &Status) -> bool {
    let stopped = status.exit.as_ref().is_some_and(|exit| exit.stopped);
    match policy {
        Restart::No | Restart::OnFailure { .. } => false,
        Restart::Always => status.start.is_some(),
        Restart::UnlessStopped => status.start.is_some() && !stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::Start;
    use crate::container::status::State;

    #[test]
    fn a_boot_starts_what_docker_would() {
        let exit = |stopped| {
            let mut exit = kelp_shim::Exit::now(kelp_shim::Status { code: 1, signal: None, oom: false }, None);
            exit.stopped = stopped;
            exit
        };
        let never = Status { state: State::Created, pid: 0, exit: None, start: None, damage: None };
        let killed = Status { state: State::Dead, pid: 0, exit: None, start: Some(Start::default()), damage: None };
        let ended = Status { state: State::Exited, exit: Some(exit(false)), ..killed.clone() };
        let stopped = Status { state: State::Exited, exit: Some(exit(true)), ..killed.clone() };
        let started = |policy| [&never, &killed, &ended, &stopped].map(|status| should_start_on_boot(policy, status));
        assert_eq!(started(Restart::Always), [false, true, true, true]);
        assert_eq!(started(Restart::UnlessStopped), [false, true, true, false]);
        assert_eq!(started(Restart::OnFailure { max: 0 }), [false; 4]);
        assert_eq!(started(Restart::No), [false; 4]);
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        assert_eq!(ports("80"), Some((80, 80, "tcp")));
        assert_eq!(ports("53-60/udp"), Some((53, 60, "udp")));
        assert_eq!((ports("http"), ports("80/icmp"), ports("99999")), (None, None, None));
        assert!(names_port("80-90", 85, "tcp") && !names_port("80-90", 85, "udp"));
    }
}
