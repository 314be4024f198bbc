//! What is left when the files are in place, in slices.
//!
//! The SHA-256 of a pinned file, before that gets its name; empty files,
//! symlinks and further names of files; the removal of what interrupted runs
//! have left; last the directories' owners, modes and times, children before
//! parents, since all the rest changes them.

use super::super::attributes::{AttributeError, has_mtime};
use super::super::cost::FILE_COST_BYTES;
use super::super::destination::FinishStep;
use super::super::error::DestError;
use super::super::name;
use super::super::sha256::{self, Sum};
use super::folded::fail_folded;
use super::mirror::{self, Sweeping};
use super::policy::Purpose;
use super::progress::EntryState;
use super::rest::make_rest;
use super::tree::DestTree;
use crate::os::file::{self, Listing};
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use sorted::SortedSet;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

#[derive(Default)]
pub struct Finish {
    phase: FinishPhase,
    sweeping: Sweeping,
    /// What was there stays as it was.
    is_held: bool,
}

#[derive(Default)]
enum FinishPhase {
    #[default]
    Pin,
    Summing(u32, Sum),
    /// Whether all is here that is waited for.
    Commit,
    /// The next entry in whose way a directory may be.
    Yielding(u32),
    /// The next entry that may wait for its name.
    Placing(u32),
    /// The next entry that may be empty, a symlink or another name.
    Rest(u32),
    /// The next entry that may be a directory without its name.
    Naming(u32),
    /// What the source does not have goes.
    Extra,
    /// The next entry that may be a directory with remains of earlier runs.
    Remains(u32),
    Sweeping(Sweep),
    /// One above the next entry that may be a directory, downwards.
    Dirs(u32),
    Done,
}

struct Sweep {
    dir: u32,
    fd: Rc<OwnedFd>,
    names: Listing,
    /// Temporary names in this directory that a later run can resume.
    kept: SortedSet<Vec<u8>>,
}

impl Finish {
    /// Works for about as long as reading `budget_bytes` takes; to be called
    /// until `Done`. Whatever fails is in the failures.
    pub fn step(&mut self, tree: &mut DestTree, budget_bytes: u64) -> FinishStep {
        let mut left = budget_bytes.max(1);
        let count = tree.target.manifest.entries.len() as u32;
        while left > 0 {
            let mut cost = FILE_COST_BYTES;
            self.phase = match std::mem::replace(&mut self.phase, FinishPhase::Done) {
                FinishPhase::Done => return FinishStep::Done,
                FinishPhase::Pin if tree.policy.purpose == Purpose::Serve => FinishPhase::Done,
                FinishPhase::Pin if tree.policy.purpose.compares() => {
                    note_root(tree);
                    match tree.policy.purpose.removes() {
                        true => FinishPhase::Yielding(1),
                        false => FinishPhase::Rest(1),
                    }
                }
                FinishPhase::Pin => begin_pin(tree),
                FinishPhase::Summing(entry, sum) => {
                    cost = left;
                    sum_on(tree, entry, sum, left)
                }
                FinishPhase::Commit if tree.policy.purpose != Purpose::Mirror => {
                    FinishPhase::Rest(1)
                }
                FinishPhase::Commit if mirror::is_complete(tree) => FinishPhase::Yielding(1),
                FinishPhase::Commit => self.hold(tree),
                FinishPhase::Yielding(entry) if self.sweeping.removal.step(tree) => {
                    FinishPhase::Yielding(entry)
                }
                FinishPhase::Yielding(entry) => {
                    mirror::judge_way(tree, &mut self.sweeping.removal);
                    if entry == count {
                        self.begin_placing(tree)
                    } else {
                        mirror::look_in_way(tree, &mut self.sweeping.removal, entry);
                        FinishPhase::Yielding(entry + 1)
                    }
                }
                FinishPhase::Placing(entry) if entry == count => FinishPhase::Rest(1),
                FinishPhase::Placing(entry) if self.sweeping.removal.step(tree) => {
                    FinishPhase::Placing(entry)
                }
                FinishPhase::Placing(entry) => {
                    let placed = mirror::place(tree, entry);
                    FinishPhase::Placing(self.after(tree, entry, placed))
                }
                FinishPhase::Rest(entry) if entry == count => FinishPhase::Naming(1),
                FinishPhase::Naming(entry) if entry == count => after_rest(tree),
                FinishPhase::Naming(entry) => {
                    mirror::name_dir(tree, entry);
                    cost = FILE_COST_BYTES / 256;
                    FinishPhase::Naming(entry + 1)
                }
                FinishPhase::Rest(entry) if self.sweeping.removal.step(tree) => {
                    FinishPhase::Rest(entry)
                }
                FinishPhase::Rest(entry) if tree.policy.purpose.compares() => {
                    mirror::compare_rest(tree, entry);
                    FinishPhase::Rest(entry + 1)
                }
                FinishPhase::Rest(entry) => {
                    let made = make_rest(tree, entry);
                    FinishPhase::Rest(self.after(tree, entry, made))
                }
                FinishPhase::Extra if self.sweeping.step(tree) => FinishPhase::Extra,
                FinishPhase::Extra => after_extra(tree),
                FinishPhase::Remains(dir) if dir == count => FinishPhase::Dirs(count),
                FinishPhase::Remains(dir) => begin_sweep(tree, dir),
                FinishPhase::Sweeping(sweep) => sweep_on(sweep),
                FinishPhase::Dirs(0) => FinishPhase::Done,
                FinishPhase::Dirs(above) => {
                    match self.is_held {
                        true => restore_dir(tree, above - 1),
                        false => finish_dir(tree, above - 1),
                    }
                    FinishPhase::Dirs(above - 1)
                }
            };
            left = left.saturating_sub(cost);
        }
        FinishStep::Finishing
    }

