// SPDX-License-Identifier: Apache-2.0
//! What layers become on disk, against what `umoci unpack` makes of the same image, file by file.
//!
//! Runs `kelp bundle` as root and as an unprivileged user; umoci always as root, with the user's id map.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kelp_tests::{
    Compression, Entry, File, Image, Kind, Tree, Who, World, claims, debian_layer, differences, layer, tree,
};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

claims!(as_root, as_user:
    a_debian_image_comes_out_as_umoci_unpacks_it,
    every_format_of_gnu_tar_comes_out_as_umoci_unpacks_it,
    any_layers_come_out_as_umoci_unpacks_them,
);

/// What umoci makes of the image in a layout, seen from the host.
fn by_umoci(w: &World, layout: &Path, maps: &[String]) -> Tree {
    let bundle = w.dir().join("by-umoci");
    let image = format!("{}:latest", layout.display());
    let output = Command::new("umoci").args(["unpack", "--image", &image]).args(maps).arg(&bundle).output().unwrap();
    assert!(output.status.success(), "umoci: {}", String::from_utf8_lossy(&output.stderr));
    let made = looked_at(&bundle.join("rootfs"));
    fs::remove_dir_all(bundle).unwrap();
    made
}

/// What kelp makes of it.
fn by_kelp(w: &World, layout: &Path) -> Tree {
    w.kelp(["load", "-q", &layout.to_string_lossy()]).limit(120).ok();
    let bundle = w.dir().join("by-kelp");
    w.kelp(["bundle", "latest", &bundle.to_string_lossy()]).limit(120).ok();
    let made = looked_at(&bundle.join("rootfs"));
    fs::remove_dir_all(bundle).unwrap();
    w.kelp(["rmi", "latest"]).ok();
    made
}

/// A file capability says in whose user namespace it counts; what it grants is compared.
fn looked_at(root: &Path) -> Tree {
    let mut all = tree(root, &|name| name == "security.selinux" || name.starts_with("user.overlay."));
    for file in all.values_mut() {
        if let Some(value) = file.xattrs.get_mut("security.capability") {
            *value = value.get(4..20).unwrap_or_default().to_vec();
        }
    }
    all
}

fn compare(w: &World, layout: &Path) -> Vec<String> {
    compare_both(w, layout, layout)
}

fn compare_both(w: &World, ours: &Path, theirs: &Path) -> Vec<String> {
    let (maps, ours) = (umoci_maps(w), by_kelp(w, ours));
    let mut theirs = by_umoci(w, theirs, &maps);
    if w.who() == Who::User {
        // A user may not make devices: they are left out, and counted.
        theirs.retain(|_, file: &mut File| !file.kind.contains("device"));
    }
    differences(&ours, &theirs)
}

/// The user's ids as kelp maps them: himself, then his range.
fn umoci_maps(w: &World) -> Vec<String> {
    if w.who() == Who::Root {
        return Vec::new();
    }
    let name = std::env::var("KELP_TEST_USER").unwrap_or_else(|_| "kelp-test".into());
    let ranges = |kind: &str, own: u32| {
        let mut inside = 1;
        let mut maps = vec![format!("--{kind}-map=0:{own}:1")];
        for line in fs::read_to_string(format!("/etc/sub{kind}")).unwrap().lines() {
            if let [user, first, count] = line.split(':').collect::<Vec<_>>()[..]
                && user == name
            {
                maps.push(format!("--{kind}-map={inside}:{first}:{count}"));
                inside += count.parse::<u32>().unwrap();
            }
        }
        maps
    };
    [ranges("uid", w.uid()), ranges("gid", w.gid())].concat()
}

fn can_compare(w: &World) -> bool {
    let installed = Path::new("/usr/bin/umoci").exists();
    if !installed {
        w.skip("umoci is not installed");
    } else if !rustix::process::geteuid().is_root() {
        w.skip("umoci gives owners as root only");
    }
    installed && rustix::process::geteuid().is_root()
}

