// SPDX-License-Identifier: Apache-2.0
//! Another user of the same machine: folders made before us, forged states, reused pids, and what can be read from outside.
//!
//! The neighbour is only an id here: what it would have made is made by the suite and given to it, which takes root.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;

use kelp_tests::{Bundle, Command, Running, World, claims, is_alive};
use serde_json::{Value, json};

claims!(as_root, as_user:
    a_state_root_that_another_made_is_refused,
    a_forged_state_is_not_believed,
    a_reused_pid_is_never_signalled,
    a_run_folder_that_another_made_is_refused,
    secrets_of_a_container_are_its_owners_alone,
);

const NEIGHBOUR: u32 = 61_235;

/// Gives a tree to the neighbour, links themselves included; false where the suite may not.
fn give_away(path: &Path) -> bool {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        fs::read_dir(path).unwrap().for_each(|entry| assert!(give_away(&entry.unwrap().path())));
    }
    lchown(path, Some(NEIGHBOUR), Some(NEIGHBOUR)).is_ok()
}

fn cannot_be_judged(w: &World) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        w.skip("only root can make what another user would have made");
    }
    !root
}

fn in_root<'w>(w: &'w World, root: &Path, args: &[&str]) -> Command<'w> {
    let program = w.program("kelp-runtime");
    w.command(&program.to_string_lossy()).arg("--root").arg(&root.to_string_lossy()).args(args)
}

