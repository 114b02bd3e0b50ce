// SPDX-License-Identifier: Apache-2.0
//! Why a program that is there “does not exist”: the interpreter it names is missing, or it is another machine's.
//!
//! The kernel says ENOENT for both the file and its interpreter; the image's layers, read as data, tell them apart.

use super::find::Container;
use super::record::Storage;
use crate::error::{Error, Kind};
use kelp_bundles::LayerStack;
use oci_spec::runtime::Spec;
use std::fs;
use std::path::{Path, PathBuf};

/// How much of a program is read: a first line, or an ELF file's headers with the loader's path behind them.
const LIMIT: u64 = 64 << 20;
/// The kernel reads no more of a script's first line: BINPRM_BUF_SIZE.
const FIRST_LINE: usize = 256;

/// The error with the interpreter's name for a hint, where that is what is missing.
pub(crate) fn explain(error: Error, container: &Container) -> Error {
    if error.kind() != Kind::ProgramNotFound {
        return error;
    }
    match missing(container) {
        Some((program, interpreter)) => error.hint(format!(
            "{program} is there; what is missing in the image is {interpreter}, which {program} names as its interpreter"
        )),
        None => error,
    }
}

/// The program and the interpreter it names, if the program is in the image and the interpreter is not.
fn missing(container: &Container) -> Option<(String, String)> {
    let json = fs::read(container.folder.join("config.json")).ok()?;
    let spec: Spec = serde_json::from_slice(&json).ok()?;
    let layers = LayerStack::open_inside(&layers(container, &spec)?, &crate::ids::of_caller().ok()?).ok()?;
    let process = spec.process().as_ref()?;
    let word = process.args().as_ref()?.first()?;
    let candidates = candidates(word, process.cwd(), process.env().as_deref().unwrap_or_default());
    let read = |path: &str| layers.read(path, LIMIT).ok().flatten();
    let (program, bytes) = candidates.into_iter().find_map(|path| Some((path.clone(), read(&path)?)))?;
    let interpreter = interpreter(&bytes)?;
    read(&interpreter).is_none().then_some((program, interpreter))
}

/// The image's layers, lowest first, from the configuration that was written from them.
fn layers(container: &Container, spec: &Spec) -> Option<Vec<PathBuf>> {
    if container.record.storage == Storage::Copy {
        return Some(vec![container.folder.join("rootfs")]);
    }
    let options = spec.mounts().as_ref()?.first()?.options().as_ref()?;
    let lower = options.iter().find_map(|option| option.strip_prefix("lowerdir="))?;
    Some(split(lower).into_iter().rev().map(PathBuf::from).collect())
}

/// Splits at colons without a backslash before them.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' => parts.push(String::new()),
            _ => {
                let c = if c == '\\' { chars.next().unwrap_or(c) } else { c };
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    parts
}

/// Where the program may be.
fn candidates(word: &str, cwd: &Path, env: &[String]) -> Vec<String> {
    if word.contains('/') {
        return vec![cwd.join(word).to_string_lossy().into_owned()];
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':').map(|folder| format!("{folder}/{word}")).collect()
}

/// What the file says shall run it.
fn interpreter(bytes: &[u8]) -> Option<String> {
    if let Some(script) = bytes.strip_prefix(b"#!") {
        let line = script.get(..FIRST_LINE.min(script.len()))?.split(|byte| *byte == b'\n').next()?;
        return String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned);
    }
    loader(bytes)
}

/// PT_INTERP of a 64-bit little-endian ELF file: elf(5).
fn loader(bytes: &[u8]) -> Option<String> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, size: usize| {
        let field = bytes.get(at..at.checked_add(size)?)?;
        Some(field.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let header = usize::try_from(table.checked_add(index * size)?).ok()?;
        if number(header, 4)? == PT_INTERP {
            let (offset, length) = (number(header.checked_add(8)?, 8)?, number(header.checked_add(32)?, 8)?);
            let start = usize::try_from(offset).ok()?;
            let text = bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)?;
            return Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_dynamic_programs_name_their_interpreter() {
        assert_eq!(interpreter(b"#! /usr/bin/env python3\nx").as_deref(), Some("/usr/bin/env"));
        assert_eq!(interpreter(b"plain"), None);
        assert_eq!(interpreter(b"\x7fELF\x02\x01"), None);
        if let Ok(bytes) = fs::read("/bin/true") {
            assert!(interpreter(&bytes).is_some_and(|path| path.contains("ld-")));
        }
    }

    #[test]
    fn quoted_colons_do_not_split() {
        assert_eq!(split("/a\\:b:/c\\,d"), ["/a:b", "/c,d"]);
    }
}
