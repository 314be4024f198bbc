//! A client's files: where pieces are stored, checked, and sent on from.
//!
//! Knows one destination and how far it is. Refuses to know who sends what.

use super::conn::Part;
use super::parts::{Packs, PartsError, unfold};
use super::shut_in::Rules;
use crate::store::destination::{CheckStep, Destination, FinishStep, OpenError, Writer};
use crate::store::error::DestError;
use crate::store::sha256::Sum;
use peer::content::digest::Digest;
use peer::content::manifest::EntryKind;
use peer::content::pieces::Extent;
use peer::failure::{Failure, Status};
use peer::fetch::{FetchInput, StoreResult};
use peer::namespace::{Bulk, Content, GenerationId, NameSpace};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Hashed or checked in one turn of the loop: a few milliseconds.
const SLICE_BYTES: u64 = 8 << 20;
/// The same of SHA-256, at 0.15 GB/s where the processor does not help.
pub(super) const SUM_SLICE_BYTES: u64 = 128 << 10;

/// How far a destination is.
enum DestState {
    /// The manifest is not here yet.
    Waiting,
    Checking(DestJob),
    Storing(DestJob),
    Finishing(DestJob),
    Done(DestJob),
    Failed,
}

struct DestJob {
    content: Rc<Content>,
    writer: Box<dyn Writer>,
}

/// A SHA-256 that was asked for, begun or not.
struct SumJob {
    generation: GenerationId,
    entry: u32,
    sum: Option<Sum>,
}

pub(super) struct DestFiles {
    dest: Box<dyn Destination>,
    /// So much fits, whatever the file system says.
    space_bytes_max: Option<u64>,
    state: DestState,
    sums: VecDeque<SumJob>,
    packs: Packs,
    /// Those of the piece that is stored; memory that is used again.
    extents: Vec<Extent>,
}

impl DestState {
    fn job(&mut self) -> Option<&mut DestJob> {
        match self {
            DestState::Checking(job)
            | DestState::Storing(job)
            | DestState::Finishing(job)
            | DestState::Done(job) => Some(job),
            DestState::Waiting | DestState::Failed => None,
        }
    }
}

/// A failure of the destination, for whoever asked for the fetch.
pub fn failure(error: &DestError) -> Failure {
    let status = match error {
        DestError::WrongSha256 { .. } | DestError::PinOfMany(_) => Status::Verification,
        DestError::NoSpace { .. } => Status::NoSpace,
        DestError::Other { status, .. } => *status,
        _ => Status::LocalIo,
    };
    let (what, why) = (String::new(), error.to_string());
    Failure { status, what, why, fatal: error.ends_all() }
}

fn fatal(error: &DestError) -> FetchInput<'static> {
    FetchInput::Fatal { failure: Failure { fatal: true, ..failure(error) } }
}

/// Whether a small file holds what it is to hold. Of a large one it would take long, and
/// there is one that is sure wherever nobody has changed it.
fn is_verified(content: &Content, entry: u32, file: &File) -> bool {
    let wanted = &content.manifest.entries[entry as usize];
    let mut bytes = vec![0; wanted.size.min(u64::from(content.map.piece_len())) as usize];
    file.read_exact_at(&mut bytes, 0).is_ok() && Digest::of(&bytes) == wanted.digest
}

/// Stores those files of a pack that are what the manifest says. What cannot be written
/// the writer knows, and says at the end.
#[inline(never)]
fn store_rest(job: &mut DestJob, piece: u32, extents: &[Extent], bytes: &[u8]) -> StoreResult {
    let (map, manifest) = (&job.content.map, &job.content.manifest);
    let mut changed = Vec::new();
    let mut rest = bytes;
    for &extent in extents {
        let Some((part, after)) = rest.split_at_checked(extent.len as usize) else {
            return StoreResult::Corrupt;
        };
        rest = after;
        if map.verify_extent(manifest, piece, extent, part).is_err() {
            changed.push(extent.entry);
        } else if let Err(failed) = job.writer.store(&[extent], part) {
            let failure = failure(&failed.error);
            if failure.fatal {
                return StoreResult::Failed { failure, lost: Vec::new() };
            }
        }
    }
    StoreResult::Rest { changed }
}

