//! The canonical encoding of a manifest, both ways.
//!
//! What is decoded here came from a peer: a decoded [`Manifest`] cannot name a
//! path outside its root, whatever was sent, because an entry has a parent
//! number and one name, and both are checked. Numbers are little endian:
//!
//! | | |
//! |---|---|
//! | manifest | magic\[8] piece_len\[4] root_described\[4] count\[4], the sets, the entries, the lists |
//! | sets | count\[4], of each len\[4] and its attributes: see `xattrs` |
//! | entry | kind\[1] flags\[1] parent\[4] mode\[4] uid\[4] gid\[4] mtime_s\[8] mtime_ns\[4] name_len\[1] name |
//! | with extended attributes, then | set\[4] |
//! | of a file, then | size\[8] digest\[32] |
//! | of a symlink | link_len\[2] link |
//! | of a hard link | entry\[4] |
//! | of a device | number\[4] |
//! | lists | digest\[32] of each piece of each file of more than one |
//!
//! There are two magics. With the first there are no sets and no devices, and it is used
//! wherever there are none: so such a tree has the digest that it always had, and who knows
//! only that reads it.

use super::limits::{
    DEPTH_MAX, ENTRIES_MAX, LINK_LEN_MAX, PIECE_LEN_MAX, PIECE_LEN_MIN, name_is_sound, piece_len_of,
};
use super::values::{Entry, EntryKind, Manifest};
use super::xattrs::{XattrSet, XattrTable};
use crate::content::bytes::{ByteReader, TooShort};
use crate::content::digest;
use alloc::vec::Vec;
use core::fmt;

const MAGIC: &[u8; 8] = b"xget\0ix2";
/// Of a manifest with extended attributes or devices.
const MAGIC_EXTENDED: &[u8; 8] = b"xget\0ix3";
/// Bytes of an entry without its name and what its kind has of its own.
const ENTRY_LEN_MIN: usize = 1 + 1 + 4 + 4 + 4 + 4 + 8 + 4 + 1;
/// The flags: a file has holes, an entry has extended attributes.
const SPARSE: u8 = 1;
const XATTRS: u8 = 2;

/// Why bytes are not a manifest, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(
    /// The reason.
    pub &'static str,
);

/// Not the fault of the bytes: there is no memory for what they say.
pub(crate) const NO_MEMORY: Malformed = Malformed("no memory for its entries");

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<TooShort> for Malformed {
    fn from(_: TooShort) -> Malformed {
        Malformed("too short")
    }
}

/// `Ok` where the condition holds, else what is wrong.
fn require(holds: bool, why: &'static str) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed(why)) }
}

impl Manifest {
    /// The canonical bytes. Their [digest](crate::content::digest::Digest) is the
    /// generation's name.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.entries.len() * 90 + self.lists.len() * 32);
        let is_extended = self.is_extended();
        out.extend_from_slice(if is_extended { MAGIC_EXTENDED } else { MAGIC });
        out.extend_from_slice(&self.piece_len.to_le_bytes());
        out.extend_from_slice(&u32::from(self.root_described).to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        if is_extended {
            encode_sets(&self.xattrs, &mut out);
        }
        for entry in &self.entries {
            encode_entry(entry, &mut out);
        }
        for digest in &self.lists {
            out.extend_from_slice(&digest.0);
        }
        out
    }

    /// Reads and checks a manifest. Whatever passes is safe to act upon, and
    /// [`Manifest::encode`] makes the same bytes of it again.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no manifest of this version, break a
    /// rule or a limit of this module, or hold more than the manifest.
    #[inline(never)]
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Malformed> {
        let mut from = ByteReader::new(bytes);
        let (mut manifest, count, is_extended) = decode_header(&mut from)?;
        // Capacity by what can be there, not by what is claimed.
        let capacity = count.min(bytes.len() / ENTRY_LEN_MIN);
        manifest.entries.try_reserve_exact(capacity).map_err(|_| NO_MEMORY)?;
        let mut depths: Vec<u32> = Vec::new();
        depths.try_reserve_exact(capacity).map_err(|_| NO_MEMORY)?;
        let mut sets_used = 0;
        for _ in 0..count {
            let entry = decode_entry(&mut from, is_extended)?;
            // Numbers begin with 1 and count up, each when its set is first used.
            require(entry.xattrs <= sets_used + 1, "attributes out of order")?;
            sets_used = sets_used.max(entry.xattrs);
            depths.push(check_place(&entry, &manifest.entries, &depths)?);
            manifest.entries.push(entry);
        }
        require(sets_used as usize == manifest.xattrs.len(), "attributes of nothing")?;
        let needs_to_be = manifest.is_extended();
        require(is_extended == needs_to_be, "not of the least version that will do")?;
        manifest.decode_lists(&mut from)?;
        require(from.is_empty(), "trailing bytes")?;
        Ok(manifest)
    }

