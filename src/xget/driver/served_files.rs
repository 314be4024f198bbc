//! A master's files: scanned and hashed in slices, watched for change, sent.
//!
//! Knows the scans of one served path. Refuses to know who fetches what.

use super::conn::Part;
use super::dest_files::SUM_SLICE_BYTES;
use super::parts::{Packs, PartsError, unfold};
use super::shut_in::RESTART;
use crate::store::comparison::{Comparison, Verdict};
use crate::store::destination::Opened;
use crate::store::error::{Note, NoteReason, ScanError, ServeError};
use crate::store::files::OpenFiles;
use crate::store::scan::{Scan, ScanOptions, ScanStep};
use crate::store::served::{Checksum, Likeness, ServedTree};
use nix::errno::Errno;
use peer::master::MasterInput;
use peer::namespace::{Bulk, GenerationId, NameSpace};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

/// Hashed in one turn of the loop: a few milliseconds.
const SLICE_BYTES: u64 = 8 << 20;
/// Names compared in one turn.
const SLICE_NAMES: u32 = 2_000;
/// Scans whose files are still sent: the current one and those before it that somebody
/// fetches. Each holds a manifest; beyond that the oldest goes, and those who fetch it
/// lose what they have not got.
const SCANS_MAX: usize = 32;

/// What became of a slice of work.
pub(super) enum ServedEvent {
    /// For the master.
    Input(MasterInput<'static>),
    /// For the operator.
    Say(String),
    Warn(String),
}

enum TreeJob {
    Scan(Box<Scan>),
    /// What is there against what was hashed.
    Compare(Comparison),
}

/// A SHA-256 on its way.
struct SumJob {
    generation: GenerationId,
    entry: u32,
    is_late: bool,
    checksum: Checksum,
    tree: Rc<ServedTree>,
}

pub(super) struct ServedFiles {
    path: PathBuf,
    options: ScanOptions,
    /// Each with the number of its scan, the latest last.
    trees: VecDeque<(u32, Rc<ServedTree>)>,
    scans_used: u32,
    job: Option<TreeJob>,
    /// With whether it is the second try.
    sums_wanted: VecDeque<(GenerationId, u32, bool)>,
    /// To be tried again after the look that is under way.
    sums_late: Vec<(GenerationId, u32)>,
    sum: Option<SumJob>,
    files: OpenFiles<(u32, u32)>,
    packs: Packs,
    /// See `take_doubt`.
    has_doubt: bool,
    events: VecDeque<ServedEvent>,
}

/// What was odd, a line each. Of special files, of which each system's root has some, the
/// first is named.
pub(super) fn notes(tree: &ServedTree) -> Vec<String> {
    let line = |note: &Note| format!("{}: {}", String::from_utf8_lossy(&note.path), note.reason);
    let (special, others): (Vec<&Note>, Vec<&Note>) =
        tree.notes.iter().partition(|note| matches!(note.reason, NoteReason::Special(_)));
    let mut lines: Vec<String> = others.into_iter().map(line).collect();
    if let Some(first) = special.first() {
        let more = match special.len() - 1 {
            0 => String::new(),
            count => format!("; and {count} more special files"),
        };
        lines.push(line(first) + &more);
    }
    if tree.notes_left_out > 0 {
        lines.push(format!("and {} more like these", tree.notes_left_out));
    }
    lines
}

/// Why what is served now cannot be scanned.
fn replaced(error: &ScanError) -> String {
    let advice = match error {
        ScanError::Io { cause: Errno::EACCES, .. } => {
            [RESTART, ", or serve a link to what is replaced as a whole"]
        }
        _ => [""; 2],
    };
    format!("{error}{}", advice.concat())
}

/// The tree of a scan, if its files are still sent.
fn find(trees: &VecDeque<(u32, Rc<ServedTree>)>, scan: u32) -> Option<&Rc<ServedTree>> {
    trees.iter().find(|(number, _)| *number == scan).map(|(_, tree)| tree)
}

impl ServedFiles {
    /// Begins with a scan of `path`.
    pub fn new(path: PathBuf, options: ScanOptions, scan: Scan) -> ServedFiles {
        ServedFiles {
            path,
            options,
            trees: VecDeque::new(),
            scans_used: 0,
            job: Some(TreeJob::Scan(Box::new(scan))),
            sums_wanted: VecDeque::new(),
            sums_late: Vec::new(),
            sum: None,
            files: OpenFiles::default(),
            packs: Packs::new(),
            has_doubt: false,
            events: VecDeque::new(),
        }
    }

