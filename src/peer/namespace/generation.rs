//! One generation as a node holds it: its manifest, and which pieces are here.
//!
//! Knows what is complete enough to be served. Refuses to know where the
//! bytes lie: content is named by entry and offset, and moved by the driver.

use crate::content::digest::Digest;
use crate::content::holdings::Holdings;
use crate::content::manifest::{Entry, EntryKind, Manifest, piece_len_of};
use crate::content::pieces::{ManifestPieces, PieceMap};
use alloc::collections::TryReserveError;
use alloc::rc::Rc;
use alloc::vec::Vec;
use sorted::SortedMap;

/// A generation that a node serves, by number: from 1, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(pub u32);

/// A manifest and the pieces that follow from it.
#[derive(Debug)]
pub struct Content {
    /// Every entry of the tree.
    pub manifest: Rc<Manifest>,
    /// What each piece holds.
    pub map: Rc<PieceMap>,
}

/// The bytes of an encoded manifest. What is not whole and decoded can be had by
/// the piece alone, each of which was verified: nobody can take what is not here
/// for zeros.
#[derive(Debug)]
enum ManifestBytes {
    /// As long as the last piece that came; which of them are here the holdings say.
    InPieces(Vec<u8>),
    Whole(Rc<Vec<u8>>),
}

/// One state of what is served, as far as this node knows and has it.
///
/// How much of the manifest is known grows in three steps: announced (digest
/// and length), listed (the digests of its pieces), and whole (`content`).
#[derive(Debug)]
pub struct Generation {
    /// The first pieces, those of the manifest itself.
    pub manifest_pieces: ManifestPieces,
    /// The encoded manifest, as far as it is here.
    manifest: ManifestBytes,
    /// Known once all of the manifest is here.
    pub content: Option<Rc<Content>>,
    /// Where a master has the files; a client has them in its destination.
    pub origin: Option<Origin>,
    /// Which pieces are here.
    pub(crate) holdings: Holdings,
    /// How many names each entry's file has; empty where none has two.
    names: Vec<u32>,
    /// Files of a master that are not what was hashed any more, by entry, in order.
    changed: Vec<u32>,
    /// SHA-256 of files that were asked for, or that it could not be had, by
    /// entry. A peer chooses which; to hash one costs more than its place here.
    pub(super) checksums: SortedMap<u32, Result<[u8; 32], ()>>,
}

/// Where the bytes of a master's generation are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which scan of the served tree.
    pub scan: u32,
    /// For a selection: the scan's entry for each entry.
    pub entries: Option<Vec<u32>>,
}

impl Origin {
    /// The scan's entry for an entry of the generation.
    pub fn entry(&self, entry: u32) -> u32 {
        match &self.entries {
            Some(entries) => entries[entry as usize],
            None => entry,
        }
    }
}

impl Generation {
    /// What a master serves: everything is here.
    pub fn whole(manifest: Rc<Manifest>, origin: Option<Origin>) -> Generation {
        let bytes = manifest.encode();
        let manifest_pieces = ManifestPieces::of(&bytes, manifest.piece_len);
        let map = PieceMap::new(manifest_pieces.clone(), &manifest);
        let holdings = Holdings::all(map.count());
        let names = names_of_files(&manifest);
        let content = Some(Rc::new(Content { manifest, map: Rc::new(map) }));
        let (manifest, checksums) = (ManifestBytes::Whole(Rc::new(bytes)), SortedMap::new());
        Generation {
            manifest_pieces,
            manifest,
            content,
            origin,
            holdings,
            names,
            changed: Vec::new(),
            checksums,
        }
    }

    /// What a client begins with: nothing but what was announced. Its pieces
    /// are counted by so many stripes.
    pub(crate) fn empty(manifest_pieces: ManifestPieces, stripes: u8) -> Generation {
        let mut generation = Generation {
            manifest_pieces,
            manifest: ManifestBytes::InPieces(Vec::new()),
            content: None,
            origin: None,
            holdings: Holdings::none(stripes),
            names: Vec::new(),
            changed: Vec::new(),
            checksums: SortedMap::new(),
        };
        generation.expect_manifest();
        generation
    }

    /// The list of the manifest's pieces has arrived and is right.
    pub(super) fn set_list(&mut self, list: Vec<Digest>) {
        self.manifest_pieces.list = list;
        self.expect_manifest();
    }

