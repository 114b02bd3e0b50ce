// SPDX-License-Identifier: Apache-2.0
//! Work on files of several owners, done inside the caller's id map.
//!
//! Root works where he is. Everybody else starts his own program again with a hidden first argument; it makes a user
//! namespace, waits to be mapped, reads one job as a line of JSON from its standard input (a socket), tells events as
//! lines of JSON there, and ends. It dies with its parent: half-done work is in folders whose lock dies too.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use kelp_sys::clone::Namespaces;
use kelp_sys::process::{set_parent_death_signal, unshare};
use serde::{Deserialize, Serialize};

use crate::changes::{self, Change, Files};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::measure;
use crate::pack;
use crate::progress::{Event, Progress, Quiet};
use crate::stack::LayerStack;
use crate::tree;
use crate::unpack::feed::{Feed, Listener, News};
use crate::unpack::{self, Unpack, Unpacked};

/// The hidden first argument.
const ARGUMENT: &str = "kelp-bundles-job";
const SIGKILL: i32 = 9;

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Unpack layers.
    Unpack(Unpack),
    /// The same while they arrive: lines of [`News`] follow.
    UnpackAlong(Unpack),
    /// Delete trees.
    RemoveTrees(Vec<PathBuf>),
    /// Copy what a stack of layers (lowest first) shows at a path into an empty folder.
    Copy(Vec<PathBuf>, PathBuf, PathBuf),
    /// Read a file of at most so many bytes that a stack of layers shows.
    Read(Vec<PathBuf>, String, u64),
    /// Count the bytes of trees.
    Measure(Vec<PathBuf>),
    /// What a container changed of these layers.
    Changes(Vec<PathBuf>, Files),
    /// Write what a container of these layers shows, as a tar, to standard output.
    PackTree(Vec<PathBuf>, Files),
    /// The same of what it changed of them.
    PackLayer(Vec<PathBuf>, Files),
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Nothing to tell.
    Done,
    /// Of [`Job::Unpack`].
    Unpacked(Unpacked),
    /// Of [`Job::Read`]; `None` where there is no such file.
    Read(Option<Vec<u8>>),
    /// Of [`Job::Measure`], in its order.
    Measured(Vec<u64>),
    /// Of [`Job::Changes`].
    Changed(Vec<Change>),
}

/// A line from the child.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// In its namespace, waiting for the map and the job.
    Ready,
    UnpackBegins(Digest, u64),
    UnpackedBytes(Digest, u64),
    UnpackDone(Digest),
    Note(String),
    End(std::result::Result<Outcome, Error>),
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Whoever's `main` does not begin with [`run_if_asked`] names a program whose does.
pub fn use_program(path: &Path) {
    if PROGRAM.set(path.to_owned()).is_err() {
        // Named before: the first stays.
    }
}

/// Does a job if this process was started for one. To be called first in `main`, while there is one thread.
pub fn run_if_asked() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != ARGUMENT {
        return None;
    }
    match child() {
        Ok(()) => Some(ExitCode::SUCCESS),
        // The parent is gone, or was told.
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// Deletes a tree, whoever owns what is in it.
pub fn remove_tree(path: &Path, map: &IdMap) -> Result<()> {
    remove_trees(&[path.to_owned()], map)
}

/// Deletes trees, whoever owns what is in them.
pub fn remove_trees(paths: &[PathBuf], map: &IdMap) -> Result<()> {
    run(Job::RemoveTrees(paths.to_vec()), map, &Quiet).map(drop)
}

/// Copies what a stack of unpacked layers (lowest first) shows into the empty folder `to`.
pub fn copy_tree(lower: &[PathBuf], to: &Path, map: &IdMap) -> Result<()> {
    copy_folder(lower, Path::new("/"), to, map)
}

/// Copies what a stack of unpacked layers (lowest first) shows in the folder `inside` into the empty folder `to`: a
/// volume's first content. Where that is no folder, nothing is copied.
pub fn copy_folder(lower: &[PathBuf], inside: &Path, to: &Path, map: &IdMap) -> Result<()> {
    run(Job::Copy(lower.to_vec(), inside.to_owned(), to.to_owned()), map, &Quiet).map(drop)
}

/// The content of a file that a stack of layers (lowest first) shows, links followed; `None` where there is no such file.
pub(crate) fn read(lower: &[PathBuf], path: &str, limit: u64, map: &IdMap) -> Result<Option<Vec<u8>>> {
    match run(Job::Read(lower.to_vec(), path.to_owned(), limit), map, &Quiet)? {
        Outcome::Read(bytes) => Ok(bytes),
        _ => Err(Error::new(Kind::Other, format!("reading {path} of the image"), SOMETHING_ELSE)),
    }
}

/// How much each of these trees takes on disk, as du(1) counts it: blocks, and a file with several names once. A tree
/// that is not there takes nothing.
pub fn measure(paths: &[PathBuf], map: &IdMap) -> Result<Vec<u64>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    match run(Job::Measure(paths.to_vec()), map, &Quiet)? {
        Outcome::Measured(sizes) => Ok(sizes),
        _ => Err(Error::new(Kind::Other, "measuring folders", SOMETHING_ELSE)),
    }
}

