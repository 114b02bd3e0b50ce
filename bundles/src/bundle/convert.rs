// SPDX-License-Identifier: Apache-2.0
//! The image's part of a runtime configuration.
//!
//! Spec: image-spec conversion.md, section by section.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process, Spec, User};

use super::Options;
use crate::config::ImageConfig;
use crate::error::Result;
use crate::idmap::IdMap;
use crate::process::{self, Defaults, Overrides};
use crate::stack::LayerStack;

/// A configuration, and what it needs or leaves out.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The configuration. Its mounts are the kernel's; root filesystem and volumes are added by who makes them.
    pub spec: Spec,
    /// `Config.Volumes`: folders with data of their own.
    pub volumes: Vec<String>,
    /// What of the image is left out, and why: a sentence each.
    pub omitted: Vec<String>,
}

/// Annotations upon which a runtime acts: hooks and handlers of crun, properties of runc's systemd driver, and our own. An
/// image must not set them (conversion.md "Annotations", last paragraphs).
const UNSAFE: [&str; 4] = ["run.oci.", "org.systemd.property.", "io.katacontainers.", "dev.kelp."];

/// Puts the image's part into `spec`.
pub(super) fn apply(
    config: &ImageConfig,
    layers: &LayerStack,
    mut spec: Spec,
    map: &IdMap,
    options: &Options,
) -> Result<Converted> {
    let mut defaults = process::defaults(config, layers, &Overrides::default())?;
    let mut omitted = choose_groups(config, map, &mut defaults);
    let (annotations, labels) = annotations(config, &defaults);
    omitted.extend(labels.iter().map(|key| format!("the label {key} is no annotation: runtimes would act upon it")));
    spec.set_process(Some(process(&defaults, &options.capabilities)));
    spec.set_annotations((!annotations.is_empty()).then_some(annotations));
    Ok(Converted { spec, volumes: defaults.volumes, omitted })
}

/// “Verbatim Fields” and `Config.User`.
fn process(defaults: &Defaults, capabilities: &Capabilities) -> Process {
    let mut user = User::default();
    let groups = defaults.additional_gids.clone();
    user.set_uid(defaults.uid).set_gid(defaults.gid).set_additional_gids((!groups.is_empty()).then_some(groups));
    let mut process = Process::default();
    process
        .set_terminal(None)
        .set_user(user)
        .set_args(Some(defaults.args.clone()))
        .set_env(Some(defaults.env.clone()))
        .set_cwd(PathBuf::from(&defaults.cwd))
        .set_capabilities(Some(rights(defaults.uid, capabilities)))
        .set_rlimits(None)
        // Programs that are setuid root work as they would on a machine of their own.
        .set_no_new_privileges(Some(false));
    process
}

/// “The converter SHOULD NOT modify additionalGids if the value of user is numeric or if Config.User specifies a group.”
/// The user's own group is among them all the same: without it, a process could drop a group that denies it something
/// (CVE-2022-36109).
fn choose_groups(config: &ImageConfig, map: &IdMap, defaults: &mut Defaults) -> Vec<String> {
    let user = config.run().user.unwrap_or_default();
    let is_plain_name = !user.contains(':') && user.parse::<u32>().is_err();
    if !is_plain_name {
        defaults.additional_gids = vec![defaults.gid];
    }
    if *map == IdMap::Host {
        return Vec::new();
    }
    // runc starts no ordinary user's container with additional groups, not even with the one it has anyway.
    let others: Vec<String> =
        defaults.additional_gids.iter().filter(|gid| **gid != defaults.gid).map(ToString::to_string).collect();
    defaults.additional_gids.clear();
    match others.is_empty() {
        true => Vec::new(),
        false => vec![format!("the user's additional groups ({}) are left out: runc refuses them", others.join(", "))],
    }
}

/// A user other than root has no rights until it executes a file that gives some: what the kernel does at exec.
fn rights(uid: u32, capabilities: &Capabilities) -> LinuxCapabilities {
    let effective = if uid == 0 { capabilities.clone() } else { Capabilities::new() };
    let mut rights = LinuxCapabilities::default();
    rights
        .set_bounding(Some(capabilities.clone()))
        .set_effective(Some(effective.clone()))
        .set_permitted(Some(effective))
        .set_inheritable(None)
        .set_ambient(None);
    rights
}

