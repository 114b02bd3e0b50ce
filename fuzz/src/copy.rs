// SPDX-License-Identifier: Apache-2.0
//! What comes out of a container for `kelp cp`: a tar that whoever lives there wrote, made into files below a root.
//!
//! The first byte says how it is copied, the rest is the tar.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kelp_bundles::copy::{self, Into, Origin, Owner};

/// Where it goes: a folder that is there, through a link, a name that is new, one below nothing.
const PLACES: [&str; 8] = ["/", "/into", "link", "/out", "new", "/into/new", "none/new", "file"];

/// See the module.
pub fn run(bytes: &[u8]) {
    let Some((how, tar)) = bytes.split_first() else { return };
    let folder = crate::scratch::empty("copy");
    let (root, outside) = (folder.join("root"), folder.join("outside"));
    fs::create_dir_all(root.join("into")).expect("a root");
    fs::create_dir_all(&outside).expect("a folder beside it");
    fs::write(outside.join("secret"), "as it was").expect("a file beside it");
    fs::write(root.join("file"), "taken").expect("a file");
    // In the eyes of who lives below the root the second leads to it, and not out of it.
    for (target, link) in [("into", "link"), ("../../outside", "out")] {
        symlink(target, root.join(link)).expect("a link");
    }
    let options = Into { as_is: how & 8 != 0, contents: how & 16 != 0, owner: Owner::Ours, origin: Origin::Container };
    let place = PLACES[usize::from(how & 7)];
    let open = copy::root(&root).expect("the root");
    drop(copy::unpack(&open, Path::new(place), options, tar));
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).expect("the folder").flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder), ["outside", "root"], "a tar wrote beside the root");
    assert_eq!(names(&outside), ["secret"], "a tar wrote outside of the root");
    let secret = fs::metadata(outside.join("secret")).expect("the file beside it");
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&secret), 1, "a tar linked to what is outside of the root");
    assert_eq!(fs::read_to_string(outside.join("secret")).expect("the file beside it"), "as it was");
    // What was made can be copied on, or is refused: a file nobody may read, say.
    drop(copy::pack(&open, Path::new("/"), false, std::io::sink()));
}
