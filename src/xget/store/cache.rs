//! Digests of files that were hashed before, kept on disk between runs.
//!
//! A file is known again by device, inode, size, mtime and ctime, all of them.
//! What is read back is checked: a cache that is cut short, altered or of
//! another version is as good as none. A wrong digest in it could not spread
//! wrong bytes either, since whoever fetches verifies them.

use super::error::CacheTrouble;
use super::walk::Seen;
use crate::os::file::{self, Status};
use peer::content::digest::{self, Digest};
use peer::content::manifest::piece_len_of;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"xget\0dc2";
/// Largest cache that is read back: piece digests of 2 TiB of very large
/// files, or of a quarter of that of smaller ones.
const CACHE_LEN_MAX: u64 = 512 * 1024 * 1024;
/// A file changed this recently may change again within the same tick of its
/// time stamps, which then hide it; its digest is not kept.
const SETTLED_AFTER_S: i64 = 2;
/// FileKey, flags, digest, length of the list.
const RECORD_LEN_MIN: usize = FileKey::LEN + 1 + 32 + 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    dev: u64,
    ino: u64,
    size: u64,
    mtime_s: i64,
    mtime_ns: u32,
    ctime_s: i64,
    ctime_ns: u32,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    pub digest: Digest,
    pub sparse: bool,
    pub list: Box<[Digest]>,
    /// Asked for or added in this run: to be written back.
    pub used: bool,
}

pub struct DigestCache {
    path: PathBuf,
    piece_len: u32,
    known: HashMap<FileKey, KnownFile>,
    /// How many of these were read from disk and not asked for yet.
    unused: usize,
    /// Something was added that is not on disk.
    changed: bool,
}

impl FileKey {
    const LEN: usize = 5 * 8 + 2 * 4;

    pub fn of(status: &Status) -> FileKey {
        FileKey::new(&Seen::of(status), status.size, status.mtime_s, status.mtime_ns)
    }

    pub fn new(seen: &Seen, size: u64, mtime_s: i64, mtime_ns: u32) -> FileKey {
        let (ctime_s, ctime_ns) = (seen.ctime_s, seen.ctime_ns);
        FileKey { dev: seen.dev, ino: seen.ino, size, mtime_s, mtime_ns, ctime_s, ctime_ns }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.dev, self.ino, self.size, self.mtime_s as u64, self.ctime_s as u64] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.mtime_ns.to_le_bytes());
        out.extend_from_slice(&self.ctime_ns.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<FileKey> {
        let long =
            |i: usize| Some(u64::from_le_bytes(bytes.get(i * 8..i * 8 + 8)?.try_into().ok()?));
        let short = |i: usize| Some(u32::from_le_bytes(bytes.get(i..i + 4)?.try_into().ok()?));
        Some(FileKey {
            dev: long(0)?,
            ino: long(1)?,
            size: long(2)?,
            mtime_s: long(3)? as i64,
            ctime_s: long(4)? as i64,
            mtime_ns: short(40)?,
            ctime_ns: short(44)?,
        })
    }
}

