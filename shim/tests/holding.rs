// SPDX-License-Identifier: Apache-2.0
//! The built holder with a runtime that contains nothing: streams, log, record, clients that come, stall and die.
#![allow(clippy::unwrap_used, reason = "tests")]

mod harness;

use harness::{Container, PATIENCE, open_descriptors, processes_with, shim, signal, until};
use kelp_shim::client::{self, Ended, Relay};
use kelp_shim::protocol::{DATA_MAX, Reply, Request, STDIN_WINDOW};
use kelp_shim::{Kind, Phase, Restart, Status, Stdin, Streams};
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// A script that prints `megabytes` MB of numbered lines.
fn print_megabytes(megabytes: u32) -> String {
    format!("seq -f '%0127.0f' {}", megabytes * 8192)
}

fn run(container: &Container) -> Output {
    container.hold("run").output().unwrap()
}

fn status(code: i32) -> Status {
    Status { code, signal: None, oom: false }
}

/// Waits until a program that writes without end is held up: the log grows no more.
fn until_stalled(container: &Container) {
    let length = || fs::metadata(container.file("log")).map_or(0, |log| log.len());
    let (mut last, mut still) = (0, 0);
    until("a stall", || {
        let now = length();
        still = if now > 128 << 10 && now == last { still + 1 } else { 0 };
        last = now;
        still == 60
    });
}

fn is_readable(pipe: &std::io::PipeReader) -> bool {
    use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&now)).unwrap() > 0
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

#[test]
fn output_status_log_and_record_are_the_program_s_and_nothing_is_left() {
    let container = Container::new("echo out; echo err >&2; printf tail; exit 7");
    let output = run(&container);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\ntail");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    assert_eq!((container.logged("stdout").as_str(), container.logged("stderr").as_str()), ("out\ntail", "err\n"));
    assert_eq!(container.record().unwrap().status(), status(7));
    assert_eq!(fs::read_to_string(container.file("shim.log")).unwrap(), "");
    container.assert_nothing_left();
}

#[test]
fn a_program_ended_by_a_signal_is_128_and_its_number() {
    let container = Container::new("kill -SEGV $$");
    assert_eq!(run(&container).status.code(), Some(139));
    assert_eq!(container.record().unwrap().signal, Some(11));
}

#[test]
fn input_reaches_the_program_whole_and_ends() {
    let mut container = Container::new("cat; echo end");
    container.launch.stdin = Stdin::Once;
    let mut child = container.hold("run").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| b'a' + (n % 23) as u8).collect();
    let mut input = child.stdin.take().unwrap();
    let expected = [&sent[..], b"end\n"].concat();
    let writer = std::thread::spawn(move || input.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.stdout == expected, "{} bytes came back", output.stdout.len());
}

#[test]
fn without_input_the_program_reads_dev_null_and_the_client_s_input_is_left_alone() {
    let container = Container::new("cat; readlink /proc/self/fd/0");
    let mut child = container.hold("run").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "/dev/null\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn input_nobody_reads_does_not_hold_up_client_or_signals() {
    let mut container = Container::new("exec 0<&-; trap 'exit 5' TERM; touch ready; while :; do sleep 0.05; done");
    container.launch.stdin = Stdin::Once;
    let program = format!(
        "cd {}; {}",
        container.launch.container.display(),
        fs::read_to_string(container.file("program")).unwrap()
    );
    fs::write(container.file("program"), program).unwrap();
    let zeros = fs::File::open("/dev/zero").unwrap();
    let mut child = container.hold("run").stdin(zeros).stdout(Stdio::null()).spawn().unwrap();
    container.wait_for_file("ready");
    signal(pid(&child), SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn signals_to_the_client_reach_the_program() {
    let container = Container::new("trap 'exit 42' INT TERM; echo ready; while :; do sleep 0.05; done");
    for number in [SIGINT, SIGTERM] {
        let mut child = container.hold("run").stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        signal(pid(&child), number);
        assert_eq!(child.wait().unwrap().code(), Some(42));
    }
}

#[test]
fn a_program_that_cannot_start_is_127_and_a_refused_creation_125_and_both_are_on_record() {
    let container = Container::without_program();
    let output = run(&container);
    assert_eq!(output.status.code(), Some(127), "{}", String::from_utf8_lossy(&output.stderr));
    let record = container.record().unwrap();
    assert_eq!(record.code, 127);
    assert!(record.error.unwrap().contains("executable file not found"));
    container.assert_nothing_left();

    let container = Container::new("echo never");
    fs::write(container.file("refuse"), "").unwrap();
    let output = run(&container);
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this bundle refuses to be created"));
    assert_eq!(container.record().unwrap().code, 125);
    container.assert_nothing_left();
}

#[test]
fn one_container_has_one_holder() {
    let container = Container::new("sleep 60");
    container.start_detached();
    let error = client::launch(&shim(), &container.launch, &[]).unwrap_err();
    assert_eq!(error.kind, Kind::AlreadyExists);
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);
    assert!(client::is_held(&container.launch.container).unwrap());
    container.connect().stop(SIGKILL, None).unwrap();
    assert_eq!(client::connect(&container.launch.run, &container.launch.id).unwrap_err().kind, Kind::NoSuchContainer);
}

#[test]
fn a_killed_client_leaves_the_container_running_and_its_end_is_recorded() {
    let container = Container::new("echo one; while [ ! -e \"$0.go\" ]; do sleep 0.02; done; echo two; exit 3");
    let mut child = container.hold("run").stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);
    fs::write(container.file("program.go"), "").unwrap();
    assert_eq!(container.connect().wait().unwrap_or(container.wait_for_record().status()), status(3));
    assert_eq!(container.logged("stdout"), "one\ntwo\n");
    container.assert_nothing_left();
}

