// SPDX-License-Identifier: Apache-2.0
//! What the option words of a mount mean.
//!
//! Spec: config.md "Linux mount options". Kernel: mount(8) for the words, mount(2), mount_setattr(2).

use crate::error::{Error, Result};
use kelp_init::script::Setting;
use kelp_sys::mount::{Attributes, Propagation, Reach};
use std::path::Path;

/// What an option word does.
#[derive(Clone, Copy)]
enum Meaning {
    /// Sets or clears: the flag of mount(2), the attribute of mount_setattr(2).
    Flag {
        ms: u64,
        attribute: Attributes,
        set: bool,
    },
    /// The recursive form: mount_setattr(2) on the tree.
    Recursive {
        attribute: Attributes,
        set: bool,
    },
    Propagation(Propagation, Reach),
    Bind(Reach),
    /// `idmap`, `ridmap`
    Ids(Reach),
    CopyUp,
    Remount,
    /// Means nothing to the kernel, or is what happens anyway.
    Nothing,
    /// Another runtime's, that would be taken for one of the file system's.
    Refused(&'static str),
}

const NO_ATTRIBUTE: Attributes = Attributes(0);

const fn flag(ms: u64, attribute: Attributes, set: bool) -> Meaning {
    Meaning::Flag { ms, attribute, set }
}

const fn tree(attribute: Attributes, set: bool) -> Meaning {
    Meaning::Recursive { attribute, set }
}

fn meaning(word: &str) -> Option<Meaning> {
    use Attributes as A;
    Some(match word {
        "ro" => flag(0x1, A::READ_ONLY, true),
        "rw" => flag(0x1, A::READ_ONLY, false),
        "nosuid" => flag(0x2, A::NO_SUID, true),
        "suid" => flag(0x2, A::NO_SUID, false),
        "nodev" => flag(0x4, A::NO_DEV, true),
        "dev" => flag(0x4, A::NO_DEV, false),
        "noexec" => flag(0x8, A::NO_EXEC, true),
        "exec" => flag(0x8, A::NO_EXEC, false),
        "sync" => flag(0x10, NO_ATTRIBUTE, true),
        "async" => flag(0x10, NO_ATTRIBUTE, false),
        "mand" => flag(0x40, NO_ATTRIBUTE, true),
        "nomand" => flag(0x40, NO_ATTRIBUTE, false),
        "dirsync" => flag(0x80, NO_ATTRIBUTE, true),
        "nosymfollow" => flag(0x100, A::NO_SYMLINK_FOLLOW, true),
        "symfollow" => flag(0x100, A::NO_SYMLINK_FOLLOW, false),
        "noatime" => flag(0x400, A::NO_ATIME, true),
        "atime" | "relatime" => flag(0x400, A::ATIME_MASK, false),
        "nodiratime" => flag(0x800, A::NO_DIR_ATIME, true),
        "diratime" => flag(0x800, A::NO_DIR_ATIME, false),
        "silent" => flag(0x8000, NO_ATTRIBUTE, true),
        "loud" => flag(0x8000, NO_ATTRIBUTE, false),
        "iversion" => flag(0x80_0000, NO_ATTRIBUTE, true),
        "noiversion" => flag(0x80_0000, NO_ATTRIBUTE, false),
        "strictatime" => flag(0x100_0000, A::STRICT_ATIME, true),
        "nostrictatime" => flag(0x100_0000, A::ATIME_MASK, false),
        "lazytime" => flag(0x200_0000, NO_ATTRIBUTE, true),
        "nolazytime" => flag(0x200_0000, NO_ATTRIBUTE, false),
        // podman writes an empty word where it has no size to say.
        "" | "defaults" | "norelatime" | "nofail" | "acl" | "noacl" => Meaning::Nothing,
        "bind" => Meaning::Bind(Reach::Mount),
        "rbind" => Meaning::Bind(Reach::Tree),
        "idmap" => Meaning::Ids(Reach::Mount),
        "ridmap" => Meaning::Ids(Reach::Tree),
        "tmpcopyup" => Meaning::CopyUp,
        "remount" => Meaning::Remount,
        "copy-symlink" | "src-nofollow" | "dest-nofollow" | "ensure-directory" => {
            Meaning::Refused("it is crun's own: the runtime-spec does not have it")
        }
        other => return recursive(other).or_else(|| propagation(other)),
    })
}

fn recursive(word: &str) -> Option<Meaning> {
    use Attributes as A;
    Some(match word {
        "rro" => tree(A::READ_ONLY, true),
        "rrw" => tree(A::READ_ONLY, false),
        "rnosuid" => tree(A::NO_SUID, true),
        "rsuid" => tree(A::NO_SUID, false),
        "rnodev" => tree(A::NO_DEV, true),
        "rdev" => tree(A::NO_DEV, false),
        "rnoexec" => tree(A::NO_EXEC, true),
        "rexec" => tree(A::NO_EXEC, false),
        "rnoatime" => tree(A::NO_ATIME, true),
        "ratime" | "rrelatime" | "rnostrictatime" => tree(A::ATIME_MASK, false),
        "rnorelatime" => Meaning::Nothing,
        "rstrictatime" => tree(A::STRICT_ATIME, true),
        "rnodiratime" => tree(A::NO_DIR_ATIME, true),
        "rdiratime" => tree(A::NO_DIR_ATIME, false),
        "rnosymfollow" => tree(A::NO_SYMLINK_FOLLOW, true),
        "rsymfollow" => tree(A::NO_SYMLINK_FOLLOW, false),
        _ => return None,
    })
}

fn propagation(word: &str) -> Option<Meaning> {
    let (kind, reach) = match word.strip_prefix('r') {
        Some(rest) if kind_of(rest).is_some() => (kind_of(rest)?, Reach::Tree),
        _ => (kind_of(word)?, Reach::Mount),
    };
    Some(Meaning::Propagation(kind, reach))
}

fn kind_of(word: &str) -> Option<Propagation> {
    Some(match word {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => return None,
    })
}

/// The options of one mount, sorted.
#[derive(Default)]
pub(super) struct Options<'a> {
    pub(super) flags: u64,
    pub(super) attributes: [Setting; 2],
    pub(super) propagation: Vec<(Propagation, Reach)>,
    pub(super) bind: Option<Reach>,
    pub(super) ids: Option<Reach>,
    pub(super) copy_up: bool,
    pub(super) remount: bool,
    pub(super) data: Vec<&'a str>,
}

