//! The digest cache as bytes: records of files, and a check sum over them all.
//!
//! Pure: bytes in, records out, and back. What is read is checked, since anybody
//! may have written it; whether a file still is what it was is not known here.

use super::super::served_root::Seen;
use crate::os::file::Status;
use peer::content::bytes::{ByteReader, TooShort};
use peer::content::digest::{self, Digest};
use peer::content::manifest::piece_len_of;
use sorted::SortedMap;

const MAGIC: &[u8; 8] = b"xget\0dc2";
/// Largest cache that is read back: piece digests of 2 TiB of very large
/// files, or of a quarter of that of smaller ones.
pub const CACHE_LEN_MAX: u64 = 512 * 1024 * 1024;
/// Of the BLAKE3 check sum at the end.
const CHECK_LEN: usize = 32;
/// What a record says besides: nothing where neither is so. Who knew of holes alone reads
/// the second as that, and a file with holes is looked at each time.
const SPARSE: u8 = 1;
const BARE: u8 = 2;
/// FileKey, flags, digest, length of the list.
const RECORD_LEN_MIN: usize = FileKey::LEN + 1 + 32 + 4;

/// What a file is known again by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// It has no extended attributes, not even such as root alone sees.
    pub is_bare: bool,
    pub list: Box<[Digest]>,
    /// Asked for or added in this run: to be written back.
    pub used: bool,
}

/// All that a cache knows.
pub type KnownFiles = SortedMap<FileKey, KnownFile>;

impl FileKey {
    const LEN: usize = 5 * 8 + 2 * 4;

    pub fn of(status: &Status) -> FileKey {
        FileKey::new(&Seen::of(status), status.size, status.mtime_s, status.mtime_ns)
    }

    pub fn new(seen: &Seen, size: u64, mtime_s: i64, mtime_ns: u32) -> FileKey {
        let (ctime_s, ctime_ns) = (seen.ctime_s, seen.ctime_ns);
        FileKey { dev: seen.dev, ino: seen.ino, size, mtime_s, mtime_ns, ctime_s, ctime_ns }
    }

    /// When the file was last changed, in seconds since 1970.
    pub fn touched_s(&self) -> i64 {
        self.mtime_s.max(self.ctime_s)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.dev, self.ino, self.size, self.mtime_s as u64, self.ctime_s as u64] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.mtime_ns.to_le_bytes());
        out.extend_from_slice(&self.ctime_ns.to_le_bytes());
    }

    /// The fields in the order of `encode`.
    fn decode(from: &mut ByteReader) -> Result<FileKey, TooShort> {
        Ok(FileKey {
            dev: from.u64()?,
            ino: from.u64()?,
            size: from.u64()?,
            mtime_s: from.u64()? as i64,
            ctime_s: from.u64()? as i64,
            mtime_ns: from.u32()?,
            ctime_ns: from.u32()?,
        })
    }
}

/// What is used of it, as bytes.
pub fn encode(known: &KnownFiles, piece_len: u32) -> Vec<u8> {
    let mut out = header(piece_len);
    out.reserve(CHECK_LEN + known.len() * (RECORD_LEN_MIN + 8));
    for (key, known) in known.iter().filter(|(_, known)| known.used) {
        key.encode(&mut out);
        out.push(if known.sparse {
            SPARSE
        } else if known.is_bare {
            BARE
        } else {
            0
        });
        out.extend_from_slice(&known.digest.0);
        out.extend_from_slice(&(known.list.len() as u32).to_le_bytes());
        known.list.iter().for_each(|digest| out.extend_from_slice(&digest.0));
    }
    seal(out)
}

pub fn header(piece_len: u32) -> Vec<u8> {
    [&MAGIC[..], &piece_len.to_le_bytes()].concat()
}

/// Adds the check sum.
pub fn seal(mut body: Vec<u8>) -> Vec<u8> {
    let check = Digest::of(&body);
    body.extend_from_slice(&check.0);
    body
}

/// All of it, as not used yet; `None` when anything in it is wrong, or of
/// another version or piece length.
pub fn decode(bytes: &[u8], piece_len: u32) -> Option<KnownFiles> {
    if bytes.len() as u64 > CACHE_LEN_MAX {
        return None;
    }
    let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_LEN)?)?;
    if Digest::of(body).0 != *check {
        return None;
    }
    let records = body.strip_prefix(&*header(piece_len))?;
    let mut known = SortedMap::new();
    let mut from = ByteReader::new(records);
    while !from.is_empty() {
        let (key, file) = decode_record(&mut from, piece_len)?;
        known.insert(key, file);
    }
    Some(known)
}