#[test]
fn a_client_that_dies_before_start_takes_the_container_with_it_and_cleaning_up_is_done() {
    let mut container = Container::new("touch \"$0.ran\"");
    container.launch.on_exit = vec!["touch".into(), container.file("cleaned").to_str().unwrap().into()];
    let mut child = container.hold("created").spawn().unwrap();
    until("the holder", || client::connect(&container.launch.run, &container.launch.id).is_ok());
    until("creation", || container.connect().ping().is_ok_and(|(_, pid)| pid > 0));
    child.kill().unwrap();
    child.wait().unwrap();
    let record = container.wait_for_record();
    assert_eq!(record.code, 125);
    assert!(record.error.unwrap().contains("left before it said start"));
    container.wait_for_file("cleaned");
    assert!(!container.file("program.ran").exists());
    container.assert_nothing_left();
}

#[test]
fn what_was_open_in_the_command_is_closed_in_the_holder() {
    let container = Container::new("exec sleep 60");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut client = container.hold("detached");
    // As a shell does with `kelp run -d image 7>pipe`.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 7>&1 >/dev/null; exec \"$@\"", "sh"]).arg(client.get_program()).args(client.get_args());
    shell.env("KELP_SHIM", shim()).stdin(Stdio::null()).stdout(writer);
    assert!(shell.status().unwrap().success());
    drop((shell, client.stdin(Stdio::null())));
    let read = std::thread::spawn(move || {
        let mut reader = reader;
        reader.read(&mut [0]).unwrap()
    });
    until("the pipe's end", || read.is_finished());
    container.connect().stop(SIGKILL, None).unwrap();
}

#[test]
fn a_killed_holder_lets_go_of_the_lock_and_another_can_hold_the_container() {
    let container = Container::new("echo alive; exec sleep 62");
    container.start_detached();
    until("output", || container.logged("stdout") == "alive\n");
    let mut waiting = container.later("wait").stderr(Stdio::piped()).spawn().unwrap();
    container.until_heard(&waiting);
    signal(container.holder().unwrap(), SIGKILL);
    assert_eq!(waiting.wait().unwrap().code(), Some(125), "a waiting client hears that the holder is gone");
    until("the lock", || !client::is_held(&container.launch.container).unwrap());
    assert_eq!(container.record(), None);
    fs::write(container.file("program"), "exit 4").unwrap();
    assert_eq!(run(&container).status.code(), Some(4), "what the dead holder left is no obstacle");
    assert_eq!(container.record().unwrap().code, 4);
    assert_eq!(processes_with(&["sleep", "62"]), [0; 0], "the old program is gone");
    container.assert_nothing_left();
}

#[test]
fn the_holder_survives_the_signals_that_mean_the_command() {
    let container = Container::new("sleep 60");
    container.start_detached();
    let holder = container.holder().unwrap();
    for number in [SIGHUP, SIGINT, 3, 10, 12, 13] {
        signal(holder, number);
    }
    // What came before the first answer is seen to before the second.
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);
    assert_eq!(container.holder(), Some(holder));
    container.connect().stop(SIGKILL, None).unwrap();
}

