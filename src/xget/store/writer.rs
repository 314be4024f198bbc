//! One generation on its way into a directory.
//!
//! A file is written under a temporary name beside its final one and renamed
//! when it is whole, so a final name only ever stands for verified contents.
//! The order is `check_step` until it is done (see `check`), `store` once for
//! every piece that is missing, `finish_step` until it is done (see `finish`).
//!
//! Which pieces are here is told once, by the check, and not kept: the holdings
//! of the generation know it from then on. What fails concerns one entry and is
//! kept as a failure; the rest goes on. A temporary file stays after a failure
//! so that a later run resumes it, unless it holds no whole piece. Nothing is
//! synced to the medium; `file_systems` says what would have to be.

use super::attributes::Attributes;
use super::destination::{CheckStep, FinishStep, StoreFailure};
use super::error::DestError;
use check::Check;
use finish::Finish;
use nix::errno::Errno;
use peer::content::manifest::Manifest;
use peer::content::pieces::{Extent, PieceMap};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use target::Target;
use tree::DestTree;

pub use policy::{Policy, Purpose};
pub use progress::EntryFailure;

mod aside;
mod changes;
mod check;
mod entry_files;
mod finish;
mod folded;
mod found;
mod holes;
mod mirror;
mod old_versions;
mod places;
mod policy;
mod progress;
mod removal;
mod rest;
mod space;
mod target;
mod tree;

#[derive(Clone, Debug, Default)]
pub struct DestOptions {
    /// Files and directories get the modes of the manifest; else those that any
    /// new ones get.
    pub keep_modes: bool,
    /// And the owners, all extended attributes, fifos, sockets and devices, which takes root.
    pub keep_owners: bool,
    /// The destination gets the attributes of the source's root, though it was there.
    pub takes_root: bool,
    /// Directories that are there stay as they are: what comes goes over something else.
    pub keep_dirs: bool,
    /// What the only file must have before it gets its name.
    pub sha256: Option<[u8; 32]>,
    pub policy: Policy,
}

pub struct DestWriter {
    tree: DestTree,
    check: Check,
    finish: Finish,
}

impl DestWriter {
    /// `root` is the open destination; whether it was made just now decides
    /// on its attributes.
    pub(super) fn new(
        base: PathBuf,
        options: DestOptions,
        (root, root_made): (Rc<OwnedFd>, bool),
        copies: Option<Rc<OwnedFd>>,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> DestWriter {
        let mut attributes = Attributes::new(options.keep_modes, options.keep_owners);
        attributes.takes_root = options.takes_root;
        attributes.keep_dirs = options.keep_dirs;
        attributes.read_only = options.policy.read_only;
        let target = Target::new(base, options.sha256, manifest, map);
        let tree = DestTree::new(target, attributes, options.policy, (root, root_made));
        DestWriter { check: Check::new(&tree, copies), finish: Finish::default(), tree }
    }

    /// Finds out what is here, and makes the directories; to be called until
    /// `Done`. Works until about `budget_bytes` are read.
    ///
    /// # Errors
    /// Nothing can be fetched into this directory. What concerns one entry is
    /// in `failures`.
    pub fn check_step(&mut self, budget_bytes: u64) -> Result<CheckStep, DestError> {
        self.check.step(&mut self.tree, budget_bytes)
    }

    /// Stores a piece that was verified, once: the caller knows from the check
    /// and from what was stored since that it is missing. `extents` are those
    /// of the piece. Of files in it that are whole already, nothing is written.
    ///
    /// # Errors
    /// Some of its files failed, now or before; the others are stored.
    pub fn store(&mut self, extents: &[Extent], bytes: &[u8]) -> Result<(), StoreFailure> {
        let len: usize = extents.iter().map(|extent| extent.len as usize).sum();
        if len != bytes.len() {
            // Not what was verified: nothing is done with it.
            let entries: Vec<u32> = extents.iter().map(|extent| extent.entry).collect();
            let first = entries.first().copied().unwrap_or(0);
            let error = self.tree.target.failed("store other bytes in", first, Errno::EINVAL);
            return Err(StoreFailure { entries, error });
        }
        let mut failed = Vec::new();
        let mut rest = bytes;
        for &extent in extents {
            let (part, after) = rest.split_at(extent.len as usize);
            rest = after;
            if !self.tree.store(extent, part) {
                failed.push(extent.entry);
            }
        }
        match self.tree.progress.latest_failure(&failed) {
            Some(error) => Err(StoreFailure { error: error.clone(), entries: failed }),
            None => Ok(()),
        }
    }

    /// Does what is left when nothing is missing any more, or will not come; to
    /// be called until `Done`. Works for about as long as reading
    /// `budget_bytes` takes. What fails is in `failures`.
    pub fn finish_step(&mut self, budget_bytes: u64) -> FinishStep {
        self.finish.step(&mut self.tree, budget_bytes)
    }

    /// Whether a file, or a file that this is another name of, is in place.
    pub fn is_whole(&self, entry: u32) -> bool {
        self.tree.progress.is_whole(self.tree.target.file_entry(entry))
    }

    /// Whether what is here of a file is under its final name.
    pub fn has_name(&self, entry: u32) -> bool {
        let state = self.tree.progress.state(self.tree.target.file_entry(entry));
        matches!(state, progress::EntryState::Whole | progress::EntryState::Kept)
    }

    /// What failed so far, in order of time.
    pub fn failures(&self) -> &[EntryFailure] {
        self.tree.progress.failures()
    }

    /// A directory on each of the file systems that entries are put on, once the
    /// check is done. Each was opened before anything was written there.
    pub fn file_systems(&self) -> Vec<Rc<OwnedFd>> {
        self.tree.file_systems.iter().map(|(_, dir)| dir.clone()).collect()
    }

    /// The directory, as the operator named it.
    pub fn base(&self) -> &Path {
        &self.tree.target.base
    }

    /// An error that names the destination.
    pub fn failed(&self, doing: &'static str, cause: Errno) -> DestError {
        self.tree.target.failed(doing, 0, cause)
    }

    /// The open file that holds an entry now; of a file that is not whole,
    /// only the pieces that are here are of use. And whether nothing says that it was changed
    /// since it was verified: else its bytes are to be verified again.
    ///
    /// # Errors
    /// Nothing of it is here, or what is has been changed or removed.
    pub fn file(&mut self, entry: u32) -> io::Result<(Rc<File>, bool)> {
        self.tree.file_to_serve(entry)
    }

    /// What holds the piece of an entry that begins at this offset, where it is kept aside,
    /// and where in that the entry begins.
    pub fn aside(&self, entry: u32, offset: u64) -> Option<(Rc<File>, u64)> {
        self.tree.aside.get(self.tree.target.file_entry(entry), offset)
    }

    /// What was changed, or would be, since this was asked last: lines.
    pub fn take_changes(&mut self) -> String {
        self.tree.changes.take()
    }

    /// What the operator should know that is no failure, since this was asked last.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.tree.changes.notes)
    }
}

#[cfg(test)]
mod tests;
