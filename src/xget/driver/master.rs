//! A master's files: scanned and hashed in slices, watched for change, sent.

use super::fetch::SUM_SLICE_BYTES;
use super::parts::{Files, Packs, unfold};
use super::{Backend, Loop, Part, PartsError, Watch};
use crate::os::socket;
use crate::store::comparison::{Comparison, Verdict};
use crate::store::error::{Note, ServeError};
use crate::store::scan::{Scan, ScanOptions, ScanStep};
use crate::store::served::{Checksum, ServedTree};
use peer::content::manifest::EntryKind;
use peer::namespace::{Bulk, GenerationId, NameSpace};
use peer::node::{Effect, Input, MasterOptions, Node};
use peer::table::Table;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

/// Hashed in one turn of the loop: a few milliseconds.
const SLICE_BYTES: u64 = 8 << 20;
/// Names looked at in one turn of a recheck.
const SLICE_NAMES: u32 = 2_000;
/// Scans whose files are still sent: the current one and those before it
/// that somebody may be fetching.
const SOURCES_MAX: usize = 4;

/// What a master is told.
#[derive(Clone, Debug)]
pub struct ServeRequest {
    pub path: PathBuf,
    pub port: u16,
    pub fan_out: u8,
    pub head: u16,
    pub one_file_system: bool,
    pub cache: Option<PathBuf>,
}

enum Job {
    Scan(Box<Scan>),
    Recheck(Comparison),
}

struct Sum {
    slot: GenerationId,
    entry: u32,
    checksum: Checksum,
    source: Rc<ServedTree>,
}

struct MasterFiles {
    path: PathBuf,
    options: ScanOptions,
    sources: Table<u32, Rc<ServedTree>>,
    scans_used: u32,
    job: Option<Job>,
    sums_wanted: VecDeque<(GenerationId, u32)>,
    sum: Option<Sum>,
    files: Files<(u32, u32)>,
    packs: Packs,
}

/// Serves until the process is ended. `ready` is called once, when clients
/// can be served.
pub fn serve(request: ServeRequest, watch: impl Watch) -> Result<(), String> {
    let failures = begin(request, Box::new(watch))?.run().map_err(|error| error.to_string())?;
    failures.into_iter().next().map_or(Ok(()), |failure| Err(failure.why))
}

/// What cannot be served is refused here, before anything is hashed.
pub(super) fn begin<'w>(
    request: ServeRequest,
    watch: Box<dyn Watch + 'w>,
) -> Result<Loop<'w>, String> {
    socket::raise_descriptor_limit();
    let listener = socket::listen(request.port).map_err(|error| {
        format!("cannot listen on port {}: {error}; is another xget running?", request.port)
    })?;
    let addr = listener.local_addr().map_or(String::new(), |a| a.to_string());
    let options = ScanOptions { one_file_system: request.one_file_system, cache: request.cache };
    let scan = Scan::new(&request.path, options.clone()).map_err(|error| error.to_string())?;
    let place = format!("{} on {addr}", request.path.display());
    let files = MasterFiles {
        path: request.path,
        options,
        sources: Table::new(),
        scans_used: 0,
        job: Some(Job::Scan(Box::new(scan))),
        sums_wanted: VecDeque::new(),
        sum: None,
        files: Files::new(),
        packs: Packs::new(),
    };
    let mut node = Node::master(MasterOptions { fan_out: request.fan_out, head: request.head });
    node.set_place(place);
    Ok(Loop::new(node, Box::new(files), watch, listener, Instant::now()))
}

/// The digest that a fetch of these sources would have, and what was odd.
pub fn print_digest(
    path: &Path,
    sources: &[Vec<u8>],
    one_file_system: bool,
) -> Result<(String, Vec<String>), String> {
    let options = ScanOptions { one_file_system, cache: None };
    let scan = Scan::new(path, options).map_err(|error| error.to_string())?;
    let source = scan.finish().map_err(|error| error.to_string())?;
    let refs: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let selection = source.manifest.select(&refs).map_err(|error| error.to_string())?;
    let mut entries = selection.manifest.entries.iter().enumerate();
    if let Some((entry, _)) = entries.find(|(_, e)| e.kind == EntryKind::Unreadable) {
        let path = selection.manifest.path(entry as u32);
        let path = String::from_utf8_lossy(&path).into_owned();
        return Err(format!("{path}: cannot be read; nobody could fetch what that would pin"));
    }
    let digest = peer::content::digest::Digest::of(&selection.manifest.encode());
    Ok((format!("blake3:{digest}"), notes(&source)))
}

fn notes(source: &ServedTree) -> Vec<String> {
    let line = |note: &Note| format!("{}: {}", String::from_utf8_lossy(&note.path), note.reason);
    let mut lines: Vec<String> = source.notes.iter().map(line).collect();
    if source.notes_left_out > 0 {
        lines.push(format!("and {} more like these", source.notes_left_out));
    }
    lines
}

impl MasterFiles {
    fn scan(&mut self, mut scan: Box<Scan>, inputs: &mut VecDeque<Input<'static>>) {
        match scan.step(SLICE_BYTES) {
            Ok(ScanStep::Walking) => self.job = Some(Job::Scan(scan)),
            Ok(ScanStep::Hashing { done_bytes, total_bytes }) => {
                inputs.push_back(Input::Hashing { done_bytes, total_bytes });
                self.job = Some(Job::Scan(scan));
            }
            Ok(ScanStep::Done) => match scan.finish() {
                Ok(source) => self.scanned(source, inputs),
                Err(error) => inputs.push_back(Input::ScanFailed { why: error.to_string() }),
            },
            Err(error) => inputs.push_back(Input::ScanFailed { why: error.to_string() }),
        }
    }

