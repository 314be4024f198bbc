//! One generation on its way into a directory.
//!
//! A file is written under a temporary name beside its final one and renamed
//! when it is whole, so a final name only ever stands for verified contents.
//! The order is `check_step` until it is done (see `check`), `store` for every
//! piece that is not here, `finish_step` until it is done (see `finish`).
//!
//! What fails concerns one entry and is kept as a failure; the rest goes on.
//! A temporary file stays after a failure so that a later run resumes it,
//! unless it holds no whole piece. Nothing is synced to the medium on the way:
//! `sync` at the end does it for those who need it.

use super::attributes::{Attributes, MODE_IN_PART};
use super::dirs::Dirs;
use super::error::DestError;
use super::files::Files;
use super::hash::Reader;
use super::name;
use crate::os::file::{self, Status};
use check::Check;
use finish::Finish;
use nix::errno::Errno;
use peer::content::manifest::{Entry, EntryKind, Manifest};
use peer::content::pieces::{Extent, PieceMap};
use peer::table::Table;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

pub mod check;
pub mod finish;

#[derive(Clone, Debug, Default)]
pub struct DestOptions {
    /// Files and directories get the modes of the manifest; else those that any
    /// new ones get.
    pub keep_modes: bool,
    /// And the owners, which takes root.
    pub keep_owners: bool,
    /// What the only file must have before it gets its name.
    pub sha256: Option<[u8; 32]>,
}

/// Holes are made of whole blocks of this size, at their own multiples: what
/// file systems have, and what divides every piece length.
const HOLE_BYTES: usize = 4096;

/// What has been done for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing yet.
    None,
    /// A directory, or a file's temporary one, made in this run.
    Made,
    /// A directory, or a file's temporary one, that was there.
    Found,
    /// Under its final name.
    Whole,
    Failed,
}

/// What became of the files in a piece. Why one failed is in `failures`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub completed: Vec<u32>,
    pub failed: Vec<u32>,
}

pub struct DestWriter {
    pub(super) base: PathBuf,
    pub(super) manifest: Rc<Manifest>,
    pub(super) map: Rc<PieceMap>,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) attributes: Attributes,
    pub(super) root: Rc<OwnedFd>,
    pub(super) dirs: Dirs,
    pub(super) states: Vec<State>,
    /// For each file, its extents that are not here.
    pub(super) left: Vec<u32>,
    /// For each piece, its extents that are not here.
    missing: Vec<u16>,
    pub(super) files: Files,
    /// How many other names a file has in the manifest.
    pub(super) other_names: HashMap<u32, u64>,
    /// Modes of directories that had to be widened meanwhile.
    pub(super) narrow: Table<u32, u32>,
    failures: Vec<(u32, DestError)>,
    /// Whether large files get their space before their bytes.
    reserves: bool,
    pub(super) reader: Reader,
    pub(super) check: Check,
    pub(super) finish: Finish,
}

