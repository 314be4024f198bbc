//! Trees for tests: their manifests, valid by construction, and their bytes.
//!
//! Each rule of the encoding is kept by how a tree is made here, not by what
//! the code under test makes of it: names are sorted by a `BTreeMap`, hard links
//! go to files that stand before them.

use super::digest;
use super::manifest::{Entry, EntryKind, Manifest, XattrSet, name_is_sound, piece_len_of};
use super::pieces::{PieceMap, WrongBytes};
use crate::testing::{entry, file};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeMap;

/// A tree and what its files hold, by entry.
#[derive(Clone, Debug)]
pub struct Sample {
    pub manifest: Manifest,
    pub contents: Vec<Vec<u8>>,
}

/// Bytes that differ from those of other seeds and repeat in no short period.
pub fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i + seed) * 131 % 253) as u8).collect()
}

/// Bytes pass as they are, and not with one bit flipped or one byte less or more.
pub fn assert_verified(verify: impl Fn(&[u8]) -> Result<(), WrongBytes>, bytes: &[u8], bit: Index) {
    assert_eq!(verify(bytes), Ok(()));
    let mut bad = bytes.to_vec();
    let bit = bit.index(bytes.len() * 8);
    bad[bit / 8] ^= 1 << (bit % 8);
    assert_eq!(verify(&bad), Err(WrongBytes), "bit {bit}");
    assert_eq!(verify(&bytes[1..]), Err(WrongBytes));
    assert_eq!(verify(&[bytes, &[0]].concat()), Err(WrongBytes));
}

impl Sample {
    /// The root alone.
    fn new(piece_len: u32, root: Entry) -> Sample {
        let root = Entry { parent: 0, name: [].into(), kind: EntryKind::Dir, ..root };
        let manifest = Manifest::of_entries(piece_len, Vec::new());
        let mut sample = Sample { manifest, contents: Vec::new() };
        sample.push(root);
        sample
    }

    /// One directory of files with these sizes, entries 1, 2 and so on.
    pub fn of_files(piece_len: u32, sizes: &[usize]) -> Sample {
        let mut sample = Sample::new(piece_len, entry(0, "", EntryKind::Dir));
        for (i, &size) in sizes.iter().enumerate() {
            sample.push_file(entry(0, &format!("{i:04}"), EntryKind::File), bytes(i, size));
        }
        sample
    }

    /// Adds a file after all that is there.
    fn push_file(&mut self, named: Entry, bytes: Vec<u8>) {
        let Entry { size, digest, .. } = file(0, "", &bytes);
        let Manifest { piece_len, lists, .. } = &mut self.manifest;
        if size > u64::from(*piece_len) {
            lists.extend(digest::list_of(&bytes, piece_len_of(size, *piece_len)));
        }
        self.push(Entry { kind: EntryKind::File, size, digest, ..named });
        *self.contents.last_mut().unwrap() = bytes;
    }

    /// Adds what is no file, or a file without its bytes. Its extended attributes are
    /// those of `xattr_set`, by its number for it.
    fn push(&mut self, mut entry: Entry) {
        let set = xattr_set(entry.xattrs);
        let sets = &mut self.manifest.xattrs;
        let known = sets.iter().position(|known| *known == set);
        entry.xattrs = match (set.is_empty(), known) {
            (true, _) => 0,
            (false, Some(at)) => at as u32 + 1,
            (false, None) => {
                sets.push(set);
                sets.len() as u32
            }
        };
        self.manifest.entries.push(entry);
        self.contents.push(Vec::new());
    }

    /// The bytes of a piece, put together from the files.
    pub fn piece(&self, map: &PieceMap, piece: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for e in map.extents(&self.manifest, piece) {
            let from = e.offset as usize;
            bytes.extend(&self.contents[e.entry as usize][from..from + e.len as usize]);
        }
        bytes
    }
}

/// What becomes of one name of a generated tree.
#[derive(Clone, Debug)]
enum SampleKind {
    Dir,
    File {
        seed: usize,
        len: usize,
        sparse: bool,
    },
    /// Of the file that this picks among those before it.
    Hardlink(usize),
    Symlink(Vec<u8>),
    Special,
    Device(u32),
    Unreadable,
}

/// A name to be put somewhere: its kind, its attributes, and which of the
/// directories that are there is to hold it.
type Row = (usize, Vec<u8>, SampleKind, Entry);

/// A name of few letters, so that names meet, or of any bytes.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let few = vec(select(vec![b'a', b'b', b'c']), 1..3);
    let any = vec(any::<u8>(), 1..=255).prop_filter("no file name", |n| name_is_sound(n));
    prop_oneof![8 => few, 1 => any]
}

/// A path of names, `.` and `..`, absolute or not.
pub fn paths() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![6 => names(), 1 => Just(b"..".to_vec()), 1 => Just(b".".to_vec())];
    (any::<bool>(), vec(part, 1..5)).prop_map(|(absolute, parts)| {
        let path = parts.join(&b'/');
        if absolute { [b"/", &path[..]].concat() } else { path }
    })
}

/// Lengths about those where a file gets a piece more.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(0usize),
        4 => 1..200usize,
        2 => 1500..4096usize,
        2 => (1..4usize, 0..3usize).prop_map(|(pieces, more)| pieces * 4096 + more - 1),
        1 => 8000..20_000usize,
    ]
}