impl DestFiles {
    pub fn new(dest: Box<dyn Destination>, space_bytes_max: Option<u64>) -> DestFiles {
        DestFiles {
            dest,
            space_bytes_max,
            state: DestState::Waiting,
            sums: VecDeque::new(),
            packs: Packs::new(),
            extents: Vec::new(),
        }
    }

    /// Others may claim the destination from now on.
    pub fn release(&self) {
        self.dest.release();
    }

    /// What it opens by name from now on.
    pub fn opens(&self) -> Rules {
        self.dest.opens()
    }

    /// What to know of what is left there, should the fetch fail now.
    pub fn remains(&self) -> Option<Failure> {
        let why = self.dest.remains()?;
        // Whatever failed weighs more.
        Some(Failure { status: Status::Interrupted, what: String::new(), why, fatal: false })
    }

    /// Begins to look at what is there; gives what ends the fetch at once.
    pub fn prepare(&mut self, content: Rc<Content>) -> Option<FetchInput<'static>> {
        let needed_bytes = content.manifest.bytes_total();
        if let Some(max) = self.space_bytes_max.filter(|max| needed_bytes > *max) {
            let why = format!(
                "{} MiB are to be fetched, and there is room for {} MiB",
                needed_bytes.div_ceil(1 << 20),
                max >> 20
            );
            return Some(FetchInput::Fatal { failure: Failure::fatal(Status::NoSpace, "", why) });
        }
        match self.dest.begin(content.manifest.clone(), content.map.clone()) {
            Ok(writer) => {
                self.state = DestState::Checking(DestJob { content, writer });
                None
            }
            Err(error) => {
                self.state = DestState::Failed;
                Some(fatal(&error))
            }
        }
    }

    /// Verifies and stores a piece that is missing. Its extents are looked up
    /// once for both.
    #[inline(never)]
    pub fn store(&mut self, piece: u32, bytes: &[u8], is_rest: bool) -> StoreResult {
        let Some(job) = self.state.job() else { return StoreResult::Corrupt };
        let content = &job.content;
        self.extents.clear();
        self.extents.extend(content.map.extents(&content.manifest, piece));
        if content.map.verify_extents(&content.manifest, piece, &self.extents, bytes).is_err() {
            return match is_rest {
                true => store_rest(job, piece, &self.extents, bytes),
                false => StoreResult::Corrupt,
            };
        }
        if let Err(failed) = job.writer.store(&self.extents, bytes) {
            // Their bytes are not here to be served: whoever asks for one of
            // these pieces gets it elsewhere.
            let lost = failed
                .entries
                .iter()
                .map(|&entry| content.map.of_entry(&content.manifest, entry))
                .collect();
            return StoreResult::Failed { failure: failure(&failed.error), lost };
        }
        if self.extents.len() > 1 {
            self.packs.put(piece, bytes);
        }
        StoreResult::Stored
    }

    /// Where it goes on to, and whether something is here for it.
    pub fn outlet(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match &self.state {
            DestState::Storing(job) | DestState::Finishing(job) => job.writer.outlet(),
            _ => None,
        }
    }

    /// Hands over what is taken now, while pieces come or when all are here.
    pub fn hand_over(&mut self, is_broken: bool) -> Option<FetchInput<'static>> {
        let (DestState::Storing(job) | DestState::Finishing(job)) = &mut self.state else {
            return None;
        };
        match job.writer.hand_over(is_broken) {
            Ok(below) => below.map(|below| FetchInput::Written { below }),
            Err(error) => Some(fatal(&error)),
        }
    }

    /// Pieces below this number are not served any more.
    pub fn forget(&mut self, below: u32) {
        if let Some(job) = self.state.job() {
            job.writer.forget(below);
        }
    }

    /// All pieces are here: puts everything in place, slice by slice.
    pub fn finish(&mut self) {
        self.state = match std::mem::replace(&mut self.state, DestState::Failed) {
            DestState::Storing(job) => DestState::Finishing(job),
            state => state,
        };
    }

    /// Computes the SHA-256 of a file, slice by slice.
    pub fn begin_sum(&mut self, generation: GenerationId, entry: u32) {
        self.sums.push_back(SumJob { generation, entry, sum: None });
    }

    /// What was changed, or would be, since this was asked last: lines.
    pub fn take_changes(&mut self) -> String {
        self.state.job().map_or_else(String::new, |job| job.writer.take_changes())
    }

    /// What the operator should know that is no failure, since this was asked last.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.state.job().map_or_else(Vec::new, |job| job.writer.take_notes())
    }

    pub fn has_work(&self) -> bool {
        let is_busy = match &self.state {
            DestState::Checking(job) | DestState::Finishing(job) => !job.writer.is_waiting(),
            DestState::Waiting | DestState::Storing(_) | DestState::Done(_) | DestState::Failed => {
                false
            }
        };
        is_busy || !self.sums.is_empty()
    }

    /// Whether something outside is waited for, as a medium, of which nothing tells but a look.
    pub fn is_waiting(&self) -> bool {
        match &self.state {
            DestState::Checking(job) | DestState::Finishing(job) => job.writer.is_waiting(),
            _ => false,
        }
    }

    /// A slice of it: what came of the destination, and of a SHA-256.
    pub fn work(&mut self) -> [Option<FetchInput<'static>>; 2] {
        let done = match std::mem::replace(&mut self.state, DestState::Failed) {
            DestState::Checking(job) if !job.writer.is_waiting() => self.check_step(job),
            DestState::Finishing(job) if !job.writer.is_waiting() => self.finish_step(job),
            state => {
                self.state = state;
                None
            }
        };
        [done, self.sum_step()]
    }

    fn check_step(&mut self, mut job: DestJob) -> Option<FetchInput<'static>> {
        match job.writer.check_step(SLICE_BYTES) {
            Ok(CheckStep::Done { .. }) if self.dest.compares() => {
                self.state = DestState::Finishing(job);
                None
            }
            Ok(CheckStep::Done { found }) => {
                self.state = DestState::Storing(job);
                Some(FetchInput::Prepared { found })
            }
            Ok(CheckStep::Checking) => {
                self.state = DestState::Checking(job);
                None
            }
            Err(error) => Some(fatal(&error)),
        }
    }

    /// Nothing in it is ours, and others change it.
    pub fn serves_alone(&self) -> bool {
        self.dest.serves_alone()
    }

    #[inline(never)]
    fn finish_step(&mut self, mut job: DestJob) -> Option<FetchInput<'static>> {
        if job.writer.finish_step(SLICE_BYTES) == FinishStep::Finishing {
            self.state = DestState::Finishing(job);
            return None;
        }
        let failures = job.writer.failures().iter().map(failure).collect();
        self.state = DestState::Done(job);
        Some(match self.dest.compares() {
            true => FetchInput::Compared { failures },
            false => FetchInput::Finished { failures },
        })
    }

    #[inline(never)]
    fn sum_step(&mut self) -> Option<FetchInput<'static>> {
        let SumJob { generation, entry, sum } = self.sums.pop_front()?;
        let stepped = sum.or_else(|| self.sum_of(entry)).map(|mut sum| {
            let stepped = sum.step(SUM_SLICE_BYTES);
            (sum, stepped)
        });
        let sum = match stepped {
            Some((sum, Ok(None))) => {
                self.sums.push_front(SumJob { generation, entry, sum: Some(sum) });
                return None;
            }
            Some((_, Ok(Some(digest)))) => Ok(digest),
            Some((_, Err(_))) | None => Err(()),
        };
        Some(FetchInput::Checksum { generation, entry, sum })
    }

    /// Of a file that is whole: what else has its name is not what was served.
    #[inline(never)]
    fn sum_of(&mut self, entry: u32) -> Option<Sum> {
        let job = self.state.job()?;
        let entry = match job.content.manifest.entries[entry as usize].kind {
            EntryKind::File => entry,
            EntryKind::Hardlink(file) => file,
            _ => return None,
        };
        if !job.writer.is_whole(entry) {
            return None;
        }
        let opened = job.writer.open(entry, 0).ok()?;
        let is_right = opened.is_sure || is_verified(&job.content, entry, &opened.file);
        is_right.then(|| Sum::new(opened.file, job.content.manifest.entries[entry as usize].size))
    }

    /// The stored bytes that a bulk reply consists of.
    pub fn part(&mut self, space: &NameSpace, what: Bulk, len: u32) -> Result<Part, PartsError> {
        let (state, packs) = (&mut self.state, &mut self.packs);
        unfold(space, what, len, packs, &mut |_, entry, offset| {
            let job =
                state.job().ok_or_else(|| PartsError::Failed("nothing is here yet".into()))?;
            job.writer.open(entry, offset).map_err(|error| match error {
                OpenError::Changed => {
                    let path = job.content.manifest.path(entry);
                    PartsError::Changed(entry, String::from_utf8_lossy(&path).into_owned())
                }
                OpenError::Passed => PartsError::Passed,
                OpenError::Failed(error) => PartsError::Failed(error.to_string()),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use crate::store::directory::Directory;
    use crate::store::writer::DestOptions;
    use peer::content::manifest::Manifest;
    use peer::namespace::Generation;
    use peer::testing::{entry, file};
    use std::fs;

    fn files(dir: &Dir) -> DestFiles {
        let options = DestOptions { keep_modes: true, ..DestOptions::default() };
        let dest = Directory::open(&dir.join("dest"), options, false).unwrap();
        DestFiles::new(Box::new(dest), None)
    }

    /// Works until there is no more of it.
    fn work_all(files: &mut DestFiles) -> Vec<FetchInput<'static>> {
        let mut inputs = Vec::new();
        while files.has_work() {
            inputs.extend(files.work().into_iter().flatten());
        }
        inputs
    }

    /// Whether the SHA-256 of entries 1 and 2 can be had.
    fn sums(files: &mut DestFiles) -> Vec<bool> {
        (1..=2).for_each(|entry| files.begin_sum(GenerationId(0), entry));
        let is_ok = |input| match input {
            FetchInput::Checksum { sum, .. } => sum.is_ok(),
            other => panic!("{other:?}"),
        };
        work_all(files).into_iter().map(is_ok).collect()
    }

    #[test]
    fn a_piece_with_a_file_that_failed_is_not_stored_and_has_no_sums() {
        let dir = Dir::new();
        fs::create_dir_all(dir.join("dest/a/in the way")).unwrap();
        let mut entries =
            vec![entry(0, "", EntryKind::Dir), file(0, "a", b"ay"), file(0, "b", b"bee")];
        entries[0].mode = 0o755;
        let manifest = Manifest::of_entries(4096, entries);
        let content = Generation::whole(Rc::new(manifest), None).content.unwrap();
        let mut files = files(&dir);
        assert!(files.prepare(content.clone()).is_none());
        let prepared = work_all(&mut files);
        assert!(matches!(&prepared[..], [FetchInput::Prepared { found }] if found.is_empty()));
        assert_eq!(sums(&mut files), [false, false], "nothing is here yet");
        let piece = content.map.manifest_pieces().count();
        assert_eq!(files.store(piece, b"aybea", false), StoreResult::Corrupt);
        let StoreResult::Failed { failure, lost } = files.store(piece, b"aybee", false) else {
            panic!("stored, and not here")
        };
        assert!(failure.why.contains("dest/a"), "{}", failure.why);
        assert_eq!((lost.len(), lost[0].clone()), (1, piece..piece + 1));
        assert_eq!(fs::read(dir.join("dest/b")).unwrap(), b"bee");
        assert_eq!(sums(&mut files), [false, true]);
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_written() {
        let dir = Dir::new();
        let entries = vec![entry(0, "", EntryKind::Dir), file(0, "a", b"four")];
        let manifest = Manifest::of_entries(4096, entries);
        let content = Generation::whole(Rc::new(manifest), None).content.unwrap();
        let mut files = files(&dir);
        files.space_bytes_max = Some(3);
        match files.prepare(content) {
            Some(FetchInput::Fatal { failure }) => assert_eq!(failure.status, Status::NoSpace),
            other => panic!("{other:?}"),
        }
        assert!(!files.has_work());
    }
}
