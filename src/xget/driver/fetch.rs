//! A client run for real: begun, watched, its effects carried out.

use super::budget::Limits;
use super::conn::Part;
use super::descriptors;
use super::dest_files::{DestFiles, failure};
use super::event_loop::Loop;
use super::machine::{FetchObserver, Machine};
use super::parts::PartsError;
use super::shut_in::{self, Rules};
use crate::key_file;
use crate::os::sync::tells_errors;
use crate::os::{file, memory, socket};
use crate::store::destination::Destination;
use crate::store::directory::Directory;
use crate::store::writer::{DestOptions, Policy};
use ninep::server::ConnId;
use peer::conn::{ConnEffect, ConnEvent};
use peer::failure::{Failure, Status};
use peer::fetch::{FetchEffect, FetchInput, FetchOptions, Fetcher, Progress};
use peer::namespace::{Bulk, Content};
use peer::request::{FetchRequest, Masters, Pin};
use peer::server::Standing;
use sorted::SortedSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

/// So often is told of what somebody changed under us, and no more.
const LOST_SAID_MAX: u32 = 20;
/// How often is looked whether a medium that is waited for has all.
const WAIT_LOOK_MS: u64 = 20;

/// What is to be fetched, from whom, and where it goes.
#[derive(Clone, Debug)]
pub struct FetchTask {
    pub masters: Masters,
    pub request: FetchRequest,
    /// The directory that it lands in.
    pub dest: PathBuf,
    /// Files get the modes of the source, and as root the owners.
    pub keep_attributes: bool,
    /// The directory itself gets the attributes of the source's root, where it is one
    /// directory's contents that are fetched.
    pub keep_root_attributes: bool,
    /// Directories that are there stay as they are.
    pub keep_dirs: bool,
    /// So much fits, whatever the file system says; more is refused before
    /// its first byte.
    pub space_bytes_max: Option<u64>,
    /// It is in place when it is on the medium.
    pub sync: bool,
    /// What is done with what is there.
    pub policy: Policy,
    /// When the manifest is known, and nothing is written yet, it is
    /// [`Turn::Held`] until [`Fetching::go_on`].
    pub hold: bool,
    /// Of those whom it serves.
    pub limits: Limits,
    /// `driver::fetch` opens nothing more but what its destination takes, and so does the process from
    /// then on.
    pub is_shut_in: bool,
}

impl FetchTask {
    /// With the attributes of the source, file by file, and nothing else out of the ordinary.
    pub fn of(masters: impl Into<Masters>, request: FetchRequest, dest: PathBuf) -> FetchTask {
        FetchTask {
            masters: masters.into(),
            request,
            dest,
            keep_attributes: true,
            keep_root_attributes: false,
            keep_dirs: false,
            space_bytes_max: None,
            sync: false,
            policy: Policy::default(),
            hold: false,
            limits: Limits::of_client(None, None),
            is_shut_in: false,
        }
    }
}

/// Fetches, serves others meanwhile, lingers. Where it goes `into` no other destination, it is the
/// task's directory. Gives what failed: nothing means that every file is verified and in place.
pub fn fetch(
    task: FetchTask,
    into: Option<Box<dyn Destination>>,
    observer: impl FetchObserver,
) -> Result<Vec<Failure>, Failure> {
    let (is_shut_in, changes) = (task.is_shut_in, task.policy.purpose.writes());
    let (mut machine, event_loop) = begin(task, into, Box::new(observer))?;
    if is_shut_in {
        machine.shut_in(changes);
    }
    let ended = event_loop.run(&mut machine).map_err(poll_failure);
    machine.tell_changes();
    ended
}

/// A fetch that is watched from outside, turn by turn.
pub struct Fetching {
    machine: FetchMachine<'static>,
    event_loop: Loop,
}

/// Where a fetch is after a turn.
#[derive(Debug)]
pub enum Turn {
    Running,
    /// What is to come is known; nothing is written before [`Fetching::go_on`].
    Held(Rc<Content>),
    /// Every file is verified and in place; others may be served still.
    InPlace,
    /// Nothing is left to do. What failed, if anything.
    Over(Vec<Failure>),
}

impl Fetching {
    pub fn begin(
        task: FetchTask,
        observer: impl FetchObserver + 'static,
    ) -> Result<Fetching, Failure> {
        let (machine, event_loop) = begin(task, None, Box::new(observer))?;
        Ok(Fetching { machine, event_loop })
    }

