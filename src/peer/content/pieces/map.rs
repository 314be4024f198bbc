//! The pieces of a generation by number: which stretches of which files each
//! is, and whether bytes are that.
//!
//! Knows the manifest. Refuses to know where a piece is stored and who has it.

use super::first::{ManifestPieces, WrongBytes};
use crate::content::digest::{self, Digest};
use crate::content::manifest::{EntryKind, Manifest, piece_len_of};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Most files of one pack: bounds what one reply has to open.
const PACK_FILES_MAX: usize = 1024;

/// A stretch of one file within a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The file's entry in the manifest.
    pub entry: u32,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Bytes of it.
    pub len: u32,
}

/// The pieces of one generation whose manifest is known.
#[derive(Clone, Debug)]
pub struct PieceMap {
    piece_len: u32,
    manifest_pieces: ManifestPieces,
    /// Entries of small files, in order; packs are ranges of it.
    small: Vec<u32>,
    /// Where each pack begins in `small`, and an end mark.
    packs: Vec<u32>,
    /// Files of more than one piece, in entry order.
    large: Vec<Large>,
    /// All pieces.
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Large {
    entry: u32,
    first_piece: u32,
    /// Where its piece digests begin in the lists of the manifest.
    list_start: usize,
}

impl PieceMap {
    /// Cuts a generation into pieces. Of each manifest there is one way to do it.
    pub fn new(manifest_pieces: ManifestPieces, manifest: &Manifest) -> PieceMap {
        let mut map = PieceMap {
            piece_len: manifest.piece_len,
            manifest_pieces,
            small: Vec::new(),
            packs: vec![0],
            large: Vec::new(),
            count: 0,
        };
        map.fill_packs(manifest);
        map.count = map.manifest_pieces.count() + map.packs_count();
        for (entry, list) in manifest.files_with_lists() {
            map.large.push(Large { entry, first_piece: map.count, list_start: list.start });
            map.count += list.len() as u32;
        }
        map
    }

    /// Packs files that fit into one piece, in their order, each pack as full as
    /// the next file allows.
    fn fill_packs(&mut self, manifest: &Manifest) {
        let limit = u64::from(self.piece_len);
        let (mut pack_len, mut pack_start) = (0, 0);
        for (number, entry) in manifest.entries.iter().enumerate() {
            if entry.kind != EntryKind::File || entry.size == 0 || entry.size > limit {
                continue;
            }
            let files = self.small.len() - pack_start;
            if pack_len + entry.size > limit || files == PACK_FILES_MAX {
                pack_start = self.small.len();
                self.packs.push(pack_start as u32);
                pack_len = 0;
            }
            self.small.push(number as u32);
            pack_len += entry.size;
        }
        if pack_len > 0 {
            self.packs.push(self.small.len() as u32);
        }
    }

    fn packs_count(&self) -> u32 {
        self.packs.len() as u32 - 1
    }

    /// All pieces, those of the manifest included.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The first pieces, those of the manifest.
    pub fn manifest_pieces(&self) -> &ManifestPieces {
        &self.manifest_pieces
    }

    /// Bytes of a piece of this generation; those of very large files are longer.
    pub fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// The stretches of files in a piece, in the order of its bytes. None for
    /// the pieces of the manifest.
    pub fn extents<'a>(&'a self, manifest: &'a Manifest, piece: u32) -> Extents<'a> {
        let content = piece.wrapping_sub(self.manifest_pieces.count());
        if piece < self.manifest_pieces.count() || piece >= self.count {
            Extents { manifest, small: &[], single: None }
        } else if content < self.packs_count() {
            let at = content as usize;
            let small = &self.small[self.packs[at] as usize..self.packs[at + 1] as usize];
            Extents { manifest, small, single: None }
        } else {
            Extents { manifest, small: &[], single: Some(self.extent_of_large(manifest, piece)) }
        }
    }

    /// The stretch of a file that a piece of its own holds. The piece must be
    /// one of a file of more than one piece.
    pub fn extent_of_large(&self, manifest: &Manifest, piece: u32) -> Extent {
        let Large { entry, first_piece, .. } = self.large_at(piece);
        let size = manifest.entries[entry as usize].size;
        let piece_len = u64::from(piece_len_of(size, self.piece_len));
        let offset = u64::from(piece - first_piece) * piece_len;
        Extent { entry, offset, len: (size - offset).min(piece_len) as u32 }
    }

