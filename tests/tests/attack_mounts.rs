// SPDX-License-Identifier: Apache-2.0
//! Attacks on what is mounted where: links in the image, and names that another container exchanges while they are looked up.
//!
//! CVE-2021-30465, CVE-2019-19921, CVE-2023-27561 (mount targets), CVE-2025-31133 (masks), CVE-2025-52565 (the terminal),
//! CVE-2025-52881 (writes through a shadowed /proc). The racer is `kelp-attacker`, in a container of its own, on a shared volume.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use kelp_tests::{Bundle, Output, Running, Terminal, Who, World, claims, within};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

claims!(as_root, as_user:
    a_target_swapped_a_thousand_times_never_leaves_the_container,
    a_null_device_swapped_for_a_link_unmasks_nothing,
    a_console_swapped_for_a_link_is_never_followed,
    proc_and_sys_are_never_mounted_through_a_link,
    sysctls_are_not_written_through_a_shadowed_proc,
    folders_in_dev_that_are_links_stay_inside,
    ten_thousand_mounts_are_made_and_go,
);

/// A container that exchanges two names of a folder which it shares with its victims, until it is told to stop.
struct Racer<'w> {
    bundle: Bundle<'w>,
    race: Running<'w>,
}

impl<'w> Racer<'w> {
    fn begin(w: &'w World, volume: &str, names: [&str; 2]) -> Racer<'w> {
        let bundle = w.bundle("racer");
        w.own_program("kelp-attacker", "racer/rootfs/bin/attacker");
        let source = w.dir().join(volume);
        bundle.mount(json!({"destination": "/volume", "source": source, "options": ["bind", "rw"]}));
        bundle.set("/root/readonly", json!(false));
        bundle.args(&["/bin/attacker", "swap", "/tmp/stop", "/volume", names[0], names[1]]);
        let race = bundle.run().spawn();
        let runs = || bundle.verb("state", &[]).output().stdout.contains("running");
        assert!(within(Duration::from_secs(20), runs), "{}", race.stderr());
        Racer { bundle, race }
    }

    /// Waits until the names were exchanged ten thousand times, and says how often it was.
    fn end(self) -> u64 {
        let progress = self.bundle.rootfs().join("tmp/progress");
        let swaps = || fs::read_to_string(&progress).ok()?.split(' ').next()?.parse::<u64>().ok();
        within(Duration::from_secs(20), || swaps() > Some(10_000));
        fs::write(self.bundle.rootfs().join("tmp/stop"), "").unwrap();
        self.race.output().ok().json()["swaps"].as_u64().unwrap()
    }
}

/// A folder of the host into which nothing may ever be made or mounted.
fn treasure(w: &World) -> PathBuf {
    w.write("treasure/file", "of the host").parent().unwrap().to_owned()
}

fn assert_untouched(w: &World) {
    let dir = w.dir().join("treasure");
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "of the host");
    let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "something was made in {}", dir.display());
}

/// It ran, or said why not; it never panicked.
fn assert_sober(output: &Output) {
    assert!(!output.stderr.contains("panicked") && output.status() < 126, "{output}");
    assert!(output.status() == 0 || output.stderr.contains("error: "), "{output}");
}

/// How many mounts are tried against the racer: 25 in each container, which a second has room for.
const ROUNDS: usize = 1000;
const IN_EACH: usize = 25;

