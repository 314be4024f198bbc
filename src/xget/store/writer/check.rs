//! What a directory has already of a generation, found out in slices.
//!
//! First the directories are made. Then every file is looked for: whole, under
//! its final name; in part, in the temporary file of an interrupted run; as
//! zeros, where it will have holes. Only then it is known what must still be
//! written, and whether there is space for it. Last, pieces that an old version
//! of a file has at the same place are copied from it, which saves the network.
//!
//! Only contents count: a file is what the manifest says when its bytes are.
//! What was found is told by piece at the end, once, and not kept.

use super::super::cost::FILE_COST_BYTES;
use super::super::destination::CheckStep;
use super::super::error::DestError;
use super::super::reader::{NextData, Reader};
use super::super::scan::same_contents;
use super::changes::Change;
use super::found::FoundPieces;
use super::old_versions::OldVersions;
use super::places::check_dir;
use super::policy::Purpose;
use super::progress::EntryState;
use super::space::Needs;
use super::tree::DestTree;
use crate::os::file::{self, Status};
use peer::content::manifest::EntryKind;
use sorted::SortedMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

pub struct Check {
    phase: CheckPhase,
    reader: Reader,
    found: FoundPieces,
    old_versions: OldVersions,
    /// What files that are there take now, and will not when they are replaced.
    replaced_bytes: u64,
    /// What temporary files of an earlier run take already.
    reserved_bytes: SortedMap<u32, u64>,
}

enum CheckPhase {
    /// The next entry that may be a directory.
    Dirs(u32),
    /// The next entry that may be a file.
    Files(u32),
    Looking(Looking),
    Space,
    OldVersions,
    Done,
}

/// A file that is looked through, piece by piece.
struct Looking {
    entry: u32,
    at: At,
    next_piece: u32,
    data: NextData,
}

enum At {
    /// The one under the final name, all of whose pieces must be right.
    Final(Rc<File>, Status),
    /// The same of one that stays as it is: any of them is of use.
    Kept(Rc<File>, Status),
    Temporary(Rc<File>),
    /// Nothing: whether the piece is all zeros.
    Holes,
}

impl Check {
    /// With another directory that may have pieces of use, if there is one.
    pub fn new(tree: &DestTree, copies: Option<Rc<OwnedFd>>) -> Check {
        Check {
            phase: CheckPhase::Dirs(1),
            reader: Reader::default(),
            found: FoundPieces::new(tree.target.map.count()),
            old_versions: OldVersions::new(copies),
            replaced_bytes: 0,
            reserved_bytes: SortedMap::new(),
        }
    }

    /// Works until about `budget_bytes` are read; to be called until `Done`.
    ///
    /// # Errors
    /// One of the whole: what concerns one entry is in the failures.
    #[inline(never)]
    pub fn step(&mut self, tree: &mut DestTree, budget_bytes: u64) -> Result<CheckStep, DestError> {
        let mut left = budget_bytes.max(1);
        let count = tree.target.manifest.entries.len() as u32;
        while left > 0 {
            let (next, cost) = match std::mem::replace(&mut self.phase, CheckPhase::Done) {
                CheckPhase::Done => return Ok(self.done(tree)),
                CheckPhase::Dirs(entry) if entry == count => (CheckPhase::Files(1), 0),
                CheckPhase::Dirs(entry) => (CheckPhase::Dirs(entry + 1), check_dir(tree, entry)),
                CheckPhase::Files(entry) if entry == count => (CheckPhase::Space, 0),
                CheckPhase::Files(entry) => self.check_file(tree, entry),
                CheckPhase::Looking(looking) => self.look_on(tree, looking),
                CheckPhase::Space => {
                    // Should it be called again, it fails again.
                    self.phase = CheckPhase::Space;
                    let fits = self.check_space(tree);
                    match tree.policy.purpose {
                        // Nothing is written here, and memory is not this one's.
                        Purpose::Serve => (CheckPhase::Done, 0),
                        // It is told with the rest.
                        Purpose::Compare { .. } => {
                            tree.changes.notes.extend(fits.err().map(|error| error.to_string()));
                            (CheckPhase::Done, 0)
                        }
                        _ => {
                            fits?;
                            (CheckPhase::OldVersions, FILE_COST_BYTES)
                        }
                    }
                }
                CheckPhase::OldVersions => {
                    match self.old_versions.step(tree, &mut self.reader, &mut self.found) {
                        Some(cost) => (CheckPhase::OldVersions, cost),
                        None => (CheckPhase::Done, 0),
                    }
                }
            };
            self.phase = next;
            left = left.saturating_sub(cost);
        }
        Ok(CheckStep::Checking)
    }

