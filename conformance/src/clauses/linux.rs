// SPDX-License-Identifier: Apache-2.0
//! runtime-linux.md, and the rest of config-linux.md: sysctl, propagation, masked and readonly paths, personality,
//! memory policy, Intel RDT.

use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::json;

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, Need, ensure, same};
use crate::config::{remove, steps};
use crate::trial::{Trial, broken};

const DESCRIPTORS: Chapter = Chapter::new(Document::RuntimeLinux, "File descriptors");
const LINKS: Chapter = Chapter::new(Document::RuntimeLinux, "Dev symbolic links");
const SYSCTL: Chapter = Chapter::new(Document::ConfigLinux, "Sysctl");
const PROPAGATION: Chapter = Chapter::new(Document::ConfigLinux, "Rootfs Mount Propagation");
const MASKED: Chapter = Chapter::new(Document::ConfigLinux, "Masked Paths");
const READONLY: Chapter = Chapter::new(Document::ConfigLinux, "Readonly Paths");
const PERSONALITY: Chapter = Chapter::new(Document::ConfigLinux, "Personality");
const MEMORY_POLICY: Chapter = Chapter::new(Document::ConfigLinux, "Memory policy");
const RDT: Chapter = Chapter::new(Document::ConfigLinux, "IntelRdt");

const SYMLINKS: &str = "runtimes MUST create the following symlinks if the source file exists after processing mounts";
const NO_LINKS: Mutation = Mutation::Facts(|f| f.links.clear());

/// runtime-linux.md
pub(super) const RUNTIME_CASES: &[Case] = &[
    DESCRIPTORS.says("descriptors-standard-only", "By default, only the stdin, stdout and stderr file descriptors are kept open for the application by the runtime.",
        |t| {
            // Somebody has started the runtime with one descriptor too many.
            let leak = broken(std::fs::File::open("/"), "/")?;
            broken(fcntl_setfd(&leak, FdFlags::empty()), "a descriptor")?;
            let facts = t.look(|_| {})?;
            drop(leak);
            same("open descriptors", facts.fds.keys().copied().collect::<Vec<_>>(), vec![0, 1, 2])
        },
        &[Mutation::Facts(|f| { f.fds.insert(3, "/".into()); })]),
    LINKS.says("dev-fd", SYMLINKS, |t| link(t, "fd", "/proc/self/fd"), &[NO_LINKS]),
    LINKS.says("dev-stdin", SYMLINKS, |t| link(t, "stdin", "/proc/self/fd/0"), &[NO_LINKS]),
    LINKS.says("dev-stdout", SYMLINKS, |t| link(t, "stdout", "/proc/self/fd/1"), &[NO_LINKS]),
    LINKS.says("dev-stderr", SYMLINKS, |t| link(t, "stderr", "/proc/self/fd/2"), &[NO_LINKS]),
];