fn a_state_root_that_another_made_is_refused(w: &World) {
    if cannot_be_judged(w) {
        return;
    }
    let bundle = w.bundle("b");
    let dir = bundle.dir().to_string_lossy().into_owned();
    let root = w.dir().join("theirs");
    w.make_dir(&root);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(give_away(&root));
    in_root(w, &root, &["run", "--bundle", &dir, "x"]).output().explains(&["61235"]);
    // A link of theirs to a folder of theirs, and a folder of ours that they can write.
    let link = w.dir().join("link");
    symlink(&root, &link).unwrap();
    assert!(give_away(&link));
    in_root(w, &link, &["run", "--bundle", &dir, "x"]).output().explains(&["61235"]);
    chown(&root, Some(w.uid()), Some(w.gid())).unwrap();
    in_root(w, &root, &["run", "--bundle", &dir, "x"]).output().explains(&["anybody may write"]);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

/// A process of the world's user, and a file of its.
fn victims(w: &World) -> (Running<'_>, std::path::PathBuf) {
    (w.command("/bin/sleep").arg("1000").spawn(), w.write("treasure/file", "of the host"))
}

/// The state and the journal of the container with every mention of its init changed to this process.
fn forge(folder: &Path, change: impl Fn(&mut Value), more: &str) {
    let state = folder.join("state.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    change(&mut record["init"]);
    fs::write(&state, record.to_string()).unwrap();
    let journal = folder.join("journal");
    let lines = fs::read_to_string(&journal).unwrap();
    let forged: String = lines
        .lines()
        .map(|line| {
            let mut made: Value = serde_json::from_str(line).unwrap();
            if let Some(init) = made.get_mut("init") {
                change(init);
            }
            format!("{made}\n")
        })
        .collect();
    fs::write(&journal, forged + more).unwrap();
}

fn start_time(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap()
}

fn a_forged_state_is_not_believed(w: &World) {
    if cannot_be_judged(w) {
        return;
    }
    let (process, file) = victims(w);
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let forged = w.runtime_root().join("forged");
    copy_folder(&w.runtime_root().join(bundle.id()), &forged);
    let me = json!({"pid": process.pid(), "start": start_time(process.pid())});
    forge(&forged, |init| *init = me.clone(), &format!("{}\n", json!({"pidfile": file})));
    // The same, once as the user's own: so it can be seen that the forgery is good.
    assert_eq!(w.runtime(["state", "forged"]).ok().json()["pid"], json!(process.pid()));
    assert!(give_away(&forged));
    for verb in ["state", "start", "pause", "resume", "ps"] {
        w.runtime([verb, "forged"]).output().explains(&["61235"]);
    }
    w.runtime(["kill", "forged", "KILL"]).output().explains(&["61235"]);
    w.runtime(["exec", "forged", "/bin/true"]).output().explains(&["61235"]);
    w.runtime(["delete", "--force", "forged"]).output().explains(&["61235"]);
    assert!(!w.runtime(["list", "-q"]).ok().stdout.contains("forged"));
    assert!(is_alive(process.pid()) && file.exists(), "a neighbour had us end a process or remove a file");
    end(process);
    fs::remove_dir_all(forged).unwrap();
    bundle.delete();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in ["state.json", "journal", "exec.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    for entry in fs::read_dir(to).unwrap().map(Result::unwrap) {
        let owner = fs::metadata(from).unwrap();
        chown(entry.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let owner = fs::metadata(from).unwrap();
    chown(to, Some(owner.uid()), Some(owner.gid())).unwrap();
}

fn end(process: Running<'_>) {
    process.signal(rustix::process::Signal::KILL);
    process.output();
}

/// The container's init has ended, and another process has its pid by now. A container with a cgroup is ended by that; of one
/// without, init alone is known.
fn a_reused_pid_is_never_signalled(w: &World) {
    let (process, _) = victims(w);
    let pid = process.pid();
    for manager in ["cgroupfs", "disabled"] {
        let bundle: Bundle<'_> = w.bundle(manager);
        let dir = bundle.dir().to_string_lossy().into_owned();
        w.runtime(["--cgroup-manager", manager, "create", "--bundle", &dir, bundle.id()]).ok();
        bundle.verb("start", &[]).ok();
        bundle.becomes("stopped");
        let folder = w.runtime_root().join(bundle.id());
        forge(&folder, |init| init["pid"] = json!(pid), "");
        assert_eq!(bundle.status(), "stopped");
        let spared = |verb: &str| assert!(is_alive(pid), "{manager}: {verb} killed a process that only has the pid");
        // Nobody is left, which is no error.
        w.runtime(["kill", "--all", bundle.id(), "KILL"]).ok();
        spared("kill --all");
        w.runtime(["kill", bundle.id(), "KILL"]).output().explains(&["container not running"]);
        spared("kill");
        bundle.exec(&[], &["/bin/true"]).output().explains(&["stopped container"]);
        spared("exec");
        bundle.verb("delete", &["--force"]).ok();
        spared("delete");
    }
    end(process);
}

fn a_run_folder_that_another_made_is_refused(w: &World) {
    if cannot_be_judged(w) {
        return;
    }
    w.load_busybox();
    let theirs = w.dir().join("theirs");
    w.make_dir(&theirs);
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(give_away(&theirs));
    let link = w.dir().join("link");
    symlink(w.run_dir(), &link).unwrap();
    assert!(give_away(&link));
    for run in [theirs, link] {
        let kelp =
            w.kelp(["run", "--rm", "--network", "none", "busybox", "true"]).env("KELP_RUN", &run.to_string_lossy());
        kelp.output().code(125).hints("KELP_RUN");
    }
}

fn secrets_of_a_container_are_its_owners_alone(w: &World) {
    // Another test types one of its own at the same time.
    let secret_word = format!("swordfish-{}", w.token());
    w.load_busybox();
    let secret = format!("PASSWORD={secret_word}");
    let id =
        w.kelp(["run", "-d", "--network", "none", "-e", &secret, "busybox", "sleep", "1000"]).ok().text().to_owned();
    let mut found = Vec::new();
    for place in [w.store(), w.run_dir()] {
        search(&place, true, &secret_word, &mut found);
    }
    assert!(found.iter().any(|(path, _)| path.contains("config.json")), "the search finds nothing: {found:?}");
    let open: Vec<&String> = found.iter().filter(|(_, reachable)| *reachable).map(|(path, _)| path).collect();
    assert!(open.is_empty(), "others can read {open:?}");
    // Anybody may read command lines and the names of sockets.
    for entry in fs::read_dir("/proc").unwrap().map(Result::unwrap) {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(&secret_word), "{} says it", entry.path().display());
    }
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!sockets.lines().any(|line| line.contains('@') && line.contains(&id[..12])), "an abstract socket");
    w.kelp(["rm", "-f", &id]).ok();
}

/// All files with this text, and whether others could come as far as to read them.
fn search(path: &Path, reachable: bool, text: &str, found: &mut Vec<(String, bool)>) {
    let Ok(what) = fs::symlink_metadata(path) else { return };
    if what.is_dir() {
        let passable = reachable && what.mode() & 0o001 != 0;
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            search(&entry.path(), passable, text, found);
        }
    } else if what.is_file() && what.len() < 1 << 20 {
        let content = fs::read(path).unwrap_or_default();
        if content.windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push((path.display().to_string(), reachable && what.mode() & 0o004 != 0));
        }
    }
}
