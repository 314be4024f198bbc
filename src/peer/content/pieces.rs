//! The pieces of a generation: what each holds, and what its bytes must be.
//!
//! Pieces are numbered through the whole generation: first those of the manifest
//! itself, then packs of small files, then the pieces of each larger file. A
//! pack holds whole files, each verified by its own digest, so ten thousand
//! small files travel as a few hundred pieces and are hashed once.
//! Everything here follows from the manifest alone: both ends compute it.

use super::digest::{self, Digest};
use super::manifest::{EntryKind, Manifest, piece_len_of, stride};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Most files of one pack: bounds what one reply has to open.
pub const PACK_FILES_MAX: usize = 1024;

/// A stretch of one file within a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub entry: u32,
    pub offset: u64,
    pub len: u32,
}

/// A piece's bytes are not what the manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongBytes;

/// The pieces of one generation whose manifest is known.
#[derive(Clone, Debug)]
pub struct PieceMap {
    piece_len: u32,
    manifest_pieces: ManifestPieces,
    /// Entries of small files, in order; packs are ranges of it.
    small: Vec<u32>,
    /// Where each pack begins in `small`, and an end mark.
    packs: Vec<u32>,
    large: Vec<Large>,
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Large {
    entry: u32,
    first_piece: u32,
    list_start: usize,
}

/// The first pieces: those of the manifest itself, known before the manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestPieces {
    pub generation: Digest,
    pub manifest_len: u64,
    pub piece_len: u32,
    /// Digests of the manifest's pieces; empty when it fits into one.
    pub list: Vec<Digest>,
}

impl ManifestPieces {
    /// For a manifest that one holds.
    pub fn of(bytes: &[u8], piece_len: u32) -> ManifestPieces {
        let list = if bytes.len() > piece_len as usize {
            let piece = |(i, c)| digest::of_piece(i as u64 * u64::from(piece_len), c);
            bytes.chunks(piece_len as usize).enumerate().map(piece).collect()
        } else {
            Vec::new()
        };
        let manifest_len = bytes.len() as u64;
        let whole = digest::of_list(&list, manifest_len, piece_len);
        let generation = whole.unwrap_or_else(|| Digest::of(bytes));
        ManifestPieces { generation, manifest_len, piece_len, list }
    }

    /// For a manifest to be fetched: takes the list only when it is right.
    pub fn from_list(
        generation: Digest,
        manifest_len: u64,
        piece_len: u32,
        bytes: &[u8],
    ) -> Result<ManifestPieces, WrongBytes> {
        let mut list = Vec::new();
        digest::read_list(bytes, &mut list);
        let needed = manifest_len > u64::from(piece_len);
        let right = match needed {
            false => list.is_empty(),
            true => digest::of_list(&list, manifest_len, piece_len) == Some(generation),
        };
        if right {
            Ok(ManifestPieces { generation, manifest_len, piece_len, list })
        } else {
            Err(WrongBytes)
        }
    }

    pub fn count(&self) -> u32 {
        self.manifest_len.div_ceil(u64::from(self.piece_len)) as u32
    }

    /// From the place of one piece in the stream of all to that of the next.
    pub fn stride(&self) -> u32 {
        stride(self.piece_len)
    }

    /// The part of the manifest that a piece holds.
    pub fn range(&self, piece: u32) -> Range<usize> {
        let start = u64::from(piece) * u64::from(self.piece_len);
        let end = (start + u64::from(self.piece_len)).min(self.manifest_len);
        start as usize..end as usize
    }

    pub fn verify(&self, piece: u32, bytes: &[u8]) -> Result<(), WrongBytes> {
        let range = self.range(piece);
        let right = bytes.len() == range.len()
            && match self.list.get(piece as usize) {
                Some(wanted) => digest::of_piece(range.start as u64, bytes) == *wanted,
                None => Digest::of(bytes) == self.generation,
            };
        if right { Ok(()) } else { Err(WrongBytes) }
    }
}

impl PieceMap {
    pub fn new(manifest_pieces: ManifestPieces, manifest: &Manifest) -> PieceMap {
        let limit = u64::from(manifest.piece_len);
        let mut map = PieceMap {
            piece_len: manifest.piece_len,
            manifest_pieces,
            small: Vec::new(),
            packs: vec![0],
            large: Vec::new(),
            count: 0,
        };
        let mut pack_len = 0;
        for (number, entry) in manifest.entries.iter().enumerate() {
            if entry.kind != EntryKind::File || entry.size == 0 || entry.size > limit {
                continue;
            }
            let files = map.small.len() - map.packs[map.packs.len() - 1] as usize;
            if pack_len + entry.size > limit || files == PACK_FILES_MAX {
                map.packs.push(map.small.len() as u32);
                pack_len = 0;
            }
            map.small.push(number as u32);
            pack_len += entry.size;
        }
        if pack_len > 0 {
            map.packs.push(map.small.len() as u32);
        }
        let mut next = map.manifest_pieces.count() + map.packs.len() as u32 - 1;
        for (entry, list) in manifest.files_with_lists() {
            map.large.push(Large { entry, first_piece: next, list_start: list.start });
            next += list.len() as u32;
        }
        map.count = next;
        map
    }

