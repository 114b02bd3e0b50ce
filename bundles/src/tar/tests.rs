// SPDX-License-Identifier: Apache-2.0
//! Archives as real tars write them, and as nobody should.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn read_all(bytes: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(bytes, 1 << 20);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        entries.push((entry, content));
    }
    Ok(entries)
}

/// A plain ustar archive, for spoiling.
pub(crate) fn one_file(path: &str, content: &[u8]) -> Vec<u8> {
    let mut block = [0u8; BLOCK];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000001");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    sign(&mut block);
    let mut tar = block.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    tar
}

fn sign(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..BLOCK].iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

#[test]
fn every_format_of_gnu_tar_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("tree").join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(100)), b"deep").unwrap();
    fs::write(dir.path().join("tree/small"), b"content").unwrap();
    fs::hard_link(dir.path().join("tree/small"), dir.path().join("tree/tied")).unwrap();
    std::os::unix::fs::symlink("t".repeat(150), dir.path().join("tree/way")).unwrap();
    for format in ["gnu", "pax", "oldgnu"] {
        let tar = Command::new("tar")
            .args(["--format", format, "--sort=name", "-C"])
            .arg(dir.path())
            .args(["-c", "tree"])
            .output()
            .unwrap();
        let entries = read_all(&tar.stdout).unwrap();
        let paths: Vec<String> = entries.iter().map(|(e, _)| String::from_utf8(e.path.clone()).unwrap()).collect();
        assert!(
            paths.iter().any(|p| p.ends_with(&format!("{}/{}", "e".repeat(120), "f".repeat(100)))),
            "{format}: {paths:?}"
        );
        let find = |name: &str| entries.iter().find(|(e, _)| e.path == name.as_bytes()).unwrap();
        assert_eq!(find("tree/small").1, b"content", "{format}");
        assert_eq!(
            (find("tree/tied").0.kind, find("tree/tied").0.link.as_slice()),
            (EntryKind::HardLink, &b"tree/small"[..])
        );
        assert_eq!(find("tree/way").0.link, "t".repeat(150).into_bytes());
        assert_eq!(find("tree/").0.kind, EntryKind::Folder);
    }
}

#[test]
fn sparse_files_of_every_form_have_the_same_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("sparse")).unwrap();
    for i in 0..40u64 {
        file.seek(SeekFrom::Start(i * (1 << 20))).unwrap();
        file.write_all(&[i as u8 + 1; 4096]).unwrap();
    }
    file.set_len(64 << 20).unwrap();
    for options in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let tar = Command::new("tar")
            .args(options)
            .args(["-S", "-C"])
            .arg(dir.path())
            .args(["-c", "sparse"])
            .output()
            .unwrap();
        assert!(tar.stdout.len() < 1 << 20, "{options:?}: the test needs a file system with holes");
        let entries = read_all(&tar.stdout).unwrap();
        let (entry, content) = &entries[0];
        assert_eq!((entry.path.as_slice(), entry.size), (&b"sparse"[..], 64 << 20), "{options:?}");
        let starts: Vec<u64> = entry.segments.iter().filter(|s| s.length > 0).map(|s| s.offset).collect();
        assert_eq!(starts, (0..40).map(|i| i * (1 << 20)).collect::<Vec<_>>(), "{options:?}");
        assert_eq!((content.len(), content[0], content[content.len() - 1]), (40 * 4096, 1, 40), "{options:?}");
    }
}

#[test]
fn pax_records_carry_owners_times_and_attributes() {
    let records: Vec<u8> = [("uid", "3000000000"), ("mtime", "1.25"), ("SCHILY.xattr.user.a", "b=c"), ("path", "long")]
        .iter()
        .flat_map(|(key, value)| {
            let body = format!(" {key}={value}\n");
            let mut length = body.len() + 2;
            if length.to_string().len() + body.len() != length {
                length = length.to_string().len() + body.len();
            }
            format!("{length}{body}").into_bytes()
        })
        .collect();
    let mut tar = one_file("pax", &records);
    tar[156] = b'x';
    sign(&mut tar);
    tar.truncate(tar.len() - 2 * BLOCK);
    tar.extend(one_file("short", b"x"));
    let (entry, content) = read_all(&tar).unwrap().remove(0);
    assert_eq!((entry.path.as_slice(), entry.uid, entry.mtime), (&b"long"[..], 3_000_000_000, (1, 250_000_000)));
    assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"b=c".to_vec())]);
    assert_eq!(content, b"x");
}

#[test]
fn a_truncated_archive_is_an_error_wherever_it_ends() {
    let tar = one_file("file", &[7; 1000]);
    for end in 1..BLOCK + 1024 {
        // The end of a header's block without its content, and every place within, but not the bounds of entries.
        assert!(read_all(&tar[..end]).is_err(), "at {end}");
    }
    assert_eq!(read_all(&tar[..BLOCK + 1024]).unwrap().len(), 1);
}

#[test]
fn a_header_that_claims_too_much_is_refused_unread() {
    let mut long = one_file("name", b"");
    long[156] = b'L';
    long[124..135].copy_from_slice(b"77777777777");
    sign(&mut long);
    assert!(read_all(&long).unwrap_err().to_string().contains("longer than"));
    let mut spoiled = one_file("name", b"");
    spoiled[0] = b'N';
    assert!(read_all(&spoiled).unwrap_err().to_string().contains("checksum"));
    let mut announced = one_file("name", b"x");
    announced[156] = b'L';
    sign(&mut announced);
    assert!(read_all(&announced).unwrap_err().to_string().contains("announced"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(mut tar in prop::collection::vec(any::<u8>(), 512..2048), flag in any::<u8>()) {
        tar[156] = flag;
        tar[124..136].copy_from_slice(b"00000001000\0");
        sign(&mut tar);
        prop_assert!(read_all(&tar).is_ok() || read_all(&tar).is_err());
    }

    #[test]
    fn no_pax_records_make_the_parser_panic(text in "([0-9]{1,3} [a-zA-Z.]{0,12}=[0-9,.\\-]{0,12}\n){0,4}.{0,8}") {
        prop_assert!(Pax::parse(text.as_bytes()).is_ok() || Pax::parse(text.as_bytes()).is_err());
    }
}
