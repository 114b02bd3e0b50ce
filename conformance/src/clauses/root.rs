// SPDX-License-Identifier: Apache-2.0
//! config.md: version, root, hostname, domainname, annotations, extensibility, valid values.

use serde_json::json;

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Mutation, ensure, same};
use crate::config::{remove, steps};

const VERSION: Chapter = Chapter::new(Document::Config, "Specification version");
const ROOT: Chapter = Chapter::new(Document::Config, "Root");
const HOSTNAME: Chapter = Chapter::new(Document::Config, "Hostname");
const DOMAINNAME: Chapter = Chapter::new(Document::Config, "Domainname");
const ANNOTATIONS: Chapter = Chapter::new(Document::Config, "Annotations");
const EXTENSIBILITY: Chapter = Chapter::new(Document::Config, "Extensibility");
const VALID: Chapter = Chapter::new(Document::Config, "Valid values");

const EROFS: i32 = 30;

pub(super) const CASES: &[Case] = &[
    VERSION.says(
        "ociVersion-semver",
        "ociVersion (string, REQUIRED) MUST be in SemVer v2.0.0 format",
        |t| t.refuses(|c| c["ociVersion"] = json!("latest")).map(drop),
        &[Mutation::Config(|c| c["ociVersion"] = json!("1.0.2")), CREATE_ACCEPTS],
    ),
    VERSION.says(
        "ociVersion-compatible",
        "if a configuration is compliant with version 1.1 of this specification, it is compatible with all runtimes that support any 1.1 or later release of this specification",
        |t| {
            for version in ["1.0.0", "1.0.2"] {
                t.look(|c| c["ociVersion"] = json!(version))?;
            }
            Ok(())
        },
        &[Mutation::Config(|c| c["root"]["path"] = json!("nowhere"))],
    ),
    ROOT.says(
        "root-path-relative",
        "On POSIX platforms, path is either an absolute path or a relative path to the bundle.",
        |t| {
            let facts = t.look(|c| steps(c, &["read:/etc/secret", "report"]))?;
            same("a file of the root filesystem", facts.act("read:/etc/secret")?.text.as_str(), "secret")
        },
        &[Mutation::Config(|c| c["root"]["path"] = json!("rootfs/etc")), Mutation::Facts(|f| f.acts.clear())],
    ),
    ROOT.says(
        "root-path-absolute",
        "On POSIX platforms, path is either an absolute path or a relative path to the bundle.",
        |t| {
            let other = t.bundle(|_| {})?.join("rootfs");
            crate::trial::broken(std::fs::write(other.join("etc/secret"), "other"), "a root filesystem")?;
            let facts = t.look(|c| {
                c["root"]["path"] = json!(other.to_string_lossy());
                steps(c, &["read:/etc/secret", "report"]);
            })?;
            same("a file of the root filesystem", facts.act("read:/etc/secret")?.text.as_str(), "other")
        },
        &[Mutation::Config(|c| c["root"]["path"] = json!("rootfs"))],
    ),
    ROOT.says(
        "root-path-exists",
        "A directory MUST exist at the path declared by the field.",
        |t| t.refuses(|c| c["root"]["path"] = json!("etc/secret")).map(drop),
        &[Mutation::Config(|c| c["root"]["path"] = json!("rootfs")), CREATE_ACCEPTS],
    ),
    ROOT.says(
        "root-required",
        "On all other platforms, this field is REQUIRED.",
        |t| t.refuses(|c| remove(c, "root")).map(drop),
        &[Mutation::Config(|c| c["root"] = json!({"path": "rootfs"})), CREATE_ACCEPTS],
    ),
    ROOT.says(
        "root-readonly",
        "readonly (bool, OPTIONAL) If true then the root filesystem MUST be read-only inside the container, defaults to false.",
        |t| {
            let facts = t.look(|c| {
                c["root"]["readonly"] = json!(true);
                steps(c, &["write:/etc/new", "mkdir:/new", "report"]);
            })?;
            same("errno of a new file in /etc", facts.errno("write:/etc/new")?, EROFS)?;
            same("errno of a new folder in /", facts.errno("mkdir:/new")?, EROFS)?;
            ensure(facts.mount("/")?.has("ro"), || "/ is not mounted ro".into())
        },
        &[Mutation::Config(|c| c["root"]["readonly"] = json!(false)), Mutation::Facts(|f| f.set_errnos(0))],
    ),
    ROOT.says(
        "root-writable-by-default",
        "readonly (bool, OPTIONAL) If true then the root filesystem MUST be read-only inside the container, defaults to false.",
        |t| {
            let facts = t.look(|c| {
                remove(&mut c["root"], "readonly");
                steps(c, &["write:/etc/new", "report"]);
            })?;
            same("errno of a new file in /etc", facts.errno("write:/etc/new")?, 0)
        },
        &[Mutation::Config(|c| c["root"]["readonly"] = json!(true))],
    ),
    HOSTNAME.says(
        "hostname",
        "hostname (string, OPTIONAL) specifies the container's hostname as seen by processes running inside the container.",
        |t| {
            let facts = t.look(|c| c["hostname"] = json!("mrsdalloway"))?;
            same("hostname", facts.sysctl("kernel/hostname")?, "mrsdalloway")
        },
        &[Mutation::Config(|c| c["hostname"] = json!("clarissa")), Mutation::Facts(|f| f.files.clear())],
    ),
    HOSTNAME.says(
        "hostname-of-host-untouched",
        "On Linux, for example, this will change the hostname in the container UTS namespace.",
        |t| {
            let before = t.read("/proc/sys/kernel/hostname")?;
            t.look(|c| c["hostname"] = json!("mrsdalloway"))?;
            same("our hostname afterwards", std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(), before)
        },
        &[Mutation::Outside(|text| "mrsdalloway\n".clone_into(text))],
    ),
    DOMAINNAME.says(
        "domainname",
        "domainname (string, OPTIONAL) specifies the container's domainname as seen by processes running inside the container.",
        |t| {
            let facts = t.look(|c| c["domainname"] = json!("foobarbaz.test"))?;
            same("domainname", facts.sysctl("kernel/domainname")?, "foobarbaz.test")
        },
        &[Mutation::Config(|c| c["domainname"] = json!("another.test")), Mutation::Config(|c| remove(c, "domainname"))],
    ),
    ANNOTATIONS.says(
        "annotations-unknown",
        "Runtimes MUST handle unknown annotation keys like any other unknown property.",
        |t| t.look(|c| c["annotations"] = json!({"org.opencontainers.nobody.knows": "this"})).map(drop),
        &[Mutation::Config(|c| c["annotations"] = json!(["not", "a", "map"]))],
    ),
    ANNOTATIONS.says(
        "annotations-values-are-strings",
        "Values MUST be strings.",
        |t| t.refuses(|c| c["annotations"] = json!({"org.example.key": 7})).map(drop),
        &[Mutation::Config(|c| c["annotations"] = json!({"org.example.key": "7"})), CREATE_ACCEPTS],
    ),
    ANNOTATIONS.says(
        "annotations-are-a-map",
        "Annotations MUST be a key-value map.",
        |t| t.refuses(|c| c["annotations"] = json!(["org.example.key"])).map(drop),
        &[Mutation::Config(|c| remove(c, "annotations")), CREATE_ACCEPTS],
    ),
    EXTENSIBILITY.says(
        "unknown-properties-ignored",
        "Runtimes MAY log unknown properties but MUST otherwise ignore them. That includes not generating errors if they encounter an unknown property.",
        |t| {
            t.look(|c| {
                c["fromTheFuture"] = json!({"a": [1, 2]});
                c["process"]["fromTheFuture"] = json!("x");
                c["process"]["user"]["fromTheFuture"] = json!(true);
                c["root"]["fromTheFuture"] = json!(1);
                c["linux"]["fromTheFuture"] = json!(null);
                c["mounts"][0]["fromTheFuture"] = json!(1.5);
            })
            .map(drop)
        },
        &[Mutation::Config(|c| c["linux"]["namespaces"] = json!(7)), Mutation::Skip("start")],
    ),
    VALID.says(
        "wrong-types-refused",
        "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        |t| {
            t.refuses(|c| c["process"]["args"] = json!("not an array"))?;
            t.refuses(|c| c["process"]["cwd"] = json!(7))?;
            t.refuses(|c| c["mounts"] = json!({"destination": "/m"}))?;
            t.refuses(|c| c["process"]["user"]["uid"] = json!(-1)).map(drop)
        },
        &[CREATE_ACCEPTS],
    ),
    VALID.says(
        "wrong-words-refused",
        "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        |t| {
            t.refuses(|c| c["linux"]["rootfsPropagation"] = json!("sideways"))?;
            t.refuses(|c| c["linux"]["namespaces"][0]["type"] = json!("elsewhere"))?;
            t.refuses(|c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_SHRUG"})).map(drop)
        },
        &[CREATE_ACCEPTS],
    ),
    VALID.says(
        "truncated-json-refused",
        "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        |t| {
            let (bundle, id) = (t.bundle(|_| {})?, t.id());
            let file = bundle.join("config.json");
            let text = crate::trial::text(&file);
            for end in [0, 1, text.len() / 2, text.len() - 1] {
                crate::trial::broken(std::fs::write(&file, &text[..end]), "config.json")?;
                t.call(&bundle, &["create", &id])?.refused()?;
            }
            Ok(())
        },
        &[CREATE_ACCEPTS],
    ),
];
