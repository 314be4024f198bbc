//! A client's files: where pieces are stored, checked, and sent on from.

use super::parts::{Packs, unfold};
use super::{Backend, Loop, Part, PartsError, Watch};
use crate::os::{file, socket};
use crate::store::dest::Dest;
use crate::store::error::DestError;
use crate::store::sha256::Sum;
use crate::store::writer::{CheckStep, DestOptions, DestWriter, FinishStep};
use peer::content::manifest::EntryKind;
use peer::content::pieces::Extent;
use peer::namespace::{Bulk, Content, GenerationId, NameSpace};
use peer::node::{
    Effect, Failure, FetchOptions, Input, Linger, Node, Pin, Progress, Status, StoreResult,
};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

/// Hashed or checked in one turn of the loop: a few milliseconds.
const SLICE_BYTES: u64 = 8 << 20;
/// The same of SHA-256, at 0.15 GB/s where the processor does not help.
pub(super) const SUM_SLICE_BYTES: u64 = 1 << 20;

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
    begin(request, Box::new(watch))?.run().map_err(poll_failure)
}

/// A fetch that is watched from outside, turn by turn.
pub struct Fetching(Loop<'static>);

/// Where a fetch is after a turn.
#[derive(Debug)]
pub enum Turn {
    Running,
    /// Every file is verified and in place; others may be served still.
    InPlace,
    /// Nothing is left to do. What failed, if anything.
    Over(Vec<Failure>),
}

impl Fetching {
    pub fn begin(request: FetchRequest, watch: impl Watch + 'static) -> Result<Fetching, Failure> {
        begin(request, Box::new(watch)).map(Fetching)
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

fn begin<'w>(request: FetchRequest, watch: Box<dyn Watch + 'w>) -> Result<Loop<'w>, Failure> {
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
    let (state, sums, packs) = (State::Waiting, VecDeque::new(), Packs::new());
    let files = ClientFiles {
        dest,
        room_bytes: request.room_bytes,
        state,
        sums,
        packs,
        extents: Vec::new(),
    };
    Ok(Loop::new(Node::fetch(options, 0), Box::new(files), watch, listener, Instant::now()))
}

fn failure(what: &str, error: DestError) -> Failure {
    let status = match error {
        DestError::WrongSha256 { .. } | DestError::PinOfMany(_) => Status::Verification,
        DestError::NoSpace { .. } => Status::Room,
        _ => Status::LocalIo,
    };
    let fatal = error.ends_all();
    Failure { status, what: what.into(), why: error.to_string(), fatal }
}

enum State {
    /// The manifest is not here yet.
    Waiting,
    Checking(Job),
    DestWriter(Job),
    Finishing(Job),
    Done(Job),
    Failed,
}

struct Job {
    content: Rc<Content>,
    writer: DestWriter,
}

struct ClientFiles {
    dest: Dest,
    room_bytes: Option<u64>,
    state: State,
    sums: VecDeque<(GenerationId, u32, Option<Sum>)>,
    packs: Packs,
    /// Those of the piece that is stored; memory that is used again.
    extents: Vec<Extent>,
}

impl State {
    fn job(&mut self) -> Option<&mut Job> {
        match self {
            State::Checking(job)
            | State::DestWriter(job)
            | State::Finishing(job)
            | State::Done(job) => Some(job),
            State::Waiting | State::Failed => None,
        }
    }
}

impl ClientFiles {
    fn prepare(&mut self, content: Rc<Content>, inputs: &mut VecDeque<Input<'static>>) {
        let needed_bytes = content.manifest.bytes_total();
        if let Some(room_bytes) = self.room_bytes
            && needed_bytes > room_bytes
        {
            let why = format!("{needed_bytes} bytes are to be fetched, and {room_bytes} fit");
            let failure = Failure { status: Status::Room, what: String::new(), why, fatal: true };
            return inputs.push_back(Input::Fatal { failure });
        }
        match self.dest.begin(content.manifest.clone(), content.map.clone()) {
            Ok(writer) => self.state = State::Checking(Job { content, writer }),
            Err(error) => {
                self.state = State::Failed;
                inputs.push_back(Input::Fatal {
                    failure: Failure { fatal: true, ..failure("", error) },
                });
            }
        }
    }

    fn store(&mut self, piece: u32, bytes: &[u8]) -> StoreResult {
        let Some(job) = self.state.job() else { return StoreResult::Wrong };
        let content = job.content.clone();
        if content.map.verify(&content.manifest, piece, bytes).is_err() {
            return StoreResult::Wrong;
        }
        self.extents.clear();
        self.extents.extend(content.map.extents(&content.manifest, piece));
        // Where some file of it failed, its bytes are not here to be served:
        // whoever asks for the piece gets it elsewhere.
        if let Err(failed) = job.writer.store(&self.extents, bytes) {
            return StoreResult::Failed(failure("", failed.error));
        }
        if self.extents.len() > 1 {
            self.packs.put(piece, bytes);
        }
        StoreResult::Stored
    }

    fn check(&mut self, mut job: Job, inputs: &mut VecDeque<Input<'static>>) {
        match job.writer.check_step(SLICE_BYTES) {
            Ok(CheckStep::Done { found }) => {
                inputs.push_back(Input::Found { pieces: found });
                inputs.push_back(Input::Prepared);
                self.state = State::DestWriter(job);
            }
            Ok(CheckStep::Checking) => self.state = State::Checking(job),
            Err(error) => {
                self.state = State::Failed;
                inputs.push_back(Input::Fatal {
                    failure: Failure { fatal: true, ..failure("", error) },
                });
            }
        }
    }

    fn finish(&mut self, mut job: Job, inputs: &mut VecDeque<Input<'static>>) {
        if job.writer.finish_step(SLICE_BYTES) == FinishStep::Finishing {
            self.state = State::Finishing(job);
            return;
        }
        let failures = job.writer.failures().iter().map(|f| failure("", f.error.clone())).collect();
        inputs.push_back(Input::Finished { failures });
        self.state = State::Done(job);
    }

    fn sum_step(&mut self, inputs: &mut VecDeque<Input<'static>>) {
        let Some((slot, entry, sum)) = self.sums.pop_front() else { return };
        let begun = match sum {
            Some(sum) => Some(sum),
            None => self.begin_sum(entry),
        };
        let result = begun.ok_or(()).and_then(|mut sum| match sum.step(SUM_SLICE_BYTES) {
            Ok(Some(digest)) => Ok(Ok(digest)),
            Ok(None) => Ok(Err(sum)),
            Err(_) => Err(()),
        });
        match result {
            Ok(Err(sum)) => self.sums.push_front((slot, entry, Some(sum))),
            Ok(Ok(digest)) => inputs.push_back(Input::Checksum { slot, entry, sum: Ok(digest) }),
            Err(()) => inputs.push_back(Input::Checksum { slot, entry, sum: Err(()) }),
        }
    }

    /// Of a file that is whole: what else has its name is not what was served.
    fn begin_sum(&mut self, entry: u32) -> Option<Sum> {
        let job = self.state.job()?;
        let entry = match job.content.manifest.entries[entry as usize].kind {
            EntryKind::File => entry,
            EntryKind::Hardlink(file) => file,
            _ => return None,
        };
        if !job.writer.is_whole(entry) {
            return None;
        }
        let size = job.content.manifest.entries[entry as usize].size;
        Some(Sum::new(job.writer.file(entry).ok()?, size))
    }
}

impl Backend for ClientFiles {
    fn part(&mut self, space: &NameSpace, what: Bulk, len: u32) -> Result<Part, PartsError> {
        let (state, packs) = (&mut self.state, &mut self.packs);
        unfold(space, what, len, packs, |_, entry| {
            let job =
                state.job().ok_or_else(|| PartsError::Failed("nothing is here yet".into()))?;
            job.writer.file(entry).map_err(|error| PartsError::Failed(error.to_string()))
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
                    State::DestWriter(job) => State::Finishing(job),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use peer::content::manifest::Manifest;
    use peer::namespace::Generation;
    use peer::testing::{entry, file};
    use std::fs;

    fn client(dir: &Dir) -> ClientFiles {
        let options = DestOptions { keep_modes: true, keep_owners: false, sha256: None };
        let dest = Dest::open(&dir.join("dest"), options).unwrap();
        ClientFiles {
            dest,
            room_bytes: None,
            state: State::Waiting,
            sums: VecDeque::new(),
            packs: Packs::new(),
            extents: Vec::new(),
        }
    }

    #[test]
    fn a_piece_with_a_file_that_failed_is_not_stored_and_has_no_sums() {
        let dir = Dir::new();
        fs::create_dir_all(dir.join("dest/a/in the way")).unwrap();
        let mut entries =
            vec![entry(0, "", EntryKind::Dir), file(0, "a", b"ay"), file(0, "b", b"bee")];
        entries[0].mode = 0o755;
        let manifest =
            Manifest { piece_len: 4096, root_described: true, entries, lists: Vec::new() };
        let content = Generation::whole(Rc::new(manifest), None).content.unwrap();
        let (mut files, mut inputs) = (client(&dir), VecDeque::new());
        files.prepare(content.clone(), &mut inputs);
        let space = NameSpace::new(false, 4);
        while files.has_work() {
            files.work(&space, &mut inputs);
        }
        inputs.clear();
        let slot = GenerationId(0);
        let mut sums = |files: &mut ClientFiles| -> Vec<bool> {
            files.sums.extend([(slot, 1, None), (slot, 2, None)]);
            while files.has_work() {
                files.work(&space, &mut inputs);
            }
            let taken = inputs.drain(..).map(|input| match input {
                Input::Checksum { sum, .. } => sum.is_ok(),
                _ => panic!("no sum"),
            });
            taken.collect()
        };
        assert_eq!(sums(&mut files), [false, false], "nothing is here yet");
        let piece = content.map.manifest_pieces().count();
        let StoreResult::Failed(failure) = files.store(piece, b"aybee") else {
            panic!("stored, and not here")
        };
        assert!(failure.why.contains("dest/a"), "{}", failure.why);
        assert_eq!(fs::read(dir.join("dest/b")).unwrap(), b"bee");
        assert_eq!(sums(&mut files), [false, true]);
    }
}