    /// Gives away what was found, and the memory that looking took.
    fn done(&mut self, tree: &DestTree) -> CheckStep {
        let found = std::mem::take(&mut self.found).whole(tree);
        self.reader = Reader::default();
        self.reserved_bytes = SortedMap::new();
        CheckStep::Done { found }
    }

    /// Looks for a file, first under its final name.
    #[inline(never)]
    fn check_file(&mut self, tree: &mut DestTree, entry: u32) -> (CheckPhase, u64) {
        let found = tree.target.entry(entry);
        if found.kind != EntryKind::File || found.size == 0 {
            return (CheckPhase::Files(entry + 1), FILE_COST_BYTES / 256);
        }
        let above = tree.progress.state(found.parent);
        if tree.progress.state(entry) == EntryState::Kept {
            return (check_kept(tree, entry), FILE_COST_BYTES);
        }
        if let Some(error) = tree.refusal(entry) {
            tree.fail(entry, error);
            return (file_done(tree, entry), FILE_COST_BYTES);
        }
        if above == EntryState::Made {
            // What we have just made holds nothing yet.
            return (look_for_holes(tree, entry), FILE_COST_BYTES / 16);
        }
        if above == EntryState::Pending {
            // It would have to be made first, and that is not what we are here for.
            tree.note(entry, Change::New);
            return (CheckPhase::Files(entry + 1), FILE_COST_BYTES / 16);
        }
        let next = match self.look_at_final(tree, entry) {
            Ok(Some(at)) => CheckPhase::Looking(Looking::new(tree, entry, at)),
            Ok(None) => self.look_at_temporary(tree, entry),
            Err(error) => {
                tree.fail(entry, error);
                file_done(tree, entry)
            }
        };
        (next, FILE_COST_BYTES)
    }

    #[inline(never)]
    fn look_at_final(&mut self, tree: &mut DestTree, entry: u32) -> Result<Option<At>, DestError> {
        let dir = tree.parent(entry)?;
        let wanted = tree.target.entry(entry);
        let Ok(status) = file::stat_at(&dir, &wanted.name) else { return Ok(None) };
        if status.is_dir() && !tree.policy.purpose.removes() {
            return Err(DestError::DirInTheWay(tree.target.path(entry)));
        }
        if !status.is_file() || status.size == 0 {
            return Ok(None);
        }
        if status.nlink == 1 && makes_room(tree) {
            self.replaced_bytes += status.allocated_bytes;
        }
        if status.size != wanted.size {
            if tree.target.pieces(entry).len() > 1 {
                self.old_versions.add(entry);
            }
            return Ok(None);
        }
        // One that may not be read is replaced, as one that is not there.
        let Ok(file) = file::open_file_at(&dir, &wanted.name) else { return Ok(None) };
        let Ok(status) = file::stat_file(&file) else { return Ok(None) };
        let is_same = status.is_file() && status.size == wanted.size;
        Ok(is_same.then(|| At::Final(Rc::new(file), status)))
    }

    fn look_at_temporary(&mut self, tree: &mut DestTree, entry: u32) -> CheckPhase {
        if tree.policy.purpose.compares() {
            let change = tree.change_of(entry);
            tree.note(entry, change);
            let name = tree.target.temporary_name(entry);
            let there = tree.parent(entry).ok().and_then(|dir| file::stat_at(&dir, &name).ok());
            if let Some(there) = there.filter(Status::is_file) {
                self.reserved_bytes.insert(entry, there.allocated_bytes);
            }
            return CheckPhase::Files(entry + 1);
        }
        match tree.adopt(entry) {
            Ok(Some((file, status))) => {
                self.reserved_bytes.insert(entry, status.allocated_bytes);
                CheckPhase::Looking(Looking::new(tree, entry, At::Temporary(file)))
            }
            Ok(None) => look_for_holes(tree, entry),
            Err(error) => {
                tree.fail(entry, error);
                file_done(tree, entry)
            }
        }
    }

