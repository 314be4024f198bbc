//! The pieces that a check has found, while it looks.
//!
//! Of small files the counters of their progress say it all: each has one
//! piece, which it shares with others. Of large ones, which of many pieces are
//! here is noted, until the check is done and gives it away.

use super::tree::DestTree;

#[derive(Default)]
pub struct FoundPieces {
    /// By piece, of large files.
    of_large: Vec<bool>,
}

impl FoundPieces {
    /// None yet of so many pieces.
    pub fn new(count: u32) -> FoundPieces {
        FoundPieces { of_large: vec![false; count as usize] }
    }

    /// Whether what a piece holds of this file is here.
    pub fn has(&self, tree: &DestTree, entry: u32, piece: u32) -> bool {
        match tree.target.is_large(entry) {
            true => self.of_large[piece as usize] && !tree.progress.has_failed(entry),
            false => tree.progress.has_all(entry),
        }
    }

    /// Notes a piece of a file that was not here so far.
    pub fn count(&mut self, tree: &mut DestTree, entry: u32, piece: u32) {
        if tree.target.is_large(entry) {
            self.of_large[piece as usize] = true;
        }
        tree.progress.count_piece(entry);
    }

    /// Notes all pieces of a file.
    pub fn count_all(&mut self, tree: &mut DestTree, entry: u32) {
        if tree.target.is_large(entry) {
            let pieces = tree.target.pieces(entry);
            self.of_large[pieces.start as usize..pieces.end as usize].fill(true);
        }
        tree.progress.count_all(entry);
    }

    /// The pieces that are here with all the files in them, in rising order.
    pub fn whole(self, tree: &DestTree) -> Vec<u32> {
        let (map, manifest) = (&tree.target.map, &tree.target.manifest);
        let is_whole = |piece: &u32| {
            let mut extents = map.extents(manifest, *piece);
            extents.all(|extent| self.has(tree, extent.entry, *piece))
        };
        let pieces = map.head().count()..self.of_large.len() as u32;
        pieces.filter(is_whole).collect()
    }
}