#[test]
fn a_system_that_goes_down_stops_the_program_in_good_order_and_nobody_asked_for_it() {
    let mut container = Container::new("trap 'exit 6' USR1; echo ready; while :; do sleep 0.05; done");
    container.launch.restart = Restart::UnlessStopped;
    container.launch.stop_signal = 10;
    container.start_detached();
    until("the program", || container.logged("stdout") == "ready\n");
    signal(container.holder().unwrap(), SIGTERM);
    let exit = container.wait_for_record();
    assert_eq!((exit.code, exit.stopped), (6, false));
    until("the holder's end", || container.holder().is_none());
    container.assert_nothing_left();
}

#[test]
fn a_system_that_goes_down_kills_who_does_not_listen() {
    let mut container = Container::new("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    container.launch.stop_timeout = 0;
    container.start_detached();
    until("the program", || container.logged("stdout") == "ready\n");
    signal(container.holder().unwrap(), SIGTERM);
    assert_eq!(container.wait_for_record().code, 137);
    until("the holder's end", || container.holder().is_none());
}

#[test]
fn a_stalled_reader_holds_the_program_up_and_loses_nothing() {
    let container = Container::new(&format!("{}; touch \"$0.done\"", print_megabytes(4)));
    let mut child = container.hold("run").stdout(Stdio::piped()).spawn().unwrap();
    until_stalled(&container);
    assert!(!container.file("program.done").exists(), "the program should have been held up");
    let holder = container.holder().unwrap();
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(bytes.len(), 4 << 20);
    assert!(holder > 0 && container.file("program.done").exists());
    let logged = container.logged("stdout");
    assert!(logged.as_bytes() == bytes, "the log differs from what was read");
    container.assert_nothing_left();
}

#[test]
fn what_an_ended_program_wrote_reaches_a_reader_who_was_stalled() {
    // All pipes and sockets on the way are full when the program ends.
    let endless = print_megabytes(100);
    let script = format!("{endless} & while [ ! -e \"$0.go\" ]; do sleep 0.02; done; kill $!; wait; exit 3");
    let container = Container::new(&script);
    let mut child = container.hold("run").stdout(Stdio::piped()).spawn().unwrap();
    until_stalled(&container);
    fs::write(container.file("program.go"), "").unwrap();
    assert_eq!(container.wait_for_record().status(), status(3), "the record does not wait for the reader");
    let logged = container.logged("stdout");
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(logged.as_bytes() == bytes, "{} bytes logged, {} read", logged.len(), bytes.len());
    container.assert_nothing_left();
}

#[test]
fn behind_head_the_program_gets_epipe_as_in_any_pipeline() {
    let container = Container::new(&format!("{}; echo \"seq: $?\" >&2", print_megabytes(10)));
    let mut child = container.hold("run").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 128];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert!(first.ends_with(b"1\n"));
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("seq: 141") || errors.contains("Broken pipe"), "{errors}");
    container.assert_nothing_left();
}

#[test]
fn a_grandchild_that_keeps_the_pipe_open_does_not_hold_up_the_end() {
    let container = Container::new("setsid sleep 61 & echo done");
    let begun = Instant::now();
    let output = run(&container);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"done\n"[..]));
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    // Under `--pid host` only the runtime could kill it.
    processes_with(&["sleep", "61"]).into_iter().for_each(|pid| signal(pid, SIGKILL));
}

#[test]
fn later_clients_see_later_output_and_all_hear_of_the_end() {
    let container = Container::new("while [ ! -e \"$0.go\" ]; do sleep 0.02; done; echo late; exit 9");
    container.start_detached();
    let attach = || container.later("attach").stdout(Stdio::piped()).spawn().unwrap();
    let clients = [attach(), attach(), attach()];
    clients.iter().for_each(|client| container.until_heard(client));
    fs::write(container.file("program.go"), "").unwrap();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(9), &b"late\n"[..]));
    }
    container.assert_nothing_left();
}

