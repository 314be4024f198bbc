//! What a directory has already of a generation, found out in slices.
//!
//! First the directories are made. Then every file is looked for: whole, under
//! its final name; in part, in the temporary file of an interrupted run; as
//! zeros, where it will have holes. Only then it is known what must still be
//! written, and whether there is room for it. Last, pieces that an old version
//! of a file has at the same place are copied from it, which saves the network.
//!
//! Only contents count: a file is what the manifest says when its bytes are.

use super::super::FILE_COST_BYTES;
use super::super::error::DestError;
use super::super::hash::Data;
use super::{DestWriter, State};
use crate::os::file::{self, Status};
use nix::errno::Errno;
use peer::content::manifest::{EntryKind, Manifest};
use peer::content::pieces::Extent;
use peer::table::Table;
use std::fs::File;
use std::os::fd::AsFd;
use std::rc::Rc;

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Checking { done_bytes: u64, total_bytes: u64 },
    Done,
}

pub struct Check {
    phase: Phase,
    /// Files whose old version may have pieces of use.
    old_versions: Vec<u32>,
    /// What these take now, and will not when they are replaced.
    replaced_bytes: u64,
    /// What temporary files of an earlier run take already.
    reserved_bytes: Table<u32, u64>,
    done_bytes: u64,
    total_bytes: u64,
}

enum Phase {
    /// The next entry that may be a directory.
    Dirs(u32),
    /// The next entry that may be a file.
    Files(u32),
    Looking(Looking),
    Room,
    /// The next of `old_versions`.
    OldVersions(usize),
    Copying(usize, Old),
    Done,
}

/// A file that is looked through, piece by piece.
struct Looking {
    entry: u32,
    at: At,
    next_piece: u32,
    data: Data,
}

enum At {
    /// The one under the final name, all of whose pieces must be right.
    Final(Rc<File>, Status),
    Temporary(Rc<File>),
    /// Nothing: whether the piece is all zeros.
    Holes,
}

/// An old version that pieces are copied from.
struct Old {
    file: File,
    size: u64,
    next_piece: u32,
}

impl Check {
    pub fn new(manifest: &Manifest) -> Check {
        Check {
            phase: Phase::Dirs(1),
            old_versions: Vec::new(),
            replaced_bytes: 0,
            reserved_bytes: Table::new(),
            done_bytes: 0,
            total_bytes: manifest.bytes_total(),
        }
    }
}

impl DestWriter {
    /// Works until about `budget_bytes` are read; to be called until `Done`.
    /// An error is one of the whole: what concerns one entry is in `failures`.
    pub fn check_step(&mut self, budget_bytes: u64) -> Result<Step, DestError> {
        let mut left = budget_bytes.max(1);
        while left > 0 {
            let count = self.manifest.entries.len();
            let (next, cost) = match std::mem::replace(&mut self.check.phase, Phase::Done) {
                Phase::Done => return Ok(Step::Done),
                Phase::Dirs(entry) if entry as usize == count => (Phase::Files(1), 0),
                Phase::Dirs(entry) => self.check_dir(entry),
                Phase::Files(entry) if entry as usize == count => (Phase::Room, 0),
                Phase::Files(entry) => self.check_file(entry),
                Phase::Looking(looking) => self.look_on(looking),
                Phase::Room => {
                    // Should it be called again, it fails again.
                    self.check.phase = Phase::Room;
                    self.check_room()?;
                    (Phase::OldVersions(0), FILE_COST_BYTES)
                }
                Phase::OldVersions(at) if at == self.check.old_versions.len() => (Phase::Done, 0),
                Phase::OldVersions(at) => self.open_old_version(at),
                Phase::Copying(at, looking) => self.copy_on(at, looking),
            };
            self.check.phase = next;
            left = left.saturating_sub(cost);
        }
        let (done_bytes, total_bytes) = (self.check.done_bytes, self.check.total_bytes);
        Ok(Step::Checking { done_bytes: done_bytes.min(total_bytes), total_bytes })
    }

    /// Makes a directory, or enters the one that is there.
    fn check_dir(&mut self, entry: u32) -> (Phase, u64) {
        let next = Phase::Dirs(entry + 1);
        if self.entry(entry).kind != EntryKind::Dir {
            return (next, FILE_COST_BYTES / 256);
        }
        let made = match self.refusal(entry) {
            Some(error) => Err(error),
            None => self.make_dir(entry),
        };
        match made {
            Ok(state) => self.states[entry as usize] = state,
            Err(error) => self.fail(entry, error),
        }
        (next, FILE_COST_BYTES)
    }

