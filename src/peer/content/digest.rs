//! BLAKE3 digests of files, and of their pieces as subtrees of the same hash.
//!
//! A piece's digest is the chaining value of its subtree in the BLAKE3 tree of
//! the whole file (BLAKE3 paper, section 2.1). So one pass gives the digest of
//! the file, as `b3sum` prints it, and the list of its pieces; and the list is
//! verified by merging it up to the digest of the file. This needs pieces of a
//! power of two of KiB, at their own multiples.

use super::hex::{self, Hex};
use alloc::vec::Vec;
use blake3::hazmat::{self, HasherExt, Mode};
use core::fmt;

/// A BLAKE3 digest, or the chaining value of a subtree.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(
    /// Its bytes, as BLAKE3 gives them.
    pub [u8; 32],
);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Digest {
    /// The digest of a whole file or manifest held in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The digest that 64 hexadecimal digits are, else `None`. `Display` writes
    /// them.
    pub fn parse(text: &str) -> Option<Digest> {
        hex::parse(text).map(Digest)
    }
}

/// Appends the digests that these bytes are; what is less than one is left out.
pub fn read_list(bytes: &[u8], list: &mut Vec<Digest>) {
    list.extend(bytes.chunks_exact(32).map(|chunk| {
        let mut digest = Digest::default();
        digest.0.copy_from_slice(chunk);
        digest
    }));
}

/// The digest of the piece at `offset`, in bytes, of a file that has more than
/// one piece. The offset is a multiple of the piece's length, a power of two.
pub fn of_piece(offset: u64, bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher.update(bytes);
    Digest(hasher.finalize_non_root())
}

/// The digests of the pieces of a file, held in memory, that has more than one.
pub fn list_of(bytes: &[u8], piece_len: u32) -> Vec<Digest> {
    let offsets = (0..).step_by(piece_len as usize);
    let pieces = bytes.chunks(piece_len as usize);
    offsets.zip(pieces).map(|(offset, piece)| of_piece(offset, piece)).collect()
}

/// The digest of the whole, from the list of its pieces (two or more), where
/// `piece_len` is a power of two of at least 1024 (BLAKE3's chunk).
/// `None` when the list has not the length that `size` demands.
pub fn of_list(list: &[Digest], size: u64, piece_len: u32) -> Option<Digest> {
    let count = size.div_ceil(u64::from(piece_len));
    if count < 2 || list.len() as u64 != count {
        return None;
    }
    let (left, right, left_size) = split(list, size, piece_len);
    let left_cv = subtree(left, left_size, piece_len);
    let right_cv = subtree(right, size - left_size, piece_len);
    let root = hazmat::merge_subtrees_root(&left_cv, &right_cv, Mode::Hash);
    Some(Digest(*root.as_bytes()))
}

fn subtree(list: &[Digest], size: u64, piece_len: u32) -> [u8; 32] {
    if let [only] = list {
        return only.0;
    }
    let (left, right, left_size) = split(list, size, piece_len);
    let left_cv = subtree(left, left_size, piece_len);
    let right_cv = subtree(right, size - left_size, piece_len);
    hazmat::merge_subtrees_non_root(&left_cv, &right_cv, Mode::Hash)
}

/// BLAKE3's rule: the left subtree is the largest power of two of chunks.
fn split(list: &[Digest], size: u64, piece_len: u32) -> (&[Digest], &[Digest], u64) {
    let left_size = hazmat::left_subtree_len(size);
    let (left, right) = list.split_at((left_size / u64::from(piece_len)) as usize);
    (left, right, left_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::samples::bytes;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    proptest! {
        #[test]
        fn list_of_pieces_merges_to_the_plain_hash(
            len in 0..300_000usize,
            piece_len in select(vec![1024u32, 4096, 32_768, 262_144]),
            bad in any::<Index>(),
        ) {
            let data = bytes(len, len);
            let mut list = list_of(&data, piece_len);
            let whole = |list: &[Digest]| of_list(list, len as u64, piece_len);
            let plain = (list.len() > 1).then(|| Digest::of(&data));
            prop_assert_eq!(whole(&list), plain);
            if let Some(plain) = plain {
                let bad = bad.index(list.len());
                list[bad].0[len % 32] ^= 1;
                prop_assert_ne!(whole(&list), Some(plain));
            }
        }
    }

    #[test]
    fn lists_about_powers_of_two_merge_to_the_plain_hash() {
        for len in [4097, 8192, 8193, 12288, 20000, 4096 * 16, 4096 * 17 + 1] {
            let data = bytes(0, len);
            let whole = of_list(&list_of(&data, 4096), len as u64, 4096);
            assert_eq!(whole, Some(Digest::of(&data)), "length {len}");
        }
    }

    #[test]
    fn list_of_wrong_length_has_no_digest() {
        let list = [Digest::default(); 3];
        assert_eq!(of_list(&list, 4096 * 2, 4096), None);
        assert_eq!(of_list(&list[..1], 4096, 4096), None);
    }

    #[test]
    fn hex_goes_both_ways() {
        let digest = Digest::of(b"xget");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("12"), None);
        assert_eq!(Digest::parse(&"g".repeat(64)), None);
    }
}
