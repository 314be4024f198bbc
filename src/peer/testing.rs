//! Manifests for tests, those of other crates too.

use crate::content::digest::Digest;
use crate::content::manifest::{Entry, EntryKind, Manifest};
use alloc::boxed::Box;
use alloc::vec;

/// An entry of this kind, mode 0644, owned by root, with times of zero.
pub fn entry(parent: u32, name: &str, kind: EntryKind) -> Entry {
    Entry { parent, name: name.as_bytes().into(), kind, mode: 0o644, ..Entry::bare_root() }
}

/// A file that holds these bytes. If they are more than a piece, its list is the
/// caller's to add.
pub fn file(parent: u32, name: &str, contents: &[u8]) -> Entry {
    Entry {
        size: contents.len() as u64,
        digest: Digest::of(contents),
        ..entry(parent, name, EntryKind::File)
    }
}

/// `/`: `a/` with `x`, the symlink `y` to it and the hard link `z` of it; `b`; the
/// symlink `current` to `a`; and `log`, which is empty.
pub fn small() -> Manifest {
    let mut link = entry(1, "y", EntryKind::Symlink);
    link.link = (*b"x").into();
    let mut up = entry(0, "current", EntryKind::Symlink);
    up.link = (*b"a").into();
    Manifest::of_entries(
        4096,
        vec![
            Entry { name: Box::default(), ..entry(0, "", EntryKind::Dir) },
            entry(0, "a", EntryKind::Dir),
            file(0, "b", b"bee"),
            up,
            file(0, "log", b""),
            file(1, "x", b"ex"),
            link,
            entry(1, "z", EntryKind::Hardlink(5)),
        ],
    )
}