    fn make_dir(&mut self, entry: u32) -> Result<State, DestError> {
        let parent = self.parent(entry)?;
        // With modes to come, nobody else enters before; without, this is final,
        // and a later run could not tell it from one that was there.
        let mode = if self.attributes.keep_modes { 0o700 } else { 0o777 };
        match file::make_dir_at(&parent, &self.entry(entry).name, mode) {
            Ok(()) => Ok(State::Made),
            Err(Errno::EEXIST) => self.enter_dir(entry).map(|()| State::Found),
            Err(cause) => Err(self.failed("make the directory", entry, cause)),
        }
    }

    /// A directory whose mode keeps its owner out, unless he is root, is
    /// widened until everything is in it.
    fn enter_dir(&mut self, entry: u32) -> Result<(), DestError> {
        let parent = self.parent(entry)?;
        let name = self.entry(entry).name.clone();
        let status = file::stat_at(&parent, &name)
            .map_err(|cause| self.failed("look at the directory", entry, cause))?;
        if !status.is_dir() {
            return Err(DestError::NotDirInTheWay(self.path(entry)));
        }
        let narrow = status.permissions() & 0o700 != 0o700;
        if narrow && !file::is_root() && status.uid == file::user() {
            file::set_dir_mode_at(&parent, &name, status.permissions() | 0o700)
                .map_err(|cause| self.failed("write into the directory", entry, cause))?;
            self.narrow.insert(entry, status.permissions());
        }
        // Opened once here, so that what is wrong with it shows on it alone.
        self.dirs.get(&self.manifest.entries, entry).map(drop).map_err(|shut| match shut.cause {
            Errno::ENOTDIR | Errno::ELOOP => DestError::NotDirInTheWay(self.path(shut.dir)),
            cause => self.failed("open the directory", shut.dir, cause),
        })
    }

    /// Looks for a file, first under its final name.
    fn check_file(&mut self, entry: u32) -> (Phase, u64) {
        let found = self.entry(entry);
        if found.kind != EntryKind::File || found.size == 0 {
            return (Phase::Files(entry + 1), FILE_COST_BYTES / 256);
        }
        if let Some(error) = self.refusal(entry) {
            self.fail(entry, error);
            return (self.file_done(entry), FILE_COST_BYTES);
        }
        if self.states[found.parent as usize] == State::Made {
            // What we have just made holds nothing yet.
            return (self.look_for_holes(entry), FILE_COST_BYTES / 16);
        }
        let next = match self.look_at_final(entry) {
            Ok(Some(at)) => Phase::Looking(self.looking(entry, at)),
            Ok(None) => self.look_at_temporary(entry),
            Err(error) => {
                self.fail(entry, error);
                self.file_done(entry)
            }
        };
        (next, FILE_COST_BYTES)
    }

    fn looking(&self, entry: u32, at: At) -> Looking {
        Looking { entry, at, next_piece: self.pieces(entry).start, data: Data::default() }
    }

    fn look_at_final(&mut self, entry: u32) -> Result<Option<At>, DestError> {
        let dir = self.parent(entry)?;
        let size = self.entry(entry).size;
        let Ok(status) = file::stat_at(&dir, &self.entry(entry).name) else { return Ok(None) };
        if status.is_dir() {
            return Err(DestError::DirInTheWay(self.path(entry)));
        }
        if !status.is_file() || status.size == 0 {
            return Ok(None);
        }
        if status.nlink == 1 {
            self.check.replaced_bytes += status.allocated_bytes;
        }
        if status.size != size {
            if self.pieces(entry).len() > 1 {
                self.try_old_version(entry);
            }
            return Ok(None);
        }
        // One that may not be read is replaced, as one that is not there.
        let Ok(file) = file::open_file_at(&dir, &self.entry(entry).name) else { return Ok(None) };
        let Ok(status) = file::stat_file(&file) else { return Ok(None) };
        let same = status.is_file() && status.size == size;
        Ok(same.then(|| At::Final(Rc::new(file), status)))
    }

    fn try_old_version(&mut self, entry: u32) {
        self.check.old_versions.push(entry);
        self.check.total_bytes += self.entry(entry).size;
    }

    fn look_at_temporary(&mut self, entry: u32) -> Phase {
        match self.adopt_temporary(entry) {
            Ok(Some((file, status))) => {
                self.check.reserved_bytes.insert(entry, status.allocated_bytes);
                Phase::Looking(self.looking(entry, At::Temporary(file)))
            }
            Ok(None) => self.look_for_holes(entry),
            Err(error) => {
                self.fail(entry, error);
                self.file_done(entry)
            }
        }
    }