    /// The same into another destination than the task's directory.
    pub fn begin_into(
        task: FetchTask,
        into: Box<dyn Destination>,
        observer: impl FetchObserver + 'static,
    ) -> Result<Fetching, Failure> {
        let (machine, event_loop) = begin(task, Some(into), Box::new(observer))?;
        Ok(Fetching { machine, event_loop })
    }

    pub fn turn(&mut self) -> Result<Turn, Failure> {
        let over = self.event_loop.turn(&mut self.machine).map_err(poll_failure)?;
        if let Some(content) = self.machine.held.take() {
            return Ok(Turn::Held(content));
        }
        match over {
            Some(failures) => Ok(Turn::Over(failures)),
            None if self.machine.fetcher.is_in_place() => Ok(Turn::InPlace),
            None => Ok(Turn::Running),
        }
    }

    /// After [`Turn::Held`]: begins to put the content in place, or ends with why not.
    pub fn go_on(&mut self, verdict: Result<Rc<Content>, Failure>) {
        let next = match verdict {
            Ok(content) => self.machine.files.prepare(content),
            Err(failure) => Some(FetchInput::Fatal { failure }),
        };
        self.machine.wishes.extend(next);
    }

    /// Others may fetch into the destination now; what lies there is served on.
    pub fn release(&self) {
        self.machine.files.release();
    }

    pub fn progress(&self) -> Progress {
        self.machine.fetcher.progress()
    }

    /// Connections that fetch from us.
    pub fn child_count(&self) -> usize {
        self.machine.fetcher.child_count()
    }

    /// A line in the master's log.
    pub fn log(&mut self, text: String) {
        self.machine.wishes.push(FetchInput::Log { text });
    }

    /// Comes to an end in good order: children are given to others first.
    pub fn leave(&mut self) {
        self.machine.wishes.push(FetchInput::Interrupted);
    }
}

fn local(what: &str, why: String) -> Failure {
    Failure::fatal(Status::LocalIo, what, why)
}

fn poll_failure(error: io::Error) -> Failure {
    local("poll", error.to_string())
}

fn begin<'w>(
    task: FetchTask,
    into: Option<Box<dyn Destination>>,
    observer: Box<dyn FetchObserver + 'w>,
) -> Result<(FetchMachine<'w>, Loop), Failure> {
    let descriptors = descriptors::claim().map_err(|why| local("", why))?;
    let limits = task.limits.within(descriptors);
    let dest = match into {
        Some(dest) => dest,
        None => Box::new(directory(&task)?),
    };
    let FetchTask { masters, request, keep_attributes, space_bytes_max, hold, .. } = task;
    let listening = |error: io::Error| local("listening", error.to_string());
    let listener = socket::listen(0).map_err(listening)?;
    let port = listener.local_addr().map_err(listening)?.port();
    let memory_bytes = memory::available();
    let makes_specials = keep_attributes && file::is_root();
    let is_resumed = dest.is_resumed();
    let key = request.key.clone();
    let options = FetchOptions { masters, port, request, memory_bytes, makes_specials, is_resumed };
    let mut fetcher = Fetcher::new(options, 0);
    if let Some(key) = key {
        fetcher.lock(&key, key_file::seed().map_err(|why| local("--key", why))?);
    }
    let began = Instant::now();
    let machine = FetchMachine {
        began,
        fetcher,
        files: DestFiles::new(dest, space_bytes_max),
        observer,
        wishes: Vec::new(),
        lost_count: 0,
        hold,
        held: None,
        opens: None,
        result: None,
    };
    Ok((machine, Loop::new(listener, began, limits)))
}

/// The task's directory, claimed.
fn directory(task: &FetchTask) -> Result<Directory, Failure> {
    if task.sync && !tells_errors() {
        let why =
            "needs Linux 5.8 or later: before it nobody is told of data that could not be written";
        return Err(local("--fsync", why.into()));
    }
    let sha256 = match task.request.pin {
        Some(Pin::Sha256(sum)) => Some(sum),
        Some(Pin::Blake3(_)) | None => None,
    };
    let options = DestOptions {
        keep_modes: task.keep_attributes,
        keep_owners: task.keep_attributes && file::is_root(),
        keep_dirs: task.keep_dirs,
        takes_root: task.keep_root_attributes,
        sha256,
        policy: task.policy.clone(),
    };
    Directory::open(&task.dest, options, task.sync).map_err(|error| failure(&error))
}

