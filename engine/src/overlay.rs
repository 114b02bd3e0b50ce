// SPDX-License-Identifier: Apache-2.0
//! Whether this user may mount an overlay on this store: tried once per store and kernel, and remembered in it.
//!
//! The try runs in a child of ours (our own program with a hidden first argument), in namespaces that end with it.
//! Kernel: overlayfs in a user namespace since Linux 5.11; the filesystem below must be able to carry it.

use crate::caller::Caller;
use crate::container::id;
use crate::error::{Doing, Result};
use kelp_sys::clone::Namespaces;
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use kelp_sys::rustix::process::{getegid, geteuid};
use kelp_sys::rustix::system::uname;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The hidden first argument; the folder to try in follows.
const ARGUMENT: &str = "kelp-overlay-probe";
const FILE: &str = "overlay.json";

/// What was found, for which kernel.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    kernel: String,
    uid: u32,
    /// Why it does not work; nothing: it does.
    because: Option<String>,
}

/// Whether overlays work; if not, why. Said to the user once: the caller learns whether this was the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlay {
    /// It works.
    Works,
    /// It does not.
    Refused {
        /// The kernel's reason.
        because: String,
        /// Nobody has been told yet.
        news: bool,
    },
}

/// Remembers or tries.
pub fn probe(caller: &Caller) -> Result<Overlay> {
    let kernel = uname().release().to_string_lossy().into_owned();
    let uid = geteuid().as_raw();
    let file = caller.places.store.join(FILE);
    let remembered = fs::read(&file).ok().and_then(|json| serde_json::from_slice::<Found>(&json).ok());
    if let Some(found) = remembered.filter(|found| found.kernel == kernel && found.uid == uid) {
        return Ok(found.because.map_or(Overlay::Works, |because| Overlay::Refused { because, news: false }));
    }
    let because = attempt(caller)?;
    let found = Found { kernel, uid, because: because.clone() };
    crate::container::record::write(&caller.places.store, FILE, &found)?;
    Ok(because.map_or(Overlay::Works, |because| Overlay::Refused { because, news: true }))
}

/// Mounts an overlay in a scratch folder of the store; the kernel's reason if it refuses.
fn attempt(caller: &Caller) -> Result<Option<String>> {
    let doing = || format!("cannot try an overlay in {}", caller.places.store.display());
    let scratch = caller.places.store.join(format!(".overlay-{}", id::random()?));
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(scratch.join(name)).doing(doing)?;
    }
    let own = Path::new("/proc/self/exe");
    let output = Command::new(own).arg(ARGUMENT).arg(&scratch).stdin(Stdio::null()).output().doing(doing)?;
    // The kernel leaves a folder without permissions in work: empty, so its parent's owner may remove it.
    let leftover = scratch.join("work/work");
    if leftover.exists() {
        fs::remove_dir(leftover).doing(doing)?;
    }
    fs::remove_dir_all(&scratch).doing(doing)?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then(|| if said.is_empty() { output.status.to_string() } else { said }))
}

/// Removes the scratch folders of tries that were killed.
pub fn sweep(caller: &Caller) -> Result<()> {
    let doing = || format!("cannot tidy up {}", caller.places.store.display());
    for entry in fs::read_dir(&caller.places.store).doing(doing)? {
        let path = entry.doing(doing)?.path();
        let is_scratch = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".overlay-"));
        // A try takes milliseconds.
        let age = || path.metadata().and_then(|it| it.modified()).ok().and_then(|it| it.elapsed().ok());
        if is_scratch && age().is_some_and(|age| age > Duration::from_secs(60)) {
            crate::container::remove::tree(&path)?;
        }
    }
    Ok(())
}

/// Does the try if this process was started for one. For `main`, while there is one thread.
pub fn run_if_asked() -> Option<Result<(), String>> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let scratch = arguments.next()?;
    Some(child(Path::new(&scratch)))
}

/// In the child: namespaces of its own, one id mapped, one mount that ends with it.
fn child(scratch: &Path) -> Result<(), String> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let rootless = uid != 0;
    let namespaces = if rootless { Namespaces::USER.with(Namespaces::MOUNT) } else { Namespaces::MOUNT };
    kelp_sys::process::unshare(namespaces).map_err(|errno| format!("unshare: {errno}"))?;
    if rootless {
        for (file, line) in [
            ("uid_map", format!("0 {uid} 1\n")),
            ("setgroups", "deny\n".to_owned()),
            ("gid_map", format!("0 {gid} 1\n")),
        ] {
            fs::write(Path::new("/proc/self").join(file), line).map_err(|error| format!("{file}: {error}"))?;
        }
    }
    let errno = |errno: Errno| std::io::Error::from_raw_os_error(errno.raw_os_error());
    // Root's new namespace is a peer of the host's until this.
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|why| format!("mount(MS_PRIVATE): {}", errno(why)))?;
    let attributes = if rootless { ",userxattr" } else { "" };
    // Relative paths need no quoting.
    std::env::set_current_dir(scratch).map_err(|error| error.to_string())?;
    let data = CString::new(format!("lowerdir=lower,upperdir=upper,workdir=work{attributes}"));
    let data = data.map_err(|error| error.to_string())?;
    mount(c"overlay", c"merged", c"overlay", MountFlags::empty(), Some(data.as_c_str()))
        .map_err(|why| format!("mount(\"overlay\"): {}", errno(why)))
}