    fn look_for_holes(&mut self, entry: u32) -> Phase {
        // An earlier run's temporary file has been looked through: where that
        // should be zeros and is not, zeros must be written.
        if !self.entry(entry).sparse || self.states[entry as usize] != State::None {
            return self.file_done(entry);
        }
        Phase::Looking(self.looking(entry, At::Holes))
    }

    fn file_done(&mut self, entry: u32) -> Phase {
        let had_all = self.left[entry as usize] == 0;
        let failed = self.states[entry as usize] == State::Failed;
        let whole = self.states[entry as usize] == State::Whole;
        if had_all && !failed && !whole {
            let completed = self.complete(entry).map(drop);
            completed.unwrap_or_else(|error| self.fail(entry, error));
        }
        self.check.done_bytes += self.entry(entry).size;
        Phase::Files(entry + 1)
    }

    /// Looks at the next piece of a file.
    fn look_on(&mut self, mut looking: Looking) -> (Phase, u64) {
        let (entry, piece) = (looking.entry, looking.next_piece);
        if piece == self.pieces(entry).end {
            return (self.looked_through(looking), FILE_COST_BYTES / 16);
        }
        looking.next_piece += 1;
        let extent = self.extent(entry, piece);
        let cost = u64::from(extent.len);
        let right = !matches!(looking.at, At::Final(..)) && self.has_extent(entry, piece)
            || self.is_right(&mut looking, piece);
        match &looking.at {
            At::Final(_, status) if !right => {
                if status.size > u64::from(self.map.piece_len()) {
                    self.try_old_version(entry);
                }
                return (self.look_at_temporary(entry), cost);
            }
            At::Final(..) => {}
            At::Temporary(_) | At::Holes => {
                if right && !self.has_extent(entry, piece) {
                    self.mark_had(piece, extent);
                }
            }
        }
        (Phase::Looking(looking), cost)
    }

    fn is_right(&mut self, looking: &mut Looking, piece: u32) -> bool {
        let extent = self.extent(looking.entry, piece);
        let len = extent.len as usize;
        let bytes = match &looking.at {
            At::Final(file, _) | At::Temporary(file) => {
                self.reader.read(file, extent.offset, len, Some(&mut looking.data))
            }
            At::Holes => Ok(self.reader.zeros(len)),
        };
        // What cannot be read is as what is not there: it is fetched.
        bytes.is_ok_and(|b| self.map.verify_extent(&self.manifest, piece, extent, b).is_ok())
    }

    fn looked_through(&mut self, looking: Looking) -> Phase {
        let entry = looking.entry;
        match looking.at {
            At::Final(file, status) => {
                if self.keep(entry, &file, &status) {
                    return self.file_done(entry);
                }
                self.try_old_version(entry);
                self.look_at_temporary(entry)
            }
            At::Temporary(_) => self.look_for_holes(entry),
            At::Holes => {
                let zeros = self.left[entry as usize] < self.pieces(entry).len() as u32;
                // A file of nothing but zeros is complete with this.
                if zeros {
                    let made = self.temporary(entry).map(drop);
                    made.unwrap_or_else(|error| self.fail(entry, error));
                }
                self.file_done(entry)
            }
        }
    }

    /// Takes a file with the right contents as what it is to become.
    fn keep(&mut self, entry: u32, file: &Rc<File>, status: &Status) -> bool {
        let kept = self.repair(entry, file, status);
        if kept {
            for piece in self.pieces(entry) {
                self.mark_had(piece, self.extent(entry, piece));
            }
            self.states[entry as usize] = State::Whole;
            self.files.put(entry, file.clone());
            if status.nlink == 1 {
                self.check.replaced_bytes -= status.allocated_bytes.min(self.check.replaced_bytes);
            }
        }
        kept
    }

    /// Whether a file with the right contents has the right attributes, or gets
    /// them. One that has other names than those of the manifest is not touched:
    /// they may be outside of this directory.
    pub(super) fn repair(&self, entry: u32, file: &File, status: &Status) -> bool {
        let names = 1 + self.other_names.get(&entry).copied().unwrap_or(0);
        let found = self.entry(entry);
        if self.attributes.are_right(found, status) {
            return status.nlink <= names;
        }
        status.nlink == 1 && self.attributes.set(file.as_fd(), found, status, false).is_ok()
    }