impl DigestCache {
    /// Reads the cache. A missing one is empty; so is an unusable one, and the
    /// second value says why.
    pub fn load(path: &Path, piece_len: u32) -> (DigestCache, Option<CacheTrouble>) {
        let path: PathBuf = path.into();
        let (known, trouble) = match read(&path) {
            Ok(bytes) => match decode(&bytes, piece_len) {
                Some(known) => (known, None),
                None => (HashMap::new(), Some(CacheTrouble::Damaged)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (HashMap::new(), None),
            Err(error) => (HashMap::new(), Some(CacheTrouble::Io(file::errno(&error)))),
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
        let touched_s = key.mtime_s.max(key.ctime_s);
        if touched_s.saturating_add(SETTLED_AFTER_S) <= now_s {
            self.changed = true;
            self.known.insert(key, known);
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

fn encode(known: &HashMap<FileKey, KnownFile>, piece_len: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + known.len() * (RECORD_LEN_MIN + 8));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&piece_len.to_le_bytes());
    for (key, known) in known.iter().filter(|(_, known)| known.used) {
        key.encode(&mut out);
        out.push(u8::from(known.sparse));
        out.extend_from_slice(&known.digest.0);
        out.extend_from_slice(&(known.list.len() as u32).to_le_bytes());
        known.list.iter().for_each(|digest| out.extend_from_slice(&digest.0));
    }
    let check = Digest::of(&out);
    out.extend_from_slice(&check.0);
    out
}

fn decode(bytes: &[u8], piece_len: u32) -> Option<HashMap<FileKey, KnownFile>> {
    if bytes.len() as u64 > CACHE_LEN_MAX {
        return None;
    }
    let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Digest::of(body).0 != *check {
        return None;
    }
    let body = body.strip_prefix(MAGIC)?;
    let mut rest = body.strip_prefix(&piece_len.to_le_bytes())?;
    let mut known = HashMap::with_capacity(rest.len() / RECORD_LEN_MIN);
    while !rest.is_empty() {
        let (record, after) = rest.split_at_checked(RECORD_LEN_MIN)?;
        let key = FileKey::decode(record)?;
        let digest = Digest(record[FileKey::LEN + 1..][..32].try_into().ok()?);
        let list_len = u32::from_le_bytes(record[FileKey::LEN + 33..].try_into().ok()?) as usize;
        let (raw, after) = after.split_at_checked(list_len.checked_mul(32)?)?;
        let mut list = Vec::new();
        digest::read_list(raw, &mut list);
        let right = match key.size > u64::from(piece_len) {
            true => {
                let piece_len = piece_len_of(key.size, piece_len);
                digest::of_list(&list, key.size, piece_len) == Some(digest)
            }
            false => list.is_empty(),
        };
        if !right {
            return None;
        }
        let sparse = record[FileKey::LEN] == 1;
        known.insert(key, KnownFile { digest, sparse, list: list.into(), used: false });
        rest = after;
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;

    const P: u32 = 4096;

    fn key(ino: u64, size: u64) -> FileKey {
        let seen = Seen { dev: 1, ino, ctime_s: -5, ctime_ns: 7, type_bits: 0 };
        FileKey::new(&seen, size, 100, 999_999_999)
    }

    fn large() -> KnownFile {
        let data = vec![7; 10_000];
        let piece = |(i, c)| digest::of_piece(i as u64 * u64::from(P), c);
        let list = data.chunks(P as usize).enumerate().map(piece).collect();
        KnownFile { digest: Digest::of(&data), sparse: true, list, used: true }
    }

    fn small() -> KnownFile {
        KnownFile { digest: Digest::of(b"x"), sparse: false, list: Box::default(), used: true }
    }

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
    fn damage_anywhere_makes_the_cache_empty() {
        let known = HashMap::from([(key(1, 10_000), large()), (key(2, 1), small())]);
        let bytes = encode(&known, P);
        let mut again = decode(&bytes, P).unwrap();
        assert!(again.values().all(|known| !known.used));
        again.values_mut().for_each(|known| known.used = true);
        assert_eq!(again, known);
        assert_eq!(decode(&bytes, 2 * P), None, "another piece length");
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at], P), None, "{at} bytes");
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad, P), None, "byte {at}");
        }
    }

    #[test]
    fn a_list_that_is_not_its_files_is_refused_even_with_a_right_check_sum() {
        let mut wrong = large();
        wrong.list[0].0[0] ^= 1;
        assert_eq!(decode(&encode(&HashMap::from([(key(1, 10_000), wrong)]), P), P), None);
    }

    #[test]
    fn a_very_large_files_list_is_of_its_longer_pieces() {
        let size: u64 = 33_554_433;
        for (piece_len, is_right) in [(P, false), (4 * P, true)] {
            let list = vec![Digest::default(); size.div_ceil(u64::from(piece_len)) as usize];
            let digest = digest::of_list(&list, size, piece_len).unwrap();
            let known = KnownFile { digest, sparse: false, list: list.into(), used: true };
            let read = decode(&encode(&HashMap::from([(key(1, size), known)]), P), P);
            assert_eq!(read.is_some(), is_right, "{piece_len}");
        }
    }

    #[test]
    fn a_file_that_has_just_changed_is_not_kept() {
        let dir = Dir::new();
        let (mut cache, _) = DigestCache::load(&dir.path().join("cache"), P);
        cache.put(key(2, 1), small(), 101);
        assert_eq!(cache.get(&key(2, 1)), None);
    }
}