    /// Where all is waited for, all that is left is renaming; or nothing is done.
    fn begin_placing(&mut self, tree: &mut DestTree) -> FinishPhase {
        let is_right = tree.progress.failures().is_empty();
        if tree.policy.purpose.compares() {
            if !is_right {
                let note = "nothing would be changed or deleted until that is mended";
                tree.changes.notes.push(note.into());
            }
            return FinishPhase::Rest(1);
        }
        match is_right {
            true => FinishPhase::Placing(1),
            false => self.hold(tree),
        }
    }

    /// The next entry to be put in place; the same once more when the directory that is in
    /// its way is removed.
    fn after(&mut self, tree: &mut DestTree, entry: u32, done: Result<(), DestError>) -> u32 {
        match done {
            Ok(()) => {}
            Err(DestError::DirInTheWay(_)) if self.sweeping.clears_way(tree, entry) => {
                return entry;
            }
            Err(error) => tree.fail(entry, error),
        }
        entry + 1
    }

    fn hold(&mut self, tree: &mut DestTree) -> FinishPhase {
        self.is_held = true;
        let note = "not all has come, or can be put in place: nothing that was there is changed \
                    or deleted";
        tree.changes.notes.push(note.into());
        FinishPhase::Remains(0)
    }
}

fn after_rest(tree: &mut DestTree) -> FinishPhase {
    let purpose = tree.policy.purpose;
    if !purpose.removes() {
        return after_extra(tree);
    }
    if purpose == Purpose::Copy || purpose.compares() || tree.progress.failures().is_empty() {
        return FinishPhase::Extra;
    }
    tree.changes.notes.push("not all is in place: nothing is deleted".into());
    FinishPhase::Remains(0)
}

fn after_extra(tree: &DestTree) -> FinishPhase {
    match tree.policy.purpose.compares() {
        true => FinishPhase::Done,
        false => FinishPhase::Remains(0),
    }
}

#[inline(never)]
fn begin_pin(tree: &mut DestTree) -> FinishPhase {
    let next = FinishPhase::Commit;
    let Some(wanted) = tree.target.sha256 else { return next };
    let is_file = |entry: &u32| tree.target.entry(*entry).kind == EntryKind::File;
    let Some(entry) = (1..tree.target.manifest.entries.len() as u32).find(is_file) else {
        return next;
    };
    let size = tree.target.entry(entry).size;
    if size == 0 {
        judge_pin(tree, entry, wanted, sha256::of_nothing());
        return next;
    }
    if !tree.progress.has_all(entry) {
        // It is not all here, and gets no name.
        return next;
    }
    match tree.file(entry) {
        Ok(file) => FinishPhase::Summing(entry, Sum::new(file, size)),
        Err(error) => {
            tree.fail(entry, tree.target.failed("read", entry, file::errno(&error)));
            next
        }
    }
}

fn sum_on(tree: &mut DestTree, entry: u32, mut sum: Sum, budget_bytes: u64) -> FinishPhase {
    match sum.step(budget_bytes) {
        Ok(None) => return FinishPhase::Summing(entry, sum),
        Ok(Some(found)) => {
            let wanted = tree.target.sha256.unwrap_or(found);
            judge_pin(tree, entry, wanted, found);
        }
        Err(error) => tree.fail(entry, tree.target.failed("read", entry, file::errno(&error))),
    }
    if tree.progress.is_in_part(entry) {
        let placed = tree.put_in_place(entry);
        placed.unwrap_or_else(|error| tree.fail(entry, error));
    }
    FinishPhase::Commit
}

fn judge_pin(tree: &mut DestTree, entry: u32, wanted: [u8; 32], found: [u8; 32]) {
    if wanted != found {
        let path = tree.target.path(entry);
        tree.fail(entry, DestError::WrongSha256 { path, wanted, found });
    }
}