    pub fn poll_event(&mut self) -> Option<ServedEvent> {
        self.events.pop_front()
    }

    fn push(&mut self, input: MasterInput<'static>) {
        self.events.push_back(ServedEvent::Input(input));
    }

    /// Looks whether the tree has changed, unless that is done already.
    pub fn rescan(&mut self) {
        if let (Some((_, tree)), None) = (self.trees.back(), &self.job) {
            self.job = Some(TreeJob::Compare(Comparison::new(tree)));
        }
    }

    /// Computes the SHA-256 of a file, slice by slice.
    pub fn begin_sum(&mut self, generation: GenerationId, entry: u32) {
        self.sums_wanted.push_back((generation, entry, false));
    }

    pub fn has_work(&self) -> bool {
        let has_sums = !self.sums_wanted.is_empty() || !self.sums_late.is_empty();
        self.job.is_some() || self.sum.is_some() || has_sums
    }

    /// A slice of it; what became of it is polled.
    pub fn work(&mut self, space: &NameSpace) {
        match self.job.take() {
            Some(TreeJob::Scan(scan)) => self.scan_step(scan),
            Some(TreeJob::Compare(comparison)) => self.compare_step(comparison),
            None => {}
        }
        if self.job.is_none() {
            let late = self.sums_late.drain(..);
            self.sums_wanted.extend(late.map(|(generation, entry)| (generation, entry, true)));
        }
        if self.sum.is_none()
            && let Some((generation, entry, is_late)) = self.sums_wanted.pop_front()
        {
            self.sum = self.sum_of(space, generation, entry, is_late);
            if self.sum.is_none() {
                self.sum_failed(generation, entry, is_late);
            }
        }
        self.sum_step();
    }

    fn scan_step(&mut self, mut scan: Box<Scan>) {
        match scan.step(SLICE_BYTES) {
            Ok(ScanStep::Walking) => self.job = Some(TreeJob::Scan(scan)),
            Ok(ScanStep::Hashing { done_bytes, total_bytes }) => {
                self.push(MasterInput::Hashing { done_bytes, total_bytes });
                self.job = Some(TreeJob::Scan(scan));
            }
            Ok(ScanStep::Done) => match scan.finish() {
                Ok(tree) => self.scanned(tree),
                Err(error) => self.push(MasterInput::ScanFailed { why: error.to_string() }),
            },
            Err(error) => self.push(MasterInput::ScanFailed { why: error.to_string() }),
        }
    }

    fn scanned(&mut self, tree: ServedTree) {
        self.events.extend(notes(&tree).into_iter().map(ServedEvent::Warn));
        let manifest = tree.manifest.clone();
        self.scans_used += 1;
        let scan = self.scans_used;
        self.trees.push_back((scan, Rc::new(tree)));
        if self.trees.len() > SCANS_MAX {
            self.trees.pop_front();
        }
        self.push(MasterInput::Scanned { manifest, scan });
    }

    /// Drops the scans before the last that no generation is of any more, and what is open
    /// of them: a file that was deleted holds its space no longer.
    pub fn drop_unused(&mut self, space: &NameSpace) {
        let Some(last) = self.trees.back().map(|(scan, _)| *scan) else { return };
        let is_used = |scan: u32| scan == last || space.uses_scan(scan);
        if self.trees.iter().any(|(scan, _)| !is_used(*scan)) {
            self.trees.retain(|(scan, _)| is_used(*scan));
            self.files.retain(|(scan, _)| is_used(*scan));
        }
    }