    /// Refuses only what cannot succeed: replaced files give their space back
    /// one by one, so what must fit is the difference, and the largest file.
    fn check_room(&self) -> Result<(), DestError> {
        let room = file::room(&self.root);
        let (mut all, mut largest, mut files) = (0u64, 0u64, 0u64);
        for (number, entry) in self.manifest.entries.iter().enumerate() {
            let state = self.states[number];
            let new =
                state == State::None && matches!(entry.kind, EntryKind::File | EntryKind::Symlink);
            files += u64::from(new);
            if entry.kind != EntryKind::File || matches!(state, State::Whole | State::Failed) {
                continue;
            }
            let needed = self.needed_bytes(number as u32).next_multiple_of(room.block_bytes);
            all = all.saturating_add(needed);
            largest = largest.max(needed);
        }
        let needed_bytes = all.saturating_sub(self.check.replaced_bytes).max(largest);
        let path = self.base.clone();
        match (room.free_bytes, room.free_files) {
            (Some(free_bytes), _) if free_bytes < needed_bytes => {
                Err(DestError::NoRoom { path, needed_bytes, free_bytes })
            }
            (_, Some(free)) if free < files && self.check.replaced_bytes == 0 => {
                Err(DestError::NoFilesLeft { path, needed: files, free })
            }
            _ => Ok(()),
        }
    }

    /// What a file still takes of the free space.
    fn needed_bytes(&self, entry: u32) -> u64 {
        let missing = |piece: &u32| !self.has_extent(entry, *piece);
        let pieces = self.pieces(entry).filter(missing);
        let missing_bytes = pieces.map(|piece| u64::from(self.extent(entry, piece).len)).sum();
        match self.check.reserved_bytes.get(&entry) {
            Some(reserved) if !self.entry(entry).sparse => {
                self.entry(entry).size.saturating_sub(*reserved).min(missing_bytes)
            }
            _ => missing_bytes,
        }
    }

    fn open_old_version(&mut self, at: usize) -> (Phase, u64) {
        let entry = self.check.old_versions[at];
        let next = (Phase::OldVersions(at + 1), FILE_COST_BYTES);
        if self.states[entry as usize] == State::Failed || self.left[entry as usize] == 0 {
            return next;
        }
        let Ok(dir) = self.parent(entry) else { return next };
        let opened = file::open_file_at(&dir, &self.entry(entry).name);
        match opened.and_then(|file| Ok((file::stat_file(&file)?, file))) {
            Ok((status, file)) if status.is_file() => {
                let next_piece = self.pieces(entry).start;
                (Phase::Copying(at, Old { file, size: status.size, next_piece }), FILE_COST_BYTES)
            }
            _ => next,
        }
    }

    /// Copies the next piece of an old version if it is right and missing.
    fn copy_on(&mut self, at: usize, mut old: Old) -> (Phase, u64) {
        let entry = self.check.old_versions[at];
        let piece = old.next_piece;
        let next = (piece < self.pieces(entry).end).then(|| self.extent(entry, piece));
        let within = |extent: &Extent| extent.offset + u64::from(extent.len) <= old.size;
        let Some(extent) = next.filter(within) else {
            self.check.done_bytes += self.entry(entry).size;
            return (Phase::OldVersions(at + 1), FILE_COST_BYTES);
        };
        old.next_piece += 1;
        if self.has_extent(entry, piece) {
            return (Phase::Copying(at, old), FILE_COST_BYTES / 16);
        }
        let cost = u64::from(extent.len);
        match self.copy_piece(&old.file, piece, extent) {
            Ok(()) => (Phase::Copying(at, old), cost),
            Err(error) => {
                self.fail(entry, error);
                (Phase::OldVersions(at + 1), cost)
            }
        }
    }

    fn copy_piece(&mut self, old: &File, piece: u32, extent: Extent) -> Result<(), DestError> {
        // The reader lends its buffer to the writing.
        let mut reader = std::mem::take(&mut self.reader);
        let copied = match reader.read(old, extent.offset, extent.len as usize, None) {
            Ok(bytes) if self.map.verify_extent(&self.manifest, piece, extent, bytes).is_ok() => {
                self.write(extent, bytes).map(|()| true)
            }
            // Wrong or not to be read: the piece is fetched.
            _ => Ok(false),
        };
        self.reader = reader;
        if copied? {
            self.mark_had(piece, extent);
            self.complete(extent.entry)?;
        }
        Ok(())
    }
}
