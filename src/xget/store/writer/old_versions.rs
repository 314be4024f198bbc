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
use std::time::{Duration, Instant};

/// A directory that could not be read or looked into so often is not used any further, nor
/// one whose slow reads have taken so long together: a bad disk takes seconds for each.
const ERRORS_MAX: u32 = 8;
const SLOW_READS_MAX: Duration = Duration::from_secs(10);
const SLOW_READ: Duration = Duration::from_secs(1);

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
    patience: Patience,
}

/// What has been borne of a disk.
#[derive(Debug, Default)]
struct Patience {
    errors: u32,
    slow: Duration,
}

impl Patience {
    /// Whether a read that took so long, and perhaps failed, was one too many.
    fn is_over(&mut self, took: Duration, failed: bool) -> bool {
        self.errors += u32::from(failed);
        if took >= SLOW_READ {
            self.slow += took;
        }
        self.errors >= ERRORS_MAX || self.slow >= SLOW_READS_MAX
    }
}

struct OldVersion {
    entry: u32,
    file: File,
    size: u64,
    next_piece: u32,
    /// What its last read took.
    took: Duration,
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
        let copies = copies.map(|root| Copies {
            dirs: Dirs::new(root),
            next: 1,
            patience: Patience::default(),
        });
        OldVersions { left: VecDeque::new(), open: None, copies }
    }

    pub fn add(&mut self, entry: u32) {
        self.left.push_back(entry);
    }

    /// Opens the next old version, or copies one piece more; what that cost.
    /// `None` when nothing is left.
    #[inline(never)]
    pub fn step(
        &mut self,
        tree: &mut DestTree,
        reader: &mut Reader,
        found: &mut FoundPieces,
    ) -> Option<u64> {
        if let Some(mut old) = self.open.take() {
            let (cost, copied) = old.step(tree, reader, found);
            let failed = match copied {
                Copied::Unreadable(cause) => Some(cause),
                Copied::Done | Copied::End => None,
            };
            let is_over = self.is_given_up(tree, old.took, failed);
            if !is_over && !matches!(copied, Copied::End) {
                self.open = Some(old);
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
        let began = Instant::now();
        let dir = copies.dirs.get(&tree.target.manifest.entries, found.parent);
        let opened = dir.map_err(|error| error.cause);
        let opened = opened.and_then(|dir| OldVersion::open(tree, entry, &dir));
        let failed = opened.as_ref().err().copied().filter(|cause| is_of_disk(*cause));
        if !self.is_given_up(tree, began.elapsed(), failed) {
            self.open = opened.ok().flatten();
        }
        Some(FILE_COST_BYTES)
    }

    /// Counts what could not be read of the other directory, or slowly; whether that was too
    /// much.
    fn is_given_up(&mut self, tree: &mut DestTree, took: Duration, failed: Option<Errno>) -> bool {
        let Some(copies) = self.copies.as_mut().filter(|copies| copies.next > 1) else {
            return false;
        };
        if !copies.patience.is_over(took, failed.is_some()) {
            return false;
        }
        self.copies = None;
        let why = std::io::Error::from(failed.unwrap_or(Errno::ETIMEDOUT));
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
        let took = Duration::ZERO;
        let old = OldVersion { entry, file, size: status.size, next_piece, took };
        Ok(status.is_file().then_some(old))
    }

    /// Copies the next piece if it is right and missing. What that cost, and what came
    /// of it.
    #[inline(never)]
    fn step(
        &mut self,
        tree: &mut DestTree,
        reader: &mut Reader,
        found: &mut FoundPieces,
    ) -> (u64, Copied) {
        let (entry, piece) = (self.entry, self.next_piece);
        self.took = Duration::ZERO;
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
        let began = Instant::now();
        let bytes = reader.read(&self.file, extent.offset, extent.len as usize, None);
        self.took = began.elapsed();
        let bytes = match bytes {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_disk_is_borne_for_so_long() {
        let s = Duration::from_secs;
        let mut patience = Patience::default();
        assert!((1..ERRORS_MAX).all(|_| !patience.is_over(s(0), true)));
        assert!(patience.is_over(s(0), true));
        let mut patience = Patience::default();
        assert!((0..100_000).all(|_| !patience.is_over(s(1) / 2, false)), "slow, and alive");
        assert!(!patience.is_over(s(5), false) && !patience.is_over(s(4), true));
        assert!(patience.is_over(s(1), false));
        assert!(Patience::default().is_over(s(30), true), "the kernel's own time-out");
    }
}