fn a_debian_image_comes_out_as_umoci_unpacks_it(w: &World) {
    let base = match debian_layer() {
        Ok(base) => base,
        Err(reason) => return w.skip(&reason),
    };
    if !can_compare(w) {
        return;
    }
    let file = |path: &str, text: &str| Entry::new(path, Kind::File(text.into()));
    let second = layer(&[
        file("etc/.wh.debian_version", ""),
        file("usr/share/doc/.wh..wh..opq", ""),
        file("usr/share/doc/new", "x"),
        file("etc/motd", "changed").owner(33, 34).mode(0o2750),
        Entry::new("etc/tied", Kind::HardLink("etc/passwd".into())),
        Entry::new("srv/device", Kind::Device(1, 3)).mode(0o666),
    ]);
    let image = Image::new(vec![base, second]).compression(Compression::Plain);
    let layout = image.layout(w, "layout", "latest");
    let different = compare(w, &layout);
    // Folders that only a whiteout or a new file changed have the time of that change in umoci's tree.
    let different: Vec<String> = different.into_iter().filter(|line| !is_touched(line)).collect();
    assert_eq!(different, Vec::<String>::new());
}

/// Folders of the lower layer of which the second layer has an entry below, but none of their own.
fn is_touched(line: &str) -> bool {
    ["etc:", "srv:", "usr/share/doc:"].iter().any(|folder| line.starts_with(folder))
}

fn every_format_of_gnu_tar_comes_out_as_umoci_unpacks_it(w: &World) {
    if !can_compare(w) {
        return;
    }
    let source = w.dir().join("source");
    let script = r#"
        mkdir -p "$1/folder" && cd "$1" && umask 022
        echo content >file; ln file hard; ln -s file soft; ln -s "$(printf 'x%.0s' $(seq 150))" long-link
        mkfifo pipe; mknod null c 1 3; chmod 1777 folder; echo x >folder/setuid; chmod 4711 folder/setuid
        echo long >"$(printf 'n%.0s' $(seq 200))"; d=$(printf 'd%.0s' $(seq 90)); mkdir -p "$d/$d/$d"; echo deep >"$d/$d/$d/file"
        ln "$d/$d/$d/file" "$d/$d/$d/tied"
        dd if=/dev/zero of=sparse bs=4096 seek=200 count=1 2>/dev/null; echo end >>sparse; truncate -s 4M hollow
        { head -c 100000 /dev/urandom; } >sparse-2; truncate -s 900000 sparse-2; echo tail >>sparse-2
        setfattr -n user.color -v green file; setfattr -n user.shape -v round folder; chown 33:34 file; chown -h 1000:1000 soft
        touch -d '2001-02-03 04:05:06.123456789' file; touch -h -d '1999-01-01' soft; touch -d '@0' pipe
    "#;
    let made = Command::new("sh").args(["-c", script, "sh"]).arg(&source).output().unwrap();
    if !made.status.success() {
        return w.skip(&format!("no source tree: {}", String::from_utf8_lossy(&made.stderr).trim()));
    }
    for format in [
        "--format=gnu",
        "--format=posix",
        "--format=gnu --sparse",
        "--format=posix --sparse --xattrs",
        "--format=posix --sparse --sparse-version=0.0",
        "--format=posix --sparse --sparse-version=0.1",
        "--format=oldgnu",
    ] {
        let tar = w.dir().join("layer.tar");
        let line = format!("tar -C {} {format} --sort=name --numeric-owner -cf {} .", source.display(), tar.display());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
        let packed = fs::read(&tar).unwrap();
        let plain = match format {
            // umoci does not know GNU's own sparse files: it gets the same tree without.
            "--format=gnu --sparse" => {
                let line = line.replace("--sparse", "");
                assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
                fs::read(&tar).unwrap()
            }
            _ => packed.clone(),
        };
        let ours = Image::new(vec![packed.clone()]).layout(w, "layout", "latest");
        let theirs = Image::new(vec![plain]).layout(w, "layout-of-umoci", "latest");
        assert_eq!(compare_both(w, &ours, &theirs), Vec::<String>::new(), "{format}");
        fs::remove_dir_all(ours).unwrap();
        fs::remove_dir_all(theirs).unwrap();
        if format.contains("sparse") {
            hollow_files_stay_hollow(w, packed);
        }
    }
}

