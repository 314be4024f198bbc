//! What is left when the files are in place, in slices.
//!
//! The SHA-256 of a pinned file, before that gets its name; empty files,
//! symlinks and further names of files; the removal of what interrupted runs
//! have left; last the directories' owners, modes and times, children before
//! parents, since all the rest changes them.

use super::super::FILE_COST_BYTES;
use super::super::attributes::has_mtime;
use super::super::error::DestError;
use super::super::name;
use super::super::sha256::{self, Sum};
use super::{DestWriter, State};
use crate::os::file::{self, Listing, Status};
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Whether finishing has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishStep {
    Finishing,
    Done,
}

pub struct Finish {
    phase: Phase,
}

enum Phase {
    Pin,
    Summing(u32, Sum),
    /// The next entry that may be empty, a symlink or another name.
    Rest(u32),
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
    kept: HashSet<Vec<u8>>,
}

impl Default for Finish {
    fn default() -> Finish {
        Finish { phase: Phase::Pin }
    }
}

impl DestWriter {
    /// Works for about as long as reading `budget_bytes` takes; to be called
    /// until `Done`. Whatever fails is in `failures`.
    pub fn finish_step(&mut self, budget_bytes: u64) -> FinishStep {
        let mut left = budget_bytes.max(1);
        while left > 0 {
            let count = self.manifest.entries.len() as u32;
            let mut cost = FILE_COST_BYTES;
            let next = match std::mem::replace(&mut self.finish.phase, Phase::Done) {
                Phase::Done => return FinishStep::Done,
                Phase::Pin => self.begin_pin(),
                Phase::Summing(entry, sum) => {
                    cost = left;
                    self.sum_on(entry, sum, left)
                }
                Phase::Rest(entry) if entry == count => Phase::Remains(0),
                Phase::Rest(entry) => self.make_rest(entry),
                Phase::Remains(dir) if dir == count => Phase::Dirs(count),
                Phase::Remains(dir) => self.begin_sweep(dir),
                Phase::Sweeping(sweep) => self.sweep_on(sweep),
                Phase::Dirs(0) => Phase::Done,
                Phase::Dirs(above) => self.finish_dir(above - 1),
            };
            self.finish.phase = next;
            left = left.saturating_sub(cost);
        }
        FinishStep::Finishing
    }

    fn begin_pin(&mut self) -> Phase {
        let is_file = |entry: &u32| self.entry(*entry).kind == EntryKind::File;
        let Some(wanted) = self.sha256 else { return Phase::Rest(1) };
        let Some(entry) = (1..self.manifest.entries.len() as u32).find(is_file) else {
            return Phase::Rest(1);
        };
        if self.entry(entry).size == 0 {
            self.judge_pin(entry, wanted, sha256::of_nothing());
            return Phase::Rest(1);
        }
        if self.left[entry as usize] > 0 {
            // It is not all here, and gets no name.
            return Phase::Rest(1);
        }
        match self.file(entry) {
            Ok(file) => Phase::Summing(entry, Sum::new(file, self.entry(entry).size)),
            Err(error) => {
                self.fail(entry, self.failed("read", entry, file::errno(&error)));
                Phase::Rest(1)
            }
        }
    }

    fn sum_on(&mut self, entry: u32, mut sum: Sum, budget_bytes: u64) -> Phase {
        match sum.step(budget_bytes) {
            Ok(None) => return Phase::Summing(entry, sum),
            Ok(Some(found)) => {
                let wanted = self.sha256.unwrap_or(found);
                self.judge_pin(entry, wanted, found);
            }
            Err(error) => self.fail(entry, self.failed("read", entry, file::errno(&error))),
        }
        let in_part = matches!(self.states[entry as usize], State::Made | State::Found);
        if in_part {
            let placed = self.put_in_place(entry);
            placed.unwrap_or_else(|error| self.fail(entry, error));
        }
        Phase::Rest(1)
    }

    fn judge_pin(&mut self, entry: u32, wanted: [u8; 32], found: [u8; 32]) {
        if wanted != found {
            let path = self.path(entry);
            self.fail(entry, DestError::WrongSha256 { path, wanted, found });
        }
    }

