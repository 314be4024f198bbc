//! The manifest of a generation: every entry of the tree, and the piece lists.
//!
//! The manifest of DESIGN.md, in one canonical encoding, so that its BLAKE3
//! digest names the generation and pins every byte and attribute in it. What
//! is decoded here came from a peer: a decoded `Manifest` cannot name a path
//! outside its root, whatever was sent, because an entry has a parent number
//! and one name, and both are checked.
//!
//! Entries stand breadth first, the children of one directory together and
//! sorted by name: a look-up is a binary search and needs no further table.

use super::digest::{self, Digest};
use crate::table::Table;
use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes of one piece; a power of two (see `digest`). Every generation says
/// its own, this is what a master gives.
pub const PIECE_LEN: u32 = 32 * 1024;
pub const PIECE_LEN_MIN: u32 = 4 * 1024;
pub const PIECE_LEN_MAX: u32 = 256 * 1024;
/// A file of more pieces than this has longer ones ...
const PIECES_MAX: u64 = 8192;
/// ... by this factor, so that a list is a quarter of what it would be. How long
/// one piece takes does not matter among so many.
const STRETCH: u32 = 4;
/// Longest file name (NAME_MAX of Linux) and symlink target (PATH_MAX).
pub const NAME_LEN_MAX: usize = 255;
pub const LINK_LEN_MAX: usize = 4095;
/// Most entries of one generation.
pub const ENTRIES_MAX: usize = 16_000_000;
/// Deepest directory; bounds recursion and path lengths.
pub const DEPTH_MAX: u32 = 1000;
/// Most symlinks followed in one look-up, as Linux has it (path_resolution(7)).
const FOLLOW_MAX: u32 = 40;

const MAGIC: &[u8; 8] = b"xget\0ix2";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Dir,
    File,
    Symlink,
    /// Another name of the file at this entry, which stands before this one.
    Hardlink(u32),
    /// A fifo, socket or device: listed so that it can be reported.
    Special,
    /// The master could not read it: listed so that it can be reported.
    Unreadable,
}

/// One name in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The directory that holds it; entry 0, the root, is its own parent.
    pub parent: u32,
    pub name: Box<[u8]>,
    pub kind: EntryKind,
    /// The source has holes: the copy gets them too.
    pub sparse: bool,
    /// Permission bits with setuid, setgid, sticky: 0o7777. For `Special` and
    /// `Unreadable` the type bits too.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_s: i64,
    pub mtime_ns: u32,
    /// Bytes of a `File`, else 0.
    pub size: u64,
    /// BLAKE3 of a `File`'s contents, else zero.
    pub digest: Digest,
    /// The target of a `Symlink`, else empty.
    pub link: Box<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub piece_len: u32,
    /// The root directory carries attributes of its own. Not so when several
    /// sources land side by side in a directory that no source describes.
    pub root_described: bool,
    pub entries: Vec<Entry>,
    /// Piece digests of the files of more than one piece, in entry order.
    pub lists: Vec<Digest>,
}

/// Why bytes are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Why a source path names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectError {
    Missing(Vec<u8>),
    /// Two sources would land under the same name.
    Collision(Vec<u8>),
}

impl core::fmt::Display for SelectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        match self {
            SelectError::Missing(path) => {
                write!(f, "{}: no such file or directory in what is served", shown(path))
            }
            SelectError::Collision(name) => {
                write!(f, "{}: two sources would land under this name", shown(name))
            }
        }
    }
}

/// Bytes of the pieces of a file of this size, where those of its generation
/// have `piece_len`.
pub fn piece_len_of(size: u64, piece_len: u32) -> u32 {
    if size > PIECES_MAX * u64::from(piece_len) { stride(piece_len) } else { piece_len }
}

/// The longest that a piece of a generation can be.
pub const fn stride(piece_len: u32) -> u32 {
    STRETCH * piece_len
}