/// What a container changed of these layers (lowest first).
pub(crate) fn changes(lower: &[PathBuf], files: &Files, map: &IdMap) -> Result<Vec<Change>> {
    match run(Job::Changes(lower.to_vec(), files.clone()), map, &Quiet)? {
        Outcome::Changed(changes) => Ok(changes),
        _ => Err(Error::new(Kind::Other, "comparing a container with its image", SOMETHING_ELSE)),
    }
}

/// Writes what a container of these layers (lowest first) shows, as a tar.
pub(crate) fn pack_tree(lower: &[PathBuf], files: &Files, out: OwnedFd, map: &IdMap) -> Result<()> {
    write(Job::PackTree(lower.to_vec(), files.clone()), out, map)
}

/// Writes what a container changed of these layers, as a layer.
pub(crate) fn pack_layer(lower: &[PathBuf], files: &Files, out: OwnedFd, map: &IdMap) -> Result<()> {
    write(Job::PackLayer(lower.to_vec(), files.clone()), out, map)
}

/// Does a job that writes to `out`.
fn write(job: Job, out: OwnedFd, map: &IdMap) -> Result<()> {
    match map {
        IdMap::Host => pack_to(&job, File::from(out)),
        _ => Helper::start_with(&job, map, Stdio::from(out))?.listen(&Quiet).map(drop),
    }
}

fn pack_to(job: &Job, out: impl Write) -> Result<()> {
    let out = BufWriter::with_capacity(1 << 18, out);
    match job {
        Job::PackTree(lower, files) => pack::tree(lower, files, out),
        Job::PackLayer(lower, files) => pack::layer(lower, files, out),
        _ => Err(Error::new(Kind::Other, "packing files", "this job packs nothing")),
    }
}

/// What a helper of another version might do.
pub(crate) const SOMETHING_ELSE: &str = "the helper did something else";

/// Does a job inside `map`.
pub(crate) fn run(job: Job, map: &IdMap, progress: &dyn Progress) -> Result<Outcome> {
    match map {
        IdMap::Host => perform(job, progress),
        _ => in_namespace(&job, map, progress),
    }
}

fn perform(job: Job, progress: &dyn Progress) -> Result<Outcome> {
    match job {
        Job::Unpack(unpack) | Job::UnpackAlong(unpack) => unpack::run(&unpack, progress).map(Outcome::Unpacked),
        Job::RemoveTrees(paths) => paths.iter().try_for_each(|p| tree::remove(p)).map(|()| Outcome::Done),
        Job::Copy(lower, inside, to) => tree::copy_stack(&lower, &inside, &to).map(|()| Outcome::Done),
        Job::Read(lower, path, limit) => {
            LayerStack::open_inside(&lower, &IdMap::Host)?.read(&path, limit).map(Outcome::Read)
        }
        Job::Measure(paths) => measure::trees(&paths).map(Outcome::Measured),
        Job::Changes(lower, files) => changes::all(&lower, &files).map(Outcome::Changed),
        Job::PackTree(..) | Job::PackLayer(..) => pack_to(&job, std::io::stdout()).map(|()| Outcome::Done),
    }
}