    /// Looks at the next piece of a file.
    #[inline(never)]
    fn look_on(&mut self, tree: &mut DestTree, mut looking: Looking) -> (CheckPhase, u64) {
        let (entry, piece) = (looking.entry, looking.next_piece);
        if piece == tree.target.pieces(entry).end {
            return (self.looked_through(tree, looking), FILE_COST_BYTES / 16);
        }
        looking.next_piece += 1;
        let extent = tree.target.extent(entry, piece);
        let cost = u64::from(extent.len);
        if let At::Final(_, status) = &looking.at {
            let was_large = status.size > u64::from(tree.target.map.piece_len());
            if !self.is_right(tree, &mut looking, piece) {
                if was_large {
                    self.old_versions.add(entry);
                }
                return (self.look_at_temporary(tree, entry), cost);
            }
        } else if !self.found.has(tree, entry, piece) && self.is_right(tree, &mut looking, piece) {
            self.found.count(tree, entry, piece);
            if let (At::Holes, EntryState::Kept) = (&looking.at, tree.progress.state(entry)) {
                let zeros = self.reader.zeros(cost as usize);
                let held = tree.write_aside(extent, zeros);
                held.unwrap_or_else(|error| tree.fail(entry, error));
            }
        }
        (CheckPhase::Looking(looking), cost)
    }

    fn is_right(&mut self, tree: &DestTree, looking: &mut Looking, piece: u32) -> bool {
        let extent = tree.target.extent(looking.entry, piece);
        let len = extent.len as usize;
        let bytes = match &looking.at {
            // Behind the end of the file is no hole.
            At::Kept(_, status) if extent.offset + u64::from(extent.len) > status.size => {
                return false;
            }
            At::Final(file, _) | At::Kept(file, _) | At::Temporary(file) => {
                self.reader.read(file, extent.offset, len, Some(&mut looking.data))
            }
            At::Holes => Ok(self.reader.zeros(len)),
        };
        // What cannot be read is as what is not there: it is fetched.
        let (map, manifest) = (&tree.target.map, &tree.target.manifest);
        bytes.is_ok_and(|b| map.verify_extent(manifest, piece, extent, b).is_ok())
    }

    #[inline(never)]
    fn looked_through(&mut self, tree: &mut DestTree, looking: Looking) -> CheckPhase {
        let entry = looking.entry;
        match looking.at {
            At::Final(file, status) => {
                if self.keep(tree, entry, &file, &status) {
                    return file_done(tree, entry);
                }
                self.old_versions.add(entry);
                self.look_at_temporary(tree, entry)
            }
            At::Kept(file, status) => {
                let is_right = status.size == tree.target.entry(entry).size;
                if is_right && tree.progress.has_all(entry) && is_same_now(&file, &status) {
                    tree.note_placed(entry, Ok(status));
                    tree.progress.set(entry, EntryState::Whole);
                }
                tree.files.keep(entry, file);
                look_for_holes(tree, entry)
            }
            At::Temporary(_) => look_for_holes(tree, entry),
            At::Holes => {
                let has_zeros = tree.progress.left(entry) < tree.target.pieces(entry).len() as u32;
                let is_pending = tree.progress.state(entry) == EntryState::Pending;
                // A file of nothing but zeros is complete with this.
                if has_zeros && is_pending {
                    let made = tree.temporary(entry).map(drop);
                    made.unwrap_or_else(|error| tree.fail(entry, error));
                }
                file_done(tree, entry)
            }
        }
    }

    /// Takes a file with the right contents as what it is to become.
    fn keep(&mut self, tree: &mut DestTree, entry: u32, file: &Rc<File>, status: &Status) -> bool {
        // What is written while it is looked through was looked through in vain.
        if !is_same_now(file, status) || !tree.stays(entry, file, status) {
            return false;
        }
        self.found.count_all(tree, entry);
        if tree.target.is_large(entry) {
            tree.note_placed(entry, file::stat_file(file));
        }
        tree.progress.set(entry, EntryState::Whole);
        tree.files.keep(entry, file.clone());
        if status.nlink == 1 && makes_room(tree) {
            self.replaced_bytes = self.replaced_bytes.saturating_sub(status.allocated_bytes);
        }
        true
    }

    fn check_space(&self, tree: &mut DestTree) -> Result<(), DestError> {
        let free = file::free_space(&tree.root);
        let mut needs = self.needs(tree, free.block_bytes);
        let fits = needs.fit(&free, &tree.target.base);
        if let Err(DestError::NoFilesLeft { .. }) = fits {
            // Which is worth a closer look.
            needs.new_files -= there_already(tree);
            return needs.fit(&free, &tree.target.base);
        }
        fits
    }