/// Part of a manifest as a manifest of its own.
pub struct Selection {
    pub manifest: Manifest,
    /// For each entry of `manifest`, the entry it was in the whole.
    /// The root of several sources maps to entry 0.
    pub origin: Vec<u32>,
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
        }
    }

    /// Pieces of the file's list: none when it fits into one piece.
    pub fn list_len(&self, piece_len: u32) -> usize {
        match self.kind {
            EntryKind::File if self.size > u64::from(piece_len) => {
                self.size.div_ceil(u64::from(piece_len_of(self.size, piece_len))) as usize
            }
            _ => 0,
        }
    }
}

impl Manifest {
    /// The numbers of the children of a directory.
    pub fn children(&self, dir: u32) -> core::ops::Range<u32> {
        // The root is its own parent and must not be its own child.
        let below = &self.entries[1..];
        let from = below.partition_point(|e| e.parent < dir);
        let to = from + below[from..].partition_point(|e| e.parent == dir);
        from as u32 + 1..to as u32 + 1
    }

    /// The child of this name.
    pub fn child(&self, dir: u32, name: &[u8]) -> Option<u32> {
        let range = self.children(dir);
        let slice = &self.entries[range.start as usize..range.end as usize];
        let found = slice.binary_search_by(|e| (*e.name).cmp(name)).ok()?;
        Some(range.start + found as u32)
    }

    /// The path below the root, without a leading slash; empty for the root.
    pub fn path(&self, entry: u32) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = entry;
        while at != 0 {
            names.push(&self.entries[at as usize].name);
            at = self.entries[at as usize].parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Where each file's piece list begins in `lists`, by entry order.
    pub fn list_starts(&self) -> impl Iterator<Item = (u32, usize, usize)> + '_ {
        let mut at = 0;
        self.entries.iter().enumerate().filter_map(move |(number, entry)| {
            let len = entry.list_len(self.piece_len);
            let start = at;
            at += len;
            (len > 0).then_some((number as u32, start, len))
        })
    }

    pub fn files_count(&self) -> u64 {
        let is_file = |e: &&Entry| matches!(e.kind, EntryKind::File | EntryKind::Hardlink(_));
        self.entries.iter().filter(is_file).count() as u64
    }

    pub fn bytes_total(&self) -> u64 {
        self.entries.iter().map(|e| e.size).sum()
    }

    /// Finds a path, following symlinks that stay in the tree in all but the
    /// last place, and there too when `follow` is set.
    pub fn find(&self, path: &[u8], follow: bool) -> Option<u32> {
        let mut budget = FOLLOW_MAX;
        self.find_from(0, path, follow, &mut budget)
    }

    fn find_from(&self, dir: u32, path: &[u8], follow: bool, budget: &mut u32) -> Option<u32> {
        let mut at = if path.first() == Some(&b'/') { 0 } else { dir };
        let mut names =
            path.split(|&b| b == b'/').filter(|n| !n.is_empty() && n != b".").peekable();
        while let Some(name) = names.next() {
            if name == b".." {
                at = self.entries[at as usize].parent;
                continue;
            }
            let found = self.child(at, name)?;
            let last = names.peek().is_none();
            at = match self.entries[found as usize].kind {
                EntryKind::Symlink if !last || follow => {
                    *budget = budget.checked_sub(1)?;
                    let link = &self.entries[found as usize].link;
                    self.find_from(at, link, true, budget)?
                }
                _ => found,
            };
        }
        Some(at)
    }

