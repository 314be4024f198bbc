//! A client's files: where pieces are stored, checked, and sent on from.

use super::parts::unfold;
use super::{Backend, Loop, Part, PartsError, Watch};
use crate::node::{
    Effect, Failure, FetchOptions, Input, Linger, Node, Pin, Progress, Status, StoreResult,
};
use crate::os::{file, socket};
use crate::store::check::Step;
use crate::store::dest::{Dest, DestError, DestOptions};
use crate::store::filling::Filling;
use crate::store::finish::FinishStep;
use crate::store::sha256::Sum;
use crate::tree::{Bulk, Content, NameSpace, Slot};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

/// Hashed or checked in one turn of the loop: a few milliseconds.
const SLICE_BYTES: u64 = 8 << 20;

/// What is to be fetched.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    pub masters: Vec<SocketAddr>,
    pub sources: Vec<Vec<u8>>,
    pub dest: PathBuf,
    pub pin: Option<Pin>,
    pub retries: u32,
    pub linger: Linger,
    pub keep_attributes: bool,
    /// So much fits, whatever the file system says; more is refused before
    /// its first byte.
    pub room_bytes: Option<u64>,
    /// A line for the master's log when we join.
    pub greeting: Option<String>,
}

/// Fetches, serves others meanwhile, lingers. Gives what failed: nothing
/// means that every file is verified and in place.
pub fn fetch(request: FetchRequest, watch: impl Watch) -> Result<Vec<Failure>, Failure> {
    begin(request, watch)?.run().map_err(poll_failure)
}

/// A fetch that is watched from outside, turn by turn.
pub struct Fetching<W: Watch>(Loop<ClientFiles, W>);

/// Where a fetch is after a turn.
#[derive(Debug)]
pub enum Turn {
    Running,
    /// Every file is verified and in place; others may be served still.
    InPlace,
    /// Nothing is left to do. What failed, if anything.
    Over(Vec<Failure>),
}

impl<W: Watch> Fetching<W> {
    pub fn begin(request: FetchRequest, watch: W) -> Result<Fetching<W>, Failure> {
        begin(request, watch).map(Fetching)
    }

    pub fn turn(&mut self) -> Result<Turn, Failure> {
        match self.0.turn().map_err(poll_failure)? {
            Some(failures) => Ok(Turn::Over(failures)),
            None if self.0.node().is_in_place() => Ok(Turn::InPlace),
            None => Ok(Turn::Running),
        }
    }

    pub fn progress(&self) -> Progress {
        self.0.node().progress().unwrap_or_default()
    }

    /// Connections that fetch from us.
    pub fn served_count(&self) -> usize {
        self.0.node().served_count()
    }

    /// A line in the master's log.
    pub fn log(&mut self, text: String) {
        self.0.input(Input::Log { text });
    }

    /// Comes to an end in good order: children are given to others first.
    pub fn leave(&mut self) {
        self.0.input(Input::Interrupted);
    }
}

fn local(what: &str, why: String) -> Failure {
    Failure { status: Status::LocalIo, what: what.into(), why, fatal: true }
}

fn poll_failure(error: io::Error) -> Failure {
    local("poll", error.to_string())
}

fn begin<W: Watch>(request: FetchRequest, watch: W) -> Result<Loop<ClientFiles, W>, Failure> {
    socket::raise_descriptor_limit();
    let keep_owners = request.keep_attributes && file::is_root();
    let sha256 = match request.pin {
        Some(Pin::Sha256(sum)) => Some(sum),
        _ => None,
    };
    let options = DestOptions { keep_modes: request.keep_attributes, keep_owners, sha256 };
    let dest = Dest::open(&request.dest, options).map_err(|error| failure("", error))?;
    let listening = |error: io::Error| local("listening", error.to_string());
    let listener = socket::listen(0).map_err(listening)?;
    let port = listener.local_addr().map_err(listening)?.port();
    let options = FetchOptions {
        masters: request.masters,
        sources: request.sources,
        port,
        pin: request.pin,
        retries: request.retries,
        linger: request.linger,
        greeting: request.greeting,
    };
    let (state, sums) = (State::Waiting, VecDeque::new());
    let files = ClientFiles { dest, room_bytes: request.room_bytes, state, sums };
    Ok(Loop::new(Node::fetch(options, 0), files, watch, listener, Instant::now()))
}

fn failure(what: &str, error: DestError) -> Failure {
    let status = match error {
        DestError::WrongSha256 { .. } | DestError::PinOfMany(_) => Status::Verification,
        DestError::NoRoom { .. } => Status::Room,
        _ => Status::LocalIo,
    };
    let fatal = error.ends_all();
    Failure { status, what: what.into(), why: error.to_string(), fatal }
}

enum State {
    /// The index is not here yet.
    Waiting,
    Checking(Job),
    Filling(Job),
    Finishing(Job),
    Done(Job),
    Failed,
}

struct Job {
    content: Rc<Content>,
    filling: Filling,
}

struct ClientFiles {
    dest: Dest,
    room_bytes: Option<u64>,
    state: State,
    sums: VecDeque<(Slot, u32, Option<Sum>)>,
}

impl ClientFiles {
    fn job(&mut self) -> Option<&mut Job> {
        match &mut self.state {
            State::Checking(job)
            | State::Filling(job)
            | State::Finishing(job)
            | State::Done(job) => Some(job),
            State::Waiting | State::Failed => None,
        }
    }