    /// The manifest's pieces are missing from the moment when each can be verified.
    fn expect_manifest(&mut self) {
        if self.list_known() {
            self.holdings.extend(self.manifest_pieces.count());
        }
    }

    /// Keeps a piece of the manifest that was verified: memory is taken as bytes
    /// come, whatever length was announced.
    ///
    /// # Errors
    /// There is none left.
    pub(super) fn put_manifest(&mut self, piece: u32, bytes: &[u8]) -> Result<(), TryReserveError> {
        let ManifestBytes::InPieces(known) = &mut self.manifest else { return Ok(()) };
        let range = self.manifest_pieces.range(piece);
        if known.len() < range.end {
            known.try_reserve(range.end - known.len())?;
            known.resize(range.end, 0);
        }
        known[range].copy_from_slice(bytes);
        Ok(())
    }

    /// A piece of the manifest, if it is here.
    pub fn manifest_piece(&self, piece: u32) -> Option<&[u8]> {
        let known = match &self.manifest {
            ManifestBytes::InPieces(known) => known,
            ManifestBytes::Whole(whole) => &**whole,
        };
        known.get(self.manifest_pieces.range(piece)).filter(|_| self.holdings.holds(piece))
    }

    /// All of the manifest's pieces in a row, to be decoded.
    pub(crate) fn undecoded(&self) -> Option<&[u8]> {
        let ManifestBytes::InPieces(known) = &self.manifest else { return None };
        let mut pieces = 0..self.manifest_pieces.count();
        let is_whole = self.list_known() && pieces.all(|piece| self.holdings.holds(piece));
        is_whole.then_some(known)
    }

    /// The encoded manifest; `None` before it is whole and decoded.
    pub fn encoded(&self) -> Option<&Rc<Vec<u8>>> {
        match &self.manifest {
            ManifestBytes::Whole(whole) => Some(whole),
            ManifestBytes::InPieces(_) => None,
        }
    }

    /// The manifest is whole and decoded, and with it every other piece is known of, or
    /// those that there is room for.
    pub(super) fn set_content(&mut self, content: Rc<Content>, room: u32) {
        if let ManifestBytes::InPieces(known) = &mut self.manifest {
            self.manifest = ManifestBytes::Whole(Rc::new(core::mem::take(known)));
        }
        self.holdings.extend_within(room, content.map.count());
        self.names = names_of_files(&content.manifest);
        self.content = Some(content);
    }

    /// There is room for the pieces below this number.
    pub(super) fn extend(&mut self, room: u32) {
        if let Some(content) = &self.content {
            self.holdings.extend_within(room, content.map.count());
        }
    }

    /// The name of the generation.
    pub(crate) fn digest(&self) -> Digest {
        self.manifest_pieces.generation
    }

    /// Whether the list of the manifest's pieces is here. A manifest of one piece
    /// has none: the generation's digest is that of the piece.
    pub(crate) fn list_known(&self) -> bool {
        self.manifest_pieces.count() <= 1 || !self.manifest_pieces.list.is_empty()
    }

    /// `None` while the manifest is not known.
    pub(super) fn pieces_count(&self) -> Option<u32> {
        self.content.as_ref().map(|content| content.map.count())
    }

    /// Bytes of a piece, where that is known.
    pub(crate) fn piece_len(&self, piece: u32) -> Option<u32> {
        if piece < self.manifest_pieces.count() {
            return Some(self.manifest_pieces.range(piece).len() as u32);
        }
        let content = self.content.as_ref()?;
        (piece < content.map.count()).then(|| content.map.len(&content.manifest, piece))
    }

    /// The first piece missing of those that hold this stretch of a file.
    pub(super) fn missing(&self, entry: u32, offset: u64, len: u64) -> Option<u32> {
        let content = self.content.as_ref()?;
        let mut pieces = content.map.of_entry(&content.manifest, entry);
        let size = content.manifest.entries[entry as usize].size;
        let piece_len = u64::from(piece_len_of(size, content.map.piece_len()));
        let end = offset.saturating_add(len).div_ceil(piece_len).min(pieces.len() as u64);
        pieces.end = pieces.start + end as u32;
        pieces.skip((offset / piece_len) as usize).find(|&piece| !self.holdings.holds(piece))
    }

