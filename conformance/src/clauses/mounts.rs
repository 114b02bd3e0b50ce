// SPDX-License-Identifier: Apache-2.0
//! config.md, Mounts and Linux mount options.

use serde_json::{Value, json};

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, Need, ensure, same};
use crate::config::{add_mount, drop_mount, mount, set_options, steps, tmpfs};
use crate::facts::Mount;
use crate::trial::{Trial, broken, make_dir};

const MOUNTS: Chapter = Chapter::new(Document::Config, "Mounts");
const OPTIONS: Chapter = Chapter::new(Document::Config, "Linux mount options");

/// The sentence above the table of options.
const TABLE: &str = "Runtimes MUST/SHOULD/MAY implement the following option strings for Linux";

const NO_OPTIONS: Mutation = Mutation::Config(|c| set_options(c, "/m", &[]));
const NO_MOUNT: Mutation = Mutation::Config(|c| drop_mount(c, "/m"));
const BARE_BIND: Mutation = Mutation::Config(|c| set_options(c, "/m", &["bind"]));

pub(super) const CASES: &[Case] = &[
    MOUNTS.says(
        "mounts-in-order",
        "The runtime MUST mount entries in the listed order.",
        |t| {
            let facts = t.look(|c| {
                add_mount(c, mount("/m", "tmpfs", "first", &[]));
                add_mount(c, mount("/m/below", "tmpfs", "second", &[]));
                add_mount(c, mount("/m/below/lower", "tmpfs", "third", &[]));
            })?;
            let order: Vec<String> = facts.mounts()?.into_iter().map(|m| m.at).filter(|at| at.starts_with("/m")).collect();
            same("mounts", order, ["/m", "/m/below", "/m/below/lower"])
        },
        &[Mutation::Config(|c| if let Some(m) = c["mounts"].as_array_mut() { let n = m.len() - 3; m[n..].reverse(); })],
    ),
    MOUNTS.says(
        "mounts-later-covers-earlier",
        "The runtime MUST mount entries in the listed order.",
        |t| {
            let facts = t.look(|c| {
                add_mount(c, mount("/m", "tmpfs", "one", &["size=64k"]));
                add_mount(c, mount("/m", "tmpfs", "two", &["size=128k"]));
            })?;
            ensure(facts.mount("/m")?.has_super("size=128k"), || "the mount on top is not the one that was listed last".into())
        },
        &[Mutation::Config(|c| if let Some(m) = c["mounts"].as_array_mut() { let n = m.len() - 2; m[n..].reverse(); })],
    ),
    MOUNTS.says(
        "destination-relative",
        "For compatibility with old tools and configurations, it MAY be a relative path, in which case it MUST be interpreted as relative to \"/\".",
        |t| {
            let facts = t.look(|c| {
                add_mount(c, mount("m", "tmpfs", "tmpfs", &["size=64k"]));
                c["process"]["cwd"] = json!("/tmp");
            })?;
            ensure(facts.mount("/m")?.has_super("size=64k"), || "it is not the tmpfs of the config".into())
        },
        &[Mutation::Config(|c| drop_mount(c, "m"))],
    ),
    MOUNTS.says(
        "destination-created",
        "destination (string, REQUIRED) Destination of mount point: path inside container.",
        |t| t.look(|c| add_mount(c, mount("/new/deep/place", "tmpfs", "tmpfs", &[])))?.mount("/new/deep/place").map(drop),
        &[Mutation::Config(|c| drop_mount(c, "/new/deep/place"))],
    ),
    MOUNTS.says(
        "source-relative-to-bundle",
        "Path values for bind mounts are either absolute or relative to the bundle.",
        |t| {
            let facts = t.look(|c| {
                add_mount(c, mount("/m", "bind", "rootfs/share", &["rbind"]));
                steps(c, &["read:/m/file", "report"]);
            })?;
            same("a file of the source", facts.act("read:/m/file")?.text.as_str(), "shared")
        },
        &[NO_MOUNT],
    ),
    MOUNTS.says(
        "bind-by-option",
        "A mount is a bind mount if it has either bind or rbind in the options.",
        |t| {
            let source = shared(t)?;
            for (kind, option) in [("none", "bind"), ("ext4", "rbind")] {
                let facts = t.look(|c| {
                    add_mount(c, mount("/m", kind, &source, &[option]));
                    steps(c, &["read:/m/file", "report"]);
                })?;
                same("a file of the source", facts.act("read:/m/file")?.text.as_str(), "outside")?;
            }
            Ok(())
        },
        &[NO_MOUNT],
    ),
    MOUNTS.says(
        "bind-of-a-file",
        "source (string, OPTIONAL) A device name, but can also be a file or directory name for bind mounts or a dummy.",
        |t| {
            let source = shared(t)? + "/file";
            let facts = t.look(|c| {
                add_mount(c, mount("/etc/new/file", "bind", &source, &["bind"]));
                steps(c, &["read:/etc/new/file", "report"]);
            })?;
            same("the file", facts.act("read:/etc/new/file")?.text.as_str(), "outside")
        },
        &[Mutation::Config(|c| drop_mount(c, "/etc/new/file"))],
    ),
    MOUNTS.says(
        "type-unknown",
        "Linux: filesystem types supported by the kernel as listed in /proc/filesystems",
        |t| t.refuses(|c| add_mount(c, mount("/m", "nosuchfs", "none", &[]))).map(drop),
        &[NO_MOUNT, CREATE_ACCEPTS],
    ),
    MOUNTS.says(
        "symlink-stays-inside",
        "destination (string, REQUIRED) Destination of mount point: path inside container.",
        |t| {
            // The image points /m/out at a folder of the host; the mount must not land there.
            let outside = shared(t)?;
            let bundle = t.bundle(|c| add_mount(c, mount("/link/here", "tmpfs", "tmpfs", &[])))?;
            broken(std::os::unix::fs::symlink(&outside, bundle.join("rootfs/link")), "a symlink")?;
            let id = t.id();
            let ran = t.call(&bundle, &["create", &id])?;
            let table = t.read("/proc/self/mountinfo")?;
            ensure(!table.contains("/outside"), || "the runtime mounted onto the host".into())?;
            ensure(!std::path::Path::new(&format!("{outside}/here")).exists(), || {
                format!("create (status {}) made a folder outside of the root filesystem", ran.code)
            })
        },
        &[Mutation::Outside(|text| text.push_str("/outside"))],
    ),
    OPTIONS.says("option-ro", TABLE, |t| bind_flag(t, &["ro"], |m| m.has("ro")), &[BARE_BIND]),
    OPTIONS.says("option-rw", TABLE, |t| bind_flag(t, &["ro", "rw"], |m| m.has("rw")), &[Mutation::Config(|c| set_options(c, "/m", &["bind", "ro"]))]),
    OPTIONS.says("option-nosuid", TABLE, |t| bind_flag(t, &["nosuid"], |m| m.has("nosuid")), &[BARE_BIND]),
    OPTIONS.says("option-suid", TABLE, |t| flag(t, &["nosuid", "suid"], |m| !m.has("nosuid")), &[Mutation::Config(|c| set_options(c, "/m", &["nosuid"]))]),
    OPTIONS.says("option-nodev", TABLE, |t| bind_flag(t, &["nodev"], |m| m.has("nodev")), &[BARE_BIND]),
    OPTIONS.says("option-dev", TABLE, |t| flag(t, &["nodev", "dev"], |m| !m.has("nodev")), &[Mutation::Config(|c| set_options(c, "/m", &["nodev"]))]).needs(&[Need::Root]),
    OPTIONS.says("option-noexec", TABLE, |t| bind_flag(t, &["noexec"], |m| m.has("noexec")), &[BARE_BIND]),
    OPTIONS.says("option-exec", TABLE, |t| flag(t, &["noexec", "exec"], |m| !m.has("noexec")), &[Mutation::Config(|c| set_options(c, "/m", &["noexec"]))]),
    OPTIONS.says("option-noatime", TABLE, |t| flag(t, &["noatime"], |m| m.has("noatime")), &[NO_OPTIONS]),
    OPTIONS.says("option-atime", TABLE, |t| flag(t, &["noatime", "atime"], |m| !m.has("noatime")), &[Mutation::Config(|c| set_options(c, "/m", &["noatime"]))]),
    OPTIONS.says("option-nodiratime", TABLE, |t| flag(t, &["nodiratime"], |m| m.has("nodiratime")), &[NO_OPTIONS]),
    OPTIONS.says("option-diratime", TABLE, |t| flag(t, &["nodiratime", "diratime"], |m| !m.has("nodiratime")), &[Mutation::Config(|c| set_options(c, "/m", &["nodiratime"]))]),
    OPTIONS.says("option-relatime", TABLE, |t| flag(t, &["relatime"], |m| m.has("relatime")), &[Mutation::Config(|c| set_options(c, "/m", &["strictatime"]))]),
    OPTIONS.says("option-norelatime", TABLE, |t| flag(t, &["norelatime", "size=64k"], |m| m.has_super("size=64k")), &[NO_OPTIONS]),
    OPTIONS.says("option-strictatime", TABLE, |t| flag(t, &["strictatime"], |m| !m.has("relatime") && !m.has("noatime")), &[NO_OPTIONS]),
    OPTIONS.says("option-nostrictatime", TABLE, |t| flag(t, &["strictatime", "nostrictatime"], |m| m.has("relatime")), &[Mutation::Config(|c| set_options(c, "/m", &["strictatime"]))]),
    OPTIONS.says("option-sync", TABLE, |t| flag(t, &["sync"], |m| m.has_super("sync")), &[NO_OPTIONS]),
    OPTIONS.says("option-async", TABLE, |t| flag(t, &["sync", "async"], |m| !m.has_super("sync")), &[Mutation::Config(|c| set_options(c, "/m", &["sync"]))]),
    OPTIONS.says("option-dirsync", TABLE, |t| flag(t, &["dirsync"], |m| m.has_super("dirsync")), &[NO_OPTIONS]),
    OPTIONS.says("option-lazytime", TABLE, |t| flag(t, &["lazytime"], |m| m.has_super("lazytime")), &[NO_OPTIONS]),
    OPTIONS.says("option-nolazytime", TABLE, |t| flag(t, &["lazytime", "nolazytime"], |m| !m.has_super("lazytime")), &[Mutation::Config(|c| set_options(c, "/m", &["lazytime"]))]),
    OPTIONS.says("option-defaults", TABLE, |t| flag(t, &["defaults", "size=64k"], |m| m.has("rw") && m.has_super("size=64k")), &[Mutation::Config(|c| set_options(c, "/m", &["defaults", "ro"]))]),
    OPTIONS.says("option-silent-loud", TABLE, |t| {
        flag(t, &["silent", "size=64k"], |m| m.has_super("size=64k"))?;
        flag(t, &["loud", "size=64k"], |m| m.has_super("size=64k"))
    }, &[NO_OPTIONS]),
    OPTIONS.says("option-iversion", TABLE, |t| {
        flag(t, &["iversion", "size=64k"], |m| m.has_super("size=64k"))?;
        flag(t, &["noiversion", "size=64k"], |m| m.has_super("size=64k"))
    }, &[NO_OPTIONS]),
    OPTIONS.says("option-remount", TABLE, |t| {
        let facts = t.look(|c| {
            tmpfs(c, &["size=64k"]);
            add_mount(c, mount("/m", "tmpfs", "tmpfs", &["remount", "ro", "size=64k"]));
        })?;
        let there = facts.mounts()?.into_iter().filter(|m| m.at == "/m").count();
        same("mounts at /m", there, 1)?;
        let m = facts.mount("/m")?;
        ensure(m.has("ro") || m.has_super("ro"), || format!("/m was not remounted: {m:?}"))
    }, &[NO_MOUNT]),
    OPTIONS.says("option-bind-is-not-recursive", "bind: Bind mount", |t| {
        let (source, _) = tree(t)?;
        let ended = t.look(|c| {
            add_mount(c, mount("/m", "bind", &source, &["bind"]));
            steps(c, &["list:/m/below", "report"]);
        });
        untree(t, &source)?;
        let facts = ended?;
        same("what is in the folder on which the host has a mount", facts.act("list:/m/below")?.text.as_str(), "under")
    }, &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).needs(&[Need::Root]),
    OPTIONS.says("option-rbind-is-recursive", "rbind: Recursive bind mount", |t| {
        let (source, _) = tree(t)?;
        let ended = t.look(|c| {
            add_mount(c, mount("/m", "bind", &source, &["rbind"]));
            steps(c, &["list:/m/below", "report"]);
        });
        untree(t, &source)?;
        same("what is in the mount below", ended?.act("list:/m/below")?.text.as_str(), "over")
    }, &[BARE_BIND]).needs(&[Need::Root]),
    OPTIONS.says("option-private", "private: Bind mount propagation", |t| propagation(t, &["bind", "private"], "", false), &[Mutation::Config(|c| set_options(c, "/m", &["bind", "shared"]))]),
    OPTIONS.says("option-rprivate", "rprivate: Bind mount propagation", |t| propagation(t, &["rbind", "rprivate"], "", true), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "rshared"]))]),
    OPTIONS.says("option-shared", "shared", |t| propagation(t, &["bind", "shared"], "shared", false), &[BARE_BIND]),
    OPTIONS.says("option-rshared", "rshared: Bind mount propagation", |t| propagation(t, &["rbind", "rshared"], "shared", true), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]),
    OPTIONS.says("option-slave", "slave: Bind mount propagation", |t| propagation(t, &["bind", "slave"], "master", false), &[Mutation::Config(|c| set_options(c, "/m", &["bind", "private"]))]).needs(&[Need::Root]),
    OPTIONS.says("option-rslave", "rslave: Bind mount propagation", |t| propagation(t, &["rbind", "rslave"], "master", true), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "rprivate"]))]).needs(&[Need::Root]),
    OPTIONS.says("option-unbindable", "unbindable: Bind mount propagation", |t| propagation(t, &["bind", "unbindable"], "unbindable", false), &[BARE_BIND]),
    OPTIONS.says("option-runbindable", "runbindable: Bind mount propagation", |t| propagation(t, &["rbind", "runbindable"], "unbindable", true), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]),
    OPTIONS.says("option-nosymfollow", TABLE, |t| flag(t, &["nosymfollow"], |m| m.has("nosymfollow")), &[NO_OPTIONS]).should(),
    OPTIONS.says("option-symfollow", TABLE, |t| flag(t, &["nosymfollow", "symfollow"], |m| !m.has("nosymfollow")), &[Mutation::Config(|c| set_options(c, "/m", &["nosymfollow"]))]).should(),
    OPTIONS.says("option-rro", TABLE, |t| recursive(t, "rw", &["rbind", "rro"], |m| m.has("ro")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "ro"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rrw", TABLE, |t| recursive(t, "ro", &["rbind", "rrw"], |m| m.has("rw")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rnosuid", TABLE, |t| recursive(t, "rw", &["rbind", "rnosuid"], |m| m.has("nosuid")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "nosuid"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rsuid", TABLE, |t| recursive(t, "nosuid", &["rbind", "rsuid"], |m| !m.has("nosuid")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rnodev", TABLE, |t| recursive(t, "rw", &["rbind", "rnodev"], |m| m.has("nodev")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "nodev"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rdev", TABLE, |t| recursive(t, "nodev", &["rbind", "rdev"], |m| !m.has("nodev")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rnoexec", TABLE, |t| recursive(t, "rw", &["rbind", "rnoexec"], |m| m.has("noexec")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "noexec"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rexec", TABLE, |t| recursive(t, "noexec", &["rbind", "rexec"], |m| !m.has("noexec")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rnoatime", TABLE, |t| recursive(t, "rw", &["rbind", "rnoatime"], |m| m.has("noatime")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "noatime"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-ratime", TABLE, |t| recursive(t, "noatime", &["rbind", "ratime"], |m| !m.has("noatime")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rnodiratime", TABLE, |t| recursive(t, "rw", &["rbind", "rnodiratime"], |m| m.has("nodiratime")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "nodiratime"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rdiratime", TABLE, |t| recursive(t, "nodiratime", &["rbind", "rdiratime"], |m| !m.has("nodiratime")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rstrictatime", TABLE, |t| recursive(t, "rw", &["rbind", "rstrictatime"], |m| !m.has("relatime") && !m.has("noatime")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rrelatime", TABLE, |t| recursive(t, "noatime", &["rbind", "rrelatime"], |m| m.has("relatime")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rnosymfollow", TABLE, |t| recursive(t, "rw", &["rbind", "rnosymfollow"], |m| m.has("nosymfollow")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind", "nosymfollow"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-rsymfollow", TABLE, |t| recursive(t, "nosymfollow", &["rbind", "rsymfollow"], |m| !m.has("nosymfollow")), &[Mutation::Config(|c| set_options(c, "/m", &["rbind"]))]).should().needs(&[Need::Root]),
    OPTIONS.says("option-idmap", "idmap: Indicates that the mount MUST have an idmapping applied.", |t| idmapped(t, "idmap"), &[Mutation::Config(no_idmap)]).should().needs(&[Need::Root]),
    OPTIONS.says("option-ridmap", "ridmap: Indicates that the mount MUST have an idmapping applied, and the mapping is applied recursively", |t| idmapped(t, "ridmap"), &[Mutation::Config(no_idmap)]).should().needs(&[Need::Root]),
    OPTIONS.says(
        "idmap-without-mappings",
        "If there are no uidMappings and gidMappings specified and the container isn't using user namespaces, an error MUST be returned.",
        |t| {
            let source = shared(t)?;
            t.refuses(|c| add_mount(c, mount("/m", "bind", &source, &["bind", "idmap"]))).map(drop)
        },
        &[BARE_BIND, CREATE_ACCEPTS],
    )
    .needs(&[Need::Root]),
    OPTIONS.says(
        "options-of-the-file-system",
        "Runtimes SHOULD treat unknown options as filesystem-specific ones and pass those as a comma-separated string to the fifth (const void *data) argument of mount(2).",
        |t| flag(t, &["size=64k", "mode=0700"], |m| m.has_super("size=64k") && m.has_super("mode=700")),
        &[NO_OPTIONS],
    )
    .should(),
    OPTIONS.says(
        "options-unknown-to-all",
        "Runtimes SHOULD treat unknown options as filesystem-specific ones and pass those as a comma-separated string to the fifth (const void *data) argument of mount(2).",
        |t| t.refuses(|c| tmpfs(c, &["nosuchoption=1"])).map(drop),
        &[NO_OPTIONS, CREATE_ACCEPTS],
    )
    .should(),
    OPTIONS.says(
        "readonly-bind-refuses-writes",
        TABLE,
        |t| {
            let source = shared(t)?;
            let facts = t.look(|c| {
                add_mount(c, mount("/m", "bind", &source, &["bind", "ro"]));
                steps(c, &["write:/m/new", "report"]);
            })?;
            same("errno of a new file", facts.errno("write:/m/new")?, 30)
        },
        &[BARE_BIND, Mutation::Facts(|f| f.set_errnos(0))],
    ),
    OPTIONS.says(
        "noexec-refuses-programs",
        TABLE,
        |t| {
            let facts = t.look(|c| {
                add_mount(c, mount("/m", "bind", "rootfs/bin", &["bind", "noexec"]));
                steps(c, &["exec:/m/probe", "exec:/bin/probe", "report"]);
            })?;
            same("errno of a program there", facts.errno("exec:/m/probe")?, 13)?;
            same("errno of the same program elsewhere", facts.errno("exec:/bin/probe")?, 0)
        },
        &[BARE_BIND, Mutation::Facts(|f| f.set_errnos(0))],
    ),
    OPTIONS.says(
        "option-tmpcopyup",
        "tmpcopyup: copy up the contents to a tmpfs",
        |t| {
            let facts = t.look(|c| {
                add_mount(c, mount("/share", "tmpfs", "tmpfs", &["tmpcopyup"]));
                steps(c, &["read:/share/file", "write:/share/new", "report"]);
            })?;
            same("type of the mount", facts.mount("/share")?.kind.as_str(), "tmpfs")?;
            same("a file of the image below", facts.act("read:/share/file")?.text.as_str(), "shared")
        },
        &[Mutation::Config(|c| set_options(c, "/share", &[])), Mutation::Config(|c| drop_mount(c, "/share"))],
    )
    .should(),
];

/// A folder of the host with one file in it.
fn shared(t: &Trial<'_>) -> Judged<String> {
    let dir = t.path("outside");
    make_dir(&dir)?;
    broken(std::fs::write(dir.join("file"), "outside"), "a file")?;
    Ok(dir.to_string_lossy().into_owned())
}

/// A tmpfs at /m with these options is as wanted.
fn flag(t: &mut Trial<'_>, options: &[&str], wanted: fn(&Mount) -> bool) -> Judged<()> {
    let found = t.look(|c| tmpfs(c, options))?.mount("/m")?;
    ensure(wanted(&found), || {
        format!("with {options:?} the kernel shows {:?} and {:?}", found.options, found.super_options)
    })
}

/// A bind mount at /m with these options is as wanted.
fn bind_flag(t: &mut Trial<'_>, options: &[&str], wanted: fn(&Mount) -> bool) -> Judged<()> {
    let source = shared(t)?;
    let options: Vec<&str> = ["bind"].into_iter().chain(options.iter().copied()).collect();
    let found = t.look(|c| add_mount(c, mount("/m", "bind", &source, &options)))?.mount("/m")?;
    ensure(wanted(&found), || format!("with {options:?} the kernel shows {:?}", found.options))
}

/// A mount of the host, shared, with another one below it: `DIR` and `DIR/below`, where `over` hides `under`.
fn tree(t: &Trial<'_>) -> Judged<(String, String)> {
    let source = shared(t)?;
    let below = format!("{source}/below");
    t.host("mount", &["-t", "tmpfs", "kc", &source])?;
    t.host("mount", &["--make-shared", &source])?;
    make_dir(std::path::Path::new(&format!("{below}/under")))?;
    t.host("mount", &["-t", "tmpfs", "kc", &below])?;
    make_dir(std::path::Path::new(&format!("{below}/over")))?;
    Ok((source, below))
}

fn untree(t: &Trial<'_>, source: &str) -> Judged<()> {
    t.host("umount", &["-R", source]).map(drop)
}

/// Both the bind mount and the mount below it are as wanted; the host's have the flag `host`.
fn recursive(t: &mut Trial<'_>, host: &str, options: &[&str], wanted: fn(&Mount) -> bool) -> Judged<()> {
    let (source, below) = tree(t)?;
    for at in [&source, &below] {
        t.host("mount", &["-o", &format!("remount,bind,{host}"), at])?;
    }
    let ended = t.look(|c| add_mount(c, mount("/m", "bind", &source, options)));
    untree(t, &source)?;
    let facts = ended?;
    for at in ["/m", "/m/below"] {
        let found = facts.mount(at)?;
        ensure(wanted(&found), || format!("with {options:?} the kernel shows {:?} at {at}", found.options))?;
    }
    Ok(())
}

/// The mount at /m has this propagation (and the one below it, for root, who can make one).
fn propagation(t: &mut Trial<'_>, options: &[&str], word: &str, below_too: bool) -> Judged<()> {
    let rootless = t.place.rootless;
    let source = if rootless { shared(t)? } else { tree(t)?.0 };
    let ended = t.look(|c| add_mount(c, mount("/m", "bind", &source, options)));
    if !rootless {
        untree(t, &source)?;
    }
    let facts = ended?;
    let places: &[&str] = if below_too && !rootless { &["/m", "/m/below"] } else { &["/m"] };
    for at in places {
        let found = facts.mount(at)?;
        let right = if word.is_empty() { found.propagation.is_empty() } else { found.propagates(word) };
        ensure(right, || format!("with {options:?} the kernel shows the propagation {:?} at {at}", found.propagation))?;
    }
    Ok(())
}

/// Root's files appear as those of 1000 in an id-mapped mount.
fn idmapped(t: &mut Trial<'_>, option: &str) -> Judged<()> {
    let source = shared(t)?;
    let facts = t.look(|c| {
        let mut m = mount("/m", "bind", &source, &["rbind", option]);
        m["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        m["gidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        add_mount(c, m);
        steps(c, &["stat:/m/file", "report"]);
    })?;
    let seen = &facts.act("stat:/m/file")?.text;
    ensure(seen.contains("uid: 1000, gid: 1000"), || format!("a file of root is shown as {seen}"))
}

fn no_idmap(config: &mut Value) {
    drop_mount(config, "/m");
    add_mount(config, mount("/m", "bind", "rootfs/share", &["bind"]));
}
