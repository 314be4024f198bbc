//! Digests of files that were hashed before, kept on disk between runs.
//!
//! A file is known again by device, inode, size, mtime and ctime, all of them.
//! What is read back is checked: a cache that is cut short, altered or of
//! another version is as good as none. A wrong digest in it could not spread
//! wrong bytes either, since whoever fetches verifies them.

use super::error::CacheTrouble;
use crate::os::file;
use format::{CACHE_LEN_MAX, KnownFiles, decode, encode};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use format::{FileKey, KnownFile};

pub mod format;
#[cfg(test)]
mod samples;

/// A file changed this recently may change again within the same tick of its
/// time stamps, which then hide it; its digest is not kept.
const SETTLED_AFTER_S: i64 = 2;

pub struct DigestCache {
    path: PathBuf,
    piece_len: u32,
    known: KnownFiles,
    /// How many of these were read from disk and not asked for yet.
    unused: usize,
    /// Something was added that is not on disk.
    changed: bool,
}

impl DigestCache {
    /// Reads the cache. A missing one is empty; so is an unusable one, and the
    /// second value says why.
    pub fn load(path: &Path, piece_len: u32) -> (DigestCache, Option<CacheTrouble>) {
        let path: PathBuf = path.into();
        let (known, trouble) = match read(&path) {
            Ok(bytes) => match decode(&bytes, piece_len) {
                Some(known) => (known, None),
                None => (KnownFiles::new(), Some(CacheTrouble::Damaged)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (KnownFiles::new(), None),
            Err(error) => (KnownFiles::new(), Some(CacheTrouble::Io(file::errno(&error)))),
        };
        let unused = known.len();
        (DigestCache { path, piece_len, known, unused, changed: false }, trouble)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get(&mut self, key: &FileKey) -> Option<&KnownFile> {
        let known = self.known.get_mut(key)?;
        self.unused -= usize::from(!std::mem::replace(&mut known.used, true));
        Some(known)
    }

    /// `now_s` is the time at which the file was last seen to be unchanged.
    pub fn put(&mut self, key: FileKey, known: KnownFile, now_s: i64) {
        if key.touched_s().saturating_add(SETTLED_AFTER_S) <= now_s {
            self.changed = true;
            self.known.insert(key, known);
        }
    }

    /// Notes of a file that is known that it has no extended attributes.
    pub fn note_bare(&mut self, key: &FileKey) {
        if let Some(known) = self.known.get_mut(key) {
            known.is_bare = true;
            self.changed = true;
        }
    }

    /// Writes what was asked for and added, and nothing else; whole or not at all.
    pub fn save(&mut self) -> io::Result<()> {
        if !self.changed && self.unused == 0 {
            return Ok(());
        }
        let bytes = encode(&self.known, self.piece_len);
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(format!(".{}", std::process::id()));
        // Not synced: what a crash cuts short is noticed when it is read.
        let written = fs::write(&temporary, &bytes);
        let moved = written.and_then(|()| fs::rename(&temporary, &self.path));
        if moved.is_err() {
            // What is left of it is of no use; why it failed is what counts.
            let _ = fs::remove_file(&temporary);
        }
        moved
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(CACHE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::samples::{P, key, large, small};
    use super::*;
    use crate::os::scratch::Dir;

    #[test]
    fn what_is_saved_is_loaded_and_what_nobody_asked_for_is_dropped() {
        let dir = Dir::new();
        let path = dir.path().join("cache");
        let (mut cache, trouble) = DigestCache::load(&path, P);
        assert_eq!(trouble, None);
        cache.put(key(1, 10_000), large(), 1000);
        cache.put(key(2, 1), small(), 1000);
        cache.save().unwrap();
        let (mut again, trouble) = DigestCache::load(&path, P);
        assert_eq!(trouble, None);
        assert_eq!(again.get(&key(1, 10_000)), Some(&large()));
        assert_eq!(again.get(&key(1, 10_001)), None);
        again.save().unwrap();
        let (mut third, _) = DigestCache::load(&path, P);
        assert_eq!(third.get(&key(2, 1)), None);
        assert_eq!(third.get(&key(1, 10_000)), Some(&large()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_that_has_just_changed_is_not_kept() {
        let dir = Dir::new();
        let (mut cache, _) = DigestCache::load(&dir.path().join("cache"), P);
        cache.put(key(2, 1), small(), 101);
        assert_eq!(cache.get(&key(2, 1)), None);
    }
}