fn kinds() -> impl Strategy<Value = SampleKind> {
    let file = (any::<u8>(), lengths(), any::<bool>());
    prop_oneof![
        4 => Just(SampleKind::Dir),
        6 => file.prop_map(|(seed, len, sparse)| SampleKind::File { seed: seed.into(), len, sparse }),
        2 => any::<u16>().prop_map(|pick| SampleKind::Hardlink(pick.into())),
        2 => paths().prop_map(SampleKind::Symlink),
        1 => Just(SampleKind::Special),
        1 => any::<u32>().prop_map(SampleKind::Device),
        1 => Just(SampleKind::Unreadable),
    ]
}

/// Sets of extended attributes, by number; 0 is the empty one.
const XATTR_SETS: u32 = 8;

/// Each bit of the number is an attribute.
fn xattr_set(number: u32) -> XattrSet {
    let mut set = XattrSet::default();
    for (bit, name) in ["security.capability", "user.a", "user.b"].iter().enumerate() {
        let is_there = number & 1 << bit != 0;
        assert!(!is_there || set.push(name.as_bytes(), &vec![bit as u8; bit]));
    }
    set
}

/// The attributes of an entry, and nothing else of it.
fn attributes() -> impl Strategy<Value = Entry> {
    let mtime = (any::<i64>(), 0..1_000_000_000u32);
    let xattrs = prop_oneof![6 => Just(0), 1 => 1..XATTR_SETS];
    (0..=0o177_777u32, any::<u32>(), any::<u32>(), mtime, xattrs).prop_map(
        |(mode, uid, gid, (mtime_s, mtime_ns), xattrs)| Entry {
            mode,
            uid,
            gid,
            mtime_s,
            mtime_ns,
            xattrs,
            ..Entry::bare_root()
        },
    )
}

/// Trees of up to `names_max` names besides the root, of all kinds.
pub fn trees(names_max: usize) -> impl Strategy<Value = Sample> {
    let rows =
        vec((any::<u16>().prop_map(usize::from), names(), kinds(), attributes()), 0..=names_max);
    let piece_len = prop_oneof![Just(4096u32), Just(8192)];
    (piece_len, any::<bool>(), attributes(), rows).prop_map(|(piece_len, described, root, rows)| {
        let root = Entry { mode: root.mode & 0o7777, ..root };
        let mut sample = Sample::new(piece_len, root);
        sample.manifest.root_described = described;
        grow(&mut sample, rows);
        sample
    })
}

/// Plants the rows and writes them down breadth first.
fn grow(sample: &mut Sample, rows: Vec<Row>) {
    // By directory, in the order in which directories were planted.
    type Dir = BTreeMap<Vec<u8>, (SampleKind, Entry, usize)>;
    let mut dirs: Vec<Dir> = vec![Dir::new()];
    for (pick, name, kind, attributes) in rows {
        let (at, next) = (pick % dirs.len(), dirs.len());
        if !dirs[at].contains_key(&name) {
            if matches!(kind, SampleKind::Dir) {
                dirs.push(Dir::new());
            }
            dirs[at].insert(name, (kind, attributes, next));
        }
    }
    let mut queue = vec![(0, 0)];
    let mut done = 0;
    while let Some(&(number, dir)) = queue.get(done) {
        done += 1;
        for (name, (kind, attributes, below)) in std::mem::take(&mut dirs[dir]) {
            if matches!(kind, SampleKind::Dir) {
                queue.push((sample.manifest.entries.len() as u32, below));
            }
            plant(sample, Entry { parent: number, name: name.into(), ..attributes }, kind);
        }
    }
}

fn plant(sample: &mut Sample, named: Entry, kind: SampleKind) {
    let files: Vec<u32> = (0..sample.manifest.entries.len() as u32)
        .filter(|&e| sample.manifest.entries[e as usize].kind == EntryKind::File)
        .collect();
    let plain = Entry { mode: named.mode & 0o7777, ..named.clone() };
    match kind {
        SampleKind::Dir => sample.push(Entry { kind: EntryKind::Dir, ..plain }),
        SampleKind::File { seed, len, sparse } => {
            sample.push_file(Entry { sparse, ..plain }, bytes(seed, len));
        }
        SampleKind::Symlink(link) => {
            sample.push(Entry { kind: EntryKind::Symlink, link: link.into(), ..plain });
        }
        SampleKind::Hardlink(pick) if !files.is_empty() => {
            let kind = EntryKind::Hardlink(files[pick % files.len()]);
            sample.push(Entry { kind, xattrs: 0, ..plain });
        }
        SampleKind::Unreadable => {
            sample.push(Entry { kind: EntryKind::Unreadable, xattrs: 0, ..named });
        }
        SampleKind::Device(number) => {
            let mode = named.mode & 0o7777 | if number % 2 == 0 { 0o020_000 } else { 0o060_000 };
            sample.push(Entry { kind: EntryKind::Device(number), mode, ..named });
        }
        SampleKind::Special | SampleKind::Hardlink(_) => {
            sample.push(Entry { kind: EntryKind::Special, ..named });
        }
    }
}