/// “Annotation Fields”, `Config.ExposedPorts` and `Config.Labels`, which win; and the labels that are left out.
fn annotations(config: &ImageConfig, defaults: &Defaults) -> (HashMap<String, String>, Vec<String>) {
    let text = |key: &str| config.rest.get(key).and_then(|value| value.as_str().map(str::to_owned));
    let list = |key: &str| {
        let values: Vec<&str> = config.rest.get(key)?.as_array()?.iter().filter_map(|v| v.as_str()).collect();
        Some(values.join(","))
    };
    let implicit = [
        ("os", Some(config.os.clone())),
        ("architecture", Some(config.architecture.clone())),
        ("variant", config.variant.clone()),
        ("os.version", text("os.version")),
        ("os.features", list("os.features")),
        ("author", text("author")),
        ("created", config.created.clone()),
        ("stopSignal", defaults.stop_signal.clone()),
        ("exposedPorts", Some(defaults.exposed_ports.join(","))),
    ];
    let named = |(key, value): (&str, Option<String>)| {
        value.filter(|text| !text.is_empty()).map(|text| (format!("org.opencontainers.image.{key}"), text))
    };
    let mut annotations: HashMap<String, String> = implicit.into_iter().filter_map(named).collect();
    let is_unsafe = |key: &&String| key.is_empty() || UNSAFE.iter().any(|prefix| key.starts_with(prefix));
    let omitted = defaults.labels.keys().filter(is_unsafe).cloned().collect();
    let kept = defaults.labels.iter().filter(|(key, _)| !is_unsafe(key));
    annotations.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
    (annotations, omitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::host;

    fn converted(config: &str) -> Converted {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "web:x:33:34:web:/srv/home:/bin/sh\n").unwrap();
        std::fs::write(dir.path().join("etc/group"), "disk:x:6:web\n").unwrap();
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","variant":"v8","created":"2020-01-01T00:00:00Z","author":"me",
                "os.features":["a","b"],"config":{config},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        );
        let layers = LayerStack::open(&[dir.path().to_owned()]).unwrap();
        let options = Options::default();
        let base = host::base(&IdMap::Host, &options).unwrap();
        apply(&serde_json::from_str(&text).unwrap(), &layers, base, &IdMap::Host, &options).unwrap()
    }

    #[test]
    fn every_field_goes_where_the_chapter_says() {
        let all = converted(
            r#"{"Entrypoint":["/entry"],"Cmd":["a","b"],"Env":["A=1"],"WorkingDir":"/srv","User":"web","StopSignal":"SIGINT",
               "ExposedPorts":{"80/tcp":{},"53/udp":{}},"Volumes":{"/data":{}},"Labels":{"l":"x","org.opencontainers.image.author":"other"}}"#,
        );
        let process = all.spec.process().as_ref().unwrap();
        assert_eq!(process.args().as_ref().unwrap(), &["/entry", "a", "b"]);
        assert_eq!(process.cwd(), std::path::Path::new("/srv"));
        let env = process.env().as_ref().unwrap();
        assert!(env.contains(&"A=1".to_owned()) && env.contains(&"HOME=/srv/home".to_owned()), "{env:?}");
        let user = process.user();
        assert_eq!((user.uid(), user.gid(), user.additional_gids().clone()), (33, 34, Some(vec![34, 6])));
        assert_eq!(all.volumes, ["/data"]);
        let annotations = all.spec.annotations().clone().unwrap();
        let said = |key: &str| annotations.get(&format!("org.opencontainers.image.{key}")).map(String::as_str);
        assert_eq!((said("os"), said("architecture"), said("variant")), (Some("linux"), Some("arm64"), Some("v8")));
        assert_eq!((said("created"), said("os.features")), (Some("2020-01-01T00:00:00Z"), Some("a,b")));
        assert_eq!((said("stopSignal"), said("exposedPorts")), (Some("SIGINT"), Some("53/udp,80/tcp")));
        assert_eq!(said("author"), Some("other"), "a label wins");
        assert_eq!(annotations["l"], "x");
    }

    #[test]
    fn a_numeric_user_or_a_named_group_gets_no_other_groups() {
        for (user, gid) in [("33", 34), ("web:6", 6), ("web:disk", 6)] {
            let all = converted(&format!(r#"{{"Cmd":["x"],"User":"{user}"}}"#));
            let user = all.spec.process().as_ref().unwrap().user().clone();
            assert_eq!((user.uid(), user.gid(), user.additional_gids().clone()), (33, gid, Some(vec![gid])));
        }
    }

    #[test]
    fn labels_upon_which_runtimes_act_are_left_out_and_told() {
        let all = converted(
            r#"{"Cmd":["x"],"Labels":{"run.oci.hooks.stdout":"/x","org.systemd.property.TasksMax":"1","fine":"1"}}"#,
        );
        assert!(
            all.omitted.len() == 2 && all.omitted[0].contains("org.systemd.property.TasksMax"),
            "{:?}",
            all.omitted
        );
        let annotations = all.spec.annotations().clone().unwrap();
        assert!(annotations.contains_key("fine") && !annotations.keys().any(|key| key.starts_with("run.oci.")));
    }
}