/// The next record.
fn decode_record(from: &mut ByteReader, piece_len: u32) -> Option<(FileKey, KnownFile)> {
    let key = FileKey::decode(from).ok()?;
    let kind = from.u8().ok()?;
    let (sparse, is_bare) = (kind == SPARSE, kind == BARE);
    let digest = Digest(from.array().ok()?);
    let list_len = from.u32().ok()? as usize;
    let raw = from.take(list_len.checked_mul(32)?).ok()?;
    let mut list = Vec::new();
    digest::read_list(raw, &mut list);
    let is_right = match key.size > u64::from(piece_len) {
        true => {
            let piece_len = piece_len_of(key.size, piece_len);
            digest::of_list(&list, key.size, piece_len) == Some(digest)
        }
        false => list.is_empty(),
    };
    let file = KnownFile { digest, sparse, is_bare, list: list.into(), used: false };
    is_right.then_some((key, file))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{P, key, large, small};
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn known(files: impl IntoIterator<Item = (FileKey, KnownFile)>) -> KnownFiles {
        let mut known = KnownFiles::new();
        for (key, file) in files {
            known.insert(key, file);
        }
        known
    }

    #[test]
    fn damage_anywhere_makes_the_cache_empty() {
        let files = known([(key(1, 10_000), large()), (key(2, 1), small())]);
        let bytes = encode(&files, P);
        let mut again = decode(&bytes, P).unwrap();
        assert!(again.values().all(|known| !known.used));
        again.iter_mut().for_each(|(_, known)| known.used = true);
        assert_eq!(again, files);
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
        assert_eq!(decode(&encode(&known([(key(1, 10_000), wrong)]), P), P), None);
    }

    #[test]
    fn a_very_large_files_list_is_of_its_longer_pieces() {
        let size: u64 = 33_554_433;
        for (piece_len, is_right) in [(P, false), (4 * P, true)] {
            let list = vec![Digest::default(); size.div_ceil(u64::from(piece_len)) as usize];
            let digest = digest::of_list(&list, size, piece_len).unwrap();
            let file =
                KnownFile { digest, sparse: false, is_bare: true, list: list.into(), used: true };
            let read = decode(&encode(&known([(key(1, size), file)]), P), P);
            assert_eq!(read.is_some(), is_right, "{piece_len}");
        }
    }

    prop_compose! {
        fn any_key()(
            (dev, ino, size) in (any::<u64>(), any::<u64>(), 0..20 * u64::from(P)),
            (mtime_s, mtime_ns) in any::<(i64, u32)>(),
            (ctime_s, ctime_ns) in any::<(i64, u32)>(),
        ) -> FileKey {
            FileKey { dev, ino, size, mtime_s, mtime_ns, ctime_s, ctime_ns }
        }
    }

    prop_compose! {
        /// A file with a list that is its own.
        fn any_file()(
            key in any_key(),
            first in any::<[u8; 32]>(),
            (sparse, is_bare) in any::<(bool, bool)>(),
        ) -> (FileKey, KnownFile) {
            let pieces = if key.size > u64::from(P) { key.size.div_ceil(u64::from(P)) } else { 0 };
            let list: Box<[Digest]> =
                (0..pieces).map(|at| Digest::of(&[&first[..], &at.to_le_bytes()].concat())).collect();
            let digest = digest::of_list(&list, key.size, P).unwrap_or(Digest(first));
            (key, KnownFile { digest, sparse, is_bare: is_bare && !sparse, list, used: true })
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(files in vec(any_file(), 0..8)) {
            let files = known(files);
            let mut again = decode(&encode(&files, P), P).unwrap();
            again.iter_mut().for_each(|(_, file)| file.used = true);
            prop_assert_eq!(again, files);
        }

        /// Bytes that somebody chose, with a check sum that is right.
        #[test]
        fn hostile_bytes_are_refused_or_make_sense(
            files in vec(any_file(), 0..3),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            more in vec(any::<u8>(), 0..200),
        ) {
            let mut body = encode(&known(files), P);
            body.truncate(body.len() - CHECK_LEN);
            body.extend(more);
            for (at, byte) in changes {
                let at = at.index(body.len());
                body[at] = byte;
            }
            if let Some(mut known) = decode(&seal(body), P) {
                known.iter_mut().for_each(|(_, file)| file.used = true);
                let mut again = decode(&encode(&known, P), P).unwrap();
                again.iter_mut().for_each(|(_, file)| file.used = true);
                prop_assert_eq!(again, known);
            }
        }

        #[test]
        fn any_bytes_are_refused(bytes in vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode(&bytes, P), None);
        }
    }
}