    /// The part of the tree that these sources name, laid out as it will land
    /// in a destination: a source under its base name, and the contents of a
    /// source that ends in `.` directly.
    pub fn select(&self, sources: &[&[u8]]) -> Result<Selection, SelectError> {
        let mut tops: BinaryHeap<(Box<[u8]>, u32)> = BinaryHeap::new();
        let mut root = None;
        for source in sources {
            let contents = *source == b"." || source.is_empty() || source.ends_with(b"/.");
            let missing = || SelectError::Missing(source.to_vec());
            let found = self.find(source, contents).ok_or_else(missing)?;
            if contents || found == 0 {
                if self.entries[found as usize].kind != EntryKind::Dir {
                    return Err(missing());
                }
                root = (sources.len() == 1).then_some(found);
                tops.extend(
                    self.children(found).map(|c| (self.entries[c as usize].name.clone(), c)),
                );
            } else {
                tops.push((self.entries[found as usize].name.clone(), found));
            }
        }
        let mut tops = tops.into_sorted_vec();
        // The same entry named twice is one; two entries of one name collide.
        tops.dedup();
        if let Some(pair) = tops.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(SelectError::Collision(pair[0].0.to_vec()));
        }
        Ok(self.copy_selected(root, tops))
    }

    fn copy_selected(&self, root: Option<u32>, tops: Vec<(Box<[u8]>, u32)>) -> Selection {
        let root_entry = match root {
            Some(found) => {
                Entry { parent: 0, name: Box::default(), ..self.entries[found as usize].clone() }
            }
            None => Entry::bare_root(),
        };
        let mut entries = vec![root_entry];
        let mut origin = vec![root.unwrap_or(0)];
        let mut starts = Table::new();
        for (number, start, len) in self.list_starts() {
            starts.insert(number, (start, len));
        }
        let mut lists = Vec::new();
        // A file's other names point at the first of them that was selected.
        let mut firsts: Vec<Option<u32>> = vec![None; self.entries.len()];
        // What was selected twice, as in `a a/b`, becomes two files, not a link.
        let mut taken = vec![false; self.entries.len()];
        let mut level: Vec<(u32, u32)> = tops.into_iter().map(|(_, from)| (0, from)).collect();
        let mut done = 0;
        loop {
            for (parent, from) in level.drain(..) {
                let number = entries.len() as u32;
                let mut entry = Entry { parent, ..self.entries[from as usize].clone() };
                let file = match entry.kind {
                    EntryKind::File => Some(from),
                    EntryKind::Hardlink(target) => Some(target),
                    _ => None,
                };
                if let Some(file) = file {
                    let again = core::mem::replace(&mut taken[from as usize], true);
                    let first = *firsts[file as usize].get_or_insert(number);
                    let source = &self.entries[file as usize];
                    if first == number || again {
                        entry = Entry { parent, name: entry.name, ..source.clone() };
                        if let Some(&(start, len)) = starts.get(&file) {
                            lists.extend_from_slice(&self.lists[start..start + len]);
                        }
                    } else {
                        entry.kind = EntryKind::Hardlink(first);
                        (entry.size, entry.digest, entry.sparse) = (0, Digest::default(), false);
                    }
                }
                entries.push(entry);
                origin.push(from);
            }
            // Directories in order, each one's children after all before it.
            while level.is_empty() && done + 1 < entries.len() {
                done += 1;
                if entries[done].kind == EntryKind::Dir {
                    level.extend(self.children(origin[done]).map(|from| (done as u32, from)));
                }
            }
            if level.is_empty() {
                break;
            }
        }
        let manifest =
            Manifest { piece_len: self.piece_len, root_described: root.is_some(), entries, lists };
        Selection { manifest, origin }
    }

    /// The canonical bytes. Their digest is the generation's name.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.entries.len() * 90 + self.lists.len() * 32);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.piece_len.to_le_bytes());
        out.extend_from_slice(&(self.root_described as u32).to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for entry in &self.entries {
            encode_entry(entry, &mut out);
        }
        for digest in &self.lists {
            out.extend_from_slice(&digest.0);
        }
        out
    }

    /// Reads and checks a manifest. Whatever passes is safe to act upon.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Malformed> {
        let mut from = Reader { bytes };
        if from.take(8)? != MAGIC {
            return Err(Malformed("not a manifest of this version"));
        }
        let piece_len = from.u32()?;
        if !piece_len.is_power_of_two() || !(PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(&piece_len) {
            return Err(Malformed("piece length out of range"));
        }
        let root_described = match from.u32()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("unknown flags")),
        };
        let count = from.u32()? as usize;
        if count == 0 || count > ENTRIES_MAX {
            return Err(Malformed("number of entries out of range"));
        }
        // Capacity by what can be there, not by what is claimed.
        let mut entries: Vec<Entry> = Vec::with_capacity(count.min(bytes.len() / ENTRY_LEN_MIN));
        let mut depths: Vec<u32> = Vec::with_capacity(entries.capacity());
        for _ in 0..count {
            let entry = decode_entry(&mut from)?;
            depths.push(check_place(&entry, &entries, &depths)?);
            entries.push(entry);
        }
        let mut manifest = Manifest { piece_len, root_described, entries, lists: Vec::new() };
        manifest.decode_lists(from)?;
        Ok(manifest)
    }

    fn decode_lists(&mut self, mut from: Reader) -> Result<(), Malformed> {
        for number in 0..self.entries.len() {
            let entry = &self.entries[number];
            let len = entry.list_len(self.piece_len);
            if len == 0 {
                continue;
            }
            let raw = from.take(len.checked_mul(32).ok_or(Malformed("file too big"))?)?;
            let start = self.lists.len();
            digest::read_list(raw, &mut self.lists);
            let piece_len = piece_len_of(entry.size, self.piece_len);
            let root = digest::of_list(&self.lists[start..], entry.size, piece_len);
            if root != Some(entry.digest) {
                return Err(Malformed("a piece list does not match its file's digest"));
            }
        }
        if from.bytes.is_empty() { Ok(()) } else { Err(Malformed("trailing bytes")) }
    }
}