    fn decode_lists(&mut self, from: &mut ByteReader) -> Result<(), Malformed> {
        for entry in &self.entries {
            let len = entry.list_len(self.piece_len);
            if len == 0 {
                continue;
            }
            let raw = from.take(len.checked_mul(32).ok_or(Malformed("file too big"))?)?;
            let start = self.lists.len();
            digest::read_list(raw, &mut self.lists);
            let piece_len = piece_len_of(entry.size, self.piece_len);
            let whole = digest::of_list(&self.lists[start..], entry.size, piece_len);
            require(whole == Some(entry.digest), "a piece list does not match its file's digest")?;
        }
        Ok(())
    }
}

/// What stands before the entries, the number of these, and whether what came later than
/// the first version may be among them.
#[inline(never)]
fn decode_header(from: &mut ByteReader) -> Result<(Manifest, usize, bool), Malformed> {
    let magic = from.array()?;
    let is_extended = magic == *MAGIC_EXTENDED;
    require(is_extended || magic == *MAGIC, "not a manifest of this version")?;
    let piece_len = from.u32()?;
    let in_range = (PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(&piece_len);
    require(in_range && piece_len.is_power_of_two(), "piece length out of range")?;
    let root_described = match from.u32()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed("unknown flags")),
    };
    let count = from.u32()? as usize;
    require((1..=ENTRIES_MAX).contains(&count), "number of entries out of range")?;
    let xattrs = if is_extended { decode_sets(from)? } else { Vec::new() };
    let (entries, lists) = (Vec::new(), Vec::new());
    Ok((Manifest { piece_len, root_described, entries, lists, xattrs }, count, is_extended))
}

fn encode_sets(sets: &[XattrSet], out: &mut Vec<u8>) {
    out.extend_from_slice(&(sets.len() as u32).to_le_bytes());
    for set in sets {
        out.extend_from_slice(&(set.bytes().len() as u32).to_le_bytes());
        out.extend_from_slice(set.bytes());
    }
}

/// Each is known once: by what is there it is counted, not by what is claimed.
fn decode_sets(from: &mut ByteReader) -> Result<Vec<XattrSet>, Malformed> {
    let mut table = XattrTable::default();
    for number in 1..=from.u32()? {
        let len = from.u32()? as usize;
        let set = XattrSet::read(from.take(len)?).ok_or(Malformed("bad attributes"))?;
        require(table.number(set) == number, "the same attributes twice")?;
    }
    Ok(table.sets())
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let kind = match entry.kind {
        EntryKind::Dir => b'd',
        EntryKind::File => b'f',
        EntryKind::Symlink => b'l',
        EntryKind::Hardlink(_) => b'h',
        EntryKind::Special => b's',
        EntryKind::Device(_) => b'n',
        EntryKind::Unreadable => b'u',
    };
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.extend_from_slice(&[kind, flag(entry.sparse, SPARSE) | flag(entry.xattrs > 0, XATTRS)]);
    for number in [entry.parent, entry.mode, entry.uid, entry.gid] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&entry.mtime_s.to_le_bytes());
    out.extend_from_slice(&entry.mtime_ns.to_le_bytes());
    out.push(entry.name.len() as u8);
    out.extend_from_slice(&entry.name);
    if entry.xattrs > 0 {
        out.extend_from_slice(&entry.xattrs.to_le_bytes());
    }
    match entry.kind {
        EntryKind::File => {
            out.extend_from_slice(&entry.size.to_le_bytes());
            out.extend_from_slice(&entry.digest.0);
        }
        EntryKind::Symlink => {
            out.extend_from_slice(&(entry.link.len() as u16).to_le_bytes());
            out.extend_from_slice(&entry.link);
        }
        EntryKind::Hardlink(number) | EntryKind::Device(number) => {
            out.extend_from_slice(&number.to_le_bytes());
        }
        EntryKind::Dir | EntryKind::Special | EntryKind::Unreadable => {}
    }
}