/// config-linux.md
pub(super) const CASES: &[Case] = &[
    SYSCTL.says("sysctl-net", "sysctl (object, OPTIONAL) allows kernel parameters to be modified at runtime for the container.",
        |t| {
            let facts = t.look(|c| c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"}))?;
            same("net.ipv4.ip_forward", facts.sysctl("net/ipv4/ip_forward")?, "1")
        },
        &[Mutation::Config(|c| c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "0"}))]),
    SYSCTL.says("sysctl-ipc", "sysctl (object, OPTIONAL) allows kernel parameters to be modified at runtime for the container.",
        |t| {
            let facts = t.look(|c| c["linux"]["sysctl"] = json!({"kernel.shm_rmid_forced": "1"}))?;
            same("kernel.shm_rmid_forced", facts.sysctl("kernel/shm_rmid_forced")?, "1")
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "sysctl"))]),
    SYSCTL.says("sysctl-of-host-untouched", "sysctl (object, OPTIONAL) allows kernel parameters to be modified at runtime for the container.",
        |t| {
            let before = t.read("/proc/sys/kernel/shm_rmid_forced")?;
            t.look(|c| c["linux"]["sysctl"] = json!({"kernel.shm_rmid_forced": "1"}))?;
            same("ours afterwards", crate::trial::text("/proc/sys/kernel/shm_rmid_forced".as_ref()), before)
        },
        &[Mutation::Outside(|x| *x = "7\n".into())]),
    PROPAGATION.says("rootfsPropagation-private", "private: the rootfs mount doesn't receive mount propagation events from the host",
        |t| propagation(t, "private", "") , &[Mutation::Config(|c| c["linux"]["rootfsPropagation"] = json!("shared"))]),
    PROPAGATION.says("rootfsPropagation-shared", "shared: the rootfs mount belongs to a new peer group.",
        |t| propagation(t, "shared", "shared"), &[Mutation::Config(|c| c["linux"]["rootfsPropagation"] = json!("private"))]),
    PROPAGATION.says("rootfsPropagation-slave", "slave: the rootfs mount receives propagation events from the host but not the other way around.",
        |t| propagation(t, "slave", "master"), &[Mutation::Config(|c| c["linux"]["rootfsPropagation"] = json!("private"))]).needs(&[Need::Root]),
    PROPAGATION.says("rootfsPropagation-unbindable", "unbindable: the rootfs mount is a private mount that cannot be bind-mounted.",
        |t| propagation(t, "unbindable", "unbindable"), &[Mutation::Config(|c| c["linux"]["rootfsPropagation"] = json!("private"))]),
    MASKED.says("maskedPaths-file", "maskedPaths (array of strings, OPTIONAL) will mask over the provided paths inside the container so that they cannot be read.",
        |t| {
            let facts = t.look(|c| { c["linux"]["maskedPaths"] = json!(["/etc/secret"]); steps(c, &["read:/etc/secret", "report"]); })?;
            same("what can be read", facts.act("read:/etc/secret")?.text.as_str(), "")
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "maskedPaths"))]),
    MASKED.says("maskedPaths-folder", "maskedPaths (array of strings, OPTIONAL) will mask over the provided paths inside the container so that they cannot be read.",
        |t| {
            let facts = t.look(|c| { c["linux"]["maskedPaths"] = json!(["/etc/hidden"]); steps(c, &["list:/etc/hidden", "read:/etc/hidden/file", "write:/etc/hidden/new", "report"]); })?;
            same("what is in it", facts.act("list:/etc/hidden")?.text.as_str(), "")?;
            ensure(facts.errno("read:/etc/hidden/file")? != 0, || "a file in it can be read".into())?;
            ensure(facts.errno("write:/etc/hidden/new")? != 0, || "a file in it can be made".into())
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "maskedPaths"))]),
    MASKED.says("maskedPaths-missing", "maskedPaths (array of strings, OPTIONAL) will mask over the provided paths inside the container so that they cannot be read.",
        |t| t.look(|c| c["linux"]["maskedPaths"] = json!(["/etc/nowhere", "/proc/nowhere"])).map(drop),
        &[Mutation::Config(|c| c["linux"]["maskedPaths"] = json!(7))]),
    READONLY.says("readonlyPaths", "readonlyPaths (array of strings, OPTIONAL) will set the provided paths as readonly inside the container.",
        |t| {
            let facts = t.look(|c| { c["linux"]["readonlyPaths"] = json!(["/etc"]); steps(c, &["write:/etc/new", "write:/share/new", "report"]); })?;
            same("errno of a new file there", facts.errno("write:/etc/new")?, 30)?;
            same("errno of a new file elsewhere", facts.errno("write:/share/new")?, 0)
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "readonlyPaths")), Mutation::Facts(|f| f.set_errnos(0))]),
    READONLY.says("readonlyPaths-nothing-else", "readonlyPaths (array of strings, OPTIONAL) will set the provided paths as readonly inside the container.",
        |t| {
            let facts = t.look(|c| { c["linux"]["readonlyPaths"] = json!(["/bin"]); steps(c, &["exec:/bin/probe", "report"]); })?;
            same("errno of a program there", facts.errno("exec:/bin/probe")?, 0)?;
            ensure(facts.mount("/bin")?.has("ro"), || "/bin is not mounted ro".into())
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "readonlyPaths")), Mutation::Facts(|f| f.set_errnos(13))]),
    READONLY.says("readonlyPaths-proc-sys", "readonlyPaths (array of strings, OPTIONAL) will set the provided paths as readonly inside the container.",
        |t| {
            let facts = t.look(|c| { c["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
                // Without it the sysctl's own owner refuses before the mount does.
                for set in ["bounding", "permitted", "effective"] { c["process"]["capabilities"][set] = json!(["CAP_NET_ADMIN"]); }
                steps(c, &["append:/proc/sys/net/ipv4/ip_forward=0", "report"]); })?;
            same("errno of a write to a sysctl", facts.errno("append:/proc/sys/net/ipv4/ip_forward=0")?, 30)
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "readonlyPaths"))]),
    PERSONALITY.says("personality-LINUX32", "LINUX32 will set the uname system call to show a 32 bit CPU type, such as i686.",
        |t| {
            let machine = t.look(|c| c["linux"]["personality"] = json!({"domain": "LINUX32"}))?.machine;
            ensure(machine != std::env::consts::ARCH && !machine.contains("64"), || format!("uname says {machine}"))
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "personality"))]),
    PERSONALITY.says("personality-LINUX", "domain (string, REQUIRED) - the execution domain.",
        |t| same("uname", t.look(|c| c["linux"]["personality"] = json!({"domain": "LINUX"}))?.machine.as_str(), std::env::consts::ARCH),
        &[Mutation::Facts(|f| f.machine = "i686".into())]),
    PERSONALITY.says("personality-unknown", "domain (string, REQUIRED) - the execution domain. The valid list of constants is shown below.",
        |t| t.refuses(|c| c["linux"]["personality"] = json!({"domain": "BSD"})).map(drop),
        &[Mutation::Config(|c| remove(&mut c["linux"], "personality")), CREATE_ACCEPTS]),
    MEMORY_POLICY.says("memoryPolicy-mode", "memoryPolicy (object, OPTIONAL) sets the NUMA memory policy for the container.",
        |t| {
            let facts = t.look(|c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": []}))?;
            let first = facts.file("/proc/self/numa_maps")?.lines().next().unwrap_or("").to_owned();
            ensure(first.contains("interleave:0"), || format!("numa_maps says {first}"))
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "memoryPolicy"))]).needs(&[Need::Path("/proc/self/numa_maps")]),
    MEMORY_POLICY.says("memoryPolicy-unknown", "mode (string, REQUIRED) - A valid list of constants is shown below.",
        |t| t.refuses(|c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_WHEREVER"})).map(drop),
        &[Mutation::Config(|c| remove(&mut c["linux"], "memoryPolicy")), CREATE_ACCEPTS]),
    RDT.says("intelRdt-without-resctrl", "If no mounted resctrl pseudo-filesystem is available in the runtime mount namespace, the runtime MUST generate an error.",
        |t| {
            ensure(!t.read("/proc/self/mounts")?.contains(" resctrl "), || "resctrl is mounted".into())
                .map_err(|_| crate::case::Stop::Skip("resctrl is mounted here".into()))?;
            t.refuses(|c| c["linux"]["intelRdt"] = json!({"closID": "kc", "l3CacheSchema": "L3:0=f"})).map(drop)
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "intelRdt")), CREATE_ACCEPTS]),
];

fn link(t: &mut Trial<'_>, name: &str, to: &str) -> Judged<()> {
    let path = format!("/dev/{name}");
    same(&path, t.look(|_| {})?.link(&path)?, to)
}

fn propagation(t: &mut Trial<'_>, value: &'static str, word: &str) -> Judged<()> {
    let bundle = t.bundle(|c| c["linux"]["rootfsPropagation"] = json!(value))?;
    let root = bundle.join("rootfs").to_string_lossy().into_owned();
    // Only a mount that is shared with us can become our slave.
    let shared = !t.place.rootless && word == "master";
    if shared {
        t.host("mount", &["--bind", &root, &root])?;
        t.host("mount", &["--make-shared", &root])?;
    }
    let ended = t.create_in(&bundle, &[]).and_then(|container| t.finish(&container));
    if shared {
        t.host("umount", &["-l", &root])?;
    }
    let root = ended?.mount("/")?;
    let right = if word.is_empty() { root.propagation.is_empty() } else { root.propagates(word) };
    ensure(right, || format!("the kernel shows the propagation {:?} at /", root.propagation))
}
