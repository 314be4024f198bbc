//! Files of a digest cache, for tests.

use super::KnownFile;
use super::format::FileKey;
use crate::store::served_root::Seen;
use peer::content::digest::{self, Digest};

pub const P: u32 = 4096;

pub fn key(ino: u64, size: u64) -> FileKey {
    let seen = Seen { dev: 1, ino, ctime_s: -5, ctime_ns: 7, type_bits: 0 };
    FileKey::new(&seen, size, 100, 999_999_999)
}

/// A file of three pieces.
pub fn large() -> KnownFile {
    let data = vec![7; 10_000];
    let list = digest::list_of(&data, P).into();
    KnownFile { digest: Digest::of(&data), sparse: true, is_bare: false, list, used: true }
}

/// A file without a list.
pub fn small() -> KnownFile {
    KnownFile {
        digest: Digest::of(b"x"),
        sparse: false,
        is_bare: false,
        list: Box::default(),
        used: true,
    }
}
