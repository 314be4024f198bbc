//! A manifest and its entries as values, and what can be counted of them.
//!
//! Any manifest can be built here; that it keeps the rules (order, names,
//! lists) is the word of who scanned a tree, or was checked by
//! [`Manifest::decode`].

use super::limits::piece_len_of;
use super::xattrs::XattrSet;
use crate::content::digest::Digest;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Dir,
    /// A regular file under its first name.
    File,
    /// A symbolic link.
    Symlink,
    /// Another name of the file at this entry, which stands before this one.
    Hardlink(u32),
    /// A fifo or socket, which its mode tells; or a device of unknown number, of a master
    /// of an older version: listed so that it can be reported.
    Special,
    /// A character or block device, which its mode tells: its number as Linux keeps it, a
    /// major one of 12 bits above a minor one of 20.
    Device(u32),
    /// The master could not read it: listed so that it can be reported.
    Unreadable,
}

/// One name in the tree.
// fields: one for each thing that stat(2) and readlink(2) say, and two for the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The directory that holds it; entry 0, the root, is its own parent.
    pub parent: u32,
    /// One name without `/`; empty for the root.
    pub name: Box<[u8]>,
    /// What it is.
    pub kind: EntryKind,
    /// The source has holes: the copy gets them too. Only of a `File`.
    pub sparse: bool,
    /// Permission bits with setuid, setgid, sticky: 0o7777. For `Special`, `Device` and
    /// `Unreadable` the type bits too.
    pub mode: u32,
    /// The owner, by number.
    pub uid: u32,
    /// The group, by number.
    pub gid: u32,
    /// When it was last modified: seconds since 1970, and before it if negative.
    pub mtime_s: i64,
    /// Nanoseconds beyond `mtime_s`, less than a thousand million.
    pub mtime_ns: u32,
    /// Bytes of a `File`, else 0.
    pub size: u64,
    /// BLAKE3 of a `File`'s contents, else zero.
    pub digest: Digest,
    /// The target of a `Symlink`, else empty.
    pub link: Box<[u8]>,
    /// The number of its extended attributes in the manifest, from 1 on; 0 where it has
    /// none. Of a `Hardlink` its file's count.
    pub xattrs: u32,
}

impl Entry {
    /// A directory entry with nothing known of it: root of many sources.
    pub fn bare_root() -> Entry {
        Entry {
            parent: 0,
            name: Box::default(),
            kind: EntryKind::Dir,
            sparse: false,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            mtime_ns: 0,
            size: 0,
            digest: Digest::default(),
            link: Box::default(),
            xattrs: 0,
        }
    }

    /// Whether it is a fifo, a socket or a device, and all is known that it takes to make it.
    pub fn is_special(&self) -> bool {
        let is_fifo_or_socket = matches!(self.mode & 0o170_000, 0o010_000 | 0o140_000);
        match self.kind {
            EntryKind::Special => is_fifo_or_socket,
            EntryKind::Device(_) => true,
            _ => false,
        }
    }

    /// Pieces of the file's list: none when it fits into one piece of
    /// `piece_len` bytes.
    pub(crate) fn list_len(&self, piece_len: u32) -> usize {
        match self.kind {
            EntryKind::File if self.size > u64::from(piece_len) => {
                self.size.div_ceil(u64::from(piece_len_of(self.size, piece_len))) as usize
            }
            _ => 0,
        }
    }
}

/// Every entry of a generation and the digests of its pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Bytes of a piece of this generation; longer files have longer ones, see
    /// [`piece_len_of`].
    pub piece_len: u32,
    /// The root directory carries attributes of its own. Not so when several
    /// sources land side by side in a directory that no source describes.
    pub root_described: bool,
    /// The root, then all others breadth first.
    pub entries: Vec<Entry>,
    /// Piece digests of the files of more than one piece, in entry order.
    pub lists: Vec<Digest>,
    /// The sets of extended attributes that entries have, each once, in the order of the
    /// first entries that have them.
    pub xattrs: Vec<XattrSet>,
}

impl Manifest {
    /// A tree of these entries, whose root is described. The lists of longer files, and the
    /// sets of attributes that entries name, are the caller's to add.
    pub fn of_entries(piece_len: u32, entries: Vec<Entry>) -> Manifest {
        let (lists, xattrs) = (Vec::new(), Vec::new());
        Manifest { piece_len, root_described: true, entries, lists, xattrs }
    }

    /// Each file that has a piece list, in entry order, and where in `lists` it
    /// is.
    pub(crate) fn files_with_lists(&self) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
        let mut end = 0;
        self.entries.iter().enumerate().filter_map(move |(number, entry)| {
            let start = end;
            end += entry.list_len(self.piece_len);
            (end > start).then_some((number as u32, start..end))
        })
    }

    /// The extended attributes of an entry, if it has any. Of another name of a file those of
    /// the file are meant.
    pub fn xattrs_of(&self, entry: &Entry) -> Option<&XattrSet> {
        self.xattrs.get((entry.xattrs as usize).checked_sub(1)?)
    }

    /// Takes those of these sets that entries have, by their numbers there, and gives the
    /// entries their numbers here: in the order of first use.
    pub fn take_xattrs(&mut self, from: &[XattrSet]) {
        self.xattrs.clear();
        let mut numbers = vec![0; from.len()];
        for entry in &mut self.entries {
            let Some(at) = (entry.xattrs as usize).checked_sub(1) else { continue };
            if numbers[at] == 0 {
                self.xattrs.push(from[at].clone());
                numbers[at] = self.xattrs.len() as u32;
            }
            entry.xattrs = numbers[at];
        }
    }

    /// Whether it says what masters and clients of before did not know: what of it can be
    /// written as they read it, is.
    pub(super) fn is_extended(&self) -> bool {
        let is_device = |entry: &Entry| matches!(entry.kind, EntryKind::Device(_));
        !self.xattrs.is_empty() || self.entries.iter().any(is_device)
    }

    /// Names of files, each hard link counted.
    pub(crate) fn files_count(&self) -> u64 {
        let is_file = |e: &&Entry| matches!(e.kind, EntryKind::File | EntryKind::Hardlink(_));
        self.entries.iter().filter(is_file).count() as u64
    }

    /// Bytes of all files, each counted once however many names it has.
    pub fn bytes_total(&self) -> u64 {
        self.entries.iter().map(|e| e.size).sum()
    }
}
