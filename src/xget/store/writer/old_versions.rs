//! Copying right pieces from old versions of files, in slices.
//!
//! A file that has changed in part has most of its pieces at the same place in
//! the version that is there. That one stays as it is until it is replaced. Another
//! directory may have files of use at the same paths: it is looked through after that,
//! and what is wrong with it costs time and nothing else.

use super::super::cost::FILE_COST_BYTES;
use super::super::dirs::Dirs;
use super::super::reader::Reader;
use super::found::FoundPieces;
use super::tree::DestTree;
use crate::os::file;
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// A directory that could not be read or looked into so often is not used any further: a
/// bad disk takes seconds for each.
const ERRORS_MAX: u32 = 8;

/// Files whose old versions may have pieces of use.
pub struct OldVersions {
    left: VecDeque<u32>,
    open: Option<OldVersion>,
    copies: Option<Copies>,
}

/// Another directory with files of use.
struct Copies {
    dirs: Dirs,
    next: u32,
    errors: u32,
}

struct OldVersion {
    entry: u32,
    file: File,
    size: u64,
    next_piece: u32,
}

/// What came of a piece.
enum Copied {
    /// It is here, or wrong there.
    Done,
    Unreadable(Errno),
    /// There is no more, or no room.
    End,
}

impl OldVersions {
    /// With another directory, if there is one.
    pub fn new(copies: Option<Rc<OwnedFd>>) -> OldVersions {
        let copies = copies.map(|root| Copies { dirs: Dirs::new(root), next: 1, errors: 0 });
        OldVersions { left: VecDeque::new(), open: None, copies }
    }

    pub fn add(&mut self, entry: u32) {
        self.left.push_back(entry);
    }

    /// Opens the next old version, or copies one piece more; what that cost.
    /// `None` when nothing is left.
    pub fn step(
        &mut self,
        tree: &mut DestTree,
        reader: &mut Reader,
        found: &mut FoundPieces,
    ) -> Option<u64> {
        if let Some(mut old) = self.open.take() {
            let (cost, copied) = old.step(tree, reader, found);
            match copied {
                Copied::End => {}
                Copied::Unreadable(cause) if self.is_given_up(tree, cause) => {}
                Copied::Done | Copied::Unreadable(_) => self.open = Some(old),
            }
            return Some(cost);
        }
        if let Some(entry) = self.left.pop_front() {
            let dir = tree.parent(entry).ok();
            self.open = dir.and_then(|dir| OldVersion::open(tree, entry, &dir).ok().flatten());
            return Some(FILE_COST_BYTES);
        }
        let copies = self.copies.as_mut()?;
        let entry = copies.next;
        if entry as usize == tree.target.manifest.entries.len() {
            return None;
        }
        copies.next += 1;
        let found = tree.target.entry(entry);
        if found.kind != EntryKind::File || tree.progress.has_all(entry) {
            return Some(FILE_COST_BYTES / 256);
        }
        let dir = copies.dirs.get(&tree.target.manifest.entries, found.parent);
        let opened = dir.map_err(|error| error.cause);
        match opened.and_then(|dir| OldVersion::open(tree, entry, &dir)) {
            Ok(open) => self.open = open,
            Err(cause) if is_of_disk(cause) => drop(self.is_given_up(tree, cause)),
            Err(_) => {}
        }
        Some(FILE_COST_BYTES)
    }

    /// Counts what could not be read of the other directory; whether that was too often.
    fn is_given_up(&mut self, tree: &mut DestTree, cause: Errno) -> bool {
        let Some(copies) = self.copies.as_mut().filter(|copies| copies.next > 1) else {
            return false;
        };
        copies.errors += 1;
        if copies.errors < ERRORS_MAX {
            return false;
        }
        self.copies = None;
        let why = std::io::Error::from(cause);
        let dir = tree.policy.copies.clone().unwrap_or_default();
        tree.changes.notes.push(format!("{dir:?} cannot be read ({why}): it is done without"));
        true
    }
}

/// Whether a file or directory cannot be opened for another reason than what is in its place,
/// or that there is nothing.
fn is_of_disk(cause: Errno) -> bool {
    !matches!(
        cause,
        Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::ELOOP
            | Errno::EACCES
            | Errno::ENXIO
            | Errno::ENAMETOOLONG
    )
}

impl OldVersion {
    /// `None` where there is none that is of use.
    fn open(tree: &DestTree, entry: u32, dir: &OwnedFd) -> Result<Option<OldVersion>, Errno> {
        if tree.progress.has_failed(entry) || tree.progress.has_all(entry) {
            return Ok(None);
        }
        let file = file::open_file_at(dir, &tree.target.entry(entry).name)?;
        let status = file::stat_file(&file)?;
        let next_piece = tree.target.pieces(entry).start;
        let old = OldVersion { entry, file, size: status.size, next_piece };
        Ok(status.is_file().then_some(old))
    }

    /// Copies the next piece if it is right and missing. What that cost, and what came
    /// of it.
    fn step(
        &mut self,
        tree: &mut DestTree,
        reader: &mut Reader,
        found: &mut FoundPieces,
    ) -> (u64, Copied) {
        let (entry, piece) = (self.entry, self.next_piece);
        if piece == tree.target.pieces(entry).end {
            return (FILE_COST_BYTES, Copied::End);
        }
        let extent = tree.target.extent(entry, piece);
        if extent.offset + u64::from(extent.len) > self.size {
            return (FILE_COST_BYTES, Copied::End);
        }
        self.next_piece += 1;
        if found.has(tree, entry, piece) {
            return (FILE_COST_BYTES / 16, Copied::Done);
        }
        let cost = u64::from(extent.len);
        let bytes = match reader.read(&self.file, extent.offset, extent.len as usize, None) {
            Ok(bytes) => bytes,
            // It is fetched.
            Err(error) => return (cost, Copied::Unreadable(file::errno(&error))),
        };
        let (map, manifest) = (&tree.target.map, &tree.target.manifest);
        if map.verify_extent(manifest, piece, extent, bytes).is_err() {
            return (cost, Copied::Done);
        }
        if !tree.store(extent, bytes) {
            return (cost, Copied::End);
        }
        found.note(tree, entry, piece);
        (cost, Copied::Done)
    }
}