/// EntryKind, flags, parent, mode, uid, gid, mtime, name length.
const ENTRY_LEN_MIN: usize = 1 + 1 + 4 + 4 + 4 + 4 + 8 + 4 + 1;
const SPARSE: u8 = 1;

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let kind = match entry.kind {
        EntryKind::Dir => b'd',
        EntryKind::File => b'f',
        EntryKind::Symlink => b'l',
        EntryKind::Hardlink(_) => b'h',
        EntryKind::Special => b's',
        EntryKind::Unreadable => b'u',
    };
    out.extend_from_slice(&[kind, if entry.sparse { SPARSE } else { 0 }]);
    for number in [entry.parent, entry.mode, entry.uid, entry.gid] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&entry.mtime_s.to_le_bytes());
    out.extend_from_slice(&entry.mtime_ns.to_le_bytes());
    out.push(entry.name.len() as u8);
    out.extend_from_slice(&entry.name);
    match entry.kind {
        EntryKind::File => {
            out.extend_from_slice(&entry.size.to_le_bytes());
            out.extend_from_slice(&entry.digest.0);
        }
        EntryKind::Symlink => {
            out.extend_from_slice(&(entry.link.len() as u16).to_le_bytes());
            out.extend_from_slice(&entry.link);
        }
        EntryKind::Hardlink(target) => out.extend_from_slice(&target.to_le_bytes()),
        EntryKind::Dir | EntryKind::Special | EntryKind::Unreadable => {}
    }
}

fn decode_entry(from: &mut Reader) -> Result<Entry, Malformed> {
    let letter = from.u8()?;
    let flags = from.u8()?;
    if flags & !SPARSE != 0 || (flags & SPARSE != 0 && letter != b'f') {
        return Err(Malformed("unknown flags"));
    }
    let mut entry = Entry { parent: from.u32()?, mode: from.u32()?, ..Entry::bare_root() };
    entry.sparse = flags & SPARSE != 0;
    (entry.uid, entry.gid) = (from.u32()?, from.u32()?);
    (entry.mtime_s, entry.mtime_ns) = (from.u64()? as i64, from.u32()?);
    let name_len = from.u8()? as usize;
    entry.name = from.take(name_len)?.into();
    entry.kind = match letter {
        b'd' => EntryKind::Dir,
        b'f' => {
            entry.size = from.u64()?;
            entry.digest.0.copy_from_slice(from.take(32)?);
            EntryKind::File
        }
        b'l' => {
            let len = from.u16()? as usize;
            entry.link = from.take(len)?.into();
            EntryKind::Symlink
        }
        b'h' => EntryKind::Hardlink(from.u32()?),
        b's' => EntryKind::Special,
        b'u' => EntryKind::Unreadable,
        _ => return Err(Malformed("unknown kind of entry")),
    };
    check_entry(&entry)?;
    Ok(entry)
}