impl DestWriter {
    pub(super) fn new(
        base: PathBuf,
        options: DestOptions,
        root: Rc<OwnedFd>,
        root_made: bool,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> DestWriter {
        let mut states = vec![State::None; manifest.entries.len()];
        states[0] = if root_made { State::Made } else { State::Found };
        let mut left = vec![0; manifest.entries.len()];
        let mut missing = vec![0; map.count() as usize];
        for piece in map.manifest_pieces().count()..map.count() {
            for extent in map.extents(&manifest, piece) {
                left[extent.entry as usize] += 1;
                missing[piece as usize] += 1;
            }
        }
        let mut other_names: HashMap<u32, u64> = HashMap::new();
        for entry in &manifest.entries {
            if let EntryKind::Hardlink(file) = entry.kind {
                *other_names.entry(file).or_default() += 1;
            }
        }
        DestWriter {
            base,
            sha256: options.sha256,
            attributes: Attributes::new(options.keep_modes, options.keep_owners),
            dirs: Dirs::new(root.clone()),
            states,
            left,
            missing,
            files: Files::default(),
            other_names,
            narrow: Table::new(),
            failures: Vec::new(),
            reserves: file::room(&root).reserves,
            root,
            reader: Reader::new(),
            check: Check::new(&manifest),
            finish: Finish::default(),
            manifest,
            map,
        }
    }

    /// Whether all of a piece is here, to be relayed from `file`. Pieces of
    /// the manifest itself count as here.
    pub fn have(&self, piece: u32) -> bool {
        self.missing.get(piece as usize) == Some(&0)
    }

    /// Whether a file, or a file that this is another name of, is in place.
    pub fn is_whole(&self, entry: u32) -> bool {
        self.states[self.file_entry(entry) as usize] == State::Whole
    }

    /// What failed so far, in order of time.
    pub fn failures(&self) -> &[(u32, DestError)] {
        &self.failures
    }

    /// Stores a piece that was verified; of what is here already, nothing.
    /// Bytes of another length than the piece's were not verified, and do nothing.
    pub fn store(&mut self, piece: u32, bytes: &[u8]) -> Stored {
        let (manifest, map) = (self.manifest.clone(), self.map.clone());
        let mut stored = Stored::default();
        let mut rest = bytes;
        for extent in map.extents(&manifest, piece) {
            let Some((part, after)) = rest.split_at_checked(extent.len as usize) else { break };
            rest = after;
            let entry = extent.entry;
            let failed = self.states[entry as usize] == State::Failed;
            if failed || self.has_extent(entry, piece) {
                continue;
            }
            match self.store_extent(piece, extent, part) {
                Ok(true) => stored.completed.push(entry),
                Ok(false) => {}
                Err(error) => {
                    self.fail(entry, error);
                    stored.failed.push(entry);
                }
            }
        }
        stored
    }

    /// The open file that holds an entry now; of a file that is not whole,
    /// only the pieces that are here are of use.
    pub fn file(&mut self, entry: u32) -> io::Result<Rc<File>> {
        let entry = self.file_entry(entry);
        match self.states[entry as usize] {
            State::Made | State::Found => self.temporary(entry).map_err(io_error),
            State::Whole => self.whole(entry),
            State::None | State::Failed => Err(Errno::ENOENT.into()),
        }
    }

    /// Has all that was written so far reach the medium. Blocks until then.
    pub fn sync(&self) -> Result<(), DestError> {
        file::sync(&self.root).map_err(|cause| self.failed("sync", 0, cause))
    }

    pub(super) fn entry(&self, entry: u32) -> &Entry {
        &self.manifest.entries[entry as usize]
    }

    fn file_entry(&self, entry: u32) -> u32 {
        match self.entry(entry).kind {
            EntryKind::Hardlink(file) => file,
            _ => entry,
        }
    }

    pub(super) fn path(&self, entry: u32) -> PathBuf {
        name::full_path(&self.base, &self.manifest.path(entry))
    }

    pub(super) fn failed(&self, doing: &'static str, entry: u32, cause: Errno) -> DestError {
        DestError::Io { doing, path: self.path(entry), cause }
    }

    pub(super) fn pieces(&self, entry: u32) -> Range<u32> {
        self.map.of_entry(&self.manifest, entry)
    }

    fn is_large(&self, entry: u32) -> bool {
        self.entry(entry).size > u64::from(self.map.piece_len())
    }

    pub(super) fn has_extent(&self, entry: u32, piece: u32) -> bool {
        match self.is_large(entry) {
            true => self.have(piece),
            false => self.left[entry as usize] == 0,
        }
    }

    /// The stretch of a file that one of its pieces holds.
    pub(super) fn extent(&self, entry: u32, piece: u32) -> Extent {
        match self.is_large(entry) {
            true => self.map.extent_of_large(&self.manifest, piece),
            false => Extent { entry, offset: 0, len: self.entry(entry).size as u32 },
        }
    }

    pub(super) fn mark_had(&mut self, piece: u32, extent: Extent) {
        self.missing[piece as usize] -= 1;
        self.left[extent.entry as usize] -= 1;
    }

    /// Gives an entry up: what it has counts as not here.
    pub(super) fn fail(&mut self, entry: u32, error: DestError) {
        if self.states[entry as usize] == State::Failed {
            return;
        }
        let pieces = self.pieces(entry);
        let count = pieces.len() as u32;
        let had = count - self.left[entry as usize];
        for piece in pieces.filter(|_| had > 0) {
            if self.has_extent(entry, piece) {
                self.missing[piece as usize] += 1;
            }
        }
        self.left[entry as usize] = count;
        let temporary = matches!(self.states[entry as usize], State::Made | State::Found);
        let is_file = self.entry(entry).kind == EntryKind::File;
        let wrong = matches!(error, DestError::WrongSha256 { .. });
        if temporary && is_file && (had == 0 || wrong) {
            self.remove_temporary(entry);
        }
        self.states[entry as usize] = State::Failed;
        self.files.forget(entry);
        self.failures.push((entry, error));
    }

    /// The directory that holds an entry.
    pub(super) fn parent(&mut self, entry: u32) -> Result<Rc<OwnedFd>, DestError> {
        let parent = self.entry(entry).parent;
        self.dirs.get(&self.manifest.entries, parent).map_err(|shut| match shut.cause {
            Errno::ENOTDIR | Errno::ELOOP => DestError::NotDirInTheWay(self.path(shut.dir)),
            cause => self.failed("open the directory", shut.dir, cause),
        })
    }

    /// Why nothing can be made for an entry, whatever it is.
    pub(super) fn refusal(&self, entry: u32) -> Option<DestError> {
        let found = self.entry(entry);
        if self.states[found.parent as usize] == State::Failed {
            return Some(DestError::NoDirAbove(self.path(entry)));
        }
        name::is_temporary(&found.name).then(|| DestError::ReservedName(self.path(entry)))
    }

    fn store_extent(
        &mut self,
        piece: u32,
        extent: Extent,
        bytes: &[u8],
    ) -> Result<bool, DestError> {
        let entry = extent.entry;
        let is_new = self.states[entry as usize] == State::None;
        if is_new && !self.is_large(entry) && self.sha256.is_none() {
            return self.place_small(piece, extent, bytes).map(|()| true);
        }
        self.write(extent, bytes)?;
        self.mark_had(piece, extent);
        self.complete(entry)
    }

    /// Makes a file, writes all of it and puts it in place.
    fn place_small(&mut self, piece: u32, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        let entry = extent.entry;
        let dir = self.parent(entry)?;
        let name = name::temporary(&self.manifest, entry);
        let mode = self.attributes.mode_of_new(self.entry(entry));
        let file = self.make_temporary(entry, &dir, &name, mode)?;
        self.write_to(&file, extent, bytes)?;
        self.mark_had(piece, extent);
        let status =
            self.attributes.status_of_new(&self.manifest.entries[entry as usize], mode, &file);
        self.apply(entry, &file, status)?;
        self.rename(entry, &name, &dir)?;
        self.states[entry as usize] = State::Whole;
        Ok(())
    }

    /// Writes verified bytes into a file's temporary one.
    pub(super) fn write(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        let file = self.temporary(extent.entry)?;
        self.write_to(&file, extent, bytes)
    }

    fn write_to(&self, file: &File, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        let new = self.states[extent.entry as usize] == State::Made;
        let written = match self.entry(extent.entry).sparse {
            true => write_around_holes(file, extent.offset, bytes, new),
            false => file.write_all_at(bytes, extent.offset),
        };
        written.map_err(|error| self.failed("write", extent.entry, file::errno(&error)))
    }

    /// A file's temporary one, which is made if there is none.
    pub(super) fn temporary(&mut self, entry: u32) -> Result<Rc<File>, DestError> {
        if let Some(file) = self.files.get(entry) {
            return Ok(file);
        }
        let dir = self.parent(entry)?;
        let name = name::temporary(&self.manifest, entry);
        let file = match self.states[entry as usize] {
            State::None => self.make_temporary(entry, &dir, &name, MODE_IN_PART)?,
            _ => file::open_file_rw_at(&dir, &name).map_err(|c| self.failed("reopen", entry, c))?,
        };
        let file = Rc::new(file);
        self.files.put(entry, file.clone());
        Ok(file)
    }

    fn make_temporary(
        &mut self,
        entry: u32,
        dir: &OwnedFd,
        name: &[u8],
        mode: u32,
    ) -> Result<File, DestError> {
        let mut created = file::create_file_at(dir, name, mode);
        if created.as_ref().err() == Some(&Errno::EEXIST) {
            // What is there was refused by the check, or is newer than it.
            let removed = file::unlink_at(dir, name);
            created = removed.and_then(|()| file::create_file_at(dir, name, mode));
        }
        let file = created.map_err(|cause| self.failed("make a file for", entry, cause))?;
        let size = self.entry(entry).size;
        let sized = if self.entry(entry).sparse {
            file.set_len(size).map_err(|error| file::errno(&error))
        } else if self.reserves && self.is_large(entry) {
            file::allocate(&file, size)
        } else {
            Ok(())
        };
        self.states[entry as usize] = State::Made;
        sized.map_err(|cause| self.failed("reserve the space for", entry, cause))?;
        Ok(file)
    }

    /// Takes over the temporary file of an earlier run, if there is one that
    /// can only be ours: not another's, and not a second name of something.
    pub(super) fn adopt_temporary(
        &mut self,
        entry: u32,
    ) -> Result<Option<(Rc<File>, Status)>, DestError> {
        let dir = self.parent(entry)?;
        let name = name::temporary(&self.manifest, entry);
        let opened = file::open_file_rw_at(&dir, &name);
        let looked = opened.and_then(|file| Ok((file::stat_file(&file)?, file)));
        let size = self.entry(entry).size;
        match looked {
            Ok((status, file)) if is_ours(&status) => {
                if status.size > size || self.entry(entry).sparse {
                    let cut = file.set_len(size).map_err(|error| file::errno(&error));
                    cut.map_err(|cause| self.failed("resume", entry, cause))?;
                }
                let file = Rc::new(file);
                self.states[entry as usize] = State::Found;
                self.files.put(entry, file.clone());
                Ok(Some((file, status)))
            }
            Err(Errno::ENOENT) => Ok(None),
            // `make_temporary` says so if it cannot be removed.
            _ => {
                let _ = file::unlink_at(&dir, &name);
                Ok(None)
            }
        }
    }

    /// Whether it succeeds or not is not of interest: it is of no use, and a
    /// later run sweeps it away.
    fn remove_temporary(&mut self, entry: u32) {
        let name = name::temporary(&self.manifest, entry);
        if let Ok(dir) = self.parent(entry) {
            let _ = file::unlink_at(&dir, &name);
        }
    }

    /// Puts a file in place when all of it is here. A pinned one waits for its
    /// SHA-256, which `finish_step` computes.
    pub(super) fn complete(&mut self, entry: u32) -> Result<bool, DestError> {
        if self.left[entry as usize] > 0 || self.sha256.is_some() {
            return Ok(false);
        }
        self.put_in_place(entry)?;
        Ok(true)
    }

    pub(super) fn put_in_place(&mut self, entry: u32) -> Result<(), DestError> {
        let file = self.temporary(entry)?;
        self.apply(entry, &file, file::stat_file(&file))?;
        let dir = self.parent(entry)?;
        self.rename(entry, &name::temporary(&self.manifest, entry), &dir)?;
        self.states[entry as usize] = State::Whole;
        Ok(())
    }

    /// Owner, mode and time.
    fn apply(
        &self,
        entry: u32,
        file: &File,
        status: Result<Status, Errno>,
    ) -> Result<(), DestError> {
        let status = status.map_err(|cause| self.failed("look at", entry, cause))?;
        let set = self.attributes.set(file.as_fd(), self.entry(entry), &status, true);
        set.map_err(|cause| self.failed("set owner, mode or time of", entry, cause))
    }

    /// Gives a temporary file, symlink or link its final name.
    pub(super) fn rename(
        &self,
        entry: u32,
        temporary: &[u8],
        dir: &OwnedFd,
    ) -> Result<(), DestError> {
        match file::rename_at(dir, temporary, &self.entry(entry).name) {
            Err(Errno::EISDIR) => Err(DestError::DirInTheWay(self.path(entry))),
            done => done.map_err(|cause| self.failed("put in place", entry, cause)),
        }
    }

    /// A file that is in place, if it still looks like the one put there.
    fn whole(&mut self, entry: u32) -> io::Result<Rc<File>> {
        if let Some(file) = self.files.get(entry) {
            return Ok(file);
        }
        let dir = self.parent(entry).map_err(io_error)?;
        let file = file::open_file_at(&dir, &self.entry(entry).name)?;
        let status = file::stat_file(&file)?;
        if !status.is_file() || status.size != self.entry(entry).size {
            return Err(Errno::ESTALE.into());
        }
        let file = Rc::new(file);
        self.files.put(entry, file.clone());
        Ok(file)
    }
}

/// A file made by us, under no other name, so that writing to it touches
/// nothing else.
fn is_ours(status: &Status) -> bool {
    status.is_file() && status.nlink == 1 && status.uid == file::user()
}

fn io_error(error: DestError) -> io::Error {
    match error {
        DestError::Io { cause, .. } => cause.into(),
        _ => Errno::ENOENT.into(),
    }
}

/// Leaves out the blocks of zeros where the file has a hole; a new one has
/// nothing else.
fn write_around_holes(file: &File, offset: u64, bytes: &[u8], new: bool) -> io::Result<()> {
    let is_zero = |block: &[u8]| block.iter().fold(0, |all, byte| all | byte) == 0;
    let mut at = 0;
    while at < bytes.len() {
        let block_end = |from: usize| (from + HOLE_BYTES).min(bytes.len());
        let zero = is_zero(&bytes[at..block_end(at)]);
        let mut end = block_end(at);
        while end < bytes.len() && is_zero(&bytes[end..block_end(end)]) == zero {
            end = block_end(end);
        }
        let from = offset + at as u64;
        let hole = || {
            let data = file::next_data(file, from);
            new || data.is_none_or(|data| data >= offset + end as u64)
        };
        if !(zero && hole()) {
            file.write_all_at(&bytes[at..end], from)?;
        }
        at = end;
    }
    Ok(())
}