/// Only a directory that was there can hold remains.
#[inline(never)]
fn begin_sweep(tree: &mut DestTree, dir: u32) -> FinishPhase {
    let next = FinishPhase::Remains(dir + 1);
    let was_there = tree.progress.state(dir) == EntryState::Found;
    if tree.target.entry(dir).kind != EntryKind::Dir || !was_there {
        return next;
    }
    let opened = tree.dir(dir).map_err(|error| error.cause);
    let Ok((names, fd)) = opened.and_then(|fd| Ok((file::list(&fd)?, fd))) else {
        // Remains that cannot be found harm nobody.
        return next;
    };
    let is_resumable = |entry: &u32| {
        tree.target.entry(*entry).kind == EntryKind::File
            && (tree.progress.is_in_part(*entry) || tree.progress.has_failed(*entry))
    };
    let kept = tree.target.manifest.children(dir).filter(is_resumable);
    let kept = kept.map(|entry| tree.target.temporary_name(entry));
    let kept = kept.chain([name::ROOT_MADE.to_vec()]).collect();
    FinishPhase::Sweeping(Sweep { dir, fd, names, kept })
}

#[inline(never)]
fn sweep_on(mut sweep: Sweep) -> FinishPhase {
    match sweep.names.next() {
        Some(Ok(name)) => {
            if name::is_temporary(&name) && !sweep.kept.contains(&*name) {
                // One that stays is only in nobody's way.
                let _ = file::unlink_at(&sweep.fd, &name);
            }
            FinishPhase::Sweeping(sweep)
        }
        Some(Err(_)) | None => FinishPhase::Remains(sweep.dir + 1),
    }
}

fn finish_dir(tree: &mut DestTree, dir: u32) {
    if tree.target.entry(dir).kind != EntryKind::Dir || !tree.progress.is_in_part(dir) {
        return;
    }
    fail_folded(tree, dir);
    let done = match dir {
        0 => finish_root(tree),
        _ => set_dir(tree, dir, tree.progress.state(dir) == EntryState::Made),
    };
    match done {
        Ok(()) => tree.progress.set(dir, EntryState::Whole),
        Err(error) => tree.fail(dir, tree.target.attributes_failed(dir, error)),
    }
}

/// One that kept us out gets its mode back.
fn restore_dir(tree: &mut DestTree, dir: u32) {
    if let Ok(at) = tree.original_modes.binary_search_by_key(&dir, |(entry, _)| *entry)
        && let Ok(fd) = tree.dir(dir)
    {
        // It was changed by us a moment ago.
        let _ = file::set_mode(fd.as_fd(), tree.original_modes[at].1);
    }
}

#[inline(never)]
fn set_dir(tree: &mut DestTree, dir: u32, is_made: bool) -> Result<(), AttributeError> {
    let fd = tree.dir(dir).map_err(|error| error.cause)?;
    let mut now = file::stat_dir(&fd)?;
    if !is_made {
        tree.note_attributes(dir, &fd, &now);
    }
    let original = tree.original_modes.binary_search_by_key(&dir, |(entry, _)| *entry);
    let gets_another = tree.attributes.keep_modes && (is_made || !tree.attributes.keep_dirs);
    if let (Ok(at), false) = (original, gets_another) {
        let (_, mode) = tree.original_modes[at];
        file::set_mode(fd.as_fd(), mode)?;
        now.mode = now.mode & !0o7777 | mode;
    }
    if tree.attributes.keep_dirs && !is_made {
        return Ok(());
    }
    tree.attributes.set(fd.as_fd(), tree.target.wanted(dir), &now, is_made)
}

fn takes_root(tree: &DestTree) -> bool {
    tree.attributes.takes_root && tree.target.manifest.root_described
}

/// Notes how the directory that the operator named differs, where it is to be as the source's.
fn note_root(tree: &DestTree) {
    if let (true, Ok(now)) = (takes_root(tree), file::stat_dir(&tree.root)) {
        tree.note_attributes(0, &tree.root, &now);
    }
}

/// The directory that the operator named: one that was there keeps mode
/// and owner, unless it is to be what the source's is.
#[inline(never)]
fn finish_root(tree: &DestTree) -> Result<(), AttributeError> {
    let (root, entry) = (&tree.root, tree.target.entry(0));
    // By this run or by one that was interrupted. Before the time is set,
    // which this changes.
    let is_made = file::unlink_at(root, name::ROOT_MADE).is_ok();
    let now = file::stat_dir(root)?;
    if !is_made && takes_root(tree) {
        note_root(tree);
        return match tree.attributes.set(root.as_fd(), tree.target.wanted(0), &now, false) {
            // As below.
            Err(AttributeError::Other(Errno::EPERM)) if !file::is_root() => Ok(()),
            done => done,
        };
    }
    match (is_made, tree.target.manifest.root_described) {
        (true, true) => tree.attributes.set(root.as_fd(), tree.target.wanted(0), &now, true),
        (true, false) => Ok(file::set_mode(root.as_fd(), 0o777 & !tree.attributes.umask)?),
        (false, true) if !has_mtime(entry, &now) => {
            match file::set_mtime(root.as_fd(), entry.mtime_s, entry.mtime_ns) {
                // It belongs to somebody else, who lets us write into it.
                Err(Errno::EPERM) => Ok(()),
                done => Ok(done?),
            }
        }
        (false, _) => Ok(()),
    }
}
