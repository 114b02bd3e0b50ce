// SPDX-License-Identifier: Apache-2.0
//! `kelp manifest`: what a registry has under a name, as it stands there.

use crate::caller::Caller;
use crate::error::{Doing, Result};
use crate::output;
use clap::{Args, Subcommand};
use kelp_bundles::pull::{self, Options};
use kelp_bundles::{Digest, Reference, Store, registries};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Look at manifests and lists of images
#[derive(Debug, Args)]
pub(crate) struct Manifest {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show a manifest, or a list of them
    Inspect(Inspect),
}

/// Show a manifest, or a list of them
#[derive(Debug, Args)]
struct Inspect {
    /// debian, user/app:1.0, localhost:5000/app@sha256:…
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Show digests, too, and of a list each manifest
    #[arg(short, long)]
    verbose: bool,
    /// Do not check certificates, and do without TLS where there is none
    #[arg(long)]
    insecure: bool,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

/// Performs the command.
pub(crate) fn run(args: &Manifest, caller: &Caller) -> Result<ExitCode> {
    let Verb::Inspect(args) = &args.verb;
    let store = Store::open(&caller.places.store)?;
    let options = Options { verify: args.tls_verify && !args.insecure, ..Options::default() };
    let name = registries::complete(&args.image)?;
    let look = |name: &Reference| -> Result<Found> {
        let (digest, bytes) = pull::inspect(&store, name, &options)?;
        let document = serde_json::from_slice::<Value>(&bytes).map_err(std::io::Error::from);
        let document = document.doing(|| format!("cannot read the manifest of {}", name.familiar()))?;
        Ok(Found { digest, size: bytes.len(), document })
    };
    let found = look(&name)?;
    match (args.verbose, found.document["manifests"].as_array()) {
        (false, _) => output::json(&found.document)?,
        (true, None) => output::json(&found.described(&args.image, None))?,
        (true, Some(members)) => {
            let member = |descriptor: &Value| -> Result<Value> {
                let digest: Digest = descriptor["digest"].as_str().unwrap_or_default().parse()?;
                let name = name.with_digest(&digest);
                Ok(look(&name)?.described(&format!("{}@{digest}", args.image), descriptor.get("platform")))
            };
            output::json(&members.iter().map(member).collect::<Result<Vec<_>>>()?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A document of a registry.
struct Found {
    digest: Digest,
    size: usize,
    document: Value,
}

impl Found {
    /// As Docker shows it with `--verbose`.
    fn described(&self, name: &str, platform: Option<&Value>) -> Value {
        let media_type = self.document["mediaType"].as_str().unwrap_or("application/vnd.oci.image.manifest.v1+json");
        let mut descriptor = json!({ "mediaType": media_type, "digest": self.digest.to_string(), "size": self.size });
        if let Some(platform) = platform {
            descriptor["platform"] = platform.clone();
        }
        let kind = if media_type.contains(".docker.") { "SchemaV2Manifest" } else { "OCIManifest" };
        json!({ "Ref": name, "Descriptor": descriptor, kind: self.document })
    }
}
