//! The canonical encoding of one small tree, byte for byte.
//!
//! It names generations: a program that writes other bytes for the same tree
//! knows none of the digests of one that writes these.

use crate::content::digest::{self, Digest};
use crate::content::hex::Hex;
use crate::content::manifest::{Entry, EntryKind, Manifest, XattrSet};
use crate::content::pieces::ManifestPieces;
use crate::testing::{entry, file};

/// One entry of each kind, with each field other than zero somewhere.
fn tree() -> Manifest {
    let stretch = [7; 5000];
    let lists = digest::list_of(&stretch, 4096);
    let times = |entry| Entry { mtime_s: -2, mtime_ns: 999_999_999, ..entry };
    let owned = |entry| Entry { uid: 1000, gid: 0x0102_0304, mode: 0o4755, ..entry };
    let typed = |mode, entry| Entry { mode, ..entry };
    let mut link = entry(0, "l", EntryKind::Symlink);
    link.link = (*b"d/f").into();
    let mut root = times(entry(0, "", EntryKind::Dir));
    root.mode = 0o755;
    Manifest {
        piece_len: 4096,
        root_described: true,
        entries: vec![
            root,
            entry(0, "d", EntryKind::Dir),
            owned(file(0, "f", b"ex")),
            entry(0, "h", EntryKind::Hardlink(2)),
            link,
            typed(0o010_600, entry(0, "p", EntryKind::Special)),
            typed(0o100_000, entry(0, "u", EntryKind::Unreadable)),
            Entry { sparse: true, ..file(1, "long \u{e9}", &stretch) },
        ],
        lists,
        xattrs: Vec::new(),
    }
}

/// Magic; piece length, whether the root is described, number of entries. Of
/// each entry: kind, flags, parent, mode, uid, gid, mtime in seconds and its
/// nanoseconds, length of the name, name; then what its kind has of its own.
/// At last the digests of the long file's pieces. Numbers are little endian.
const ENCODED: &str = "
    7867657400697832
    00100000 01000000 08000000
    64 00 00000000 ed010000 00000000 00000000 feffffffffffffff ffc99a3b 00
    64 00 00000000 a4010000 00000000 00000000 0000000000000000 00000000 01 64
    66 00 00000000 ed090000 e8030000 04030201 0000000000000000 00000000 01 66
        0200000000000000 2a3fbe1c0992fb5d4d802832bd556f994886a2fbc3c1a309513cd78de81e15db
    68 00 00000000 a4010000 00000000 00000000 0000000000000000 00000000 01 68
        02000000
    6c 00 00000000 a4010000 00000000 00000000 0000000000000000 00000000 01 6c
        0300 642f66
    73 00 00000000 80110000 00000000 00000000 0000000000000000 00000000 01 70
    75 00 00000000 00800000 00000000 00000000 0000000000000000 00000000 01 75
    66 01 01000000 a4010000 00000000 00000000 0000000000000000 00000000 07 6c6f6e6720c3a9
        8813000000000000 a6f502f83772988f36feb7c624436dbb01061fcaf6685649b3e20eb4aedff11a
    7437feac8f5f2494348e93d47a430c9d96e10ae5d6afb2fe5427db5e56ecc17b
    6eacec30243705f5f0a5ee16bd8695b483f60253fc5f5f23447d1b23974e8be8
";

const GENERATION: &str = "3d03fb7dda9c507da6bac78781317e748f301e23efc3996d3bb2d441f14f0630";

#[test]
fn the_canonical_encoding_is_what_it_was() {
    let bytes = tree().encode();
    let hex = Hex(&bytes).to_string();
    assert_eq!(hex, ENCODED.split_whitespace().collect::<String>());
    assert_eq!(Digest::of(&bytes).to_string(), GENERATION);
    assert_eq!(ManifestPieces::of(&bytes, 4096).generation.to_string(), GENERATION);
    assert_eq!(Manifest::decode(&bytes), Ok(tree()));
}

/// The tree of above with what came later: a set of the root and the first file, another of
/// the empty directory, and a device (character device, major 5, minor 1).
fn extended_tree() -> Manifest {
    let mut manifest = tree();
    manifest.xattrs = [("security.capability", &[1, 0, 0, 2][..]), ("user.note", b"")]
        .map(|(name, value)| {
            let mut set = XattrSet::default();
            assert!(set.push(name.as_bytes(), value));
            set
        })
        .into();
    manifest.entries[0].xattrs = 1;
    manifest.entries[1].xattrs = 2;
    manifest.entries[2].xattrs = 1;
    let device = Entry { mode: 0o020_600, ..entry(0, "n", EntryKind::Device(5 << 20 | 1)) };
    manifest.entries.insert(5, device);
    manifest
}

/// As above; after the number of entries that of the sets and each with its length, whose
/// attributes are: length of the name, name, length of the value, value. An entry with the
/// flag 2 has the number of its set behind its name; a device has its number at its end.
const EXTENDED: &str = "
    7867657400697833
    00100000 01000000 09000000
    02000000
    1c000000 13 73656375726974792e6361706162696c697479 04000000 01000002
    0e000000 09 757365722e6e6f7465 00000000
    64 02 00000000 ed010000 00000000 00000000 feffffffffffffff ffc99a3b 00
        01000000
    64 02 00000000 a4010000 00000000 00000000 0000000000000000 00000000 01 64
        02000000
    66 02 00000000 ed090000 e8030000 04030201 0000000000000000 00000000 01 66
        01000000
        0200000000000000 2a3fbe1c0992fb5d4d802832bd556f994886a2fbc3c1a309513cd78de81e15db
    68 00 00000000 a4010000 00000000 00000000 0000000000000000 00000000 01 68
        02000000
    6c 00 00000000 a4010000 00000000 00000000 0000000000000000 00000000 01 6c
        0300 642f66
    6e 00 00000000 80210000 00000000 00000000 0000000000000000 00000000 01 6e
        01005000
";

#[test]
fn the_canonical_encoding_of_attributes_and_devices_is_what_it_was() {
    let bytes = extended_tree().encode();
    let rest = ENCODED.split_whitespace().collect::<String>();
    let rest = &rest[rest.find("730000000000801100").unwrap()..];
    let wanted = EXTENDED.split_whitespace().collect::<String>() + rest;
    assert_eq!(Hex(&bytes).to_string(), wanted);
    assert_eq!(Manifest::decode(&bytes), Ok(extended_tree()));
}
