// SPDX-License-Identifier: Apache-2.0
//! Layers onto disk, well-formed and not, in this process: as root with all owners, else with owners recorded.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::*;
use crate::at;
use crate::config::chain_ids;
use crate::progress::Quiet;
use crate::stack::LayerStack;

/// A tar under construction; names may be as bad as they like.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: EntryType, name: &str, link: &str, mode: u32, owner: (u64, u64), content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        if kind.is_character_special() || kind.is_block_special() {
            header.set_device_major(1).unwrap();
            header.set_device_minor(content.first().copied().map_or(3, u32::from)).unwrap();
            header.set_size(0);
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        if !(kind.is_character_special() || kind.is_block_special()) {
            self.0.extend_from_slice(content);
            self.0.resize(self.0.len().next_multiple_of(512), 0);
        }
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", 0o644, (0, 0), content.as_bytes())
    }

    fn folder(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, "", mode, (0, 0), b"")
    }

    fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, name, to, 0o777, (0, 0), b"")
    }

    fn hard_link(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Link, name, to, 0o644, (0, 0), b"")
    }

    fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions(records.iter().copied()).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        self.0.extend(bytes);
        self
    }

    fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_folder(&dir.path().join("layers/.ingest")).unwrap();
        Self { dir }
    }

    fn sources(&self, layers: &[Vec<u8>]) -> Vec<Source> {
        let ids: Vec<Digest> = layers.iter().map(|bytes| Digest::of(bytes)).collect();
        let sources = layers.iter().zip(&ids).zip(chain_ids(&ids));
        sources
            .map(|((bytes, id), chain_id)| {
                let blob = self.dir.path().join(id.hex());
                fs::write(&blob, bytes).unwrap();
                Source { blob, digest: id.clone(), size: bytes.len() as u64, diff_id: id.clone(), chain_id }
            })
            .collect()
    }

    fn try_unpack(&self, layers: &[Vec<u8>]) -> Result<Unpacked> {
        self.run(self.sources(layers))
    }

    fn run(&self, layers: Vec<Source>) -> Result<Unpacked> {
        self.run_from(Origin::Here, layers)
    }

    fn run_from(&self, origin: Origin, layers: Vec<Source>) -> Result<Unpacked> {
        let owners = if rustix::process::geteuid().is_root() { Owners::Exact } else { Owners::Recorded };
        let folder = self.dir.path().join("layers");
        run(&Unpack { folder, layers, origin, owners, limits: Limits::DEFAULT }, &Quiet)
    }

    fn unpack(&self, layers: &[Vec<u8>]) -> Vec<PathBuf> {
        self.try_unpack(layers).unwrap().lower
    }

    /// Nothing published, nothing left.
    fn is_empty(&self) -> bool {
        let layers = self.dir.path().join("layers");
        fs::read_dir(&layers).unwrap().count() == 1 && fs::read_dir(layers.join(".ingest")).unwrap().count() == 0
    }
}

