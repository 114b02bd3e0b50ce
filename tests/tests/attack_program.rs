// SPDX-License-Identifier: Apache-2.0
//! CVE-2019-5736 and CVE-2016-9962: a container that goes for the runtime's program, or for processes that enter it.
//!
//! The attacker is a program of the tests' own (`kelp-attacker`) and waits in one container, as a sidecar in a pod would. The
//! victims come from create, run and exec, and execute what the container makes them: the runtime itself, inside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kelp_tests::{Bundle, Command, Running, Who, World, claims, until, within};
use serde_json::{Value, json};

claims!(as_root, as_user:
    a_program_that_create_executes_inside_cannot_be_written,
    a_program_that_run_executes_inside_cannot_be_written,
    a_program_that_exec_executes_inside_cannot_be_written,
    an_entering_process_gives_nothing_away,
    an_entering_process_cannot_be_traced,
    a_process_that_joins_a_hostile_pod_gives_nothing_away,
    a_process_that_joins_a_hostile_pod_cannot_be_traced,
    no_32_bit_program_opens_a_socket_of_af_alg,
);
claims!(as_root: the_programs_that_enter_containers_load_no_library, a_joined_namespace_goes_with_a_new_user_namespace);

/// A runtime of the test's own: if an attack succeeds, other tests keep theirs. It belongs to the world's user, which for an
/// ordinary one is the worst case: root of the container may write it, if it can only open it.
fn own_runtime(w: &World) -> PathBuf {
    let copy = w.copy(&w.program("kelp-runtime"), "own/kelp-runtime");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

fn runtime<'w>(w: &'w World, program: &Path, args: &[&str]) -> Command<'w> {
    let root = w.runtime_root();
    w.command(&program.to_string_lossy()).arg("--root").arg(&root.to_string_lossy()).args(args)
}

/// Makes the container's program, or what is executed in it, the runtime: by a link and as a script's interpreter. It waits
/// for a configuration that never comes, so that there is time to take hold of it.
fn lures(w: &World, bundle: &Bundle<'_>) -> [Vec<String>; 2] {
    let name = bundle.dir().file_name().unwrap().to_string_lossy().into_owned();
    let root = bundle.rootfs();
    symlink("/proc/self/exe", root.join("bin/lure")).unwrap();
    w.script(&format!("{name}/rootfs/lure"), "")
        .to_str()
        .map(|script| fs::write(script, "#!/proc/self/exe run -b\n"))
        .unwrap()
        .unwrap();
    w.make_dir(&root.join("trap"));
    let pipe = root.join("trap/config.json");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o666), 0)
        .unwrap();
    w.give(&pipe);
    let words = |line: &[&str]| line.iter().map(|word| (*word).to_owned()).collect();
    // The script's interpreter gets the script as bundle, which is no folder: it ends at once, so it is tried often.
    [words(&["/bin/lure", "run", "-b", "/trap", "x"]), words(&["/lure", "x"])]
}

/// A container in which the attacker waits.
struct Lair<'w> {
    bundle: Bundle<'w>,
    attack: Running<'w>,
}