fn a_target_swapped_a_thousand_times_never_leaves_the_container(w: &World) {
    let treasure = treasure(w);
    // `door` is a folder of the volume, or a link to the host's treasure, as the host names it.
    w.make_dir(&w.dir().join("volume/door"));
    symlink(&treasure, w.dir().join("volume/link")).unwrap();
    let source = w.write("source/file", "bound");
    let victim = w.bundle("victim");
    victim.set("/root/readonly", json!(false));
    victim.mount(json!({"destination": "/volume", "source": w.dir().join("volume"), "options": ["bind", "rw"]}));
    for number in 0..IN_EACH {
        let (destination, deeper) = (format!("/volume/door/{number}"), format!("/volume/door/{number}/deeper"));
        victim.mount(match number % 2 {
            0 => json!({"destination": destination, "source": source.parent(), "options": ["bind", "rw"]}),
            _ => json!({"destination": deeper, "type": "tmpfs", "source": "tmpfs", "options": ["size=4k"]}),
        });
    }
    victim.args(&["/bin/probe", "see"]);
    let racer = Racer::begin(w, "volume", ["door", "link"]);
    let (mut through_door, mut through_link) = (0, 0);
    for round in 0..20 * ROUNDS / IN_EACH {
        // On a busy machine the racer may stand still for long: then there are more rounds.
        if round >= ROUNDS / IN_EACH && through_door > 0 && through_link > 0 {
            break;
        }
        let run = victim.run().output();
        assert_sober(&run);
        assert_untouched(w);
        if run.status() == 0 {
            let places = mounted_at(&run.json());
            through_door += places.iter().filter(|place| place.contains("/door") || place.contains("/link")).count();
            // Followed as the container would: into a folder of its own of that name.
            through_link += places.iter().filter(|place| place.starts_with(&*treasure.to_string_lossy())).count();
        }
    }
    let swaps = racer.end();
    assert!(swaps > 10_000, "the racer was asleep: {swaps}");
    assert!(through_door > 0 && through_link > 0, "no race: {through_door} times one way, {through_link} the other");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&*treasure.to_string_lossy()));
}

fn mounted_at(seen: &Value) -> Vec<String> {
    seen["mounts"].as_array().unwrap().iter().map(|mount| mount["at"].as_str().unwrap().to_owned()).collect()
}

/// A bundle whose /dev is a volume that others can write, and that brings its null device along: root's is a node of its
/// own, a user's the host's.
fn shared_dev<'w>(w: &'w World, name: &str) -> Bundle<'w> {
    let volume = w.dir().join("volume");
    w.make_dir(&volume.join("pts"));
    let bundle = w.bundle(name);
    bundle.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        let dev = mounts.iter().position(|mount| mount["destination"] == "/dev").unwrap();
        mounts[dev] = json!({"destination": "/dev", "source": volume, "options": ["bind", "rw"]});
        if w.who() != Who::Root {
            mounts
                .insert(dev + 1, json!({"destination": "/dev/null", "source": "/dev/null", "options": ["bind", "rw"]}));
        }
    });
    match w.who() {
        Who::Root => {
            let (mode, null) = (Mode::from_raw_mode(0o666), makedev(1, 3));
            mknodat(CWD, volume.join("null"), FileType::CharacterDevice, mode, null).unwrap();
        }
        _ => drop(w.write("volume/null", "")),
    }
    bundle
}

fn a_null_device_swapped_for_a_link_unmasks_nothing(w: &World) {
    let victim = shared_dev(w, "victim");
    victim.set("/root/readonly", json!(false)).set("/linux/maskedPaths", json!(["/secret", "/proc/keys"]));
    fs::write(victim.rootfs().join("secret"), "top secret").unwrap();
    fs::write(victim.rootfs().join("bait"), "bait").unwrap();
    // Once without a race.
    assert_eq!(victim.args(&["/bin/cat", "/secret", "/proc/keys"]).run().ok().text(), "");
    symlink("/bait", w.dir().join("volume/lure")).unwrap();
    let racer = Racer::begin(w, "volume", ["null", "lure"]);
    let (mut ran, mut refused) = (0, 0);
    for _ in 0..60 {
        let run = victim.run().output();
        assert_sober(&run);
        assert!(run.stdout.is_empty(), "unmasked: {run}");
        ran += usize::from(run.status() == 0);
        refused += usize::from(run.status() != 0);
    }
    let swaps = racer.end();
    assert!(swaps > 10_000 && ran + refused == 60, "{swaps} swaps, {ran} ran, {refused} refused");
    assert_eq!(fs::read_to_string(victim.rootfs().join("bait")).unwrap(), "bait");
}