    /// All pieces, those of the manifest included.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn manifest_pieces(&self) -> &ManifestPieces {
        &self.manifest_pieces
    }

    pub fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// The stretches of files in a piece, in the order of its bytes. None for
    /// the pieces of the manifest.
    pub fn extents<'a>(&'a self, manifest: &'a Manifest, piece: u32) -> Extents<'a> {
        let content = piece.wrapping_sub(self.manifest_pieces.count());
        let packs = self.packs.len() as u32 - 1;
        if piece < self.manifest_pieces.count() || piece >= self.count {
            Extents { manifest, small: &[], single: None }
        } else if content < packs {
            let at = content as usize;
            let small = &self.small[self.packs[at] as usize..self.packs[at + 1] as usize];
            Extents { manifest, small, single: None }
        } else {
            Extents { manifest, small: &[], single: Some(self.extent_of_large(manifest, piece)) }
        }
    }

    /// The stretch of a file that a piece of its own holds.
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

    /// Bytes of a piece.
    pub fn len(&self, manifest: &Manifest, piece: u32) -> u32 {
        if piece < self.manifest_pieces.count() {
            self.manifest_pieces.range(piece).len() as u32
        } else {
            self.extents(manifest, piece).map(|e| e.len).sum()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
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
    pub fn verify(&self, manifest: &Manifest, piece: u32, bytes: &[u8]) -> Result<(), WrongBytes> {
        if piece < self.manifest_pieces.count() {
            return self.manifest_pieces.verify(piece, bytes);
        }
        if bytes.len() != self.len(manifest, piece) as usize {
            return Err(WrongBytes);
        }
        let mut rest = bytes;
        for extent in self.extents(manifest, piece) {
            let (part, after) = rest.split_at(extent.len as usize);
            self.verify_extent(manifest, piece, extent, part)?;
            rest = after;
        }
        Ok(())
    }

    /// Whether these bytes are that stretch of that file: for what is on disk
    /// already, where the rest of a pack may be missing.
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

/// Iterates over the extents of one piece.
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
    use crate::content::samples::{Sample, trees};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    const P: u32 = 4096;

    /// The sample's pieces, and the bytes of its manifest.
    fn map_of(sample: &Sample) -> (PieceMap, Vec<u8>) {
        let bytes = sample.manifest.encode();
        let manifest_pieces = ManifestPieces::of(&bytes, sample.manifest.piece_len);
        (PieceMap::new(manifest_pieces, &sample.manifest), bytes)
    }

    /// Right as they are, and wrong with one bit flipped or one byte less.
    fn assert_verified(verify: impl Fn(&[u8]) -> Result<(), WrongBytes>, bytes: &[u8], bit: Index) {
        assert_eq!(verify(bytes), Ok(()));
        let mut bad = bytes.to_vec();
        let bit = bit.index(bytes.len() * 8);
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify(&bad), Err(WrongBytes), "bit {bit}");
        assert_eq!(verify(&bytes[1..]), Err(WrongBytes));
        assert_eq!(verify(&[bytes, &[0]].concat()), Err(WrongBytes));
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

        #[test]
        fn the_manifest_comes_in_pieces_of_its_own(
            sizes in vec(1..3usize, 0..400),
            bit in any::<Index>(),
        ) {
            let sample = Sample::of_files(P, &sizes);
            let (map, bytes) = map_of(&sample);
            let pieces = map.manifest_pieces();
            let mut end = 0;
            for piece in 0..pieces.count() {
                let range = pieces.range(piece);
                prop_assert_eq!(range.start, end);
                end = range.end;
                assert_verified(|bytes| pieces.verify(piece, bytes), &bytes[range], bit);
                prop_assert_eq!(map.extents(&sample.manifest, piece).count(), 0);
            }
            prop_assert_eq!(end, bytes.len());
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

    #[test]
    fn the_list_of_a_manifest_is_taken_when_it_is_right() {
        let (map, bytes) = map_of(&Sample::of_files(P, &[1; 200]));
        let (pieces, len) = (map.manifest_pieces(), bytes.len() as u64);
        assert!(pieces.count() > 2);
        let raw: Vec<u8> = pieces.list.iter().flat_map(|d| d.0).collect();
        let take = |raw: &[u8]| ManifestPieces::from_list(pieces.generation, len, P, raw);
        assert_eq!(take(&raw).as_ref(), Ok(pieces));
        let mut bad = raw.clone();
        bad[40] ^= 1;
        for wrong in [&bad[..], &[], &raw[32..], &[&raw[..], &[0; 32]].concat()] {
            assert_eq!(take(wrong), Err(WrongBytes));
        }
        let (one, bytes) = map_of(&Sample::of_files(P, &[1]));
        let (one, len) = (one.manifest_pieces(), bytes.len() as u64);
        assert_eq!(ManifestPieces::from_list(one.generation, len, P, &[]).as_ref(), Ok(one));
        let needless = ManifestPieces::from_list(one.generation, len, P, &[0; 32]);
        assert_eq!(needless, Err(WrongBytes));
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