impl<'a> Options<'a> {
    pub(super) fn read(words: &'a [String], target: &Path) -> Result<Self> {
        let mut options = Self::default();
        for word in words {
            match meaning(word) {
                Some(Meaning::Refused(why)) => {
                    return Err(Error::unsupported(
                        &format!("option {word} of the mount at {}", target.display()),
                        why,
                    ));
                }
                // crun's form with the mappings in the option.
                None if ["idmap=", "ridmap="].iter().any(|form| word.starts_with(form)) => {
                    return Err(Error::unsupported(
                        &format!("option {word} of the mount at {}", target.display()),
                        "it is crun's own: the runtime-spec has uidMappings and gidMappings",
                    ));
                }
                Some(meaning) => options.add(meaning),
                None => options.data.push(word),
            }
        }
        Ok(options)
    }

    fn add(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Flag { ms, attribute, set } => {
                self.flags = if set { self.flags | ms } else { self.flags & !ms };
                put(&mut self.attributes[0], attribute, set);
            }
            Meaning::Recursive { attribute, set } => put(&mut self.attributes[1], attribute, set),
            Meaning::Propagation(kind, reach) => self.propagation.push((kind, reach)),
            // `bind` beside `rbind` takes nothing back.
            Meaning::Bind(Reach::Mount) => self.bind = self.bind.or(Some(Reach::Mount)),
            Meaning::Bind(Reach::Tree) => self.bind = Some(Reach::Tree),
            Meaning::Ids(reach) => self.ids = Some(reach),
            Meaning::CopyUp => self.copy_up = true,
            Meaning::Remount => self.remount = true,
            Meaning::Nothing | Meaning::Refused(_) => {}
        }
    }
}

/// The last word wins.
fn put(setting: &mut Setting, attribute: Attributes, set: bool) {
    let (to, from) = if set { (&mut setting.set, &mut setting.clear) } else { (&mut setting.clear, &mut setting.set) };
    to.0 |= attribute.0;
    from.0 &= !attribute.0;
}