    fn scanned(&mut self, source: ServedTree, inputs: &mut VecDeque<Input<'static>>) {
        for text in notes(&source) {
            inputs.push_back(Input::Note { text, is_warning: true });
        }
        let manifest = source.manifest.clone();
        self.scans_used += 1;
        let scan = self.scans_used;
        self.sources.insert(scan, Rc::new(source));
        while self.sources.len() > SOURCES_MAX {
            self.sources.pop_first();
        }
        inputs.push_back(Input::Scanned { manifest, scan });
    }

    fn recheck(&mut self, mut recheck: Comparison, inputs: &mut VecDeque<Input<'static>>) {
        let Some(source) = self.sources.get(&self.scans_used) else { return };
        match recheck.step(source, SLICE_NAMES) {
            Verdict::Looking => self.job = Some(Job::Recheck(recheck)),
            Verdict::Same => inputs.push_back(Input::Unchanged),
            Verdict::Differs(path, what) => {
                let path = String::from_utf8_lossy(&path);
                let path = if path.is_empty() { "the served directory".into() } else { path };
                let text = format!("{path}: {what}; the tree is hashed again");
                inputs.push_back(Input::Note { text, is_warning: false });
                match Scan::new(&self.path, self.options.clone()) {
                    Ok(scan) => self.job = Some(Job::Scan(Box::new(scan))),
                    Err(error) => inputs.push_back(Input::ScanFailed { why: error.to_string() }),
                }
            }
        }
    }

    fn begin_sum(&mut self, space: &NameSpace) -> Option<Sum> {
        let (slot, entry) = self.sums_wanted.pop_front()?;
        let origin = space.generation(slot)?.origin.as_ref()?;
        let source = self.sources.get(&origin.scan)?.clone();
        let checksum = source.checksum(origin.entry(entry)).ok()?;
        Some(Sum { slot, entry, checksum, source })
    }

    fn sum_step(&mut self, inputs: &mut VecDeque<Input<'static>>) {
        let Some(mut sum) = self.sum.take() else { return };
        let done = match sum.checksum.step(&sum.source, SUM_SLICE_BYTES) {
            Ok(None) => {
                self.sum = Some(sum);
                return;
            }
            Ok(Some(digest)) => Ok(digest),
            Err(error) => {
                if let ServeError::Changed(path) = &error {
                    let path = String::from_utf8_lossy(path).into_owned();
                    inputs.push_back(Input::Changed { path });
                }
                Err(())
            }
        };
        inputs.push_back(Input::Checksum { slot: sum.slot, entry: sum.entry, sum: done });
    }
}

impl Backend for MasterFiles {
    fn part(&mut self, space: &NameSpace, what: Bulk, len: u32) -> Result<Part, PartsError> {
        let (sources, files) = (&self.sources, &mut self.files);
        // What it reads is compared with what was hashed, each time anew.
        unfold(space, what, len, &mut self.packs, |generation, entry| {
            let gone = || PartsError::Changed("an old version of the tree".into());
            let origin = generation.origin.as_ref().ok_or_else(gone)?;
            let source = sources.get(&origin.scan).ok_or_else(gone)?;
            let entry = origin.entry(entry);
            let key = (origin.scan, entry);
            if let Some(file) = files.get(&key) {
                if source.unchanged(entry, &file) {
                    return Ok(file);
                }
                files.remove(&key);
            }
            let opened = source.open(entry).map_err(|error| match error {
                ServeError::Changed(path) => {
                    PartsError::Changed(String::from_utf8_lossy(&path).into_owned())
                }
                error => PartsError::Failed(error.to_string()),
            })?;
            let file = Rc::new(opened);
            files.put(key, file.clone());
            Ok(file)
        })
    }

    fn carry_out(
        &mut self,
        _space: &NameSpace,
        effect: Effect,
        _frame: &[u8],
        _inputs: &mut VecDeque<Input<'static>>,
    ) {
        match effect {
            Effect::Rescan => match self.sources.get(&self.scans_used) {
                Some(source) if self.job.is_none() => {
                    self.job = Some(Job::Recheck(Comparison::new(source)));
                }
                _ => {}
            },
            Effect::Checksum { slot, entry } => {
                self.sums_wanted.push_back((slot, entry));
            }
            _ => {}
        }
    }

    fn has_work(&self) -> bool {
        self.job.is_some() || self.sum.is_some() || !self.sums_wanted.is_empty()
    }

    fn work(&mut self, space: &NameSpace, inputs: &mut VecDeque<Input<'static>>) {
        match self.job.take() {
            Some(Job::Scan(scan)) => self.scan(scan, inputs),
            Some(Job::Recheck(recheck)) => self.recheck(recheck, inputs),
            None => {}
        }
        if self.sum.is_none()
            && let Some(&(slot, entry)) = self.sums_wanted.front()
        {
            self.sum = self.begin_sum(space);
            if self.sum.is_none() {
                inputs.push_back(Input::Checksum { slot, entry, sum: Err(()) });
            }
        }
        self.sum_step(inputs);
    }
}
