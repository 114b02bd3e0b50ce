// SPDX-License-Identifier: Apache-2.0
//! The members of an archive by name: small ones in memory, large ones as blobs.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::progress::{Event, Progress};
use crate::store::{Claims, Store};
use crate::tar::{Entry, EntryKind, Reader};

/// Members up to this size may be manifests and configs, and stay in memory; together they may have `HELD`.
const SMALL: u64 = 1 << 20;
/// All small members together: a hostile archive has thousands.
const HELD: usize = 16 << 20;
/// Where an archive's layers have plain tars of any size: nobody needs a larger one.
const BLOB: u64 = 1 << 40;

/// What was read.
pub(super) struct Archive {
    members: HashMap<String, Member>,
}

/// A member.
pub(super) enum Member {
    /// Its content, which becomes a blob when it is asked for as one: an archive has other small files, too.
    Small(Vec<u8>),
    /// A blob of this size.
    Blob(Digest, u64),
    /// Another name: old Docker stores a layer that several images share once.
    Link(String),
}

impl Archive {
    /// A small member's content.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>> {
        match self.member(name)? {
            Member::Small(bytes) => Ok(bytes.clone()),
            _ => Err(Error::new(Kind::TooBig, format!("reading {name}"), "it is larger than a manifest may be")),
        }
    }

    /// A member's digest and size. It is a blob of `claims` from now on.
    pub(super) fn blob(&self, claims: &Claims<'_>, name: &str) -> Result<(Digest, u64)> {
        match self.member(name)? {
            Member::Small(bytes) => Ok((claims.add(bytes)?, bytes.len() as u64)),
            Member::Blob(digest, size) => Ok((digest.clone(), *size)),
            Member::Link(_) => Err(Error::new(Kind::BadInput, format!("reading {name}"), "a link leads to a link")),
        }
    }

    /// The blob of this digest, which must be what its name says.
    pub(super) fn blob_of(&self, claims: &Claims<'_>, digest: &Digest) -> Result<(Digest, u64)> {
        let name = format!("blobs/sha256/{}", digest.hex());
        match self.members.get(&name) {
            // In an OCI layout nothing has two names, and a link could be anything.
            Some(Member::Link(_)) => {
                Err(Error::new(Kind::BadInput, format!("reading {name}"), "it is a link, not a blob"))
            }
            _ => {
                let (found, size) = self.blob(claims, &name)?;
                match found == *digest {
                    true => Ok((found, size)),
                    false => {
                        Err(Error::new(Kind::BadInput, format!("reading {name}"), format!("its content is {found}"))
                            .hint("the archive is broken or lies: nothing of it was kept"))
                    }
                }
            }
        }
    }

    /// A member, through one link at most: two could go round in a circle.
    fn member(&self, name: &str) -> Result<&Member> {
        let missing = |name: &str| Error::new(Kind::BadInput, "reading the archive", format!("it has no {name}"));
        let clean = clean(name).ok_or_else(|| unsafe_name(name))?;
        match self.members.get(&clean).ok_or_else(|| missing(name))? {
            Member::Link(target) => self.members.get(target).ok_or_else(|| missing(target)),
            member => Ok(member),
        }
    }
}

/// Reads all members; large ones become blobs of `claims`.
pub(super) fn read(
    store: &Store,
    claims: &Claims<'_>,
    input: impl BufRead,
    progress: &dyn Progress,
) -> Result<Archive> {
    let limits = store.limits();
    let mut tar = Reader::new(input, limits.header);
    let mut archive = Archive { members: HashMap::new() };
    let mut held = 0;
    while let Some(entry) = tar.next().doing(|| "reading the archive")? {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let clean = clean(&name).ok_or_else(|| unsafe_name(&name))?;
        if entry.kind == EntryKind::Folder {
            continue;
        }
        if archive.members.len() >= limits.archive_members {
            let because = format!("it has more than {} members", limits.archive_members);
            return Err(Error::new(Kind::TooBig, "reading the archive", because));
        }
        let member = member(claims, &entry, &clean, &mut tar, &mut held, progress)?;
        if archive.members.insert(clean, member).is_some() {
            return Err(Error::new(Kind::BadInput, "reading the archive", format!("it has two members {name}")));
        }
    }
    Ok(archive)
}

fn member(
    claims: &Claims<'_>,
    entry: &Entry,
    name: &str,
    tar: &mut Reader<impl BufRead>,
    held: &mut usize,
    progress: &dyn Progress,
) -> Result<Member> {
    let doing = || format!("reading {name} of the archive");
    match entry.kind {
        EntryKind::File => {}
        EntryKind::Symlink | EntryKind::HardLink => {
            let target = String::from_utf8_lossy(&entry.link).into_owned();
            let from = if entry.kind == EntryKind::Symlink { name } else { "" };
            let target = relative(from, &target).ok_or_else(|| {
                Error::new(Kind::BadInput, doing(), format!("it is a link out of the archive, to {target}"))
            })?;
            return Ok(Member::Link(target));
        }
        _ => return Err(Error::new(Kind::BadInput, doing(), "it is neither a file nor a folder nor a link")),
    }
    if entry.segments.iter().map(|s| s.length).sum::<u64>() != entry.size {
        return Err(Error::new(Kind::Unsupported, doing(), "it is stored as a sparse file"));
    }
    if entry.size <= SMALL && *held < HELD {
        let mut bytes = Vec::with_capacity(entry.size as usize);
        tar.read_to_end(&mut bytes).doing(doing)?;
        *held += bytes.len();
        return Ok(Member::Small(bytes));
    }
    let mut blob = claims.writer()?;
    blob.copy_from(tar, BLOB).map_err(|e| e.while_doing(doing()))?;
    let (digest, size) = blob.finish(None)?;
    progress.event(Event::FetchBegins(&digest, size, size));
    progress.event(Event::FetchDone(&digest));
    Ok(Member::Blob(digest, size))
}

/// A member's name without `./`; nothing for one that is absolute or leads upwards.
fn clean(name: &str) -> Option<String> {
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return None;
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Some(parts.join("/"))
}

/// Where a link in the folder of `from` leads, if that is inside.
fn relative(from: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn unsafe_name(name: &str) -> Error {
    Error::new(Kind::BadInput, "reading the archive", format!("the member {name:?} leads out of it"))
        .hint("the archive is broken or hostile: nothing of it was kept")
}
