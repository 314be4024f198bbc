//! A tree of files in memory, its manifest, and the bytes of each piece.
//!
//! Bytes follow from the file's number and the offset, so that no two pieces
//! are alike and nothing has to be kept to compare with.

use peer::content::digest::{self, Digest};
use peer::content::manifest::{Entry, EntryKind, Manifest};
use peer::content::pieces::{ManifestPieces, PieceMap};
use std::rc::Rc;

/// The shortest that there is: small trees have many pieces.
pub const PIECE_LEN: u32 = 4096;
/// Where piece n begins in `pieces`: docs/protocol.md, "Name space".
pub const STRIDE: u64 = 4 * PIECE_LEN as u64;

pub struct Tree {
    pub manifest: Rc<Manifest>,
    pub encoded: Vec<u8>,
    pub map: PieceMap,
}

impl Tree {
    /// Files of these names and sizes; `dir/name` lies in a directory.
    pub fn of(files: &[(&'static str, u64)]) -> Rc<Tree> {
        let mut entries = vec![Entry::bare_root()];
        let mut top: Vec<&str> = files.iter().map(|(path, _)| first_name(path)).collect();
        top.sort_unstable();
        top.dedup();
        for name in &top {
            let file = files.iter().find(|(path, _)| path == name);
            let kind = if file.is_some() { EntryKind::File } else { EntryKind::Dir };
            entries.push(named(0, name, kind, file.map_or(0, |(_, size)| *size)));
        }
        for (at, dir) in top.iter().enumerate() {
            let below = |(path, size): &(&'static str, u64)| {
                Some((path.strip_prefix(dir)?.strip_prefix('/')?, *size))
            };
            let mut below: Vec<(&str, u64)> = files.iter().filter_map(below).collect();
            below.sort_unstable();
            for (name, size) in below {
                entries.push(named(at as u32 + 1, name, EntryKind::File, size));
            }
        }
        Tree::from_entries(entries)
    }

    /// These entries, their digests and lists added.
    pub fn from_entries(mut entries: Vec<Entry>) -> Rc<Tree> {
        let mut lists = Vec::new();
        for (number, entry) in entries.iter_mut().enumerate() {
            if entry.kind != EntryKind::File {
                continue;
            }
            let bytes = bytes_of(number as u32, 0, entry.size as usize);
            entry.digest = Digest::of(&bytes);
            if entry.size > u64::from(PIECE_LEN) {
                lists.extend(digest::list_of(&bytes, PIECE_LEN));
            }
        }
        let manifest = Manifest {
            piece_len: PIECE_LEN,
            root_described: true,
            entries,
            lists,
            xattrs: Vec::new(),
        };
        let encoded = manifest.encode();
        let map = PieceMap::new(ManifestPieces::of(&encoded, PIECE_LEN), &manifest);
        Rc::new(Tree { manifest: Rc::new(manifest), encoded, map })
    }

    /// One file of so many pieces: with the manifest's, which is piece 0, one
    /// more in all.
    pub fn of_pieces(count: u32) -> Rc<Tree> {
        let tree = Tree::of(&[("file", u64::from(count) * u64::from(PIECE_LEN))]);
        assert_eq!(tree.map.count(), count + 1, "the manifest is one piece");
        tree
    }

    pub fn digest(&self) -> Digest {
        self.map.manifest_pieces().generation
    }

    /// The bytes of a piece.
    pub fn piece(&self, piece: u32) -> Vec<u8> {
        let first = self.map.manifest_pieces();
        if piece < first.count() {
            return self.encoded[first.range(piece)].to_vec();
        }
        let extents = self.map.extents(&self.manifest, piece);
        extents.flat_map(|e| bytes_of(e.entry, e.offset, e.len as usize)).collect()
    }

    /// The bytes of a file.
    pub fn file(&self, path: &str) -> Vec<u8> {
        let entry = self.manifest.find(path.as_bytes(), false).expect("it is in the tree");
        bytes_of(entry, 0, self.manifest.entries[entry as usize].size as usize)
    }
}

fn first_name(path: &str) -> &str {
    path.split_once('/').map_or(path, |(dir, _)| dir)
}

pub fn named(parent: u32, name: &str, kind: EntryKind, size: u64) -> Entry {
    Entry { parent, name: name.as_bytes().into(), kind, size, ..Entry::bare_root() }
}

/// A stretch of the file that has this entry's number.
pub fn bytes_of(entry: u32, offset: u64, len: usize) -> Vec<u8> {
    let byte = |at: u64| {
        let word = (at / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(entry) << 40;
        (word >> (8 * (at % 8))) as u8 ^ entry as u8
    };
    (offset..offset + len as u64).map(byte).collect()
}
