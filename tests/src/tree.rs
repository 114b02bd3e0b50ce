// SPDX-License-Identifier: Apache-2.0
//! What a tree of files is, file by file, so that two of them can be compared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// All that can be told of a file from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// `file`, `folder`, `link to …`, `device 1:3`, `pipe`.
    pub kind: String,
    /// Permissions with setuid, setgid and sticky bit.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Of a regular file.
    pub content: Option<String>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The first name of the same file, in the order of names.
    pub same_as: Option<PathBuf>,
}

/// A tree by path, its root as the empty one.
pub type Tree = BTreeMap<PathBuf, File>;

/// Looks at a whole tree. Attributes whose name `skip` wants left out are.
pub fn tree(root: &Path, skip: &dyn Fn(&str) -> bool) -> Tree {
    let mut tree = Tree::new();
    let mut links = BTreeMap::new();
    add(root, Path::new(""), &mut tree, &mut links, skip);
    tree
}

fn add(
    root: &Path,
    at: &Path,
    tree: &mut Tree,
    links: &mut BTreeMap<(u64, u64), PathBuf>,
    skip: &dyn Fn(&str) -> bool,
) {
    let path = if at.as_os_str().is_empty() { root.to_owned() } else { root.join(at) };
    let stat = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let kind = stat.file_type();
    let device = || format!("{}:{}", rustix::fs::major(stat.rdev()), rustix::fs::minor(stat.rdev()));
    let described = match kind {
        _ if kind.is_dir() => "folder".to_owned(),
        _ if kind.is_file() => "file".to_owned(),
        _ if kind.is_symlink() => format!("link to {:?}", fs::read_link(&path).expect("a link")),
        _ if kind.is_char_device() => format!("character device {}", device()),
        _ if kind.is_block_device() => format!("block device {}", device()),
        _ if kind.is_fifo() => "pipe".to_owned(),
        _ => "socket".to_owned(),
    };
    let content = kind.is_file().then(|| hash(&path));
    let mut same_as = None;
    if !kind.is_dir() && stat.nlink() > 1 {
        let first = links.entry((stat.dev(), stat.ino())).or_insert_with(|| at.to_owned());
        same_as = (first != at).then(|| first.clone());
    }
    let file = File {
        kind: described,
        mode: stat.mode() & 0o7777,
        owner: (stat.uid(), stat.gid()),
        mtime: (stat.mtime(), stat.mtime_nsec()),
        content,
        xattrs: attributes(&path, skip),
        same_as,
    };
    tree.insert(at.to_owned(), file);
    if kind.is_dir() {
        let mut names: Vec<OsString> = fs::read_dir(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .map(|entry| entry.expect("a readable folder").file_name())
            .collect();
        names.sort();
        names.iter().for_each(|name| add(root, &at.join(name), tree, links, skip));
    }
}

fn hash(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(path: &Path, skip: &dyn Fn(&str) -> bool) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut found = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let text = String::from_utf8_lossy(name).into_owned();
        if skip(&text) {
            continue;
        }
        let mut value = vec![0u8; 1 << 16];
        let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value[..]).expect("listed");
        value.truncate(length);
        found.insert(text, value);
    }
    found
}

/// How two trees differ, one line for each path, at most twenty.
pub fn differences(one: &Tree, other: &Tree) -> Vec<String> {
    let paths: std::collections::BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
    let differ = paths.into_iter().filter(|path| one.get(*path) != other.get(*path));
    differ
        .take(20)
        .map(|path| format!("{}:\n    {:?}\n    {:?}", path.display(), one.get(path), other.get(path)))
        .collect()
}
