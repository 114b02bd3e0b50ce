// SPDX-License-Identifier: Apache-2.0
//! The members of an archive by name: small ones in memory, large ones as blobs, or as sections of the file they are in.
//!
//! What a stream holds must be kept as it comes, since manifests may stand behind everything else. A file is gone through
//! by its headers alone first: then it is known what each layer is, and it is copied, checked and unpacked in one pass.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use super::Loading;
use crate::compression::{Compression, START};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::progress::Event;
use crate::tar::{Entry, EntryKind, Reader};
use crate::unpack::feed::{Listener, News, Nobody};

/// Members up to this size may be manifests and configs, and stay in memory; together they may have `HELD`.
const SMALL: u64 = 1 << 20;
/// All small members together: a hostile archive has thousands.
const HELD: usize = 16 << 20;
/// Where an archive's layers have plain tars of any size: nobody needs a larger one.
const BLOB: u64 = 1 << 40;

/// How much of a file is read for a header.
const HEADERS: usize = 16 << 10;

/// What was read.
pub(super) struct Archive {
    members: HashMap<String, Member>,
    /// What the sections are of.
    file: Option<File>,
    /// Sections that became blobs, by their members' names.
    copied: Mutex<HashMap<String, Digest>>,
}

/// A member.
enum Member {
    /// Its content, which becomes a blob when it is asked for as one: an archive has other small files, too.
    Small(Vec<u8>),
    /// A blob of this size.
    Blob(Digest, u64),
    /// So many bytes of the file, from here on.
    Section(u64, u64),
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

    /// A member's size.
    pub(super) fn size(&self, name: &str) -> Result<u64> {
        match self.member(name)? {
            Member::Small(bytes) => Ok(bytes.len() as u64),
            Member::Blob(_, size) | Member::Section(_, size) => Ok(*size),
            Member::Link(_) => Err(link_to_link(name)),
        }
    }

    /// What a member's first bytes say it is wrapped in.
    pub(super) fn compression(&self, loading: &Loading<'_>, name: &str) -> Result<Compression> {
        let doing = || format!("reading {name}");
        match (self.member(name)?, &self.file) {
            (Member::Small(bytes), _) => Ok(Compression::of(bytes)),
            (Member::Section(at, size), Some(file)) => {
                let mut start = Vec::with_capacity(START);
                Section { file, at: *at, left: (*size).min(START as u64) }.read_to_end(&mut start).doing(doing)?;
                Ok(Compression::of(&start))
            }
            (Member::Blob(digest, _), _) => Compression::of_file(&loading.store.blob(digest)).doing(doing),
            (Member::Link(_) | Member::Section(..), _) => Err(link_to_link(name)),
        }
    }

    /// A member's digest and size. It is a blob of the load's claims from now on.
    pub(super) fn blob(&self, loading: &Loading<'_>, name: &str) -> Result<(Digest, u64)> {
        let size = self.size(name)?;
        Ok((self.arrive(loading, name, None, &Nobody)?, size))
    }

    /// Makes a blob of a member, which must be what is expected, and tells whoever unpacks it meanwhile.
    pub(super) fn bring(
        &self,
        loading: &Loading<'_>,
        name: &str,
        expected: &Digest,
        listener: &dyn Listener,
    ) -> Result<()> {
        if loading.claims.claim(expected, Some(self.size(name)?))? {
            loading.progress.event(Event::FetchSkipped(expected));
        } else {
            let found = self.arrive(loading, name, Some(expected), listener)?;
            if found != *expected {
                let error = Error::new(Kind::BadInput, format!("reading {name}"), format!("its content is {found}"));
                return Err(error.hint("the archive is broken or lies: nothing of it was kept"));
            }
        }
        match listener.tell(News::Whole(expected.clone())) {
            true => Ok(()),
            false => Err(Error::stop("copying layers")),
        }
    }

    /// The blob a member becomes.
    fn arrive(
        &self,
        loading: &Loading<'_>,
        name: &str,
        expected: Option<&Digest>,
        listener: &dyn Listener,
    ) -> Result<Digest> {
        let (at, size) = match self.member(name)? {
            Member::Small(bytes) => return loading.claims.add(bytes),
            Member::Blob(digest, _) => return Ok(digest.clone()),
            Member::Section(at, size) => (*at, *size),
            Member::Link(_) => return Err(link_to_link(name)),
        };
        if let Some(digest) = self.copied().get(name) {
            return Ok(digest.clone());
        }
        let file = self.file.as_ref().ok_or_else(|| link_to_link(name))?;
        let digest = loading
            .copy(&mut Section { file, at, left: size }, size, expected, listener)
            .map_err(|error| error.while_doing(format!("reading {name}")))?;
        self.copied().insert(name.to_owned(), digest.clone());
        Ok(digest)
    }