#[inline(never)]
fn decode_entry(from: &mut ByteReader, is_extended: bool) -> Result<Entry, Malformed> {
    let letter = from.u8()?;
    let flags = from.u8()?;
    let may_have_xattrs = is_extended && letter != b'h' && letter != b'u';
    let known = if letter == b'f' { SPARSE } else { 0 } | if may_have_xattrs { XATTRS } else { 0 };
    require(flags & !known == 0, "unknown flags")?;
    let mut entry = Entry { parent: from.u32()?, mode: from.u32()?, ..Entry::bare_root() };
    entry.sparse = flags & SPARSE != 0;
    (entry.uid, entry.gid) = (from.u32()?, from.u32()?);
    (entry.mtime_s, entry.mtime_ns) = (from.u64()? as i64, from.u32()?);
    let name_len = usize::from(from.u8()?);
    entry.name = from.take(name_len)?.into();
    if flags & XATTRS != 0 {
        entry.xattrs = from.u32()?;
        require(entry.xattrs > 0, "attributes out of order")?;
    }
    entry.kind = match letter {
        b'd' => EntryKind::Dir,
        b'f' => {
            (entry.size, entry.digest.0) = (from.u64()?, from.array()?);
            EntryKind::File
        }
        b'l' => {
            let link_len = usize::from(from.u16()?);
            entry.link = from.take(link_len)?.into();
            EntryKind::Symlink
        }
        b'h' => EntryKind::Hardlink(from.u32()?),
        b's' => EntryKind::Special,
        b'u' => EntryKind::Unreadable,
        b'n' if is_extended => EntryKind::Device(from.u32()?),
        _ => return Err(Malformed("unknown kind of entry")),
    };
    check_entry(&entry)?;
    Ok(entry)
}

/// What can be said of an entry alone.
fn check_entry(entry: &Entry) -> Result<(), Malformed> {
    let mode_bits = match entry.kind {
        EntryKind::Special | EntryKind::Device(_) | EntryKind::Unreadable => 0o177_777,
        _ => 0o7777,
    };
    let is_device = matches!(entry.mode & 0o170_000, 0o020_000 | 0o060_000);
    let says_otherwise = matches!(entry.kind, EntryKind::Device(_)) && !is_device;
    require(entry.mode & !mode_bits == 0 && !says_otherwise, "mode out of range")?;
    require(entry.mtime_ns < 1_000_000_000, "time out of range")?;
    // off_t is signed; nothing on disk can be longer.
    require(entry.size <= i64::MAX as u64, "file too big")?;
    let link_is_sound = (1..=LINK_LEN_MAX).contains(&entry.link.len()) && !entry.link.contains(&0);
    require(entry.kind != EntryKind::Symlink || link_is_sound, "bad symlink target")
}