#[test]
fn a_hundred_clients_come_and_go_without_a_trace() {
    let mut container = Container::new("cat");
    container.launch.stdin = Stdin::Keep;
    container.start_detached();
    let holder = container.holder().unwrap();
    container.connect().ping().unwrap();
    until("the last client to be forgotten", || open_descriptors(holder) < 14);
    let (before, memory) = (open_descriptors(holder), resident(holder));
    for round in 0..100u32 {
        let mut client = container.connect();
        client.send(&Request::Attach { streams: Streams::ALL, size: None }).unwrap();
        assert!(matches!(client.receive().unwrap(), Reply::Attached { terminal: false, stdin: true }));
        let text = format!("round {round}\n");
        client.send(&Request::Stdin(text.as_bytes())).unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < text.len() {
            if let Reply::Stdout(bytes) = client.receive().unwrap() {
                echoed.extend_from_slice(bytes);
            }
        }
        assert_eq!(echoed, text.as_bytes());
        if round % 2 == 0 {
            client.send(&Request::Detach).unwrap();
            assert_eq!(client.receive().unwrap_err().kind, Kind::Lost);
        }
    }
    until("the clients to be forgotten", || open_descriptors(holder) <= before);
    assert!(resident(holder) <= memory + 128, "{memory} kB became {} kB", resident(holder));
    assert_eq!(container.connect().stop(SIGTERM, Some(PATIENCE)).unwrap().signal, Some(SIGTERM));
}

/// Each has as much input under way as one may, and the program reads none of it.
#[test]
fn three_thousand_clients_that_typed_and_left_leave_no_memory() {
    let mut container = Container::new("sleep 60");
    container.launch.stdin = Stdin::Keep;
    container.start_detached();
    let holder = container.holder().unwrap();
    let come_type_and_leave = || {
        let mut client = container.connect();
        client.send(&Request::Attach { streams: Streams { stdin: true, ..Streams::default() }, size: None }).unwrap();
        assert!(matches!(client.receive().unwrap(), Reply::Attached { stdin: true, .. }));
        for _ in 0..STDIN_WINDOW / DATA_MAX {
            client.send(&Request::Stdin(&[b'x'; DATA_MAX])).unwrap();
        }
    };
    (0..100).for_each(|_| come_type_and_leave());
    let before = resident(holder);
    (0..3000).for_each(|_| come_type_and_leave());
    container.connect().ping().unwrap();
    assert!(resident(holder) <= before + 256, "{before} kB became {} kB", resident(holder));
    container.connect().stop(SIGKILL, None).unwrap();
}

#[test]
fn only_so_many_clients_are_served_and_only_so_much_input_is_taken_of_one() {
    let mut container = Container::new("sleep 60");
    container.launch.stdin = Stdin::Keep;
    container.start_detached();
    let attach = || {
        let mut client = container.connect();
        client.send(&Request::Attach { streams: Streams::ALL, size: None }).unwrap();
        client.receive().map(|reply| assert!(matches!(reply, Reply::Attached { .. }))).map(|()| client)
    };
    let mut clients: Vec<_> = (0..64).map(|_| attach().unwrap()).collect();
    let refused = attach().unwrap_err();
    assert!(refused.to_string().contains("64 clients are connected already"), "{refused}");
    let mut greedy = clients.pop().unwrap();
    // A pipe's worth goes to the program; the window is as large; then it is too much.
    let sent = (0..8).try_for_each(|_| greedy.send(&Request::Stdin(&[b'x'; DATA_MAX])));
    let ended = (0..8).find_map(|_| greedy.receive().err());
    assert!(sent.is_err() || ended.is_some_and(|error| error.kind == Kind::BadInput));
    until("room for another", || attach().is_ok());
    assert_eq!(clients[0].ping().unwrap().0, Phase::Running);
    container.connect().stop(SIGKILL, None).unwrap();
}

/// Kilobytes.
fn resident(pid: i32) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn stop_kills_who_does_not_listen() {
    let container = Container::new("trap '' TERM; echo deaf; while :; do sleep 0.05; done");
    container.start_detached();
    until("the program", || container.logged("stdout") == "deaf\n");
    let stopped = container.connect().stop(SIGTERM, Some(Duration::from_millis(200))).unwrap();
    assert_eq!(stopped, Status { code: 137, signal: Some(9), oom: false });
    let record = container.record().unwrap();
    assert_eq!((record.status(), record.stopped), (stopped, true), "the record says that somebody asked for it");
    container.assert_nothing_left();
}

