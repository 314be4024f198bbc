//! One generation as a node holds it: its manifest, and which pieces are here.
//!
//! Knows what is complete enough to be served. Refuses to know where the
//! bytes lie: content is named by entry and offset, and moved by `drive`.

use crate::content::digest::Digest;
use crate::content::manifest::{EntryKind, Manifest, piece_len_of};
use crate::content::pieces::{ManifestPieces, PieceMap};
use std::rc::Rc;

/// A set of piece numbers.
#[derive(Clone, Debug, Default)]
pub struct PieceSet {
    words: Vec<u64>,
}

impl PieceSet {
    pub fn contains(&self, piece: u32) -> bool {
        self.words.get(piece as usize / 64).is_some_and(|word| word >> (piece % 64) & 1 == 1)
    }

    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Whether it was new.
    pub fn insert(&mut self, piece: u32) -> bool {
        let at = piece as usize / 64;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let new = self.words[at] >> (piece % 64) & 1 == 0;
        self.words[at] |= 1 << (piece % 64);
        new
    }
}

/// A manifest and the pieces that follow from it.
#[derive(Debug)]
pub struct Content {
    pub manifest: Rc<Manifest>,
    pub map: Rc<PieceMap>,
}

/// Which pieces of a generation a node holds.
#[derive(Clone, Debug)]
enum Held {
    /// The master, of what it serves.
    All,
    Some(PieceSet),
}

#[derive(Debug)]
pub struct Generation {
    pub head: ManifestPieces,
    /// The encoded manifest; its pieces fill in as they arrive.
    pub manifest_bytes: Vec<u8>,
    /// Known once all of the manifest is here.
    pub content: Option<Rc<Content>>,
    /// Where a master has the files; a client has them in its destination.
    pub origin: Option<Origin>,
    /// Whether the list of the manifest's pieces is here.
    pub list_known: bool,
    held: Held,
    /// Pieces that this node will never have: their files cannot be written.
    lost: PieceSet,
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
        let manifest_bytes = manifest.encode();
        let head = ManifestPieces::of(&manifest_bytes, manifest.piece_len);
        let map = PieceMap::new(head.clone(), &manifest);
        let content = Some(Rc::new(Content { manifest, map: Rc::new(map) }));
        Generation {
            head,
            manifest_bytes,
            content,
            origin,
            list_known: true,
            held: Held::All,
            lost: PieceSet::default(),
        }
    }

    /// What a client begins with: nothing.
    pub fn empty(head: ManifestPieces) -> Generation {
        let manifest_bytes = vec![0; head.manifest_len as usize];
        let list_known = head.count() <= 1 || !head.list.is_empty();
        let held = Held::Some(PieceSet::default());
        let lost = PieceSet::default();
        Generation { head, manifest_bytes, content: None, origin: None, list_known, held, lost }
    }

    pub fn digest(&self) -> Digest {
        self.head.generation
    }

    pub fn holds(&self, piece: u32) -> bool {
        match &self.held {
            Held::All => piece < self.pieces_count().unwrap_or(0),
            Held::Some(set) => set.contains(piece),
        }
    }

    /// Notes a piece as one that will never be here.
    pub fn lose(&mut self, piece: u32) {
        self.lost.insert(piece);
    }

    pub fn has_lost(&self, piece: u32) -> bool {
        self.lost.contains(piece)
    }

    /// Notes a verified piece as held; whether that is news.
    pub fn insert(&mut self, piece: u32) -> bool {
        match &mut self.held {
            Held::All => false,
            Held::Some(set) => set.insert(piece),
        }
    }

    /// `None` while the manifest is not known.
    pub fn pieces_count(&self) -> Option<u32> {
        self.content.as_ref().map(|content| content.map.count())
    }

    /// Bytes of a piece, where that is known.
    pub fn piece_len(&self, piece: u32) -> Option<u32> {
        if piece < self.head.count() {
            return Some(self.head.range(piece).len() as u32);
        }
        let content = self.content.as_ref()?;
        (piece < content.map.count()).then(|| content.map.len(&content.manifest, piece))
    }

    /// The first piece missing of those that hold this stretch of a file.
    pub fn missing(&self, entry: u32, offset: u64, len: u64) -> Option<u32> {
        let content = self.content.as_ref()?;
        let mut pieces = content.map.of_entry(&content.manifest, entry);
        let size = content.manifest.entries[entry as usize].size;
        let piece_len = u64::from(piece_len_of(size, content.map.piece_len()));
        let end = offset.saturating_add(len).div_ceil(piece_len).min(pieces.len() as u64);
        pieces.end = pieces.start + end as u32;
        pieces.skip((offset / piece_len) as usize).find(|&piece| !self.holds(piece))
    }

    /// The entry that has the bytes: a hard link's is the file that it names.
    pub fn file_of(&self, entry: u32) -> u32 {
        let content = self.content.as_ref();
        match content.map(|c| c.manifest.entries[entry as usize].kind) {
            Some(EntryKind::Hardlink(target)) => target,
            _ => entry,
        }
    }
}
