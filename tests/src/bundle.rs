// SPDX-License-Identifier: Apache-2.0
//! OCI bundles: what `kelp-runtime spec` writes, a root filesystem of busybox and the probe, and changes to both.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::command::{Command, Output};
use crate::who::Who;
use crate::world::World;

/// A bundle and the container that will be made of it.
#[derive(Debug)]
pub struct Bundle<'w> {
    world: &'w World,
    dir: PathBuf,
    id: String,
}

/// The names under which busybox is found in the minimal root filesystem.
const APPLETS: [&str; 40] = [
    "sh", "cat", "ls", "sleep", "echo", "id", "mount", "env", "true", "false", "test", "touch", "mkdir", "rm", "stat",
    "kill", "grep", "head", "tail", "wc", "hostname", "ps", "stty", "tty", "dd", "chmod", "chown", "ln", "readlink",
    "mknod", "sync", "date", "pwd", "printf", "seq", "nc", "wget", "httpd", "ip", "nslookup",
];

/// Fills `dir` with a root filesystem of busybox, the probe and the account files.
pub fn minimal_rootfs(world: &World, dir: &str) {
    let root = world.dir().join(dir);
    for folder in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var"] {
        world.make_dir(&root.join(folder));
    }
    world.copy(&busybox(), format!("{dir}/bin/busybox"));
    let probe = world.copy(&world.probe(), format!("{dir}/bin/probe"));
    fs::set_permissions(probe, fs::Permissions::from_mode(0o755)).expect("our own copy");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).expect("a new link in a new folder");
    }
    world.write(
        format!("{dir}/etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:2000::/:/bin/sh\n",
    );
    world.write(format!("{dir}/etc/group"), "root:x:0:\nalice:x:1000:\ncrew:x:2000:alice\nmates:x:2001:alice,bob\n");
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("our own folder");
}

/// Debian's statically linked busybox.
pub(crate) fn busybox() -> PathBuf {
    let found = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
    found.expect("busybox: install busybox-static")
}

impl World {
    /// A bundle that runs `/bin/true` without a terminal. `name` tells the bundles of one test apart.
    pub fn bundle(&self, name: &str) -> Bundle<'_> {
        let dir = self.dir().join(name);
        self.make_dir(&dir);
        minimal_rootfs(self, &format!("{name}/rootfs"));
        let rootless: &[&str] = if self.who() == Who::Root { &[] } else { &["--rootless"] };
        self.runtime(["spec"]).args(rootless).arg("--bundle").arg(&dir.to_string_lossy()).ok();
        let bundle = Bundle { world: self, dir, id: format!("{}-{name}", self.token()) };
        bundle.edit(|spec| {
            spec["process"]["terminal"] = json!(false);
            spec["process"]["args"] = json!(["/bin/true"]);
        });
        bundle
    }
}

impl<'w> Bundle<'w> {
    /// The bundle's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The container's root filesystem on the host.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The bundle's config.json.
    pub fn spec(&self) -> Value {
        let text = fs::read_to_string(self.dir.join("config.json")).expect("spec wrote config.json");
        serde_json::from_str(&text).expect("config.json is JSON")
    }

    /// Changes the bundle's config.json.
    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut spec = self.spec();
        change(&mut spec);
        fs::write(self.dir.join("config.json"), spec.to_string()).expect("config.json can be written");
    }

    /// Sets one value by its JSON pointer, with the objects on the way.
    pub fn set(&self, pointer: &str, value: Value) -> &Self {
        self.edit(|spec| {
            let mut place = spec;
            for part in pointer.split('/').skip(1) {
                place = &mut place[part];
            }
            *place = value;
        });
        self
    }

    /// Sets the container's program.
    pub fn args(&self, args: &[&str]) -> &Self {
        self.set("/process/args", json!(args))
    }

    /// Sets the container's program to a shell script.
    pub fn shell(&self, script: &str) -> &Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Adds a mount as the last one.
    pub fn mount(&self, mount: Value) -> &Self {
        self.edit(|spec| spec["mounts"].as_array_mut().expect("spec writes mounts").push(mount));
        self
    }

    /// Makes every capability set the same list.
    pub fn capabilities(&self, names: &[&str]) -> &Self {
        let sets = ["bounding", "effective", "permitted"];
        let object: serde_json::Map<_, _> = sets.iter().map(|set| ((*set).to_owned(), json!(names))).collect();
        self.set("/process/capabilities", Value::Object(object))
    }

    /// `kelp-runtime VERB ARGS… ID`.
    pub fn verb(&self, verb: &str, args: &[&str]) -> Command<'w> {
        self.world.runtime([verb]).args(args).arg(&self.id)
    }

    /// `kelp-runtime run`, prepared.
    pub fn run(&self) -> Command<'w> {
        self.verb("run", &["--bundle", &self.dir.to_string_lossy()])
    }

    /// `kelp-runtime create`, prepared.
    pub fn create(&self) -> Command<'w> {
        self.verb("create", &["--bundle", &self.dir.to_string_lossy()])
    }

    /// Creates and starts the container.
    pub fn launch(&self) {
        self.create().ok();
        self.verb("start", &[]).ok();
    }

    /// What the container's program prints, when the whole container succeeds.
    pub fn prints(&self) -> String {
        self.run().ok().stdout
    }

    /// What the probe sees in the container.
    pub fn sees(&self) -> Value {
        self.args(&["/bin/probe", "see"]).run().ok().json()
    }

    /// `kelp-runtime exec ID ARGS…`, prepared.
    pub fn exec(&self, options: &[&str], args: &[&str]) -> Command<'w> {
        self.verb("exec", options).args(args)
    }

    /// The container's state.
    pub fn state(&self) -> Value {
        self.verb("state", &[]).ok().json()
    }

    /// The status in the container's state.
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a state has a status").into()
    }

    /// The pid in the container's state.
    pub fn pid(&self) -> i32 {
        let pid = self.state()["pid"].as_i64().expect("a running container has a pid");
        i32::try_from(pid).expect("a pid fits")
    }

    /// Waits for a status.
    pub fn becomes(&self, status: &str) {
        crate::until(&format!("{} is {status}", self.id), || self.status() == status);
    }

    /// `kelp-runtime delete --force`.
    pub fn delete(&self) -> Output {
        self.verb("delete", &["--force"]).ok()
    }
}