    fn compare_step(&mut self, mut comparison: Comparison) {
        let Some((_, tree)) = self.trees.back() else { return };
        match comparison.step(tree, SLICE_NAMES) {
            Verdict::Looking => self.job = Some(TreeJob::Compare(comparison)),
            Verdict::Same => self.push(MasterInput::Unchanged),
            Verdict::Differs(path, what) => {
                let path = String::from_utf8_lossy(&path);
                let path = if path.is_empty() { "the served directory".into() } else { path };
                match Scan::new(&self.path, self.options.clone()) {
                    Ok(scan) => {
                        let text = format!("{path}: {what}; the tree is hashed again");
                        self.events.push_back(ServedEvent::Say(text));
                        self.job = Some(TreeJob::Scan(Box::new(scan)));
                    }
                    Err(error) => self.push(MasterInput::ScanFailed { why: replaced(&error) }),
                }
            }
        }
    }

    fn sum_of(
        &self,
        space: &NameSpace,
        generation: GenerationId,
        entry: u32,
        is_late: bool,
    ) -> Option<SumJob> {
        let origin = space.generation(generation)?.origin.as_ref()?;
        let tree = find(&self.trees, origin.scan)?.clone();
        let checksum = tree.checksum(origin.entry(entry)).ok()?;
        Some(SumJob { generation, entry, is_late, checksum, tree })
    }

    /// The file is not as it was hashed. If that is its ctime alone, another look makes it
    /// so: it is tried once more after that.
    fn sum_failed(&mut self, generation: GenerationId, entry: u32, is_late: bool) {
        if is_late {
            return self.push(MasterInput::Checksum { generation, entry, sum: Err(()) });
        }
        self.sums_late.push((generation, entry));
        self.push(MasterInput::LookAgain);
    }

    fn sum_step(&mut self) {
        let Some(mut job) = self.sum.take() else { return };
        let (generation, entry) = (job.generation, job.entry);
        match job.checksum.step(&job.tree, SUM_SLICE_BYTES) {
            Ok(None) => self.sum = Some(job),
            Ok(Some(digest)) => {
                self.push(MasterInput::Checksum { generation, entry, sum: Ok(digest) });
            }
            Err(_) => self.sum_failed(generation, entry, job.is_late),
        }
    }

    /// A file of the latest scan was sent that is not as it was then, though its bytes are:
    /// the tree is to be looked at again.
    pub fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.has_doubt)
    }

    /// The stored bytes that a bulk reply consists of. Each file is compared with what it
    /// was when it was hashed, each time anew; where it is not the same, its bytes are.
    pub fn part(&mut self, space: &NameSpace, what: Bulk, len: u32) -> Result<Part, PartsError> {
        let (trees, files, has_doubt) = (&self.trees, &mut self.files, &mut self.has_doubt);
        unfold(space, what, len, &mut self.packs, &mut |generation, entry, _| {
            let gone = || PartsError::Changed(entry, "what is not served any more".into());
            let origin = generation.origin.as_ref().ok_or_else(gone)?;
            let tree = find(trees, origin.scan).ok_or_else(gone)?;
            let (number, entry) = (entry, origin.entry(entry));
            let key = (origin.scan, entry);
            let mut found = None;
            if let Some(file) = files.get(&key) {
                // It may have lost its name, and be what it was.
                found = tree.likeness(entry, &file).map(|likeness| (file, likeness));
            }
            let (file, likeness) = match found {
                Some((file, likeness)) if likeness != Likeness::Rewritten => (file, likeness),
                _ => {
                    files.forget(&key);
                    let (file, likeness) = tree.open_like(entry).map_err(|error| match error {
                        ServeError::Changed(path) => {
                            PartsError::Changed(number, String::from_utf8_lossy(&path).into_owned())
                        }
                        error => PartsError::Failed(error.to_string()),
                    })?;
                    let file = Rc::new(file);
                    files.put(key, file.clone());
                    (file, likeness)
                }
            };
            let is_sure = likeness == Likeness::Same;
            *has_doubt |= !is_sure && trees.back().is_some_and(|last| last.0 == origin.scan);
            Ok(Opened { file, start: 0, is_sure })
        })
    }
}
