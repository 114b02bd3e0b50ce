// SPDX-License-Identifier: Apache-2.0
//! Images made in the tests: layers entry by entry, byte for byte if they shall be hostile, in every archive format.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::world::World;

/// What an entry of a layer is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A regular file with this content.
    File(Vec<u8>),
    /// A folder.
    Folder,
    /// A symbolic link to this target.
    Symlink(String),
    /// A hard link to this earlier entry.
    HardLink(String),
    /// A character device.
    Device(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry of a layer. Nothing about it is checked: a hostile name goes into the archive as it is.
#[derive(Clone, Debug)]
pub struct Entry {
    path: String,
    kind: Kind,
    mode: u32,
    owner: (u64, u64),
}

impl Entry {
    /// An entry of root's with the usual mode of its kind.
    pub fn new(path: &str, kind: Kind) -> Entry {
        let mode = if matches!(kind, Kind::Folder) { 0o755 } else { 0o644 };
        Entry { path: path.into(), kind, mode, owner: (0, 0) }
    }

    /// An executable or otherwise special mode.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Entry {
        self.mode = mode;
        self
    }

    /// Another owner.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Entry {
        self.owner = (uid, gid);
        self
    }

    fn header(&self) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        let (kind, size, link) = match &self.kind {
            Kind::File(content) => (tar::EntryType::Regular, content.len(), ""),
            Kind::Folder => (tar::EntryType::Directory, 0, ""),
            Kind::Symlink(target) => (tar::EntryType::Symlink, 0, target.as_str()),
            Kind::HardLink(target) => (tar::EntryType::Link, 0, target.as_str()),
            Kind::Device(..) => (tar::EntryType::Char, 0, ""),
            Kind::Fifo => (tar::EntryType::Fifo, 0, ""),
        };
        header.set_entry_type(kind);
        header.set_size(u64::try_from(size).expect("a length fits"));
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(1_600_000_000);
        if let Kind::Device(major, minor) = self.kind {
            header.set_device_major(major).expect("ustar has devices");
            header.set_device_minor(minor).expect("ustar has devices");
        }
        // Not set_path: it refuses what the tests of hostile archives need.
        let raw = header.as_old_mut();
        raw.name[..self.path.len()].copy_from_slice(self.path.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        header
    }
}

/// An uncompressed layer of these entries.
pub fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let content: &[u8] = if let Kind::File(content) = &entry.kind { content } else { &[] };
        archive.append(&entry.header(), content).expect("writing to memory");
    }
    archive.into_inner().expect("writing to memory")
}

/// How layers are stored in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    Plain,
    /// gzip, as Docker does it.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    fn apply(self, layer: &[u8]) -> Vec<u8> {
        match self {
            Compression::Plain => layer.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(layer).expect("writing to memory");
                encoder.finish().expect("writing to memory")
            }
            Compression::Zstd => zstd::encode_all(layer, 1).expect("writing to memory"),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Compression::Plain => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// An image in memory.
#[derive(Clone, Debug)]
pub struct Image {
    layers: Vec<Vec<u8>>,
    config: Value,
    architecture: String,
    variant: Option<String>,
    compression: Compression,
}

