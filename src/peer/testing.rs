//! Manifests for tests, those of other crates too.

use crate::content::digest::Digest;
use crate::content::manifest::{Entry, Index, Kind};

pub fn entry(parent: u32, name: &str, kind: Kind) -> Entry {
    Entry { parent, name: name.as_bytes().into(), kind, mode: 0o644, ..Entry::bare_root() }
}

pub fn file(parent: u32, name: &str, contents: &[u8]) -> Entry {
    Entry {
        size: contents.len() as u64,
        digest: Digest::of(contents),
        ..entry(parent, name, Kind::File)
    }
}

/// / { a/ { x, y -> x }, b (hard link of a/x is a/z), log }
pub fn small() -> Index {
    let mut link = entry(1, "y", Kind::Symlink);
    link.link = (*b"x").into();
    let mut up = entry(0, "current", Kind::Symlink);
    up.link = (*b"a").into();
    Index {
        piece_len: 4096,
        root_described: true,
        entries: vec![
            Entry { name: Box::default(), ..entry(0, "", Kind::Dir) },
            entry(0, "a", Kind::Dir),
            file(0, "b", b"bee"),
            up,
            file(0, "log", b""),
            file(1, "x", b"ex"),
            link,
            entry(1, "z", Kind::Hardlink(5)),
        ],
        lists: Vec::new(),
    }
}