/// Where an entry stands relative to those before it; gives its depth.
#[inline(never)]
fn check_place(entry: &Entry, before: &[Entry], depths: &[u32]) -> Result<u32, Malformed> {
    let Some(last) = before.last() else {
        let sound = entry.kind == EntryKind::Dir && entry.parent == 0 && entry.name.is_empty();
        return require(sound, "the root is not a directory").map(|()| 0);
    };
    require(name_is_sound(&entry.name), "a name that cannot be a file name")?;
    let entry_before = |number: u32| before.get(number as usize);
    let parent_is_dir = entry_before(entry.parent).is_some_and(|e| e.kind == EntryKind::Dir);
    require(parent_is_dir, "a parent that is no directory before it")?;
    // The root is its own parent: the first entry after it compares with nothing.
    let in_order = before.len() == 1
        || entry.parent > last.parent
        || (entry.parent == last.parent && entry.name > last.name);
    require(in_order, "entries out of order")?;
    if let EntryKind::Hardlink(target) = entry.kind {
        let is_file = entry_before(target).is_some_and(|e| e.kind == EntryKind::File);
        require(is_file, "a hard link to no file before it")?;
    }
    let depth = depths[entry.parent as usize] + 1;
    require(depth <= DEPTH_MAX, "directories too deep").map(|()| depth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::digest::Digest;
    use crate::content::samples::trees;
    use crate::testing::{entry, file, small};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    #[test]
    fn encode_and_decode_are_inverse() {
        let manifest = small();
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_an_error_or_a_manifest() {
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

    /// Bytes that a peer made differ from good ones in a few places.
    #[derive(Clone, Debug)]
    enum Damage {
        Set(Index, u8),
        Insert(Index, Vec<u8>),
        Remove(Index, usize),
        /// A stretch from elsewhere, where another was.
        Repeat(Index, Index, usize),
    }

    fn damages() -> impl Strategy<Value = Damage> {
        let at = any::<Index>;
        prop_oneof![
            (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
            (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
            (at(), 1..60usize).prop_map(|(at, len)| Damage::Remove(at, len)),
            (at(), at(), 1..60usize).prop_map(|(at, of, len)| Damage::Repeat(at, of, len)),
        ]
    }

    fn harm(bytes: &mut Vec<u8>, damage: Damage) {
        let stretch = |at: Index, len: usize| {
            let start = at.index(bytes.len());
            start..(start + len).min(bytes.len())
        };
        match damage {
            Damage::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Damage::Insert(at, inserted) => {
                bytes.splice(stretch(at, 0), inserted);
            }
            Damage::Remove(at, len) => {
                bytes.drain(stretch(at, len));
            }
            Damage::Repeat(at, of, len) => {
                let repeated = bytes[stretch(of, len)].to_vec();
                bytes.splice(stretch(at, len), repeated);
            }
        }
    }

    /// It does not panic, and there is only one way to write what passes.
    fn is_canonical_or_refused(bytes: &[u8]) -> bool {
        Manifest::decode(bytes).is_ok_and(|manifest| manifest.encode() == bytes)
            || Manifest::decode(bytes).is_err()
    }

    proptest! {
        #[test]
        fn any_tree_comes_back_as_it_was(sample in trees(40)) {
            prop_assert_eq!(Manifest::decode(&sample.manifest.encode()), Ok(sample.manifest));
        }

        #[test]
        fn damaged_bytes_are_refused_or_canonical(
            sample in trees(8),
            damage in vec(damages(), 1..4),
        ) {
            let mut bytes = sample.manifest.encode();
            for damage in damage {
                if !bytes.is_empty() {
                    harm(&mut bytes, damage);
                }
            }
            prop_assert!(is_canonical_or_refused(&bytes));
        }

        #[test]
        fn random_bytes_are_refused_or_canonical(
            bytes in vec(any::<u8>(), 0..300),
            count in 0..9u8,
        ) {
            prop_assert!(is_canonical_or_refused(&bytes));
            let header = [0, 0x10, 0, 0, 1, 0, 0, 0, count, 0, 0, 0];
            let root = &small().encode()[20..20 + ENTRY_LEN_MIN];
            prop_assert!(is_canonical_or_refused(&[&MAGIC[..], &header, root, &bytes].concat()));
            let extended = [MAGIC_EXTENDED, &header[..], &[0; 4], root, &bytes].concat();
            prop_assert!(is_canonical_or_refused(&extended));
        }
    }

    /// Why the small tree is refused after a change.
    fn refusal(change: impl FnOnce(&mut Manifest)) -> &'static str {
        let mut manifest = small();
        change(&mut manifest);
        Manifest::decode(&manifest.encode()).unwrap_err().0
    }

    #[test]
    fn hostile_names_and_places_are_refused() {
        for name in ["..", ".", "a/b", "nul\0", ""] {
            let why = refusal(|m| m.entries[5].name = name.as_bytes().into());
            assert_eq!(why, "a name that cannot be a file name", "{name:?}");
        }
        let twice = refusal(|m| m.entries[2].name = (*b"a").into());
        assert_eq!(twice, "entries out of order", "the same name twice");
        let unsorted = refusal(|m| m.entries.swap(2, 4));
        assert_eq!(unsorted, "entries out of order");
        let below_link = refusal(|m| m.entries[7].parent = 6);
        assert_eq!(below_link, "a parent that is no directory before it");
        let forward = refusal(|m| m.entries[7].kind = EntryKind::Hardlink(7));
        assert_eq!(forward, "a hard link to no file before it");
        let of_link = refusal(|m| m.entries[7].kind = EntryKind::Hardlink(6));
        assert_eq!(of_link, "a hard link to no file before it");
        let root = refusal(|m| m.entries[0].kind = EntryKind::Special);
        assert_eq!(root, "the root is not a directory");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (why, change) in [
            ("piece length out of range", (|m| m.piece_len = 2048) as fn(&mut Manifest)),
            ("piece length out of range", |m| m.piece_len = 12 << 10),
            ("piece length out of range", |m| m.piece_len = 512 << 10),
            ("number of entries out of range", |m| m.entries.clear()),
            ("unknown flags", |m| m.entries[1].sparse = true),
            ("mode out of range", |m| m.entries[1].mode = 0o40755),
            ("time out of range", |m| m.entries[1].mtime_ns = 1_000_000_000),
            ("file too big", |m| m.entries[2].size = 1 << 63),
            ("too short", |m| m.entries[2].size = 4097),
            ("bad symlink target", |m| m.entries[3].link = [].into()),
            ("bad symlink target", |m| m.entries[3].link = [b'a'; LINK_LEN_MAX + 1].into()),
            ("bad symlink target", |m| m.entries[3].link = (*b"a\0").into()),
            ("trailing bytes", |m| m.lists.push(Digest::default())),
        ] {
            assert_eq!(refusal(change), why);
        }
    }

    /// The small tree with a device at its end and attributes of the root and one file.
    fn extended() -> Manifest {
        let (mut manifest, mut table) = (small(), XattrTable::default());
        let mut set = |name: &str, value: &[u8]| {
            let mut set = XattrSet::default();
            assert!(set.push(name.as_bytes(), value));
            table.number(set)
        };
        manifest.entries[0].xattrs = set("system.posix_acl_default", b"acl");
        manifest.entries[2].xattrs = set("user.b", b"");
        manifest.entries[5].xattrs = 1;
        let device = Entry { mode: 0o020_666, ..entry(1, "zz", EntryKind::Device(0x0010_0003)) };
        manifest.entries.push(device);
        manifest.xattrs = table.sets();
        manifest
    }

    /// Why these bytes of a manifest with attributes and devices are refused.
    fn extended_refusal(change: impl FnOnce(&mut Manifest)) -> &'static str {
        let mut manifest = extended();
        change(&mut manifest);
        Manifest::decode(&manifest.encode()).unwrap_err().0
    }

    #[test]
    fn attributes_and_devices_come_back_and_only_they_need_the_later_version() {
        let mut manifest = extended();
        let bytes = manifest.encode();
        assert_eq!(bytes[..8], *MAGIC_EXTENDED);
        assert_eq!(Manifest::decode(&bytes).as_ref(), Ok(&manifest));
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(is_canonical_or_refused(&bad), "bit {at}");
        }
        manifest.entries.pop();
        assert_eq!(manifest.encode()[..8], *MAGIC_EXTENDED, "attributes alone");
        manifest.entries.iter_mut().for_each(|entry| entry.xattrs = 0);
        manifest.xattrs.clear();
        assert_eq!(manifest, small());
        assert_eq!(manifest.encode()[..8], *MAGIC);
    }

    #[test]
    fn attributes_that_another_manifest_would_have_otherwise_are_refused() {
        for (why, change) in [
            ("attributes out of order", (|m| m.entries[0].xattrs = 2) as fn(&mut Manifest)),
            ("attributes out of order", |m| m.entries[2].xattrs = 3),
            ("attributes of nothing", |m| m.entries[2].xattrs = 1),
            ("the same attributes twice", |m| m.xattrs[1] = m.xattrs[0].clone()),
            ("bad attributes", |m| m.xattrs[1] = XattrSet::default()),
            ("unknown flags", |m| m.entries[7].xattrs = 1),
            ("unknown flags", |m| {
                m.entries[6] = Entry { xattrs: 1, ..entry(1, "y", EntryKind::Unreadable) };
            }),
            ("mode out of range", |m| m.entries[8].mode = 0o010_666),
        ] {
            assert_eq!(extended_refusal(change), why);
        }
        let later = [MAGIC_EXTENDED, &small().encode()[8..20], &[0; 4], &small().encode()[20..]];
        let why = Err(Malformed("not of the least version that will do"));
        assert_eq!(Manifest::decode(&later.concat()), why);
        let mut before = extended().encode();
        before[7] = b'2';
        assert!(Manifest::decode(&before).is_err());
    }

    #[test]
    fn directories_are_a_thousand_deep_and_no_more() {
        let chain = |depth: u32| {
            let mut manifest = small();
            manifest.entries.truncate(1);
            let dir = |parent| Entry { parent, name: (*b"d").into(), ..Entry::bare_root() };
            manifest.entries.extend((0..depth).map(dir));
            Manifest::decode(&manifest.encode()).map(|_| ())
        };
        assert_eq!(chain(DEPTH_MAX), Ok(()));
        assert_eq!(chain(DEPTH_MAX + 1), Err(Malformed("directories too deep")));
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
    fn a_list_by_the_rule_of_long_files_is_taken() {
        for (size, piece_len, count) in [(33_554_432, 4096, 8192), (33_554_433, 16_384, 2049)] {
            let manifest = long(size, piece_len);
            assert_eq!(manifest.files_with_lists().collect::<Vec<_>>(), [(1, 0..count)]);
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }

    #[test]
    fn a_list_by_another_rule_is_refused_though_it_merges_to_the_digest() {
        for (size, piece_len, why) in [
            (33_554_432, 16_384, "too short"),
            (33_554_433, 4096, "a piece list does not match its file's digest"),
            (33_554_433, 32_768, "too short"),
        ] {
            let decoded = Manifest::decode(&long(size, piece_len).encode());
            assert_eq!(decoded, Err(Malformed(why)), "{size} {piece_len}");
        }
    }
}