    fn copied(&self) -> std::sync::MutexGuard<'_, HashMap<String, Digest>> {
        // A thread that panicked while adding left the map as it was.
        self.copied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The member of an OCI layout with this digest. Nothing has two names there, and a link could be anything.
    pub(super) fn name_of(&self, digest: &Digest) -> Result<String> {
        let name = format!("blobs/sha256/{}", digest.hex());
        match self.members.get(&name) {
            Some(Member::Link(_)) => {
                Err(Error::new(Kind::BadInput, format!("reading {name}"), "it is a link, not a blob"))
            }
            _ => Ok(name),
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

/// A part of a file, read without moving in it.
struct Section<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let may = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        match self.file.read_at(&mut buffer[..may], self.at)? {
            0 if may > 0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive became shorter")),
            n => {
                (self.at, self.left) = (self.at + n as u64, self.left - n as u64);
                Ok(n)
            }
        }
    }
}

/// Reads all members; large ones become blobs at once.
pub(super) fn read(loading: &Loading<'_>, input: impl BufRead) -> Result<Archive> {
    let members = members(loading, input, |tar, _| {
        let mut blob = loading.claims.writer()?;
        blob.copy_from(tar, BLOB)?;
        let (digest, size) = blob.finish(None)?;
        loading.progress.event(Event::FetchBegins(&digest, size, size));
        loading.progress.event(Event::FetchDone(&digest));
        Ok(Member::Blob(digest, size))
    })?;
    Ok(Archive { members, file: None, copied: Mutex::default() })
}

/// Goes through the headers of an archive in a file, from where the file is.
pub(super) fn index(loading: &Loading<'_>, file: File) -> Result<Archive> {
    let doing = || "reading the archive";
    let end = file.metadata().doing(doing)?.len();
    let input = BufReader::with_capacity(HEADERS, file.try_clone().doing(doing)?);
    let members = members(loading, input, |tar, size| {
        let at = tar.get_mut().stream_position().doing(doing)?;
        if at.checked_add(size).is_none_or(|last| last > end) {
            return Err(Error::new(Kind::BadInput, doing(), "it ends in the middle of an entry"));
        }
        tar.pass_over(|input, length| input.seek_relative(length.cast_signed())).doing(doing)?;
        Ok(Member::Section(at, size))
    })?;
    Ok(Archive { members, file: Some(file), copied: Mutex::default() })
}

/// The members by name; what is not small is `large`'s.
fn members<R: BufRead>(
    loading: &Loading<'_>,
    input: R,
    large: impl Fn(&mut Reader<R>, u64) -> Result<Member>,
) -> Result<HashMap<String, Member>> {
    let limits = loading.store.limits();
    let mut tar = Reader::new(input, limits.header);
    let mut members = HashMap::new();
    let mut held = 0;
    while let Some(entry) = tar.next().doing(|| "reading the archive")? {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let clean = clean(&name).ok_or_else(|| unsafe_name(&name))?;
        if entry.kind == EntryKind::Folder {
            continue;
        }
        if members.len() >= limits.archive_members {
            let because = format!("it has more than {} members", limits.archive_members);
            return Err(Error::new(Kind::TooBig, "reading the archive", because));
        }
        let doing = || format!("reading {clean} of the archive");
        let member = match link(&entry, &clean)? {
            Some(target) => Member::Link(target),
            None if entry.size <= SMALL && held < HELD => {
                let mut bytes = Vec::with_capacity(entry.size as usize);
                tar.read_to_end(&mut bytes).doing(doing)?;
                held += bytes.len();
                Member::Small(bytes)
            }
            None => large(&mut tar, entry.size).map_err(|e| e.while_doing(doing()))?,
        };
        if members.insert(clean, member).is_some() {
            return Err(Error::new(Kind::BadInput, "reading the archive", format!("it has two members {name}")));
        }
    }
    Ok(members)
}

/// Where a link leads; nothing of a file with content, and nothing else is a member.
fn link(entry: &Entry, name: &str) -> Result<Option<String>> {
    let doing = || format!("reading {name} of the archive");
    match entry.kind {
        EntryKind::File => {}
        EntryKind::Symlink | EntryKind::HardLink => {
            let target = String::from_utf8_lossy(&entry.link).into_owned();
            let from = if entry.kind == EntryKind::Symlink { name } else { "" };
            let target = relative(from, &target).ok_or_else(|| {
                Error::new(Kind::BadInput, doing(), format!("it is a link out of the archive, to {target}"))
            })?;
            return Ok(Some(target));
        }
        _ => return Err(Error::new(Kind::BadInput, doing(), "it is neither a file nor a folder nor a link")),
    }
    match entry.segments.iter().map(|s| s.length).sum::<u64>() == entry.size {
        true => Ok(None),
        false => Err(Error::new(Kind::Unsupported, doing(), "it is stored as a sparse file")),
    }
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

fn link_to_link(name: &str) -> Error {
    Error::new(Kind::BadInput, format!("reading {name}"), "a link leads to a link")
}
