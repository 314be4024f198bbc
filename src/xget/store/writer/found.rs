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
        self.note(tree, entry, piece);
        tree.progress.count_piece(entry);
    }

    /// The same of one that was counted when it was stored.
    pub fn note(&mut self, tree: &DestTree, entry: u32, piece: u32) {
        if tree.target.is_large(entry) {
            self.of_large[piece as usize] = true;
        }
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
        let pieces = map.manifest_pieces().count()..self.of_large.len() as u32;
        pieces.filter(is_whole).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::attributes::Attributes;
    use super::super::super::error::DestError;
    use super::super::policy::Policy;
    use super::super::target::Target;
    use super::*;
    use crate::os::file;
    use crate::os::scratch::Dir;
    use peer::content::digest::Digest;
    use peer::testing::file as file_entry;
    use std::rc::Rc;

    /// Two small files in a pack, and two of three pieces each.
    fn tree(dir: &Dir) -> DestTree {
        let large = |name| file_entry(0, name, &[7; 3 * 4096]);
        let small = |name| file_entry(0, name, b"small");
        let entries = [small("a"), small("b"), large("c"), large("d")];
        let target = Target::of_entries(dir.path(), entries, vec![Digest::default(); 6]);
        let root = Rc::new(file::open_dir(dir.path()).unwrap());
        DestTree::new(target, Attributes::new(false, false), Policy::default(), (root, false))
    }

    #[test]
    fn a_piece_is_whole_when_all_files_in_it_are_here() {
        let dir = Dir::new();
        let mut tree = tree(&dir);
        let mut found = FoundPieces::new(tree.target.map.count());
        let pack = tree.target.pieces(1).start;
        let (c, d) = (tree.target.pieces(3), tree.target.pieces(4));
        found.count(&mut tree, 1, pack);
        assert!(found.has(&tree, 1, pack) && !found.has(&tree, 2, pack));
        found.count(&mut tree, 3, c.start + 1);
        found.count_all(&mut tree, 4);
        assert!(found.has(&tree, 3, c.start + 1) && !found.has(&tree, 3, c.start));
        assert_eq!((tree.progress.left(3), tree.progress.left(4)), (2, 0));
        let wanted: Vec<u32> = [c.start + 1].into_iter().chain(d).collect();
        assert_eq!(found.whole(&tree), wanted, "the pack lacks a file");
    }

    #[test]
    fn of_a_file_that_failed_nothing_is_found() {
        let dir = Dir::new();
        let mut tree = tree(&dir);
        let mut found = FoundPieces::new(tree.target.map.count());
        (1..=4).for_each(|entry| found.count_all(&mut tree, entry));
        for entry in [2, 3] {
            let error = DestError::DirInTheWay(tree.target.path(entry));
            tree.fail(entry, error);
        }
        let wanted: Vec<u32> = tree.target.pieces(4).collect();
        assert_eq!(found.whole(&tree), wanted);
    }
}
