// SPDX-License-Identifier: Apache-2.0
//! features.md and features-linux.md: what a runtime says of itself, and whether it is true.

use serde_json::{Value, json};

use super::state::is_semver;
use crate::case::{Case, Chapter, Document, Judged, Mutation, Need, Stop, ensure};
use crate::config::{add_mount, mount};
use crate::trial::{Ran, Trial};

const VERSION: Chapter = Chapter::new(Document::Features, "Specification version");
const HOOKS: Chapter = Chapter::new(Document::Features, "Hooks");
const MOUNTS: Chapter = Chapter::new(Document::Features, "Mount Options");
const NAMESPACES: Chapter = Chapter::new(Document::FeaturesLinux, "Namespaces");
const CAPABILITIES: Chapter = Chapter::new(Document::FeaturesLinux, "Capabilities");
const SECCOMP: Chapter = Chapter::new(Document::FeaturesLinux, "Seccomp");

const FEATURES: &[Need] = &[Need::Features];

fn in_features(ran: &mut Ran, edit: impl FnOnce(&mut Value)) {
    if ran.verb == "features" {
        ran.edit(edit);
    }
}

pub(super) const CASES: &[Case] = &[
    VERSION.says("features-ociVersionMin", "The runtime MUST accept this value as the ociVersion property of config.json.",
        |t| accepted(t, "ociVersionMin"), &[Mutation::Ran(|r| in_features(r, |f| f["ociVersionMin"] = json!("old")))]).needs(FEATURES),
    VERSION.says("features-ociVersionMax", "The runtime MUST accept this value as the ociVersion property of config.json.",
        |t| accepted(t, "ociVersionMax"), &[Mutation::Ran(|r| in_features(r, |f| f["ociVersionMax"] = Value::Null))]).needs(FEATURES),
    VERSION.says("features-versions-ordered", "The value MUST NOT be less than the value of the ociVersionMin property.",
        |t| {
            let features = features(t)?;
            let (least, most) = (numbers(&features["ociVersionMin"]), numbers(&features["ociVersionMax"]));
            ensure(least <= most && !most.is_empty(), || format!("from {least:?} to {most:?}"))
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["ociVersionMin"] = json!("99.0.0")))]).needs(FEATURES),
    HOOKS.says("features-hooks", "The runtime MUST support the elements in this array as the hooks property of config.json.",
        |t| {
            let known = list(&features(t)?["hooks"])?;
            let diary = super::hooks::Hooks::new(t)?;
            t.look(|c| {
                diary.all_kinds(c);
                let hooks = std::mem::take(&mut c["hooks"]);
                c["hooks"] = known.iter().map(|k| (k.clone(), hooks[k].clone())).filter(|h| !h.1.is_null()).collect();
            })?;
            let ran = super::hooks::tags(&t.diary()?);
            let missing: Vec<_> = known.iter().filter(|k| !ran.contains(k)).collect();
            ensure(missing.is_empty(), || format!("these are named but were not run: {missing:?}"))
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["hooks"] = json!(["postmodern"]))), Mutation::Diary(Vec::clear)]).needs(FEATURES),
    MOUNTS.says("features-mountOptions", "The runtime MUST recognize the elements in this array as the options of mounts objects in config.json.",
        |t| {
            let known = list(&features(t)?["mountOptions"])?;
            // These need a source, a mount below them, or mappings; ACLs are not every file system's.
            let special = |o: &str| ["bind", "remount", "idmap", "acl", "copy-symlink", "src-nofollow"].iter().any(|s| o.contains(s)) || o == "mand" || o == "nomand";
            let plain: Vec<String> = known.into_iter().filter(|o| !special(o)).collect();
            t.look(|c| {
                for (n, option) in plain.iter().enumerate() {
                    add_mount(c, mount(&format!("/m{n}"), "tmpfs", "tmpfs", &[option]));
                }
            })
            .map(drop)
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["mountOptions"] = json!(["sideways"])))]).needs(FEATURES),
    NAMESPACES.says("features-namespaces", "The runtime MUST recognize the elements in this array as the type of linux.namespaces objects in config.json.",
        |t| {
            for kind in list(&features(t)?["linux"]["namespaces"])? {
                let (rootless, file) = (t.place.rootless, kind.replace("network", "net").replace("mount", "mnt"));
                if !std::path::Path::new(&format!("/proc/self/ns/{file}")).exists() || (kind == "user" && !rootless) {
                    continue;
                }
                t.look(|c| {
                    crate::config::drop_namespace(c, &kind);
                    crate::config::add_namespace(c, json!({"type": kind}));
                })?;
            }
            Ok(())
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["linux"]["namespaces"] = Value::Null))]).needs(FEATURES),
    CAPABILITIES.says("features-capabilities", "The runtime MUST recognize the elements in this array in the process.capabilities object of config.json.",
        |t| {
            let known = list(&features(t)?["linux"]["capabilities"])?;
            let bundle = t.bundle(|c| c["process"]["capabilities"] = json!({"bounding": known}))?;
            let id = t.id();
            let ran = t.call(&bundle, &["create", &id])?;
            ran.worked()?;
            let unknown: Vec<_> = known.iter().filter(|k| ran.stderr.contains(k.as_str())).collect();
            ensure(unknown.is_empty(), || format!("create does not know these: {unknown:?}"))
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["linux"]["capabilities"] = Value::Null))]).needs(FEATURES),
    SECCOMP.says("features-seccomp-actions", "The runtime MUST recognize the elements in this array in the syscalls[].action property of the linux.seccomp object in config.json.",
        |t| {
            let known = list(&features(t)?["linux"]["seccomp"]["actions"])?;
            for action in known.iter().filter(|a| a.as_str() != "SCMP_ACT_NOTIFY") {
                let default = if action == "SCMP_ACT_ALLOW" { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" };
                t.look(|c| c["linux"]["seccomp"] = json!({"defaultAction": default, "syscalls": [{"names": ["ptrace"], "action": action}]}))?;
            }
            Ok(())
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["linux"]["seccomp"]["actions"] = json!(["SCMP_ACT_SHRUG"])))]).needs(FEATURES),
    SECCOMP.says("features-seccomp-operators", "The runtime MUST recognize the elements in this array in the syscalls[].args[].op property of the linux.seccomp object in config.json.",
        |t| {
            let known = list(&features(t)?["linux"]["seccomp"]["operators"])?;
            let rules: Vec<Value> = known.iter().zip(0..).map(|(op, n)| json!({"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1000 + n, "valueTwo": 0, "op": op}]})).collect();
            t.look(|c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})).map(drop)
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["linux"]["seccomp"]["operators"] = json!(["SCMP_CMP_ISH"])))]).needs(FEATURES),
    SECCOMP.says("features-seccomp-archs", "The runtime MUST recognize the elements in this array in the architectures property of the linux.seccomp object in config.json.",
        |t| {
            let known = list(&features(t)?["linux"]["seccomp"]["archs"])?;
            t.look(|c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": known, "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}]})).map(drop)
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["linux"]["seccomp"]["archs"] = json!(["SCMP_ARCH_PDP11"])))]).needs(FEATURES),
    SECCOMP.says("features-seccomp-flags", "The runtime MUST recognize and support the elements in this array in the flags property of the linux.seccomp object in config.json.",
        |t| {
            let features = features(t)?;
            let seccomp = &features["linux"]["seccomp"];
            if seccomp["supportedFlags"].is_null() {
                return Err(Stop::Skip("the runtime names no flags (it MAY)".into()));
            }
            let known = list(&seccomp["supportedFlags"])?;
            // This one is only for profiles that notify.
            let plain: Vec<_> = known.into_iter().filter(|f| f != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV").collect();
            t.look(|c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": plain, "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}]})).map(drop)
        },
        &[Mutation::Ran(|r| in_features(r, |f| f["linux"]["seccomp"]["supportedFlags"] = json!(["SECCOMP_FILTER_FLAG_MAYBE"])))]).needs(FEATURES),
];

fn features(t: &mut Trial<'_>) -> Judged<Value> {
    let dir = t.path("");
    let ran = t.call(&dir, &["features"])?;
    ran.worked()?;
    ran.json()
}

/// Properties other than the versions MAY be absent: then there is nothing to judge.
fn list(value: &Value) -> Judged<Vec<String>> {
    let words =
        value.as_array().map(|all| all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>());
    words.filter(|w| !w.is_empty()).ok_or_else(|| Stop::Red("the list is absent or empty".into()))
}

fn accepted(t: &mut Trial<'_>, key: &str) -> Judged<()> {
    let features = features(t)?;
    let version = features[key].as_str().unwrap_or("").to_owned();
    ensure(is_semver(&version), || format!("{key} is {}", features[key]))?;
    t.look(|c| c["ociVersion"] = json!(version)).map(drop)
}

fn numbers(version: &Value) -> Vec<u32> {
    let core = version.as_str().unwrap_or("").split(['-', '+']).next().unwrap_or("");
    core.split('.').filter_map(|n| n.parse().ok()).collect()
}