    /// Empty files, symlinks, further names.
    fn make_rest(&mut self, entry: u32) -> Phase {
        let found = self.entry(entry);
        let rest = match found.kind {
            EntryKind::File => found.size == 0,
            EntryKind::Symlink | EntryKind::Hardlink(_) => true,
            EntryKind::Dir | EntryKind::Special | EntryKind::Unreadable => false,
        };
        if rest && self.states[entry as usize] == State::None {
            let made = match self.refusal(entry) {
                Some(error) => Err(error),
                None => self.make(entry),
            };
            match made {
                Ok(()) => self.states[entry as usize] = State::Whole,
                Err(error) => self.fail(entry, error),
            }
        }
        Phase::Rest(entry + 1)
    }

    fn make(&mut self, entry: u32) -> Result<(), DestError> {
        let dir = self.parent(entry)?;
        let old = file::stat_at(&dir, &self.entry(entry).name).ok();
        if old.is_some_and(|status| status.is_dir()) {
            return Err(DestError::DirInTheWay(self.path(entry)));
        }
        match self.entry(entry).kind {
            EntryKind::Symlink => self.make_symlink(entry, &dir, old),
            EntryKind::Hardlink(target) => self.make_link(entry, target, &dir, old),
            _ => self.make_empty(entry, &dir, old),
        }
    }

    fn make_empty(
        &mut self,
        entry: u32,
        dir: &OwnedFd,
        old: Option<Status>,
    ) -> Result<(), DestError> {
        if old.is_some_and(|old| old.is_file() && old.size == 0) {
            let opened = file::open_file_at(dir, &self.entry(entry).name);
            let looked = opened.and_then(|file| Ok((file::stat_file(&file)?, file)));
            let empty = |status: &Status| status.is_file() && status.size == 0;
            if looked
                .is_ok_and(|(status, file)| empty(&status) && self.repair(entry, &file, &status))
            {
                return Ok(());
            }
        }
        self.put_in_place(entry)
    }

    fn make_symlink(
        &self,
        entry: u32,
        dir: &OwnedFd,
        old: Option<Status>,
    ) -> Result<(), DestError> {
        let found = self.entry(entry);
        let failed = |cause| self.failed("make the symlink", entry, cause);
        if let Some(old) = old.filter(Status::is_symlink) {
            let same = file::read_symlink_at(dir, &found.name).is_ok_and(|t| *t == *found.link);
            if same && self.repair_symlink(entry, dir, &found.name, &old).is_ok() {
                return Ok(());
            }
        }
        let temporary = name::temporary(&self.manifest, entry);
        replacing(dir, &temporary, || file::make_symlink_at(dir, &temporary, &found.link))
            .map_err(failed)?;
        let new = file::stat_at(dir, &temporary).map_err(failed)?;
        self.repair_symlink(entry, dir, &temporary, &new).map_err(failed)?;
        self.rename(entry, &temporary, dir)
    }

    fn repair_symlink(
        &self,
        entry: u32,
        dir: &OwnedFd,
        name: &[u8],
        now: &Status,
    ) -> Result<(), Errno> {
        let found = self.entry(entry);
        let (uid, gid) = self.attributes.owner(found, now);
        if (uid, gid) != (now.uid, now.gid) {
            file::set_owner_at(dir, name, uid, gid)?;
        }
        if !has_mtime(found, now) {
            file::set_mtime_at(dir, name, found.mtime_s, found.mtime_ns)?;
        }
        Ok(())
    }

    fn make_link(
        &mut self,
        entry: u32,
        target: u32,
        dir: &OwnedFd,
        old: Option<Status>,
    ) -> Result<(), DestError> {
        if self.states[target as usize] != State::Whole {
            return Err(DestError::NoLinkTarget(self.path(entry)));
        }
        let target_dir = self.parent(target)?;
        let target_name = &self.entry(target).name;
        let failed = |cause| self.failed("link", entry, cause);
        let file = file::stat_at(&target_dir, target_name).map_err(failed)?;
        if old.is_some_and(|old| (old.dev, old.ino) == (file.dev, file.ino)) {
            return Ok(());
        }
        let temporary = name::temporary(&self.manifest, entry);
        replacing(dir, &temporary, || file::link_at(&target_dir, target_name, dir, &temporary))
            .map_err(failed)?;
        self.rename(entry, &temporary, dir)
    }

