//! Copying right pieces from old versions of files, in slices.
//!
//! A file that has changed in part has most of its pieces at the same place in
//! the version that is there. That one stays as it is until it is replaced.

use super::super::cost::FILE_COST_BYTES;
use super::super::error::DestError;
use super::super::reader::Reader;
use super::found::FoundPieces;
use super::tree::DestTree;
use crate::os::file;
use peer::content::pieces::Extent;
use std::collections::VecDeque;
use std::fs::File;

/// Files whose old versions may have pieces of use.
#[derive(Default)]
pub struct OldVersions {
    left: VecDeque<u32>,
    open: Option<OldVersion>,
}

struct OldVersion {
    entry: u32,
    file: File,
    size: u64,
    next_piece: u32,
}

impl OldVersions {
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
            let (cost, goes_on) = old.step(tree, reader, found);
            self.open = goes_on.then_some(old);
            return Some(cost);
        }
        let entry = self.left.pop_front()?;
        self.open = OldVersion::open(tree, entry);
        Some(FILE_COST_BYTES)
    }
}

impl OldVersion {
    fn open(tree: &mut DestTree, entry: u32) -> Option<OldVersion> {
        if tree.progress.has_failed(entry) || tree.progress.has_all(entry) {
            return None;
        }
        let dir = tree.parent(entry).ok()?;
        let file = file::open_file_at(&dir, &tree.target.entry(entry).name).ok()?;
        let status = file::stat_file(&file).ok().filter(file::Status::is_file)?;
        let next_piece = tree.target.pieces(entry).start;
        Some(OldVersion { entry, file, size: status.size, next_piece })
    }

    /// Copies the next piece if it is right and missing. What that cost, and
    /// whether there may be more.
    fn step(
        &mut self,
        tree: &mut DestTree,
        reader: &mut Reader,
        found: &mut FoundPieces,
    ) -> (u64, bool) {
        let (entry, piece) = (self.entry, self.next_piece);
        if piece == tree.target.pieces(entry).end {
            return (FILE_COST_BYTES, false);
        }
        let extent = tree.target.extent(entry, piece);
        if extent.offset + u64::from(extent.len) > self.size {
            return (FILE_COST_BYTES, false);
        }
        self.next_piece += 1;
        if found.has(tree, entry, piece) {
            return (FILE_COST_BYTES / 16, true);
        }
        let copied = self.copy_piece(tree, reader, piece, extent).and_then(|is_copied| {
            if is_copied {
                found.count(tree, entry, piece);
                tree.complete(entry)?;
            }
            Ok(())
        });
        let goes_on = copied.is_ok();
        copied.unwrap_or_else(|error| tree.fail(entry, error));
        (u64::from(extent.len), goes_on)
    }

    /// False when the piece is wrong or cannot be read: it is fetched.
    fn copy_piece(
        &self,
        tree: &mut DestTree,
        reader: &mut Reader,
        piece: u32,
        extent: Extent,
    ) -> Result<bool, DestError> {
        let bytes = match reader.read(&self.file, extent.offset, extent.len as usize, None) {
            Ok(bytes) => bytes,
            Err(_) => return Ok(false),
        };
        let (map, manifest) = (&tree.target.map, &tree.target.manifest);
        if map.verify_extent(manifest, piece, extent, bytes).is_err() {
            return Ok(false);
        }
        tree.write(extent, bytes).map(|()| true)
    }
}