/// What can be said of an entry alone.
fn check_entry(entry: &Entry) -> Result<(), Malformed> {
    let type_allowed = matches!(entry.kind, EntryKind::Special | EntryKind::Unreadable);
    if entry.mode & !0o177777 != 0 || (entry.mode & !0o7777 != 0 && !type_allowed) {
        return Err(Malformed("mode out of range"));
    }
    if entry.mtime_ns >= 1_000_000_000 {
        return Err(Malformed("time out of range"));
    }
    // off_t is signed; nothing on disk can be longer.
    if entry.size > i64::MAX as u64 {
        return Err(Malformed("file too big"));
    }
    if entry.kind == EntryKind::Symlink
        && (entry.link.is_empty() || entry.link.len() > LINK_LEN_MAX || entry.link.contains(&0))
    {
        return Err(Malformed("bad symlink target"));
    }
    Ok(())
}

/// Whether a name can be one entry of a directory.
pub fn name_is_sound(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_LEN_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|&b| b == 0 || b == b'/')
}

/// Where an entry stands relative to those before it; gives its depth.
fn check_place(entry: &Entry, before: &[Entry], depths: &[u32]) -> Result<u32, Malformed> {
    let Some(last) = before.last() else {
        let sound = entry.kind == EntryKind::Dir && entry.parent == 0 && entry.name.is_empty();
        return if sound { Ok(0) } else { Err(Malformed("the root is not a directory")) };
    };
    if !name_is_sound(&entry.name) {
        return Err(Malformed("a name that cannot be a file name"));
    }
    match before.get(entry.parent as usize) {
        Some(parent) if parent.kind == EntryKind::Dir => {}
        _ => return Err(Malformed("a parent that is no directory before it")),
    }
    let in_order = before.len() == 1
        || entry.parent > last.parent
        || (entry.parent == last.parent && entry.name > last.name);
    if !in_order {
        return Err(Malformed("entries out of order"));
    }
    if let EntryKind::Hardlink(target) = entry.kind {
        match before.get(target as usize) {
            Some(file) if file.kind == EntryKind::File => {}
            _ => return Err(Malformed("a hard link to no file before it")),
        }
    }
    let depth = depths[entry.parent as usize] + 1;
    if depth > DEPTH_MAX { Err(Malformed("directories too deep")) } else { Ok(depth) }
}

