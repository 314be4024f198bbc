//! What is to be in the destination, and where: none of it changes.
//!
//! Knows the manifest and the operator's wishes; has touched no disk.

use super::super::attributes::{AttributeError, Wanted};
use super::super::error::{DestError, SET_ATTRIBUTES};
use super::super::name;
use super::super::xattrs::XattrError;
use nix::errno::Errno;
use peer::content::manifest::{Entry, EntryKind, Manifest};
use peer::content::pieces::{Extent, PieceMap};
use sorted::SortedMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

pub struct Target {
    /// The destination, as the operator named it.
    pub base: PathBuf,
    pub manifest: Rc<Manifest>,
    pub map: Rc<PieceMap>,
    /// What the only file must have before it gets its name.
    pub sha256: Option<[u8; 32]>,
    /// How many other names a file has in the manifest.
    other_names: SortedMap<u32, u64>,
}

impl Target {
    pub fn new(
        base: PathBuf,
        sha256: Option<[u8; 32]>,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> Target {
        let mut other_names: SortedMap<u32, u64> = SortedMap::new();
        for entry in &manifest.entries {
            if let EntryKind::Hardlink(file) = entry.kind {
                *other_names.get_or_insert_with(file, || 0) += 1;
            }
        }
        Target { base, manifest, map, sha256, other_names }
    }

    pub fn entry(&self, entry: u32) -> &Entry {
        &self.manifest.entries[entry as usize]
    }

    /// The entry that has the bytes of this one.
    pub fn file_entry(&self, entry: u32) -> u32 {
        match self.entry(entry).kind {
            EntryKind::Hardlink(file) => file,
            _ => entry,
        }
    }

    pub fn path(&self, entry: u32) -> PathBuf {
        name::full_path(&self.base, &self.manifest.path(entry))
    }

    pub fn temporary_name(&self, entry: u32) -> Vec<u8> {
        name::temporary(&self.manifest, entry)
    }

    /// What an entry is to be.
    pub fn wanted(&self, entry: u32) -> Wanted<'_> {
        let entry = self.entry(entry);
        Wanted { entry, xattrs: self.manifest.xattrs_of(entry), is_bare: false }
    }

    /// Why an entry has not got its attributes.
    pub fn attributes_failed(&self, entry: u32, error: AttributeError) -> DestError {
        match error {
            AttributeError::Xattr(XattrError { name, cause }) => {
                DestError::Xattr { path: self.path(entry), name, cause }
            }
            AttributeError::Other(cause) => self.failed(SET_ATTRIBUTES, entry, cause),
        }
    }

    /// An error that names an entry's path.
    pub fn failed(&self, doing: &'static str, entry: u32, cause: Errno) -> DestError {
        DestError::Io { doing, path: self.path(entry), cause }
    }

    pub fn pieces(&self, entry: u32) -> Range<u32> {
        self.map.of_entry(&self.manifest, entry)
    }

    /// Whether a file has pieces of its own, and not a place in a pack.
    pub fn is_large(&self, entry: u32) -> bool {
        self.entry(entry).size > u64::from(self.map.piece_len())
    }

    /// The stretch of a file that one of its pieces holds.
    pub fn extent(&self, entry: u32, piece: u32) -> Extent {
        match self.is_large(entry) {
            true => self.map.extent_of_large(&self.manifest, piece),
            false => Extent { entry, offset: 0, len: self.entry(entry).size as u32 },
        }
    }

    /// The names that a file has in the manifest, all told.
    pub fn names_count(&self, entry: u32) -> u64 {
        1 + self.other_names.get(&entry).copied().unwrap_or(0)
    }
}

#[cfg(test)]
impl Target {
    /// What is to be below a directory: these entries, with the digests of the
    /// pieces of large ones, of 4096 bytes each.
    pub fn of_entries(
        base: &std::path::Path,
        entries: impl IntoIterator<Item = Entry>,
        lists: Vec<peer::content::digest::Digest>,
    ) -> Target {
        use peer::content::pieces::ManifestPieces;
        let entries = [Entry::bare_root()].into_iter().chain(entries).collect();
        let manifest =
            Manifest { piece_len: 4096, root_described: true, entries, lists, xattrs: Vec::new() };
        let manifest_pieces = ManifestPieces::of(&manifest.encode(), manifest.piece_len);
        let map = Rc::new(PieceMap::new(manifest_pieces, &manifest));
        Target::new(base.into(), None, Rc::new(manifest), map)
    }
}