/// A client with its files and who looks after it.
pub(super) struct FetchMachine<'w> {
    /// Where the loop's clock begins.
    began: Instant,
    fetcher: Fetcher,
    files: DestFiles,
    observer: Box<dyn FetchObserver + 'w>,
    /// What somebody outside the loop wants, and what was found while replies were sent.
    wishes: Vec<FetchInput<'static>>,
    /// How often something was asked for that somebody else had changed.
    lost_count: u32,
    /// Who begins the fetch wants to see what is to come before it is written.
    hold: bool,
    /// That, until it was shown.
    held: Option<Rc<Content>>,
    /// Of who is shut in: what may be opened, until that is known for good.
    opens: Option<Rules>,
    result: Option<Vec<Failure>>,
}

impl FetchMachine<'_> {
    /// Hands an input over, and carries out what follows from it. `frame` is the
    /// one that the input is about, if any.
    fn take(&mut self, now_ms: u64, input: FetchInput, frame: &[u8]) {
        self.fetcher.handle(now_ms, input);
        self.carry_out_all(frame);
    }

    fn carry_out_all(&mut self, frame: &[u8]) {
        while let Some(effect) = self.fetcher.poll_effect() {
            if let Some(input) = self.carry_out(effect, frame) {
                // A disk may have held us up: that is no parent's fault.
                self.fetcher.handle(self.now_ms(), input);
            }
        }
    }

    /// Of the process, too: it does so once.
    fn shut_in(&mut self, changes: bool) {
        let opens = self.files.opens();
        if let Err(missing) = shut_in::client(&opens, changes) {
            self.observer.warn(&missing);
        }
        self.opens = changes.then_some(opens);
    }

    /// A destination that was not there could be made anywhere in what is above it.
    fn shut_in_further(&mut self) {
        let Some(before) = self.opens.take() else { return };
        let opens = self.files.opens();
        if opens != before {
            shut_in::client_further(&opens);
        }
    }

    fn tell_changes(&mut self) {
        let changes = self.files.take_changes();
        if !changes.is_empty() {
            self.observer.changed(&changes);
        }
    }

    fn tell_notes(&mut self) {
        self.files.take_notes().iter().for_each(|note| self.observer.warn(note));
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    #[inline(never)]
    fn carry_out(&mut self, effect: FetchEffect, frame: &[u8]) -> Option<FetchInput<'static>> {
        match effect {
            FetchEffect::Prepare { content } => {
                log::debug!(target: "client", "the manifest is here");
                if !self.hold {
                    let input = self.files.prepare(content);
                    self.shut_in_further();
                    return input;
                }
                self.held = Some(content);
            }
            FetchEffect::Store { conn, piece, range, is_rest } => {
                log::trace!(target: "client", "piece {piece} from {conn:?}");
                let bytes = frame.get(range).unwrap_or_default();
                let result = self.files.store(piece, bytes, is_rest);
                return Some(FetchInput::Stored { conn, piece, result });
            }
            FetchEffect::Forget { below } => self.files.forget(below),
            FetchEffect::Finish => {
                log::debug!(target: "client", "all pieces are here");
                self.files.finish();
            }
            FetchEffect::Checksum { generation, entry } => self.files.begin_sum(generation, entry),
            FetchEffect::Warn(text) => self.observer.warn(&text),
            FetchEffect::Exit { failures } => {
                let mut failures = each_once(failures);
                if !failures.is_empty() {
                    failures.extend(self.files.remains());
                }
                self.result = Some(failures);
            }
        }
        None
    }
}

