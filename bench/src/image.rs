// SPDX-License-Identifier: Apache-2.0
//! An image that every engine can load: one layer with a static busybox, as `docker save` writes it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::bundle::make_rootfs;
use crate::error::{Doing, Result};

/// What the engines call it.
pub(crate) const NAME: &str = "localhost/kelp-bench:latest";

/// Writes a docker-archive at `file`; `scratch` is a folder that does not exist yet.
pub(crate) fn write(file: &Path, scratch: &Path, busybox: &Path) -> Result<()> {
    make_rootfs(scratch, busybox)?;
    let layer = layer(scratch)?;
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
        "history": [{"created_by": "kelp-bench"}],
    })
    .to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    let manifest = json!([{"Config": config_name, "RepoTags": [NAME], "Layers": ["layer.tar"]}]).to_string();
    let out = File::create(file).doing(|| format!("cannot write {}", file.display()))?;
    let mut archive = tar::Builder::new(out);
    for (name, bytes) in
        [("manifest.json", manifest.as_bytes()), (&config_name, config.as_bytes()), ("layer.tar", &layer)]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).doing(|| format!("cannot write {}", file.display()))?;
    }
    archive.into_inner().and_then(|mut f| f.flush()).doing(|| format!("cannot finish {}", file.display()))?;
    fs::remove_dir_all(scratch).doing(|| format!("cannot remove {}", scratch.display()))
}

/// The tree at `root` as an uncompressed layer, everything owned by root.
fn layer(root: &Path) -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    layer.mode(tar::HeaderMode::Deterministic);
    layer.follow_symlinks(false);
    layer.append_dir_all("", root).doing(|| format!("cannot pack {}", root.display()))?;
    layer.into_inner().doing(|| format!("cannot pack {}", root.display()))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The image-spec's word for this machine.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