    /// Notes that a file is not what was hashed any more; whether that is news.
    pub(super) fn lose_file(&mut self, entry: u32) -> bool {
        let place = self.changed.binary_search(&entry);
        if let Err(place) = place {
            self.changed.insert(place, entry);
        }
        place.is_err()
    }

    /// The files are those of this scan from now on, and as it found them.
    pub(super) fn set_origin(&mut self, origin: Origin) {
        self.origin = Some(origin);
        self.changed.clear();
    }

    pub(super) fn has_changed(&self, entry: u32) -> bool {
        self.changed.binary_search(&entry).is_ok()
    }

    /// The piece will never be here, or not as a whole.
    pub(super) fn has_lost(&self, piece: u32) -> bool {
        let is_of_changed = |content: &Rc<Content>| {
            let mut extents = content.map.extents(&content.manifest, piece);
            extents.any(|extent| self.has_changed(extent.entry))
        };
        self.holdings.has_lost(piece)
            || (!self.changed.is_empty() && self.content.as_ref().is_some_and(is_of_changed))
    }

    /// The entry of this number; `None` also while the manifest is not known.
    pub(super) fn entry(&self, entry: u32) -> Option<&Entry> {
        self.content.as_ref()?.manifest.entries.get(entry as usize)
    }

    /// The entry that has the bytes: a hard link's is the file that it names.
    pub(super) fn file_of(&self, entry: u32) -> u32 {
        match self.entry(entry).map(|known| known.kind) {
            Some(EntryKind::Hardlink(target)) => target,
            _ => entry,
        }
    }

    /// How many names the file of an entry has in this tree.
    pub(super) fn nlink(&self, entry: u32) -> u32 {
        self.names.get(self.file_of(entry) as usize).copied().unwrap_or(1)
    }

    /// Bytes of the stream of all pieces, as far as it is known.
    pub(super) fn stream_len(&self) -> u64 {
        let count = self.pieces_count().unwrap_or(self.manifest_pieces.count());
        u64::from(count) * u64::from(self.manifest_pieces.stride())
    }

    /// The piece at an offset of the stream of all, and how far into it. `None`
    /// beyond the last; while the manifest is not known, there may be more.
    pub(super) fn piece_at(&self, offset: u64) -> Option<(u32, u32)> {
        let stride = u64::from(self.manifest_pieces.stride());
        let piece = u32::try_from(offset / stride).ok()?;
        let is_beyond = self.pieces_count().is_some_and(|count| piece >= count);
        (!is_beyond).then_some((piece, (offset % stride) as u32))
    }
}

