//! One generation as a node holds it: its manifest, and which pieces are here.
//!
//! Knows what is complete enough to be served. Refuses to know where the
//! bytes lie: content is named by entry and offset, and moved by `drive`.

use crate::content::digest::Digest;
use crate::content::holdings::Holdings;
use crate::content::manifest::{EntryKind, Manifest, piece_len_of};
use crate::content::pieces::{ManifestPieces, PieceMap};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

/// A manifest and the pieces that follow from it.
#[derive(Debug)]
pub struct Content {
    pub manifest: Rc<Manifest>,
    pub map: Rc<PieceMap>,
}

#[derive(Debug)]
pub struct Generation {
    pub manifest_pieces: ManifestPieces,
    /// The encoded manifest; its pieces fill in as they arrive.
    pub manifest_bytes: Vec<u8>,
    /// Known once all of the manifest is here.
    pub content: Option<Rc<Content>>,
    /// Where a master has the files; a client has them in its destination.
    pub origin: Option<Origin>,
    /// Whether the list of the manifest's pieces is here.
    pub list_known: bool,
    pub holdings: Holdings,
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
        let manifest_pieces = ManifestPieces::of(&manifest_bytes, manifest.piece_len);
        let map = PieceMap::new(manifest_pieces.clone(), &manifest);
        let holdings = Holdings::all(map.count());
        let content = Some(Rc::new(Content { manifest, map: Rc::new(map) }));
        Generation { manifest_pieces, manifest_bytes, content, origin, list_known: true, holdings }
    }

    /// What a client begins with: nothing.
    pub fn empty(manifest_pieces: ManifestPieces, stripes: u8) -> Generation {
        let manifest_bytes = vec![0; manifest_pieces.manifest_len as usize];
        let list_known = manifest_pieces.count() <= 1 || !manifest_pieces.list.is_empty();
        let mut holdings = Holdings::none(stripes);
        if list_known {
            holdings.extend(manifest_pieces.count());
        }
        Generation {
            manifest_pieces,
            manifest_bytes,
            content: None,
            origin: None,
            list_known,
            holdings,
        }
    }

    pub fn digest(&self) -> Digest {
        self.manifest_pieces.generation
    }

    /// `None` while the manifest is not known.
    pub fn pieces_count(&self) -> Option<u32> {
        self.content.as_ref().map(|content| content.map.count())
    }

    /// Bytes of a piece, where that is known.
    pub fn piece_len(&self, piece: u32) -> Option<u32> {
        if piece < self.manifest_pieces.count() {
            return Some(self.manifest_pieces.range(piece).len() as u32);
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
        pieces.skip((offset / piece_len) as usize).find(|&piece| !self.holdings.holds(piece))
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