fn a_console_swapped_for_a_link_is_never_followed(w: &World) {
    let victim = shared_dev(w, "victim");
    victim.set("/root/readonly", json!(false)).set("/process/terminal", json!(true));
    fs::write(victim.rootfs().join("bait"), "bait").unwrap();
    victim.shell("cat /bait");
    let run = |victim: &Bundle<'_>| {
        let (mut terminal, running) = Terminal::start(victim.run(), 24, 80);
        terminal.ends();
        let output = running.output();
        (output, terminal.screen())
    };
    let (output, screen) = run(&victim);
    assert!(output.status() == 0 && screen.contains("bait"), "{output}\n{screen}");
    symlink("/bait", w.dir().join("volume/lure")).unwrap();
    w.make_dir(&w.dir().join("volume/more"));
    let racer = Racer::begin(w, "volume", ["console", "lure"]);
    for _ in 0..30 {
        let (output, screen) = run(&victim);
        assert!(!screen.contains("panicked"), "{output}\n{screen}");
        // The terminal was bound over what the link names if /bait is no longer what it was.
        assert!(output.status() != 0 || screen.contains("bait"), "{output}\n{screen}");
    }
    let swaps = racer.end();
    assert!(swaps > 10_000, "the racer was asleep: {swaps}");
}

fn proc_and_sys_are_never_mounted_through_a_link(w: &World) {
    let treasure = treasure(w);
    for name in ["proc", "sys"] {
        for (number, target) in ["/tmp/real", &*treasure.to_string_lossy(), "tmp"].iter().enumerate() {
            let bundle = w.bundle(&format!("{name}{number}"));
            bundle.set("/root/readonly", json!(false));
            w.make_dir(&bundle.rootfs().join("tmp/real"));
            fs::remove_dir(bundle.rootfs().join(name)).unwrap();
            symlink(target, bundle.rootfs().join(name)).unwrap();
            // A mask or a read-only path below it would protect another place than the one where the files are.
            bundle.run().output().explains(&[&format!("/{name}"), "symbolic link"]);
            assert_untouched(w);
        }
    }
}

fn sysctls_are_not_written_through_a_shadowed_proc(w: &World) {
    let fake =
        w.write("fake/sys/kernel/msgmax", "fake").parent().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let bundle = w.bundle("b");
    bundle.set("/linux/sysctl", json!({"kernel.msgmax": "4096"}));
    // The spec's own order: a volume lies over /proc/sys, as a hostile one might.
    bundle.mount(json!({"destination": "/proc/sys", "source": fake.join("sys"), "options": ["bind", "rw"]}));
    bundle.shell("cat /proc/sys/kernel/msgmax; mount -t proc proc /tmp && cat /tmp/sys/kernel/msgmax");
    bundle.capabilities(&["CAP_SYS_ADMIN"]).set("/root/readonly", json!(false));
    bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
    let run = bundle.run().output();
    assert_eq!(fs::read_to_string(fake.join("sys/kernel/msgmax")).unwrap(), "fake", "{run}");
    assert!(run.stdout.starts_with("fake"), "{run}");
    // Who may mount a procfs of his own sees what was set.
    assert!(run.status() != 0 || run.stdout.ends_with("4096\n"), "{run}");
}

fn folders_in_dev_that_are_links_stay_inside(w: &World) {
    let treasure = treasure(w);
    for name in ["pts", "shm", "mqueue"] {
        let bundle = w.bundle(name);
        bundle.set("/root/readonly", json!(false));
        bundle.edit(|spec| spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev"));
        symlink(&treasure, bundle.rootfs().join("dev").join(name)).unwrap();
        let run = bundle.args(&["/bin/probe", "see"]).run().output();
        assert_sober(&run);
        assert_untouched(w);
    }
}

fn ten_thousand_mounts_are_made_and_go(w: &World) {
    let bundle = w.bundle("b");
    let source = w.write("source/file", "bound");
    bundle.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
        mounts.extend((0..10_000).map(
            |number| json!({"destination": format!("/tmp/{number}"), "source": source, "options": ["bind", "ro"]}),
        ));
    });
    let run = bundle.shell("wc -l </proc/self/mountinfo; cat /tmp/0 /tmp/9999").run().limit(120).output();
    // A user namespace inside another may have less room: /proc/sys/fs/mount-max.
    let mut lines = run.stdout.lines();
    let count: usize = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{run}"));
    assert!(count > 10_000 && lines.next() == Some("boundbound"), "{run}");
}