    /// Only a directory that was there can hold remains.
    fn begin_sweep(&mut self, dir: u32) -> Phase {
        let next = Phase::Remains(dir + 1);
        if self.entry(dir).kind != EntryKind::Dir || self.states[dir as usize] != State::Found {
            return next;
        }
        let opened = self.dirs.get(&self.manifest.entries, dir).map_err(|shut| shut.cause);
        let Ok((names, fd)) = opened.and_then(|fd| Ok((file::list(&fd)?, fd))) else {
            // Remains that cannot be found harm nobody.
            return next;
        };
        let resumable = |entry: &u32| {
            self.entry(*entry).kind == EntryKind::File
                && matches!(
                    self.states[*entry as usize],
                    State::Made | State::Found | State::Failed
                )
        };
        let kept = self.manifest.children(dir).filter(resumable);
        let kept = kept.map(|entry| name::temporary(&self.manifest, entry));
        let kept = kept.chain([name::ROOT_MADE.to_vec()]).collect();
        Phase::Sweeping(Sweep { dir, fd, names, kept })
    }

    fn sweep_on(&mut self, mut sweep: Sweep) -> Phase {
        match sweep.names.next() {
            Some(Ok(name)) => {
                if name::is_temporary(&name) && !sweep.kept.contains(&*name) {
                    // One that stays is only in nobody's way.
                    let _ = file::unlink_at(&sweep.fd, &name);
                }
                Phase::Sweeping(sweep)
            }
            Some(Err(_)) | None => Phase::Remains(sweep.dir + 1),
        }
    }

    fn finish_dir(&mut self, dir: u32) -> Phase {
        let state = self.states[dir as usize];
        if self.entry(dir).kind == EntryKind::Dir && matches!(state, State::Made | State::Found) {
            let done = match dir {
                0 => self.finish_root(),
                _ => self.set_dir(dir, state == State::Made),
            };
            match done {
                Ok(()) => self.states[dir as usize] = State::Whole,
                Err(cause) => {
                    self.fail(dir, self.failed("set owner, mode or time of", dir, cause));
                }
            }
        }
        Phase::Dirs(dir)
    }

    fn set_dir(&mut self, dir: u32, made: bool) -> Result<(), Errno> {
        let fd = self.dirs.get(&self.manifest.entries, dir).map_err(|shut| shut.cause)?;
        let mut now = file::stat_dir(&fd)?;
        if let Some(mode) = self.narrow.get(&dir).filter(|_| !self.attributes.keep_modes) {
            file::set_mode(fd.as_fd(), *mode)?;
            now.mode = now.mode & !0o7777 | mode;
        }
        self.attributes.set(fd.as_fd(), self.entry(dir), &now, made)
    }

    /// The directory that the operator named: one that was there keeps mode
    /// and owner.
    fn finish_root(&mut self) -> Result<(), Errno> {
        let root = self.root.clone();
        // By this run or by one that was interrupted. Before the time is set,
        // which this changes.
        let made = file::unlink_at(&root, name::ROOT_MADE).is_ok();
        let now = file::stat_dir(&root)?;
        let described = self.manifest.root_described;
        match (made, described) {
            (true, true) => self.attributes.set(root.as_fd(), self.entry(0), &now, true),
            (true, false) => file::set_mode(root.as_fd(), 0o777 & !self.attributes.umask),
            (false, true) if !has_mtime(self.entry(0), &now) => {
                let root_entry = self.entry(0);
                match file::set_mtime(root.as_fd(), root_entry.mtime_s, root_entry.mtime_ns) {
                    // It belongs to somebody else, who lets us write into it.
                    Err(Errno::EPERM) => Ok(()),
                    done => done,
                }
            }
            (false, _) => Ok(()),
        }
    }
}

/// Makes something under a temporary name, in place of what an interrupted run
/// may have left there.
fn replacing(
    dir: &OwnedFd,
    temporary: &[u8],
    make: impl Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    match make() {
        Err(Errno::EEXIST) => {
            file::unlink_at(dir, temporary)?;
            make()
        }
        done => done,
    }
}