impl<'w> Lair<'w> {
    fn open(w: &'w World, attack: &str) -> Lair<'w> {
        let bundle = w.bundle("lair");
        w.own_program("kelp-attacker", "lair/rootfs/bin/attacker");
        if w.who() != Who::Root {
            // Where its rights end at its user namespace, it may have all that help it.
            bundle.capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE", "CAP_KILL"]);
        }
        // It writes how far it is.
        bundle.set("/root/readonly", json!(false)).args(&["/bin/attacker", attack, "/tmp/stop"]);
        let attack = bundle.run().spawn();
        assert!(
            within(Duration::from_secs(20), || bundle.verb("state", &[]).output().stdout.contains("running")),
            "{}",
            attack.stderr()
        );
        Lair { bundle, attack }
    }

    /// How many rounds the attacker has made, and of how many victims it has got hold.
    fn progress(&self) -> (u64, u64) {
        let said = fs::read_to_string(self.bundle.rootfs().join("tmp/progress")).unwrap_or_default();
        let mut numbers = said.lines().flat_map(|line| line.split(' ')).filter_map(|number| number.parse().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Waits until the attacker has gone once more through all that is there now.
    fn tries_again(&self) {
        let mut before = 0;
        until("the attacker makes a round", || {
            before = self.progress().0;
            before > 0
        });
        until("the attacker makes another round", || self.progress().0 > before + 1);
    }

    /// Lets the attacker try once more, when all victims are gone, and asks what it has.
    fn close(self) -> Value {
        self.tries_again();
        fs::write(self.bundle.rootfs().join("tmp/stop"), "").unwrap();
        self.attack.output().ok().json()
    }

    /// A container joins it: so often at once, and then by create and start, with something to steal.
    fn is_entered_by_a_neighbour(&self, w: &'w World, times: usize) {
        let victim = self.neighbour(w, "victim");
        for _ in 0..times {
            victim.run().env("KELP_CANARY", "of the host").ok();
        }
        victim.create().env("KELP_CANARY", "of the host").ok();
        self.tries_again();
        victim.verb("start", &[]).ok();
        victim.becomes("stopped");
        victim.delete();
    }

    /// A bundle whose container shares the lair's processes, as in a pod.
    fn neighbour(&self, w: &'w World, name: &str) -> Bundle<'w> {
        let bundle = w.bundle(name);
        // The same file: what the victim becomes is then a program of the container's, as the attacker knows them.
        fs::remove_file(bundle.rootfs().join("bin/busybox")).unwrap();
        fs::hard_link(self.bundle.rootfs().join("bin/busybox"), bundle.rootfs().join("bin/busybox")).unwrap();
        let pid = self.bundle.pid();
        bundle.edit(|spec| {
            let linux = &mut spec["linux"];
            for namespace in linux["namespaces"].as_array_mut().unwrap() {
                let kind = namespace["type"].as_str().unwrap().to_owned();
                if kind == "pid" || kind == "user" {
                    namespace["path"] = json!(format!("/proc/{pid}/ns/{kind}"));
                }
            }
            if w.who() != Who::Root {
                linux.as_object_mut().unwrap().retain(|field, _| !field.ends_with("idMappings"));
            }
        });
        bundle
    }
}

/// The attacker had a program of ours in its hand, and the kernel's last word to it was never “only not now”.
fn assert_held_and_not_written(program: &Path, before: &[u8], report: &Value) {
    assert!(fs::read(program).unwrap() == before, "the runtime was overwritten: {report}");
    assert_eq!(report["written"], json!(0), "{report}");
    assert!(report["held"].as_u64().unwrap() > 0, "the attack never got as far as to open our program: {report}");
    let said = report["said"].as_object().unwrap();
    let refused = ["EROFS", "EPERM", "EACCES"].iter().any(|word| said.contains_key(&format!("write {word}")));
    assert!(refused, "only time was on our side: {report}");
}

fn a_program_that_run_executes_inside_cannot_be_written(w: &World) {
    let program = own_runtime(w);
    let before = fs::read(&program).unwrap();
    let lair = Lair::open(w, "clobber");
    let victim = lair.neighbour(w, "victim");
    for (number, lure) in lures(w, &victim).into_iter().enumerate() {
        victim.set("/process/args", json!(lure));
        let bundle = victim.dir().to_string_lossy().into_owned();
        let mut run = runtime(w, &program, &["run", "--bundle", &bundle, victim.id()]).spawn();
        // The first waits until it is caught, the second is over at once.
        until("it is caught or over", || !run.runs() || (number == 0 && lair.progress().1 > 0));
        lair.tries_again();
        runtime(w, &program, &["delete", "--force", victim.id()]).ok();
        run.output();
    }
    assert_held_and_not_written(&program, &before, &lair.close());
}

fn a_program_that_create_executes_inside_cannot_be_written(w: &World) {
    let program = own_runtime(w);
    let before = fs::read(&program).unwrap();
    let lair = Lair::open(w, "clobber");
    let victim = lair.neighbour(w, "victim");
    for lure in lures(w, &victim) {
        victim.set("/process/args", json!(lure));
        let bundle = victim.dir().to_string_lossy().into_owned();
        runtime(w, &program, &["create", "--bundle", &bundle, victim.id()]).ok();
        // The waiting init is the runtime's program, too.
        lair.tries_again();
        runtime(w, &program, &["start", victim.id()]).ok();
        lair.tries_again();
        runtime(w, &program, &["delete", "--force", victim.id()]).ok();
    }
    assert_held_and_not_written(&program, &before, &lair.close());
}

fn a_program_that_exec_executes_inside_cannot_be_written(w: &World) {
    let program = own_runtime(w);
    let before = fs::read(&program).unwrap();
    let lair = Lair::open(w, "clobber");
    let [waiting, quick] = lures(w, &lair.bundle);
    let exec = |lure: &[String]| runtime(w, &program, &["exec", lair.bundle.id()]).args(lure);
    let mut caught = exec(&waiting).spawn();
    until("it is caught", || !caught.runs() || lair.progress().1 > 0);
    for _ in 0..5 {
        exec(&quick).output();
    }
    // Opens the pipe, so that who waits for a configuration gets none and ends.
    fs::write(lair.bundle.rootfs().join("trap/config.json"), "{}").unwrap();
    caught.output();
    assert_held_and_not_written(&program, &before, &lair.close());
}

/// The attacker met processes on their way in, tried everything, and has nothing.
fn assert_met_and_got_nothing(report: &Value) {
    assert!(report["met"].as_u64().unwrap() > 0, "nobody was met on the way in: {report}");
    let tried = report["tried"].as_object().unwrap();
    assert!(tried.keys().any(|key| key.starts_with("mem E")), "{report}");
    assert!(tried.keys().any(|key| key.starts_with("pidfd_getfd E")), "{report}");
    assert_eq!(report["prizes"], json!([]), "{report}");
}

fn an_entering_process_gives_nothing_away(w: &World) {
    let lair = Lair::open(w, "steal");
    let secret = w.write("treasure/file", "of the host");
    for _ in 0..20 {
        let exec = lair.bundle.exec(&[], &["/bin/true"]).env("KELP_CANARY", "of the host");
        exec.descriptor(7, secret.parent().unwrap()).ok();
    }
    assert_met_and_got_nothing(&lair.close());
}

fn a_process_that_joins_a_hostile_pod_gives_nothing_away(w: &World) {
    let lair = Lair::open(w, "steal");
    lair.is_entered_by_a_neighbour(w, 10);
    assert_met_and_got_nothing(&lair.close());
}

/// It tried both requests on processes on their way in, and held none. That it can hold at all is seen on those who are the
/// container's already, where it had the rights.
fn assert_traced_nobody(report: &Value) {
    assert!(report["met"].as_u64().unwrap() > 0, "nobody was met on the way in: {report}");
    let tried = report["tried"].as_object().unwrap();
    for request in ["attach", "seize"] {
        assert!(tried.contains_key(&format!("{request} EPERM")), "{report}");
    }
    assert_eq!(report["prizes"], json!([]), "{report}");
}

fn an_entering_process_cannot_be_traced(w: &World) {
    let lair = Lair::open(w, "trace");
    for _ in 0..40 {
        lair.bundle.exec(&[], &["/bin/true"]).ok();
    }
    assert_traced_nobody(&lair.close());
}

fn a_process_that_joins_a_hostile_pod_cannot_be_traced(w: &World) {
    let lair = Lair::open(w, "trace");
    lair.is_entered_by_a_neighbour(w, 20);
    assert_traced_nobody(&lair.close());
}

/// A program that loads libraries loads those of the image where it executes inside: then they run as the runtime.
fn the_programs_that_enter_containers_load_no_library(w: &World) {
    for name in ["kelp-runtime", "kelp-shim"] {
        let program = fs::read(w.program(name)).unwrap();
        assert_eq!(&program[..5], b"\x7fELF\x02", "{name}: no 64-bit ELF file");
        let word = |at: usize, size: usize| {
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(&program[at..at + size]);
            usize::try_from(u64::from_le_bytes(bytes)).unwrap()
        };
        let (table, size, count) = (word(32, 8), word(54, 2), word(56, 2));
        const INTERPRETER: usize = 3;
        let kinds: Vec<usize> = (0..count).map(|index| word(table + index * size, 4)).collect();
        assert!(count > 0 && !kinds.contains(&INTERPRETER), "{name} asks for a dynamic loader: {kinds:?}");
    }
}

/// Its init hides from the processes of the joined namespace, and has its ids mapped all the same.
fn a_joined_namespace_goes_with_a_new_user_namespace(w: &World) {
    let first = w.bundle("first");
    first.args(&["/bin/sleep", "1000"]).launch();
    let second = w.bundle("second");
    second.edit(|spec| {
        let linux = &mut spec["linux"];
        let namespaces = linux["namespaces"].as_array_mut().unwrap();
        let ipc = namespaces.iter_mut().find(|namespace| namespace["type"] == "ipc").unwrap();
        ipc["path"] = json!(format!("/proc/{}/ns/ipc", first.pid()));
        namespaces.push(json!({"type": "user"}));
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        spec["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| mount["destination"] != "/dev/mqueue" && mount["destination"] != "/dev/pts");
    });
    let seen = second.sees();
    let ipc = fs::read_link(format!("/proc/{}/ns/ipc", first.pid())).unwrap();
    assert_eq!(seen["namespaces"]["ipc"], json!(ipc.display().to_string()));
    assert_eq!(seen["uid_map"], json!([[0, 0, 1]]));
    first.delete();
}

/// `socketcall(SYS_SOCKET, {AF_ALG, SOCK_SEQPACKET, 0})` and `socket(AF_ALG, SOCK_SEQPACKET, 0)` of i386; each ends with the errno.
const CARRIER: &[u8] =
    b"\x6a\x00\x6a\x05\x6a\x26\x89\xe1\x6a\x01\x5b\x6a\x66\x58\xcd\x80\xf7\xd8\x93\x6a\x01\x58\xcd\x80";
const DIRECT: &[u8] = b"\xb8\x67\x01\0\0\x6a\x26\x5b\x6a\x05\x59\x31\xd2\xcd\x80\xf7\xd8\x93\x6a\x01\x58\xcd\x80";

/// The smallest program of 32 bits: an ELF header, a segment with all of it, the code.
fn program_of_i386(code: &[u8]) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const BEFORE: u32 = 84;
    let size = BEFORE + u32::try_from(code.len()).unwrap();
    let halves = |numbers: &[u16]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    [
        b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        halves(&[2, 3]),
        words(&[1, BASE + BEFORE, 52, 0, 0]),
        halves(&[52, 32, 1, 0, 0, 0]),
        words(&[1, 0, BASE, BASE, size, size, 5, 0x1000]),
        code.to_vec(),
    ]
    .concat()
}

/// CVE-2026-31431: the family stands behind a pointer there, which no filter can read.
fn no_32_bit_program_opens_a_socket_of_af_alg(w: &World) {
    const EPERM: i32 = 1;
    w.load_busybox();
    let folder = w.dir().join("i386");
    for (name, code) in [("carrier", CARRIER), ("direct", DIRECT)] {
        let program = w.write(format!("i386/{name}"), program_of_i386(code));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // The host's kernel may know AF_ALG or not; a program of i386 it must run.
        let host = w.command("/bin/sh").args(["-c", &program.to_string_lossy()]).output().status();
        if cfg!(not(target_arch = "x86_64")) || matches!(host, 126 | 127) {
            return w.skip("this kernel runs no programs of 32 bits");
        }
        assert_ne!(host, EPERM, "{name} is denied on the host, which would show nothing");
        let mount = format!("{}:/i386:ro", folder.display());
        let inside = w.kelp(["run", "--rm", "--network", "none", "-v", &mount, "busybox", &format!("/i386/{name}")]);
        assert_eq!(inside.output().status(), EPERM, "{name}");
        let open = ["run", "--rm", "--network", "none", "-v", &mount, "--security-opt", "seccomp=unconfined"];
        let open = w.kelp(open).args(["busybox", &format!("/i386/{name}")]).output().status();
        assert_eq!(open, host, "{name}: without a filter it is as on the host");
    }
}