    fn prepare(&mut self, content: Rc<Content>, inputs: &mut VecDeque<Input<'static>>) {
        let needed_bytes = content.index.bytes_total();
        if let Some(room_bytes) = self.room_bytes
            && needed_bytes > room_bytes
        {
            let why = format!("{needed_bytes} bytes are to be fetched, and {room_bytes} fit");
            let failure = Failure { status: Status::Room, what: String::new(), why, fatal: true };
            return inputs.push_back(Input::Fatal { failure });
        }
        match self.dest.begin(content.index.clone(), content.map.clone()) {
            Ok(filling) => self.state = State::Checking(Job { content, filling }),
            Err(error) => {
                self.state = State::Failed;
                inputs.push_back(Input::Fatal {
                    failure: Failure { fatal: true, ..failure("", error) },
                });
            }
        }
    }

    fn store(&mut self, piece: u32, bytes: &[u8]) -> StoreResult {
        let Some(job) = self.job() else { return StoreResult::Wrong };
        let content = job.content.clone();
        if content.map.verify(&content.index, piece, bytes).is_err() {
            return StoreResult::Wrong;
        }
        let stored = job.filling.store(piece, bytes);
        match job.filling.failures().last() {
            Some((_, error)) if !stored.failed.is_empty() => {
                StoreResult::Failed(failure("", error.clone()))
            }
            _ => StoreResult::Stored,
        }
    }

    fn check(&mut self, mut job: Job, inputs: &mut VecDeque<Input<'static>>) {
        match job.filling.check_step(SLICE_BYTES) {
            Ok(Step::Done) => {
                let first = job.content.map.head().count();
                let held = |piece: &u32| job.filling.have(*piece);
                let pieces = (first..job.content.map.count()).filter(held).collect();
                inputs.push_back(Input::Found { pieces });
                inputs.push_back(Input::Prepared);
                self.state = State::Filling(job);
            }
            Ok(_) => self.state = State::Checking(job),
            Err(error) => {
                self.state = State::Failed;
                inputs.push_back(Input::Fatal {
                    failure: Failure { fatal: true, ..failure("", error) },
                });
            }
        }
    }

    fn finish(&mut self, mut job: Job, inputs: &mut VecDeque<Input<'static>>) {
        if job.filling.finish_step(SLICE_BYTES) == FinishStep::Finishing {
            self.state = State::Finishing(job);
            return;
        }
        let failures = job.filling.failures().iter().map(|(_, e)| failure("", e.clone())).collect();
        inputs.push_back(Input::Finished { failures });
        self.state = State::Done(job);
    }

    fn sum_step(&mut self, inputs: &mut VecDeque<Input<'static>>) {
        let Some((slot, entry, sum)) = self.sums.pop_front() else { return };
        let Some(job) = self.job() else { return };
        let size = job.content.index.entries[entry as usize].size;
        let begun = match sum {
            Some(sum) => Ok(sum),
            None => job.filling.file(entry).map(|file| Sum::new(file, size)),
        };
        let result = begun.and_then(|mut sum| match sum.step(SLICE_BYTES) {
            Ok(Some(digest)) => Ok(Ok(digest)),
            Ok(None) => Ok(Err(sum)),
            Err(error) => Err(error),
        });
        match result {
            Ok(Err(sum)) => self.sums.push_front((slot, entry, Some(sum))),
            Ok(Ok(digest)) => inputs.push_back(Input::Checksum { slot, entry, sum: Ok(digest) }),
            Err(_) => inputs.push_back(Input::Checksum { slot, entry, sum: Err(()) }),
        }
    }
}

impl Backend for ClientFiles {
    fn parts(&mut self, space: &NameSpace, what: Bulk, len: u32) -> Result<Vec<Part>, PartsError> {
        unfold(space, what, len, |_, entry| {
            let job = self.job().ok_or_else(|| PartsError::Failed("nothing is here yet".into()))?;
            job.filling.file(entry).map_err(|error| PartsError::Failed(error.to_string()))
        })
    }

    fn carry_out(
        &mut self,
        _space: &NameSpace,
        effect: Effect,
        frame: &[u8],
        inputs: &mut VecDeque<Input<'static>>,
    ) {
        match effect {
            Effect::Prepare { content } => self.prepare(content, inputs),
            Effect::Store { conn, piece } => {
                let result = self.store(piece, frame);
                inputs.push_back(Input::Stored { conn, piece, result });
            }
            Effect::Finish => {
                self.state = match std::mem::replace(&mut self.state, State::Failed) {
                    State::Filling(job) => State::Finishing(job),
                    state => state,
                };
            }
            Effect::Checksum { slot, entry } => self.sums.push_back((slot, entry, None)),
            _ => {}
        }
    }

    fn has_work(&self) -> bool {
        matches!(self.state, State::Checking(_) | State::Finishing(_)) || !self.sums.is_empty()
    }

    fn work(&mut self, _space: &NameSpace, inputs: &mut VecDeque<Input<'static>>) {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Checking(job) => self.check(job, inputs),
            State::Finishing(job) => self.finish(job, inputs),
            state => self.state = state,
        }
        self.sum_step(inputs);
    }
}