    fn large_at(&self, piece: u32) -> Large {
        self.large[self.large.partition_point(|l| l.first_piece <= piece) - 1]
    }

    /// Bytes of a piece; 0 beyond the last.
    pub(crate) fn len(&self, manifest: &Manifest, piece: u32) -> u32 {
        if piece < self.manifest_pieces.count() {
            self.manifest_pieces.range(piece).len() as u32
        } else {
            self.extents(manifest, piece).map(|e| e.len).sum()
        }
    }

    /// The pieces that hold a file's bytes; empty for an empty file and for
    /// what is no file.
    pub fn of_entry(&self, manifest: &Manifest, entry: u32) -> Range<u32> {
        let e = &manifest.entries[entry as usize];
        if e.kind != EntryKind::File || e.size == 0 {
            return 0..0;
        }
        if e.size > u64::from(self.piece_len) {
            let at = self.large.partition_point(|l| l.entry < entry);
            let first = self.large[at].first_piece;
            return first..first + e.list_len(self.piece_len) as u32;
        }
        let place = self.small.partition_point(|&s| s < entry) as u32;
        let pack = self.packs.partition_point(|&p| p <= place) as u32 - 1;
        let piece = self.manifest_pieces.count() + pack;
        piece..piece + 1
    }

    /// Whether these bytes are that piece.
    ///
    /// # Errors
    /// [`WrongBytes`] if they are not, of whatever length.
    pub fn verify(&self, manifest: &Manifest, piece: u32, bytes: &[u8]) -> Result<(), WrongBytes> {
        if piece < self.manifest_pieces.count() {
            return self.manifest_pieces.verify(piece, bytes);
        }
        self.verify_in(manifest, piece, self.extents(manifest, piece), bytes)
    }

    /// The same of a piece whose [extents](PieceMap::extents) were looked up
    /// already.
    ///
    /// # Errors
    /// [`WrongBytes`] if they are not, of whatever length.
    pub fn verify_extents(
        &self,
        manifest: &Manifest,
        piece: u32,
        extents: &[Extent],
        bytes: &[u8],
    ) -> Result<(), WrongBytes> {
        self.verify_in(manifest, piece, extents.iter().copied(), bytes)
    }

    fn verify_in(
        &self,
        manifest: &Manifest,
        piece: u32,
        extents: impl Iterator<Item = Extent>,
        bytes: &[u8],
    ) -> Result<(), WrongBytes> {
        let mut rest = bytes;
        for extent in extents {
            let (part, after) = rest.split_at_checked(extent.len as usize).ok_or(WrongBytes)?;
            self.verify_extent(manifest, piece, extent, part)?;
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(WrongBytes) }
    }

    /// Whether these bytes are that stretch of that file: for what is on disk
    /// already, where the rest of a pack may be missing.
    ///
    /// # Errors
    /// [`WrongBytes`] if they are not.
    pub fn verify_extent(
        &self,
        manifest: &Manifest,
        piece: u32,
        extent: Extent,
        bytes: &[u8],
    ) -> Result<(), WrongBytes> {
        let entry = &manifest.entries[extent.entry as usize];
        let right = if entry.size > u64::from(self.piece_len) {
            let large = self.large_at(piece);
            let wanted = manifest.lists[large.list_start + (piece - large.first_piece) as usize];
            digest::of_piece(extent.offset, bytes) == wanted
        } else {
            Digest::of(bytes) == entry.digest
        };
        if right { Ok(()) } else { Err(WrongBytes) }
    }
}

/// Iterates over the extents of one piece: see [`PieceMap::extents`].
pub struct Extents<'a> {
    manifest: &'a Manifest,
    small: &'a [u32],
    single: Option<Extent>,
}