/// Unpacks layers while `bring` gets them, which tells of each; what it returns. An error of one ends the other.
pub(crate) fn unpack_along<T: Send>(
    job: &Unpack,
    map: &IdMap,
    progress: &dyn Progress,
    bring: impl FnOnce(&dyn Listener) -> Result<T> + Send,
) -> Result<T> {
    let (brought, unpacked) = match map {
        IdMap::Host => {
            let feed = Feed::default();
            thread::scope(|scope| {
                let bringing = scope.spawn(|| bring_to(&feed, bring));
                let unpacked = unpack::run_along(job, &feed, progress).map(drop);
                (bringing.join(), unpacked)
            })
        }
        _ => {
            let helper = Helper::start(&Job::UnpackAlong(job.clone()), map)?;
            thread::scope(|scope| {
                let bringing = scope.spawn(|| bring_to(&helper, bring));
                // First: a helper that is not heard stops at a full socket, and one that failed must end the bringing.
                let unpacked = helper.listen(progress).map(drop);
                (bringing.join(), unpacked)
            })
        }
    };
    let brought = brought.unwrap_or_else(|_| Err(Error::new(Kind::Other, "bringing layers", "a thread stopped")));
    match (brought, unpacked) {
        (Ok(brought), Ok(())) => Ok(brought),
        // Each side's error ends the other: the other's error says no more than that.
        (Err(error), _) if !error.is_stop() => Err(error),
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}

fn bring_to<T>(listener: &dyn Listener, bring: impl FnOnce(&dyn Listener) -> Result<T>) -> Result<T> {
    let brought = bring(listener);
    if brought.is_err() {
        listener.tell(News::Failed);
    }
    brought
}

/// A child that is killed when nobody waits for it any more.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both are no-ops on a child that was waited for.
        if self.0.kill().is_ok() && self.0.wait().is_ok() {}
    }
}

fn in_namespace(job: &Job, map: &IdMap, progress: &dyn Progress) -> Result<Outcome> {
    Helper::start(job, map)?.listen(progress)
}

/// A child at work inside the id map.
struct Helper {
    child: Mutex<Guarded>,
    socket: UnixStream,
    failed: AtomicBool,
}

impl Helper {
    fn start(job: &Job, map: &IdMap) -> Result<Self> {
        Self::start_with(job, map, Stdio::inherit())
    }

    /// The same with this standard output.
    fn start_with(job: &Job, map: &IdMap, stdout: Stdio) -> Result<Self> {
        let doing = || "starting a helper in a user namespace";
        let (ours, theirs) = UnixStream::pair().doing(doing)?;
        let own = Path::new("/proc/self/exe");
        let program = PROGRAM.get().map_or(own, PathBuf::as_path);
        let mut command = Command::new(program);
        command.arg(ARGUMENT).stdin(Stdio::from(OwnedFd::from(theirs))).stdout(stdout);
        let child = Guarded(command.spawn().doing(doing)?);
        // It holds our end of what the child writes to, whose reader waits for its last holder.
        drop(command);
        // It says one line and waits: nothing is read ahead that `listen` would miss.
        match receive(&mut BufReader::with_capacity(1 << 16, &ours))? {
            Message::Ready => {}
            Message::End(Err(error)) => return Err(error),
            _ => return Err(Error::new(Kind::Other, doing(), "it spoke out of turn")),
        }
        map.apply(child.0.id())?;
        send(&mut &ours, job)?;
        Ok(Self { child: Mutex::new(child), socket: ours, failed: AtomicBool::new(false) })
    }

    /// Hears it out.
    fn listen(&self, progress: &dyn Progress) -> Result<Outcome> {
        let outcome = self.hear(progress);
        self.failed.store(outcome.is_err(), Ordering::Relaxed);
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if outcome.is_ok() {
            child.0.wait().doing(|| "waiting for a helper")?;
        }
        outcome
    }

    fn hear(&self, progress: &dyn Progress) -> Result<Outcome> {
        let mut lines = BufReader::new(&self.socket);
        loop {
            match receive(&mut lines)? {
                Message::End(outcome) => return outcome,
                message => relay(message, progress),
            }
        }
    }
}