/// Takes numbers off the front of a slice.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(Malformed("too short"))?;
        self.bytes = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{file, small};

    #[test]
    fn encode_and_decode_are_inverse() {
        let manifest = small();
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_an_error_or_an_index() {
        let bytes = small().encode();
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            if let Ok(manifest) = Manifest::decode(&bad) {
                assert_eq!(manifest.encode(), bad, "canonical: bit {at}");
            }
        }
    }

    #[test]
    fn hostile_names_and_places_are_refused() {
        for name in ["..", ".", "a/b", "nul\0", ""] {
            let mut manifest = small();
            manifest.entries[5].name = name.as_bytes().into();
            assert!(Manifest::decode(&manifest.encode()).is_err(), "{name:?}");
        }
        let mut twice = small();
        twice.entries[2].name = (*b"a").into();
        assert!(Manifest::decode(&twice.encode()).is_err(), "same name twice");
        let mut below_link = small();
        below_link.entries[7].parent = 6;
        assert!(Manifest::decode(&below_link.encode()).is_err(), "child of a symlink");
    }

    #[test]
    fn paths_are_found_through_symlinks_but_never_outside() {
        let manifest = small();
        assert_eq!(manifest.find(b"a/x", false), Some(5));
        assert_eq!(manifest.find(b"current/x", false), Some(5));
        assert_eq!(manifest.find(b"current", false), Some(3));
        assert_eq!(manifest.find(b"current", true), Some(1));
        assert_eq!(manifest.find(b"../../a//./x", false), Some(5));
        assert_eq!(manifest.find(b"a/nothing", false), None);
        assert_eq!(manifest.path(5), b"a/x");
    }

    #[test]
    fn selecting_everything_gives_the_same_index() {
        let manifest = small();
        let all = manifest.select(&[b"."]).ok().unwrap();
        assert_eq!(all.manifest, manifest);
        assert_eq!(all.origin, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_sub_path_lands_under_its_base_name_and_its_contents_directly() {
        let manifest = small();
        let part = manifest.select(&[b"a/z", b"b"]).ok().unwrap();
        let names: Vec<&[u8]> = part.manifest.entries.iter().map(|e| &*e.name).collect();
        assert_eq!(names, [&b""[..], b"b", b"z"]);
        assert_eq!(part.manifest.entries[2].kind, EntryKind::File, "a link alone becomes the file");
        assert_eq!(part.manifest.entries[2].size, 2);
        assert!(!part.manifest.root_described);
        let inside = manifest.select(&[b"current/."]).ok().unwrap();
        assert_eq!(inside.manifest.entries.len(), 4);
        assert!(inside.manifest.root_described);
        assert_eq!(Manifest::decode(&inside.manifest.encode()), Ok(inside.manifest));
    }

    #[test]
    fn what_is_selected_twice_is_two_files_and_only_other_names_are_links() {
        let mut manifest = small();
        manifest.entries[5] = Entry { name: (*b"x").into(), ..file(1, "x", &[7; 9000]) };
        let pieces = [&[7; 4096][..], &[7; 4096], &[7; 808]];
        let list = pieces.iter().enumerate().map(|(i, p)| digest::of_piece(4096 * i as u64, p));
        manifest.lists = list.collect();
        let twice = manifest.select(&[b"a", b"a/x"]).ok().unwrap();
        let kinds: Vec<(&[u8], EntryKind)> =
            twice.manifest.entries.iter().map(|e| (&*e.name, e.kind)).collect();
        let expected = [
            (&b""[..], EntryKind::Dir),
            (b"a", EntryKind::Dir),
            (b"x", EntryKind::File),
            (b"x", EntryKind::File),
            (b"y", EntryKind::Symlink),
            (b"z", EntryKind::Hardlink(2)),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(twice.manifest.lists.len(), 2 * pieces.len());
        assert_eq!(Manifest::decode(&twice.manifest.encode()), Ok(twice.manifest));
    }

    /// A tree of one file of this size, whose list is of pieces so long.
    fn long(size: u64, piece_len: u32) -> Manifest {
        let mut manifest = small();
        manifest.entries.truncate(1);
        manifest.lists = vec![Digest([7; 32]); size.div_ceil(u64::from(piece_len)) as usize];
        let digest = digest::of_list(&manifest.lists, size, piece_len).unwrap();
        manifest.entries.push(Entry { size, digest, ..file(0, "long", b"") });
        manifest
    }

    #[test]
    fn a_file_of_more_than_8192_pieces_has_pieces_of_four_times_the_length() {
        assert_eq!(piece_len_of(33_554_432, 4096), 4096);
        assert_eq!(piece_len_of(33_554_433, 4096), 16_384);
        assert_eq!(piece_len_of(256 << 20, PIECE_LEN), 32_768);
        assert_eq!(piece_len_of((256 << 20) + 1, PIECE_LEN), 131_072);
        assert_eq!(stride(PIECE_LEN_MAX), 1 << 20, "what one read of a file takes");
        for (size, piece_len, count) in [(33_554_432, 4096, 8192), (33_554_433, 16_384, 2049)] {
            let manifest = long(size, piece_len);
            assert_eq!(manifest.list_starts().collect::<Vec<_>>(), [(1, 0, count)]);
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }

    #[test]
    fn a_list_by_another_rule_is_refused_though_it_merges_to_the_digest() {
        for (size, piece_len) in [(33_554_432, 16_384), (33_554_433, 4096), (33_554_433, 32_768)] {
            assert!(
                Manifest::decode(&long(size, piece_len).encode()).is_err(),
                "{size} {piece_len}"
            );
        }
    }

    #[test]
    fn missing_and_colliding_sources_are_named() {
        let manifest = small();
        assert_eq!(manifest.select(&[b"nope"]).err(), Some(SelectError::Missing(b"nope".to_vec())));
        assert!(manifest.select(&[b"a/.", b"a/x"]).is_ok(), "the same entry twice is one");
        let clash = manifest.select(&[b"b", b"a/../b"]);
        assert!(clash.is_ok());
    }
}