#[test]
fn cleaning_up_is_the_client_s_or_else_ours() {
    let mut container = Container::new("exit 3");
    let cleaned = container.file("cleaned");
    container.launch.on_exit = vec!["touch".into(), cleaned.to_str().unwrap().into()];
    assert_eq!(container.hold("run").env("HOLD_SETTLES", "1").status().unwrap().code(), Some(3));
    container.assert_nothing_left();
    assert!(!cleaned.exists(), "the client said that it had cleaned up");

    assert_eq!(run(&container).status.code(), Some(3));
    container.assert_nothing_left();
    assert!(cleaned.exists(), "the client left without a word");

    fs::remove_file(&cleaned).unwrap();
    fs::write(container.file("program"), "while [ ! -e \"$0.go\" ]; do sleep 0.02; done").unwrap();
    container.start_detached();
    let waiting = container.later("wait").spawn().unwrap();
    container.until_heard(&waiting);
    fs::write(container.file("program.go"), "").unwrap();
    assert!(waiting.wait_with_output().unwrap().status.success());
    assert!(cleaned.exists(), "whoever waits hears of the end when all is clean");
}

#[test]
fn restart_policies_are_obeyed() {
    let mut container = Container::new("echo again >> \"$0.count\"; exit 2");
    let count =
        |container: &Container| fs::read_to_string(container.file("program.count")).unwrap_or_default().lines().count();
    container.launch.restart = Restart::OnFailure { max: 2 };
    container.launch.on_restart =
        vec!["sh".into(), "-c".into(), format!("echo $1 >> {}", container.file("prepared").display()), "sh".into()];
    assert_eq!(run(&container).status.code(), Some(2));
    assert_eq!(count(&container), 3);
    assert_eq!(fs::read_to_string(container.file("prepared")).unwrap().lines().count(), 2);
    container.assert_nothing_left();

    container.launch.restart = Restart::Always;
    container.launch.on_restart.clear();
    container.start_detached();
    until("three more rounds", || count(&container) >= 6);
    let stopped = container.connect().stop(SIGTERM, Some(PATIENCE)).unwrap();
    assert!([2, 143].contains(&stopped.code), "{stopped:?}");
    let rounds = count(&container);
    container.assert_nothing_left();
    assert_eq!(count(&container), rounds, "its holder is gone: nobody starts it again");
}

#[test]
fn senseless_clients_are_told_and_dropped_and_nobody_else_notices() {
    let container = Container::new("sleep 60");
    container.start_detached();
    let holder = container.holder().unwrap();
    let mut witness = container.connect();
    witness.ping().unwrap();
    let before = open_descriptors(holder);
    let longest = vec![b'i'; 60 << 10];
    let nonsense: [&[u8]; 6] = [b"?", b"h", b"h\x01\x01", b"k\0\0\0\0", b"a\xff\0\0\0\0", &longest];
    for packet in nonsense {
        let mut client = container.connect();
        client.send_raw(packet).unwrap();
        let error = client.receive().unwrap_err();
        assert_eq!(error.kind, Kind::BadInput, "{packet:?}");
        assert_eq!(client.receive().unwrap_err().kind, Kind::Lost);
    }
    let mut client = container.connect();
    client.send(&Request::Stdin(b"not attached")).unwrap();
    assert_eq!(client.receive().unwrap_err().kind, Kind::BadInput);
    until("them to be forgotten", || open_descriptors(holder) <= before);
    assert_eq!(witness.ping().unwrap().0, Phase::Running);
    witness.stop(SIGKILL, None).unwrap();
}

#[test]
fn a_client_that_asks_and_never_listens_costs_nothing() {
    let container = Container::new("sleep 60");
    container.start_detached();
    let holder = container.holder().unwrap();
    let mut rude = container.connect();
    rude.send(&Request::Attach { streams: Streams::ALL, size: None }).unwrap();
    let before = resident(holder);
    for _ in 0..20_000 {
        rude.send(&Request::Ping).unwrap();
    }
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);
    assert!(resident(holder) <= before + 128, "{before} kB became {} kB", resident(holder));
    container.connect().stop(SIGKILL, None).unwrap();
}

#[test]
fn a_relay_in_this_process_ends_with_the_program() {
    let container = Container::new("exit 6");
    let mut held = client::launch(&shim(), &container.launch, &[]).unwrap();
    let relay = Relay { streams: Streams::OUTPUT, ..Relay::default() };
    assert_eq!(held.foreground(&relay).unwrap(), Ended::Exited(status(6)));
}

#[test]
fn kept_descriptors_close_when_the_holder_ends_and_not_before() {
    let container = Container::new("sleep 60");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut held = client::launch(&shim(), &container.launch, &[writer.into()]).unwrap();
    held.start().unwrap();
    drop(held);
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);
    assert!(!is_readable(&reader), "it is kept while the container lives");
    container.connect().stop(SIGKILL, None).unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}