fn whiteout_at(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

fn opaque(path: &Path) -> bool {
    at::is_opaque(at::open_root(path).unwrap().as_fd())
}

#[test]
fn modes_owners_times_links_and_attributes_come_out_right() {
    let world = World::new();
    let tar = Tar::default()
        .folder("bin/", 0o1777)
        .entry(EntryType::Regular, "bin/su", "", 0o4755, (0, 42), b"program")
        .hard_link("bin/su2", "bin/su")
        .symlink("sh", "bin/su")
        .entry(EntryType::Fifo, "pipe", "", 0o600, (7, 7), b"")
        .pax(&[("SCHILY.xattr.user.color", b"green"), ("mtime", b"1.5"), ("SCHILY.xattr.user.overlay.opaque", b"y")])
        .file("marked", "x")
        .bytes();
    let fs_dir = &world.unpack(&[tar])[0];
    let su = fs::metadata(fs_dir.join("bin/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.nlink(), su.mtime(), su.len()), (0o4755, 2, 1_000_000_000, 7));
    let bin = fs::metadata(fs_dir.join("bin")).unwrap();
    assert_eq!((bin.mode() & 0o7777, bin.mtime()), (0o1777, 1_000_000_000));
    assert!(fs::symlink_metadata(fs_dir.join("pipe")).unwrap().file_type().is_fifo());
    let marked = fs::metadata(fs_dir.join("marked")).unwrap();
    assert_eq!((marked.mtime(), marked.mtime_nsec()), (1, 500_000_000));
    let mut value = [0u8; 16];
    let n = rustix::fs::getxattr(fs_dir.join("marked"), "user.color", &mut value).unwrap();
    assert_eq!(&value[..n], b"green");
    assert!(rustix::fs::getxattr(fs_dir.join("marked"), "user.overlay.opaque", &mut value).is_err(), "ours alone");
    if rustix::process::geteuid().is_root() {
        assert_eq!((su.uid(), su.gid(), fs::symlink_metadata(fs_dir.join("pipe")).unwrap().uid()), (0, 42, 7));
    } else {
        let n = rustix::fs::getxattr(fs_dir.join("bin/su"), "user.kelp.owner", &mut value).unwrap();
        assert_eq!(&value[..n], b"0:42");
    }
}

#[test]
fn whiteouts_become_overlays_wherever_they_stand() {
    let world = World::new();
    let low = Tar::default()
        .folder("d/", 0o700)
        .file("d/a", "1")
        .file("gone", "1")
        .folder("new/", 0o755)
        .file("new/old", "1");
    let high = Tar::default()
        .file("d/.wh.a", "")
        .file(".wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/b", "2")
        .file(".wh.new", "")
        .folder("new/", 0o755)
        .folder("late/", 0o755)
        .file(".wh.late", "")
        .file("kept", "2")
        .file(".wh.kept", "")
        .file(".wh..wh.plnk", "");
    let lower = world.unpack(&[low.bytes(), high.bytes()]);
    let high = &lower[1];
    assert!(whiteout_at(&high.join("d/a")) && whiteout_at(&high.join("gone")));
    assert!(opaque(&high.join("opaque")) && opaque(&high.join("new")) && opaque(&high.join("late")));
    assert!(!opaque(&high.join("d")) && high.join("kept").is_file() && !high.join(".wh..wh.plnk").exists());
    let stack = LayerStack::open(&lower).unwrap();
    let read = |path| stack.read(path, 9).unwrap();
    assert_eq!(
        (read("/d/a"), read("/gone"), read("/new/old"), read("/opaque/b")),
        (None, None, None, Some(b"2".to_vec()))
    );
}

#[test]
fn what_a_layer_takes_for_granted_is_copied_up() {
    let world = World::new();
    let low = Tar::default()
        .folder("tmp/", 0o1777)
        .folder("usr/lib/", 0o750)
        .symlink("lib", "usr/lib")
        .file("usr/lib/target", "content");
    let high =
        Tar::default().file("tmp/new", "x").file("lib/added", "y").hard_link("tied", "lib/target").file("fresh/x", "z");
    let lower = world.unpack(&[low.bytes(), high.bytes()]);
    let high = &lower[1];
    assert_eq!(fs::metadata(high.join("tmp")).unwrap().mode() & 0o7777, 0o1777, "as below");
    assert_eq!(fs::metadata(high.join("fresh")).unwrap().mode() & 0o7777, 0o755);
    assert!(!high.join("lib").exists(), "the link below still shows");
    assert_eq!(fs::read_to_string(high.join("usr/lib/added")).unwrap(), "y");
    assert_eq!(fs::metadata(high.join("usr/lib")).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(fs::read_to_string(high.join("tied")).unwrap(), "content");
    assert_eq!(fs::metadata(high.join("tied")).unwrap().nlink(), 2);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let world = World::new();
    let tar = Tar::default()
        .folder("a/", 0o755)
        .file("a/x", "1")
        .file("a", "file now")
        .symlink("b", "a")
        .folder("b/", 0o711)
        .file("c", "1")
        .file("c", "2")
        .hard_link("c", "c")
        .bytes();
    let fs_dir = &world.unpack(&[tar])[0];
    assert_eq!(fs::read_to_string(fs_dir.join("a")).unwrap(), "file now");
    assert!(fs_dir.join("b").is_dir() && !fs_dir.join("b").is_symlink());
    assert_eq!(fs::read_to_string(fs_dir.join("c")).unwrap(), "2");
}

#[test]
fn no_entry_reaches_outside() {
    let outside = tempfile::tempdir().unwrap();
    let treasure = outside.path().join("treasure");
    fs::write(&treasure, "untouched").unwrap();
    fs::set_permissions(&treasure, fs::Permissions::from_mode(0o600)).unwrap();
    let there = outside.path().to_str().unwrap();
    let cases = [
        Tar::default().file("../escaped", "x"),
        Tar::default().file("a/../../escaped", "x"),
        Tar::default().symlink("out", there).file("out/escaped", "x"),
        Tar::default().symlink("out", there).folder("out/escaped/", 0o777),
        Tar::default().symlink("out", there).file("out/.wh.treasure", ""),
        Tar::default().symlink("out", there).file("out/.wh..wh..opq", ""),
        Tar::default().symlink("out", there).hard_link("got", "out/treasure"),
        Tar::default().hard_link("got", &format!("../../../../../../../..{there}/treasure")),
        Tar::default().symlink("l", &format!("{there}/treasure")).file("l", "overwritten"),
        Tar::default().symlink("l", &format!("{there}/treasure")).hard_link("h", "l").file("h", "overwritten"),
        Tar::default().symlink("one", "two").symlink("two", "..").file("one/escaped", "x"),
        Tar::default().symlink("p", "/proc/self/cwd").file("p/escaped", "x"),
        Tar::default().folder("d/", 0o755).symlink("d", there).file("d/escaped", "x"),
        Tar::default().file(".wh...", ""),
        Tar::default().file("..", "x"),
    ];
    for (i, tar) in cases.into_iter().enumerate() {
        let world = World::new();
        // Some are refused, some land inside: both are fine.
        let unpacked = world.try_unpack(&[tar.bytes()]);
        assert!(unpacked.is_ok() || world.is_empty(), "case {i}");
        if let Ok(unpacked) = unpacked {
            assert!(fs::read_to_string(unpacked.lower[0].join("got")).is_err(), "case {i}");
        }
        assert_eq!(fs::read_to_string(&treasure).unwrap(), "untouched", "case {i}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "case {i}");
        assert!(!world.dir.path().join("escaped").exists() && !world.dir.path().join("layers/escaped").exists());
    }
}

#[test]
fn a_link_between_layers_stays_inside() {
    let outside = tempfile::tempdir().unwrap();
    let there = outside.path().to_str().unwrap();
    let world = World::new();
    let low = Tar::default().symlink("out", there).symlink("up", "../../../../../../..");
    let high = Tar::default().file("out/new", "x").file("up/etc/passwd", "ours");
    let lower = world.unpack(&[low.bytes(), high.bytes()]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(lower[1].join(&there[1..]).join("new").exists());
    assert_eq!(fs::read_to_string(lower[1].join("etc/passwd")).unwrap(), "ours");
}

#[test]
fn lies_and_damage_leave_nothing() {
    let world = World::new();
    let good = Tar::default().file("a", "1").bytes();
    let mut lying = world.sources(&[good.clone(), Tar::default().file("b", "2").bytes()]);
    lying[1].diff_id = Digest::of(b"something else");
    let error = world.run(lying).unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput);
    assert!(error.advice().is_some() && world.is_empty());
    for end in [1, 511, 700, good.len() - 1] {
        let cut = good[..end].to_vec();
        let mut sources = world.sources(&[cut]);
        sources[0].diff_id = Digest::of(&good);
        assert!(world.run(sources).is_err() && world.is_empty(), "cut at {end}");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&good).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut sources = world.sources(&[gzip[..gzip.len() - 6].to_vec()]);
    sources[0].diff_id = Digest::of(&good);
    assert!(world.run(sources).is_err() && world.is_empty(), "a gzip without its end");
}

#[test]
fn a_bomb_is_stopped_by_its_size() {
    let mut zeros = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0u8; 1 << 20];
    (0..8).for_each(|_| zeros.write_all(&block).unwrap());
    let bomb = zeros.finish().unwrap();
    let error = pipeline::run(&bomb[..], 4 << 20, |mut chunks| {
        std::io::copy(&mut chunks, &mut std::io::sink()).doing(|| "reading the bomb")
    });
    assert_eq!(error.unwrap_err().kind(), Kind::TooBig);
}

#[test]
fn devices_are_made_or_counted() {
    let world = World::new();
    let tar = Tar::default().entry(EntryType::Char, "null", "", 0o666, (0, 0), b"\x03").bytes();
    let unpacked = world.try_unpack(&[tar]).unwrap();
    let made = fs::symlink_metadata(unpacked.lower[0].join("null")).is_ok();
    assert_eq!(unpacked.skipped_devices, u64::from(!made));
}

#[test]
fn a_hollow_file_has_its_size_even_if_the_map_ends_with_nothing() {
    let world = World::new();
    let tar =
        Tar::default().pax(&[("GNU.sparse.map", b"4096,0"), ("GNU.sparse.size", b"4096")]).file("hollow", "").bytes();
    let fs_dir = &world.unpack(&[tar])[0];
    assert_eq!(fs::metadata(fs_dir.join("hollow")).unwrap().len(), 4096);
}

#[test]
fn an_unpacked_layer_is_not_unpacked_again_and_leftovers_are_cleared() {
    let world = World::new();
    let tar = Tar::default().file("a", "1").bytes();
    let sources = world.sources(std::slice::from_ref(&tar));
    let left = world.dir.path().join("layers/.ingest").join(sources[0].chain_id.hex());
    fs::create_dir_all(left.join("fs/half")).unwrap();
    let first = world.run(sources.clone()).unwrap();
    assert!(!first.lower[0].join("half").exists());
    fs::remove_file(&sources[0].blob).unwrap();
    assert_eq!(world.run(sources).unwrap(), first, "the blob is not needed any more");
}

#[test]
fn several_at_once_share_the_work_wherever_blobs_come_from() {
    let world = World::new();
    let layers: Vec<Vec<u8>> = (0..4).map(|i| Tar::default().file("same", &"x".repeat(i * 100)).bytes()).collect();
    let sources = world.sources(&layers);
    let origin = |n: usize| if n.is_multiple_of(2) { Origin::Here } else { Origin::Registry };
    let unpack = |n: usize| world.run_from(origin(n), sources.clone()).unwrap();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|n| scope.spawn(move || unpack(n))).collect();
        let all: Vec<Unpacked> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(all.iter().all(|unpacked| *unpacked == all[0]));
    });
    assert_eq!(fs::read_dir(world.dir.path().join("layers/.ingest")).unwrap().count(), 0);
}