impl Listener for Helper {
    fn tell(&self, news: News) -> bool {
        if send(&mut &self.socket, &news).is_err() {
            // One who needs nothing more may be gone already; one who failed said so in his last line.
        }
        !self.failed.load(Ordering::Relaxed)
    }
}

fn relay(message: Message, progress: &dyn Progress) {
    match message {
        Message::UnpackBegins(layer, size) => progress.event(Event::UnpackBegins(&layer, size)),
        Message::UnpackedBytes(layer, more) => progress.event(Event::Unpacked(&layer, more)),
        Message::UnpackDone(layer) => progress.event(Event::UnpackDone(&layer)),
        Message::Note(text) => progress.event(Event::Note(&text)),
        Message::Ready | Message::End(_) => {}
    }
}

fn send(to: &mut impl Write, what: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(what).doing(|| "speaking to a helper")?;
    line.push(b'\n');
    to.write_all(&line).doing(|| "speaking to a helper")
}

fn receive<T: for<'de> Deserialize<'de>>(from: &mut impl BufRead) -> Result<T> {
    let mut line = String::new();
    from.read_line(&mut line).doing(|| "listening to a helper")?;
    match line.is_empty() {
        true => Err(Error::new(Kind::Other, "listening to a helper", "it ended before its work")
            .hint("was it killed, perhaps for want of memory?")),
        false => serde_json::from_str(&line).doing(|| "listening to a helper"),
    }
}

/// The child's life.
fn child() -> Result<()> {
    let control = std::io::stdin().as_fd().try_clone_to_owned().doing(|| "opening the socket")?;
    let control = UnixStream::from(control);
    if let Err(error) = enter_namespace() {
        return send(&mut &control, &Message::End(Err(error)));
    }
    send(&mut &control, &Message::Ready)?;
    let mut lines = BufReader::new(control.try_clone().doing(|| "opening the socket")?);
    let job: Job = receive(&mut lines)?;
    let teller = Teller { to: Mutex::new(&control) };
    let outcome = match job {
        Job::UnpackAlong(unpack) => along(&unpack, lines, &teller),
        job => perform(job, &teller),
    };
    teller.tell(&Message::End(outcome));
    Ok(())
}

/// Unpacks what arrives, as the parent tells it. Nobody waits for the thread that listens: it ends with this process.
fn along(unpack: &Unpack, mut lines: impl BufRead + Send + 'static, teller: &Teller<'_>) -> Result<Outcome> {
    let feed = Arc::new(Feed::default());
    let heard = feed.clone();
    thread::spawn(move || {
        while let Ok(news) = receive(&mut lines) {
            heard.tell(news);
        }
        heard.tell(News::Failed);
    });
    unpack::run_along(unpack, &feed, teller).map(Outcome::Unpacked)
}

fn enter_namespace() -> Result<()> {
    unshare(Namespaces::USER).map_err(|errno| {
        Error::new(Kind::Unsupported, "making a user namespace", format!("unshare(CLONE_NEWUSER): {errno}")).hint(
            "are user namespaces switched off? see /proc/sys/user/max_user_namespaces, \
             kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
        )
    })?;
    // After unshare: a change of credentials clears it.
    set_parent_death_signal(SIGKILL).doing(|| "asking to die with the parent")
}

/// Sends events as lines.
struct Teller<'s> {
    to: Mutex<&'s UnixStream>,
}

impl Teller<'_> {
    /// A parent that does not listen is gone, and its death signal on its way.
    fn tell(&self, message: &Message) {
        let mut to = self.to.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if send(&mut *to, message).is_err() {}
    }
}

impl Progress for Teller<'_> {
    fn event(&self, event: Event<'_>) {
        let message = match event {
            Event::UnpackBegins(layer, size) => Message::UnpackBegins(layer.clone(), size),
            Event::Unpacked(layer, more) => Message::UnpackedBytes(layer.clone(), more),
            Event::UnpackDone(layer) => Message::UnpackDone(layer.clone()),
            Event::Note(text) => Message::Note(text.to_owned()),
            // Of fetching and sending, which no job does.
            _ => return,
        };
        self.tell(&message);
    }
}
