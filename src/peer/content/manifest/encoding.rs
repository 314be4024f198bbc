//! The canonical encoding of a manifest, both ways.
//!
//! What is decoded here came from a peer: a decoded [`Manifest`] cannot name a
//! path outside its root, whatever was sent, because an entry has a parent
//! number and one name, and both are checked. Numbers are little endian:
//!
//! | | |
//! |---|---|
//! | manifest | magic\[8] piece_len\[4] root_described\[4] count\[4], the entries, the lists |
//! | entry | kind\[1] flags\[1] parent\[4] mode\[4] uid\[4] gid\[4] mtime_s\[8] mtime_ns\[4] name_len\[1] name |
//! | of a file, then | size\[8] digest\[32] |
//! | of a symlink | link_len\[2] link |
//! | of a hard link | entry\[4] |
//! | lists | digest\[32] of each piece of each file of more than one |

use super::limits::{
    DEPTH_MAX, ENTRIES_MAX, LINK_LEN_MAX, PIECE_LEN_MAX, PIECE_LEN_MIN, name_is_sound, piece_len_of,
};
use super::values::{Entry, EntryKind, Manifest};
use crate::content::bytes::{ByteReader, TooShort};
use crate::content::digest;
use alloc::vec::Vec;
use core::fmt;

const MAGIC: &[u8; 8] = b"xget\0ix2";
/// Bytes of an entry without its name and what its kind has of its own.
const ENTRY_LEN_MIN: usize = 1 + 1 + 4 + 4 + 4 + 4 + 8 + 4 + 1;
/// The only flag.
const SPARSE: u8 = 1;

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
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.piece_len.to_le_bytes());
        out.extend_from_slice(&u32::from(self.root_described).to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
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
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Malformed> {
        let mut from = ByteReader::new(bytes);
        let (mut manifest, count) = decode_header(&mut from)?;
        // Capacity by what can be there, not by what is claimed.
        let capacity = count.min(bytes.len() / ENTRY_LEN_MIN);
        manifest.entries.try_reserve_exact(capacity).map_err(|_| NO_MEMORY)?;
        let mut depths: Vec<u32> = Vec::new();
        depths.try_reserve_exact(capacity).map_err(|_| NO_MEMORY)?;
        for _ in 0..count {
            let entry = decode_entry(&mut from)?;
            depths.push(check_place(&entry, &manifest.entries, &depths)?);
            manifest.entries.push(entry);
        }
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

/// What stands before the entries, and the number of these.
fn decode_header(from: &mut ByteReader) -> Result<(Manifest, usize), Malformed> {
    require(from.take(MAGIC.len())? == MAGIC, "not a manifest of this version")?;
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
    let (entries, lists) = (Vec::new(), Vec::new());
    Ok((Manifest { piece_len, root_described, entries, lists }, count))
}

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

fn decode_entry(from: &mut ByteReader) -> Result<Entry, Malformed> {
    let letter = from.u8()?;
    let flags = from.u8()?;
    require(flags == 0 || (flags == SPARSE && letter == b'f'), "unknown flags")?;
    let mut entry = Entry { parent: from.u32()?, mode: from.u32()?, ..Entry::bare_root() };
    entry.sparse = flags == SPARSE;
    (entry.uid, entry.gid) = (from.u32()?, from.u32()?);
    (entry.mtime_s, entry.mtime_ns) = (from.u64()? as i64, from.u32()?);
    let name_len = usize::from(from.u8()?);
    entry.name = from.take(name_len)?.into();
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
        _ => return Err(Malformed("unknown kind of entry")),
    };
    check_entry(&entry)?;
    Ok(entry)
}

/// What can be said of an entry alone.
fn check_entry(entry: &Entry) -> Result<(), Malformed> {
    let mode_bits = match entry.kind {
        EntryKind::Special | EntryKind::Unreadable => 0o177_777,
        _ => 0o7777,
    };
    require(entry.mode & !mode_bits == 0, "mode out of range")?;
    require(entry.mtime_ns < 1_000_000_000, "time out of range")?;
    // off_t is signed; nothing on disk can be longer.
    require(entry.size <= i64::MAX as u64, "file too big")?;
    let link_is_sound = (1..=LINK_LEN_MAX).contains(&entry.link.len()) && !entry.link.contains(&0);
    require(entry.kind != EntryKind::Symlink || link_is_sound, "bad symlink target")
}

/// Where an entry stands relative to those before it; gives its depth.
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
    use crate::testing::{file, small};
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