fn hollow_files_stay_hollow(w: &World, tar: Vec<u8>) {
    let layout = Image::new(vec![tar]).layout(w, "layout", "latest");
    w.kelp(["load", "-q", &layout.to_string_lossy()]).ok();
    let bundle = w.dir().join("hollow");
    w.kelp(["bundle", "latest", &bundle.to_string_lossy()]).ok();
    let stat = fs::metadata(bundle.join("rootfs/hollow")).unwrap();
    assert!(
        stat.len() == 4 << 20 && stat.blocks() * 512 < 1 << 20,
        "{} bytes take {} blocks",
        stat.len(),
        stat.blocks()
    );
    fs::remove_dir_all(bundle).unwrap();
    fs::remove_dir_all(layout).unwrap();
    w.kelp(["rmi", "latest"]).ok();
}

/// An entry of a generated layer.
#[derive(Clone, Debug)]
struct Made {
    name: String,
    what: What,
    mode: u32,
    owner: (u32, u32),
    mtime: (u32, u32),
    xattr: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum What {
    File(Vec<u8>),
    Symlink(String),
    HardLink(usize),
    Fifo,
    Device(u32),
    Whiteout,
}

/// Names of which many are the same, in folders that every layer has; some too long for a header.
fn a_name() -> impl Strategy<Value = String> {
    let folder = prop_oneof![Just(""), Just("a/"), Just("a/b/"), Just("c/")];
    let base = prop_oneof![
        8 => (0..8u8).prop_map(|n| format!("n{n}")),
        1 => (100..200usize).prop_map(|n| "long-".to_owned() + &"x".repeat(n)),
        1 => Just("umlaut-ä ö".to_owned()),
    ];
    (folder, base).prop_map(|(folder, base)| format!("{folder}{base}"))
}

fn an_entry() -> impl Strategy<Value = Made> {
    let what = prop_oneof![
        6 => vec(any::<u8>(), 0..2000).prop_map(What::File),
        2 => a_name().prop_map(|target| What::Symlink(format!("/{target}"))),
        2 => (0..20usize).prop_map(What::HardLink),
        1 => Just(What::Fifo),
        1 => (1..9u32).prop_map(What::Device),
        1 => Just(What::Whiteout),
    ];
    let owner = (prop_oneof![Just(0u32), 1..1000u32, 1000..65000u32], 0..65000u32);
    let xattr = proptest::option::weighted(0.2, vec(any::<u8>(), 1..40));
    let mtime = (0..2_000_000_000u32, prop_oneof![3 => Just(0u32), 1 => 0..1_000_000_000u32]);
    (a_name(), what, 0..0o10000u32, owner, mtime, xattr).prop_map(|(name, what, mode, owner, mtime, xattr)| Made {
        name,
        what,
        // Its owner can read it: the test must, too, when it runs as nobody special.
        mode: mode | 0o400,
        owner,
        mtime,
        xattr,
    })
}

/// A layer with the folders first, then what was generated. A hard link's target is an earlier file of the same layer.
fn generated(entries: &[Made], is_first: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for folder in ["./", "a/", "a/b/", "c/"] {
        let entry = Entry::new(folder, Kind::Folder).owner(7, 8);
        bytes.extend_from_slice(&without_end(layer(&[entry])));
    }
    let mut files: Vec<&str> = Vec::new();
    for made in entries {
        let mut header = tar::Header::new_ustar();
        let mut content: &[u8] = &[];
        let mut name = made.name.clone();
        let mut link = String::new();
        match &made.what {
            What::File(bytes) => content = bytes,
            What::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                link.clone_from(target);
            }
            What::HardLink(number) => {
                let others: Vec<&&str> = files.iter().filter(|file| **file != name).collect();
                let Some(target) = others.get(number % others.len().max(1)) else { continue };
                header.set_entry_type(tar::EntryType::Link);
                link = (**target).to_owned();
            }
            What::Fifo => header.set_entry_type(tar::EntryType::Fifo),
            What::Device(minor) => {
                header.set_entry_type(tar::EntryType::Char);
                header.set_device_major(1).unwrap();
                header.set_device_minor(*minor).unwrap();
            }
            // A whiteout counts against the layers below, which the first one has not.
            What::Whiteout if is_first || entries.iter().filter(|other| other.name == name).count() > 1 => continue,
            What::Whiteout => {
                let at = name.rfind('/').map_or(0, |slash| slash + 1);
                name.insert_str(at, ".wh.");
            }
        }
        files.retain(|file| *file != made.name);
        if matches!(made.what, What::File(_)) {
            files.push(&made.name);
        }
        header.set_mode(made.mode);
        header.set_uid(made.owner.0.into());
        header.set_gid(made.owner.1.into());
        header.set_mtime(made.mtime.0.into());
        header.set_size(content.len() as u64);
        bytes.extend(records(made, &name, &link));
        let old = header.as_old_mut();
        old.name.iter_mut().zip(name.bytes()).for_each(|(field, byte)| *field = byte);
        old.linkname.iter_mut().zip(link.bytes()).for_each(|(field, byte)| *field = byte);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn without_end(mut tar: Vec<u8>) -> Vec<u8> {
    tar.truncate(tar.len() - 1024);
    tar
}

/// `cap_net_bind_service+ep`, in the second version of the kernel's form: linux/capability.h `vfs_cap_data`.
const NET_BIND_SERVICE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What the header has no place for.
fn records(made: &Made, name: &str, link: &str) -> Vec<u8> {
    let (mtime, mut records) = (format!("{}.{:09}", made.mtime.0, made.mtime.1), Vec::new());
    if name.len() > 100 || !name.is_ascii() {
        records.push(("path", name.as_bytes()));
    }
    if link.len() > 100 || !link.is_ascii() {
        records.push(("linkpath", link.as_bytes()));
    }
    if made.mtime.1 != 0 {
        records.push(("mtime", mtime.as_bytes()));
    }
    if let (Some(value), What::File(_)) = (&made.xattr, &made.what) {
        records.push(("SCHILY.xattr.user.some", value));
        if value.len() % 2 == 0 {
            records.push(("SCHILY.xattr.security.capability", &NET_BIND_SERVICE));
        }
    }
    if records.is_empty() {
        return Vec::new();
    }
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions(records).unwrap();
    without_end(builder.into_inner().unwrap())
}

fn any_layers_come_out_as_umoci_unpacks_them(w: &World) {
    if !can_compare(w) {
        return;
    }
    let config = Config { cases: 24, failure_persistence: None, max_shrink_iters: 40, ..Config::default() };
    let layers = (vec(an_entry(), 0..25), vec(an_entry(), 0..15));
    let judged = TestRunner::new(config).run(&layers, |(first, second)| {
        let image = Image::new(vec![generated(&first, true), generated(&second, false)]);
        let layout: PathBuf = image.layout(w, "layout", "latest");
        let different = compare(w, &layout);
        fs::remove_dir_all(layout).unwrap();
        match different.is_empty() {
            true => Ok(()),
            false => Err(TestCaseError::fail(different.join("\n"))),
        }
    });
    if let Err(error) = judged {
        panic!("ours, then umoci's: {error}");
    }
}