impl Machine for FetchMachine<'_> {
    fn begin_turn(&mut self, now_ms: u64) {
        if self.observer.turn(&self.fetcher.progress()) {
            self.wishes.push(FetchInput::Interrupted);
        }
        for wish in std::mem::take(&mut self.wishes) {
            self.take(now_ms, wish, &[]);
        }
    }

    fn handle(&mut self, now_ms: u64, event: ConnEvent) {
        let frame = match &event {
            ConnEvent::Frame { frame, .. } => frame.prefix,
            _ => &[],
        };
        self.take(now_ms, FetchInput::Conn(event), frame);
    }

    fn outlet(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.files.outlet()
    }

    fn outlet_ready(&mut self, is_broken: bool) {
        if let Some(input) = self.files.hand_over(is_broken) {
            self.take(self.now_ms(), input, &[]);
        }
    }

    fn timeout(&mut self, now_ms: u64) {
        // A destination that stands still gives no other occasion.
        self.tell_notes();
        self.take(now_ms, FetchInput::Timeout, &[]);
    }

    fn poll_timeout(&self) -> Option<u64> {
        if !self.wishes.is_empty() {
            return Some(self.now_ms());
        }
        let look_ms = self.files.is_waiting().then(|| self.now_ms() + WAIT_LOOK_MS);
        self.fetcher.poll_timeout().into_iter().chain(look_ms).min()
    }

    fn poll_conn_effect(&mut self) -> Option<ConnEffect> {
        self.fetcher.poll_conn_effect()
    }

    fn poll_reply(&mut self, conn: ConnId) -> Option<ConnEffect> {
        let reply = self.fetcher.poll_reply(conn);
        self.carry_out_all(&[]);
        reply
    }

    fn owes(&self, conn: ConnId) -> bool {
        self.fetcher.owes(conn)
    }

    fn held(&self, conn: ConnId) -> (usize, Standing) {
        self.fetcher.held(conn)
    }

    fn next_conn(&mut self) -> ConnId {
        self.fetcher.next_conn()
    }

    fn recycle(&mut self, spent: Vec<u8>) {
        self.fetcher.recycle(spent);
    }

    fn frame_len_max(&self, conn: ConnId) -> u32 {
        self.fetcher.frame_len_max(conn)
    }

    fn serves(&self, conn: ConnId) -> bool {
        self.fetcher.serves(conn)
    }

    fn part(&mut self, what: Bulk, len: u32) -> Result<Part, ()> {
        self.files.part(self.fetcher.space(), what, len).map_err(|error| {
            if let PartsError::Passed = error {
                return;
            }
            if let PartsError::Changed(..) = error {
                self.lost_count = self.lost_count.saturating_add(1);
                // A worker takes a new look, which finds out what it is now.
                match (what, self.files.serves_alone()) {
                    (_, true) if self.lost_count == 1 => self.wishes.push(FetchInput::Interrupted),
                    (Bulk::Piece { generation, piece, .. }, false) => {
                        self.wishes.push(FetchInput::Lost { generation, piece });
                    }
                    _ => {}
                }
            }
            // A running system changes many of its files, and anybody may read them.
            if self.lost_count <= LOST_SAID_MAX {
                self.observer.warn(&cannot_serve(error));
            }
        })
    }

    fn has_work(&self) -> bool {
        // What is held waits for nothing that happens here.
        self.held.is_some() || self.files.has_work()
    }

    fn work(&mut self, _now_ms: u64) {
        let inputs = self.files.work();
        self.tell_notes();
        for input in inputs.into_iter().flatten() {
            // It is done, and who did it may be killed while it serves others.
            if let FetchInput::Finished { .. } | FetchInput::Compared { .. } = input {
                self.tell_changes();
            }
            self.take(self.now_ms(), input, &[]);
        }
    }

    fn warn(&mut self, text: &str) {
        self.observer.warn(text);
    }

    fn is_behind(&self) -> bool {
        self.observer.is_behind()
    }

    fn take_result(&mut self) -> Option<Vec<Failure>> {
        self.result.take()
    }
}

/// A file that failed is told of with each of its pieces, and at the end.
fn each_once(mut failures: Vec<Failure>) -> Vec<Failure> {
    let mut told = SortedSet::new();
    failures.retain(|failure| told.insert(failure.text()));
    failures
}

/// What to say of stored bytes that cannot be sent on.
fn cannot_serve(error: PartsError) -> String {
    match error {
        PartsError::Changed(_, path) => format!("{path} is not what was put in place: not served"),
        PartsError::Failed(text) => text,
        PartsError::Passed => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_that_somebody_cut_it_is_said_what_is_wrong() {
        let said = cannot_serve(PartsError::Changed(1, "sub/f".into()));
        assert_eq!(said, "sub/f is not what was put in place: not served");
        assert_eq!(cannot_serve(PartsError::Failed("cannot read b".into())), "cannot read b");
    }
}
