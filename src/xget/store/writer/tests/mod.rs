//! A tree fetched from disk to disk, without a network.

use super::super::dest::Dest;
use super::super::files::OPEN_FILES_MAX;
use super::super::scan::{Scan, ScanOptions};
use super::super::served::ServedTree;
use super::super::testing::{
    NOBODY, as_nobody, bytes, name, on_file_system, on_overlay, picture, set_mode, set_mtime,
    status,
};
use super::*;
use crate::os::file;
use crate::os::scratch::Dir;
use peer::content::holdings::Holdings;
use peer::content::manifest::{DEPTH_MAX, Entry, EntryKind, PIECE_LEN};
use peer::content::pieces::ManifestPieces;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown, lchown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

mod copies;
mod copy;
mod in_the_way;
mod making_way;
mod mirror;
mod pieces;
mod resume;
mod space;

const P: usize = PIECE_LEN as usize;
const SLICE: u64 = 1 << 20;
/// Of pieces.
const NONE: [u32; 0] = [];

fn scan(path: &Path) -> ServedTree {
    Scan::new(path, ScanOptions::default()).unwrap().finish().unwrap()
}

/// As a client run by root without options.
fn faithful() -> DestOptions {
    DestOptions { keep_modes: true, keep_owners: file::is_root(), ..DestOptions::default() }
}

fn map_of(manifest: &Manifest) -> Rc<PieceMap> {
    Rc::new(PieceMap::new(ManifestPieces::of(&manifest.encode(), manifest.piece_len), manifest))
}

/// Checks until the end, and gives what was found.
fn check(writer: &mut DestWriter) -> Vec<u32> {
    loop {
        if let CheckStep::Done { found } = writer.check_step(SLICE).unwrap() {
            return found;
        }
    }
}

/// A source and where it goes.
struct Fetch {
    source: ServedTree,
    map: Rc<PieceMap>,
    writer: DestWriter,
    /// As the name space of a client keeps them.
    holdings: Holdings,
    /// Pieces that were given to the writer.
    moved: usize,
}

impl Fetch {
    fn begin(source: ServedTree, path: &Path, options: DestOptions) -> Fetch {
        let map = map_of(&source.manifest);
        let mut dest = Dest::open(path, options).unwrap();
        let writer = dest.begin(source.manifest.clone(), map.clone()).unwrap();
        let mut holdings = Holdings::none(1);
        holdings.extend(map.count());
        for piece in 0..map.manifest_pieces().count() {
            holdings.hold(piece);
        }
        Fetch { source, map, writer, holdings, moved: 0 }
    }

    fn check(&mut self) -> &mut Fetch {
        for piece in check(&mut self.writer) {
            self.holdings.hold(piece);
        }
        self
    }

    fn extents(&self, piece: u32) -> Vec<Extent> {
        self.map.extents(&self.source.manifest, piece).collect()
    }

    fn piece(&self, piece: u32) -> Vec<u8> {
        let mut data = Vec::new();
        for extent in self.extents(piece) {
            let mut part = vec![0; extent.len as usize];
            let file = self.source.open(extent.entry).unwrap();
            file.read_exact_at(&mut part, extent.offset).unwrap();
            data.extend(part);
        }
        assert_eq!(self.map.verify(&self.source.manifest, piece, &data), Ok(()));
        data
    }

    fn store_piece(&mut self, piece: u32) -> Result<(), StoreFailure> {
        let (extents, data) = (self.extents(piece), self.piece(piece));
        let stored = self.writer.store(&extents, &data);
        match &stored {
            Ok(()) => self.holdings.hold(piece),
            Err(_) => self.holdings.lose(piece),
        };
        self.moved += 1;
        stored
    }

    fn missing(&self) -> Vec<u32> {
        (0..self.map.count()).filter(|piece| self.holdings.misses(*piece)).collect()
    }

    /// Stores at most so many of the pieces that are missing.
    fn store(&mut self, at_most: usize) -> &mut Fetch {
        for piece in self.missing().into_iter().take(at_most) {
            // What fails is in `errors`.
            let _ = self.store_piece(piece);
        }
        self
    }

    fn finish(&mut self) -> &mut Fetch {
        while self.writer.finish_step(SLICE) != FinishStep::Done {}
        self
    }

    fn all(&mut self) -> &mut Fetch {
        self.check().store(usize::MAX).finish()
    }

    fn errors(&self) -> Vec<String> {
        self.writer.failures().iter().map(|failure| failure.error.to_string()).collect()
    }

    fn entry(&self, path: &str) -> u32 {
        self.source.manifest.find(path.as_bytes(), false).unwrap()
    }

    fn temporary(&self, path: &str) -> PathBuf {
        let target = &self.writer.tree.target;
        let entry = self.entry(path);
        target.path(entry).with_file_name(name(&target.temporary_name(entry)))
    }
}

fn fetch(from: &Path, to: &Path, options: DestOptions) -> Fetch {
    let mut fetch = Fetch::begin(scan(from), to, options);
    fetch.all();
    fetch
}

/// A tree with some of everything.
fn rich_tree() -> Dir {
    let dir = Dir::new();
    dir.write("large", &bytes(1, 5 * P + 77));
    dir.write("exact", &bytes(2, 2 * P));
    dir.write("one-piece", &bytes(3, P));
    dir.write("empty", b"");
    dir.write("sub/deep/er/file", b"deep");
    (0..300).for_each(|i| drop(dir.write(&format!("many/{i:03}"), &bytes(i, 10 * i as usize))));
    for odd in
        [b"new\nline".as_slice(), "\u{2603} snow".as_bytes(), b"\xff\xfe", b"...", &[b'n'; 255]]
    {
        fs::write(dir.path().join(name(odd)), odd).unwrap();
    }
    fs::create_dir(dir.join("hollow")).unwrap();
    fs::hard_link(dir.join("large"), dir.join("sub/also-large")).unwrap();
    fs::hard_link(dir.join("empty"), dir.join("sub/also-empty")).unwrap();
    symlink("../large", dir.join("sub/link")).unwrap();
    symlink("/etc/passwd", dir.join("outward")).unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(40 * P as u64).unwrap();
    sparse.write_all_at(b"island", 20 * P as u64 + 5000).unwrap();
    set_mode(&dir.join("exact"), 0o4755);
    set_mode(&dir.join("one-piece"), 0o000);
    set_mode(&dir.join("hollow"), 0o1777);
    set_mode(&dir.join("sub/deep"), 0o555);
    set_mode(&dir.join("many"), 0o2750);
    if file::is_root() {
        chown(dir.join("exact"), Some(1234), Some(4321)).unwrap();
        set_mode(&dir.join("exact"), 0o6711);
        lchown(dir.join("outward"), Some(77), Some(78)).unwrap();
        chown(dir.join("hollow"), Some(5), Some(6)).unwrap();
    }
    set_mtime(&dir.join("large"), 1_234_567_890, 123_456_789);
    set_mtime(&dir.join("exact"), -5, 1);
    set_mtime(&dir.join("outward"), 99, 999_999_999);
    set_mtime(&dir.join("sub"), 1, 2);
    set_mtime(dir.path(), 3, 4);
    dir
}