fn names_of_files(manifest: &Manifest) -> Vec<u32> {
    let mut names = Vec::new();
    for entry in &manifest.entries {
        if let EntryKind::Hardlink(file) = entry.kind {
            if names.is_empty() {
                names.resize(manifest.entries.len(), 1);
            }
            names[file as usize] += 1;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::digest;
    use crate::content::manifest::stride;
    use crate::testing::small;

    const PIECE_LEN: u32 = 4096;

    /// What was announced of a manifest of two pieces, and its list.
    fn announced() -> (Generation, Vec<Digest>) {
        let bytes = [7; PIECE_LEN as usize + 1];
        let mut pieces = ManifestPieces::of(&bytes, PIECE_LEN);
        let list = core::mem::take(&mut pieces.list);
        (Generation::empty(pieces, 4), list)
    }

    #[test]
    fn the_manifest_is_announced_then_listed_then_whole() {
        let (mut generation, list) = announced();
        assert!(!generation.list_known());
        assert_eq!(generation.holdings.count(), 0, "none of them could be verified");
        generation.set_list(list);
        assert!(generation.list_known());
        assert_eq!((generation.holdings.count(), generation.pieces_count()), (2, None));
        assert_eq!((generation.piece_len(1), generation.piece_len(2)), (Some(1), None));
        let manifest = Rc::new(small());
        let map = Rc::new(PieceMap::new(generation.manifest_pieces.clone(), &manifest));
        generation.set_content(Rc::new(Content { manifest, map }), u32::MAX);
        assert_eq!((generation.holdings.count(), generation.pieces_count()), (3, Some(3)));
        assert_eq!(generation.piece_len(2), Some(5), "b and a/x");
    }

    #[test]
    fn pieces_of_a_manifest_are_kept_as_they_come_and_given_one_by_one() {
        let bytes: Vec<u8> = (0..3 * PIECE_LEN + 9).map(|at| at as u8 ^ (at >> 8) as u8).collect();
        let mut pieces = ManifestPieces::of(&bytes, PIECE_LEN);
        let range =
            |piece: u32| (piece * PIECE_LEN) as usize..bytes.len().min((piece as usize + 1) << 12);
        let list = core::mem::take(&mut pieces.list);
        let mut generation = Generation::empty(pieces, 4);
        generation.set_list(list);
        for piece in [1, 3, 0, 2] {
            assert_eq!((generation.manifest_piece(piece), generation.undecoded()), (None, None));
            generation.put_manifest(piece, &bytes[range(piece)]).unwrap();
            generation.holdings.hold(piece);
            assert_eq!(generation.manifest_piece(piece), Some(&bytes[range(piece)]));
            assert!(generation.encoded().is_none());
        }
        assert_eq!(generation.undecoded(), Some(&bytes[..]));
        let whole = Generation::whole(Rc::new(small()), None);
        assert_eq!(whole.manifest_piece(0), Some(&small().encode()[..]));
        assert_eq!(whole.encoded().map(|bytes| bytes.to_vec()), Some(small().encode()));
    }

    #[test]
    fn a_manifest_of_one_piece_needs_no_list() {
        let generation = Generation::empty(ManifestPieces::of(b"bytes", PIECE_LEN), 4);
        assert!(generation.list_known());
        assert_eq!(generation.holdings.count(), 1);
        assert_eq!(generation.digest(), Digest::of(b"bytes"));
    }

    #[test]
    fn an_offset_names_a_piece_and_the_way_into_it() {
        let (listed, stride) = (announced().0, u64::from(stride(PIECE_LEN)));
        assert_eq!(listed.piece_at(stride + 5), Some((1, 5)));
        assert_eq!(listed.piece_at(99 * stride), Some((99, 0)), "there may be so many");
        assert_eq!(listed.piece_at(u64::MAX), None);
        assert_eq!(listed.stream_len(), 2 * stride, "what is known so far");
        let whole = Generation::whole(Rc::new(small()), None);
        assert_eq!(whole.piece_at(stride), Some((1, 0)));
        assert_eq!(whole.piece_at(2 * stride), None);
        assert_eq!(whole.stream_len(), 2 * stride);
    }

    #[test]
    fn a_stretch_of_a_large_file_misses_the_pieces_that_it_touches() {
        let mut manifest = small();
        manifest.entries.truncate(2);
        let (list, size) = (vec![Digest::default(); 3], 2 * u64::from(PIECE_LEN) + 1);
        let digest = digest::of_list(&list, size, PIECE_LEN).unwrap();
        let file = Entry { size, digest, kind: EntryKind::File, ..manifest.entries[1].clone() };
        (manifest.entries[1], manifest.lists) = (file, list);
        let manifest = Rc::new(manifest);
        let pieces = ManifestPieces::of(&manifest.encode(), PIECE_LEN);
        let map = Rc::new(PieceMap::new(pieces.clone(), &manifest));
        let mut generation = Generation::empty(pieces, 4);
        generation.set_content(Rc::new(Content { manifest, map }), u32::MAX);
        let len = u64::from(PIECE_LEN);
        assert_eq!(generation.missing(1, len - 1, 1), Some(1));
        assert_eq!(generation.missing(1, len, 1), Some(2));
        generation.holdings.hold(1);
        assert_eq!(generation.missing(1, 0, len), None);
        assert_eq!(generation.missing(1, 0, len + 1), Some(2));
        assert_eq!(generation.missing(1, 0, u64::MAX), Some(2));
    }

    #[test]
    fn another_name_of_a_file_has_that_files_bytes() {
        let generation = Generation::whole(Rc::new(small()), None);
        assert_eq!((generation.file_of(7), generation.file_of(2)), (5, 2));
        assert_eq!(generation.file_of(99), 99, "there is no such entry");
        assert_eq!([0, 2, 5, 7, 99].map(|entry| generation.nlink(entry)), [1, 1, 2, 2, 1]);
        let origin = Origin { scan: 1, entries: Some(vec![0, 9]) };
        assert_eq!((origin.entry(1), Origin { entries: None, ..origin }.entry(1)), (9, 1));
    }
}