impl Image {
    /// An image of these uncompressed layers that runs a shell.
    pub fn new(layers: Vec<Vec<u8>>) -> Image {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config =
            json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]});
        Image { layers, config, architecture: architecture.into(), variant: None, compression: Compression::Gzip }
    }

    /// Sets a field of the image's configuration: `Env`, `Cmd`, `User` …
    #[must_use]
    pub fn config(mut self, field: &str, value: Value) -> Image {
        self.config[field] = value;
        self
    }

    /// Claims another architecture.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Image {
        self.architecture = architecture.into();
        self
    }

    /// Claims a variant of its architecture.
    #[must_use]
    pub fn variant(mut self, variant: &str) -> Image {
        self.variant = Some(variant.into());
        self
    }

    /// Stores the layers in another way.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Image {
        self.compression = compression;
        self
    }

    /// Adds a layer.
    #[must_use]
    pub fn with(mut self, layer: Vec<u8>) -> Image {
        self.layers.push(layer);
        self
    }

    fn configuration(&self) -> Vec<u8> {
        let ids: Vec<String> = self.layers.iter().map(|layer| digest(layer)).collect();
        let mut document = json!({
            "architecture": self.architecture, "os": "linux", "created": "2020-09-13T12:26:40Z",
            "config": self.config, "rootfs": {"type": "layers", "diff_ids": ids},
        });
        if let Some(variant) = &self.variant {
            document["variant"] = json!(variant);
        }
        document.to_string().into_bytes()
    }

    /// Writes an OCI image layout into a new folder of the world and returns its path.
    pub fn layout(&self, world: &World, name: &str, reference: &str) -> PathBuf {
        let blob = |content: &[u8], media_type: &str| {
            let digest = digest(content);
            world.write(format!("{name}/blobs/sha256/{}", &digest["sha256:".len()..]), content);
            json!({"mediaType": media_type, "digest": digest, "size": content.len()})
        };
        let config = blob(&self.configuration(), "application/vnd.oci.image.config.v1+json");
        let media_type = self.compression.media_type();
        let layers: Vec<Value> =
            self.layers.iter().map(|layer| blob(&self.compression.apply(layer), media_type)).collect();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        let mut descriptor = blob(manifest.to_string().as_bytes(), media_type);
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": reference});
        descriptor["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        if let Some(variant) = &self.variant {
            descriptor["platform"]["variant"] = json!(variant);
        }
        world.write(format!("{name}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        world.write(format!("{name}/index.json"), index.to_string());
        world.dir().join(name)
    }

    /// Writes an OCI image layout whose only name leads to a list of these images.
    pub fn list(images: &[Image], world: &World, name: &str, reference: &str) -> PathBuf {
        let entries = images.iter().map(|image| {
            let index = fs::read(image.layout(world, name, reference).join("index.json")).expect("it was just written");
            let mut index: Value = serde_json::from_slice(&index).expect("it is JSON");
            let mut entry = index["manifests"][0].take();
            entry["annotations"] = json!({});
            entry
        });
        let media_type = "application/vnd.oci.image.index.v1+json";
        let entries: Vec<Value> = entries.collect();
        let list = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).to_string();
        let digest = digest(list.as_bytes());
        world.write(format!("{name}/blobs/sha256/{}", &digest["sha256:".len()..]), &list);
        let annotations = json!({"org.opencontainers.image.ref.name": reference});
        let entry = json!({"mediaType": media_type, "digest": digest, "size": list.len(), "annotations": annotations});
        world.write(format!("{name}/index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string());
        world.dir().join(name)
    }

    /// Writes an oci-archive and returns its path.
    pub fn oci_archive(&self, world: &World, name: &str, reference: &str) -> PathBuf {
        let layout = self.layout(world, &format!("{name}.layout"), reference);
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all(".", &layout).expect("the layout was just written");
        world.write(name, archive.into_inner().expect("writing to memory"))
    }

    /// Writes a docker-archive, as `docker save` does, and returns its path.
    pub fn docker_archive(&self, world: &World, name: &str, reference: &str) -> PathBuf {
        let config = self.configuration();
        let config_name = format!("{}.json", &digest(&config)["sha256:".len()..]);
        let mut entries = vec![Entry::new(&config_name, Kind::File(config))];
        let mut names = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let folder = format!("layer-{number}");
            entries.push(Entry::new(&format!("{folder}/"), Kind::Folder));
            entries.push(Entry::new(&format!("{folder}/layer.tar"), Kind::File(self.compression.apply(layer))));
            names.push(format!("{folder}/layer.tar"));
        }
        let manifest = json!([{"Config": config_name, "RepoTags": [reference], "Layers": names}]);
        entries.push(Entry::new("manifest.json", Kind::File(manifest.to_string().into_bytes())));
        world.write(name, layer(&entries))
    }
}

/// `sha256:` and the hash of `content` in hexadecimal.
fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An image of one layer: busybox, its applets, the probe and the account files, owned by root.
pub fn busybox_image(world: &World) -> Image {
    let root = "image-root";
    if !world.dir().join(root).exists() {
        crate::minimal_rootfs(world, root);
    }
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.mode(tar::HeaderMode::Deterministic);
    append_tree(&mut archive, &world.dir().join(root), Path::new(""));
    Image::new(vec![archive.into_inner().expect("writing to memory")])
}

/// Adds a tree as root's, whoever made it. `HeaderMode::Deterministic` alone would drop the sticky bit of /tmp.
fn append_tree(archive: &mut tar::Builder<Vec<u8>>, root: &Path, below: &Path) {
    let mut names: Vec<PathBuf> = fs::read_dir(root.join(below))
        .expect("the tree was just made")
        .map(|entry| below.join(entry.expect("a readable folder").file_name()))
        .collect();
    names.sort();
    for name in names {
        let path = root.join(&name);
        let metadata = fs::symlink_metadata(&path).expect("the entry was just listed");
        if metadata.is_symlink() {
            archive.append_path_with_name(&path, &name).expect("writing to memory");
        } else if metadata.is_dir() {
            let mode = if name.ends_with("tmp") { 0o1777 } else { 0o755 };
            let entry = Entry::new(&format!("{}/", name.display()), Kind::Folder).mode(mode);
            archive.append(&entry.header(), std::io::empty()).expect("writing to memory");
            append_tree(archive, root, &name);
        } else {
            let mut file = File::open(&path).expect("the entry was just listed");
            archive.append_file(&name, &mut file).expect("writing to memory");
        }
    }
}

impl World {
    /// Loads an image into the store under this name.
    pub fn load(&self, image: &Image, reference: &str) {
        let archive = image.docker_archive(self, "tmp/image.tar", reference);
        self.kelp(["load", "-i", &archive.to_string_lossy()]).ok();
        fs::remove_file(archive).expect("the archive was just written");
    }

    /// Loads the busybox image as `busybox`.
    pub fn load_busybox(&self) {
        self.load(&busybox_image(self).compression(Compression::Plain), "busybox:latest");
    }
}