    fn needs(&self, tree: &DestTree, block_bytes: u64) -> Needs {
        let mut needs = Needs { replaced_bytes: self.replaced_bytes, ..Needs::default() };
        for (number, entry) in (0..).zip(&tree.target.manifest.entries) {
            let state = tree.progress.state(number);
            let is_file = entry.kind == EntryKind::File;
            let is_new = state == EntryState::Pending;
            let is_other = entry.kind == EntryKind::Symlink || tree.makes_special(number);
            needs.new_files += u64::from(is_new && (is_file || is_other));
            if is_file && !matches!(state, EntryState::Whole | EntryState::Failed) {
                needs.add_file(self.needed_bytes(tree, number), block_bytes);
            }
        }
        needs
    }

    /// What a file still takes of the free space.
    fn needed_bytes(&self, tree: &DestTree, entry: u32) -> u64 {
        let is_missing = |piece: &u32| !self.found.has(tree, entry, *piece);
        let missing = tree.target.pieces(entry).filter(is_missing);
        let missing_bytes =
            missing.map(|piece| u64::from(tree.target.extent(entry, piece).len)).sum();
        let found = tree.target.entry(entry);
        match self.reserved_bytes.get(&entry) {
            Some(reserved) if !found.sparse => {
                found.size.saturating_sub(*reserved).min(missing_bytes)
            }
            _ => missing_bytes,
        }
    }
}

impl Looking {
    fn new(tree: &DestTree, entry: u32, at: At) -> Looking {
        Looking {
            entry,
            at,
            next_piece: tree.target.pieces(entry).start,
            data: NextData::default(),
        }
    }
}

/// Whether old versions make room for the new ones: where all is waited for, both are there
/// at a time.
fn makes_room(tree: &DestTree) -> bool {
    let purpose = tree.policy.purpose;
    purpose.is_gradual() || purpose == Purpose::Compare { removes: false }
}

/// Entries that were counted as new files and whose names are there: what has them is
/// replaced, if it is not right.
fn there_already(tree: &mut DestTree) -> u64 {
    let is_pending = |tree: &DestTree, entry: u32| {
        tree.progress.state(entry) == EntryState::Pending
            && (tree.target.entry(entry).kind == EntryKind::Symlink || tree.makes_special(entry))
    };
    let mut count = 0;
    for entry in 1..tree.target.manifest.entries.len() as u32 {
        if is_pending(tree, entry)
            && tree.progress.state(tree.target.entry(entry).parent) == EntryState::Found
            && let Ok(dir) = tree.parent(entry)
        {
            count += u64::from(file::stat_at(&dir, &tree.target.entry(entry).name).is_ok());
        }
    }
    count
}

/// Of a file that stays as it is what is right is served from where it is, and the rest
/// comes aside.
#[inline(never)]
fn check_kept(tree: &mut DestTree, entry: u32) -> CheckPhase {
    if tree.policy.purpose.compares() {
        return CheckPhase::Files(entry + 1);
    }
    let (dir, wanted) = (tree.parent(entry), tree.target.entry(entry));
    let is_of_use =
        |now: &Status| now.is_file() && (now.size == wanted.size || tree.target.is_large(entry));
    let opened = dir.ok().and_then(|dir| {
        file::stat_at(&dir, &wanted.name).ok().filter(is_of_use)?;
        let file = file::open_file_at(&dir, &wanted.name).ok()?;
        let status = file::stat_file(&file).ok().filter(is_of_use)?;
        Some(At::Kept(Rc::new(file), status))
    });
    match opened {
        Some(at) => CheckPhase::Looking(Looking::new(tree, entry, at)),
        None => look_for_holes(tree, entry),
    }
}

/// Nothing says that a file was written to since it was looked at.
fn is_same_now(file: &File, status: &Status) -> bool {
    file::stat_file(file).is_ok_and(|now| same_contents(status, &now))
}

fn look_for_holes(tree: &mut DestTree, entry: u32) -> CheckPhase {
    // An earlier run's temporary file has been looked through: where that
    // should be zeros and is not, zeros must be written.
    let state = tree.progress.state(entry);
    let is_open = matches!(state, EntryState::Pending | EntryState::Kept);
    if !tree.target.entry(entry).sparse || !is_open {
        return file_done(tree, entry);
    }
    CheckPhase::Looking(Looking::new(tree, entry, At::Holes))
}

fn file_done(tree: &mut DestTree, entry: u32) -> CheckPhase {
    if tree.progress.has_all(entry) && !tree.progress.is_whole(entry) {
        let completed = tree.complete(entry);
        completed.unwrap_or_else(|error| tree.fail(entry, error));
    }
    CheckPhase::Files(entry + 1)
}
