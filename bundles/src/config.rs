// SPDX-License-Identifier: Apache-2.0
//! An image's configuration, as OCI and Docker write it.
//!
//! Spec: image-spec config.md. Ours and not oci-spec's type: Docker's `Healthcheck`, `Shell` and `OnBuild` are part of real
//! images, a map must come back in the order of its keys, and a `null` where a list belongs is common.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::platform::Platform;

/// The whole document. What we do not name is kept in `rest`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Go's name of the processor.
    #[serde(default)]
    pub architecture: String,
    /// Go's name of the kernel.
    #[serde(default)]
    pub os: String,
    /// The variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RunConfig>,
    /// The layers, uncompressed.
    pub rootfs: RootFs,
    /// How it was built, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<History>>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// The digests of the uncompressed layers, lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// One per layer.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<Digest>,
}

/// How to run it: defaults that a command line may replace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `user`, `uid`, `user:group`, … or empty for root.
    pub user: Option<String>,
    /// `80/tcp` → {}.
    pub exposed_ports: Option<BTreeMap<String, Value>>,
    /// `NAME=value`.
    pub env: Option<Vec<String>>,
    /// The program, with its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// More arguments, or the program where there is no entrypoint.
    pub cmd: Option<Vec<String>>,
    /// Folders with data of their own.
    pub volumes: Option<BTreeMap<String, Value>>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// Free text.
    pub labels: Option<BTreeMap<String, String>>,
    /// `SIGTERM`, `15`, `SIGRTMIN+3`.
    pub stop_signal: Option<String>,
    /// Docker's health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Value>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// One step of the build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// What it says it is for.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }

    /// How to run it; all empty where the image says nothing.
    pub fn run(&self) -> RunConfig {
        self.config.clone().unwrap_or_default()
    }
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<Digest>, D::Error> {
    Ok(Option::<Vec<Digest>>::deserialize(input)?.unwrap_or_default())
}

/// The chain ids of a stack of layers: each names a layer and all below it (config.md "Layer ChainID").
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_nulls_are_nothing_and_unknown_fields_survive() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Env":null,"Labels":null,"Volumes":null,
            "Entrypoint":null,"OnBuild":null,"Healthcheck":{"Test":["NONE"]},"Shell":["/bin/x"]},"rootfs":{"type":"layers","diff_ids":null},
            "history":null,"container":"abc"}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let run = config.run();
        assert_eq!((run.cmd, run.env, run.rest["Shell"][0].as_str()), (None, None, Some("/bin/x")));
        assert_eq!(config.rest["container"], "abc");
        assert!(config.rootfs.diff_ids.is_empty());
    }

    #[test]
    fn a_chain_id_covers_all_layers_below() {
        let ids = [Digest::of(b"a"), Digest::of(b"b")];
        let chain = chain_ids(&ids);
        assert_eq!(chain[0], ids[0]);
        assert_eq!(chain[1], Digest::of(format!("{} {}", ids[0], ids[1]).as_bytes()));
    }
}