impl Iterator for Extents<'_> {
    type Item = Extent;

    fn next(&mut self) -> Option<Extent> {
        if let Some(extent) = self.single.take() {
            return Some(extent);
        }
        let (&entry, rest) = self.small.split_first()?;
        self.small = rest;
        let len = self.manifest.entries[entry as usize].size as u32;
        Some(Extent { entry, offset: 0, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::samples::{Sample, assert_verified, trees};
    use proptest::prelude::*;
    use proptest::sample::Index;

    const P: u32 = 4096;

    /// The sample's pieces, and the bytes of its manifest.
    fn map_of(sample: &Sample) -> (PieceMap, Vec<u8>) {
        let bytes = sample.manifest.encode();
        let manifest_pieces = ManifestPieces::of(&bytes, sample.manifest.piece_len);
        (PieceMap::new(manifest_pieces, &sample.manifest), bytes)
    }

    fn assert_pieces_of_files(sample: &Sample, bit: Index) {
        let (manifest, (map, _)) = (&sample.manifest, map_of(sample));
        let mut seen: Vec<Vec<u8>> = sample.contents.iter().map(|c| vec![0; c.len()]).collect();
        for piece in map.manifest_pieces().count()..map.count() {
            let bytes = sample.piece(&map, piece);
            assert_eq!(bytes.len(), map.len(manifest, piece) as usize);
            let largest =
                map.extents(manifest, piece).map(|e| manifest.entries[e.entry as usize].size);
            let most = piece_len_of(largest.max().unwrap(), manifest.piece_len);
            assert!(!bytes.is_empty() && bytes.len() <= most as usize);
            assert_verified(|bytes| map.verify(manifest, piece, bytes), &bytes, bit);
            for e in map.extents(manifest, piece) {
                let range = e.offset as usize..e.offset as usize + e.len as usize;
                seen[e.entry as usize][range].iter_mut().for_each(|times| *times += 1);
                assert!(map.of_entry(manifest, e.entry).contains(&piece));
            }
        }
        assert!(seen.iter().flatten().all(|&times| times == 1), "each byte once");
        let pieces_of = |entry| map.of_entry(manifest, entry).len();
        for (entry, contents) in (0..).zip(&sample.contents) {
            assert_eq!(pieces_of(entry) == 0, contents.is_empty(), "entry {entry}");
        }
        assert_eq!(map.extents(manifest, map.count()).count(), 0);
    }

    proptest! {
        #[test]
        fn pieces_cover_every_byte_once_and_verify(sample in trees(30), bit in any::<Index>()) {
            assert_pieces_of_files(&sample, bit);
        }
    }

    #[test]
    fn a_very_large_file_has_longer_pieces_beside_the_short_ones_of_others() {
        let sample = Sample::of_files(P, &[100, 33_554_432, 33_554_433, 4097]);
        let (manifest, (map, encoded)) = (&sample.manifest, map_of(&sample));
        let first = map.manifest_pieces().count();
        let ranges = [1, 2, 3, 4].map(|entry| map.of_entry(manifest, entry));
        let places = [0..1, 1..8193, 8193..10_242, 10_242..10_244];
        assert_eq!(ranges, places.map(|p: Range<u32>| first + p.start..first + p.end));
        assert_eq!(map.count(), first + 10_244);
        for (at, entry, offset, len) in [
            (8192, 2, 33_550_336, 4096),
            (8193, 3, 0, 16_384),
            (8194, 3, 16_384, 16_384),
            (10_241, 3, 33_554_432, 1),
            (10_243, 4, 4096, 1),
        ] {
            let extents: Vec<Extent> = map.extents(manifest, first + at).collect();
            assert_eq!(extents, [Extent { entry, offset, len }]);
            let mut bytes = sample.piece(&map, first + at);
            assert_eq!(map.verify(manifest, first + at, &bytes), Ok(()));
            bytes[len as usize - 1] ^= 1;
            assert_eq!(map.verify(manifest, first + at, &bytes), Err(WrongBytes));
        }
        assert_eq!(Manifest::decode(&encoded).as_ref(), Ok(manifest));
    }

    /// Both ends must come to this: a piece has a number, and nothing else.
    #[test]
    fn packs_are_filled_in_order_and_larger_files_follow() {
        let sizes = [0, 1, 4096, 4095, 2, 4097, 100, 20_000, 0, 3000, 3000];
        let sample = Sample::of_files(P, &sizes);
        let (map, _) = map_of(&sample);
        let entries = |piece| map.extents(&sample.manifest, piece).map(|e| e.entry).collect();
        let first = map.manifest_pieces().count();
        let found: Vec<Vec<u32>> = (first..map.count()).map(entries).collect();
        let packs = [&[2][..], &[3], &[4], &[5, 7, 10], &[11]];
        let large = [&[6][..], &[6], &[8], &[8], &[8], &[8], &[8]];
        assert_eq!(found, [&packs[..], &large].concat());
        assert_eq!(map.of_entry(&sample.manifest, 1), 0..0, "an empty file has no piece");
    }

    #[test]
    fn packs_are_bounded_in_files() {
        let (map, _) = map_of(&Sample::of_files(P, &[1; PACK_FILES_MAX + 1]));
        assert_eq!(map.count() - map.manifest_pieces().count(), 2);
    }
}
